//! Detection, delegation and reading over trees of plain files: no kernel and no privilege needed.

use std::fs;
use std::path::Path;

use orlop_cgroups::{CgroupPath, Cgroups, Controller, Error, ErrorKind, Limits, Mode};

const HYBRID: &str = "\
23 1 8:1 / / rw - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

const PURE: &str = "\
23 1 8:1 / / rw - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,nsdelegate - cgroup2 cgroup2 rw
";

fn put(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn hybrid(root: &Path) -> Cgroups {
    for name in ["cpu,cpuacct", "memory", "systemd"] {
        fs::create_dir_all(root.join("sys/fs/cgroup").join(name)).unwrap();
    }
    put(
        root,
        "sys/fs/cgroup/unified/cgroup.controllers",
        "hugetlb misc\n",
    );
    Cgroups::detect_in(HYBRID, root).unwrap()
}

fn pure(root: &Path) -> Cgroups {
    put(
        root,
        "sys/fs/cgroup/cgroup.controllers",
        "cpuset cpu io memory pids unknown\n",
    );
    Cgroups::detect_in(PURE, root).unwrap()
}

#[test]
fn layouts_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = hybrid(root.path());
    assert_eq!(cgroups.mode(), Mode::Hybrid);
    assert_eq!(
        cgroups.controllers().to_string(),
        "cpu cpuacct memory hugetlb misc"
    );
    let few = cgroups.restricted_to([Controller::Memory]);
    assert_eq!(few.controllers().to_string(), "memory hugetlb misc");

    let v1 = HYBRID.replace(
        "35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        "",
    );
    assert_eq!(
        Cgroups::detect_in(&v1, root.path()).unwrap().mode(),
        Mode::V1
    );

    let root = tempfile::tempdir().unwrap();
    let cgroups = pure(root.path());
    assert_eq!(cgroups.mode(), Mode::V2);
    assert_eq!(
        cgroups.controllers().to_string(),
        "cpu cpuset memory io pids"
    );

    let error =
        Cgroups::detect_in("23 1 8:1 / / rw - ext4 /dev/root rw\n", root.path()).unwrap_err();
    assert!(matches!(error, Error::NotMounted));
    // A table that promises more than there is.
    let missing = Cgroups::detect_in(HYBRID, root.path()).unwrap_err();
    assert!(missing.to_string().contains("cpu,cpuacct"), "{missing}");
}

#[test]
fn hybrid_statistics_are_put_together() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = hybrid(root.path());
    let at = |file: &str, text: &str| {
        let (hierarchy, name) = file.split_once('/').unwrap();
        put(
            root.path(),
            &format!("sys/fs/cgroup/{hierarchy}/a/b/{name}"),
            text,
        );
    };
    at("cpu,cpuacct/cpuacct.usage", "5000\n");
    at("cpu,cpuacct/cpuacct.usage_user", "3000\n");
    at("cpu,cpuacct/cpuacct.usage_sys", "2000\n");
    at("cpu,cpuacct/cpuacct.usage_percpu", "4000 1000 \n");
    at(
        "cpu,cpuacct/cpu.stat",
        "nr_periods 7\nnr_throttled 2\nthrottled_time 99\n",
    );
    at("memory/memory.usage_in_bytes", "4096\n");
    at("memory/memory.limit_in_bytes", "9223372036854771712\n");
    at("memory/memory.memsw.usage_in_bytes", "5096\n");
    at(
        "memory/memory.memsw.limit_in_bytes",
        "9223372036854771712\n",
    );
    at("memory/memory.failcnt", "3\n");
    at(
        "memory/memory.stat",
        "cache 1\ninactive_file 5\ntotal_inactive_file 96\n",
    );
    at(
        "memory/memory.oom_control",
        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    );
    at(
        "memory/inner/memory.oom_control",
        "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    );
    at("unified/hugetlb.2MB.current", "2097152\n");
    at("unified/hugetlb.2MB.max", "max\n");
    at("unified/hugetlb.2MB.events", "max 4\n");
    at("unified/hugetlb.2MB.rsvd.current", "0\n");
    at("unified/cpu.stat", "usage_usec 1\n");
    at(
        "unified/memory.pressure",
        "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n",
    );

    let cgroup = cgroups.open(&CgroupPath::new("a/b").unwrap()).unwrap();
    let stats = cgroup.stats().unwrap();
    let cpu = stats.cpu.unwrap();
    assert_eq!(
        (cpu.usage_ns, cpu.user_ns, cpu.system_ns),
        (5000, 3000, 2000)
    );
    assert_eq!(cpu.per_cpu_ns, [4000, 1000]);
    assert_eq!(
        (cpu.periods, cpu.throttled_periods, cpu.throttled_ns),
        (7, 2, 99)
    );
    let memory = stats.memory.unwrap();
    assert_eq!(
        (memory.current, memory.limit, memory.working_set()),
        (4096, None, 4000)
    );
    assert_eq!(
        (memory.swap_current, memory.oom_kills, memory.limit_hits),
        (Some(1000), 3, 3)
    );
    assert!(stats.pids.is_none());
    let huge = &stats.hugetlb["2MB"];
    assert_eq!(
        (huge.current, huge.limit, huge.limit_hits),
        (2 << 20, None, 4)
    );
    assert_eq!(stats.pressure.memory.unwrap().some.total_us, 5);
    assert!(stats.pressure.cpu.is_none());
    assert_eq!(cgroup.oom_kills().unwrap(), 3);
}

#[test]
fn pure_statistics_are_read() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = pure(root.path());
    let at = |file: &str, text: &str| put(root.path(), &format!("sys/fs/cgroup/a/{file}"), text);
    at(
        "cpu.stat",
        "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 2\nthrottled_usec 9\n",
    );
    at("memory.current", "4096\n");
    at("memory.peak", "8192\n");
    at("memory.max", "65536\n");
    at(
        "memory.events",
        "low 0\nhigh 0\nmax 6\noom 1\noom_kill 1\noom_group_kill 0\n",
    );
    at("memory.stat", "anon 1\ninactive_file 96\n");
    at("pids.current", "3\n");
    at("pids.max", "max\n");
    at(
        "io.stat",
        "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
    );
    at("cgroup.procs", "12\n7\n0\n");
    at("inner/cgroup.procs", "9\n");
    let cgroup = cgroups.open(&CgroupPath::new("a").unwrap()).unwrap();
    let stats = cgroup.stats().unwrap();
    assert_eq!(stats.cpu.as_ref().unwrap().usage_ns, 5000);
    assert_eq!(stats.cpu.unwrap().throttled_ns, 9000);
    let memory = stats.memory.unwrap();
    assert_eq!(
        (memory.peak, memory.limit, memory.limit_hits),
        (Some(8192), Some(65536), 6)
    );
    assert_eq!((memory.working_set(), memory.swap_limit), (4000, None));
    assert_eq!(stats.pids.as_ref().unwrap().current, 3);
    assert_eq!(stats.pids.unwrap().limit, None);
    assert_eq!(stats.io[0].writes, 4);
    assert_eq!(cgroup.oom_kills().unwrap(), 1);
    assert_eq!(cgroup.processes().unwrap(), [7, 9, 12]);

    // Nonsense is an error that says where, never a zero.
    at("memory.current", "many\n");
    let error = cgroup.stats().unwrap_err();
    assert!(
        error.to_string().contains("memory.current reads \"many"),
        "{error}"
    );
    at("memory.current", "1\n");
    at("cgroup.procs", "12\nx\n");
    assert!(
        cgroup
            .processes()
            .unwrap_err()
            .to_string()
            .contains("\"x\"")
    );
}

#[test]
fn a_controller_that_is_nowhere_is_named() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = hybrid(root.path());
    let limits = Limits {
        pids_max: Some(3),
        ..Limits::default()
    };
    let path = CgroupPath::new("a/b").unwrap();
    let error = cgroups.create(&path, &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pids_max needs the pids controller, which is not available in any mounted hierarchy"
    );
    assert!(!root.path().join("sys/fs/cgroup/memory/a").exists());
}

#[test]
fn delegation() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = pure(root.path());
    let at = |file: &str| put(root.path(), &format!("sys/fs/cgroup/{file}"), "");
    at("user.slice/app/cgroup.procs");
    at("user.slice/app/cgroup.subtree_control");
    let found = cgroups.delegated_in("0::/user.slice/app\n").unwrap();
    assert_eq!(found.unwrap().as_str(), "user.slice/app");
    at("cgroup.procs");
    at("cgroup.subtree_control");
    assert_eq!(cgroups.delegated_in("0::/\n").unwrap(), None);

    // No such file to write to: not this user's.
    at("user.slice/other/cgroup.procs");
    let error = cgroups.delegated_in("0::/user.slice/other\n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotDelegated);
    assert!(error.to_string().contains("user.slice/other"), "{error}");

    let root = tempfile::tempdir().unwrap();
    let v1 = "40 1 0:1 / /cg rw - cgroup cgroup rw,cpu\n";
    fs::create_dir(root.path().join("cg")).unwrap();
    let cgroups = Cgroups::detect_in(v1, root.path()).unwrap();
    assert!(matches!(
        cgroups.delegated_in("1:cpu:/\n"),
        Err(Error::NotMounted)
    ));
}

#[test]
fn children_are_collected_over_hierarchies() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = hybrid(root.path());
    for dir in ["memory/p/b", "memory/p/a", "unified/p/c", "systemd/p/a"] {
        fs::create_dir_all(root.path().join("sys/fs/cgroup").join(dir)).unwrap();
    }
    let parent = CgroupPath::new("p").unwrap();
    let children = cgroups.children(&parent).unwrap();
    let names: Vec<_> = children.iter().map(CgroupPath::name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(
        cgroups
            .children(&CgroupPath::new("q").unwrap())
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        cgroups
            .open(&CgroupPath::new("q").unwrap())
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
}
