//! Who the program is and what it may do: ids, capabilities, system calls.

use crate::interpreter::Init;
use crate::protocol::LISTENER;
use crate::sys::{self, Errno, Fd, Result};
use crate::wire::Step;

const PR_SET_KEEPCAPS: usize = 8;
const PR_CAPBSET_READ: usize = 23;
const PR_CAPBSET_DROP: usize = 24;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_RAISE: usize = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;

pub fn no_new_privileges() -> Result<()> {
    sys::prctl(PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

pub fn bounding_set(keep: u64) -> Result<()> {
    for capability in (0..64).filter(|capability| keep >> capability & 1 == 0) {
        match sys::prctl(PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            // One more than the kernel knows.
            Err(Errno::INVAL) => break,
            Err(Errno::PERM) if sys::prctl(PR_CAPBSET_READ, capability, 0) == Ok(0) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

pub fn capabilities(effective: u64, permitted: u64, inheritable: u64, ambient: u64) -> Result<()> {
    sys::capset(effective, permitted, inheritable)?;
    match sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0) {
        // A kernel without ambient capabilities has none to clear.
        Err(Errno::INVAL) if ambient == 0 => {}
        other => drop(other?),
    }
    for capability in (0..64).filter(|capability| ambient >> capability & 1 == 1) {
        sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)?;
    }
    Ok(())
}

fn give_pipe_to(file: i32, uid: u32) {
    if sys::stat(file).is_ok_and(|stat| stat.is_fifo() && stat.uid != uid) {
        sys::fchown(file, uid, u32::MAX).ok();
    }
}

impl Init {
    pub fn become_user(
        &mut self,
        uid: u32,
        gid: u32,
        groups: Option<&[u8]>,
        keep_caps: bool,
    ) -> Result<()> {
        if keep_caps {
            sys::prctl(PR_SET_KEEPCAPS, 1, 0)?;
        }
        self.give_stdio_to(uid);
        if let Some(groups) = groups {
            sys::setgroups(groups)?;
        }
        sys::setresgid(gid)?;
        sys::setresuid(uid)?;
        // The kernel decides the flag anew with every change of ids.
        crate::dumpable(false);
        Ok(())
    }

    /// The user must be able to open its own terminal, and its pipes again as `/dev/stdout`. Other files keep their owner.
    fn give_stdio_to(&self, uid: u32) {
        if let Some(terminal) = &self.terminal {
            sys::fchown(terminal.raw(), uid, u32::MAX).ok();
            return;
        }
        for number in 0..3 {
            give_pipe_to(number, uid);
        }
        let plan = self.plan;
        for step in plan.steps().skip(self.index as usize) {
            if let Some(Step::Fd { slot, fd: 0..3 }) = step {
                self.slot(slot).map(|file| give_pipe_to(file, uid)).ok();
            }
        }
    }

    pub fn seccomp(&mut self, program: &[u8], flags: u64, listener: bool) -> Result<()> {
        const NEW_LISTENER: u64 = 1 << 3;
        // From here on any call may be refused: what can be done before is done before.
        self.make_ready()?;
        let flags = if listener {
            flags | NEW_LISTENER
        } else {
            flags & !NEW_LISTENER
        };
        let result = sys::seccomp_filter(program, flags)?;
        if listener {
            let listener = Fd::own(result as i32);
            sys::send(&self.channel, &[LISTENER], Some(listener.raw()))?;
        }
        Ok(())
    }
}
