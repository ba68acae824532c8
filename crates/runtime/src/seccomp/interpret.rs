//! A small interpreter for the programs this crate emits, for tests: it shares nothing with the assembler but the format.

use super::bpf::Instruction;

/// Run `program` on a system call; `None` if it leaves its own bounds or uses what the kernel would refuse.
pub(crate) fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> Option<u32> {
    let mut data = Vec::with_capacity(64);
    data.extend_from_slice(&number.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&0u64.to_le_bytes());
    for arg in args {
        data.extend_from_slice(&arg.to_le_bytes());
    }
    let mut accumulator = 0u32;
    let mut at = 0usize;
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        at += 1;
        let branch = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            0x20 => {
                let start = k as usize;
                accumulator = u32::from_le_bytes(data.get(start..start + 4)?.try_into().ok()?);
            }
            0x06 => return Some(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(accumulator == k),
            0x25 => at += branch(accumulator > k),
            0x35 => at += branch(accumulator >= k),
            _ => return None,
        }
    }
}
