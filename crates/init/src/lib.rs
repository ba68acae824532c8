//! The plan of a container start, and the static program that carries it out.
//!
//! A [`Plan`] is a launch as data: the operations that turn a fresh process into a container, one after another, the last being the
//! program's `execve`. It holds no pointer and no file descriptor, so it can be compared, printed, sent and started a thousand
//! times. [`Plan::encode`] makes one flat buffer of it; [`PROGRAM`] is a freestanding program of 31 KB, without libc, heap or
//! threads, that reads the buffer where it lies and makes the system calls. It is the only thing that ever runs between a clone
//! and a container's own program.
//!
//! ```
//! use orlop_init::{Op, Plan};
//!
//! let plan = Plan::new(vec![
//!     Op::Clone { flags: 0x0400_0000, cgroup: None }, // CLONE_NEWUTS
//!     Op::Hostname { name: "inside".into() },
//!     Op::Exec {
//!         candidates: vec!["/bin/hostname".into()],
//!         argv: vec!["hostname".into()],
//!         env: vec![],
//!     },
//! ]);
//! assert_eq!(plan.ops()[1].to_string(), "setting the host name to inside");
//! let bytes = plan.encode()?;
//! assert_eq!(Plan::decode(&bytes), Some(plan));
//! # Ok::<(), orlop_init::EncodeError>(())
//! ```
//!
//! How the program is started, and how it reports, is in [`protocol`]; `orlop-namespaces` does it.
//!
//! # Limits
//!
//! - Linux on x86_64 and aarch64; the build needs `rustc` and a C linker, nothing else. `RUSTFLAGS` and the profile have no influence
//!   on the program.
//! - The wire form is no file format: program and crate are of one build.
//! - An encoded plan cannot touch the caller's own mounts, host name or devices: [`EncodeError::Refused`] says which operation would.
//!   Whether a plan makes a *safe* container is for its author to know.
//! - A plan refers to at most 1,024 slots and gives the program file descriptor numbers below 1,024.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod display;
mod encode;
pub mod plan;
pub mod protocol;
mod rules;
pub mod wire;

pub use encode::EncodeError;
pub use plan::{CBytes, Create, Op, Plan, Slot, Source};

/// The ELF image of the static program that carries out a plan, for the architecture this crate is built for.
pub static PROGRAM: &[u8] = include_bytes!(env!("ORLOP_INIT_PROGRAM"));
