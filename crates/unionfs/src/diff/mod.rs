//! From a snapshot back to a layer tar.

/// One PAX record: `length key=value\n`, where the length counts itself.
#[cfg_attr(not(test), expect(dead_code, reason = "the writer comes with diff"))]
pub(crate) fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
