//! The channel to whoever started this program.

use core::ptr;

use super::*;

/// `struct msghdr` with one `struct iovec`.
#[repr(C)]
struct Message {
    name: usize,
    name_length: u32,
    parts: usize,
    part_count: usize,
    control: usize,
    control_length: usize,
    flags: i32,
}

/// `struct cmsghdr` for file descriptors, with room for as many as one message carries.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; crate::protocol::FDS_A_MESSAGE],
}

const CONTROL_HEADER: usize = 16;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;

/// Sends a message, with a file descriptor if there is one.
pub fn send(channel: &Fd, bytes: &[u8], file: Option<i32>) -> Result<()> {
    const NOSIGNAL: usize = 0x4000;
    let part = [at(bytes), bytes.len()];
    let control = [
        CONTROL_HEADER + 4,
        (SCM_RIGHTS as usize) << 32 | SOL_SOCKET as usize,
        file.unwrap_or(-1) as usize,
    ];
    let message = Message {
        name: 0,
        name_length: 0,
        parts: at(&part),
        part_count: 1,
        control: if file.is_some() { at(&control) } else { 0 },
        control_length: if file.is_some() {
            size_of_val(&control)
        } else {
            0
        },
        flags: 0,
    };
    done(call(
        arch::SENDMSG,
        [channel.raw() as usize, at(&message), NOSIGNAL, 0, 0, 0],
    ))
}

/// The file descriptors of a message.
pub struct Fds(Control);

impl Fds {
    pub fn new() -> Fds {
        Fds(Control {
            length: 0,
            level: 0,
            kind: 0,
            fds: [-1; crate::protocol::FDS_A_MESSAGE],
        })
    }

    /// Those of the message received last.
    pub fn received(&self) -> &[i32] {
        let Control {
            length,
            level,
            kind,
            fds,
        } = &self.0;
        let carried = (*level, *kind) == (SOL_SOCKET, SCM_RIGHTS);
        let count = if carried {
            length.saturating_sub(CONTROL_HEADER) / 4
        } else {
            0
        };
        fds.get(..count).unwrap_or(fds)
    }
}

/// Waits for a message: its first byte. `None` at the end of the channel.
pub fn receive(channel: &Fd, fds: &mut Fds) -> Result<Option<u8>> {
    const CMSG_CLOEXEC: usize = 0x4000_0000;
    fds.0.level = 0;
    let mut byte = [0u8; 8];
    let part = [at_mut(&mut byte), byte.len()];
    let mut message = Message {
        name: 0,
        name_length: 0,
        parts: at(&part),
        part_count: 1,
        control: at_mut(&mut fds.0),
        control_length: size_of::<Control>(),
        flags: 0,
    };
    loop {
        match call(
            arch::RECVMSG,
            [
                channel.raw() as usize,
                at_mut(&mut message),
                CMSG_CLOEXEC,
                0,
                0,
                0,
            ],
        ) {
            Err(Errno::INTR) => {}
            Ok(0) => return Ok(None),
            // SAFETY: written by the kernel during the call.
            Ok(_) => return Ok(Some(unsafe { ptr::read_volatile(&byte[0]) })),
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether the other end is still there.
pub fn is_open(channel: &Fd) -> bool {
    const PEEK_DONTWAIT: usize = 0x2 | 0x40;
    let mut byte = 0u8;
    let arguments = [
        channel.raw() as usize,
        at_mut(&mut byte),
        1,
        PEEK_DONTWAIT,
        0,
        0,
    ];
    call(arch::RECVFROM, arguments) == Err(Errno::AGAIN)
}
