//! A registry's own words about what went wrong.

use std::fmt;

/// One error in a registry's own words (the `errors` array of the distribution specification).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// A code such as `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The registry's message, control characters removed, at most 300 characters.
    pub message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (false, false) => write!(f, "{}: {}", self.code, self.message),
            (false, true) => f.write_str(&self.code),
            _ => f.write_str(&self.message),
        }
    }
}

/// Takes the registry's own words from an error body: the specification's JSON, or a token
/// service's `details`/`message`, or the first line of plain text.
pub(crate) fn server_errors(body: &[u8]) -> Vec<ServerError> {
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        let text = |v: &serde_json::Value, key: &str| {
            v.get(key)
                .and_then(|s| s.as_str())
                .map(tidy)
                .unwrap_or_default()
        };
        if let Some(list) = value.get("errors").and_then(|e| e.as_array()) {
            return list
                .iter()
                .take(4)
                .map(|e| ServerError {
                    code: text(e, "code"),
                    message: text(e, "message"),
                })
                .filter(|e| !e.code.is_empty() || !e.message.is_empty())
                .collect();
        }
        let message = ["details", "message", "error_description", "error"]
            .iter()
            .map(|key| text(&value, key))
            .find(|m| !m.is_empty());
        return message
            .map(|message| {
                vec![ServerError {
                    code: String::new(),
                    message,
                }]
            })
            .unwrap_or_default();
    }
    let text = String::from_utf8_lossy(body);
    let line = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or_default();
    if line.is_empty() || line.starts_with('<') {
        return Vec::new();
    }
    vec![ServerError {
        code: String::new(),
        message: tidy(line),
    }]
}

fn tidy(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn server_words_are_found() {
        let spec = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        assert_eq!(
            server_errors(spec)[0].to_string(),
            "MANIFEST_UNKNOWN: manifest unknown"
        );
        assert_eq!(
            server_errors(br#"{"details":"incorrect username or password"}"#)[0].message,
            "incorrect username or password"
        );
        assert_eq!(
            server_errors(b"bad \x1b[31mgateway\nmore")[0].message,
            "bad [31mgateway"
        );
        assert!(server_errors(b"<html>").is_empty());
        assert!(server_errors(b"").is_empty());
    }

    proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            for error in server_errors(&body) {
                prop_assert!(error.to_string().chars().count() <= 602);
            }
        }
    }
}
