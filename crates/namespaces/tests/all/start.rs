use crate::support::*;
use orlop_init::Op;
use orlop_namespaces::{Kind, Resources};

#[test]
fn plain() {
    let (code, said) = output(vec![clone(&[]), exec(&["/bin/echo", "hello"])]).unwrap();
    assert_eq!((code, said.as_str()), (0, "hello\n"));
}

#[test]
fn exit_codes_come_back() {
    let started = LAUNCHER
        .start(
            &plan(vec![clone(&[]), exec(&["/bin/sh", "-c", "exit 42"])]),
            Resources::default(),
        )
        .unwrap();
    let exit = started.process.wait().unwrap();
    assert_eq!(exit.status, orlop_namespaces::ExitStatus::Code(42));
    assert_eq!(started.process.wait().unwrap(), exit);
}

#[test]
fn a_root_of_its_own() {
    let mut ops = vec![clone(&INSIDE)];
    ops.extend(host_root());
    ops.push(fresh("proc", "/proc", &[]));
    ops.push(fresh("tmpfs", "/mnt", &["mode=0700", "size=64k"]));
    ops.push(Op::Pivot);
    ops.push(Op::Hostname {
        name: text("inside"),
    });
    ops.push(exec(&[
        "/bin/sh",
        "-c",
        "echo $$; hostname; ls /proc | grep -c '^[0-9]'; stat -fc %T /mnt; ls -d /mnt/*",
    ]));
    let (_, said) = output(ops).unwrap();
    assert!(
        said.starts_with("1\ninside\n3\ntmpfs\n") || said.starts_with("1\ninside\n4\ntmpfs\n"),
        "{said}"
    );
}

#[test]
fn kinds() {
    let (_, said) = output(vec![
        clone(&[Kind::Uts]),
        Op::Hostname { name: text("x") },
        exec(&["/bin/hostname"]),
    ])
    .unwrap();
    assert_eq!(said, "x\n");
}
