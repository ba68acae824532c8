//! Cgroup mounts out of a mount table: pure text in, values out.
//!
//! Source: proc_pid_mountinfo(5).

use std::path::{Path, PathBuf};

use crate::controller::{Controller, Controllers};
use crate::error::Error;

/// A visible cgroup mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    pub(crate) point: PathBuf,
    pub(crate) kind: MountKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    V1 {
        controllers: Controllers,
        /// Of a named hierarchy without controllers, such as `systemd`.
        name: Option<String>,
    },
    V2,
}

struct Line<'a> {
    id: u32,
    parent: u32,
    point: PathBuf,
    fstype: &'a str,
    super_options: &'a str,
}

/// The cgroup mounts of a mount table that a path can reach, in the table's order. A hierarchy mounted
/// more than once is returned once, at its first visible place.
pub(crate) fn parse(text: &str) -> Result<Vec<CgroupMount>, Error> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        lines.push(parse_line(line).ok_or(Error::BadTable {
            origin: "the mount table",
            line: index + 1,
        })?);
    }
    let mut mounts: Vec<CgroupMount> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let kind = match line.fstype {
            "cgroup" => v1_kind(line.super_options),
            "cgroup2" => MountKind::V2,
            _ => continue,
        };
        if hidden(&lines, index) || mounts.iter().any(|known| known.kind == kind) {
            continue;
        }
        mounts.push(CgroupMount {
            point: line.point.clone(),
            kind,
        });
    }
    Ok(mounts)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &str) -> Option<Line<'_>> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let (_device, _root) = (fields.next()?, fields.next()?);
    let point = unescape(fields.next()?);
    let _options = fields.next()?;
    fields.by_ref().find(|field| *field == "-")?;
    let fstype = fields.next()?;
    let _source = fields.next()?;
    // The kernel always writes super options; a table without them is still unambiguous.
    let super_options = fields.next().unwrap_or("");
    Some(Line {
        id,
        parent,
        point,
        fstype,
        super_options,
    })
}

fn v1_kind(super_options: &str) -> MountKind {
    let mut controllers = Controllers::NONE;
    let mut name = None;
    for option in super_options.split(',') {
        if let Some(given) = option.strip_prefix("name=") {
            name = Some(given.to_owned());
        } else if let Some(known) = Controller::ALL.into_iter().find(|c| c.v1_name() == option) {
            controllers.insert(known);
        }
    }
    MountKind::V1 { controllers, name }
}

/// Whether a later mount covers the path to `lines[index]`: one whose parent is on the way from the
/// root to this mount, and whose point lies at or above the point where that way goes on.
fn hidden(lines: &[Line<'_>], index: usize) -> bool {
    let find = |id: u32| lines.iter().position(|line| line.id == id);
    // (mount on the way, where the way leaves it)
    let mut way = vec![(index, &lines[index].point)];
    let mut at = index;
    // The table is untrusted text: a cycle of parents must end.
    while way.len() <= lines.len() {
        let Some(parent) = find(lines[at].parent).filter(|parent| *parent != at) else {
            break;
        };
        way.push((parent, &lines[at].point));
        at = parent;
    }
    lines.iter().enumerate().any(|(other, cover)| {
        !way.iter().any(|(on_way, _)| *on_way == other)
            && way.iter().any(|(on_way, leaves)| {
                lines[*on_way].id == cover.parent && leaves.starts_with(&cover.point)
            })
    })
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if *first == b'\\'
            && let [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] = tail
        {
            out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// This process's own place in the v2 hierarchy, out of `/proc/self/cgroup`; `None` without one.
pub(crate) fn own_v2(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `point` seen below another root, as a test or a chroot needs it.
pub(crate) fn below(root: &Path, point: &Path) -> PathBuf {
    match point.strip_prefix("/") {
        Ok(relative) => root.join(relative),
        Err(_) => root.join(point),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(text: &str) -> Vec<String> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|mount| {
                let kind = match mount.kind {
                    MountKind::V2 => "v2".to_owned(),
                    MountKind::V1 { controllers, name } => {
                        format!("{controllers}{}", name.unwrap_or_default())
                    }
                };
                format!("{} {kind}", mount.point.display())
            })
            .collect()
    }

    const HYBRID: &str = "\
23 1 8:1 / / rw - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct
33 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
34 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_hybrid_table() {
        assert_eq!(
            points(HYBRID),
            [
                "/sys/fs/cgroup/cpu,cpuacct cpu cpuacct",
                "/sys/fs/cgroup/blkio io",
                "/sys/fs/cgroup/systemd systemd",
                "/sys/fs/cgroup/unified v2",
            ]
        );
    }

    #[test]
    fn covered_mounts_are_not_seen() {
        let text = format!("{HYBRID}40 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(points(&text), ["/sys/fs/cgroup v2"]);
        let text = format!("{HYBRID}40 23 0:50 / /sys rw - tmpfs tmpfs rw\n");
        assert_eq!(points(&text), Vec::<String>::new());
        // Beside the way: hides nothing.
        let text = format!("{HYBRID}40 23 0:50 / /sys/fs/cgroup2 rw - tmpfs tmpfs rw\n");
        assert_eq!(points(&text).len(), 4);
        // Stacked on the very mount.
        let text = format!("{HYBRID}40 33 0:50 / /sys/fs/cgroup/blkio rw - tmpfs tmpfs rw\n");
        assert_eq!(points(&text).len(), 3);
    }

    #[test]
    fn a_hierarchy_is_listed_once() {
        let text = format!("{HYBRID}40 23 0:38 / /mnt/cg rw - cgroup2 cgroup2 rw\n");
        assert_eq!(points(&text).len(), 4);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape("/a\\9\\04"), Path::new("/a\\9\\04"));
    }

    #[test]
    fn malformed_lines_are_named() {
        for text in [
            "x",
            "1 2 3",
            "1 2 0:1 / /p rw",
            "1 2 0:1 / /p rw - cgroup",
            "a 2 0:1 / /p rw - cgroup c rw",
        ] {
            let error = parse(&format!("{HYBRID}{text}\n")).unwrap_err();
            assert_eq!(error.to_string(), "line 7 of the mount table is malformed");
        }
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn own_place() {
        assert_eq!(
            own_v2("9:name=systemd:/\n0::/user.slice/a\n"),
            Some("/user.slice/a")
        );
        assert_eq!(own_v2("9:cpu:/\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_tree_is_survived(
            rows in prop::collection::vec((0u32..6, 0u32..6, "(/[ab]){0,3}", any::<bool>()), 0..10)
        ) {
            let mut text = String::new();
            for (id, parent, point, v2) in &rows {
                let fstype = if *v2 { "cgroup2" } else { "cgroup" };
                text += &format!("{id} {parent} 0:1 / {point}/ rw - {fstype} c rw,cpu\n");
            }
            let mounts = parse(&text).unwrap();
            prop_assert!(mounts.len() <= 2);
        }
    }
}
