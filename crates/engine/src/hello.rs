//! The image embedded in this crate: one static program that tells a newcomer what a container is.
//!
//! It goes through the same store, snapshot and plan as any other image, and `orlop save hello` gives an archive that other
//! tools load. Its name is `docker.io/library/hello:latest`, what everybody's short `hello` means, so no command needs to
//! know it is special; it is put into the store when `hello` is asked for and absent, never over an image of that name.

use orlop_image::builder::ImageBuilder;
use orlop_image::{Descriptor, Error, Image, Reference, Store, digest, platform, reference};

/// Its short name.
pub const NAME: &str = "hello";

/// The variable in which the program finds when its start began, in nanoseconds of `CLOCK_MONOTONIC`, as decimal digits.
/// Without it, it does not say how long its start took.
pub const STARTED_AT: &str = "ORLOP_STARTED_AT";

/// When it was made: a fixed day, as the same source must give the same image. 2026-11-23.
const CREATED: i64 = 1_795_392_000;

static PROGRAM: &[u8] = include_bytes!(env!("ORLOP_HELLO_PROGRAM"));

/// Its full name.
///
/// # Errors
///
/// None: [`NAME`] is a valid name.
pub fn name() -> Result<Reference, Error> {
    reference::parse(NAME)
}

/// Puts the image into the store and tags it. The same build gives the same digest every time.
///
/// # Errors
///
/// Those of writing to the store.
pub fn load(store: &Store) -> Result<Descriptor, Error> {
    ImageBuilder::new(platform::host())
        .created(CREATED)
        .layer("the hello program of Orlop", layer()?.as_slice())
        .entrypoint(["/hello"])
        .env(["PATH=/"])
        .commit(store, Some(&name()?))
}

/// Whether an image is this one, whatever its name. Only this one is told when it was started ([`STARTED_AT`]).
pub fn is(image: &Image) -> bool {
    let Ok(layer) = layer() else { return false };
    let mut diff_ids = image.diff_ids();
    diff_ids.len() == 1 && diff_ids.next() == Some(&digest::of(&layer))
}

/// The one layer: a tar of the program, and of the directories a container's own file systems are mounted on.
fn layer() -> Result<Vec<u8>, Error> {
    let mut tar = tar::Builder::new(Vec::with_capacity(PROGRAM.len() + 8192));
    let mut add = |path: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content)
    };
    let write = |source| Error::Write {
        what: "the layer of the hello image".to_owned(),
        source,
    };
    for dir in ["dev/", "etc/", "proc/", "sys/", "tmp/"] {
        let mode = if dir == "tmp/" { 0o1777 } else { 0o755 };
        add(dir, tar::EntryType::Directory, mode, &[]).map_err(write)?;
    }
    add("hello", tar::EntryType::Regular, 0o755, PROGRAM).map_err(write)?;
    tar.into_inner().map_err(write)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        (dir, store)
    }

    #[test]
    fn the_image_is_the_same_every_time() {
        let (_one, a) = store();
        let (_two, b) = store();
        let first = load(&a).unwrap();
        assert_eq!(first, load(&a).unwrap());
        assert_eq!(first, load(&b).unwrap());
        let found = a.resolve(&reference::parse("hello").unwrap()).unwrap();
        assert_eq!(found.as_ref(), Some(&first));
        let image = a.image(first.digest(), &platform::host()).unwrap();
        assert!(is(&image));
        assert!(image.size() < 64 << 10, "{} bytes", image.size());
        assert_eq!(a.fsck(false).unwrap().damage, []);
        let other = ImageBuilder::new(platform::host())
            .commit(&b, None)
            .unwrap();
        assert!(!is(&b.image(other.digest(), &platform::host()).unwrap()));
    }

    /// What the program prints, run right here.
    fn said(started: Option<&str>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        // Through another process, so that no thread of this one has it open for writing when it is executed.
        let copied = std::process::Command::new("cp")
            .arg(env!("ORLOP_HELLO_PROGRAM"))
            .arg(&path)
            .status()
            .unwrap();
        assert!(copied.success());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(&path);
        command
            .env_clear()
            .env("OTHER", "x")
            .envs(started.map(|at| (STARTED_AT, at)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{:?}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_program_reports_what_it_finds() {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let before = now.tv_sec * 1_000_000_000 + now.tv_nsec - 5_300_000_000;
        let text = said(Some(&before.to_string()));
        let line = |label: &str| {
            let found = text
                .lines()
                .find(|line| line.trim_start().starts_with(label));
            found
                .unwrap_or_else(|| panic!("no {label:?} in:\n{text}"))
                .to_owned()
        };
        assert!(line("started in").contains(" s"), "{text}");
        assert!(line("process ").contains("pid "));
        assert!(line("user").ends_with(&format!(
            "uid {}, gid {}",
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw()
        )));
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        assert!(line("hostname").ends_with(&host));
        let net = std::fs::read_link("/proc/self/ns/net")
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            text.contains(net.trim_end_matches(']').replace('[', "").as_str()),
            "{net} in:\n{text}"
        );
        for label in [
            "root",
            "memory",
            "cpu",
            "processes",
            "capabilities",
            "seccomp",
            "no_new_privs",
        ] {
            assert!(line(label).split_whitespace().count() > 1, "{text}");
        }
    }

    #[test]
    fn the_program_survives_a_strange_environment() {
        for at in [
            "",
            "x",
            "-1",
            "99999999999999999999999",
            "18446744073709551615",
        ] {
            assert!(!said(Some(at)).contains("started in"), "{at}");
        }
        assert!(!said(None).contains("started in"));
        assert!(said(Some("0")).contains("started in"));
    }
}
