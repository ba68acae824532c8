//! `-e KEY[=VALUE]` and the lines of an `--env-file`.

/// Resolves a bare `KEY` from the caller's environment. Unset there, it stays bare and removes the image's.
pub(crate) fn variable(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err("invalid environment variable: it is empty".to_owned()),
        None => Ok(match lookup(text) {
            Some(value) => format!("{text}={value}"),
            None => text.to_owned(),
        }),
    }
}

/// Parses an env file: a variable a line, `#` begins a comment line, a bare name is taken from the caller's
/// environment and left out when it is not set there.
pub(crate) fn file(
    content: &[u8],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut variables = Vec::new();
    for (number, line) in content.split(|b| *b == b'\n').enumerate() {
        let at = |reason: &str| format!("line {}: {reason}", number + 1);
        let line = std::str::from_utf8(line).map_err(|_| at("it is not UTF-8"))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(at("no variable name before '='"));
        }
        if name.contains(char::is_whitespace) {
            return Err(at(&format!("variable name {name:?} contains white space")));
        }
        if line.contains('=') {
            variables.push(line.to_owned());
        } else if let Some(value) = lookup(name) {
            variables.push(format!("{name}={value}"));
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "SET").then(|| "here".to_owned())
    }

    #[test]
    fn variables() {
        let cases = [
            ("A=1", Ok("A=1")),
            ("A=", Ok("A=")),
            ("A=b=c", Ok("A=b=c")),
            ("SET", Ok("SET=here")),
            ("UNSET", Ok("UNSET")),
            ("=x", Err(())),
            ("", Err(())),
        ];
        for (text, expected) in cases {
            let got = variable(text, lookup);
            assert_eq!(got.as_deref().map_err(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn files() {
        let text =
            b"\xef\xbb\xbf# comment\r\nA=1\r\n\n  B= two words \nSET\nUNSET\nC=#not a comment";
        assert_eq!(
            file(text, lookup).unwrap(),
            ["A=1", "B= two words ", "SET=here", "C=#not a comment"]
        );
        assert_eq!(
            file(b"A=1\nB C=2", lookup).unwrap_err(),
            "line 2: variable name \"B C\" contains white space"
        );
        assert_eq!(
            file(b"=2", lookup).unwrap_err(),
            "line 1: no variable name before '='"
        );
        assert_eq!(
            file(b"\xff", lookup).unwrap_err(),
            "line 1: it is not UTF-8"
        );
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = file(&bytes, lookup);
        }
    }
}
