//! CPU time and CPUs.

use super::{Change, List, Places, invalid, limited};
use crate::controller::Controller;
use crate::dir::Version;
use crate::error::Error;
use crate::limits::Limits;
use crate::limits::convert::{shares_to_weight, weight_to_shares};

impl<P: Places> List<'_, P> {
    pub(super) fn cpuset(&mut self, limits: &Limits) -> Result<(), Error> {
        let fields = [
            (
                "cpuset_cpus",
                &limits.cpuset_cpus,
                Change::Cpus as fn(String) -> Change,
            ),
            ("cpuset_mems", &limits.cpuset_mems, Change::Mems),
        ];
        for (name, value, change) in fields {
            if let Some(value) = value {
                self.place(Controller::Cpuset, name)?;
                if value.trim().is_empty() {
                    return Err(invalid(name, value, "it is empty"));
                }
                self.push(Controller::Cpuset, change(value.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn cpu(&mut self, limits: &Limits) -> Result<(), Error> {
        const CPU: Controller = Controller::Cpu;
        if let Some(idle) = limits.cpu_idle {
            self.place(CPU, "cpu_idle")?;
            // Before the weight, which the kernel refuses to change while idle.
            self.write(CPU, "cpu.idle", u8::from(idle).to_string());
        }
        let weight = match (limits.cpu_weight, limits.cpu_shares) {
            (Some(weight), Some(_)) => {
                return Err(invalid("cpu_weight", weight, "cpu_shares is given as well"));
            }
            (Some(weight), None) if !(1..=10_000).contains(&weight) => {
                return Err(invalid("cpu_weight", weight, "it must be 1 to 10000"));
            }
            (Some(weight), None) => Some(match self.place(CPU, "cpu_weight")? {
                Version::V1 => weight_to_shares(weight),
                Version::V2 => weight,
            }),
            (None, Some(shares)) => Some(match self.place(CPU, "cpu_shares")? {
                Version::V1 => shares,
                Version::V2 => shares_to_weight(shares),
            }),
            (None, None) => None,
        };
        if let Some(weight) = weight {
            self.push(CPU, Change::Weight(weight));
        }
        let quota = limits.cpu_quota_us.map(limited);
        let period = limits.cpu_period_us;
        if quota.is_some() || period.is_some() {
            let name = if quota.is_some() {
                "cpu_quota_us"
            } else {
                "cpu_period_us"
            };
            let place = self.place(CPU, name)?;
            if let Some(Some(us)) = quota
                && i64::try_from(us).is_err()
            {
                return Err(invalid(name, us, "it is too large"));
            }
            if quota == Some(Some(0)) {
                return Err(invalid(name, 0, "it is zero"));
            }
            if place == Version::V2 {
                self.push(CPU, Change::Quota { quota, period });
            } else {
                // Two files in v1: which order the kernel accepts depends on the old values.
                if period.is_some() {
                    self.push(
                        CPU,
                        Change::Quota {
                            quota: None,
                            period,
                        },
                    );
                }
                if quota.is_some() {
                    self.push(
                        CPU,
                        Change::Quota {
                            quota,
                            period: None,
                        },
                    );
                }
            }
        }
        if let Some(burst) = limits.cpu_burst_us {
            let file = match self.place(CPU, "cpu_burst_us")? {
                Version::V1 => "cpu.cfs_burst_us",
                Version::V2 => "cpu.max.burst",
            };
            self.write(CPU, file, burst.to_string());
        }
        if let Some(period) = limits.cpu_rt_period_us {
            self.v1_only(CPU, "cpu_rt_period_us")?;
            self.write(CPU, "cpu.rt_period_us", period.to_string());
        }
        if let Some(runtime) = limits.cpu_rt_runtime_us {
            self.v1_only(CPU, "cpu_rt_runtime_us")?;
            self.write(CPU, "cpu.rt_runtime_us", runtime.to_string());
        }
        Ok(())
    }
}
