//! From limits to the list of settings that bring them about: pure, so that the whole mapping is one
//! table to read and to test. Nothing here touches a file.

mod cpu;
mod io;
mod memory;
mod other;

use std::borrow::Cow;

use super::{Limits, UNLIMITED};
use crate::controller::Controller;
use crate::devices;
use crate::dir::Version;
use crate::error::Error;

/// Where each controller is found on this host; `None` if nowhere.
pub(crate) trait Places {
    fn place(&self, controller: Controller) -> Option<Version>;
}

impl<F: Fn(Controller) -> Option<Version>> Places for F {
    fn place(&self, controller: Controller) -> Option<Version> {
        self(controller)
    }
}

/// One thing to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) target: Target,
    pub(crate) change: Change,
    /// That no such file exists is as good as having set it.
    pub(crate) may_lack: bool,
}

/// Which hierarchy a setting is made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that has this controller.
    Of(Controller),
    /// v2, whatever controllers it has.
    V2,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// One write: the first of these files that exists, with the value for it.
    Write(Vec<(Cow<'static, str>, String)>),
    /// Through cgroups-rs, whose setters for these are sound in both versions.
    Pids(Option<u64>),
    Weight(u64),
    Quota {
        quota: Option<Option<u64>>,
        period: Option<u64>,
    },
    Cpus(String),
    Mems(String),
    /// The whole v2 device program, with its rules.
    DeviceProgram(Vec<devices::DeviceRule>),
}

/// The settings for `limits`, in the order in which to make them.
pub(crate) fn settings(limits: &Limits, places: &impl Places) -> Result<Vec<Setting>, Error> {
    let mut list = List {
        places,
        settings: Vec::new(),
    };
    list.cpuset(limits)?;
    list.cpu(limits)?;
    list.memory(limits)?;
    list.pids(limits)?;
    list.io(limits)?;
    list.hugetlb(limits)?;
    list.rdma(limits)?;
    list.network(limits)?;
    list.devices(limits)?;
    list.unified(limits)?;
    Ok(list.settings)
}

struct List<'a, P> {
    places: &'a P,
    settings: Vec<Setting>,
}

impl<P: Places> List<'_, P> {
    /// Where `controller` is, or the error that says which limit wanted it.
    fn place(&self, controller: Controller, needed: &str) -> Result<Version, Error> {
        self.places
            .place(controller)
            .ok_or_else(|| Error::NoController {
                needed: needed.to_owned(),
                controller,
                path: "any mounted hierarchy".into(),
            })
    }

    fn v1_only(&self, controller: Controller, setting: &str) -> Result<(), Error> {
        match self.place(controller, setting)? {
            Version::V1 => Ok(()),
            Version::V2 => Err(unsupported(setting, "it exists in cgroup v1 only")),
        }
    }

    fn push(&mut self, controller: Controller, change: Change) {
        self.settings.push(Setting {
            target: Target::Of(controller),
            change,
            may_lack: false,
        });
    }

    fn write(&mut self, controller: Controller, file: impl Into<Cow<'static, str>>, value: String) {
        self.push(controller, Change::Write(vec![(file.into(), value)]));
    }

    /// `max` in v2, `-1` in v1.
    fn amount(&self, controller: Controller, amount: u64) -> String {
        match (limited(amount), self.places.place(controller)) {
            (Some(amount), _) => amount.to_string(),
            (None, Some(Version::V2)) => "max".to_owned(),
            (None, _) => "-1".to_owned(),
        }
    }

    fn pids(&mut self, limits: &Limits) -> Result<(), Error> {
        if let Some(max) = limits.pids_max {
            self.place(Controller::Pids, "pids_max")?;
            if max == 0 {
                return Err(invalid("pids_max", max, "no process could start"));
            }
            self.push(Controller::Pids, Change::Pids(limited(max)));
        }
        Ok(())
    }
}

/// `None` if unlimited.
fn limited(amount: u64) -> Option<u64> {
    (amount != UNLIMITED).then_some(amount)
}

fn invalid(setting: &str, value: impl ToString, reason: &str) -> Error {
    Error::Invalid {
        setting: setting.to_owned(),
        value: value.to_string(),
        reason: reason.to_owned(),
    }
}

fn unsupported(setting: &str, reason: &str) -> Error {
    Error::Unsupported {
        setting: setting.to_owned(),
        reason: reason.to_owned(),
    }
}
