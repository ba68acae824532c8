//! JSON with an upper bound, and JSON whose bytes depend on its content alone.

use std::collections::BTreeMap;
use std::io::Read;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use crate::Error;

/// The largest manifest, index or config in bytes; registries refuse larger ones as well.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// Reads at most [`MAX_DOCUMENT`] bytes.
pub(crate) fn read_bounded(reader: impl Read, what: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::read(what))?;
    check_size(bytes.len() as u64, what)?;
    Ok(bytes)
}

pub(crate) fn check_size(size: u64, what: &str) -> Result<(), Error> {
    if size > MAX_DOCUMENT {
        return Err(Error::TooLarge {
            what: what.to_owned(),
            limit: MAX_DOCUMENT,
        });
    }
    Ok(())
}

/// Parses an object of at most [`MAX_DOCUMENT`] bytes.
pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Value, Error> {
    check_size(bytes.len() as u64, what)?;
    let value: Value = serde_json::from_slice(bytes).map_err(Error::json(what))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Error::invalid(what, "it is not a JSON object"))
    }
}

/// Serialises with sorted keys: `oci-spec` keeps labels and annotations in hash maps, whose order is random,
/// and a dependant may have switched `serde_json`'s objects to insertion order.
pub(crate) fn canonical(value: &impl Serialize, what: &str) -> Result<Vec<u8>, Error> {
    let value = serde_json::to_value(value).map_err(Error::json(what))?;
    serde_json::to_vec(&Sorted(&value)).map_err(Error::json(what))
}

struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                let sorted: BTreeMap<_, _> = object.iter().collect();
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (key, value) in sorted {
                    map.serialize_entry(key, &Sorted(value))?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Sorted(item))?;
                }
                seq.end()
            }
            other => other.serialize(serializer),
        }
    }
}
