//! What commands print: tables for eyes, JSON lines for programs.

pub(crate) mod human;
pub(crate) mod table;

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes `text` to standard output.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes one JSON object a line.
pub(crate) fn json_lines<T: Serialize>(rows: &[T]) -> Result<(), Failure> {
    let mut lines = String::new();
    for row in rows {
        lines.push_str(&json(row)?);
        lines.push('\n');
    }
    text(&lines)
}

/// Writes one JSON document, indented.
pub(crate) fn json_document<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut document = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(format!("writing JSON: {e}")))?;
    document.push('\n');
    text(&document)
}

/// `value` as JSON on one line.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::new(format!("writing JSON: {e}")))
}
