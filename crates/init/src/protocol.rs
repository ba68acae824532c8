//! What the program and whoever starts it agree on beside the plan: the shared page and the messages on the channel.
//!
//! The program is executed with the number of its end of a `SOCK_SEQPACKET` pair as `argv[1]`. The first message holds the
//! [`PLAN`] byte and carries the memory file, then the slots in order; further [`PLAN`] messages carry the slots that did not fit.
//! The memory file begins with the status page; the plan begins at [`PLAN_OFFSET`].

/// Where the plan begins in the memory file: a multiple of every page size Linux has.
pub const PLAN_OFFSET: usize = 65536;
/// File descriptors in one message at most (`SCM_MAX_FD`).
pub const FDS_A_MESSAGE: usize = 253;

/// Slots that a start may bring.
pub const SLOTS_MAX: usize = 1024;

/// To init: the memory file and the slots.
pub const PLAN: u8 = b'P';
/// To init: the id maps are written.
pub const GO: u8 = b'G';
/// From init: the container exists; carries its pidfd, followed by its process id as four little-endian bytes.
pub const CONTAINER: u8 = b'C';
/// From init: write my id maps.
pub const ID_MAPS: u8 = b'M';
/// From init: carries the master of the terminal.
pub const TERMINAL: u8 = b'T';
/// From init: carries the listener of the seccomp filter.
pub const LISTENER: u8 = b'L';

/// The status page: words of 32 bits at these indices.
pub mod status {
    /// One of the states below.
    pub const STATE: usize = 0;
    /// The operation being carried out, or the one that failed.
    pub const OPERATION: usize = 1;
    /// The error number of a failure; 0 if there was none.
    pub const ERRNO: usize = 2;
    /// The container's process id as the caller sees it, written by the kernel before the container runs.
    pub const CONTAINER: usize = 3;
    /// How many words there are.
    pub const WORDS: usize = 4;

    /// The program has not read its plan yet.
    pub const BORN: u32 = 0;
    /// Operations are being carried out.
    pub const RUNNING: u32 = 1;
    /// The next thing is the final `execve`.
    pub const EXECUTING: u32 = 2;
    /// Something failed: see the other words.
    pub const FAILED: u32 = 3;
    /// The plan itself could not be read.
    pub const MALFORMED: u32 = 4;
    /// The caller was gone before the program could be executed.
    pub const ABANDONED: u32 = 5;
}
