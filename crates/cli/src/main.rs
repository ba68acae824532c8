//! The command line of Orlop.

fn main() {}
