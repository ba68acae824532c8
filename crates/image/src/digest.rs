//! Digests: validation and computation. The type is [`oci_spec::image::Digest`].

use std::io::{self, Read, Write};

use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::Digest as _;

use crate::Error;
use crate::error::cut;

/// Parses and validates a digest: the only way text becomes one in this crate.
///
/// ```
/// let text = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";
/// assert_eq!(orlop_image::digest::parse(text)?.to_string(), text);
/// assert!(orlop_image::digest::parse("sha256:../../etc/passwd").is_err());
/// # Ok::<(), orlop_image::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidDigest`] if it does not follow the grammar of the image specification's
/// `descriptor.md`, or names an algorithm that this crate cannot verify.
pub fn parse(text: &str) -> Result<Digest, Error> {
    let digest = Digest::try_from(text).map_err(|error| Error::InvalidDigest {
        text: cut(text),
        reason: error.to_string(),
    })?;
    check(&digest)?;
    Ok(digest)
}

/// Checks that a digest is one this crate can verify (sha256, sha384, sha512), and so safe in a path.
///
/// The type of `oci-spec` also holds unregistered algorithms; everything that makes a path of a digest calls this.
///
/// # Errors
///
/// [`Error::InvalidDigest`] naming the algorithm.
pub fn check(digest: &Digest) -> Result<(), Error> {
    match digest.algorithm() {
        // The type guarantees the length and lower-case hexadecimal characters of these.
        DigestAlgorithm::Sha256 | DigestAlgorithm::Sha384 | DigestAlgorithm::Sha512 => Ok(()),
        other => Err(Error::InvalidDigest {
            text: cut(digest.as_ref()),
            reason: format!("algorithm {:?} is not supported", cut(other.as_ref())),
        }),
    }
}

/// The sha256 digest of some bytes.
pub fn of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Checks bytes against a digest.
///
/// # Errors
///
/// [`Error::DigestMismatch`], or [`Error::InvalidDigest`] for an algorithm without verification.
pub fn verify(expected: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let mut hasher = Hasher::for_digest(expected)?;
    hasher.update(bytes);
    hasher.verify(expected)
}

/// A digest being computed.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Default for Hasher {
    /// A sha256 hasher.
    fn default() -> Self {
        Hasher(State::Sha256(sha2::Sha256::new()))
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            State::Sha256(_) => "Hasher(sha256)",
            State::Sha384(_) => "Hasher(sha384)",
            State::Sha512(_) => "Hasher(sha512)",
        })
    }
}

impl Hasher {
    /// A hasher of the algorithm of `digest`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDigest`] if that algorithm is not supported.
    pub fn for_digest(digest: &Digest) -> Result<Hasher, Error> {
        check(digest)?;
        Ok(Hasher(match digest.algorithm() {
            DigestAlgorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            DigestAlgorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            _ => State::Sha256(sha2::Sha256::new()),
        }))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Adds all a reader gives. Gives their number.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] naming `what`.
    pub fn update_from(&mut self, mut reader: impl Read, what: &str) -> Result<u64, Error> {
        let mut buffer = vec![0; 128 << 10];
        let mut total = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(n) => {
                    self.update(&buffer[..n]);
                    total += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read(what)(error)),
            }
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self.0 {
            State::Sha256(state) => ("sha256", hex::encode(state.finalize())),
            State::Sha384(state) => ("sha384", hex::encode(state.finalize())),
            State::Sha512(state) => ("sha512", hex::encode(state.finalize())),
        };
        match Digest::try_from(format!("{algorithm}:{hex}")) {
            Ok(digest) => digest,
            Err(_) => unreachable!("a computed digest follows the grammar"),
        }
    }

    /// Ends and compares with `expected`.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`].
    pub fn verify(self, expected: &Digest) -> Result<(), Error> {
        let actual = self.finish();
        if actual == *expected {
            Ok(())
        } else {
            Err(Error::DigestMismatch {
                expected: expected.clone(),
                actual,
            })
        }
    }
}

/// A reader or writer that hashes and counts what passes through it.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    count: u64,
}

impl<T> Hashing<T> {
    /// Hashes with sha256.
    pub fn new(inner: T) -> Self {
        Hashing {
            inner,
            hasher: Hasher::default(),
            count: 0,
        }
    }

    /// Bytes passed so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest of what passed, the number of bytes, and the inner value.
    pub fn finish(self) -> (Digest, u64, T) {
        (self.hasher.finish(), self.count, self.inner)
    }

    /// The inner value.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_digests_are_refused() {
        let a64 = "a".repeat(64);
        for text in [
            "",
            "sha256",
            "sha256:",
            ":",
            "sha256:abc",
            "../x:y",
            "sha256:../../../../etc/passwd",
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{a64}a"),
            &format!("sha256:{a64}/"),
            &format!("sha256:{}\0", "a".repeat(63)),
            &format!("SHA256:{a64}"),
            &format!("sha512:{a64}"),
            &format!("md5:{}", "a".repeat(32)),
            &format!("sha256+b64:{a64}"),
            "foo:bar",
            "é:ü",
        ] {
            let error = parse(text).expect_err(text);
            assert!(
                matches!(error, Error::InvalidDigest { .. }),
                "{text:?}: {error:?}"
            );
        }
    }

    #[test]
    fn known_vectors() {
        assert_eq!(
            of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let sha512 = parse(concat!(
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ))
        .unwrap();
        verify(&sha512, b"abc").unwrap();
        assert!(matches!(
            verify(&sha512, b"abd"),
            Err(Error::DigestMismatch { .. })
        ));
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_gives_back_what_it_took(text in "\\PC{0,140}") {
            if let Ok(digest) = parse(&text) {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn a_parsed_digest_has_no_path_in_it(text in "(sha256|sha512|x\\.y):[a-zA-Z0-9/._=-]{0,130}") {
            if let Ok(digest) = parse(&text) {
                prop_assert!(digest.digest().bytes().all(|b| b.is_ascii_hexdigit()));
            }
        }
    }
}
