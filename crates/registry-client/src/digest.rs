//! A running digest that can be stopped and taken up again.

use std::fmt;

use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::Digest as _;

/// Hashes bytes as they arrive, and counts them. Cloning one keeps the state so far, so that a
/// download broken off at some offset can be continued with the digest of the whole still verified
/// ([`Client::blob_continue`](crate::Client::blob_continue)).
#[derive(Clone)]
pub struct Hasher {
    state: State,
    bytes: u64,
}

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// A hasher of the algorithm of `digest`; `None` if it is not one of SHA-256, SHA-384, SHA-512.
    pub fn for_digest(digest: &Digest) -> Option<Self> {
        let state = match digest.algorithm() {
            DigestAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            DigestAlgorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            DigestAlgorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            _ => return None,
        };
        Some(Self { state, bytes: 0 })
    }

    /// A SHA-256 hasher.
    pub fn sha256() -> Self {
        Self {
            state: State::Sha256(sha2::Sha256::new()),
            bytes: 0,
        }
    }

    /// Takes in `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        match &mut self.state {
            State::Sha256(h) => h.update(data),
            State::Sha384(h) => h.update(data),
            State::Sha512(h) => h.update(data),
        }
    }

    /// How many bytes were taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest so far, as `algorithm:hex`.
    pub fn text(&self) -> String {
        match &self.state {
            State::Sha256(h) => format!("sha256:{}", hex::encode(h.clone().finalize())),
            State::Sha384(h) => format!("sha384:{}", hex::encode(h.clone().finalize())),
            State::Sha512(h) => format!("sha512:{}", hex::encode(h.clone().finalize())),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-4 examples for "abc".
        let sha512: Digest = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            .parse().unwrap();
        let sha256: Digest =
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
                .parse()
                .unwrap();
        for digest in [sha256, sha512] {
            let mut hasher = Hasher::for_digest(&digest).unwrap();
            hasher.update(b"a");
            let mut other = hasher.clone();
            other.update(b"bc");
            assert_eq!(other.text(), digest.as_ref());
            assert_eq!((hasher.bytes(), other.bytes()), (1, 3));
        }
        assert!(Hasher::for_digest(&"md5:abc".parse().unwrap()).is_none());
    }
}
