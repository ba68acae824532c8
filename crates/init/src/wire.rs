//! The wire form of a plan, as read: no allocation, every access checked. The crate and the program share this file.
//!
//! A plan is a header and its operations back to back. Numbers are little-endian and unaligned; a text is a length, the
//! bytes and a NUL, so that the kernel takes it where it lies; a list is a count, a length and its texts.

use core::ffi::CStr;

/// The first bytes of an encoded plan.
pub const MAGIC: [u8; 4] = *b"orlp";
/// The version of the form: the program and the crate that carries it are always of one version.
pub const VERSION: u16 = 1;
/// Bytes of an encoded plan before its first operation.
pub const HEADER: usize = 20;
/// File descriptor numbers a plan may hand to the program it executes are below this.
pub const FD_LIMIT: u32 = 1024;

/// A file descriptor that one start hands to init: the index into the list that travels with the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

/// What stands at a mount's target if nothing does yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// Nothing: a missing target is an error.
    No,
    /// A directory, with its parents.
    Dir,
    /// An empty file, with its parents.
    File,
    /// A directory or a file, as the source is.
    LikeSource,
}

/// A NUL-terminated string inside the plan.
pub type Text<'a> = &'a CStr;

/// Bytes inside the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a>(pub &'a [u8]);

/// A list of strings inside the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// How many strings the list holds.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        if self.count == 0 {
            return None;
        }
        let mut reader = Reader { bytes: self.bytes };
        let text = Text::read(&mut reader)?;
        *self = Texts {
            count: self.count - 1,
            bytes: reader.bytes,
        };
        Some(text)
    }
}

/// A list of 32-bit numbers inside the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words<'a>(pub &'a [u8]);

/// [`Source`](crate::plan::Source), borrowed from the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceStep<'a> {
    /// A detached mount of the caller's.
    Detached(Slot),
    /// A file or directory the caller opened.
    Fd {
        /// The opened file or directory.
        slot: Slot,
        /// With the mounts below it.
        recursive: bool,
    },
    /// A path in the caller's mount namespace.
    HostPath {
        /// The absolute path.
        path: Text<'a>,
        /// With the mounts below it.
        recursive: bool,
    },
    /// A new file system.
    New {
        /// Where relative paths in the options begin.
        directory: Option<Text<'a>>,
        /// File system type.
        fstype: Text<'a>,
        /// What the mount table shows as its source.
        source: Text<'a>,
        /// Options of the superblock.
        options: Texts<'a>,
    },
}

/// Reads numbers and texts off a plan; `None` where it ends too early or says something impossible.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }
}

/// Something that can be read off a plan.
pub trait Field<'a>: Sized {
    /// Reads one, and moves on behind it.
    fn read(from: &mut Reader<'a>) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl<'a> Field<'a> for $number {
            fn read(from: &mut Reader<'a>) -> Option<Self> {
                from.array().map(<$number>::from_le_bytes)
            }
        }
    )* };
}

numbers!(u8 u16 u32 u64 i32);

impl<'a> Field<'a> for bool {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<'a> Field<'a> for Slot {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        u16::read(from).map(Slot)
    }
}

impl<'a> Field<'a> for (u64, u64) {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some((u64::read(from)?, u64::read(from)?))
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        if bool::read(from)? {
            T::read(from).map(Some)
        } else {
            Some(None)
        }
    }
}

impl<'a> Field<'a> for Create {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(match u8::read(from)? {
            0 => Create::No,
            1 => Create::Dir,
            2 => Create::File,
            3 => Create::LikeSource,
            _ => return None,
        })
    }
}

impl<'a> Field<'a> for Text<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let length = u32::read(from)? as usize;
        CStr::from_bytes_with_nul(from.take(length.checked_add(1)?)?).ok()
    }
}

impl<'a> Field<'a> for Blob<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let length = u32::read(from)? as usize;
        from.take(length).map(Blob)
    }
}

impl<'a> Field<'a> for Words<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let count = u32::read(from)? as usize;
        from.take(count.checked_mul(4)?).map(Words)
    }
}

impl<'a> Field<'a> for Texts<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let count = u32::read(from)?;
        let length = u32::read(from)? as usize;
        let texts = Texts {
            count,
            bytes: from.take(length)?,
        };
        // Walked once here, so that whoever iterates later sees exactly `count` of them.
        (texts.count() == count as usize).then_some(texts)
    }
}

impl<'a> Field<'a> for SourceStep<'a> {
    fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(match u8::read(from)? {
            0 => SourceStep::Detached(Slot::read(from)?),
            1 => SourceStep::Fd {
                slot: Slot::read(from)?,
                recursive: bool::read(from)?,
            },
            2 => SourceStep::HostPath {
                path: Text::read(from)?,
                recursive: bool::read(from)?,
            },
            3 => SourceStep::New {
                directory: Option::read(from)?,
                fstype: Text::read(from)?,
                source: Text::read(from)?,
                options: Texts::read(from)?,
            },
            _ => return None,
        })
    }
}

/// The one table of operations, with the number each has on the wire: the reader, the writer and the conversion all come from it.
macro_rules! every_op {
    ($then:ident) => {
        $then! {
            1 JoinNamespace { slot: Slot, kind: u64 }
            2 JoinCgroupV1 { slot: Slot }
            3 TimeOffsets { text: Text<'a> }
            4 Clone { flags: u64, cgroup: Option<Slot> }
            5 AwaitIdMaps { uid: u32, gid: u32 }
            6 NewSessionKeyring {}
            7 NewSession {}
            8 LoopbackUp {}
            9 Hostname { name: Text<'a> }
            10 Domainname { name: Text<'a> }
            11 Propagation { flags: u64 }
            12 Root { source: SourceStep<'a>, attributes: u64 }
            13 Mount {
                source: SourceStep<'a>, target: Text<'a>, create: Create, attributes: u64, clear: u64,
                recursive: (u64, u64), propagation: u64
            }
            14 Mkdir { target: Text<'a>, mode: u32 }
            15 Device { target: Text<'a>, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 }
            16 Symlink { target: Text<'a>, link: Text<'a> }
            17 Mask { target: Text<'a> }
            18 ReadOnly { target: Text<'a> }
            19 Terminal { rows: u16, columns: u16, console: bool }
            20 Fd { slot: Slot, fd: u32 }
            21 ControllingTerminal {}
            22 Pivot {}
            23 RootReadOnly {}
            24 Sysctl { path: Text<'a>, value: Text<'a> }
            25 OomScoreAdj { value: i32, clamp: bool }
            26 Rlimit { resource: u32, soft: u64, hard: u64 }
            27 Umask { mask: u32 }
            28 NoNewPrivileges {}
            29 Seccomp { program: Blob<'a>, flags: u64, listener: bool }
            30 BoundingSet { keep: u64 }
            31 User { uid: u32, gid: u32, groups: Option<Words<'a>>, keep_caps: bool }
            32 Capabilities { effective: u64, permitted: u64, inheritable: u64, ambient: u64 }
            33 WorkingDirectory { path: Text<'a>, create: bool }
            34 CloseFrom { first: u32 }
            35 Exec { candidates: Texts<'a>, argv: Texts<'a>, env: Texts<'a> }
        }
    };
}

macro_rules! define_steps {
    ($($number:literal $name:ident { $($field:ident : $type:ty),* })*) => {
        /// One operation, borrowed from the wire: what [`Op`](crate::plan::Op) says of each holds here.
        #[allow(missing_docs, reason = "documented once, at Op")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step<'a> { $( $name { $($field: $type),* } ),* }

        impl<'a> Field<'a> for Step<'a> {
            fn read(from: &mut Reader<'a>) -> Option<Self> {
                Some(match u8::read(from)? {
                    $( $number => Step::$name { $($field: Field::read(from)?),* }, )*
                    _ => return None,
                })
            }
        }
    };
}

every_op!(define_steps);
#[allow(unused_imports, reason = "the program only reads")]
pub(crate) use every_op;

/// An encoded plan whose header has been checked.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// How many slots the plan refers to.
    pub slots: u16,
    /// The first file descriptor number that the plan leaves to init's own use.
    pub first_free_fd: u32,
    count: u32,
    reader: Reader<'a>,
}

impl<'a> View<'a> {
    /// Checks magic, version and length; operations are checked as they are read.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let magic: [u8; 4] = reader.array()?;
        let version = u16::read(&mut reader)?;
        let slots = u16::read(&mut reader)?;
        let first_free_fd = u32::read(&mut reader)?;
        let count = u32::read(&mut reader)?;
        let length = u32::read(&mut reader)?;
        let whole = magic == MAGIC
            && version == VERSION
            && length as usize == bytes.len()
            && first_free_fd <= FD_LIMIT;
        whole.then_some(View {
            slots,
            first_free_fd,
            count,
            reader,
        })
    }

    /// How many operations the header promises.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether the plan holds nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The operations in order; `None` inside ends them early where the bytes are malformed.
    pub fn steps(&self) -> Steps<'a> {
        Steps {
            left: self.count,
            reader: self.reader,
        }
    }
}

/// Iterator over the operations of a [`View`].
#[derive(Debug, Clone)]
pub struct Steps<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Iterator for Steps<'a> {
    type Item = Option<Step<'a>>;

    fn next(&mut self) -> Option<Option<Step<'a>>> {
        self.left = self.left.checked_sub(1)?;
        let step = Step::read(&mut self.reader);
        if step.is_none() {
            self.left = 0;
        }
        Some(step)
    }
}
