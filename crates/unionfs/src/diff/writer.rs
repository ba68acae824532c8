//! Writes a tar archive: ustar, with PAX records for what does not fit or is not ASCII.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use sha2::{Digest, Sha256};

use super::{Digests, changed};
use crate::archive::padding;
use crate::error::At;
use crate::{Error, Timestamp};

/// An entry, without its body.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) path: Vec<u8>,
    pub(super) flag: u8,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) link: Vec<u8>,
    pub(super) device: (u32, u32),
    pub(super) xattrs: crate::fsutil::Xattrs,
}

pub(super) struct Writer<W> {
    out: W,
    hasher: Sha256,
    buffer: Vec<u8>,
    bytes: u64,
    entries: u64,
}

/// One write.
const BUFFER: usize = 128 * 1024;
/// The largest number in seven octal digits: ids, modes, devices.
const SEVEN_DIGITS: u64 = 0o777_7777;
/// The largest number in eleven octal digits: sizes and times.
const ELEVEN_DIGITS: u64 = 0o777_7777_7777;
/// Path and link target fields of a header.
const NAME_FIELD: usize = 100;

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Writer {
            out,
            hasher: Sha256::new(),
            buffer: Vec::with_capacity(BUFFER),
            bytes: 0,
            entries: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.hasher.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.out
            .write_all(&self.buffer)
            .at("writing", "the layer archive")?;
        self.buffer.clear();
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let zeros = [0; 512];
        let padding = usize::try_from(padding(size)).unwrap_or_default();
        self.put(zeros.get(..padding).unwrap_or_default())
    }

    pub(super) fn head(&mut self, head: &Head) -> Result<(), Error> {
        let records = records(head)?;
        if !records.is_empty() {
            let pax = Head {
                path: b"PaxHeaders/0".to_vec(),
                flag: b'x',
                mode: 0o644,
                size: records.len() as u64,
                ..Head::default()
            };
            self.put(block(&pax).as_bytes())?;
            self.put(&records)?;
            self.pad(pax.size)?;
        }
        self.entries += 1;
        self.put(block(head).as_bytes())
    }

    pub(super) fn body(&mut self, file: OwnedFd, size: u64, path: &[u8]) -> Result<(), Error> {
        let mut file = File::from(file);
        let mut chunk = vec![0; BUFFER.min(usize::try_from(size).unwrap_or(BUFFER))];
        let mut left = size;
        while left > 0 {
            let want = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let part = chunk.get_mut(..want).unwrap_or_default();
            let read = file.read(part).at_entry("reading", path)?;
            if read == 0 {
                return Err(changed(path));
            }
            self.put(part.get(..read).unwrap_or_default())?;
            left -= read as u64;
        }
        self.pad(size)
    }

    pub(super) fn finish(mut self) -> Result<Digests, Error> {
        self.put(&[0; 1024])?;
        self.flush()?;
        self.out.flush().at("writing", "the layer archive")?;
        let diff_id = format!("sha256:{}", hex::encode(self.hasher.finalize()));
        Ok(Digests {
            diff_id,
            bytes: self.bytes,
            entries: self.entries,
        })
    }
}

/// The header block; what does not fit stands in the records before it.
fn block(head: &Head) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    let fits = |n: u64, most: u64| if n <= most { n } else { 0 };
    header.set_mode(head.mode);
    header.set_uid(fits(head.uid.into(), SEVEN_DIGITS));
    header.set_gid(fits(head.gid.into(), SEVEN_DIGITS));
    header.set_size(fits(head.size, ELEVEN_DIGITS));
    header.set_mtime(fits(
        u64::try_from(head.mtime.seconds).unwrap_or_default(),
        ELEVEN_DIGITS,
    ));
    header.set_entry_type(tar::EntryType::new(head.flag));
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, &head.path);
        fill(&mut ustar.linkname, &head.link);
        ustar.set_device_major(fits(head.device.0.into(), SEVEN_DIGITS) as u32);
        ustar.set_device_minor(fits(head.device.1.into(), SEVEN_DIGITS) as u32);
    }
    header.set_cksum();
    header
}

fn fill(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn records(head: &Head) -> Result<Vec<u8>, Error> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| records.extend(pax_record(key, value));
    let needs = |text: &[u8]| text.len() > NAME_FIELD || !text.is_ascii();
    let not_utf8 = |text: &[u8]| std::str::from_utf8(text).is_err();
    if not_utf8(&head.path) || not_utf8(&head.link) {
        add(b"hdrcharset", b"BINARY");
    }
    if needs(&head.path) {
        add(b"path", &head.path);
    }
    if needs(&head.link) {
        add(b"linkpath", &head.link);
    }
    if u64::from(head.uid) > SEVEN_DIGITS {
        add(b"uid", head.uid.to_string().as_bytes());
    }
    if u64::from(head.gid) > SEVEN_DIGITS {
        add(b"gid", head.gid.to_string().as_bytes());
    }
    if head.size > ELEVEN_DIGITS {
        add(b"size", head.size.to_string().as_bytes());
    }
    let plain_time = u64::try_from(head.mtime.seconds).is_ok_and(|s| s <= ELEVEN_DIGITS);
    if !plain_time || head.mtime.nanoseconds != 0 {
        add(b"mtime", pax_time(head.mtime).as_bytes());
    }
    for (name, value) in &head.xattrs {
        if name.contains(&b'=') {
            return Err(super::corrupt(
                &head.path,
                "an extended attribute's name has a = in it".to_owned(),
            ));
        }
        add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    Ok(records)
}

fn pax_time(time: Timestamp) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        // -1.25 s is two seconds before and three quarters after.
        (true, n) => ("-", time.seconds.unsigned_abs() - 1, 1_000_000_000 - n),
        (false, n) => ("", time.seconds.unsigned_abs(), n),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// One PAX record: `length key=value\n`, where the length counts itself.
pub(crate) fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_count_themselves() {
        for n in [0, 1, 3, 4, 5, 89, 90, 91, 92, 93, 986, 987, 988, 990, 9000] {
            let record = pax_record(b"k", &vec![b'v'; n]);
            let digits = record.split(|b| *b == b' ').next().unwrap();
            assert_eq!(
                std::str::from_utf8(digits)
                    .unwrap()
                    .parse::<usize>()
                    .unwrap(),
                record.len()
            );
        }
    }

    #[test]
    fn times() {
        let t = |seconds, nanoseconds| {
            pax_time(Timestamp {
                seconds,
                nanoseconds,
            })
        };
        assert_eq!(t(1, 0), "1");
        assert_eq!(t(1, 500_000_000), "1.5");
        assert_eq!(t(1, 1), "1.000000001");
        assert_eq!(t(-1, 0), "-1");
        assert_eq!(t(-2, 750_000_000), "-1.25");
        assert_eq!(t(-1, 500_000_000), "-0.5");
    }
}
