//! The formats of the kernel's statistics files: text in, values out.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst, "Format". Lines this crate does not know are passed
//! over, since kernels add to these files; what it does know must be well formed.

use std::collections::BTreeMap;

use super::{IoStats, Pressure, PressureShare};

/// A flat keyed file: `key number` in each line. `None` if a line is different.
pub(crate) fn flat(text: &str) -> Option<BTreeMap<String, u64>> {
    text.lines()
        .map(|line| {
            let (key, value) = line.trim_end().split_once(' ')?;
            // Some counters are signed in the kernel and may be seen below zero for a moment.
            let value = match value.parse::<u64>() {
                Ok(value) => value,
                Err(_) => value.parse::<i64>().ok().map(|_| 0)?,
            };
            Some((key.to_owned(), value))
        })
        .collect()
}

/// One value of a flat keyed file.
pub(crate) fn flat_value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (found, value) = line.trim_end().split_once(' ')?;
        (found == key).then(|| value.parse().ok())?
    })
}

/// A number alone.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A limit alone: `Some(None)` for `max`, and for v1's largest number, which is as much as unlimited.
pub(crate) fn limit(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "max" => Some(None),
        // v1 rounds the largest signed number down to a page of up to 64 KiB.
        text => text
            .parse()
            .ok()
            .map(|n: u64| (n < i64::MAX as u64 & !0xffff).then_some(n)),
    }
}

/// v2's `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` in each line.
pub(crate) fn io_v2(text: &str) -> Option<Vec<IoStats>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        // A device without statistics may leave an empty line, or its number alone.
        let Some(device) = words.next() else { continue };
        let (major, minor) = device_number(device)?;
        let mut stats = IoStats {
            major,
            minor,
            ..IoStats::default()
        };
        let mut any = false;
        for word in words {
            let (key, value) = word.split_once('=')?;
            let slot = match key {
                "rbytes" => &mut stats.read_bytes,
                "wbytes" => &mut stats.write_bytes,
                "rios" => &mut stats.reads,
                "wios" => &mut stats.writes,
                _ => continue,
            };
            *slot = value.parse().ok()?;
            any = true;
        }
        if any {
            all.push(stats);
        }
    }
    Some(all)
}

/// v1's two blkio files, `8:0 Read 123` in each line: bytes and operations.
pub(crate) fn io_v1(bytes: &str, operations: &str) -> Option<Vec<IoStats>> {
    let mut all: BTreeMap<(u32, u32), IoStats> = BTreeMap::new();
    for (text, count_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(device), Some(key), Some(value)) = (words.next(), words.next(), words.next())
            else {
                // The last line is the total over all devices, in two words.
                continue;
            };
            let (major, minor) = device_number(device)?;
            let stats = all.entry((major, minor)).or_insert_with(|| IoStats {
                major,
                minor,
                ..IoStats::default()
            });
            let slot = match (key, count_bytes) {
                ("Read", true) => &mut stats.read_bytes,
                ("Write", true) => &mut stats.write_bytes,
                ("Read", false) => &mut stats.reads,
                ("Write", false) => &mut stats.writes,
                _ => continue,
            };
            *slot = value.parse().ok()?;
        }
    }
    Some(all.into_values().collect())
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
pub(crate) fn pressure(text: &str) -> Option<Pressure> {
    let mut some = None;
    let mut full = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let slot = match words.next()? {
            "some" => &mut some,
            "full" => &mut full,
            _ => continue,
        };
        let mut share = PressureShare::default();
        for word in words {
            let (key, value) = word.split_once('=')?;
            match key {
                "avg10" => share.avg10 = value.parse().ok()?,
                "avg60" => share.avg60 = value.parse().ok()?,
                "avg300" => share.avg300 = value.parse().ok()?,
                "total" => share.total_us = value.parse().ok()?,
                _ => {}
            }
        }
        *slot = Some(share);
    }
    Some(Pressure { some: some?, full })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flat_files() {
        let text = "usage_usec 12\nnr_throttled 3\nbelow -1\n";
        let map = flat(text).unwrap();
        assert_eq!(
            (map["usage_usec"], map["nr_throttled"], map["below"]),
            (12, 3, 0)
        );
        assert_eq!(flat_value(text, "nr_throttled"), Some(3));
        assert_eq!(flat_value(text, "nr"), None);
        assert_eq!(flat("a\n"), None);
        assert_eq!(flat("a b\n"), None);
        assert_eq!(flat("").unwrap(), BTreeMap::new());
    }

    #[test]
    fn limits() {
        assert_eq!(limit("max\n"), Some(None));
        assert_eq!(limit("9223372036854771712\n"), Some(None));
        assert_eq!(limit("9223372036854710272\n"), Some(None));
        assert_eq!(limit("65536\n"), Some(Some(65536)));
        assert_eq!(limit("x\n"), None);
    }

    #[test]
    fn io_files() {
        let text = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0\n\n254:0 rbytes=9\n";
        let stats = io_v2(text).unwrap();
        assert_eq!(stats.len(), 2);
        let first = &stats[0];
        assert_eq!(
            (first.major, first.minor, first.reads, first.writes),
            (8, 0, 3, 4)
        );
        assert_eq!(stats[1].read_bytes, 9);
        assert_eq!(io_v2("8 rbytes=1\n"), None);
        assert_eq!(io_v2("8:0 rbytes=x\n"), None);

        let bytes = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n";
        let operations = "8:0 Read 1\n8:0 Write 2\n8:16 Read 7\nTotal 10\n";
        let stats = io_v1(bytes, operations).unwrap();
        assert_eq!(stats.len(), 2);
        let first = &stats[0];
        assert_eq!(
            [
                first.read_bytes,
                first.write_bytes,
                first.reads,
                first.writes
            ],
            [10, 20, 1, 2]
        );
        assert_eq!((stats[1].minor, stats[1].reads), (16, 7));
    }

    #[test]
    fn pressure_files() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        let read = pressure(text).unwrap();
        assert_eq!((read.some.avg10, read.some.total_us), (1.5, 42));
        assert_eq!(read.full.unwrap().total_us, 7);
        assert_eq!(pressure("some avg10=0 total=1\n").unwrap().full, None);
        assert_eq!(pressure("full avg10=0 total=1\n"), None);
        assert_eq!(pressure("some avg10=x\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(\\PC{0,12}[ \\n:=]){0,12}") {
            let _ = (flat(&text), flat_value(&text, "a"), number(&text), limit(&text));
            let _ = (io_v2(&text), io_v1(&text, &text), pressure(&text));
        }

        #[test]
        fn what_is_written_is_read(entries in prop::collection::btree_map("[a-z_]{1,8}", any::<u64>(), 0..8)) {
            let text: String = entries.iter().map(|(k, v)| format!("{k} {v}\n")).collect();
            prop_assert_eq!(flat(&text), Some(entries));
        }
    }
}
