//! The program of the `hello` image: says what it finds itself in, for somebody who sees a container for the first time.
//!
//! Static and without a library, so that the image is this one file. Nothing here allocates.

#![no_std]
#![no_main]
#![no_builtins]
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

mod capabilities;
mod limits;
mod namespaces;
mod parse;
#[allow(unsafe_code)]
mod sys;
mod text;

use text::Text;

/// The variable in which the caller says when it began, in nanoseconds of `CLOCK_MONOTONIC`.
const STARTED_AT: &[u8] = b"ORLOP_STARTED_AT=";

/// Writes the report. Gives the exit status.
fn main(environment: sys::Environment) -> i32 {
    // First of all, as it is what is measured.
    let now = sys::monotonic();
    let mut out = Text::new();
    out.line(b"Hello from a container, started by Orlop.");
    out.line(b"");
    started(&mut out, &environment, now);
    identity(&mut out);
    root(&mut out);
    namespaces::report(&mut out);
    limits::report(&mut out);
    capabilities::report(&mut out);
    out.line(b"");
    out.line(b"This image came with the program that ran it: one static file, no network.");
    out.line(b"Next:  orlop pull busybox  and  orlop run --rm -it busybox sh");
    match out.print() {
        true => 0,
        false => 1,
    }
}

fn started(out: &mut Text, environment: &sys::Environment, now: u64) {
    let began = environment.find(STARTED_AT).and_then(parse::number);
    let Some(nanoseconds) = began.and_then(|began| now.checked_sub(began)) else {
        return;
    };
    out.add(b"  started in ");
    if nanoseconds < 1_000_000_000 {
        out.number(nanoseconds / 1_000_000);
        out.add(b".");
        out.number(nanoseconds / 100_000 % 10);
        out.add(b" ms");
    } else {
        out.number(nanoseconds / 1_000_000_000);
        out.add(b".");
        out.number(nanoseconds / 100_000_000 % 10);
        out.add(b" s");
    }
    out.line(b"");
    out.line(b"");
}

fn identity(out: &mut Text) {
    out.label(b"process");
    out.add(b"pid ");
    out.number(sys::pid());
    out.line(b"");
    out.label(b"user");
    out.add(b"uid ");
    out.number(sys::uid());
    out.add(b", gid ");
    out.number(sys::gid());
    out.line(b"");
    let mut names = [0; 390];
    out.label(b"hostname");
    out.line(sys::hostname(&mut names));
}

fn root(out: &mut Text) {
    out.label(b"root");
    match sys::root() {
        Some((kind, read_only)) => {
            match kind {
                0x794c_7630 => out.add(b"overlay"),
                0x0102_1994 => out.add(b"tmpfs"),
                0xef53 => out.add(b"ext4"),
                0x9123_683e => out.add(b"btrfs"),
                0x5846_5342 => out.add(b"xfs"),
                0x6573_5546 => out.add(b"fuse"),
                0x2fc1_2fc1 => out.add(b"zfs"),
                other => {
                    out.add(b"file system of type 0x");
                    out.hex(other);
                }
            }
            out.line(if read_only {
                b", read-only"
            } else {
                b", writable"
            });
        }
        None => out.line(b"unknown"),
    }
}
