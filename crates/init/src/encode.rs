//! From operations to the wire form, and back to operations.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::plan::{CBytes, Create, Op, Plan, Slot, Source};
use crate::rules;
use crate::wire::{
    Blob, FD_LIMIT, HEADER, MAGIC, SourceStep, Step, Text, Texts, VERSION, View, Words, every_op,
};

/// Why a list of operations is not a plan that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A text holds a NUL byte, which would end it early in the kernel.
    Nul {
        /// Index of the operation.
        index: usize,
        /// The operation in words.
        op: String,
    },
    /// The plan does not hold exactly one [`Op::Clone`].
    Clones {
        /// How many it holds.
        found: usize,
    },
    /// The plan does not end with its only [`Op::Exec`].
    Exec,
    /// An operation would act on the caller's own namespaces, or stands where it cannot work.
    Refused {
        /// Index of the operation.
        index: usize,
        /// The operation in words.
        op: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The plan does not fit into the form's 32-bit lengths.
    TooLong,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Nul { index, op } => {
                write!(f, "{op} (operation {index}): a text holds a NUL byte")
            }
            EncodeError::Clones { found } => {
                write!(f, "a plan holds exactly one clone, this one {found}")
            }
            EncodeError::Exec => f.write_str("a plan ends with its only exec"),
            EncodeError::Refused { index, op, reason } => {
                write!(f, "{op} (operation {index}): {reason}")
            }
            EncodeError::TooLong => f.write_str("the plan is longer than 2 GiB"),
        }
    }
}

impl core::error::Error for EncodeError {}

impl Plan {
    /// The flat form that the program reads: no pointer, no file descriptor.
    ///
    /// # Errors
    ///
    /// See [`EncodeError`]: what is refused here could only fail, or act on the caller's own namespaces.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        rules::check(self.ops())?;
        let mut out = Encoder {
            bytes: Vec::with_capacity(1024),
            ..Encoder::default()
        };
        out.bytes.resize(HEADER, 0);
        for (index, op) in self.ops().iter().enumerate() {
            put_op(op, &mut out);
            if out.nul {
                return Err(EncodeError::Nul {
                    index,
                    op: op.to_string(),
                });
            }
        }
        let length = u32::try_from(out.bytes.len())
            .ok()
            .filter(|l| *l <= i32::MAX as u32);
        let (Some(length), Ok(count)) = (length, u32::try_from(self.ops().len())) else {
            return Err(EncodeError::TooLong);
        };
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&self.slots().to_le_bytes());
        header.extend_from_slice(&self.first_free_fd().to_le_bytes());
        header.extend_from_slice(&count.to_le_bytes());
        header.extend_from_slice(&length.to_le_bytes());
        for (to, from) in out.bytes.iter_mut().zip(header) {
            *to = from;
        }
        Ok(out.bytes)
    }

    /// Reads an encoded plan back. `None` where the bytes are not one, whole and well-formed.
    pub fn decode(bytes: &[u8]) -> Option<Plan> {
        let view = View::new(bytes)?;
        let mut ops = Vec::new();
        for step in view.steps() {
            ops.push(own_op(step?));
        }
        let plan = Plan::new(ops);
        (plan.encode().ok()?.as_slice() == bytes).then_some(plan)
    }

    /// How many slots a start of this plan must bring: one more than the highest that an operation names.
    pub fn slots(&self) -> u16 {
        let mut out = Encoder::default();
        for op in self.ops() {
            put_op(op, &mut out);
            out.bytes.clear();
        }
        out.slots
    }

    /// The first file descriptor number that the plan does not give to the program.
    fn first_free_fd(&self) -> u32 {
        let used = self.ops().iter().filter_map(|op| match op {
            Op::Fd { fd, .. } => Some(fd.saturating_add(1)),
            _ => None,
        });
        used.max().unwrap_or(0).clamp(3, FD_LIMIT)
    }
}

#[derive(Default)]
struct Encoder {
    bytes: Vec<u8>,
    slots: u16,
    nul: bool,
}

impl Encoder {
    /// Lengths over 32 bits wrap here and are refused by the check of the whole.
    fn length(&mut self, length: usize) {
        self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
    }
}

/// A borrowed form on the wire, and the owned one it stands for.
trait Wire {
    type Owned;
    fn put(owned: &Self::Owned, out: &mut Encoder);
    fn own(self) -> Self::Owned;
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl Wire for $number {
            type Owned = $number;
            fn put(owned: &$number, out: &mut Encoder) {
                out.bytes.extend_from_slice(&owned.to_le_bytes());
            }
            fn own(self) -> $number {
                self
            }
        }
    )* };
}

numbers!(u8 u16 u32 u64 i32);

impl Wire for bool {
    type Owned = bool;
    fn put(owned: &bool, out: &mut Encoder) {
        out.bytes.push(u8::from(*owned));
    }
    fn own(self) -> bool {
        self
    }
}

impl Wire for Slot {
    type Owned = Slot;
    fn put(owned: &Slot, out: &mut Encoder) {
        out.slots = out.slots.max(owned.0.saturating_add(1));
        u16::put(&owned.0, out);
    }
    fn own(self) -> Slot {
        self
    }
}

impl Wire for (u64, u64) {
    type Owned = (u64, u64);
    fn put(owned: &(u64, u64), out: &mut Encoder) {
        u64::put(&owned.0, out);
        u64::put(&owned.1, out);
    }
    fn own(self) -> (u64, u64) {
        self
    }
}

impl<T: Wire> Wire for Option<T> {
    type Owned = Option<T::Owned>;
    fn put(owned: &Option<T::Owned>, out: &mut Encoder) {
        bool::put(&owned.is_some(), out);
        if let Some(owned) = owned {
            T::put(owned, out);
        }
    }
    fn own(self) -> Option<T::Owned> {
        self.map(T::own)
    }
}

impl Wire for Create {
    type Owned = Create;
    fn put(owned: &Create, out: &mut Encoder) {
        out.bytes.push(match owned {
            Create::No => 0,
            Create::Dir => 1,
            Create::File => 2,
            Create::LikeSource => 3,
        });
    }
    fn own(self) -> Create {
        self
    }
}

impl Wire for Text<'_> {
    type Owned = CBytes;
    fn put(owned: &CBytes, out: &mut Encoder) {
        out.nul |= owned.contains(&0);
        out.length(owned.len());
        out.bytes.extend_from_slice(owned);
        out.bytes.push(0);
    }
    fn own(self) -> CBytes {
        self.to_bytes().to_vec()
    }
}

impl Wire for Blob<'_> {
    type Owned = Vec<u8>;
    fn put(owned: &Vec<u8>, out: &mut Encoder) {
        out.length(owned.len());
        out.bytes.extend_from_slice(owned);
    }
    fn own(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Wire for Words<'_> {
    type Owned = Vec<u32>;
    fn put(owned: &Vec<u32>, out: &mut Encoder) {
        out.length(owned.len());
        for word in owned {
            u32::put(word, out);
        }
    }
    fn own(self) -> Vec<u32> {
        let words = self.0.as_chunks::<4>().0;
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }
}

impl Wire for Texts<'_> {
    type Owned = Vec<CBytes>;
    fn put(owned: &Vec<CBytes>, out: &mut Encoder) {
        out.length(owned.len());
        let bytes = owned
            .iter()
            .fold(0usize, |sum, text| sum.saturating_add(text.len() + 5));
        out.length(bytes);
        for text in owned {
            Text::put(text, out);
        }
    }
    fn own(self) -> Vec<CBytes> {
        self.map(Text::own).collect()
    }
}

impl Wire for SourceStep<'_> {
    type Owned = Source;
    fn put(owned: &Source, out: &mut Encoder) {
        match owned {
            Source::Detached(slot) => {
                out.bytes.push(0);
                Slot::put(slot, out);
            }
            Source::Fd { slot, recursive } => {
                out.bytes.push(1);
                Slot::put(slot, out);
                bool::put(recursive, out);
            }
            Source::HostPath { path, recursive } => {
                out.bytes.push(2);
                Text::put(path, out);
                bool::put(recursive, out);
            }
            Source::New {
                fstype,
                source,
                options,
            } => {
                out.bytes.extend_from_slice(&[3, 0]);
                put_new(fstype, source, options, out);
            }
            Source::NewIn {
                directory,
                fstype,
                source,
                options,
            } => {
                out.bytes.extend_from_slice(&[3, 1]);
                Text::put(directory, out);
                put_new(fstype, source, options, out);
            }
        }
    }
    fn own(self) -> Source {
        match self {
            SourceStep::Detached(slot) => Source::Detached(slot),
            SourceStep::Fd { slot, recursive } => Source::Fd { slot, recursive },
            SourceStep::HostPath { path, recursive } => Source::HostPath {
                path: path.own(),
                recursive,
            },
            SourceStep::New {
                directory,
                fstype,
                source,
                options,
            } => {
                let (fstype, source, options) = (fstype.own(), source.own(), options.own());
                match directory {
                    None => Source::New {
                        fstype,
                        source,
                        options,
                    },
                    Some(directory) => Source::NewIn {
                        directory: directory.own(),
                        fstype,
                        source,
                        options,
                    },
                }
            }
        }
    }
}

fn put_new(fstype: &CBytes, source: &CBytes, options: &Vec<CBytes>, out: &mut Encoder) {
    Text::put(fstype, out);
    Text::put(source, out);
    Texts::put(options, out);
}

macro_rules! define_conversions {
    ($($number:literal $name:ident { $($field:ident : $type:ty),* })*) => {
        #[allow(clippy::extra_unused_lifetimes, reason = "the table's types are written with it")]
        fn put_op<'a>(op: &Op, out: &mut Encoder) {
            match op {
                $( Op::$name { $($field),* } => {
                    out.bytes.push($number);
                    $( <$type as Wire>::put($field, out); )*
                } )*
            }
        }

        fn own_op(step: Step<'_>) -> Op {
            match step {
                $( Step::$name { $($field),* } => Op::$name { $($field: Wire::own($field)),* }, )*
            }
        }
    };
}

every_op!(define_conversions);
