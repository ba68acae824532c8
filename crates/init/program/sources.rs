//! From the source of a mount to a detached mount, known by its file descriptor.

use core::ffi::CStr;

use crate::interpreter::Init;
use crate::mounts::{MS_PRIVATE, legacy_is_worth_a_try};
use crate::sys::{self, Errno, Fd, O_PATH, Result};
use crate::wire::{SourceStep, Step, Text, Texts};

const CLONE_NEWNS: u64 = 0x2_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// `fsconfig` refuses longer strings.
const LONGEST_STRING: usize = 255;

/// A new file system as the plan describes it.
#[derive(Clone, Copy)]
pub struct New {
    pub directory: Option<Text<'static>>,
    pub fstype: Text<'static>,
    pub source: Text<'static>,
    pub options: Texts<'static>,
}

/// A mount ready to be attached, or one that only `mount(2)` can make where it stands.
pub enum Ready {
    Detached(Fd),
    Legacy(New),
}

impl Init {
    /// Clones, with the caller's rights and in the caller's mount namespace, what cannot be cloned from within the container's: files
    /// that the caller opened, and, for a user namespace, paths that its ids may not be able to reach. Where the caller has no
    /// such right, they are found again by path, later.
    pub fn prepare_sources(&mut self, flags: u64) {
        if flags & CLONE_NEWNS == 0 {
            return;
        }
        self.propagation = self.first_propagation();
        let plan = self.plan;
        for (index, step) in (0u32..).zip(plan.steps()) {
            let (Some(Step::Mount { source, .. }) | Some(Step::Root { source, .. })) = step else {
                continue;
            };
            let cloned = match source {
                SourceStep::Fd { slot, recursive } => self
                    .slot(slot)
                    .and_then(|file| sys::open_tree(file, c"", recursive)),
                SourceStep::HostPath { path, recursive } if flags & CLONE_NEWUSER != 0 => {
                    sys::open(path, O_PATH)
                        .and_then(|file| sys::open_tree(file.raw(), c"", recursive))
                }
                _ => continue,
            };
            let Ok(cloned) = cloned else { continue };
            // A peer of the caller's mount would let mounts through in both directions.
            if sys::mount_setattr(cloned.raw(), true, 0, 0, self.propagation).is_err() {
                continue;
            }
            if let Some(place) = self.prepared.get_mut(self.prepared_count) {
                *place = (index, cloned.keep());
                self.prepared_count += 1;
            }
        }
    }

    /// What the plan will set all mounts to: a mount cloned earlier gets the same.
    fn first_propagation(&self) -> u64 {
        let plan = self.plan;
        let found = plan.steps().find_map(|step| match step {
            Some(Step::Propagation { flags }) => Some(flags & crate::mounts::PROPAGATIONS),
            _ => None,
        });
        found.unwrap_or(MS_PRIVATE)
    }

    fn prepared(&mut self) -> Option<Fd> {
        let index = self.index;
        let places = self.prepared.get(..self.prepared_count)?;
        let (_, fd) = places.iter().find(|(operation, _)| *operation == index)?;
        Some(Fd::own(*fd))
    }

    pub fn source(&mut self, source: SourceStep<'static>, attributes: u64) -> Result<Ready> {
        if let Some(mount) = self.prepared() {
            return Ok(Ready::Detached(mount));
        }
        let mount = match source {
            SourceStep::Detached(slot) => {
                let mount = sys::dup_above(self.slot(slot)?, 3)?;
                if self.propagation != 0 {
                    sys::mount_setattr(mount.raw(), true, 0, 0, self.propagation)?;
                }
                mount
            }
            SourceStep::Fd { slot, recursive } => {
                let file = self.slot(slot)?;
                match sys::open_tree(file, c"", recursive) {
                    // Of the caller's mount namespace: the same path leads to the copy of it in this one.
                    Err(Errno::INVAL | Errno::PERM) => self.found_again(file, recursive)?,
                    other => other?,
                }
            }
            SourceStep::HostPath { path, recursive } => {
                let file = sys::open(path, O_PATH)?;
                sys::open_tree(file.raw(), c"", recursive)?
            }
            SourceStep::New {
                directory,
                fstype,
                source,
                options,
            } => {
                let new = New {
                    directory,
                    fstype,
                    source,
                    options,
                };
                return self.new_mount(new, attributes);
            }
        };
        Ok(Ready::Detached(mount))
    }

    /// The file by its path, if that still leads to it.
    fn found_again(&mut self, file: i32, recursive: bool) -> Result<Fd> {
        let mut path = [0u8; 4097];
        self.path_of(file, path.get_mut(..4096).unwrap_or(&mut []))?;
        let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
        let again = sys::open(path, O_PATH)?;
        let (there, here) = (sys::stat(file)?, sys::stat(again.raw())?);
        let identity = |stat: &sys::Stat| (stat.dev_major, stat.dev_minor, stat.ino);
        if identity(&there) != identity(&here) {
            return Err(Errno::STALE);
        }
        sys::open_tree(again.raw(), c"", recursive)
    }

    fn new_mount(&mut self, new: New, attributes: u64) -> Result<Ready> {
        let before = enter(new.directory)?;
        let result = assemble(new, attributes);
        leave(before)?;
        match result {
            Ok(mount) => Ok(Ready::Detached(mount)),
            Err(errno) if legacy_is_worth_a_try(errno) => Ok(Ready::Legacy(new)),
            Err(errno) => Err(errno),
        }
    }
}

/// Goes to the directory where relative paths begin; returns the way back.
pub fn enter(directory: Option<Text<'_>>) -> Result<Option<Fd>> {
    let Some(directory) = directory else {
        return Ok(None);
    };
    let before = sys::open(c".", O_PATH)?;
    sys::fchdir(sys::open(directory, O_PATH)?.raw())?;
    Ok(Some(before))
}

pub fn leave(before: Option<Fd>) -> Result<()> {
    before.map_or(Ok(()), |before| sys::fchdir(before.raw()))
}

fn assemble(new: New, attributes: u64) -> Result<Fd> {
    let context = sys::fsopen(new.fstype)?;
    if !new.source.is_empty() {
        string(&context, c"source", new.source)?;
    }
    for option in new.options {
        match Setting::split(option)? {
            Setting {
                key,
                value: Some(value),
            } => string(&context, key.text(), value)?,
            Setting { value: None, .. } => sys::fsconfig_flag(&context, option)?,
        }
    }
    sys::fsconfig_create(&context)?;
    sys::fsmount(&context, attributes)
}

fn string(context: &Fd, key: &CStr, value: &CStr) -> Result<()> {
    if value.to_bytes().len() > LONGEST_STRING {
        return Err(Errno::NOSYS);
    }
    sys::fsconfig_string(context, key, value)
}

/// `key=value`, or a flag.
struct Setting<'a> {
    key: Key,
    value: Option<&'a CStr>,
}

struct Key([u8; LONGEST_STRING + 1]);

impl Key {
    fn text(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

impl<'a> Setting<'a> {
    fn split(option: &'a CStr) -> Result<Self> {
        let bytes = option.to_bytes_with_nul();
        let length = bytes.iter().take_while(|byte| **byte != b'=').count();
        let mut key = Key([0; LONGEST_STRING + 1]);
        let value = bytes
            .get(length + 1..)
            .and_then(|value| CStr::from_bytes_with_nul(value).ok());
        if value.is_some() {
            if length > LONGEST_STRING {
                return Err(Errno::INVAL);
            }
            for (to, from) in key.0.iter_mut().zip(bytes.iter().take(length)) {
                *to = *from;
            }
        }
        Ok(Setting { key, value })
    }
}
