//! Numbers and fields out of files of the kernel.

/// The decimal number that is all of a text but white space around it.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(byte - b'0'))?;
    }
    Some(number)
}

pub(crate) fn hex(text: &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for byte in text.trim_ascii() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = number.checked_mul(16)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// The value behind `name` in a file of `name value` lines.
pub(crate) fn field<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    file.split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name))
        .map(<[u8]>::trim_ascii)
}
