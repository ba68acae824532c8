//! Block devices.

use super::{Change, List, Places, invalid, limited};
use crate::controller::Controller;
use crate::dir::Version;
use crate::error::Error;
use crate::limits::convert::io_weight;
use crate::limits::{IoMax, Limits};

impl<P: Places> List<'_, P> {
    pub(super) fn io(&mut self, limits: &Limits) -> Result<(), Error> {
        const IO: Controller = Controller::Io;
        if let Some(weight) = limits.io_weight {
            check_io_weight("io_weight", weight)?;
            match self.place(IO, "io_weight")? {
                Version::V1 => {
                    self.first_of(["blkio.bfq.weight", "blkio.weight"], |_| weight.to_string())
                }
                // BFQ, whose file is there only when it is in use, has OCI's own scale.
                Version::V2 => self.first_of(["io.bfq.weight", "io.weight"], |wide| match wide {
                    false => weight.to_string(),
                    true => format!("default {}", io_weight(weight)),
                }),
            }
        }
        if let Some(weight) = limits.io_leaf_weight {
            check_io_weight("io_leaf_weight", weight)?;
            self.v1_only(IO, "io_leaf_weight")?;
            self.write(IO, "blkio.leaf_weight", weight.to_string());
        }
        for device in &limits.io_weight_devices {
            let number = format!("{}:{}", device.major, device.minor);
            if let Some(weight) = device.weight {
                check_io_weight("io_weight_devices", weight)?;
                match self.place(IO, "io_weight_devices")? {
                    Version::V1 => {
                        let files = ["blkio.bfq.weight_device", "blkio.weight_device"];
                        self.first_of(files, |_| format!("{number} {weight}"));
                    }
                    Version::V2 => self.first_of(["io.bfq.weight", "io.weight"], |wide| {
                        let weight = if wide {
                            io_weight(weight)
                        } else {
                            weight.into()
                        };
                        format!("{number} {weight}")
                    }),
                }
            }
            if let Some(weight) = device.leaf_weight {
                check_io_weight("io_weight_devices", weight)?;
                self.v1_only(IO, "io_weight_devices")?;
                self.write(IO, "blkio.leaf_weight_device", format!("{number} {weight}"));
            }
        }
        for device in &limits.io_max {
            self.io_max(device)?;
        }
        Ok(())
    }

    fn io_max(&mut self, device: &IoMax) -> Result<(), Error> {
        const IO: Controller = Controller::Io;
        let fields = [
            ("rbps", "blkio.throttle.read_bps_device", device.read_bps),
            ("wbps", "blkio.throttle.write_bps_device", device.write_bps),
            ("riops", "blkio.throttle.read_iops_device", device.read_iops),
            (
                "wiops",
                "blkio.throttle.write_iops_device",
                device.write_iops,
            ),
        ];
        let number = format!("{}:{}", device.major, device.minor);
        let mut line = number.clone();
        let version = self.place(IO, "io_max")?;
        for (key, file, rate) in fields {
            let Some(rate) = rate else { continue };
            // Zero lifts the limit, as v1 has it and OCI took over.
            let rate = limited(rate).filter(|rate| *rate > 0);
            match version {
                Version::V1 => self.write(IO, file, format!("{number} {}", rate.unwrap_or(0))),
                Version::V2 => {
                    let rate = rate.map_or("max".to_owned(), |rate| rate.to_string());
                    line.push_str(&format!(" {key}={rate}"));
                }
            }
        }
        if version == Version::V2 && line != number {
            self.write(IO, "io.max", line);
        }
        Ok(())
    }

    /// The value for the first file if that exists, else that for the second.
    fn first_of(&mut self, files: [&'static str; 2], value: impl Fn(bool) -> String) {
        let [first, second] = files;
        let files = vec![(first.into(), value(false)), (second.into(), value(true))];
        self.push(Controller::Io, Change::Write(files));
    }
}

fn check_io_weight(setting: &str, weight: u16) -> Result<(), Error> {
    if (10..=1000).contains(&weight) {
        return Ok(());
    }
    Err(invalid(setting, weight, "it must be 10 to 1000"))
}
