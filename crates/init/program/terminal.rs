//! The container's terminal, from its own devpts.

use crate::interpreter::Init;
use crate::paths::{self, Leaf, NO_SYMLINKS};
use crate::protocol::TERMINAL;
use crate::sys::{self, Errno, Fd, O_CLOEXEC, O_NOCTTY, O_RDWR, Result};

const DEVPTS_MAGIC: u64 = 0x1cd1;
const TIOCSCTTY: usize = 0x540e;
const TIOCSWINSZ: usize = 0x5414;
const TIOCGPTPEER: usize = 0x5441;
const TIOCSPTLCK: usize = 0x4004_5431;

pub fn take_control(terminal: i32) -> Result<()> {
    sys::ioctl_value(terminal, TIOCSCTTY, 0).map(drop)
}

impl Init {
    pub fn make_terminal(&mut self, rows: u16, columns: u16, console: bool) -> Result<()> {
        const S_IFCHR: u32 = 0o020000;
        let root = self.root()?;
        let resolve = paths::IN_ROOT | paths::NO_MAGICLINKS | NO_SYMLINKS;
        let master = sys::openat2(root, c"/dev/pts/ptmx", O_RDWR | O_NOCTTY, resolve)?;
        let genuine = sys::filesystem(master.raw())? == DEVPTS_MAGIC;
        if !genuine || !sys::stat(master.raw())?.is_device(S_IFCHR, 5, 2) {
            return Err(Errno::NODEV);
        }
        let mut unlocked = 0i32;
        sys::ioctl(master.raw(), TIOCSPTLCK, &mut unlocked)?;
        // By the master itself: no path that could lead elsewhere.
        let flags = (O_RDWR | O_NOCTTY | O_CLOEXEC) as usize;
        let slave = Fd::own(sys::ioctl_value(master.raw(), TIOCGPTPEER, flags)? as i32);
        if rows != 0 {
            let mut size = [rows, columns, 0, 0];
            sys::ioctl(master.raw(), TIOCSWINSZ, &mut size)?;
        }
        if console {
            paths::make(root, c"/dev/console", Leaf::File)?;
            let place = paths::resolve(root, c"/dev/console", 0, NO_SYMLINKS)?;
            let mount = sys::open_tree(slave.raw(), c"", false)?;
            sys::move_mount(mount.raw(), place.raw())?;
        }
        sys::send(&self.channel, &[TERMINAL], Some(master.raw()))?;
        match sys::setsid() {
            // Leads a session already.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        take_control(slave.raw())?;
        for number in 0..3 {
            sys::dup_to(slave.raw(), number)?;
        }
        self.terminal = Some(slave);
        Ok(())
    }
}
