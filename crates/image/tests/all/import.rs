//! Root file systems in.

use std::io::Write;

use orlop_image::{
    Compression, Config, ImportOptions, compress, digest, import, platform, reference,
};

use crate::support::{assert_empty, chain, scratch, tar_of};

#[test]
fn a_root_file_system_becomes_an_image() {
    let rootfs = tar_of(&[("bin/sh", b"#!"), ("etc/os-release", b"ID=x")]);
    for input in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut packed = compress(Vec::new(), input).unwrap();
        packed.write_all(&rootfs).unwrap();
        let packed = packed.finish().unwrap();
        let s = scratch();
        let mut options = ImportOptions::default();
        options.name = Some(reference::parse("root:fs").unwrap());
        options.created = 1_700_000_000;
        let mut config = Config::default();
        config.set_cmd(Some(vec!["/bin/sh".to_owned()]));
        options.config = config;
        let descriptor = import(&packed[..], &s.store, options).unwrap();
        let image = s
            .store
            .image(descriptor.digest(), &platform::host())
            .unwrap();
        assert_eq!(image.layers().len(), 1);
        assert_eq!(image.layers()[0].diff_id, digest::of(&rootfs));
        assert_eq!(
            image.config().created().as_deref(),
            Some("2023-11-14T22:13:20Z")
        );
        assert_eq!(
            image
                .config()
                .config()
                .as_ref()
                .unwrap()
                .cmd()
                .as_ref()
                .unwrap(),
            &["/bin/sh"]
        );
        let expected = if input == Compression::None {
            Compression::Gzip
        } else {
            input
        };
        assert_eq!(image.layers()[0].compression, expected);
        if input != Compression::None {
            assert_eq!(
                image.layers()[0].descriptor.digest(),
                &digest::of(&packed),
                "kept as it is"
            );
        }
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut s.store.layer(&image.layers()[0]).unwrap(), &mut plain)
            .unwrap();
        assert_eq!(plain, rootfs);
        assert_eq!(s.store.tags().unwrap().len(), 1);
    }
}

#[test]
fn what_is_no_root_file_system() {
    let rootfs = tar_of(&[("bin/sh", &[7; 100_000])]);
    let mut gzip = compress(Vec::new(), Compression::Gzip).unwrap();
    gzip.write_all(&rootfs).unwrap();
    let gzip = gzip.finish().unwrap();
    let trailing = [&rootfs[..], &[1; 512]].concat();
    for (bytes, words) in [
        (&b""[..], "no entry"),
        (b"hello", "reading"),
        (&rootfs[..50_000], "truncated"),
        (&rootfs[..700], "truncated"),
        (&gzip[..gzip.len() - 4], "reading"),
        (&gzip[..gzip.len() / 2], "reading"),
        (&trailing, "behind the end"),
        (b"BZh91AY&SY......", "bzip2"),
    ] {
        let s = scratch();
        let error = import(bytes, &s.store, ImportOptions::default()).expect_err(words);
        assert!(
            chain(&error).contains(words),
            "{:?} lacks {words:?}",
            chain(&error)
        );
        drop(error);
        s.store.gc().unwrap();
        assert_empty(&s.store);
    }
}
