use super::*;

fn header(name: &[u8], flag: u8, size: u64) -> Vec<u8> {
    let mut h = tar::Header::new_ustar();
    h.as_mut_bytes()[..name.len()].copy_from_slice(name);
    h.set_entry_type(tar::EntryType::new(flag));
    h.set_size(size);
    h.set_mode(0o644);
    h.set_uid(1);
    h.set_gid(2);
    h.set_mtime(3);
    h.set_cksum();
    h.as_bytes().to_vec()
}

fn with_body(name: &[u8], flag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = header(name, flag, body.len() as u64);
    out.extend(body);
    out.resize(out.len() + padding(body.len() as u64) as usize, 0);
    out
}

fn all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let mut reader = Reader::new(bytes, u64::MAX);
    let mut out = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut body = Vec::new();
        while (body.len() as u64) < entry.stored {
            let left = entry.stored - body.len() as u64;
            body.extend_from_slice(reader.body(left)?);
        }
        out.push((String::from_utf8_lossy(&entry.path).into_owned(), body));
    }
    Ok(out)
}

#[test]
fn plain() {
    let mut t = with_body(b"a", b'0', b"hello");
    t.extend(with_body(b"b", b'0', &[7; 600]));
    t.extend([0; 1024]);
    let got = all(&t).unwrap();
    assert_eq!(
        got,
        [("a".into(), b"hello".to_vec()), ("b".into(), vec![7; 600])]
    );
    assert!(all(&[]).unwrap().is_empty());
    assert!(all(&[0; 512]).unwrap().is_empty());
    assert!(all(&[0; 10240]).unwrap().is_empty());
}

#[test]
fn an_unread_body_is_skipped() {
    let mut t = with_body(b"a", b'0', &[1; 5000]);
    t.extend(with_body(b"b", b'0', b""));
    let mut reader = Reader::new(&t[..], u64::MAX);
    assert_eq!(reader.next().unwrap().unwrap().path, b"a");
    reader.body(10).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().path, b"b");
}

#[test]
fn pax_size_wins_over_the_headers() {
    // The header says nothing follows; a reader that believes it would take the body for the next header.
    let inner = with_body(b"smuggled", b'0', b"");
    let mut t = with_body(
        b"pax",
        b'x',
        format!("12 size={}\n", inner.len()).as_bytes(),
    );
    t.extend(header(b"a", b'0', 0));
    t.extend(&inner);
    t.extend([0; 1024]);
    assert_eq!(all(&t).unwrap(), [("a".into(), inner)]);
}

#[test]
fn a_pax_header_is_for_the_file_not_for_the_long_name_between() {
    let mut t = with_body(b"pax", b'x', b"10 size=3\n");
    t.extend(with_body(b"././@LongLink", b'L', b"a-long-name\0"));
    t.extend(header(b"a", b'0', 0));
    t.extend(b"abc");
    t.resize(t.len().next_multiple_of(512), 0);
    assert_eq!(all(&t).unwrap(), [("a-long-name".into(), b"abc".to_vec())]);
}

#[test]
fn refused() {
    let end = [0u8; 1024];
    let cat = |parts: &[&[u8]]| parts.concat();
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("truncated header", header(b"a", b'0', 0)[..300].to_vec()),
        ("truncated body", header(b"a", b'0', 10)),
        (
            "truncated padding",
            with_body(b"a", b'0', b"hello")[..520].to_vec(),
        ),
        (
            "extension without entry",
            cat(&[&with_body(b"p", b'x', b"10 path=a\n"), &end]),
        ),
        (
            "extension at the end",
            with_body(b"p", b'x', b"10 path=a\n"),
        ),
        ("garbage", vec![b'x'; 1024]),
        (
            "trailing garbage",
            cat(&[&header(b"a", b'0', 0), &end, b"x"]),
        ),
        ("entry after the end", cat(&[&end, &header(b"a", b'0', 0)])),
        (
            "lone zero block",
            cat(&[&end[..512], &header(b"a", b'0', 0)]),
        ),
        (
            "two pax headers",
            cat(&[
                &with_body(b"p", b'x', b"10 path=a\n"),
                &with_body(b"p", b'x', b"10 path=b\n"),
                &header(b"a", b'0', 0),
            ]),
        ),
        (
            "two names",
            cat(&[
                &with_body(b"p", b'x', b"10 path=a\n"),
                &with_body(b"L", b'L', b"b\0"),
                &header(b"a", b'0', 0),
            ]),
        ),
        (
            "malformed pax",
            cat(&[
                &with_body(b"p", b'x', b"11 path=a\n"),
                &header(b"a", b'0', 0),
            ]),
        ),
        ("old directory with body", with_body(b"d/", b'0', b"x")),
        ("symlink with body", with_body(b"d", b'2', b"x")),
        ("multi-volume", header(b"d", b'M', 0)),
        ("huge extension", header(b"p", b'x', 1 << 40)),
        (
            "global path",
            cat(&[
                &with_body(b"p", b'g', b"10 path=a\n"),
                &header(b"a", b'0', 0),
            ]),
        ),
    ];
    for (what, bytes) in table {
        assert!(all(&bytes).is_err(), "{what}");
    }
}

#[test]
fn checksums() {
    let mut h = header(b"a", b'0', 0);
    h[0] = b'b';
    assert!(matches!(all(&h), Err(Fault::Checksum)));
    // A name outside ASCII, summed as signed bytes by an old writer.
    let mut h = header(b"\xe4", b'0', 0);
    let sum: i64 = h
        .iter()
        .enumerate()
        .map(|(i, b)| {
            if (148..156).contains(&i) {
                32
            } else {
                i64::from(*b as i8)
            }
        })
        .sum();
    h[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert!(all(&h).is_ok());
}

proptest::proptest! {
    #[test]
    fn never_panics(blocks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 512), 0..6)) {
        let _ = all(&blocks.concat());
    }

    /// Random damage to a valid archive, with the checksum made right again.
    #[test]
    fn never_panics_on_damage(at in 0usize..512, value: u8, which in 0usize..3) {
        let mut t = with_body(b"pax", b'x', b"10 path=a\n");
        t.extend(with_body(b"x", b'0', b"hello"));
        t.extend(header(b"s", b'S', 0));
        t.extend([0; 1024]);
        let start = [0, 1024, 2048][which];
        t[start + at] = value;
        let mut h = tar::Header::new_old();
        h.as_mut_bytes().copy_from_slice(&t[start..start + 512]);
        h.set_cksum();
        t[start..start + 512].copy_from_slice(h.as_bytes());
        let _ = all(&t);
    }
}
