//! Mounts at targets inside the root; masks and read-only paths.

use core::ffi::CStr;

use crate::interpreter::Init;
use crate::paths::{self, Leaf, NO_SYMLINKS, NO_XDEV};
use crate::sources::{self, New, Ready};
use crate::sys::{self, Errno, Fd, O_DIRECTORY, O_NOFOLLOW, O_PATH, Result};
use crate::wire::{Create, SourceStep, Step, Text};

pub const MS_PRIVATE: u64 = 1 << 18;
const MS_REC: u64 = 1 << 14;
/// `MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED`.
pub const PROPAGATIONS: u64 = 1 << 17 | MS_PRIVATE | 1 << 19 | 1 << 20;

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOEXEC: u64 = 0x8;
/// The three access time settings are one field: setting it needs it cleared first.
const MOUNT_ATTR_ATIME: u64 = 0x70;

const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// What a mount becomes beside being there.
#[derive(Clone, Copy)]
pub struct Change {
    pub attributes: u64,
    pub clear: u64,
    pub recursive: (u64, u64),
    pub propagation: u64,
}

impl Change {
    /// Applies to a mount that is not attached yet, so that nobody sees it without.
    fn apply(&self, mount: &Fd, made_with_attributes: bool) -> Result<()> {
        let set = if made_with_attributes {
            0
        } else {
            self.attributes
        };
        if set != 0 || self.clear != 0 {
            set_attributes(mount, false, set, self.clear)?;
        }
        if self.recursive != (0, 0) {
            set_attributes(mount, true, self.recursive.0, self.recursive.1)?;
        }
        if self.propagation != 0 {
            let recursive = self.propagation & MS_REC != 0;
            sys::mount_setattr(
                mount.raw(),
                recursive,
                0,
                0,
                self.propagation & PROPAGATIONS,
            )?;
        }
        Ok(())
    }
}

pub fn set_attributes(mount: &Fd, recursive: bool, set: u64, clear: u64) -> Result<()> {
    let clear = if (set | clear) & MOUNT_ATTR_ATIME != 0 {
        clear | MOUNT_ATTR_ATIME
    } else {
        clear
    };
    sys::mount_setattr(mount.raw(), recursive, set, clear, 0)
}

/// Whether `mount(2)` may succeed where the newer calls did not.
pub fn legacy_is_worth_a_try(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::INVAL | Errno::NOTSUP)
}

impl Init {
    pub fn mount(
        &mut self,
        source: SourceStep<'static>,
        target: Text<'_>,
        create: Create,
        change: Change,
    ) -> Result<()> {
        let root = self.root()?;
        let fresh = matches!(source, SourceStep::New { .. });
        match self.source(source, change.attributes)? {
            Ready::Detached(mount) => {
                change.apply(&mount, fresh)?;
                let place = place(root, target, create, source, Some(&mount))?;
                attach(&mount, &place)
            }
            Ready::Legacy(new) => {
                let place = place(root, target, create, source, None)?;
                let before = sys::open(c".", O_PATH)?;
                mount_here(new, change.attributes, Some(&place))?;
                sys::fchdir(before.raw())?;
                let rest = Change {
                    attributes: 0,
                    ..change
                };
                let made = paths::resolve(root, target, 0, 0)?;
                rest.apply(&made, true)
            }
        }
    }

    pub fn mask(&mut self, target: Text<'_>) -> Result<()> {
        let Some(place) = self.existing(target)? else {
            return Ok(());
        };
        if sys::stat(place.raw())?.is_dir() {
            if self.empty.is_none() {
                self.empty = Some(empty_directory()?);
            }
            self.empty
                .as_ref()
                .map_or(Err(Errno::NOENT), |empty| attach_another(empty, &place))
        } else {
            self.open_null()?;
            self.null
                .as_ref()
                .map_or(Err(Errno::NOENT), |null| attach_another(null, &place))
        }
    }

    pub fn read_only(&mut self, target: Text<'_>) -> Result<()> {
        let Some(place) = self.existing(target)? else {
            return Ok(());
        };
        let mount = sys::open_tree(place.raw(), c"", true)?;
        set_attributes(&mount, true, MOUNT_ATTR_RDONLY, 0)?;
        sys::move_mount(mount.raw(), place.raw())
    }

    fn existing(&mut self, target: Text<'_>) -> Result<Option<Fd>> {
        match paths::resolve(self.root()?, target, 0, 0) {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// While the caller's files are still in sight: its `/dev/null` for the masks to come, if it is the real one.
    pub fn open_null(&mut self) -> Result<()> {
        const S_IFCHR: u32 = 0o020000;
        if self.null.is_none() {
            let file = sys::open(c"/dev/null", O_PATH | O_NOFOLLOW)?;
            if !sys::stat(file.raw())?.is_device(S_IFCHR, 1, 3) {
                return Err(Errno::NODEV);
            }
            self.null = Some(sys::open_tree(file.raw(), c"", false)?);
        }
        Ok(())
    }

    pub fn masks_follow(&self) -> bool {
        let plan = self.plan;
        plan.steps()
            .skip(self.index as usize)
            .any(|step| matches!(step, Some(Step::Mask { .. })))
    }
}

/// A file fits on a file only, a directory on a directory: the kernel's word for that says less than this one.
fn attach(mount: &Fd, place: &Fd) -> Result<()> {
    match sys::move_mount(mount.raw(), place.raw()) {
        Err(Errno::INVAL)
            if sys::stat(mount.raw())?.is_dir() != sys::stat(place.raw())?.is_dir() =>
        {
            Err(Errno::NOTDIR)
        }
        other => other,
    }
}

/// A clone of the mount; or, where a detached mount cannot be cloned, the mount itself, which can be from then on.
fn attach_another(mount: &Fd, place: &Fd) -> Result<()> {
    match sys::open_tree(mount.raw(), c"", false) {
        Ok(clone) => sys::move_mount(clone.raw(), place.raw()),
        Err(Errno::INVAL) => sys::move_mount(mount.raw(), place.raw()),
        Err(errno) => Err(errno),
    }
}

fn empty_directory() -> Result<Fd> {
    let context = sys::fsopen(c"tmpfs")?;
    sys::fsconfig_string(&context, c"mode", c"0755")?;
    sys::fsconfig_string(&context, c"nr_inodes", c"2")?;
    sys::fsconfig_create(&context)?;
    sys::fsmount(
        &context,
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    )
}

/// Opens the target, made first if the plan says so.
fn place(
    root: i32,
    target: Text<'_>,
    create: Create,
    source: SourceStep<'_>,
    mount: Option<&Fd>,
) -> Result<Fd> {
    let leaf = match create {
        Create::No => None,
        Create::Dir => Some(Leaf::Dir(0o755)),
        Create::File => Some(Leaf::File),
        Create::LikeSource => {
            let directory = match mount {
                Some(mount) => sys::stat(mount.raw())?.is_dir(),
                None => true,
            };
            Some(if directory {
                Leaf::Dir(0o755)
            } else {
                Leaf::File
            })
        }
    };
    let made = match leaf {
        Some(leaf) => Some(paths::make(root, target, leaf)?),
        None => None,
    };
    if let SourceStep::New { fstype, .. } = source {
        match fstype.to_bytes() {
            b"proc" => return guarded(root, target, PROC_MAGIC),
            b"sysfs" => return guarded(root, target, SYSFS_MAGIC),
            _ => {}
        }
    }
    match made {
        Some(made) => Ok(made),
        None => paths::resolve(root, target, 0, 0),
    }
}

/// Where proc or sys is expected, a link or somebody's mount would lead the kernel's own files elsewhere: only a directory of the
/// root itself will do, or one that is such a mount already.
fn guarded(root: i32, target: Text<'_>, magic: u64) -> Result<Fd> {
    match paths::resolve(root, target, O_DIRECTORY, NO_SYMLINKS | NO_XDEV) {
        Err(Errno::XDEV) => {}
        other => return other,
    }
    let place = paths::resolve(root, target, O_DIRECTORY, NO_SYMLINKS)?;
    if sys::filesystem(place.raw())? == magic {
        Ok(place)
    } else {
        Err(Errno::XDEV)
    }
}

/// `mount(2)` on a directory, or over the root.
pub fn mount_here(new: New, attributes: u64, place: Option<&Fd>) -> Result<()> {
    let mut data = [0u8; 4096];
    let (length, mut flags) = join_options(new, &mut data)?;
    data.get_mut(length)
        .map_or(Err(Errno::NAMETOOLONG), |end| {
            *end = 0;
            Ok(())
        })?;
    flags |= legacy_flags(attributes);
    let text = CStr::from_bytes_until_nul(&data).map_err(|_| Errno::NAMETOOLONG)?;
    match place {
        Some(place) => {
            // Relative paths in the options are rare at a target, and the working directory can be one place only.
            if new.directory.is_some() {
                return Err(Errno::NOTSUP);
            }
            sys::fchdir(place.raw())?;
            sys::mount(new.source, c".", new.fstype, flags, text)
        }
        None => {
            let before = sources::enter(new.directory)?;
            let mounted = sys::mount(new.source, c"/", new.fstype, flags, text);
            sources::leave(before)?;
            mounted
        }
    }
}

/// Options as `mount(2)` takes them: joined by commas, what concerns every file system as flags, and `lowerdir+` one after
/// another as one `lowerdir`.
fn join_options(new: New, data: &mut [u8; 4096]) -> Result<(usize, u64)> {
    let mut flags = 0;
    let mut length = 0;
    let mut put = |bytes: &[u8]| -> Result<()> {
        for byte in bytes {
            // The kernel copies a page and ends it with a NUL.
            *data
                .get_mut(length)
                .filter(|_| length < 4095)
                .ok_or(Errno::NAMETOOLONG)? = *byte;
            length += 1;
        }
        Ok(())
    };
    let mut before = Before::Nothing;
    for option in new.options {
        let bytes = option.to_bytes();
        if let Some(flag) = common_flag(bytes) {
            flags |= flag;
            continue;
        }
        let layer = bytes.strip_prefix(b"lowerdir+=");
        match (&before, layer) {
            (Before::Layer, Some(_)) => put(b":")?,
            (Before::Nothing, Some(_)) => put(b"lowerdir=")?,
            (_, Some(_)) => put(b",lowerdir=")?,
            (Before::Nothing, None) => {}
            (_, None) => put(b",")?,
        }
        for byte in layer.unwrap_or(bytes) {
            if layer.is_some() && matches!(byte, b':' | b',' | b'\\') {
                put(b"\\")?;
            }
            put(&[*byte])?;
        }
        before = if layer.is_some() {
            Before::Layer
        } else {
            Before::Option
        };
    }
    Ok((length, flags))
}

/// What stands before an option in the joined form.
enum Before {
    Nothing,
    Option,
    Layer,
}

/// Options that are flags of `mount(2)`.
fn common_flag(option: &[u8]) -> Option<u64> {
    Some(match option {
        b"rw" => 0,
        b"ro" => 1,
        b"sync" => 1 << 4,
        b"dirsync" => 1 << 7,
        b"lazytime" => 1 << 25,
        _ => return None,
    })
}

/// `MOUNT_ATTR_*` as `MS_*`.
fn legacy_flags(attributes: u64) -> u64 {
    const PAIRS: [(u64, u64); 4] = [
        (0x10, 1 << 10),
        (0x20, 1 << 24),
        (0x80, 1 << 11),
        (0x20_0000, 1 << 8),
    ];
    // The first four are the same in both.
    let same = attributes & 0xf;
    PAIRS
        .iter()
        .filter(|(attribute, _)| attributes & attribute != 0)
        .fold(same, |all, (_, flag)| all | flag)
}
