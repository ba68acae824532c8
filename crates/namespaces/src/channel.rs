//! The caller's end of the channel to init, and the memory file they share.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use orlop_init::protocol::{self, FDS_A_MESSAGE, PLAN, PLAN_OFFSET, status};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::Pid;

/// The plan, and the page on which init says how far it is.
pub(crate) struct Memory(File);

impl Memory {
    pub(crate) fn new(plan: &[u8]) -> io::Result<Memory> {
        // Not executable, where the kernel can promise that.
        let no_exec = MemfdFlags::from_bits_retain(0x8);
        let file = match memfd_create(c"orlop-plan", MemfdFlags::CLOEXEC | no_exec) {
            Err(rustix::io::Errno::INVAL) => memfd_create(c"orlop-plan", MemfdFlags::CLOEXEC)?,
            other => other?,
        };
        fchmod(&file, Mode::from_raw_mode(0o400))?;
        let file = File::from(file);
        file.write_all_at(plan, PLAN_OFFSET as u64)?;
        Ok(Memory(file))
    }

    pub(crate) fn status(&self) -> io::Result<Status> {
        let mut bytes = [0; 4 * status::WORDS];
        self.0.read_exact_at(&mut bytes, 0)?;
        let mut words = [0; status::WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Ok(Status(words))
    }
}

/// What stood on the status page.
pub(crate) struct Status([u32; status::WORDS]);

impl Status {
    fn word(&self, index: usize) -> u32 {
        self.0.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn state(&self) -> u32 {
        self.word(status::STATE)
    }

    pub(crate) fn operation(&self) -> usize {
        self.word(status::OPERATION) as usize
    }

    pub(crate) fn errno(&self) -> i32 {
        self.word(status::ERRNO) as i32
    }

    pub(crate) fn container(&self) -> Option<Pid> {
        i32::try_from(self.word(status::CONTAINER))
            .ok()
            .and_then(Pid::from_raw)
    }
}

/// A message from init.
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) pid: u32,
    pub(crate) fd: Option<OwnedFd>,
}

/// The caller's end.
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends; the second is init's.
    pub(crate) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Channel(ours), theirs))
    }

    /// Leaves the memory file and the slots for init to take.
    pub(crate) fn send_plan(&self, memory: &Memory, slots: &[BorrowedFd<'_>]) -> io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(memory.0.as_fd())
            .chain(slots.iter().copied())
            .collect();
        for part in fds.chunks(FDS_A_MESSAGE) {
            self.send(PLAN, part)?;
        }
        // A full message announces another.
        if fds.len().is_multiple_of(FDS_A_MESSAGE) {
            self.send(PLAN, &[])?;
        }
        Ok(())
    }

    pub(crate) fn send_go(&self) -> io::Result<()> {
        self.send(protocol::GO, &[])
    }

    fn send(&self, kind: u8, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_A_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(
            &self.0,
            &[IoSlice::new(&[kind])],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// The next message; `None` once nobody holds init's end any more: the program was executed, or everything is dead.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut parts, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                // Init ended without having read all: the end, too.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let [kind, a, b, c, d, ..] = bytes;
        Ok(Some(Message {
            kind,
            pid: u32::from_le_bytes([a, b, c, d]),
            fd,
        }))
    }
}
