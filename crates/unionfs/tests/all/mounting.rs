//! Unpack, mount, look.

use crate::need_root;
use crate::support::*;

#[test]
fn layers_are_seen_through_the_mount() {
    need_root!("layers_are_seen_through_the_mount");
    let s = store();
    s.layer(
        None,
        &id(1),
        &Tar::new()
            .dir("etc/")
            .file("etc/a", "one")
            .file("etc/b", "two")
            .dir("d/")
            .file("d/x", "x"),
    );
    s.layer(
        Some(&id(1)),
        &id(2),
        &Tar::new()
            .file("etc/.wh.a", "")
            .file("etc/c", "three")
            .file("d/.wh..wh..opq", "")
            .file("d/y", "y"),
    );
    let active = s.snapshots.prepare("c1", Some(&id(2))).unwrap();
    let root = detached(&active);
    assert_eq!(names(&root, "etc"), ["b", "c"]);
    assert_eq!(names(&root, "d"), ["y"]);
    write(&root, "etc/new", "new");
    assert_eq!(read(&root, "etc/new").as_deref(), Some("new"));
    drop(root);
    s.snapshots.remove("c1").unwrap();
    assert!(s.snapshots.has(&id(1)));
    assert!(
        names(
            rustix::fs::open(
                s.path("active"),
                rustix::fs::OFlags::RDONLY,
                rustix::fs::Mode::empty()
            )
            .unwrap(),
            "."
        )
        .is_empty()
    );
}
