use super::*;
use proptest::prelude::*;

const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\n+nis::::::\nbroken\n\
    app:x:1000:1001:App:/home/app:/bin/sh\nbig:x:99999999999:0::/:\n7:x:70:71::/seven:\nlost:x:50:51::relative:\n";
const GROUP_TEXT: &str =
    "root:x:0:\nstaff:x:50:app,other\napp:x:1001:app\nwheel:x:10:root, app\nbad:x:x:app\n";

fn look(text: &str) -> Result<ResolvedUser, UserError> {
    resolve_in(
        PASSWD_TEXT,
        || Ok(GROUP_TEXT.to_owned()),
        &text.parse().unwrap(),
    )
}

#[test]
fn lookups() {
    for (text, uid, gid, groups, home) in [
        ("", 0, 0, &[10][..], "/root"),
        ("root", 0, 0, &[10], "/root"),
        ("0", 0, 0, &[10], "/root"),
        ("app", 1000, 1001, &[50, 10], "/home/app"),
        ("1000", 1000, 1001, &[50, 10], "/home/app"),
        ("app:staff", 1000, 50, &[], "/home/app"),
        ("app:77", 1000, 77, &[], "/home/app"),
        (":staff", 0, 50, &[], "/root"),
        ("app:", 1000, 1001, &[50, 10], "/home/app"),
        ("4242", 4242, 0, &[], "/"),
        ("4242:4343", 4242, 4343, &[], "/"),
        // A number is an id, even where somebody has it for a name.
        ("7", 7, 0, &[], "/"),
        ("lost", 50, 51, &[], "/"),
        ("2147483647", 2147483647, 0, &[], "/"),
    ] {
        let want = ResolvedUser {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        };
        assert_eq!(look(text).unwrap(), want, "{text:?}");
    }
}

#[test]
fn unknown_names() {
    for text in ["nobody", "broken", "big", "+nis", "nis", "x"] {
        match text.parse::<UserSpec>() {
            Ok(_) => assert!(
                matches!(look(text), Err(UserError::NoUser { .. })),
                "{text}"
            ),
            Err(_) => assert_eq!(text, "+nis"),
        }
    }
    assert!(matches!(
        look("app:nogroup"),
        Err(UserError::NoGroup { .. })
    ));
    assert!(matches!(look("app:bad"), Err(UserError::NoGroup { .. })));
}

#[test]
fn texts_that_name_nobody() {
    for text in [
        "+1",
        "-1",
        "1:+2",
        "a:b:c",
        "2147483648",
        "4294967295",
        "99999999999999999999",
        "1:2147483648",
        "a b",
        "a/b",
        "a\nb",
        "a\0",
    ] {
        assert!(text.parse::<UserSpec>().is_err(), "{text:?}");
    }
}

#[test]
fn hostile_databases() {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    let view = View::directory(root.path()).unwrap();
    let app: UserSpec = "app".parse().unwrap();
    assert!(
        matches!(resolve(&view, &app), Err(UserError::NoUser { .. })),
        "a missing file is an empty one"
    );

    std::fs::write(etc.join("real"), PASSWD_TEXT).unwrap();
    std::os::unix::fs::symlink("real", etc.join("passwd")).unwrap();
    assert!(
        matches!(resolve(&view, &app), Err(UserError::File { .. })),
        "a link"
    );

    std::fs::remove_file(etc.join("passwd")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, etc.join("passwd"), rustix::fs::Mode::RWXU).unwrap();
    assert!(
        matches!(resolve(&view, &app), Err(UserError::File { .. })),
        "a FIFO"
    );

    std::fs::remove_file(etc.join("passwd")).unwrap();
    std::fs::File::create(etc.join("passwd"))
        .unwrap()
        .set_len(9 << 20)
        .unwrap();
    assert!(
        matches!(resolve(&view, &app), Err(UserError::File { .. })),
        "an endless file"
    );

    // /etc itself may be a link: it is resolved inside the root.
    std::fs::remove_file(etc.join("passwd")).unwrap();
    std::fs::rename(etc.join("real"), etc.join("passwd")).unwrap();
    std::fs::rename(&etc, root.path().join("config")).unwrap();
    std::os::unix::fs::symlink("/../../config", &etc).unwrap();
    assert_eq!(resolve(&view, &app).unwrap().uid, 1000);
}

#[test]
fn layers_hide_what_is_below() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, uid) in dirs.iter().zip([5, 6]) {
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(
            dir.path().join("etc/passwd"),
            format!("app:x:{uid}:0::/:\n"),
        )
        .unwrap();
    }
    let view = View::stack(dirs.iter().map(tempfile::TempDir::path)).unwrap();
    let app: UserSpec = "app".parse().unwrap();
    assert_eq!(resolve(&view, &app).unwrap().uid, 5);
    std::fs::remove_file(dirs[0].path().join("etc/passwd")).unwrap();
    assert_eq!(resolve(&view, &app).unwrap().uid, 6);
}

proptest! {
    #[test]
    fn any_text_is_an_answer(spec in "[0-9a-z:+\\-]{0,12}", passwd in "([a-z+#]{0,3}:x?:[0-9]{0,11}:[0-9]{0,11}::[/a-z]{0,4}:?\n?){0,5}", group in ".{0,60}") {
        if let Ok(spec) = spec.parse::<UserSpec>() {
            prop_assert_eq!(&spec.to_string().parse::<UserSpec>().unwrap(), &spec);
            if let Ok(user) = resolve_in(&passwd, || Ok(group), &spec) {
                prop_assert!(user.uid <= ID_LIMIT && user.gid <= ID_LIMIT && user.home.starts_with('/'));
                if let Some(Id::Number(uid)) = spec.user {
                    prop_assert_eq!(user.uid, uid);
                }
                if let Some(Id::Number(gid)) = spec.group {
                    prop_assert_eq!(user.gid, gid);
                }
            }
        }
    }
}
