//! `64m`, `1.5g`, `100000`: sizes in bytes, in powers of 1024 as Docker reads them.

/// Parses a size. A number, a fraction if a unit follows, a unit of `b k m g t p` with `i` and `b` optional.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "{text:?} is not a size: write bytes, or a number with b, k, m, g or t, as in 512m or 1.5g"
        )
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        "p" | "pb" | "pi" | "pib" => 50,
        _ => return Err(bad()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(bad());
    }
    let large = || format!("{text:?} is larger than any memory");
    let whole: u64 = whole.parse().map_err(|_| large())?;
    let whole = whole
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or_else(large)?;
    // Nine digits of a fraction are more than a byte of a gigabyte; the rest cannot matter below 2^50.
    let digits: u32 = fraction.len().min(15) as u32;
    let numerator: u128 = fraction
        .get(..digits as usize)
        .unwrap_or("")
        .parse()
        .unwrap_or(0);
    let part = (numerator << shift) / 10u128.pow(digits);
    Ok(whole.saturating_add(part as u64))
}

/// `--memory-swap`: a size, or -1 for no limit on swap. 0 means unset, as to Docker.
pub(crate) fn memory_swap(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    size(text)
        .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
        .map_err(|message| format!("{message}, or -1 for unlimited swap"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_docker_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("100000", Some(100_000)),
            ("64m", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("64mb", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("0.5k", Some(512)),
            ("32 kb", Some(32 << 10)),
            ("1t", Some(1 << 40)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            (".5m", None),
            ("5.m", None),
            ("1.2.3m", None),
            ("-1", None),
            ("+1", None),
            ("64x", None),
            ("64mm", None),
            ("64  m", None),
            (" 64m", None),
            ("٣m", None),
            ("9223372036854775808", None),
            ("99999999999999999999", None),
            ("8192p", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text).ok(), expected, "{text:?}");
        }
        assert_eq!(memory_swap("-1"), Ok(-1));
        assert_eq!(memory_swap("1g"), Ok(1 << 30));
        assert!(memory_swap("-2").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = size(&text);
        }

        #[test]
        fn numbers_with_units_are_exact(n in 0u64..1 << 20, (unit, shift) in prop_oneof![
            Just(("k", 10)), Just(("m", 20)), Just(("g", 30)),
        ]) {
            prop_assert_eq!(size(&format!("{n}{unit}")), Ok(n << shift));
        }
    }
}
