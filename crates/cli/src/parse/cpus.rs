//! `--cpus 0.5`: a decimal number of CPUs, exact to a billionth.

/// Parses a number of CPUs into billionths of one; 0 means no limit.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a number of CPUs: write a decimal, as in 0.5 or 2");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(format!(
            "{text:?} is too precise: a billionth of a CPU is the least step"
        ));
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| bad())?
    };
    let nano: u64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(nano))
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_only() {
        let cases = [
            ("0", Some(0)),
            ("1", Some(1_000_000_000)),
            ("0.5", Some(500_000_000)),
            (".5", Some(500_000_000)),
            ("1.", Some(1_000_000_000)),
            ("1.50000000000", Some(1_500_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("1/2", None),
            ("99999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cpus(text).ok(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = cpus(&text);
        }
    }
}
