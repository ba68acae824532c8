//! Ids and made-up names of containers.

use std::io;

use crate::error::Error;

const QUALITIES: [&str; 32] = [
    "able", "agile", "bold", "brave", "brisk", "bright", "calm", "clear", "deft", "eager", "fair",
    "fast", "fond", "free", "glad", "hardy", "keen", "kind", "light", "lively", "loyal", "merry",
    "neat", "noble", "proud", "quick", "quiet", "sharp", "steady", "sunny", "swift", "trim",
];

const THINGS: [&str; 40] = [
    "anchor", "barque", "beacon", "boom", "bosun", "bow", "brig", "buoy", "cable", "capstan",
    "clipper", "compass", "cutter", "deck", "dinghy", "fathom", "galley", "gannet", "halyard",
    "harbour", "hull", "jib", "keel", "ketch", "lantern", "locker", "mast", "oar", "petrel",
    "pilot", "quay", "rigging", "rudder", "schooner", "sextant", "sloop", "spar", "tern", "tiller",
    "yawl",
];

/// 64 random hexadecimal digits.
pub(crate) fn random() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::While {
                    operation: "making an id".to_owned(),
                    source: Box::new(Error::Io {
                        operation: "reading random bytes from",
                        path: "getrandom(2)".into(),
                        source: io::Error::from(errno),
                    }),
                });
            }
        }
    }
    let id = hex::encode(bytes);
    // Twelve digits are shown, and used as a host name: all digits would be read as a number by some programs.
    if id.bytes().take(12).all(|b| b.is_ascii_digit()) {
        random()
    } else {
        Ok(id)
    }
}

/// A name made of the id, the `attempt`-th of several.
pub(crate) fn made_up_name(id: &str, attempt: usize) -> String {
    let number = usize::from_str_radix(id.get(..8).unwrap_or_default(), 16)
        .unwrap_or_default()
        .wrapping_add(attempt * 7919);
    let quality = QUALITIES
        .get(number % QUALITIES.len())
        .copied()
        .unwrap_or("able");
    let thing = THINGS
        .get((number / QUALITIES.len()) % THINGS.len())
        .copied()
        .unwrap_or("anchor");
    match attempt {
        0..16 => format!("{quality}_{thing}"),
        _ => format!("{quality}_{thing}{attempt}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_names_are_legal() {
        let (one, two) = (random().unwrap(), random().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 64);
        for attempt in 0..40 {
            crate::check::container_name(&made_up_name(&one, attempt)).unwrap();
        }
        assert_ne!(made_up_name(&one, 0), made_up_name(&one, 1));
    }
}
