//! The default profile against moby's own file, call by call.
//!
//! The profile follows moby/profiles v0.2.3 (Docker Engine 29). The file to compare with is the one Debian packages,
//! `golang-github-docker-docker-dev` (20.10.24), read by rules written a second time here. Where the versions differ the calls are listed below, each
//! with its reason: a call that is not listed must have the same verdict, and a listed one must not.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use orlop_runtime::seccomp::{Arch, Facts, docker_default};
use serde_json::Value;

const PACKAGE: &str = "golang-github-docker-docker-dev";
const FILE: &str = "usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json";

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

/// Allowed since: calls of kernels after 5.15 or so, memory protection keys, and two that were reconsidered.
const ADDED: &[&str] = &[
    "cachestat",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "map_shadow_stack",
    "mseal",
    "name_to_handle_at",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_vm_readv",
    "process_vm_writev",
    "removexattrat",
    "setxattrat",
    "statmount",
    "uretprobe",
];
/// Refused since: io_uring goes round the filter (moby#46762), and sockets of AF_ALG and AF_VSOCK.
const REMOVED: &[&str] = &[
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "socket",
];
/// Newer than the old profile, hence ENOSYS there; known to the new one, hence EPERM.
const KNOWN_NOW: &[&str] = &[
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "set_mempolicy_home_node",
];

fn moby_profile() -> Value {
    let installed = Path::new("/").join(FILE);
    let bytes = if installed.exists() {
        std::fs::read(installed).unwrap()
    } else {
        downloaded()
    };
    serde_json::from_slice(&bytes).unwrap()
}

/// The file out of the package, which is not installed for it: its dependencies are many.
fn downloaded() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let get = Command::new("apt-get")
        .args(["download", PACKAGE])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(
        get.status.success(),
        "{PACKAGE} is missing and cannot be downloaded: {}",
        String::from_utf8_lossy(&get.stderr)
    );
    let entries = std::fs::read_dir(dir.path()).unwrap().flatten();
    let package = entries
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    let root = dir.path().join("x");
    let unpacked = Command::new("dpkg-deb")
        .arg("-x")
        .arg(package.expect("a package"))
        .arg(&root)
        .status()
        .unwrap();
    assert!(unpacked.success());
    std::fs::read(root.join(FILE)).unwrap()
}

fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Whether a rule of moby's applies on amd64 with these capabilities.
fn applies(rule: &Value, capabilities: &[&str]) -> bool {
    let arches = ["amd64"];
    let none = Value::Null;
    let (include, exclude) = (
        rule.get("includes").unwrap_or(&none),
        rule.get("excludes").unwrap_or(&none),
    );
    let wanted_arches = strings(include, "arches");
    let wanted_caps = strings(include, "caps");
    (wanted_arches.is_empty() || wanted_arches.iter().any(|arch| arches.contains(arch)))
        && wanted_caps.iter().all(|cap| capabilities.contains(cap))
        && !strings(exclude, "arches")
            .iter()
            .any(|arch| arches.contains(arch))
        && !strings(exclude, "caps")
            .iter()
            .any(|cap| capabilities.contains(cap))
}

fn holds(arg: &Value, args: [u64; 6]) -> bool {
    let number = |key: &str| arg.get(key).and_then(Value::as_u64).unwrap_or(0);
    let given = args[number("index") as usize];
    match arg["op"].as_str().unwrap() {
        "SCMP_CMP_EQ" => given == number("value"),
        "SCMP_CMP_LT" => given < number("value"),
        "SCMP_CMP_GT" => given > number("value"),
        "SCMP_CMP_MASKED_EQ" => given & number("value") == number("valueTwo"),
        other => panic!("{other}"),
    }
}

/// The verdict by moby's file, of whose rules those for the call are given.
fn expected(rules: &[&Value], newer: bool, args: [u64; 6]) -> u32 {
    let mut conditional = None;
    for rule in rules {
        let verdict = match rule["action"].as_str().unwrap() {
            "SCMP_ACT_ALLOW" => ALLOW,
            "SCMP_ACT_ERRNO" => {
                0x0005_0000 | rule.get("errnoRet").and_then(Value::as_u64).unwrap_or(1) as u32
            }
            other => panic!("{other}"),
        };
        let conditions = rule
            .get("args")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if conditions.is_empty() {
            return verdict;
        }
        if conditions.iter().all(|arg| holds(arg, args)) {
            conditional.get_or_insert(verdict);
        }
    }
    conditional.unwrap_or(if newer { ENOSYS } else { EPERM })
}

/// Run a program of `struct sock_filter`s.
fn run(program: &[u8], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut words = vec![number, arch, 0, 0];
    for arg in args {
        words.extend([arg as u32, (arg >> 32) as u32]);
    }
    let (mut at, mut register) = (0, 0u32);
    loop {
        let i = &program[at * 8..at * 8 + 8];
        let k = u32::from_le_bytes([i[4], i[5], i[6], i[7]]);
        let (jt, jf) = (usize::from(i[2]), usize::from(i[3]));
        at += 1;
        match u16::from_le_bytes([i[0], i[1]]) {
            0x06 => return k,
            0x20 => register = words[k as usize / 4],
            0x54 => register &= k,
            0x05 => at += k as usize,
            0x15 => at += if register == k { jt } else { jf },
            0x25 => at += if register > k { jt } else { jf },
            0x35 => at += if register >= k { jt } else { jf },
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// Names whose verdict differs between a file of moby's and the program.
fn differing(moby: &Value, caps: &[&str], mask: u64) -> BTreeSet<String> {
    let rules: Vec<&Value> = moby["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| applies(rule, caps))
        .collect();
    let filter = docker_default(&Facts {
        arch: Arch::X86_64,
        capabilities: mask,
        kernel: (6, 12),
    })
    .compile()
    .unwrap();
    let firsts = [
        0,
        1,
        2,
        8,
        16,
        37,
        38,
        39,
        40,
        41,
        0x2_0000,
        0x2_0008,
        0x1000_0000,
        0x4000_0011,
        0xffff_ffff,
        1 << 32,
        u64::MAX,
    ];
    let mut out = BTreeSet::new();
    let mut compare =
        |audit: u32, names: Vec<(String, i32)>, number_of: &dyn Fn(&str) -> Option<i32>| {
            let newest = rules
                .iter()
                .flat_map(|rule| strings(rule, "names"))
                .filter_map(number_of)
                .max()
                .unwrap();
            for (name, number) in names {
                let own: Vec<&Value> = rules
                    .iter()
                    .copied()
                    .filter(|rule| strings(rule, "names").contains(&name.as_str()))
                    .collect();
                for first in firsts {
                    for second in [0, 1, u64::MAX] {
                        let args = [first, second, 0, 0, 0, 0];
                        let verdict = run(&filter.program, audit, number as u32, args);
                        if verdict != expected(&own, number > newest, args) {
                            out.insert(name.clone());
                        }
                    }
                }
            }
        };
    let x86_64 = (0..1024).map(|n| {
        (
            syscalls::x86_64::Sysno::new(n)
                .map_or_else(|| format!("unused {n}"), |s| s.name().to_owned()),
            n as i32,
        )
    });
    compare(0xc000_003e, x86_64.collect(), &|name| {
        syscalls::x86_64::Sysno::from_str(name).ok().map(|s| s.id())
    });
    let x86 = (0..1024).map(|n| {
        (
            syscalls::x86::Sysno::new(n)
                .map_or_else(|| format!("unused {n}"), |s| s.name().to_owned()),
            n as i32,
        )
    });
    compare(0x4000_0003, x86.collect(), &|name| {
        syscalls::x86::Sysno::from_str(name).ok().map(|s| s.id())
    });
    out
}

#[test]
fn verdicts_are_mobys() {
    let moby = moby_profile();
    let default = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    let listed: BTreeSet<String> = ADDED
        .iter()
        .chain(REMOVED)
        .chain(KNOWN_NOW)
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(differing(&moby, &default, 0xa804_25fb), listed);
}
