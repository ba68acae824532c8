//! gzip and zstd, in and out.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::Error;

/// How a layer tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip at its default level: what every tool reads.
    #[default]
    Gzip,
    /// zstd at its default level: faster and smaller; Docker before 20.10 cannot read it.
    Zstd,
}

impl Compression {
    /// Recognises packed data by its first bytes (ten are enough).
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for bzip2 and xz, which are no layer formats.
    pub fn sniff(start: &[u8]) -> Result<Compression, Error> {
        let unsupported = |what: &str| {
            Err(Error::Unsupported {
                what: format!("{what} (gzip, zstd and plain tar are supported)"),
            })
        };
        match start {
            [0x1f, 0x8b, 0x08, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
            // A skippable frame, as seekable zstd layers may begin with.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unsupported("xz"),
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ] => unsupported("bzip2"),
            _ => Ok(Compression::None),
        }
    }
}

/// The plain bytes of a gzip, zstd or plain stream, told apart by its first bytes.
///
/// Several gzip members or zstd frames in a row are read as one; anything else behind them is an error, and so is a
/// stream that ends early.
///
/// ```
/// use std::io::{Read, Write};
/// use orlop_image::{Compression, compress, decompress};
///
/// let mut packed = compress(Vec::new(), Compression::Zstd)?;
/// packed.write_all(b"hello")?;
/// let packed = packed.finish()?;
/// let mut plain = String::new();
/// decompress(&packed[..])?.read_to_string(&mut plain)?;
/// assert_eq!(plain, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Read`] from the reader, [`Error::Unsupported`] for bzip2 and xz.
pub fn decompress<R: Read>(reader: R) -> Result<Decompressor<R>, Error> {
    let mut input = BufReader::with_capacity(BUFFER, Sniffed::new(reader)?);
    let start = input
        .fill_buf()
        .map_err(Error::read("a compressed stream"))?;
    let compression = Compression::sniff(start)?;
    let inner = match compression {
        Compression::None => Plain::None(input),
        Compression::Gzip => Plain::Gzip(Box::new(MultiGzDecoder::new(input))),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input)
                .map_err(Error::read("a zstd stream"))?;
            Plain::Zstd(Box::new(decoder))
        }
    };
    Ok(Decompressor { inner, compression })
}

const BUFFER: usize = 128 << 10;

/// A reader of the plain bytes; see [`decompress`].
pub struct Decompressor<R: Read> {
    inner: Plain<R>,
    compression: Compression,
}

enum Plain<R: Read> {
    None(BufReader<Sniffed<R>>),
    Gzip(Box<MultiGzDecoder<BufReader<Sniffed<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Sniffed<R>>>>),
}

impl<R: Read> std::fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Decompressor<R> {
    /// What the stream turned out to be.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The reader below. Bytes may have been read ahead of what was given out.
    pub fn get_mut(&mut self) -> &mut R {
        match &mut self.inner {
            Plain::None(reader) => &mut reader.get_mut().rest,
            Plain::Gzip(reader) => &mut reader.get_mut().get_mut().rest,
            Plain::Zstd(reader) => &mut reader.get_mut().get_mut().rest,
        }
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Plain::None(reader) => reader.read(buf),
            Plain::Gzip(reader) => reader.read(buf),
            Plain::Zstd(reader) => reader.read(buf),
        }
    }
}

/// The first bytes are gathered whole, however small the pieces a pipe delivers.
struct Sniffed<R> {
    start: [u8; 10],
    filled: usize,
    given: usize,
    rest: R,
}

impl<R: Read> Sniffed<R> {
    fn new(mut rest: R) -> Result<Self, Error> {
        let mut start = [0; 10];
        let mut filled = 0;
        while filled < start.len() {
            match rest.read(&mut start[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read("a compressed stream")(error)),
            }
        }
        Ok(Sniffed {
            start,
            filled,
            given: 0,
            rest,
        })
    }
}

impl<R: Read> Read for Sniffed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let waiting = &self.start[self.given..self.filled];
        if waiting.is_empty() {
            return self.rest.read(buf);
        }
        let n = waiting.len().min(buf.len());
        buf[..n].copy_from_slice(&waiting[..n]);
        self.given += n;
        Ok(n)
    }
}

/// Packs what is written; [`Compressor::finish`] ends the stream.
///
/// The same bytes give the same packed bytes (no time stamp, one thread).
///
/// # Errors
///
/// [`Error::Write`] if zstd cannot start.
pub fn compress<W: Write>(writer: W, compression: Compression) -> Result<Compressor<W>, Error> {
    Ok(Compressor(match compression {
        Compression::None => Packed::None(writer),
        Compression::Gzip => Packed::Gzip(GzEncoder::new(writer, flate2::Compression::default())),
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(writer, 0)
                .map_err(Error::write("a zstd stream"))?;
            encoder
                .include_checksum(true)
                .map_err(Error::write("a zstd stream"))?;
            Packed::Zstd(encoder)
        }
    }))
}

/// A writer that packs; see [`compress`].
#[must_use = "a stream that is not finished is truncated"]
pub struct Compressor<W: Write>(Packed<W>);

enum Packed<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl<W: Write> Compressor<W> {
    /// Writes the end of the stream and gives the writer back.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn finish(self) -> Result<W, Error> {
        match self.0 {
            Packed::None(writer) => Ok(writer),
            Packed::Gzip(encoder) => encoder.finish().map_err(Error::write("a gzip stream")),
            Packed::Zstd(encoder) => encoder.finish().map_err(Error::write("a zstd stream")),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Packed::None(writer) => writer.write(buf),
            Packed::Gzip(encoder) => encoder.write(buf),
            Packed::Zstd(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Packed::None(writer) => writer.flush(),
            Packed::Gzip(encoder) => encoder.flush(),
            Packed::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    fn pack(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut writer = compress(Vec::new(), compression).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        decompress(bytes)
            .map_err(io::Error::other)?
            .read_to_end(&mut plain)?;
        Ok(plain)
    }

    /// Delivers one byte a call, as a slow pipe may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buf.len()).min(1);
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn members_and_frames_in_a_row_are_one_stream() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut packed = pack(b"one ", compression);
            packed.extend(pack(b"two", compression));
            assert_eq!(unpack(&packed).unwrap(), b"one two");
            let mut slow = Vec::new();
            decompress(Trickle(&packed))
                .unwrap()
                .read_to_end(&mut slow)
                .unwrap();
            assert_eq!(slow, b"one two");
        }
    }

    #[test]
    fn truncation_and_trailing_bytes_are_errors() {
        let bytes: Vec<u8> = (0..100_000_u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let packed = pack(&bytes, compression);
            for cut in [packed.len() - 1, packed.len() / 2, 20] {
                assert!(
                    unpack(&packed[..cut]).is_err(),
                    "{compression:?} cut at {cut}"
                );
            }
            let mut trailing = packed.clone();
            trailing.extend(b"something else");
            assert!(unpack(&trailing).is_err(), "{compression:?}");
            let mut flipped = packed.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 0x40;
            assert!(unpack(&flipped).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let xz = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0, 0, 0];
        assert!(decompress(&xz[..]).unwrap_err().to_string().contains("xz"));
        let bzip2 = *b"BZh91AY&SY";
        assert!(
            decompress(&bzip2[..])
                .unwrap_err()
                .to_string()
                .contains("bzip2")
        );
        // A plain tar whose first name merely begins like bzip2.
        assert_eq!(unpack(b"BZh9-file").unwrap(), b"BZh9-file");
    }

    proptest! {
        #[test]
        fn round_trip(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            for compression in ALL {
                let packed = pack(&bytes, compression);
                if compression != Compression::None {
                    prop_assert_eq!(decompress(&packed[..]).unwrap().compression(), compression);
                    prop_assert_eq!(unpack(&packed).unwrap(), bytes.clone());
                }
                prop_assert_eq!(pack(&bytes, compression), packed);
            }
        }

        #[test]
        fn never_panics(start in prop::sample::select(vec![&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b""]),
                        bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&[start, &bytes].concat());
        }
    }
}
