//! Signals by name or number, as images and people write them.

use nix::sys::signal::Signal;

/// Parses `SIGTERM`, `term`, `15` or `SIGRTMIN+3`.
pub(crate) fn parse(text: &str) -> Option<i32> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=64).contains(number));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |rest: &str, sign: char| -> Option<i32> {
        if rest.is_empty() {
            Some(0)
        } else {
            rest.strip_prefix(sign)?.parse().ok()
        }
    };
    // The first two real-time signals are glibc's own.
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+')
            .map(|n| 34 + n)
            .filter(|n| (34..=64).contains(n));
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-')
            .map(|n| 64 - n)
            .filter(|n| (34..=64).contains(n));
    }
    format!("SIG{name}")
        .parse::<Signal>()
        .ok()
        .map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let cases = [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("Kill", Some(9)),
            ("15", Some(15)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("", None),
            ("SIGNOPE", None),
            ("RTMIN+31", None),
            ("-15", None),
            ("+15", None),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text), number, "{text:?}");
        }
    }
}
