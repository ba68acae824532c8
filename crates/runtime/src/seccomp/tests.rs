use super::bpf::Instruction;
use super::*;
use proptest::prelude::*;

fn decode(filter: &Filter) -> Vec<Instruction> {
    filter
        .program
        .chunks_exact(8)
        .map(|c| Instruction {
            code: u16::from_ne_bytes([c[0], c[1]]),
            jt: c[2],
            jf: c[3],
            k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
        })
        .collect()
}

fn agree(profile: &Evaluator<'_>, program: &[Instruction], call: Call) {
    assert_eq!(
        interpret::run(program, call.audit_arch, call.number, call.args),
        Some(profile.verdict(&call).verdict()),
        "{call:?}"
    );
}

const AUDITS: [u32; 5] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0x1234];

#[test]
fn docker_default_program_says_what_the_profile_says() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for capabilities in [0xa804_25fb, 0, u64::MAX] {
            let profile = docker_default(&Facts {
                arch,
                capabilities,
                kernel: (6, 1),
            });
            let program = decode(&profile.compile().unwrap());
            let judge = profile.evaluator();
            assert!(program.len() < 700, "{} instructions", program.len());
            for audit_arch in AUDITS {
                let plain = 0..1200;
                let x32 = 0x4000_0000..0x4000_0400;
                let arm = 0xe_fff0..0xf_0020;
                let odd = [
                    0x3fff_ffff,
                    0x7fff_ffff,
                    0x8000_0000,
                    0xbfff_ffff,
                    0xc000_0000,
                    0xffff_fffe,
                    0xffff_ffff,
                ];
                for number in plain.chain(x32).chain(arm).chain(odd) {
                    for first in [
                        0,
                        8,
                        37,
                        38,
                        39,
                        40,
                        41,
                        0x2_0000,
                        0x1000_0000,
                        0xffff_ffff,
                        1 << 32,
                        u64::MAX,
                    ] {
                        agree(
                            &judge,
                            &program,
                            Call {
                                audit_arch,
                                number,
                                args: [first, 0, 0, 0, 0, 0],
                            },
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn docker_default_verdicts() {
    let facts = Facts {
        arch: Arch::X86_64,
        capabilities: 0xa804_25fb,
        kernel: (6, 1),
    };
    let profile = docker_default(&facts);
    let verdict = |name: &str, args: [u64; 6]| {
        profile.evaluator().verdict(&Call {
            audit_arch: Arch::X86_64.audit(),
            number: Arch::X86_64.number(name).unwrap(),
            args,
        })
    };
    let zero = [0; 6];
    assert_eq!(verdict("read", zero), Action::Allow);
    assert_eq!(verdict("mount", zero), Action::Errno(1));
    assert_eq!(verdict("keyctl", zero), Action::Errno(1));
    assert_eq!(verdict("chroot", zero), Action::Allow);
    assert_eq!(verdict("clone3", zero), Action::Errno(38));
    assert_eq!(verdict("clone", zero), Action::Allow);
    assert_eq!(
        verdict("clone", [0x1000_0000, 0, 0, 0, 0, 0]),
        Action::Errno(1)
    );
    assert_eq!(verdict("socket", [38, 0, 0, 0, 0, 0]), Action::Errno(1));
    assert_eq!(verdict("socket", [40, 0, 0, 0, 0, 0]), Action::Errno(1));
    assert_eq!(verdict("socket", [2, 0, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(verdict("io_uring_setup", zero), Action::Errno(1));
    let newer = Call {
        audit_arch: Arch::X86_64.audit(),
        number: 900,
        args: zero,
    };
    assert_eq!(profile.evaluator().verdict(&newer), Action::Errno(38));
    let old = docker_default(&Facts {
        kernel: (4, 4),
        ..facts
    });
    let ptrace = Call {
        audit_arch: Arch::X86_64.audit(),
        number: Arch::X86_64.number("ptrace").unwrap(),
        args: zero,
    };
    assert_eq!(old.evaluator().verdict(&ptrace), Action::Errno(1));
    assert_eq!(profile.evaluator().verdict(&ptrace), Action::Allow);
}

#[test]
fn cache_gives_the_same_program() {
    let cache = Cache::default();
    let facts = Facts {
        arch: Arch::X86_64,
        capabilities: 0,
        kernel: (6, 1),
    };
    let first = cache.docker_default(&facts).unwrap();
    let second = cache.docker_default(&facts).unwrap();
    assert!(Arc::ptr_eq(&first.program, &second.program));
}

fn spec(json: &str) -> oci_spec::runtime::LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

#[test]
fn oci_profiles_that_cannot_be() {
    for (json, place) in [
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            "linux.seccomp.defaultAction",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#,
            "linux.seccomp.defaultErrnoRet",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "linux.seccomp.syscalls[0]",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
               "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "linux.seccomp.syscalls[0].args[0].index",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"},
               {"names":["read"],"action":"SCMP_ACT_KILL"}]}"#,
            "linux.seccomp.syscalls[1]",
        ),
    ] {
        match from_spec(&spec(json)) {
            Err(Error::Invalid { at, .. }) => assert_eq!(at, place),
            other => panic!("{json}: {other:?}"),
        }
    }
}

#[test]
fn oci_actions_flags_and_names() {
    let profile = from_spec(&spec(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"],
            "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_MIPS"],"syscalls":[
            {"names":["read","no_such_call"],"action":"SCMP_ACT_TRACE","errnoRet":7},
            {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_NOTIFY"},
            {"names":["close"],"action":"SCMP_ACT_ERRNO"},
            {"names":["dup"],"action":"SCMP_ACT_ERRNO","args":[
                {"index":0,"value":3,"op":"SCMP_CMP_EQ"},{"index":0,"value":5,"op":"SCMP_CMP_EQ"}]}]}"#,
    ))
    .unwrap();
    let arch = Arch::native().unwrap();
    let verdict = |name: &str, arg| {
        profile.evaluator().verdict(&Call {
            audit_arch: arch.audit(),
            number: arch.number(name).unwrap(),
            args: [arg, 0, 0, 0, 0, 0],
        })
    };
    assert_eq!(verdict("read", 0), Action::Trace(7));
    assert_eq!(verdict("mkdirat", 0), Action::Notify);
    assert_eq!(verdict("close", 0), Action::Errno(1));
    assert_eq!(
        (verdict("dup", 3), verdict("dup", 5), verdict("dup", 4)),
        (Action::Errno(1), Action::Errno(1), Action::Allow)
    );
    let filter = profile.compile().unwrap();
    assert!(filter.listener);
    assert_eq!(filter.flags, FLAG_LOG);
}

#[test]
fn far_jumps_get_trampolines() {
    // Hundreds of conditions a call make subtrees longer than a short jump reaches.
    let mut profile = Profile::new(Action::Errno(1), vec![Arch::X86_64]);
    for (place, name) in [
        "read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek", "mmap",
    ]
    .iter()
    .enumerate()
    {
        for value in 0..60u64 {
            let compare = Compare::Equal(value * 3 + place as u64);
            profile.rule(
                name,
                Action::Trace(value as u16),
                vec![Condition { index: 1, compare }],
            );
        }
    }
    let program = decode(&profile.compile().unwrap());
    let judge = profile.evaluator();
    assert!(program.len() > 1500);
    for number in 0..12 {
        for value in 0..200 {
            agree(
                &judge,
                &program,
                Call {
                    audit_arch: Arch::X86_64.audit(),
                    number,
                    args: [0, value, 0, 0, 0, 0],
                },
            );
        }
    }
    for value in 60..300u64 {
        for name in ["brk", "pread64", "dup", "getpid"] {
            profile.rule(
                name,
                Action::Log,
                vec![Condition {
                    index: 0,
                    compare: Compare::Equal(value),
                }],
            );
        }
    }
    assert!(matches!(profile.compile(), Err(Error::TooLong { .. })));
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Log),
        Just(Action::Notify),
        Just(Action::Trap),
        Just(Action::KillThread),
        Just(Action::KillProcess),
        (0..4096u16).prop_map(Action::Errno),
        any::<u16>().prop_map(Action::Trace),
    ]
}

/// Values around the edges of the two halves, and anything.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4u64,
        0xffff_fffeu64..0x1_0000_0002,
        any::<u64>(),
        Just(u64::MAX)
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    prop_oneof![
        value().prop_map(Compare::Equal),
        value().prop_map(Compare::NotEqual),
        value().prop_map(Compare::Less),
        value().prop_map(Compare::LessOrEqual),
        value().prop_map(Compare::Greater),
        value().prop_map(Compare::GreaterOrEqual),
        (value(), value()).prop_map(|(mask, value)| Compare::Masked {
            mask,
            value: value & mask
        }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    const NAMES: &[&str] = &[
        "read",
        "write",
        "open",
        "openat",
        "socket",
        "ioctl",
        "execve",
        "clone3",
        "set_tls",
        "mseal",
        "statmount",
        "nonsense",
    ];
    let condition = (0..6u8, compare()).prop_map(|(index, compare)| Condition { index, compare });
    (
        proptest::sample::select(NAMES),
        action(),
        proptest::collection::vec(condition, 0..3),
    )
        .prop_map(|(name, action, conditions)| Rule {
            name: name.to_owned(),
            action,
            conditions,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_program_says_what_its_profile_says(
        default in action(),
        x86 in any::<bool>(), subset in 1..8usize,
        rules in proptest::collection::vec(rule(), 0..24),
        calls in proptest::collection::vec(
            (0..5usize, prop_oneof![0..480u32, 0x4000_0000..0x4000_0230u32, 0xf_0000..0xf_0008u32, any::<u32>()],
             proptest::array::uniform6(value())), 64),
    ) {
        let family = if x86 { Arch::X86_64.family() } else { Arch::Aarch64.family() };
        let archs: Vec<Arch> = family.iter().enumerate().filter(|(i, _)| subset & (1 << i) != 0).map(|(_, a)| *a).collect();
        prop_assume!(!archs.is_empty());
        let mut profile = Profile::new(default, archs);
        profile.rules = rules;
        let program = decode(&profile.compile().unwrap());
        let judge = profile.evaluator();
        for (arch, number, args) in calls {
            agree(&judge, &program, Call { audit_arch: AUDITS[arch], number, args });
        }
    }
}
