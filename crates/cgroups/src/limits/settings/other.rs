//! RDMA, network, devices, and what is written to v2 as it is.

use super::{Change, List, Places, Setting, Target, invalid, unsupported};
use crate::controller::Controller;
use crate::devices;
use crate::dir::Version;
use crate::error::Error;
use crate::limits::Limits;

impl<P: Places> List<'_, P> {
    pub(super) fn rdma(&mut self, limits: &Limits) -> Result<(), Error> {
        for (device, max) in &limits.rdma {
            self.place(Controller::Rdma, "rdma")?;
            if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(invalid("rdma", device, "that is no device name"));
            }
            let number = |n: Option<u32>| n.map_or("max".to_owned(), |n| n.to_string());
            let (handles, objects) = (number(max.hca_handles), number(max.hca_objects));
            let value = format!("{device} hca_handle={handles} hca_object={objects}");
            self.write(Controller::Rdma, "rdma.max", value);
        }
        Ok(())
    }

    pub(super) fn network(&mut self, limits: &Limits) -> Result<(), Error> {
        if let Some(class) = limits.net_class_id {
            self.v1_only(Controller::NetCls, "net_class_id")?;
            self.write(Controller::NetCls, "net_cls.classid", class.to_string());
        }
        for (interface, priority) in &limits.net_priorities {
            self.v1_only(Controller::NetPrio, "net_priorities")?;
            if interface.is_empty() || interface.contains(char::is_whitespace) {
                return Err(invalid(
                    "net_priorities",
                    interface,
                    "that is no interface name",
                ));
            }
            let value = format!("{interface} {priority}");
            self.write(Controller::NetPrio, "net_prio.ifpriomap", value);
        }
        Ok(())
    }

    pub(super) fn devices(&mut self, limits: &Limits) -> Result<(), Error> {
        let Some(rules) = &limits.devices else {
            return Ok(());
        };
        // 12 and 20 bits in the kernel; v1 would silently match nothing.
        for rule in rules {
            if rule.major.is_some_and(|n| n >= 1 << 12) || rule.minor.is_some_and(|n| n >= 1 << 20)
            {
                return Err(invalid("devices", rule, "there is no such device number"));
            }
        }
        // No place at all means v2 without anything else: a program needs no controller.
        if self.places.place(Controller::Devices) == Some(Version::V1) {
            for (file, line) in devices::v1::writes(rules)? {
                self.write(Controller::Devices, file, line);
            }
        } else {
            self.settings.push(Setting {
                target: Target::V2,
                change: Change::DeviceProgram(rules.clone()),
                may_lack: false,
            });
        }
        Ok(())
    }

    pub(super) fn unified(&mut self, limits: &Limits) -> Result<(), Error> {
        for (file, value) in &limits.unified {
            let name = file.split('.').next().unwrap_or("");
            let sound = file.contains('.')
                && !file.contains(|c: char| c == '/' || c.is_control())
                && !file.contains("..");
            // Of the core's files only those are limits; the others are operations.
            let core = matches!(
                file.as_str(),
                "cgroup.max.depth" | "cgroup.max.descendants" | "cgroup.pressure"
            );
            if !sound || (name == "cgroup" && !core) {
                return Err(invalid(
                    "unified",
                    file,
                    "that is no file of a v2 controller",
                ));
            }
            let target = if core {
                Target::V2
            } else {
                let Some(controller) = Controller::ALL.into_iter().find(|c| c.name() == name)
                else {
                    return Err(invalid("unified", file, "there is no such controller"));
                };
                if self.place(controller, file)? == Version::V1 {
                    return Err(unsupported(
                        file,
                        "its controller is in a cgroup v1 hierarchy, and unified settings are v2's",
                    ));
                }
                Target::Of(controller)
            };
            self.settings.push(Setting {
                target,
                change: Change::Write(vec![(file.clone().into(), value.clone())]),
                may_lack: false,
            });
        }
        Ok(())
    }
}
