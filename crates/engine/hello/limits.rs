//! The limits of the control group, as far as they are visible, in version 2 and version 1.

use crate::parse;
use crate::sys;
use crate::text::Text;

/// Version 1 says "no limit" with the largest number of whole pages.
const UNLIMITED: u64 = 1 << 60;

pub(crate) fn report(out: &mut Text) {
    memory(out);
    cpu(out);
    processes(out);
}

/// Reads the first of two files that is there.
fn either<'a>(buffer: &'a mut [u8], two: &[u8], one: &[u8]) -> Option<&'a [u8]> {
    let size = match sys::read(two, buffer) {
        Some(size) => size,
        None => sys::read(one, buffer)?,
    };
    buffer.get(..size).map(<[u8]>::trim_ascii)
}

fn memory(out: &mut Text) {
    out.label(b"memory");
    let mut buffer = [0; 64];
    let limit = either(
        &mut buffer,
        b"/sys/fs/cgroup/memory.max\0",
        b"/sys/fs/cgroup/memory/memory.limit_in_bytes\0",
    );
    match limit {
        None => out.line(b"limit not visible"),
        Some(text) => match parse::number(text) {
            Some(bytes) if bytes < UNLIMITED => {
                if bytes >= 1 << 20 {
                    out.number(bytes >> 20);
                    out.line(b" MiB");
                } else {
                    out.number(bytes >> 10);
                    out.line(b" KiB");
                }
            }
            _ => out.line(b"no limit"),
        },
    }
}

fn cpu(out: &mut Text) {
    out.label(b"cpu");
    let mut buffer = [0; 64];
    let (quota, period) = if let Some(size) = sys::read(b"/sys/fs/cgroup/cpu.max\0", &mut buffer) {
        let text = buffer.get(..size).unwrap_or_default().trim_ascii();
        let mut words = text.split(|byte| *byte == b' ');
        (
            words.next().and_then(parse::number),
            words.next().and_then(parse::number),
        )
    } else {
        let mut second = [0; 64];
        let quota = sys::read(b"/sys/fs/cgroup/cpu/cpu.cfs_quota_us\0", &mut buffer);
        let period = sys::read(b"/sys/fs/cgroup/cpu/cpu.cfs_period_us\0", &mut second);
        let (Some(quota), Some(period)) = (quota, period) else {
            out.line(b"limit not visible");
            return;
        };
        (
            buffer.get(..quota).and_then(parse::number),
            second.get(..period).and_then(parse::number),
        )
    };
    match (quota, period) {
        (Some(quota), Some(period)) if period > 0 => {
            let hundredths = quota.saturating_mul(100) / period;
            out.number(hundredths / 100);
            out.add(b".");
            out.number(hundredths / 10 % 10);
            out.number(hundredths % 10);
            out.line(b" processors");
        }
        _ => out.line(b"no limit"),
    }
}

fn processes(out: &mut Text) {
    out.label(b"processes");
    let mut buffer = [0; 64];
    let limit = either(
        &mut buffer,
        b"/sys/fs/cgroup/pids.max\0",
        b"/sys/fs/cgroup/pids/pids.max\0",
    );
    match limit {
        None => out.line(b"limit not visible"),
        Some(text) => match parse::number(text) {
            Some(count) => {
                out.add(b"at most ");
                out.number(count);
                out.line(b"");
            }
            None => out.line(b"no limit"),
        },
    }
}
