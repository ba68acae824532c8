//! A device list as the writes to v1's `devices.allow` and `devices.deny` that bring it about.
//!
//! v1 keeps a default and a list of exceptions to it, and a write that fits no exception exactly is
//! silently without effect (Documentation/admin-guide/cgroup-v1/devices.rst). So the outcome of the
//! rules is worked out here, and what that scheme cannot express is refused instead of half done.

use super::{DeviceAccess, DeviceKind, DeviceRule};
use crate::error::Error;

/// One write: the file and the line.
pub(crate) type Write = (&'static str, String);

/// The writes that bring a cgroup from any state to `rules`.
pub(crate) fn writes(rules: &[DeviceRule]) -> Result<Vec<Write>, Error> {
    let mut state = State {
        allow_by_default: false,
        exceptions: Vec::new(),
    };
    for rule in rules {
        state.apply(rule)?;
    }
    let (reset, except) = if state.allow_by_default {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    let mut writes = vec![(reset, "a".to_owned())];
    writes.extend(
        state
            .exceptions
            .iter()
            .map(|rule| (except, rule.to_string())),
    );
    Ok(writes)
}

struct State {
    allow_by_default: bool,
    exceptions: Vec<DeviceRule>,
}

impl State {
    fn apply(&mut self, rule: &DeviceRule) -> Result<(), Error> {
        let everything = rule.kind == DeviceKind::All
            && rule.major.is_none()
            && rule.minor.is_none()
            && rule.access == DeviceAccess::ALL;
        if everything {
            self.allow_by_default = rule.allow;
            self.exceptions.clear();
            return Ok(());
        }
        for one in rule.split() {
            if one.allow == self.allow_by_default {
                self.take_back(&one)?;
            } else {
                self.except(one);
            }
        }
        Ok(())
    }

    fn except(&mut self, rule: DeviceRule) {
        match self.exceptions.iter_mut().find(|e| same_devices(e, &rule)) {
            Some(known) => {
                known.access = DeviceAccess::from_bits(known.access.bits() | rule.access.bits());
            }
            None => self.exceptions.push(rule),
        }
    }

    /// The rule agrees with the default: exceptions it covers go; one it covers in part cannot be kept.
    fn take_back(&mut self, rule: &DeviceRule) -> Result<(), Error> {
        for exception in &mut self.exceptions {
            let shared = exception.access.bits() & rule.access.bits();
            if shared == 0 || !overlaps(exception, rule) {
                continue;
            }
            if !covers(rule, exception) {
                return Err(Error::Unsupported {
                    setting: format!(
                        "device rule {} {rule}",
                        if rule.allow { "allow" } else { "deny" }
                    ),
                    reason: format!(
                        "cgroup v1 cannot make a hole in the earlier rule {exception}; order the wider rule out"
                    ),
                });
            }
            exception.access = DeviceAccess::from_bits(exception.access.bits() & !shared);
        }
        self.exceptions.retain(|e| e.access.bits() != 0);
        Ok(())
    }
}

fn same_devices(a: &DeviceRule, b: &DeviceRule) -> bool {
    (a.kind, a.major, a.minor) == (b.kind, b.major, b.minor)
}

fn overlaps(a: &DeviceRule, b: &DeviceRule) -> bool {
    let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    a.kind == b.kind && meet(a.major, b.major) && meet(a.minor, b.minor)
}

fn covers(wide: &DeviceRule, narrow: &DeviceRule) -> bool {
    let cover = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
    wide.kind == narrow.kind && cover(wide.major, narrow.major) && cover(wide.minor, narrow.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, text: &str) -> DeviceRule {
        let mut words = text.split([' ', ':']);
        let kind = match words.next().unwrap() {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            _ => DeviceKind::Char,
        };
        let mut number = || words.next().unwrap().parse().ok();
        let (major, minor) = (number(), number());
        let access = DeviceAccess::parse(words.next().unwrap()).unwrap();
        DeviceRule {
            allow,
            kind,
            major,
            minor,
            access,
        }
    }

    fn lines(rules: &[(bool, &str)]) -> Result<Vec<String>, Error> {
        let rules: Vec<_> = rules
            .iter()
            .map(|(allow, text)| rule(*allow, text))
            .collect();
        Ok(writes(&rules)?
            .into_iter()
            .map(|(file, line)| format!("{} {line}", file.trim_start_matches("devices.")))
            .collect())
    }

    #[test]
    fn the_outcome_is_written() {
        assert_eq!(lines(&[]).unwrap(), ["deny a"]);
        assert_eq!(lines(&[(true, "a *:* rwm")]).unwrap(), ["allow a"]);
        assert_eq!(
            lines(&[
                (false, "a *:* rwm"),
                (true, "c *:* m"),
                (true, "c 1:3 rw"),
                (true, "c 1:3 m")
            ])
            .unwrap(),
            ["deny a", "allow c *:* m", "allow c 1:3 rwm"]
        );
        assert_eq!(
            lines(&[(true, "a *:* rwm"), (false, "b 8:* w"), (true, "b 8:* w")]).unwrap(),
            ["allow a"]
        );
        // A kind of "all" with numbers or less access is two rules.
        assert_eq!(
            lines(&[(true, "a 1:3 r")]).unwrap(),
            ["deny a", "allow b 1:3 r", "allow c 1:3 r"]
        );
        // Denying part of the access leaves the rest.
        assert_eq!(
            lines(&[(true, "c 1:3 rwm"), (false, "c 1:* w")]).unwrap(),
            ["deny a", "allow c 1:3 rm"]
        );
    }

    #[test]
    fn what_v1_cannot_express_is_refused() {
        let error = lines(&[(true, "c 1:* rwm"), (false, "c 1:3 w")]).unwrap_err();
        assert!(error.to_string().contains("deny c 1:3 w"), "{error}");
        assert!(lines(&[(true, "a *:* rwm"), (false, "c *:* w"), (true, "c 1:3 w")]).is_err());
    }
}
