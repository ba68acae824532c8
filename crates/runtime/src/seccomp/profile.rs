//! A profile: which call gets which verdict, before it is a program.

use std::collections::BTreeMap;

use super::arch::Arch;

/// What happens to a system call (`seccomp(2)`, "Filter return values").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Carry it out.
    Allow,
    /// Carry it out and log it.
    Log,
    /// Ask the holder of the listener fd.
    Notify,
    /// Tell the tracer, with this number.
    Trace(u16),
    /// Fail with this errno.
    Errno(u16),
    /// `SIGSYS`.
    Trap,
    /// End the thread.
    KillThread,
    /// End the process.
    KillProcess,
}

impl Action {
    /// The filter's return value.
    pub const fn verdict(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Notify => 0x7fc0_0000,
            Action::Trace(data) => 0x7ff0_0000 | data as u32,
            Action::Errno(errno) => 0x0005_0000 | errno as u32,
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
        }
    }

    /// Whether the call is carried out, perhaps by somebody's leave.
    const fn permits(self) -> bool {
        matches!(
            self,
            Action::Allow | Action::Log | Action::Trace(_) | Action::Notify
        )
    }
}

/// How an argument is compared with a value; 64 bits, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal.
    Equal(u64),
    /// Not equal.
    NotEqual(u64),
    /// Less.
    Less(u64),
    /// Less or equal.
    LessOrEqual(u64),
    /// Greater.
    Greater(u64),
    /// Greater or equal.
    GreaterOrEqual(u64),
    /// Equal to `value` under `mask`.
    Masked {
        /// The bits that count.
        mask: u64,
        /// What they must be.
        value: u64,
    },
}

impl Compare {
    /// Whether `arg` satisfies the comparison.
    pub const fn holds(self, arg: u64) -> bool {
        match self {
            Compare::Equal(value) => arg == value,
            Compare::NotEqual(value) => arg != value,
            Compare::Less(value) => arg < value,
            Compare::LessOrEqual(value) => arg <= value,
            Compare::Greater(value) => arg > value,
            Compare::GreaterOrEqual(value) => arg >= value,
            Compare::Masked { mask, value } => arg & mask == value,
        }
    }
}

/// A condition on one argument, counted from 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    pub(crate) index: u8,
    pub(crate) compare: Compare,
}

impl Condition {
    /// A condition on argument `index`; `None` if there is no such argument.
    pub const fn new(index: u8, compare: Compare) -> Option<Condition> {
        if index < 6 {
            Some(Condition { index, compare })
        } else {
            None
        }
    }
}

/// A verdict for calls of one name. With several rules for a name, one without conditions is decisive; of those with conditions
/// the first whose conditions all hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The call, by its name in the kernel's tables. A name an architecture has not is no rule there.
    pub name: String,
    /// The verdict.
    pub action: Action,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
}

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub audit_arch: u32,
    /// The number, with the x32 bit if it is one of those.
    pub number: u32,
    /// The six argument registers.
    pub args: [u64; 6],
}

/// Rules, the architectures they hold for, and a verdict for everything else.
///
/// A call newer than every call the profile names gets `ENOSYS` where the profile would otherwise refuse it, so that C libraries
/// fall back as they do on an older kernel (the behaviour of runc). A call of an architecture the profile does not speak of ends the thread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    pub(crate) default: Action,
    pub(crate) archs: Vec<Arch>,
    pub(crate) rules: Vec<Rule>,
    /// Names the profile speaks of without giving a verdict here: they count as known.
    pub(crate) known: Vec<String>,
    pub(crate) flags: u64,
}

/// What a profile says to one architecture.
pub(crate) struct Table<'a> {
    pub(crate) arch: Arch,
    /// Rules by number, in the order of the profile.
    pub(crate) calls: BTreeMap<u32, Vec<&'a Rule>>,
    /// Above this, a call is newer than the profile.
    pub(crate) newest: Option<u32>,
}

const ENOSYS: u16 = 38;

impl Profile {
    /// A profile without rules.
    pub fn new(default: Action, archs: Vec<Arch>) -> Profile {
        Profile {
            default,
            archs,
            rules: Vec::new(),
            known: Vec::new(),
            flags: 0,
        }
    }

    /// Add a rule.
    pub fn rule(&mut self, name: &str, action: Action, conditions: Vec<Condition>) {
        self.rules.push(Rule {
            name: name.to_owned(),
            action,
            conditions,
        });
    }

    /// Whether some verdict needs a listener.
    pub fn notifies(&self) -> bool {
        self.rules.iter().any(|rule| rule.action == Action::Notify)
    }

    /// `SECCOMP_FILTER_FLAG_*` to load it with.
    pub fn flags(&self) -> u64 {
        self.flags
    }

    /// Verdicts straight from the rules: what the compiled program must answer.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            default: self.default,
            tables: self.archs.iter().map(|arch| self.table(*arch)).collect(),
        }
    }

    pub(crate) fn table(&self, arch: Arch) -> Table<'_> {
        let mut calls: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
        let mut newest = None;
        for rule in &self.rules {
            if let Some(number) = arch.number(&rule.name) {
                // A rule that says what the default says adds nothing, and must not hide a later one.
                if rule.action != self.default {
                    calls.entry(number).or_default().push(rule);
                }
            }
        }
        for name in self.rules.iter().map(|rule| &rule.name).chain(&self.known) {
            if let Some(number) = arch.number(name).filter(|number| arch.ordinary(*number)) {
                newest = newest.max(Some(number));
            }
        }
        Table {
            arch,
            calls,
            newest: newest
                .filter(|_| !self.default.permits() && self.default != Action::Errno(ENOSYS)),
        }
    }
}

/// A profile ready to be asked about single calls.
pub struct Evaluator<'a> {
    default: Action,
    tables: Vec<Table<'a>>,
}

impl Evaluator<'_> {
    /// The verdict for a call.
    pub fn verdict(&self, call: &Call) -> Action {
        // x32 shares its audit number with x86_64; -1 is how a tracer skips a call, and belongs to the native table.
        let x32 = call.audit_arch == Arch::X32.audit()
            && call.number >= super::arch::X32_BIT
            && call.number != u32::MAX;
        let found = self.tables.iter().find(|table| {
            table.arch.audit() == call.audit_arch && (table.arch == Arch::X32) == x32
        });
        found.map_or(Action::KillThread, |table| {
            table.verdict(self.default, call)
        })
    }
}

impl Table<'_> {
    /// The verdict where no rule applies.
    pub(crate) fn fallback(&self, default: Action, number: u32) -> Action {
        match self.newest {
            Some(newest)
                if number > newest
                    && self.arch.ordinary(number)
                    && number <= self.arch.last_number() =>
            {
                Action::Errno(ENOSYS)
            }
            _ => default,
        }
    }

    fn verdict(&self, default: Action, call: &Call) -> Action {
        let Some(rules) = self.calls.get(&call.number) else {
            return self.fallback(default, call.number);
        };
        if let Some(rule) = rules.iter().find(|rule| rule.conditions.is_empty()) {
            return rule.action;
        }
        let held = |rule: &&&Rule| {
            rule.conditions.iter().all(|c| {
                call.args
                    .get(usize::from(c.index))
                    .is_some_and(|arg| c.compare.holds(*arg))
            })
        };
        rules.iter().find(held).map_or(default, |rule| rule.action)
    }
}
