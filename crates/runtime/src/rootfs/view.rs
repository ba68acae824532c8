//! Files of a root that is not trusted: resolved inside it, never through a link at the end, never a FIFO, never without end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// The largest file that is read: a passwd file with every id of a 16-bit system is half of it.
const SIZE_LIMIT: u64 = 8 << 20;

/// A root file system as a stack of directories, the topmost first. One directory for a mounted or unpacked root; several for an
/// overlay that only the container will mount.
#[derive(Debug)]
pub struct View {
    layers: Vec<OwnedFd>,
}

impl View {
    /// A view of one directory.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn directory(path: &Path) -> io::Result<View> {
        View::stack([path])
    }

    /// A view of directories stacked as an overlay stacks them, the topmost first.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn stack<'a>(layers: impl IntoIterator<Item = &'a Path>) -> io::Result<View> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let layers = layers
            .into_iter()
            .map(|path| rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from))
            .collect::<io::Result<_>>()?;
        Ok(View { layers })
    }

    /// A view of a directory, or of a mount that is attached nowhere.
    ///
    /// # Errors
    /// The fd cannot be duplicated.
    pub fn fd(root: impl AsFd) -> io::Result<View> {
        Ok(View {
            layers: vec![root.as_fd().try_clone_to_owned()?],
        })
    }

    /// The contents of a regular file; `None` if there is none. Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// It is no regular file, larger than 8 MiB, or cannot be read.
    pub(crate) fn read(&self, path: &str) -> io::Result<Option<String>> {
        for layer in &self.layers {
            match open(layer, path) {
                Ok(file) => return contents(file).map(Some),
                // It may be in a layer below, unless this one hides what is below: by an opaque directory, by something else
                // in a directory's place, or by a whiteout, which is a device nobody drives.
                Err(rustix::io::Errno::NOENT) if !opaque(layer, path) => {}
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
                Err(rustix::io::Errno::NXIO) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

fn open(layer: &OwnedFd, path: &str) -> rustix::io::Result<File> {
    // NONBLOCK: opening a FIFO must not wait for its writer.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN: something was renamed meanwhile and the kernel could not be sure.
    for _ in 0..64 {
        match rustix::fs::openat2(layer, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => {}
            other => return other.map(File::from),
        }
    }
    Err(rustix::io::Errno::AGAIN)
}

/// Whether the directory of `path` hides the layers below (`user.overlay.opaque`, or `trusted.` for root).
fn opaque(layer: &OwnedFd, path: &str) -> bool {
    let parent = Path::new(path)
        .parent()
        .filter(|parent| *parent != Path::new("/"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Some(parent) = parent else { return false };
    let Ok(directory) =
        rustix::fs::openat2(layer, parent, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    else {
        return false;
    };
    ["user.overlay.opaque", "trusted.overlay.opaque"]
        .into_iter()
        .any(|name| {
            let mut value = [0u8; 8];
            matches!(rustix::fs::fgetxattr(&directory, name, &mut value), Ok(1) if value[0] == b'y')
        })
}

fn contents(file: File) -> io::Result<String> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "is not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "is larger than 8 MiB",
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
