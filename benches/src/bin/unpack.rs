//! Unpacking a layer: entries and bytes a second, beside GNU tar on the same archive.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use orlop_benches::{Options, Suite};
use orlop_unionfs::{ApplyLimits, Snapshots};

#[derive(Debug, Parser)]
#[command(about = "Measures unpacking a layer, beside GNU tar")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// An uncompressed tar archive to unpack, instead of made ones.
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Where it is unpacked: its file system is what is measured.
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

type Failure = Box<dyn Error>;

/// A made archive: so many files of this size, twenty to a directory.
struct Shape {
    name: &'static str,
    files: u32,
    bytes: usize,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "empty files",
        files: 5_000,
        bytes: 0,
    },
    Shape {
        name: "small files",
        files: 5_000,
        bytes: 4_000,
    },
    Shape {
        name: "as in a distribution",
        files: 1_000,
        bytes: 60_000,
    },
    Shape {
        name: "one large file",
        files: 1,
        bytes: 64 << 20,
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut suite = Suite::new("unpack", &arguments.options);
    let folder = match tempfile::tempdir_in(&arguments.directory) {
        Ok(folder) => folder,
        Err(error) => {
            suite.fail("folder", &error.to_string());
            return suite.finish();
        }
    };
    if let Some(archive) = &arguments.archive {
        cases(&mut suite, "given", archive, folder.path());
        return suite.finish();
    }
    for shape in &SHAPES {
        let archive = folder.path().join(shape.name);
        match shape.write(&archive) {
            Ok(()) => cases(&mut suite, shape.name, &archive, folder.path()),
            Err(error) => suite.fail(shape.name, &error.to_string()),
        }
    }
    suite.finish()
}

/// One archive, unpacked in several ways.
fn cases(suite: &mut Suite<'_>, name: &str, archive: &Path, folder: &Path) {
    let (bytes, entries) = match examine(archive, folder) {
        Ok(found) => found,
        Err(error) => return suite.fail(name, &error.to_string()),
    };
    let parameters = [
        ("archive", name.into()),
        ("entries", entries.into()),
        ("bytes", bytes.into()),
    ];
    let work = folder.join(format!("{name}.unpacked"));

    let (from, to) = (archive.to_owned(), work.clone());
    suite.case("orlop: unpack and digest", &parameters, move |meter| {
        let store = fresh_store(&to)?;
        let mut staging = store.begin()?;
        let tar = File::open(&from)?;
        meter.measure(|| staging.apply(tar, &ApplyLimits::default()))?;
        Ok(())
    });
    let (from, to) = (archive.to_owned(), work.clone());
    suite.case(
        "orlop: unpack, digest and commit durably",
        &parameters,
        move |meter| {
            let store = fresh_store(&to)?;
            let tar = File::open(&from)?;
            let id = format!("sha256:{:064x}", 1);
            meter.measure(|| store.apply(None, &id, tar, &ApplyLimits::default()))?;
            Ok(())
        },
    );
    let (from, to) = (archive.to_owned(), work);
    suite.case("GNU tar -x, no digest", &parameters, move |meter| {
        empty(&to)?;
        let mut tar = Command::new("tar");
        tar.args(["-x", "-p", "--numeric-owner", "--xattrs", "-f"])
            .arg(&from)
            .arg("-C")
            .arg(&to);
        let status = meter.measure(|| tar.status())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("tar: {status}").into())
        }
    });
    let from = archive.to_owned();
    suite.case("sha256sum of the archive", &parameters, move |meter| {
        let mut sum = Command::new("sha256sum");
        sum.arg(&from).stdout(Stdio::null());
        let status = meter.measure(|| sum.status())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("sha256sum: {status}").into())
        }
    });
}

/// Bytes and entries of an archive, by unpacking it once.
fn examine(archive: &Path, folder: &Path) -> Result<(u64, u64), Failure> {
    let bytes = fs::metadata(archive)?.len();
    let store = fresh_store(&folder.join("examined"))?;
    let applied = store
        .begin()?
        .apply(File::open(archive)?, &ApplyLimits::default())?;
    Ok((bytes, applied.entries))
}

fn fresh_store(at: &Path) -> Result<Snapshots, Failure> {
    empty(at)?;
    Ok(Snapshots::open(
        &at.join("store"),
        orlop_unionfs::Options::default(),
    )?)
}

fn empty(at: &Path) -> Result<(), io::Error> {
    match fs::remove_dir_all(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir(at),
    }
}

impl Shape {
    /// Made by hand: headers of the ustar format, one after the other.
    fn write(&self, to: &Path) -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(1 << 20, File::create(to)?);
        let body = vec![b'x'; self.bytes];
        let padding = vec![0; self.bytes.next_multiple_of(512) - self.bytes];
        for file in 0..self.files {
            let directory = format!("usr/share/directory-{}/", file / 20);
            if file % 20 == 0 {
                out.write_all(&header(&directory, b'5', 0o755, 0))?;
            }
            out.write_all(&header(
                &format!("{directory}file-{file}"),
                b'0',
                0o644,
                self.bytes,
            ))?;
            out.write_all(&body)?;
            out.write_all(&padding)?;
        }
        out.write_all(&[0; 1024])?;
        out.flush()
    }
}

fn header(path: &str, kind: u8, mode: u32, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        for (to, from) in header.iter_mut().skip(at).zip(text.bytes()) {
            *to = from;
        }
    };
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{:011o}", 1_700_000_000));
    put(148, "        ");
    put(156, &char::from(kind).to_string());
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    for (to, from) in header
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0").bytes())
    {
        *to = from;
    }
    header
}
