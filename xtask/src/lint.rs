//! House rules that no other tool checks.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::command::workspace;

/// No source file is longer.
const LONGEST_FILE: usize = 600;

/// What is wrong, one `file:line: sentence` each.
pub(crate) fn check() -> Result<Vec<String>, Failure> {
    let root = workspace();
    let mut files = Vec::new();
    for folder in ["crates", "examples", "benches", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut complaints = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)
            .map_err(|error| format!("reading {}: {error}", file.display()))?;
        let shown = file.strip_prefix(&root).unwrap_or(&file);
        complaints.extend(complaints_about(shown, &text));
    }
    Ok(complaints)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in
        fs::read_dir(folder).map_err(|error| format!("reading {}: {error}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn complaints_about(file: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |line: usize, sentence: &str| {
        complaints.push(format!("{}:{line}: {sentence}", file.display()))
    };
    let length = text.lines().count();
    if length > LONGEST_FILE {
        complain(
            length,
            &format!("longer than {LONGEST_FILE} lines: it has more than one reason to exist"),
        );
    }
    if !may_be_unsafe(file) {
        for (index, _) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| has_unsafe(line))
        {
            complain(index + 1, "`unsafe` belongs into the crate's sys.rs");
        }
    }
    if is_crate_root(file)
        && !["#![deny(unsafe_code)]", "#![forbid(unsafe_code)]"]
            .iter()
            .any(|lint| text.contains(lint))
    {
        complain(1, "a crate root denies unsafe_code");
    }
    complaints
}

/// `sys.rs`, `sys_ARCHITECTURE.rs`, `sys/…`.
fn may_be_unsafe(file: &Path) -> bool {
    file.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name == "sys.rs" || name.starts_with("sys_"))
        || file.components().any(|part| part.as_os_str() == "sys")
}

/// `src/lib.rs`; a binary beside a library is a crate root too, but calls nothing the library does not.
fn is_crate_root(file: &Path) -> bool {
    file.ends_with("src/lib.rs")
}

/// An unsafe block, function, implementation or attribute, not the word in a comment, a string or a lint's name.
fn has_unsafe(line: &str) -> bool {
    let code = line
        .split("//")
        .next()
        .unwrap_or_default()
        .replace("\\\"", "");
    let mut outside_strings = String::new();
    for (index, part) in code.split('"').enumerate() {
        outside_strings.push_str(if index % 2 == 0 { part } else { " " });
    }
    outside_strings.match_indices("unsafe").any(|(at, word)| {
        let before = outside_strings
            .get(..at)
            .and_then(|head| head.chars().next_back());
        let after = outside_strings
            .get(at + word.len()..)
            .and_then(|tail| tail.chars().next());
        let is_part =
            |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '`');
        !is_part(before) && !is_part(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_seen_where_it_is_code() {
        let table = [
            ("    unsafe { close(fd) }", true),
            ("unsafe extern \"C\" fn f() {}", true),
            ("#[unsafe(no_mangle)]", true),
            ("unsafe impl Send for X {}", true),
            ("#![deny(unsafe_code)]", false),
            ("// unsafe here", false),
            ("let word = \"unsafe\";", false),
            ("unsafe_op_in_unsafe_fn", false),
        ];
        for (line, found) in table {
            assert_eq!(has_unsafe(line), found, "{line}");
        }
    }

    #[test]
    fn only_sys_may() {
        let text = "fn f() { unsafe { g() } }\n";
        assert_eq!(
            complaints_about(Path::new("crates/x/src/a.rs"), text).len(),
            1
        );
        assert!(complaints_about(Path::new("crates/x/src/sys.rs"), text).is_empty());
        assert!(complaints_about(Path::new("crates/init/program/sys/x86_64.rs"), text).is_empty());
    }

    #[test]
    fn a_crate_root_says_so_itself() {
        let root = Path::new("crates/x/src/lib.rs");
        assert_eq!(complaints_about(root, "//! X.\n").len(), 1);
        assert!(complaints_about(root, "#![deny(unsafe_code)]\n").is_empty());
    }

    #[test]
    fn a_long_file_is_named() {
        assert_eq!(
            complaints_about(Path::new("crates/x/src/a.rs"), &"\n".repeat(601)).len(),
            1
        );
    }
}
