//! Reads an archive once, front to back, in whatever order its entries come.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use oci_spec::image::Digest;
use tar::EntryType;

use super::source::DOCUMENTS;
use crate::digest::Hasher;
use crate::{Error, Lease, digest, json};

/// More entries than any image archive has: a root file system was given by mistake.
const MAX_ENTRIES: usize = 50_000;

/// What an archive holds: documents in memory, everything else in the store.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    pub(crate) documents: HashMap<String, Vec<u8>>,
    pub(crate) files: HashMap<String, (Digest, u64)>,
    links: HashMap<String, String>,
}

impl Archive {
    /// The file a path leads to, through the archive's own links.
    pub(crate) fn resolve(&self, path: &str) -> Result<&(Digest, u64), Error> {
        let mut path = normal("", path)?;
        for _ in 0..16 {
            if let Some(file) = self.files.get(&path) {
                return Ok(file);
            }
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => {
                    return Err(Error::archive(format!(
                        "it lacks {:?}",
                        crate::error::cut(&path)
                    )));
                }
            }
        }
        Err(Error::archive(format!(
            "{:?} is a link that leads in a circle",
            crate::error::cut(&path)
        )))
    }
}

/// Reads the archive to its end. New blobs are under the lease and in `created`.
pub(super) fn gather(
    reader: impl Read,
    lease: &Lease,
    created: &mut HashSet<Digest>,
) -> Result<Archive, Error> {
    let mut archive = Archive::default();
    let mut tar = tar::Archive::new(reader);
    let entries = tar.entries().map_err(Error::read("the archive"))?;
    for (count, entry) in entries.enumerate() {
        let entry = entry.map_err(Error::read("the archive"))?;
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| Error::archive("an entry's name is not UTF-8"))?;
        if count >= MAX_ENTRIES {
            return Err(Error::archive(format!(
                "it has more than {MAX_ENTRIES} entries"
            )));
        }
        archive
            .add(&path, entry, lease, created)
            .map_err(|error| match error {
                error @ Error::Archive { .. } => error,
                error => Error::in_entry(&path)(error),
            })?;
    }
    only_zeros(tar.into_inner())?;
    Ok(archive)
}

impl Archive {
    fn add(
        &mut self,
        path: &str,
        mut entry: tar::Entry<'_, impl Read>,
        lease: &Lease,
        created: &mut HashSet<Digest>,
    ) -> Result<(), Error> {
        let path = normal("", path)?;
        refuse_rootfs(&path)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = String::from_utf8(target).map_err(|_| {
                    Error::archive(format!("the target of link {path:?} is not UTF-8"))
                })?;
                // A symbolic link starts from its directory, a hard link from the top.
                let base = match (kind, path.rsplit_once('/')) {
                    (EntryType::Symlink, Some((dir, _))) => dir,
                    _ => "",
                };
                let target = normal(base, &target)?;
                self.links.insert(path, target);
                return Ok(());
            }
            EntryType::Directory | EntryType::XGlobalHeader => return Ok(()),
            _ => {
                return Err(Error::archive(format!(
                    "{path:?} is neither a file nor a directory"
                )));
            }
        }
        let size = entry.size();
        if DOCUMENTS.contains(&path.as_str()) {
            json::check_size(size, &path)?;
            let bytes = json::read_bounded(&mut entry, &path)?;
            check_whole(&path, bytes.len() as u64, size)?;
            // Two answers to one question: different tools would take different ones.
            if self.documents.insert(path.clone(), bytes).is_some() {
                return Err(Error::archive(format!("it has {path:?} twice")));
            }
            return Ok(());
        }
        let expected = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["blobs", algorithm, hex] => Some(digest::parse(&format!("{algorithm}:{hex}"))?),
            [_, "VERSION"] => return Ok(()),
            [_] | [_, _] => None,
            // No image archive of any kind nests deeper.
            _ => return Ok(()),
        };
        let (digest, found) = match expected {
            Some(digest) if lease.keep(&digest)? => {
                let mut hasher = Hasher::for_digest(&digest)?;
                let count = hasher.update_from(&mut entry, "the archive")?;
                check_whole(&path, count, size)?;
                hasher.verify(&digest)?;
                (digest, count)
            }
            expected => {
                let mut ingest = lease.ingest(expected.as_ref().map(|digest| (digest, None)))?;
                ingest.append_from(&mut entry, "the archive")?;
                check_whole(&path, ingest.offset(), size)?;
                let (digest, count, new) = ingest.commit_new()?;
                if new {
                    created.insert(digest.clone());
                }
                (digest, count)
            }
        };
        match self.files.insert(path.clone(), (digest.clone(), found)) {
            Some((other, _)) if other != digest => Err(Error::archive(format!(
                "it has {path:?} twice, with different content"
            ))),
            _ => Ok(()),
        }
    }
}

/// The reader of an entry ends early without an error where the archive does.
fn check_whole(path: &str, actual: u64, expected: u64) -> Result<(), Error> {
    if actual == expected {
        Ok(())
    } else {
        Err(Error::archive(format!(
            "it ends in the middle of {path:?}: it is truncated"
        )))
    }
}

/// Reads what follows a tar's end marker: padding is zeros, and a packed stream has its checksum behind it.
pub(crate) fn only_zeros(mut reader: impl Read) -> Result<(), Error> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) if buffer[..n].iter().all(|byte| *byte == 0) => {}
            Ok(_) => return Err(Error::archive("there is data behind the end of the tar")),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::read("the archive")(error)),
        }
    }
}

/// A path inside the archive, seen from `base`, without `.` and `..`.
fn normal(base: &str, path: &str) -> Result<String, Error> {
    let outside = || Error::archive(format!("{:?} leads out of it", crate::error::cut(path)));
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') || path.contains('\0') {
        return Err(outside());
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(outside)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A root file system is the common mistake, and storing its files one by one a slow way to find out.
fn refuse_rootfs(path: &str) -> Result<(), Error> {
    const TOP: [&str; 12] = [
        "bin", "boot", "dev", "etc", "lib", "proc", "root", "run", "sbin", "sys", "usr", "var",
    ];
    match path.split('/').next() {
        Some(top) if TOP.contains(&top) => Err(Error::archive(format!(
            "it has {path:?} and looks like a root file system; import it instead of loading it"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_stay_inside() {
        for (base, path, want) in [
            ("", "a/b", Some("a/b")),
            ("", "./a//b/.", Some("a/b")),
            ("x", "../y/layer.tar", Some("y/layer.tar")),
            ("x/y", "../../z", Some("z")),
            ("x", "../../etc/passwd", None),
            ("", "..", None),
            ("", "/etc/passwd", None),
            ("", "a\0b", None),
        ] {
            assert_eq!(
                normal(base, path).ok().as_deref(),
                want,
                "{base:?} {path:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn normal_paths_have_no_dots(base in "[a-z/]{0,8}", path in "[a-z./]{0,20}") {
            if let Ok(path) = normal(&base, &path) {
                prop_assert!(!path.split('/').any(|part| part == ".." || part == "."));
                prop_assert!(!path.starts_with('/'));
            }
        }
    }
}
