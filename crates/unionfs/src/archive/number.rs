//! Numbers as tar headers and PAX records write them, strictly.
//!
//! The `tar` crate's own accessors drop the high bytes of a base-256 field and know no negative times, so two readers could
//! disagree about a size; here what does not fit is an error.

use super::Fault;
use crate::Timestamp;

/// A numeric header field: octal text, or GNU's base-256 with the high bit of the first byte set.
pub(super) fn field(name: &'static str, bytes: &[u8]) -> Result<i64, Fault> {
    let bad = Fault::Number { field: name };
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes).ok_or(bad),
        _ => octal(bytes).ok_or(bad),
    }
}

/// A numeric header field that cannot be negative.
pub(super) fn unsigned(name: &'static str, bytes: &[u8]) -> Result<u64, Fault> {
    u64::try_from(field(name, bytes)?).map_err(|_| Fault::Number { field: name })
}

/// A numeric header field of 32 bits: ids, modes, device numbers.
pub(super) fn unsigned32(name: &'static str, bytes: &[u8]) -> Result<u32, Fault> {
    u32::try_from(field(name, bytes)?).map_err(|_| Fault::Number { field: name })
}

fn octal(bytes: &[u8]) -> Option<i64> {
    // Leading blanks and a blank or NUL at the end are historic padding; whatever follows a NUL is not looked at.
    let text = bytes
        .split(|b| *b == 0)
        .next()
        .unwrap_or_default()
        .trim_ascii();
    text.iter().try_fold(0i64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 8)?;
        value.checked_mul(8)?.checked_add(digit.into())
    })
}

fn base256(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    // The marker bit is not part of the two's complement number; the next one is its sign.
    let negative = first & 0x40 != 0;
    let first = if negative { first | 0x80 } else { first & 0x7f };
    let mut value: i128 = if negative { -1 } else { 0 };
    for byte in std::iter::once(&first).chain(rest) {
        value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
        // The sign's own byte repeats: -1 * 256 + 255 is -1.
    }
    i64::try_from(value).ok()
}

/// A decimal number without sign, as PAX records write sizes and ids.
pub(super) fn decimal(field: &'static str, text: &[u8]) -> Result<u64, Fault> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|t| t.parse::<u64>().ok())
        .filter(|n| i64::try_from(*n).is_ok())
        .ok_or(Fault::Number { field })
}

/// A PAX time: seconds with an optional sign and fraction; digits beyond nanoseconds are cut off.
pub(super) fn time(field: &'static str, text: &[u8]) -> Result<Timestamp, Fault> {
    let bad = || Fault::Number { field };
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let whole = decimal(field, parts.next().unwrap_or_default())?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let nanoseconds = fraction
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(9)
        .fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
    let seconds = i64::try_from(whole).map_err(|_| bad())?;
    Ok(match (negative, nanoseconds) {
        (false, n) => Timestamp {
            seconds,
            nanoseconds: n,
        },
        (true, 0) => Timestamp {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, n) => Timestamp {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - n,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields() {
        let table: [(&[u8], Option<i64>); 14] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777\0", Some(0o77777777777)),
            (b"777777777777", Some(0o777777777777)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"0x00\0\0\0\0", None),
            (b"12 34\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
                Some(-2),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
        ];
        for (bytes, want) in table {
            assert_eq!(field("f", bytes).ok(), want, "{bytes:?}");
        }
        assert!(unsigned("size", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").is_err());
    }

    #[test]
    fn pax_times() {
        let t = |seconds, nanoseconds| {
            Some(Timestamp {
                seconds,
                nanoseconds,
            })
        };
        let table: [(&str, Option<Timestamp>); 11] = [
            ("1", t(1, 0)),
            ("1.5", t(1, 500_000_000)),
            ("1.1234567899", t(1, 123_456_789)),
            ("1.", t(1, 0)),
            ("-1", t(-1, 0)),
            ("-1.25", t(-2, 750_000_000)),
            ("", None),
            (".5", None),
            ("1.x", None),
            ("+1", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in table {
            assert_eq!(time("mtime", text.as_bytes()).ok(), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = field("f", &bytes);
            let _ = decimal("f", &bytes);
            let _ = time("f", &bytes);
        }

        #[test]
        fn octal_round_trip(n in 0i64..0o777_7777_7777) {
            proptest::prop_assert_eq!(field("f", format!("{n:011o}\0").as_bytes()).ok(), Some(n));
        }

        #[test]
        fn base256_round_trip(n: i64) {
            let sign = if n < 0 { 0xff } else { 0 };
            let mut bytes = vec![sign | 0x80, sign, sign, sign];
            bytes.extend(n.to_be_bytes());
            proptest::prop_assert_eq!(field("f", &bytes).ok(), Some(n));
        }
    }
}
