//! PAX extended headers (POSIX.1-2017, pax, "pax Header Block"): strict, and binary-safe.
//!
//! The `tar` crate splits records at newlines, but a value may contain one (`security.capability` does): here the length
//! rules, and everything it does not account for is an error.

use super::{Fault, number, sparse};
use crate::Timestamp;

/// What PAX records say about the entry that follows them.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: crate::fsutil::Xattrs,
    pub(super) sparse: sparse::Records,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Pax {
    /// Records of a local header (`x`).
    pub(super) fn local(data: &[u8]) -> Result<Pax, Fault> {
        let mut pax = Pax::default();
        for record in Records(data) {
            let (key, value) = record?;
            pax.set(key, value)?;
        }
        Ok(pax)
    }

    /// Records of a global header (`g`) become the defaults of all that follows.
    ///
    /// Readers disagree on global paths and sizes (GNU tar obeys them, Go's reader does not), so those are refused.
    pub(super) fn merge_global(&mut self, data: &[u8]) -> Result<(), Fault> {
        for record in Records(data) {
            let (key, value) = record?;
            match key {
                b"path" | b"linkpath" | b"size" => return Err(Fault::GlobalPax),
                _ if key.starts_with(b"GNU.sparse.") || key.starts_with(XATTR) => {
                    return Err(Fault::GlobalPax);
                }
                _ => self.set(key, value)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        // An empty value takes a record of the same key back.
        let given = !value.is_empty();
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.linkpath = text(value)?,
            b"size" => {
                self.size = given
                    .then(|| number::decimal("PAX size", value))
                    .transpose()?
            }
            b"uid" => self.uid = given.then(|| id("PAX uid", value)).transpose()?,
            b"gid" => self.gid = given.then(|| id("PAX gid", value)).transpose()?,
            b"mtime" => {
                self.mtime = given
                    .then(|| number::time("PAX mtime", value))
                    .transpose()?
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    if name.is_empty() || name.contains(&0) {
                        return Err(Fault::Pax("an extended attribute without a valid name"));
                    }
                    self.xattrs.retain(|(n, _)| n != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(name, value)?;
                }
            }
        }
        Ok(())
    }
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    if value.contains(&0) {
        return Err(Fault::Pax("a path with a NUL in it"));
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn id(field: &'static str, value: &[u8]) -> Result<u32, Fault> {
    // The highest one means "leave it" to chown.
    u32::try_from(number::decimal(field, value)?)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or(Fault::Number { field })
}

/// `length key=value\n`, where the length counts itself.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = record(self.0);
        self.0 = record.as_ref().map_or(&[], |(_, _, rest)| rest);
        Some(record.map(|(key, value, _)| (key, value)))
    }
}

type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(data: &[u8]) -> Result<Split<'_>, Fault> {
    let space = data
        .iter()
        .take(20)
        .position(|b| *b == b' ')
        .ok_or(Fault::Pax("a record without a length"))?;
    let (digits, _) = data.split_at(space);
    let length = number::decimal("PAX record length", digits)?;
    let length = usize::try_from(length)
        .ok()
        .filter(|l| *l <= data.len())
        .ok_or(Fault::Pax("a record longer than its header"))?;
    let (this, rest) = data.split_at(length);
    let body = this
        .get(space + 1..)
        .and_then(|body| body.strip_suffix(b"\n"))
        .ok_or(Fault::Pax(
            "a record whose length does not end at its newline",
        ))?;
    let equals = body
        .iter()
        .position(|b| *b == b'=')
        .ok_or(Fault::Pax("a record without ="))?;
    let (key, value) = body.split_at(equals);
    if key.is_empty() || key.contains(&0) {
        return Err(Fault::Pax("a record without a valid key"));
    }
    Ok((key, value.get(1..).unwrap_or_default(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let pax =
            Pax::local(b"12 path=a/b\n13 size=1234\n30 mtime=1350244992.023960108\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(pax.size, Some(1234));
        assert_eq!(
            pax.mtime,
            Some(Timestamp {
                seconds: 1_350_244_992,
                nanoseconds: 23_960_108
            })
        );
    }

    #[test]
    fn values_may_contain_newlines() {
        let pax = Pax::local(b"35 SCHILY.xattr.user.a=1\n22 path=x\n").unwrap();
        assert_eq!(
            pax.xattrs,
            vec![(b"user.a".to_vec(), b"1\n22 path=x".to_vec())]
        );
        assert_eq!(pax.path, None);
    }

    #[test]
    fn malformed_is_an_error() {
        let table: [&[u8]; 12] = [
            b"x",
            b"12",
            b" path=a\n",
            b"99 path=a/b\n",
            b"11 path=a/b\n",
            b"14 path=a/b\n\n",
            b"012345678901234567890 path=a\n",
            b"5 =a\n",
            b"7 path\n",
            b"12 size=12x\n",
            b"11 size=-1\n",
            b"10 path=\0\n",
        ];
        for data in table {
            assert!(
                Pax::local(data).is_err(),
                "{:?}",
                String::from_utf8_lossy(data)
            );
        }
    }

    #[test]
    fn an_empty_value_takes_back() {
        let pax = Pax::local(b"10 path=a\n8 path=\n").unwrap();
        assert_eq!(pax.path, None);
    }

    #[test]
    fn global_paths_are_refused() {
        let mut pax = Pax::default();
        assert!(pax.merge_global(b"10 path=a\n").is_err());
        assert!(pax.merge_global(b"10 size=1\n").is_err());
        pax.merge_global(b"16 comment=abcd\n8 uid=7\n").unwrap();
        assert_eq!(pax.uid, Some(7));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            let _ = Pax::local(&data);
        }

        #[test]
        fn xattr_values_survive(value: Vec<u8>) {
            let record = crate::diff::pax_record(b"SCHILY.xattr.user.v", &value);
            let pax = Pax::local(&record).unwrap();
            proptest::prop_assert_eq!(&pax.xattrs, &vec![(b"user.v".to_vec(), value)]);
        }
    }
}
