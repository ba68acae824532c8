//! Network devices: the loopback only.

use crate::sys::{self, Result};

/// `struct ifreq` with flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

pub fn loopback_up() -> Result<()> {
    const AF_UNIX: usize = 1;
    const SOCK_DGRAM: usize = 2;
    const SIOCGIFFLAGS: usize = 0x8913;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u16 = 1;
    // Device requests work on a socket of any family, and this one is always there.
    let socket = sys::socket(AF_UNIX, SOCK_DGRAM)?;
    let mut request = Request {
        name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        flags: 0,
        rest: [0; 22],
    };
    sys::ioctl(socket.raw(), SIOCGIFFLAGS, &mut request)?;
    request.flags |= IFF_UP;
    sys::ioctl(socket.raw(), SIOCSIFFLAGS, &mut request)?;
    Ok(())
}
