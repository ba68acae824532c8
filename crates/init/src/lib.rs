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
