//! The static program that carries out a plan, from the second clone to the final `execve`.
//!
//! It is executed from a sealed memory file with no stack, heap or file descriptor of its starter's, finds its plan and its slots on
//! the channel in `argv[1]`, and takes one operation after another. Nothing here allocates; every file descriptor is `CLOEXEC`.

#![no_std]
#![no_main]
#![no_builtins]
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

mod devices;
mod execute;
mod identity;
mod interpreter;
mod links;
mod mounts;
mod paths;
mod procfs;
#[path = "../src/protocol.rs"]
#[allow(dead_code)]
mod protocol;
mod root;
mod sources;
#[allow(unsafe_code)]
mod sys;
mod terminal;
#[path = "../src/wire.rs"]
#[allow(dead_code)]
mod wire;

use protocol::{FDS_A_MESSAGE, PLAN, PLAN_OFFSET, status};
use sys::{Errno, Fd, Result, Status};

/// Slots a start may bring.
const SLOTS: usize = protocol::SLOTS_MAX;

/// Carries out the plan that arrives on the channel. Never returns.
fn main(channel: Fd) -> ! {
    // Before anything else: what follows may not be traced, nor its files opened through /proc.
    dumpable(false);
    let mut slots = [-1; SLOTS];
    let Ok((file, channel)) = receive(channel, &mut slots) else {
        sys::exit(1)
    };
    let Ok(status) = Status::map(&file) else {
        sys::exit(1)
    };
    let plan = sys::map_plan(&file, PLAN_OFFSET)
        .ok()
        .and_then(wire::View::new);
    drop(file);
    let Some(plan) = plan else {
        status.set(status::STATE, status::MALFORMED);
        sys::exit(1)
    };
    status.set(status::STATE, status::RUNNING);
    for slot in slots.iter_mut().take(plan.slots as usize) {
        make_room(slot, plan.first_free_fd);
    }
    let channel = hold_low_numbers(channel, plan.first_free_fd);
    interpreter::Init::new(plan, channel, status, slots).run()
}

/// Sets whether this process may be traced and its `/proc` files are its own user's.
fn dumpable(on: bool) {
    const PR_SET_DUMPABLE: usize = 4;
    sys::prctl(PR_SET_DUMPABLE, usize::from(on), 0).ok();
}

/// Closes what leaked in from the starter, then takes the memory file and the slots.
fn receive(channel: Fd, slots: &mut [i32; SLOTS]) -> Result<(Fd, Fd)> {
    let number = channel.raw() as u32;
    if number > 3 {
        sys::close_range(3, number - 1, false)?;
    }
    sys::close_range(number.max(2) + 1, u32::MAX, false)?;
    let mut fds = sys::Fds::new();
    let mut slots = slots.iter_mut();
    let mut file = None;
    loop {
        if sys::receive(&channel, &mut fds)? != Some(PLAN) {
            return Err(Errno::PROTO);
        }
        for fd in fds.received() {
            if file.is_none() {
                file = Some(Fd::own(*fd));
            } else {
                *slots.next().ok_or(Errno::PROTO)? = *fd;
            }
        }
        // A full message announces another, if only an empty one.
        if fds.received().len() < FDS_A_MESSAGE {
            return Ok((file.ok_or(Errno::PROTO)?, channel));
        }
    }
}

/// Moves a slot away from the numbers that the plan gives to the program.
fn make_room(slot: &mut i32, first_free: u32) {
    if *slot >= 0
        && (*slot as u32) < first_free
        && let Ok(copy) = sys::dup_above(*slot, first_free)
    {
        drop(Fd::own(core::mem::replace(slot, copy.keep())));
    }
}

/// Moves the channel likewise, and fills holes below, so that nothing opened later gets a number that the plan gives away.
fn hold_low_numbers(channel: Fd, first_free: u32) -> Fd {
    while let Ok(copy) = sys::dup_above(channel.raw(), 0) {
        if copy.raw() as u32 >= first_free {
            return if (channel.raw() as u32) < first_free {
                channel.keep();
                copy
            } else {
                channel
            };
        }
        copy.keep();
    }
    channel
}
