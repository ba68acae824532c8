//! Aligned columns without lines, as Docker prints them.

use comfy_table::{Table, presets};

/// Lays out `rows` under `heading`; rows are cut at no width, so that they can be grepped.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names and commands come from strangers; escape sequences in them are not for this terminal.
fn printable(cell: &str) -> String {
    cell.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_bare() {
        let rows = vec![
            vec!["a".to_owned(), "\u{1b}[31mb".to_owned()],
            vec!["long name".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "X"], &rows),
            "NAME        X\na            [31mb\nlong name\n"
        );
    }
}
