//! The OCI form of a profile (`linux.seccomp` of the runtime specification).

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};

use super::arch::Arch;
use super::profile::{Action, Compare, Condition, Profile};
use super::{Error, FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV};

const EPERM: u32 = 1;
/// The kernel's `MAX_ERRNO`.
const MAX_ERRNO: u32 = 4095;

/// The profile a specification asks for.
///
/// As in runc: names and architectures this library has no numbers for are no error (a profile is written for many
/// machines); several conditions on one argument mean any of them; no flags at all mean `SPEC_ALLOW`.
///
/// # Errors
/// An unusable argument index or errno, `NOTIFY` as the default or for `write`, contradicting rules, no usable architecture;
/// each names its place in the specification.
pub fn from_spec(spec: &LinuxSeccomp) -> Result<Profile, Error> {
    let native = Arch::native().ok_or(Error::NoArchitecture)?;
    let mut archs = vec![native];
    for arch in spec.architectures().iter().flatten() {
        if let Ok(arch) = Arch::try_from(*arch)
            && native.family().contains(&arch)
            && !archs.contains(&arch)
        {
            archs.push(arch);
        }
    }
    let default = action(
        spec.default_action(),
        spec.default_errno_ret(),
        "linux.seccomp.defaultErrnoRet",
    )?;
    if default == Action::Notify {
        return Err(invalid(
            "linux.seccomp.defaultAction",
            "SCMP_ACT_NOTIFY cannot be the default",
        ));
    }
    let mut profile = Profile::new(default, archs);
    profile.flags = flags(spec);
    for (place, call) in spec.syscalls().iter().flatten().enumerate() {
        let at = format!("linux.seccomp.syscalls[{place}]");
        let action = action(call.action(), call.errno_ret(), &format!("{at}.errnoRet"))?;
        let conditions = conditions(call.args().as_deref().unwrap_or_default(), &at)?;
        for name in call.names() {
            // The launch itself reports failures by writing, and nobody listens yet.
            if action == Action::Notify && name == "write" {
                return Err(invalid(&at, "SCMP_ACT_NOTIFY cannot be used for write"));
            }
            add(&mut profile, name, action, &conditions, &at)?;
        }
    }
    Ok(profile)
}

fn add(
    profile: &mut Profile,
    name: &str,
    action: Action,
    conditions: &[Condition],
    at: &str,
) -> Result<(), Error> {
    if conditions.is_empty() {
        let before = profile
            .rules
            .iter()
            .find(|rule| rule.name == name && rule.conditions.is_empty());
        if before.is_some_and(|rule| rule.action != action) {
            return Err(invalid(
                at,
                &format!("{name} already has a different unconditional action"),
            ));
        }
        profile.rule(name, action, Vec::new());
        return Ok(());
    }
    let repeated = conditions
        .iter()
        .enumerate()
        .any(|(i, a)| conditions.iter().take(i).any(|b| b.index == a.index));
    if repeated {
        for condition in conditions {
            profile.rule(name, action, vec![*condition]);
        }
    } else {
        profile.rule(name, action, conditions.to_vec());
    }
    Ok(())
}

fn conditions(args: &[LinuxSeccompArg], at: &str) -> Result<Vec<Condition>, Error> {
    let mut out = Vec::with_capacity(args.len());
    for (place, arg) in args.iter().enumerate() {
        let (value, second) = (arg.value(), arg.value_two().unwrap_or(0));
        let compare = match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => Compare::NotEqual(value),
            LinuxSeccompOperator::ScmpCmpLt => Compare::Less(value),
            LinuxSeccompOperator::ScmpCmpLe => Compare::LessOrEqual(value),
            LinuxSeccompOperator::ScmpCmpEq => Compare::Equal(value),
            LinuxSeccompOperator::ScmpCmpGe => Compare::GreaterOrEqual(value),
            LinuxSeccompOperator::ScmpCmpGt => Compare::Greater(value),
            LinuxSeccompOperator::ScmpCmpMaskedEq => Compare::Masked {
                mask: value,
                value: second,
            },
        };
        let condition = u8::try_from(arg.index())
            .ok()
            .and_then(|index| Condition::new(index, compare));
        let Some(condition) = condition else {
            return Err(invalid(
                &format!("{at}.args[{place}].index"),
                "a system call has arguments 0 to 5",
            ));
        };
        out.push(condition);
    }
    Ok(out)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>, at: &str) -> Result<Action, Error> {
    let number = |limit: u32| {
        let number = errno.unwrap_or(EPERM);
        match u16::try_from(number) {
            Ok(small) if number <= limit => Ok(small),
            _ => Err(invalid(at, &format!("{number} is above {limit}"))),
        }
    };
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Action::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActErrno => Action::Errno(number(MAX_ERRNO)?),
        LinuxSeccompAction::ScmpActTrace => Action::Trace(number(u32::from(u16::MAX))?),
        LinuxSeccompAction::ScmpActNotify => Action::Notify,
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
    })
}

fn flags(spec: &LinuxSeccomp) -> u64 {
    let Some(flags) = spec.flags() else {
        return FLAG_SPEC_ALLOW;
    };
    flags.iter().fold(0, |all, flag| {
        all | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => FLAG_WAIT_KILLABLE_RECV,
            // The process that loads the filter has one thread.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        }
    })
}

fn invalid(at: &str, why: &str) -> Error {
    Error::Invalid {
        at: at.to_owned(),
        why: why.to_owned(),
    }
}
