//! The four ways GNU tar has of storing a file with holes (GNU tar manual, "Storing Sparse Files").

use super::{Fault, Input, number};
use std::io::Read;

/// Where the stored bytes of a file with holes belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    /// Length of the file with its holes.
    pub(crate) size: u64,
    /// Offset and length of each stretch of data, ascending.
    pub(crate) data: Vec<(u64, u64)>,
}

/// A map longer than this is taken for an attack on memory; GNU tar writes one entry a hole.
const MOST_STRETCHES: usize = 1 << 20;

impl Map {
    /// Checks order, bounds and that the stretches account for every stored byte.
    fn new(size: u64, data: Vec<(u64, u64)>, stored: u64) -> Result<Map, Fault> {
        let mut end = 0u64;
        let mut sum = 0u64;
        for (offset, length) in &data {
            if *offset < end {
                return Err(Fault::Sparse("its stretches overlap or are out of order"));
            }
            end = offset
                .checked_add(*length)
                .ok_or(Fault::Sparse("a stretch is too long"))?;
            sum = sum.saturating_add(*length);
        }
        if end > size || i64::try_from(size).is_err() {
            return Err(Fault::Sparse("a stretch ends behind the file's end"));
        }
        if sum != stored {
            return Err(Fault::Sparse(
                "its stretches do not account for the bytes stored",
            ));
        }
        Ok(Map { size, data })
    }
}

/// `GNU.sparse.*` records of a PAX header.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Records {
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    numbers: Vec<u64>,
    /// Version 0.0 alternates offset and numbytes; a second offset in a row is an error.
    expects_length: bool,
    has_map: bool,
}

impl Records {
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match name {
            b"major" => self.major = Some(number::decimal("GNU.sparse.major", value)?),
            b"minor" => self.minor = Some(number::decimal("GNU.sparse.minor", value)?),
            b"name" => {
                if value.is_empty() || value.contains(&0) {
                    return Err(Fault::Sparse("its name is empty or has a NUL in it"));
                }
                self.name = Some(value.to_vec());
            }
            b"size" | b"realsize" => self.size = Some(number::decimal("GNU.sparse.size", value)?),
            b"numblocks" => self.has_map = true,
            b"offset" | b"numbytes" => {
                if self.expects_length != (name == b"numbytes")
                    || self.numbers.len() >= 2 * MOST_STRETCHES
                {
                    return Err(Fault::Sparse("its map's records are out of order"));
                }
                self.expects_length = !self.expects_length;
                self.numbers
                    .push(number::decimal("GNU.sparse.offset", value)?);
            }
            b"map" => {
                self.has_map = true;
                self.numbers = value
                    .split(|b| *b == b',')
                    .filter(|_| !value.is_empty())
                    .take(2 * MOST_STRETCHES)
                    .map(|n| number::decimal("GNU.sparse.map", n))
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The map, if these records describe a sparse file; `stored` shrinks by what the map itself takes in version 1.0.
    pub(super) fn map<R: Read>(
        &self,
        input: &mut Input<R>,
        stored: &mut u64,
    ) -> Result<Option<Map>, Fault> {
        let numbers = match (self.major, self.minor) {
            (Some(1), Some(0)) => read_map(input, stored)?,
            (None | Some(0), _) if self.has_map => self.numbers.clone(),
            (None, None) => return Ok(None),
            _ => return Err(Fault::Sparse("its version is unknown")),
        };
        let size = self.size.ok_or(Fault::Sparse("its size is missing"))?;
        Map::new(size, pairs(&numbers)?, *stored).map(Some)
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, Fault> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::Sparse("its map is cut off"));
    }
    Ok(pairs
        .iter()
        .map(|[offset, length]| (*offset, *length))
        .collect())
}

/// Version 1.0: the map stands before the data, decimal numbers a line, padded to a block.
fn read_map<R: Read>(input: &mut Input<R>, stored: &mut u64) -> Result<Vec<u64>, Fault> {
    let mut numbers = Vec::new();
    let mut line = Vec::new();
    let mut want = None;
    while want.is_none_or(|w| numbers.len() < w) {
        *stored = stored
            .checked_sub(512)
            .ok_or(Fault::Sparse("its map is cut off"))?;
        let block = input.block()?.ok_or(Fault::Truncated)?;
        for byte in block {
            if *byte != b'\n' {
                if line.len() >= 20 {
                    return Err(Fault::Sparse("its map holds something else than numbers"));
                }
                line.push(*byte);
                continue;
            }
            let number = number::decimal("sparse map", &line)?;
            line.clear();
            match want {
                None => {
                    let stretches = usize::try_from(number)
                        .ok()
                        .filter(|n| *n <= MOST_STRETCHES);
                    want = Some(
                        stretches
                            .ok_or(Fault::Sparse("its map is too long"))?
                            .saturating_mul(2),
                    );
                }
                Some(_) => numbers.push(number),
            }
            if want == Some(numbers.len()) {
                break;
            }
        }
    }
    Ok(numbers)
}

/// The oldest form: the map stands in the header and in extension blocks behind it, which the size does not count.
pub(super) fn old_gnu<R: Read>(
    header: &tar::GnuHeader,
    input: &mut Input<R>,
    stored: u64,
) -> Result<Map, Fault> {
    let mut data = Vec::new();
    let mut add = |blocks: &[tar::GnuSparseHeader]| {
        for block in blocks {
            // An unused slot begins with a NUL.
            if block.offset.first() == Some(&0) || block.numbytes.first() == Some(&0) {
                continue;
            }
            data.push((
                number::unsigned("sparse offset", &block.offset)?,
                number::unsigned("sparse length", &block.numbytes)?,
            ));
        }
        if data.len() > MOST_STRETCHES {
            return Err(Fault::Sparse("its map is too long"));
        }
        Ok(())
    };
    add(&header.sparse)?;
    let mut extended = header.isextended[0] != 0;
    let mut extension = tar::GnuExtSparseHeader::new();
    while extended {
        extension
            .as_mut_bytes()
            .copy_from_slice(input.block()?.ok_or(Fault::Truncated)?);
        add(&extension.sparse)?;
        extended = extension.isextended[0] != 0;
    }
    let size = number::unsigned("sparse real size", &header.realsize)?;
    // A last stretch of no length only marks the end.
    Map::new(size, data, stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        assert!(Map::new(10, vec![(0, 2), (8, 2)], 4).is_ok());
        assert!(Map::new(10, vec![(10, 0)], 0).is_ok());
        for (size, data, stored) in [
            (10, vec![(0, 4), (2, 4)], 8),
            (10, vec![(8, 4)], 4),
            (10, vec![(0, 4)], 5),
            (u64::MAX, vec![], 0),
            (10, vec![(u64::MAX, 4)], 4),
        ] {
            assert!(
                Map::new(size, data.clone(), stored).is_err(),
                "{size} {data:?} {stored}"
            );
        }
    }

    #[test]
    fn records_of_version_0() {
        let mut r = Records::default();
        for (k, v) in [
            ("size", "100"),
            ("numblocks", "2"),
            ("offset", "0"),
            ("numbytes", "5"),
            ("offset", "90"),
            ("numbytes", "5"),
        ] {
            r.set(k.as_bytes(), v.as_bytes()).unwrap();
        }
        let mut stored = 10;
        let map = r
            .map(&mut Input::new(&b""[..], 0), &mut stored)
            .unwrap()
            .unwrap();
        assert_eq!(
            map,
            Map {
                size: 100,
                data: vec![(0, 5), (90, 5)]
            }
        );
        assert!(r.set(b"numbytes", b"1").is_err());
    }

    #[test]
    fn map_of_version_1() {
        let mut block = b"1\n4096\n3\n".to_vec();
        block.resize(512, 0);
        let mut r = Records::default();
        for (k, v) in [("major", "1"), ("minor", "0"), ("realsize", "5000")] {
            r.set(k.as_bytes(), v.as_bytes()).unwrap();
        }
        let mut stored = 512 + 3;
        let map = r
            .map(&mut Input::new(&block[..], 4096), &mut stored)
            .unwrap()
            .unwrap();
        assert_eq!((map.size, map.data, stored), (5000, vec![(4096, 3)], 3));
        let mut short = 100;
        assert!(
            r.map(&mut Input::new(&block[..], 4096), &mut short)
                .is_err()
        );
    }
}
