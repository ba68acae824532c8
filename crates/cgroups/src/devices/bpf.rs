//! A device list as the BPF program that v2 has in place of a devices controller.
//!
//! Emitted by hand: a list is a straight run of comparisons. Source: linux/bpf.h (`struct bpf_insn`,
//! `struct bpf_cgroup_dev_ctx`) and RFC 9669.

use super::{DeviceAccess, DeviceKind, DeviceRule};

/// One eight-byte instruction, as `struct bpf_insn` lies in memory.
pub(crate) type Instruction = [u8; 8];

/// `BPF_JMP32`, so that an immediate is compared as it stands and not with its sign extended.
const JMP32: u8 = 0x06;
const JNE: u8 = JMP32 | 0x50;
const JSET: u8 = JMP32 | 0x40;
const JA: u8 = 0x05;
const EXIT: u8 = 0x95;
const MOV_IMM: u8 = 0xb7;
const MOV_REG: u8 = 0xbf;
/// 32-bit arithmetic (`BPF_ALU`), which clears the upper half.
const AND_IMM: u8 = 0x54;
const RSH_IMM: u8 = 0x74;
const LOAD_WORD: u8 = 0x61;

/// The verdict, where BPF returns it.
const R0: u8 = 0;
/// The context.
const R1: u8 = 1;
/// Block (1) or char (2).
const KIND: u8 = 2;
/// The accesses asked for and not yet allowed.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The program. Going through the rules from the last to the first, every access bit is decided by the
/// first rule met that mentions it; a denied bit denies, and so does one no rule mentions.
pub(crate) fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut code = vec![
        // access_type holds the access in its upper half and the kind in its lower.
        load(KIND, 0),
        register(MOV_REG, OPEN, KIND),
        immediate(AND_IMM, KIND, 0xffff),
        immediate(RSH_IMM, OPEN, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let conditions = conditions(rule);
        let always = conditions.is_empty() && rule.access == DeviceAccess::ALL;
        let body = body(rule);
        for (index, (register, value)) in conditions.iter().enumerate() {
            // At most two conditions and five instructions follow.
            let over = (conditions.len() - index - 1 + body.len()) as i16;
            code.push(jump(JNE, *register, *value, over));
        }
        code.extend(body);
        if always {
            // The verifier of older kernels refuses a program with instructions nothing reaches.
            return code;
        }
    }
    code.extend(verdict(false));
    code
}

fn conditions(rule: &DeviceRule) -> Vec<(u8, u32)> {
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(1),
        DeviceKind::Char => Some(2),
    };
    [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)]
        .into_iter()
        .filter_map(|(register, value)| Some((register, value?)))
        .collect()
}

fn body(rule: &DeviceRule) -> Vec<Instruction> {
    let bits = u32::from(rule.access.bits());
    let mut code = Vec::with_capacity(5);
    if rule.access != DeviceAccess::ALL {
        if rule.allow {
            code.push(immediate(AND_IMM, OPEN, !bits));
            code.push(jump(JNE, OPEN, 0, 2));
        } else {
            code.push(jump(JSET, OPEN, bits, 1));
            code.push(jump(JA, 0, 0, 2));
        }
    }
    code.extend(verdict(rule.allow));
    code
}

fn verdict(allow: bool) -> [Instruction; 2] {
    [
        immediate(MOV_IMM, R0, u32::from(allow)),
        encode(EXIT, 0, 0, 0, 0),
    ]
}

fn load(register: u8, offset: i16) -> Instruction {
    encode(LOAD_WORD, register, R1, offset, 0)
}

fn register(code: u8, to: u8, from: u8) -> Instruction {
    encode(code, to, from, 0, 0)
}

fn immediate(code: u8, register: u8, value: u32) -> Instruction {
    encode(code, register, 0, 0, value)
}

fn jump(code: u8, register: u8, value: u32, over: i16) -> Instruction {
    encode(code, register, 0, over, value)
}

fn encode(code: u8, to: u8, from: u8, offset: i16, immediate: u32) -> Instruction {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    // The two registers are bit fields of one byte.
    let registers = if cfg!(target_endian = "little") {
        from << 4 | to
    } else {
        to << 4 | from
    };
    [code, registers, o0, o1, i0, i1, i2, i3]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the program answers, in an interpreter.
    fn allows(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let code = program(rules).concat();
        let mut context: Vec<u8> = [access << 16 | kind, major, minor]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        let machine = rbpf::EbpfVmRaw::new(Some(&code)).expect("a valid program");
        machine.execute_program(&mut context).expect("it ends") == 1
    }

    /// The same by the definition: each access bit by the last rule that mentions it.
    fn defined(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        (0..3)
            .map(|bit| 1 << bit)
            .filter(|bit| access & bit != 0)
            .all(|bit| {
                let decides = rules.iter().rev().find(|rule| {
                    let right_kind = match rule.kind {
                        DeviceKind::All => true,
                        DeviceKind::Block => kind == 1,
                        DeviceKind::Char => kind == 2,
                    };
                    right_kind
                        && u32::from(rule.access.bits()) & bit != 0
                        && rule.major.is_none_or(|n| n == major)
                        && rule.minor.is_none_or(|n| n == minor)
                });
                decides.is_some_and(|rule| rule.allow)
            })
    }

    fn any_rule() -> impl Strategy<Value = DeviceRule> {
        let kind = prop_oneof![
            Just(DeviceKind::All),
            Just(DeviceKind::Block),
            Just(DeviceKind::Char)
        ];
        let number = || prop::option::of(0u32..3);
        (any::<bool>(), kind, number(), number(), 1u8..8).prop_map(
            |(allow, kind, major, minor, bits)| DeviceRule {
                allow,
                kind,
                major,
                minor,
                access: DeviceAccess::from_bits(bits),
            },
        )
    }

    #[test]
    fn nothing_is_allowed_by_nothing() {
        assert!(!allows(&[], 2, 2, 1, 3));
        assert!(allows(&DeviceRule::container_defaults(), 2, 6, 1, 3));
        assert!(!allows(&DeviceRule::container_defaults(), 2, 2, 10, 200));
    }

    #[test]
    fn numbers_are_compared_unsigned() {
        let rule = DeviceRule::allow_char(u32::MAX, None, DeviceAccess::ALL);
        assert!(allows(&[rule], 2, 2, u32::MAX, 0));
        assert!(!allows(&[rule], 2, 2, 1, 0));
    }

    proptest! {
        #[test]
        fn the_program_does_as_defined(
            rules in prop::collection::vec(any_rule(), 0..6),
            kind in 1u32..3,
            access in 1u32..8,
            major in 0u32..3,
            minor in 0u32..3,
        ) {
            prop_assert_eq!(
                allows(&rules, kind, access, major, minor),
                defined(&rules, kind, access, major, minor)
            );
        }
    }
}
