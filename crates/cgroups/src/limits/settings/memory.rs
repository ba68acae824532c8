//! Memory, swap and huge pages.

use super::{List, Places, invalid, unsupported};
use crate::controller::Controller;
use crate::dir::Version;
use crate::error::Error;
use crate::limits::{Limits, UNLIMITED};

impl<P: Places> List<'_, P> {
    pub(super) fn memory(&mut self, limits: &Limits) -> Result<(), Error> {
        const MEMORY: Controller = Controller::Memory;
        if let Some(max) = limits.memory_max {
            // The kernel takes less, rounds it down to nothing, and kills the first process.
            const PAGE: u64 = 4096;
            if max < PAGE {
                return Err(invalid(
                    "memory_max",
                    max,
                    "it is less than a page (4096 bytes)",
                ));
            }
            let file = match self.place(MEMORY, "memory_max")? {
                Version::V1 => "memory.limit_in_bytes",
                Version::V2 => "memory.max",
            };
            let value = self.amount(MEMORY, max);
            self.write(MEMORY, file, value);
        }
        if let Some(swap) = limits.memory_swap_max {
            self.swap(limits.memory_max, swap)?;
        }
        if let Some(low) = limits.memory_low {
            let file = match self.place(MEMORY, "memory_low")? {
                Version::V1 => "memory.soft_limit_in_bytes",
                Version::V2 => "memory.low",
            };
            let value = self.amount(MEMORY, low);
            self.write(MEMORY, file, value);
        }
        if let Some(high) = limits.memory_high {
            if self.place(MEMORY, "memory_high")? == Version::V1 {
                return Err(unsupported("memory_high", "it exists in cgroup v2 only"));
            }
            let value = self.amount(MEMORY, high);
            self.write(MEMORY, "memory.high", value);
        }
        if let Some(swappiness) = limits.memory_swappiness {
            self.v1_only(MEMORY, "memory_swappiness")?;
            if swappiness > 100 {
                return Err(invalid(
                    "memory_swappiness",
                    swappiness,
                    "it must be 0 to 100",
                ));
            }
            self.write(MEMORY, "memory.swappiness", swappiness.to_string());
        }
        match limits.memory_oom_kill_disable {
            Some(disable) if self.place(MEMORY, "memory_oom_kill_disable")? == Version::V1 => {
                self.write(MEMORY, "memory.oom_control", u8::from(disable).to_string());
            }
            Some(true) => self.v1_only(MEMORY, "memory_oom_kill_disable")?,
            Some(false) | None => {}
        }
        if let Some(tcp) = limits.memory_kernel_tcp {
            self.v1_only(MEMORY, "memory_kernel_tcp")?;
            let value = self.amount(MEMORY, tcp);
            self.write(MEMORY, "memory.kmem.tcp.limit_in_bytes", value);
        }
        Ok(())
    }

    fn swap(&mut self, max: Option<u64>, swap: u64) -> Result<(), Error> {
        const MEMORY: Controller = Controller::Memory;
        let (file, amount) = match self.place(MEMORY, "memory_swap_max")? {
            Version::V2 => ("memory.swap.max", swap),
            Version::V1 if swap == UNLIMITED || max == Some(UNLIMITED) => {
                ("memory.memsw.limit_in_bytes", UNLIMITED)
            }
            Version::V1 => {
                let Some(max) = max else {
                    return Err(invalid(
                        "memory_swap_max",
                        swap,
                        "cgroup v1 limits memory and swap together, so memory_max must be given too",
                    ));
                };
                ("memory.memsw.limit_in_bytes", max.saturating_add(swap))
            }
        };
        let value = self.amount(MEMORY, amount);
        self.write(MEMORY, file, value);
        if let Some(last) = self.settings.last_mut() {
            // Without swap accounting there is no file, and either of these holds already.
            last.may_lack = swap == 0 || swap == UNLIMITED;
        }
        Ok(())
    }

    pub(super) fn hugetlb(&mut self, limits: &Limits) -> Result<(), Error> {
        const HUGETLB: Controller = Controller::Hugetlb;
        for (size, max) in &limits.hugetlb {
            let known = size
                .strip_suffix("KB")
                .or(size.strip_suffix("MB"))
                .or(size.strip_suffix("GB"))
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            if !known {
                return Err(invalid(
                    "hugetlb",
                    size,
                    "a page size looks like 2MB or 1GB",
                ));
            }
            let end = match self.place(HUGETLB, "hugetlb")? {
                Version::V1 => "limit_in_bytes",
                Version::V2 => "max",
            };
            let value = self.amount(HUGETLB, *max);
            self.write(HUGETLB, format!("hugetlb.{size}.{end}"), value.clone());
            // The limit above counts pages when they are touched, this one when they are reserved,
            // where an excess is an error and not a SIGBUS. Since Linux 5.7.
            self.write(HUGETLB, format!("hugetlb.{size}.rsvd.{end}"), value);
            if let Some(last) = self.settings.last_mut() {
                last.may_lack = true;
            }
        }
        Ok(())
    }
}
