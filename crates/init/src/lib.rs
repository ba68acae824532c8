//! The plan of a container start, and the static program that carries it out.

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
