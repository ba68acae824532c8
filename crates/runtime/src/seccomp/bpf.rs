//! Classic BPF, emitted from the last instruction to the first.
//!
//! Building backwards makes every jump's target known when the jump is written, so offsets need no second pass, and a verdict
//! that was returned a moment ago can be jumped to again instead of being repeated.

/// One instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

pub(crate) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(crate) const RETURN: u16 = 0x06; // BPF_RET | BPF_K
pub(crate) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(crate) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(crate) const JUMP_EQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(crate) const JUMP_GT: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
pub(crate) const JUMP_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K

/// Offsets into `struct seccomp_data`.
pub(crate) const NUMBER: u32 = 0;
pub(crate) const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// The longest program the kernel takes (`BPF_MAXINSNS`).
pub(crate) const MAX_LENGTH: usize = 4096;

/// Offset of the low half of an argument; both supported architectures are little-endian.
pub(crate) const fn arg_low(index: u8) -> u32 {
    ARGS + index as u32 * 8
}

/// Offset of the high half of an argument.
pub(crate) const fn arg_high(index: u8) -> u32 {
    arg_low(index) + 4
}

/// A place in the program, counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// A program under construction, back to front.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    reversed: Vec<Instruction>,
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }

    /// The offset a jump to `target` needs when it is pushed now.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - 1 - target.0
    }

    /// Return `verdict`; shared with an earlier one that is still within reach of a short jump.
    pub(crate) fn ret(&mut self, verdict: u32) -> Label {
        // The margin leaves room for the trampolines a jump may have to add.
        if let Some(&(_, label)) = self
            .returns
            .iter()
            .find(|(v, label)| *v == verdict && self.reversed.len() - label.0 < 200)
        {
            return label;
        }
        let label = self.push(RETURN, 0, 0, verdict);
        self.returns.retain(|(v, _)| *v != verdict);
        self.returns.push((verdict, label));
        label
    }

    /// Load a word of `seccomp_data`, then go on at `next`.
    pub(crate) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// Mask the accumulator, then go on at `next`.
    pub(crate) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(AND, 0, 0, mask)
    }

    /// A conditional jump: `yes` where the comparison of the accumulator with `k` holds, else `no`.
    pub(crate) fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let mut yes = yes;
        let mut no = no;
        // A trampoline moves the other target one further away, so look again after each.
        while self.distance(yes) > 255 || self.distance(no) > 255 {
            if self.distance(yes) > 255 {
                yes = self.jump(yes);
            } else {
                no = self.jump(no);
            }
        }
        let jt = u8::try_from(self.distance(yes)).unwrap_or(u8::MAX);
        let jf = u8::try_from(self.distance(no)).unwrap_or(u8::MAX);
        self.push(code, jt, jf, k)
    }

    fn jump(&mut self, target: Label) -> Label {
        let k = u32::try_from(self.distance(target)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, k)
    }

    fn fall_into(&mut self, next: Label) {
        if self.distance(next) != 0 {
            self.jump(next);
        }
    }

    /// The program, first instruction first. `entry` must be where it begins.
    pub(crate) fn finish(mut self, entry: Label) -> Vec<Instruction> {
        self.fall_into(entry);
        self.reversed.reverse();
        self.reversed
    }
}
