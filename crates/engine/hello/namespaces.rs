//! Which namespaces this process is in, and which of them are the machine's own.

use crate::parse;
use crate::sys;
use crate::text::{Text, digits};

/// A namespace, its link, and the number the kernel always gives to the first one of its kind (`linux/proc_ns.h`),
/// where it has a fixed one on every kernel.
const ALL: [(&[u8], &[u8], u64); 8] = [
    (b"mnt", b"/proc/self/ns/mnt\0", 0),
    (b"pid", b"/proc/self/ns/pid\0", 0xefff_fffc),
    (b"net", b"/proc/self/ns/net\0", 0),
    (b"ipc", b"/proc/self/ns/ipc\0", 0xefff_ffff),
    (b"uts", b"/proc/self/ns/uts\0", 0xefff_fffe),
    (b"cgroup", b"/proc/self/ns/cgroup\0", 0xefff_fffb),
    (b"user", b"/proc/self/ns/user\0", 0xefff_fffd),
    (b"time", b"/proc/self/ns/time\0", 0xefff_fffa),
];

pub(crate) fn report(out: &mut Text) {
    out.label(b"namespaces");
    let mut found = false;
    for (name, link, first) in ALL {
        let mut target = [0; 64];
        let Some(target) = sys::read_link(link, &mut target) else {
            continue;
        };
        let number = target
            .iter()
            .position(|byte| *byte == b'[')
            .and_then(|at| target.get(at + 1..)?.strip_suffix(b"]"))
            .and_then(parse::number);
        let Some(number) = number else { continue };
        found = true;
        let mut buffer = [0; 20];
        let number: &[u8] = match number == first {
            true => b"host",
            false => digits(number, &mut buffer),
        };
        out.word(&[name, b":", number]);
    }
    out.line(if found {
        b""
    } else {
        b"not visible: /proc is not mounted"
    });
}
