//! What this process may do: capabilities, seccomp, no_new_privs.

use crate::parse;
use crate::sys;
use crate::text::Text;

/// In the order of their numbers, `linux/capability.h`.
const NAMES: [&[u8]; 41] = [
    b"chown",
    b"dac_override",
    b"dac_read_search",
    b"fowner",
    b"fsetid",
    b"kill",
    b"setgid",
    b"setuid",
    b"setpcap",
    b"linux_immutable",
    b"net_bind_service",
    b"net_broadcast",
    b"net_admin",
    b"net_raw",
    b"ipc_lock",
    b"ipc_owner",
    b"sys_module",
    b"sys_rawio",
    b"sys_chroot",
    b"sys_ptrace",
    b"sys_pacct",
    b"sys_admin",
    b"sys_boot",
    b"sys_nice",
    b"sys_resource",
    b"sys_time",
    b"sys_tty_config",
    b"mknod",
    b"lease",
    b"audit_write",
    b"audit_control",
    b"setfcap",
    b"mac_override",
    b"mac_admin",
    b"syslog",
    b"wake_alarm",
    b"block_suspend",
    b"audit_read",
    b"perfmon",
    b"bpf",
    b"checkpoint_restore",
];

pub(crate) fn report(out: &mut Text) {
    let mut buffer = [0; 3072];
    let Some(size) = sys::read(b"/proc/self/status\0", &mut buffer) else {
        return;
    };
    let status = buffer.get(..size).unwrap_or_default();
    if let Some(set) = parse::field(status, b"CapEff:").and_then(parse::hex) {
        out.label(b"capabilities");
        if set == 0 {
            out.add(b"none");
        } else if set.count_ones() as usize >= NAMES.len() {
            out.add(b"all");
        } else {
            for (number, name) in NAMES.iter().enumerate() {
                if set >> number & 1 == 1 {
                    out.word(&[name]);
                }
            }
        }
        out.line(b"");
    }
    if let Some(mode) = parse::field(status, b"Seccomp:") {
        out.label(b"seccomp");
        match mode {
            b"0" => out.line(b"off"),
            b"1" => out.line(b"strict"),
            _ => out.line(b"system calls are filtered"),
        }
    }
    if let Some(flag) = parse::field(status, b"NoNewPrivs:") {
        out.label(b"no_new_privs");
        out.line(if flag == b"1" { b"on" } else { b"off" });
    }
}
