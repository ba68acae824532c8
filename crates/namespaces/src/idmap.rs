//! Which ids a user namespace has: described, read from `/etc/subuid` and the like, written.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags, openat};

use crate::process::Process;

/// A run of ids inside a user namespace, and the ids of its parent that they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.length)
    }
}

/// A text is no line of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id map is three numbers: inside, outside, length")]
pub struct ParseIdMapError;

impl FromStr for IdMap {
    type Err = ParseIdMapError;

    /// `inside outside length`, as in `/proc/PID/uid_map`.
    fn from_str(text: &str) -> Result<IdMap, ParseIdMapError> {
        let mut words = text.split_ascii_whitespace();
        let mut number = || words.next().and_then(number).ok_or(ParseIdMapError);
        let map = IdMap {
            inside: number()?,
            outside: number()?,
            length: number()?,
        };
        let fits = |first: u32| first.checked_add(map.length.saturating_sub(1)).is_some();
        let whole =
            words.next().is_none() && map.length > 0 && fits(map.inside) && fits(map.outside);
        whole.then_some(map).ok_or(ParseIdMapError)
    }
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The maps in the text of a `/proc/PID/uid_map`.
///
/// # Errors
///
/// [`ParseIdMapError`] if a line is none.
pub fn parse_id_maps(text: &str) -> Result<Vec<IdMap>, ParseIdMapError> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::parse)
        .collect()
}

/// A run of ids that a user may map, from `/etc/subuid` or `/etc/subgid` (subuid(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubIds {
    /// First id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The runs that the text of `/etc/subuid` or `/etc/subgid` gives to a user, who may stand there by name or by number. Lines that
/// are malformed or another's are passed over, as the tools that read these files do.
pub fn parse_sub_ids(text: &str, user: Option<&str>, uid: u32) -> Vec<SubIds> {
    let run = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let theirs = user.is_some_and(|user| user == owner) || number(owner) == Some(uid);
        let run = SubIds {
            first: number(first)?,
            count: number(count)?,
        };
        let whole = fields.next().is_none()
            && run.count > 0
            && run.first.checked_add(run.count - 1).is_some();
        (theirs && whole).then_some(run)
    };
    text.lines().filter_map(run).collect()
}

/// The maps of a namespace whose root is this user, and whose further ids are its subordinate ones: 0 is `id`, 1 and up the runs
/// one after another.
pub fn map_root_and(id: u32, runs: &[SubIds]) -> Vec<IdMap> {
    let mut maps = vec![IdMap {
        inside: 0,
        outside: id,
        length: 1,
    }];
    let mut inside = 1u32;
    for run in runs {
        let length = run.count.min(u32::MAX - inside);
        if length == 0 {
            break;
        }
        maps.push(IdMap {
            inside,
            outside: run.first,
            length,
        });
        inside += length;
    }
    maps
}

/// The set-user-id programs that map subordinate ids for an unprivileged caller (newuidmap(1), of shadow).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMapHelper {
    /// Path of `newuidmap`.
    pub newuidmap: PathBuf,
    /// Path of `newgidmap`.
    pub newgidmap: PathBuf,
}

/// The id maps of a new user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMaps {
    /// Users.
    pub uid: Vec<IdMap>,
    /// Groups.
    pub gid: Vec<IdMap>,
    /// Whether `setgroups` is allowed inside. An unprivileged caller without a helper must deny it.
    pub setgroups: bool,
    /// Written by these programs instead of directly. Directly, a caller without `CAP_SETUID` may map its own id only.
    pub helper: Option<IdMapHelper>,
}

/// Why the maps could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdMapError {
    /// The kernel refused a file below `/proc/PID`.
    #[error("writing {value:?} to /proc/{pid}/{file}")]
    Write {
        /// `uid_map`, `gid_map` or `setgroups`.
        file: &'static str,
        /// The process whose namespace it is.
        pid: u32,
        /// What was to be written.
        value: String,
        /// Why not.
        source: io::Error,
    },
    /// A helper could not be run.
    #[error("running {}", program.display())]
    Run {
        /// The helper.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A helper refused.
    #[error("{} refused: {message}", program.display())]
    Helper {
        /// The helper.
        program: PathBuf,
        /// What it printed.
        message: String,
    },
    /// The process ended meanwhile.
    #[error("process {pid} is gone")]
    Gone {
        /// Its id while it lived.
        pid: u32,
    },
}

impl IdMaps {
    /// Root inside is this user and group, and nobody else is there: all that a caller without privilege may map, which then are
    /// its own ids. `setgroups` is denied.
    pub fn root_is(uid: u32, gid: u32) -> IdMaps {
        let only = |outside| {
            vec![IdMap {
                inside: 0,
                outside,
                length: 1,
            }]
        };
        IdMaps {
            uid: only(uid),
            gid: only(gid),
            setgroups: false,
            helper: None,
        }
    }

    pub(crate) fn write(&self, process: &Process) -> Result<(), IdMapError> {
        let maps = Maps::of(process)?;
        if !self.setgroups {
            maps.write("setgroups", String::from("deny"))?;
        }
        match &self.helper {
            Some(helper) => {
                maps.help("uid_map", &helper.newuidmap, &self.uid)?;
                maps.help("gid_map", &helper.newgidmap, &self.gid)
            }
            None => {
                maps.write("uid_map", lines(&self.uid))?;
                maps.write("gid_map", lines(&self.gid))
            }
        }
    }
}

fn lines(maps: &[IdMap]) -> String {
    maps.iter().map(|map| format!("{map}\n")).collect()
}

/// The files of one process, which cannot become another's.
struct Maps {
    pid: u32,
    directory: std::os::fd::OwnedFd,
}

impl Maps {
    fn of(process: &Process) -> Result<Maps, IdMapError> {
        let pid = process.pid();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())
            .map_err(|_| IdMapError::Gone { pid })?;
        // Still alive, so the directory opened by number was its.
        process.signal(0).map_err(|_| IdMapError::Gone { pid })?;
        Ok(Maps { pid, directory })
    }

    fn write(&self, file: &'static str, value: String) -> Result<(), IdMapError> {
        let written = openat(
            &self.directory,
            file,
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(|opened| rustix::io::write(opened, value.as_bytes()));
        match written {
            Ok(_) => Ok(()),
            Err(source) => Err(IdMapError::Write {
                file,
                pid: self.pid,
                value,
                source: source.into(),
            }),
        }
    }

    fn help(
        &self,
        file: &'static str,
        program: &PathBuf,
        maps: &[IdMap],
    ) -> Result<(), IdMapError> {
        let mut command = Command::new(program);
        command.arg(self.pid.to_string()).stdin(Stdio::null());
        for map in maps {
            for number in [map.inside, map.outside, map.length] {
                command.arg(number.to_string());
            }
        }
        match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(IdMapError::Helper {
                    program: program.clone(),
                    message,
                })
            }
            // Reaped by another part of the caller: what it did is there to see.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) && self.is_written(file) => {
                Ok(())
            }
            Err(source) => Err(IdMapError::Run {
                program: program.clone(),
                source,
            }),
        }
    }

    fn is_written(&self, file: &'static str) -> bool {
        let mut text = [0; 16];
        openat(
            &self.directory,
            file,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(|opened| rustix::io::read(opened, &mut text))
        .is_ok_and(|length| length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(inside: u32, outside: u32, length: u32) -> IdMap {
        IdMap {
            inside,
            outside,
            length,
        }
    }

    #[test]
    fn lines_of_maps() {
        let table = [
            ("         0       1000          1", Some(map(0, 1000, 1))),
            ("0 0 4294967295", Some(map(0, 0, u32::MAX))),
            ("4294967295 0 1", Some(map(u32::MAX, 0, 1))),
            ("1 0 4294967295", Some(map(1, 0, u32::MAX))),
            ("2 0 4294967295", None),
            ("0 0 0", None),
            ("0 0", None),
            ("0 0 1 1", None),
            ("+1 0 1", None),
            ("-1 0 1", None),
            ("0x1 0 1", None),
            ("4294967296 0 1", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        assert_eq!(
            parse_id_maps("0 1 2\n3 4 5\n\n"),
            Ok(vec![map(0, 1, 2), map(3, 4, 5)])
        );
        assert_eq!(parse_id_maps("0 1 2\nx"), Err(ParseIdMapError));
    }

    #[test]
    fn subordinate_ids() {
        let text = "# comment\nalice:100000:65536\nbob:1:2\n1000:300000:10\nalice:x:1\nalice:5\nalice:1:0\nalice:1:2:3\n\
                    alice:4294967295:2\n :1:1\nalice:7:1";
        let run = |first, count| SubIds { first, count };
        let alice = [run(100_000, 65536), run(300_000, 10), run(7, 1)];
        assert_eq!(parse_sub_ids(text, Some("alice"), 1000), alice);
        assert_eq!(parse_sub_ids(text, None, 1000), alice[1..2]);
        assert_eq!(parse_sub_ids(text, Some("carol"), 5), []);
    }

    #[test]
    fn root_and_the_rest() {
        let runs = [
            SubIds {
                first: 100_000,
                count: 10,
            },
            SubIds { first: 7, count: 1 },
        ];
        assert_eq!(
            map_root_and(1000, &runs),
            [map(0, 1000, 1), map(1, 100_000, 10), map(11, 7, 1)]
        );
        assert_eq!(map_root_and(1000, &[]), [map(0, 1000, 1)]);
        let huge = [SubIds {
            first: 0,
            count: u32::MAX,
        }; 2];
        assert_eq!(
            map_root_and(1, &huge),
            [map(0, 1, 1), map(1, 0, u32::MAX - 1)]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[ 0-9:a-c\n+-]{0,60}") {
            let _ = parse_id_maps(&text);
            for run in parse_sub_ids(&text, Some("a"), 0) {
                prop_assert!(run.first.checked_add(run.count - 1).is_some());
            }
        }

        #[test]
        fn a_map_reads_back(inside in 0..1000u32, outside: u32, length in 1..1000u32) {
            let map = map(inside, outside.min(u32::MAX - 1000), length);
            prop_assert_eq!(map.to_string().parse(), Ok(map));
        }
    }
}
