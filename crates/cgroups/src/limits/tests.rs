//! The mapping from limits to settings, as a table; and from an OCI specification to limits.

use oci_spec::runtime::LinuxResources;
use proptest::prelude::*;

use super::settings::{Change, Target, settings};
use super::*;
use crate::controller::Controller;
use crate::dir::Version;
use crate::error::Error;

fn lines(limits: &Limits, version: Version) -> Result<Vec<String>, Error> {
    let settings = settings(limits, &|_: Controller| Some(version))?;
    Ok(settings
        .into_iter()
        .map(|setting| {
            let target = match setting.target {
                Target::Of(controller) => controller.name(),
                Target::V2 => "v2",
            };
            match setting.change {
                Change::Write(files) => {
                    let (file, value) = &files[0];
                    format!("{file}={value}")
                }
                other => format!("{target}: {other:?}"),
            }
        })
        .collect())
}

fn oci(json: &str) -> Result<Limits, Error> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    Limits::try_from(&resources)
}

#[test]
fn each_limit_in_both_versions() {
    let d = Limits::default;
    let table = [
        (
            Limits {
                memory_max: Some(1 << 20),
                ..d()
            },
            "memory.limit_in_bytes=1048576",
            "memory.max=1048576",
        ),
        (
            Limits {
                memory_max: Some(UNLIMITED),
                ..d()
            },
            "memory.limit_in_bytes=-1",
            "memory.max=max",
        ),
        (
            Limits {
                memory_low: Some(4096),
                ..d()
            },
            "memory.soft_limit_in_bytes=4096",
            "memory.low=4096",
        ),
        (
            Limits {
                memory_swap_max: Some(UNLIMITED),
                ..d()
            },
            "memory.memsw.limit_in_bytes=-1",
            "memory.swap.max=max",
        ),
        (
            Limits {
                memory_oom_kill_disable: Some(true),
                ..d()
            },
            "memory.oom_control=1",
            "error",
        ),
        (
            Limits {
                memory_swappiness: Some(7),
                ..d()
            },
            "memory.swappiness=7",
            "error",
        ),
        (
            Limits {
                memory_high: Some(7),
                ..d()
            },
            "error",
            "memory.high=7",
        ),
        (
            Limits {
                memory_kernel_tcp: Some(7),
                ..d()
            },
            "memory.kmem.tcp.limit_in_bytes=7",
            "error",
        ),
        (
            Limits {
                cpu_idle: Some(true),
                ..d()
            },
            "cpu.idle=1",
            "cpu.idle=1",
        ),
        (
            Limits {
                cpu_burst_us: Some(7),
                ..d()
            },
            "cpu.cfs_burst_us=7",
            "cpu.max.burst=7",
        ),
        (
            Limits {
                cpu_shares: Some(1024),
                ..d()
            },
            "cpu: Weight(1024)",
            "cpu: Weight(100)",
        ),
        (
            Limits {
                cpu_weight: Some(100),
                ..d()
            },
            "cpu: Weight(1024)",
            "cpu: Weight(100)",
        ),
        (
            Limits {
                cpu_rt_runtime_us: Some(-1),
                ..d()
            },
            "cpu.rt_runtime_us=-1",
            "error",
        ),
        (
            Limits {
                cpu_rt_period_us: Some(9),
                ..d()
            },
            "cpu.rt_period_us=9",
            "error",
        ),
        (
            Limits {
                pids_max: Some(UNLIMITED),
                ..d()
            },
            "pids: Pids(None)",
            "pids: Pids(None)",
        ),
        (
            Limits {
                cpuset_cpus: Some("0-1".into()),
                ..d()
            },
            "cpuset: Cpus(\"0-1\")",
            "cpuset: Cpus(\"0-1\")",
        ),
        (
            Limits {
                io_weight: Some(500),
                ..d()
            },
            "blkio.bfq.weight=500",
            "io.bfq.weight=500",
        ),
        (
            Limits {
                io_leaf_weight: Some(500),
                ..d()
            },
            "blkio.leaf_weight=500",
            "error",
        ),
        (
            Limits {
                net_class_id: Some(9),
                ..d()
            },
            "net_cls.classid=9",
            "error",
        ),
        (
            Limits {
                net_priorities: [("eth0".into(), 3)].into(),
                ..d()
            },
            "net_prio.ifpriomap=eth0 3",
            "error",
        ),
        (
            Limits {
                unified: [("memory.high".into(), "9".into())].into(),
                ..d()
            },
            "error",
            "memory.high=9",
        ),
        (
            Limits {
                rdma: [(
                    "mlx".into(),
                    RdmaMax {
                        hca_handles: Some(2),
                        hca_objects: None,
                    },
                )]
                .into(),
                ..d()
            },
            "rdma.max=mlx hca_handle=2 hca_object=max",
            "rdma.max=mlx hca_handle=2 hca_object=max",
        ),
    ];
    for (limits, v1, v2) in table {
        for (version, wanted) in [(Version::V1, v1), (Version::V2, v2)] {
            match lines(&limits, version) {
                Ok(lines) => assert_eq!(lines, [wanted], "{limits:?}"),
                Err(error) => assert_eq!(wanted, "error", "{limits:?}: {error}"),
            }
        }
    }
    assert!(lines(&d(), Version::V1).unwrap().is_empty());
}

#[test]
fn memory_and_swap_together() {
    let limits = Limits {
        memory_max: Some(8192),
        memory_swap_max: Some(4096),
        ..Limits::default()
    };
    let v1 = [
        "memory.limit_in_bytes=8192",
        "memory.memsw.limit_in_bytes=12288",
    ];
    assert_eq!(lines(&limits, Version::V1).unwrap(), v1);
    let v2 = ["memory.max=8192", "memory.swap.max=4096"];
    assert_eq!(lines(&limits, Version::V2).unwrap(), v2);
    let alone = Limits {
        memory_swap_max: Some(4096),
        ..Limits::default()
    };
    assert!(lines(&alone, Version::V1).is_err());
    assert_eq!(
        lines(&alone, Version::V2).unwrap(),
        ["memory.swap.max=4096"]
    );
}

#[test]
fn throttling_is_one_line_in_v2() {
    let device = IoMax {
        major: 8,
        minor: 16,
        read_bps: Some(10),
        write_iops: Some(0),
        ..IoMax::default()
    };
    let limits = Limits {
        io_max: vec![device],
        ..Limits::default()
    };
    assert_eq!(
        lines(&limits, Version::V2).unwrap(),
        ["io.max=8:16 rbps=10 wiops=max"]
    );
    assert_eq!(
        lines(&limits, Version::V1).unwrap(),
        [
            "blkio.throttle.read_bps_device=8:16 10",
            "blkio.throttle.write_iops_device=8:16 0"
        ]
    );
}

#[test]
fn huge_pages_are_limited_when_touched_and_when_reserved() {
    let limits = Limits {
        hugetlb: [("2MB".into(), 4 << 20)].into(),
        ..Limits::default()
    };
    let v2 = ["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"];
    assert_eq!(lines(&limits, Version::V2).unwrap(), v2);
    for size in ["", "MB", "2", "../2MB", "2mb", "2.MB"] {
        let limits = Limits {
            hugetlb: [(size.into(), 1)].into(),
            ..Limits::default()
        };
        assert!(lines(&limits, Version::V2).is_err(), "{size}");
    }
}

#[test]
fn hostile_settings_are_refused() {
    for file in [
        "",
        "memory",
        "cgroup.procs",
        "cgroup.kill",
        "a/b.c",
        "memory.max/../x",
        "nonesuch.max",
        "memory..max",
        "memory.ma\0x",
    ] {
        let limits = Limits {
            unified: [(file.into(), "1".into())].into(),
            ..Limits::default()
        };
        assert!(lines(&limits, Version::V2).is_err(), "{file:?}");
    }
    let d = Limits::default;
    for limits in [
        Limits {
            io_weight: Some(9),
            ..d()
        },
        Limits {
            io_weight: Some(1001),
            ..d()
        },
        Limits {
            cpu_weight: Some(10_001),
            ..d()
        },
        Limits {
            cpu_weight: Some(1),
            cpu_shares: Some(2),
            ..d()
        },
        Limits {
            cpu_quota_us: Some(0),
            ..d()
        },
        Limits {
            cpu_quota_us: Some(1 << 63),
            ..d()
        },
        Limits {
            cpuset_cpus: Some(" ".into()),
            ..d()
        },
        Limits {
            rdma: [("a b".into(), RdmaMax::default())].into(),
            ..d()
        },
        Limits {
            net_priorities: [("a b".into(), 1)].into(),
            ..d()
        },
        Limits {
            devices: Some(vec![DeviceRule::allow_char(
                1 << 12,
                None,
                DeviceAccess::ALL,
            )]),
            ..d()
        },
        Limits {
            devices: Some(vec![DeviceRule::allow_char(
                1,
                Some(1 << 20),
                DeviceAccess::ALL,
            )]),
            ..d()
        },
    ] {
        assert!(lines(&limits, Version::V1).is_err(), "{limits:?}");
    }
}

#[test]
fn a_specification_is_read() {
    let limits = oci(
        r#"{
            "memory": {"limit": 67108864, "swap": 100663296, "reservation": 1048576, "swappiness": 10},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": ""},
            "pids": {"limit": 100},
            "blockIO": {
                "weight": 100,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 300}]
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9223372}],
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": -1, "access": "r"}],
            "unified": {"memory.high": "1"}
        }"#,
    )
    .unwrap();
    assert_eq!(
        (limits.memory_max, limits.memory_swap_max),
        (Some(64 << 20), Some(32 << 20))
    );
    assert_eq!(
        (limits.memory_low, limits.memory_swappiness),
        (Some(1 << 20), Some(10))
    );
    assert_eq!(
        (limits.cpu_shares, limits.cpu_quota_us),
        (Some(512), Some(50_000))
    );
    assert_eq!(
        (limits.cpuset_cpus.as_deref(), limits.cpuset_mems),
        (Some("0-1"), None)
    );
    assert_eq!(limits.pids_max, Some(100));
    let max = IoMax {
        major: 8,
        minor: 0,
        read_bps: Some(600),
        write_iops: Some(300),
        ..IoMax::default()
    };
    assert_eq!(limits.io_max, [max]);
    assert_eq!(limits.hugetlb["2MB"], 9_223_372);
    let rules = limits.devices.unwrap();
    let shown: Vec<_> = rules.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["a *:* rwm", "c 1:* r"]);
    assert!(!rules[0].allow && rules[1].allow);
    assert_eq!(limits.unified["memory.high"], "1");
}

#[test]
fn unset_and_unlimited_in_a_specification() {
    let limits = oci(
        r#"{"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0}}"#,
    )
    .unwrap();
    assert!(limits.is_empty(), "{limits:?}");
    let limits =
        oci(r#"{"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}}"#).unwrap();
    assert_eq!(
        (limits.memory_max, limits.memory_swap_max),
        (Some(UNLIMITED), Some(UNLIMITED))
    );
    assert_eq!(
        (limits.cpu_quota_us, limits.pids_max),
        (Some(UNLIMITED), Some(UNLIMITED))
    );
    assert_eq!(
        oci(r#"{"pids": {"limit": 0}}"#).unwrap().pids_max,
        Some(UNLIMITED)
    );
    assert_eq!(
        oci(r#"{"memory": {"limit": 5000, "swap": -1}}"#)
            .unwrap()
            .memory_swap_max,
        Some(UNLIMITED)
    );
    assert_eq!(
        oci(r#"{"memory": {"limit": 5000, "swap": 5000}}"#)
            .unwrap()
            .memory_swap_max,
        Some(0)
    );
}

#[test]
fn nonsense_in_a_specification_is_refused() {
    for json in [
        r#"{"memory": {"limit": -2}}"#,
        r#"{"memory": {"swap": 5000}}"#,
        r#"{"memory": {"limit": 5000, "swap": 4999}}"#,
        r#"{"memory": {"limit": -1, "swap": 4999}}"#,
        r#"{"cpu": {"idle": 2}}"#,
        r#"{"devices": [{"allow": true, "access": "rx"}]}"#,
        r#"{"devices": [{"allow": true, "type": "p", "access": "r"}]}"#,
        r#"{"devices": [{"allow": true, "type": "c", "major": -2, "access": "r"}]}"#,
        r#"{"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 600}]}}"#,
    ] {
        assert!(matches!(oci(json), Err(Error::Invalid { .. })), "{json}");
    }
}

#[test]
fn limits_survive_json() {
    let limits = Limits {
        memory_max: Some(1),
        devices: Some(DeviceRule::container_defaults()),
        io_max: vec![IoMax::default()],
        ..Limits::default()
    };
    let text = serde_json::to_string(&limits).unwrap();
    assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    assert!(serde_json::from_str::<Limits>(r#"{"memory_maximum": 1}"#).is_err());
}

proptest! {
    /// Whatever is in a specification, no write goes to a file outside the cgroup.
    #[test]
    fn files_stay_inside(key in "[a-z./\\x00]{0,20}", value in any::<u64>(), size in "[0-9KMGB./]{0,6}") {
        let limits = Limits {
            memory_max: Some(value),
            unified: [(key, "1".to_owned())].into(),
            hugetlb: [(size, value)].into(),
            ..Limits::default()
        };
        for version in [Version::V1, Version::V2] {
            let Ok(settings) = settings(&limits, &|_: Controller| Some(version)) else { continue };
            for setting in settings {
                if let Change::Write(files) = setting.change {
                    for (file, _) in files {
                        prop_assert!(!file.contains('/') && !file.contains("..") && !file.contains('\0'));
                    }
                }
            }
        }
    }
}
