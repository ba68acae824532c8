//! Layers that become visible together, and commits that are cut short.

use std::collections::HashSet;

use orlop_unionfs::{ApplyLimits, Error};

use crate::need_root;
use crate::support::*;
use crate::tree::{assert_same, dump};

#[test]
fn an_image_commits_in_one_go() {
    need_root!("an_image_commits_in_one_go");
    let s = store();
    let layers = [
        Tar::new()
            .entry("./", b'5', |h| h.set_mode(0o711), b"")
            .dir("a/")
            .file("a/one", "1"),
        Tar::new().link("a/linked", "a/one").file("b", "2"),
        Tar::new().file(".wh.b", "").link("again", "a/linked"),
    ];
    // Unpacked side by side, the last first.
    let staged: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = layers
            .iter()
            .map(|tar| {
                let snapshots = s.snapshots.clone();
                scope.spawn(move || {
                    let mut staging = snapshots.begin().unwrap();
                    staging
                        .apply(&tar.bytes()[..], &ApplyLimits::default())
                        .unwrap();
                    staging
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let ids: Vec<_> = (1..=3).map(id).collect();
    let mut parent = None;
    let mut batch = Vec::new();
    for (staging, chain_id) in staged.into_iter().zip(&ids) {
        batch.push((staging, parent, chain_id.as_str()));
        parent = Some(chain_id.as_str());
    }
    s.snapshots.commit_all(batch).unwrap();
    let root = detached_view(&s.snapshots.view("v", &id(3)).unwrap());
    let tree = dump(&root);
    assert_eq!(
        tree.keys().map(String::as_str).collect::<Vec<_>>(),
        ["", "a", "a/linked", "a/one", "again"]
    );
    assert!(tree[""].starts_with("40711"));
    // A file with several names is copied up under those that the layer says, as overlayfs does without an index.
    assert!(
        tree["again"].contains("same as a/linked (2 names)"),
        "{}",
        tree["again"]
    );
    assert_eq!(
        (s.entries("staging"), s.entries("t"), s.entries("trash")),
        (0, 3, 0)
    );
}

#[test]
fn a_batch_that_fails_leaves_nothing_of_the_rest() {
    need_root!("a_batch_that_fails_leaves_nothing_of_the_rest");
    let s = store();
    let stage = |tar: &Tar| {
        let mut staging = s.snapshots.begin().unwrap();
        staging
            .apply(&tar.bytes()[..], &ApplyLimits::default())
            .unwrap();
        staging
    };
    let good = stage(&Tar::new().file("a", "1"));
    let bad = stage(&Tar::new().link("b", "nowhere"));
    let (one, two) = (id(1), id(2));
    let error = s
        .snapshots
        .commit_all(vec![(good, None, &one), (bad, Some(&one), &two)])
        .unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error:?}");
    assert!(!s.snapshots.has(&two));
    let layers = usize::from(s.snapshots.has(&one));
    assert_eq!(
        (s.entries("staging"), s.entries("t"), s.entries("trash")),
        (0, layers, 0)
    );
    // Nothing unpacked, or only a part: nothing to commit.
    let error = s
        .snapshots
        .begin()
        .unwrap()
        .commit(None, &id(3))
        .unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    let mut half = s.snapshots.begin().unwrap();
    half.apply(
        &Tar::new().file("a", "1").raw()[..600],
        &ApplyLimits::default(),
    )
    .unwrap_err();
    assert!(half.commit(None, &id(3)).is_err());
    assert_eq!(s.entries("staging"), 0);
}

#[test]
fn the_same_layer_again_is_success() {
    need_root!("the_same_layer_again_is_success");
    let s = store();
    let tar = Tar::new().file("a", "1");
    s.layer(None, &id(1), &tar);
    s.layer(None, &id(1), &tar);
    // Staged before the other was committed, in one batch with a layer on top.
    let mut late = s.snapshots.begin().unwrap();
    late.apply(&tar.bytes()[..], &ApplyLimits::default())
        .unwrap();
    let mut top = s.snapshots.begin().unwrap();
    top.apply(
        &Tar::new().file("b", "2").bytes()[..],
        &ApplyLimits::default(),
    )
    .unwrap();
    let (one, two) = (id(1), id(2));
    s.snapshots
        .commit_all(vec![(late, None, &one), (top, Some(&one), &two)])
        .unwrap();
    assert_eq!(
        (s.entries("t"), s.entries("records"), s.entries("staging")),
        (2, 2, 0)
    );
}

#[test]
fn a_snapshots_commit_cut_short_loses_nothing() {
    need_root!("a_snapshots_commit_cut_short_loses_nothing");
    let s = store();
    s.layer(None, &id(1), &Tar::new().file("a", "1"));
    let root = detached(&s.snapshots.prepare("c", Some(&id(1))).unwrap());
    write(&root, "precious", "data");
    let want = dump(&root);
    drop(root);
    // As a kill leaves it after the upper directory has moved and before the layer has its name.
    let record = format!(
        r#"{{"chain_id":"{}","parent":"{}","diff_id":null,"trees":["77","0"],"root":"77","opaque":false,"bytes":0,"entries":0}}"#,
        id(2),
        id(1)
    );
    std::fs::write(s.path("active/c/record"), record).unwrap();
    std::fs::rename(s.path("active/c/upper"), s.path("t/77")).unwrap();
    let report = s.snapshots.gc(&HashSet::new()).unwrap();
    assert_eq!((report.trees, report.layers.len()), (0, 0));
    let root = detached(&s.snapshots.active("c").unwrap());
    assert_same(&want, &dump(&root));
    drop(root);
    s.snapshots.commit("c", &id(2)).unwrap();
    assert_same(
        &want,
        &dump(detached_view(&s.snapshots.view("v", &id(2)).unwrap())),
    );
    assert_eq!(
        (s.entries("t"), s.entries("staging"), s.entries("trash")),
        (2, 0, 0)
    );
}
