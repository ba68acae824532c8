//! The plan of a container start, and the static program that carries it out.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod plan;
