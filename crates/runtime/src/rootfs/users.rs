//! `--user`: what a text such as `app:staff` means inside a root file system.
//!
//! The host's own user database says nothing about a container's, so the container's files are read, as data that nobody
//! vouches for. The rules are Docker's: a number is always an id, a name must exist, and the supplementary groups are those that
//! list the user, unless a group was given.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::View;

/// A user or a group as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// By number.
    Number(u32),
    /// By name.
    Name(String),
}

/// A parsed `user`, `user:group` or `:group`.
///
/// ```
/// use orlop_runtime::rootfs::users::{Id, UserSpec};
/// let spec: UserSpec = "app:100".parse()?;
/// assert_eq!(spec.user, Some(Id::Name("app".into())));
/// assert_eq!(spec.group, Some(Id::Number(100)));
/// assert!("+1".parse::<UserSpec>().is_err());
/// # Ok::<(), orlop_runtime::rootfs::users::ParseUserError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct UserSpec {
    /// Who; root if nobody is named.
    pub user: Option<Id>,
    /// The group instead of the user's own.
    pub group: Option<Id>,
}

/// A text that names no user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no user: {why}")]
pub struct ParseUserError {
    text: String,
    why: &'static str,
}

/// Why a user cannot be looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// No such name in `/etc/passwd`.
    #[error("there is no user {name:?} in the container's /etc/passwd")]
    NoUser {
        /// The name.
        name: String,
    },
    /// No such name in `/etc/group`.
    #[error("there is no group {name:?} in the container's /etc/group")]
    NoGroup {
        /// The name.
        name: String,
    },
    /// The file cannot be read, or is not what it should be.
    #[error("reading the container's {path}")]
    File {
        /// Path in the container.
        path: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A user as the kernel needs it, and the home that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, without the group itself.
    pub groups: Vec<u32>,
    /// Home directory; `/` if the user has no entry.
    pub home: String,
}

/// The largest id Docker takes; beyond it signed readers would see a negative number.
const ID_LIMIT: u32 = i32::MAX as u32;
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

impl FromStr for UserSpec {
    type Err = ParseUserError;

    fn from_str(text: &str) -> Result<Self, ParseUserError> {
        let wrong = |why| ParseUserError {
            text: text.to_owned(),
            why,
        };
        let (user, group) = match text.split_once(':') {
            Some((_, group)) if group.contains(':') => {
                return Err(wrong("it has more than one colon"));
            }
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let id = |part: &str| {
            if part.is_empty() {
                Ok(None)
            } else {
                id(part).map(Some)
            }
        };
        Ok(UserSpec {
            user: id(user).map_err(wrong)?,
            group: group.map_or(Ok(None), id).map_err(wrong)?,
        })
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |f: &mut fmt::Formatter<'_>, id: &Option<Id>| match id {
            None => Ok(()),
            Some(Id::Number(number)) => write!(f, "{number}"),
            Some(Id::Name(name)) => f.write_str(name),
        };
        show(f, &self.user)?;
        if self.group.is_some() {
            f.write_str(":")?;
        }
        show(f, &self.group)
    }
}

fn id(part: &str) -> Result<Id, &'static str> {
    if part.bytes().all(|byte| byte.is_ascii_digit()) {
        return match part.parse::<u32>() {
            Ok(number) if number <= ID_LIMIT => Ok(Id::Number(number)),
            _ => Err("an id is at most 2147483647"),
        };
    }
    // "+1" and "-1" look like numbers to some readers and like names to others.
    if part.starts_with(['+', '-']) {
        return Err("a name does not begin with a sign");
    }
    if part
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '/')
    {
        return Err("a name has no blanks, slashes or control characters");
    }
    Ok(Id::Name(part.to_owned()))
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Entries of a passwd file; lines that are none are passed over, as C libraries do.
fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| plain(name))?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        Some(Passwd {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or(""),
        })
    })
}

/// Entries of a group file.
fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| plain(name))?;
        let gid = number(fields.nth(1)?)?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or(""),
        })
    })
}

/// A name, not a comment or one of NIS's inclusions.
fn plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '+', '-'])
}

fn number(field: &str) -> Option<u32> {
    let digits = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        field.parse().ok().filter(|id| *id <= ID_LIMIT)
    } else {
        None
    }
}

/// Look `spec` up in `root`.
///
/// # Errors
/// A name that is not there, or a database that is a link, a FIFO, a device, larger than 8 MiB, or unreadable. A missing file is
/// an empty one.
pub fn resolve(root: &View, spec: &UserSpec) -> Result<ResolvedUser, UserError> {
    let read = |path: &'static str| {
        root.read(path)
            .map(Option::unwrap_or_default)
            .map_err(|source| UserError::File { path, source })
    };
    let passwd = read(PASSWD)?;
    // The second file is only read where it matters.
    resolve_in(&passwd, || read(GROUP), spec)
}

fn resolve_in(
    passwd_text: &str,
    group_text: impl FnOnce() -> Result<String, UserError>,
    spec: &UserSpec,
) -> Result<ResolvedUser, UserError> {
    let root = Id::Number(0);
    let wanted = spec.user.as_ref().unwrap_or(&root);
    let entry = passwd(passwd_text).find(|entry| match wanted {
        Id::Number(uid) => entry.uid == *uid,
        Id::Name(name) => entry.name == name,
    });
    let mut user = match (&entry, wanted) {
        (Some(entry), _) => ResolvedUser {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: entry.home.to_owned(),
        },
        (None, Id::Number(uid)) => ResolvedUser {
            uid: *uid,
            gid: 0,
            groups: Vec::new(),
            home: String::new(),
        },
        (None, Id::Name(name)) => return Err(UserError::NoUser { name: name.clone() }),
    };
    if !user.home.starts_with('/') {
        user.home = "/".to_owned();
    }
    match (&spec.group, entry) {
        (Some(Id::Number(gid)), _) => user.gid = *gid,
        (Some(Id::Name(name)), _) => {
            let text = group_text()?;
            let found = groups(&text).find(|group| group.name == name);
            user.gid = found
                .ok_or_else(|| UserError::NoGroup { name: name.clone() })?
                .gid;
        }
        (None, Some(entry)) => {
            let text = group_text()?;
            let member = |group: &Group<'_>| {
                group
                    .members
                    .split(',')
                    .any(|member| member.trim() == entry.name)
            };
            for group in groups(&text).filter(member) {
                if group.gid != user.gid && !user.groups.contains(&group.gid) {
                    user.groups.push(group.gid);
                }
            }
        }
        (None, None) => {}
    }
    Ok(user)
}

/// The id of a group named by `--group-add`: a number as it is, a name from the container's `/etc/group`.
///
/// # Errors
/// As for [`resolve`].
pub fn resolve_group(root: &View, group: &Id) -> Result<u32, UserError> {
    match group {
        Id::Number(gid) => Ok(*gid),
        Id::Name(name) => {
            let text = root
                .read(GROUP)
                .map_err(|source| UserError::File {
                    path: GROUP,
                    source,
                })?
                .unwrap_or_default();
            groups(&text)
                .find(|group| group.name == name)
                .map(|group| group.gid)
                .ok_or_else(|| UserError::NoGroup { name: name.clone() })
        }
    }
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
