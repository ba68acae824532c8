//! Limits, each by what it does to a process that wants more.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use orlop_cgroups::{Controller, ErrorKind, IoMax, Limits, Mode, UNLIMITED};

use super::support::{Scene, Waiting, chain, eventually, skip};

#[test]
fn a_memory_hog_is_killed_and_counted() {
    let Some(scene) = Scene::with("a_memory_hog_is_killed_and_counted", &[Controller::Memory])
    else {
        return;
    };
    let limits = Limits {
        memory_max: Some(16 << 20),
        memory_swap_max: Some(0),
        ..Limits::default()
    };
    let cgroup = scene.create("hog", &limits);
    let mut plain = Waiting::inside("kill -9 $$", &cgroup);
    plain.go();
    assert_eq!(plain.wait().signal(), Some(9));
    assert_eq!(
        cgroup.oom_kills().unwrap(),
        0,
        "a plain kill is none for want of memory"
    );

    // tail keeps all of an endless line.
    let mut hog = Waiting::inside("exec tail /dev/zero", &cgroup);
    hog.go();
    assert_eq!(hog.wait().signal(), Some(9));
    assert_eq!(cgroup.oom_kills().unwrap(), 1);
    let memory = cgroup.stats().unwrap().memory.unwrap();
    assert_eq!((memory.oom_kills, memory.limit), (1, Some(16 << 20)));
    // v1 counts hits of memory plus swap, which comes first here, only on some kernels.
    assert!(memory.limit_hits > 0 || scene.cgroups.mode() != Mode::V2);
    if let Some(peak) = memory.peak {
        assert!(peak > 8 << 20 && peak <= 16 << 20, "{peak}");
    }
    assert!(memory.working_set() <= memory.current);
}

#[test]
fn a_hog_in_a_cgroup_below_counts_too() {
    let Some(scene) = Scene::with("a_hog_in_a_cgroup_below_counts_too", &[Controller::Memory])
    else {
        return;
    };
    let limits = Limits {
        memory_max: Some(16 << 20),
        memory_swap_max: Some(0),
        ..Limits::default()
    };
    let cgroup = scene.create("outer", &limits);
    let inner = scene.create("outer/inner", &Limits::default());
    let mut hog = Waiting::inside("exec tail /dev/zero", &inner);
    hog.go();
    assert_eq!(hog.wait().signal(), Some(9));
    assert_eq!(cgroup.oom_kills().unwrap(), 1);
}

#[test]
fn forks_are_bounded() {
    let Some(scene) = Scene::with("forks_are_bounded", &[Controller::Pids]) else {
        return;
    };
    let limits = Limits {
        pids_max: Some(5),
        ..Limits::default()
    };
    let cgroup = scene.create("bomb", &limits);
    // The shell itself and four more.
    let mut bomb = Waiting::inside(
        "for i in 1 2 3 4 5 6 7 8; do sleep 60 & echo started; done",
        &cgroup,
    );
    bomb.go();
    eventually("a refused fork", || {
        cgroup.stats().unwrap().pids.unwrap().refused > 0
    });
    let pids = cgroup.stats().unwrap().pids.unwrap();
    assert!(pids.current <= 5, "{pids:?}");
    assert_eq!(pids.limit, Some(5));
    cgroup.kill().unwrap();
    let (out, err, _) = bomb.output();
    assert_eq!(out.lines().count(), 4, "{err}");
}

#[test]
fn a_quota_throttles() {
    let Some(scene) = Scene::with("a_quota_throttles", &[Controller::Cpu]) else {
        return;
    };
    let cgroup = scene.create("busy", &Limits::default().cpus(0.1));
    let mut busy = Waiting::inside("while :; do :; done", &cgroup);
    busy.go();
    eventually("throttling", || {
        cgroup.stats().unwrap().cpu.unwrap().throttled_periods >= 8
    });
    let cpu = cgroup.stats().unwrap().cpu.unwrap();
    assert!(
        cpu.periods >= cpu.throttled_periods && cpu.throttled_ns > 0,
        "{cpu:?}"
    );
    assert!(cpu.usage_ns > 0);
    // A tenth of a CPU, with much room for machines that count in ticks and lose some.
    let share = cpu.usage_ns as f64 / (cpu.periods.max(1) as f64 * 100e6);
    assert!(share < 0.7, "{cpu:?}");

    cgroup
        .set(&Limits {
            cpu_quota_us: Some(UNLIMITED),
            ..Limits::default()
        })
        .unwrap();
    let before = cgroup.stats().unwrap().cpu.unwrap().usage_ns;
    eventually("running freely", || {
        cgroup.stats().unwrap().cpu.unwrap().usage_ns > before + 150_000_000
    });
}

#[test]
fn limits_are_changed_in_either_direction() {
    let needed = [Controller::Memory, Controller::Cpu];
    let Some(scene) = Scene::with("limits_are_changed_in_either_direction", &needed) else {
        return;
    };
    let limits = |megabytes: u64, quota: u64, period: u64| Limits {
        memory_max: Some(megabytes << 20),
        memory_swap_max: Some(0),
        cpu_quota_us: Some(quota),
        cpu_period_us: Some(period),
        ..Limits::default()
    };
    let cgroup = scene.create("one", &limits(32, 50_000, 100_000));
    // v1 refuses memory above memory plus swap, and a quota out of proportion, in the meantime.
    for (megabytes, quota, period) in [
        (64, 500_000, 1_000_000),
        (16, 2_000, 10_000),
        (128, 900_000, 900_000),
    ] {
        cgroup.set(&limits(megabytes, quota, period)).unwrap();
        assert_eq!(
            cgroup.stats().unwrap().memory.unwrap().limit,
            Some(megabytes << 20)
        );
    }
    let free = Limits {
        memory_max: Some(UNLIMITED),
        memory_swap_max: Some(UNLIMITED),
        ..Limits::default()
    };
    cgroup.set(&free).unwrap();
    let memory = cgroup.stats().unwrap().memory.unwrap();
    assert_eq!((memory.limit, memory.swap_limit), (None, None));
}

#[test]
fn a_limit_below_use_is_refused_on_request() {
    let Some(scene) = Scene::with(
        "a_limit_below_use_is_refused_on_request",
        &[Controller::Memory],
    ) else {
        return;
    };
    let cgroup = scene.create("one", &Limits::default());
    let mut process = Waiting::inside(
        "head -c 8m /dev/zero | tail -c 8m | (sleep 60; cat) > /dev/null",
        &cgroup,
    );
    process.go();
    eventually("use", || {
        cgroup.stats().unwrap().memory.unwrap().current > 2 << 20
    });
    let limits = Limits {
        memory_max: Some(1 << 20),
        memory_check_before_update: true,
        ..Limits::default()
    };
    let error = cgroup.set(&limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("in use"), "{error}");
    assert_eq!(cgroup.stats().unwrap().memory.unwrap().limit, None);
    cgroup.kill().unwrap();
}

#[test]
fn cpus_are_pinned() {
    let Some(scene) = Scene::with("cpus_are_pinned", &[Controller::Cpuset]) else {
        return;
    };
    let limits = Limits {
        cpuset_cpus: Some("0".into()),
        cpuset_mems: Some("0".into()),
        ..Limits::default()
    };
    let cgroup = scene.create("one", &limits);
    let mut process = Waiting::inside("grep Cpus_allowed_list /proc/self/status", &cgroup);
    process.go();
    let (out, _, _) = process.output();
    assert_eq!(out.split_whitespace().last(), Some("0"), "{out}");

    let limits = Limits {
        cpuset_cpus: Some("4000".into()),
        ..Limits::default()
    };
    let path = scene.parent.join("two").unwrap();
    let error = scene.cgroups.create(&path, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        chain(&error).contains("cpuset.cpus to 4000"),
        "{}",
        chain(&error)
    );
    // Two v1 levels of our own: both have inherited, or this process could not enter.
    let deep = scene.create("a/b/c", &Limits::default());
    Waiting::inside("", &deep).wait();
}

#[test]
fn weights_reach_the_kernel() {
    let Some(scene) = Scene::with("weights_reach_the_kernel", &[Controller::Cpu]) else {
        return;
    };
    let file = match scene.cgroups.mode() {
        Mode::V2 => "cpu.weight",
        _ => "cpu.shares",
    };
    for (limits, v1, v2) in [
        (
            Limits {
                cpu_shares: Some(1024),
                ..Limits::default()
            },
            "1024",
            "100",
        ),
        (
            Limits {
                cpu_shares: Some(512),
                ..Limits::default()
            },
            "512",
            "59",
        ),
        (
            Limits {
                cpu_weight: Some(100),
                ..Limits::default()
            },
            "1024",
            "100",
        ),
    ] {
        let cgroup = scene.create("one", &limits);
        let read = cgroup
            .directories()
            .iter()
            .find_map(|dir| std::fs::read_to_string(dir.join(file)).ok())
            .unwrap();
        let wanted = if scene.cgroups.mode() == Mode::V2 {
            v2
        } else {
            v1
        };
        assert_eq!(read.trim(), wanted);
        cgroup.remove().unwrap();
    }
}

#[test]
fn impossible_limits_name_what_is_wrong() {
    let needed = [Controller::Memory, Controller::Pids];
    let Some(scene) = Scene::with("impossible_limits_name_what_is_wrong", &needed) else {
        return;
    };
    let path = scene.parent.join("one").unwrap();
    let default = Limits::default;
    let mut cases = vec![
        (
            Limits {
                memory_max: Some(12),
                ..default()
            },
            "memory_max cannot be 12",
        ),
        (
            Limits {
                pids_max: Some(0),
                ..default()
            },
            "pids_max cannot be 0",
        ),
        (
            Limits {
                cpu_weight: Some(0),
                ..default()
            },
            "cpu_weight cannot be 0",
        ),
        (
            Limits {
                unified: [("cgroup.kill".into(), "1".into())].into(),
                ..default()
            },
            "unified cannot be cgroup.kill",
        ),
        (
            Limits {
                unified: [("../memory.max".into(), "1".into())].into(),
                ..default()
            },
            "unified cannot be",
        ),
        (
            Limits {
                pids_max: Some(1 << 60),
                ..default()
            },
            "setting pids.max to 1152921504606846976",
        ),
    ];
    if scene.cgroups.mode() == Mode::V2 {
        let no = "memory_swappiness cannot be set here";
        cases.push((
            Limits {
                memory_swappiness: Some(60),
                ..default()
            },
            no,
        ));
        let unknown = [("memory.nonesuch".into(), "1".into())].into();
        cases.push((
            Limits {
                unified: unknown,
                ..default()
            },
            "memory.nonesuch cannot be set here",
        ));
    } else {
        let unified = [("memory.max".into(), "1".into())].into();
        cases.push((
            Limits {
                unified,
                ..default()
            },
            "memory.max cannot be set here",
        ));
        cases.push((
            Limits {
                memory_swappiness: Some(101),
                ..default()
            },
            "memory_swappiness cannot be 101",
        ));
    }
    for (limits, wanted) in cases {
        let error = scene.cgroups.create(&path, &limits).unwrap_err();
        assert!(chain(&error).contains(wanted), "{}", chain(&error));
        assert_eq!(
            scene.cgroups.open(&path).unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }
}

#[test]
fn unified_settings_are_written() {
    let Some(scene) = Scene::pure_v2("unified_settings_are_written", &[Controller::Memory]) else {
        return;
    };
    let unified = [
        ("memory.high", "8388608"),
        ("memory.oom.group", "1"),
        ("cgroup.max.depth", "3"),
    ];
    let unified = unified
        .map(|(file, value)| (file.to_owned(), value.to_owned()))
        .into();
    let cgroup = scene.create(
        "one",
        &Limits {
            unified,
            ..Limits::default()
        },
    );
    let dir = &cgroup.directories()[0];
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    assert_eq!(read("memory.high").trim(), "8388608");
    assert_eq!(read("memory.oom.group").trim(), "1");
    assert_eq!(read("cgroup.max.depth").trim(), "3");
}

#[test]
fn block_devices_are_throttled() {
    let Some(scene) = Scene::with("block_devices_are_throttled", &[Controller::Io]) else {
        return;
    };
    let Some((disk, major, minor)) = a_disk() else {
        skip::<()>(
            "block_devices_are_throttled",
            "there is no block device here",
        );
        return;
    };
    let limit = |rate| Limits {
        io_max: vec![IoMax {
            major,
            minor,
            read_bps: Some(rate),
            write_iops: Some(100),
            ..IoMax::default()
        }],
        ..Limits::default()
    };
    let cgroup = scene.create("one", &limit(1 << 20));
    let read = |name: &str| {
        let found = cgroup
            .directories()
            .into_iter()
            .map(|dir| dir.join(name))
            .find(|file| file.exists());
        std::fs::read_to_string(found.unwrap()).unwrap()
    };
    if scene.cgroups.mode() == Mode::V2 {
        let text = read("io.max");
        assert!(
            text.contains("rbps=1048576") && text.contains("wiops=100"),
            "{text}"
        );
    } else {
        assert_eq!(
            read("blkio.throttle.read_bps_device").trim(),
            format!("{major}:{minor} 1048576")
        );
        assert_eq!(
            read("blkio.throttle.write_iops_device").trim(),
            format!("{major}:{minor} 100")
        );
    }
    // Past the page cache, a megabyte at a megabyte a second, in pieces. Where the disk itself may not be
    // opened, by a file that lies on it.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let source = match (std::fs::File::open(&disk), &folder) {
        (Err(_), Ok(folder)) => {
            let file = folder.path().join("file");
            std::fs::write(&file, vec![1; 1 << 20]).unwrap();
            std::fs::File::open(&file).unwrap().sync_all().unwrap();
            let device = std::fs::metadata(&file).unwrap().dev();
            if (rustix::fs::major(device), rustix::fs::minor(device)) != (major, minor) {
                skip::<()>(
                    "block_devices_are_throttled",
                    "no disk can be read from here",
                );
                return;
            }
            file.display().to_string()
        }
        _ => disk,
    };
    let script = format!("dd if={source} of=/dev/null bs=64k count=16 iflag=direct");
    let took = || {
        let started = Instant::now();
        let mut process = Waiting::inside(&script, &cgroup);
        process.go();
        let (_, err, status) = process.output();
        assert!(status.success(), "{err}");
        started.elapsed()
    };
    assert!(took() > Duration::from_millis(600));
    let io = cgroup.stats().unwrap().io;
    let used = io
        .iter()
        .find(|io| (io.major, io.minor) == (major, minor))
        .unwrap();
    assert!(used.read_bytes >= 1 << 20 && used.reads >= 1, "{used:?}");
    cgroup.set(&limit(UNLIMITED)).unwrap();
    let wrong = Limits {
        io_max: vec![IoMax {
            major: 4000,
            minor: 1,
            read_bps: Some(1),
            ..IoMax::default()
        }],
        ..Limits::default()
    };
    let error = cgroup.set(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", chain(&error));
}

/// The first whole disk that is no pseudo-device, and its number.
fn a_disk() -> Option<(String, u32, u32)> {
    for entry in std::fs::read_dir("/sys/block").ok()?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let node = format!("/dev/{name}");
        if ["ram", "loop", "zram"]
            .iter()
            .any(|kind| name.starts_with(kind))
            || !std::path::Path::new(&node).exists()
        {
            continue;
        }
        let number = std::fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        return Some((node, major.parse().ok()?, minor.parse().ok()?));
    }
    None
}
