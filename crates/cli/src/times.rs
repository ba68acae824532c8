//! Points in time as Docker words them.

use jiff::Timestamp;

use crate::output::human;

/// `2 hours ago`; nothing for what is no time.
pub(crate) fn ago(text: &str) -> String {
    since(text)
        .map(|seconds| format!("{} ago", human::duration(seconds)))
        .unwrap_or_default()
}

/// Seconds from `text` to now.
pub(crate) fn since(text: &str) -> Option<i64> {
    let then: Timestamp = text.parse().ok()?;
    Some(
        Timestamp::now()
            .as_second()
            .saturating_sub(then.as_second()),
    )
}

/// `2024-05-17 22:19:53 +0000 UTC`.
pub(crate) fn docker(text: &str) -> String {
    text.parse::<Timestamp>()
        .map(|then| then.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_nonsense() {
        assert_eq!(
            docker("2024-05-17T22:19:53.5Z"),
            "2024-05-17 22:19:53 +0000 UTC"
        );
        assert_eq!(docker("yesterday"), "");
        assert_eq!(ago(&Timestamp::now().to_string()), "Less than a second ago");
        assert_eq!(ago(""), "");
        // An image from the future, or one whose clock says year 1.
        assert_eq!(ago("9999-01-01T00:00:00Z"), "Less than a second ago");
        assert!(ago("0001-01-01T00:00:00Z").ends_with("years ago"));
    }
}
