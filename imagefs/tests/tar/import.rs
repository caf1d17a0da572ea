//! What ordinary archives say, and that all of it arrives.

use std::io::{Cursor, Read, Write};

use imagefs::scan::{MtimePolicy, OwnerPolicy};
use imagefs::tar::{Note, ReadOptions, TarError, read};
use imagefs::tree::{Node, Source};

use crate::bench::{Block, Tar, contents, keep, list, node};

#[test]
fn plain_members_arrive() {
    let listed = Tar::new()
        .dir(b"./")
        .dir(b"a/")
        .file(b"./a//b.txt", b"hello")
        .file(b"a/empty", b"")
        .symlink(b"link", b"../anywhere/at/all")
        .hard_link(b"a/second", b"./a/b.txt")
        .hard_link(b"also-link", b"link")
        .listed();
    assert_eq!(
        listed,
        "a 755 0:0 0.000000000 dir\n\
         a/b.txt 644 0:0 0.000000000 'hello'\n\
         a/empty 644 0:0 0.000000000 ''\n\
         a/second = a/b.txt\n\
         also-link 777 0:0 0.000000000 -> ../anywhere/at/all\n\
         link = also-link\n"
    );
}

#[test]
fn missing_parents_are_made() {
    let listed = Tar::new().file(b"x/y/z", b"1").listed();
    assert_eq!(
        listed,
        "x 755 0:0 315532800.000000000 dir\nx/y 755 0:0 315532800.000000000 dir\nx/y/z 644 0:0 0.000000000 '1'\n"
    );
    // A directory's own member may come after what is in it.
    let listed = Tar::new()
        .file(b"x/z", b"")
        .block(Block::new(b'5', b"x", 0).with(100, b"0000700\0"))
        .listed();
    assert!(listed.starts_with("x 700 "), "{listed}");
}

#[test]
fn root_member_describes_the_root() {
    let archive = Tar::new()
        .block(Block::new(b'5', b"./", 0).with(100, b"0000711\0"))
        .read()
        .expect("valid");
    assert_eq!(archive.tree.node(0).meta().perm, 0o711);
}

#[test]
fn old_archives_mark_directories_with_a_slash() {
    let old = |name: &[u8], size| Block::new(0, name, size).with(257, &[0; 8]);
    let listed = Tar::new()
        .block(old(b"d/", 0))
        .block(old(b"d/f", 2))
        .body(b"hi")
        .listed();
    assert_eq!(
        listed,
        "d 644 0:0 0.000000000 dir\nd/f 644 0:0 0.000000000 'hi'\n"
    );
}

#[test]
fn ustar_prefix_is_joined_and_gnu_bytes_there_are_not() {
    let listed = Tar::new()
        .block(Block::new(b'0', b"name", 0).with(345, b"some/dir"))
        .listed();
    assert!(listed.contains("some/dir/name "), "{listed}");
    let listed = Tar::new()
        .block(Block::gnu(b'0', b"name", 0).with(345, b"00000000000\0"))
        .listed();
    assert!(listed.starts_with("name "), "{listed}");
}

#[test]
fn pax_records_win_over_the_header() {
    let long = "d/".repeat(100) + "file";
    let listed = Tar::new()
        .pax(
            b'x',
            &[
                ("path", long.as_bytes()),
                ("size", b"3"),
                ("mtime", b"-1.25"),
                ("uid", b"3000000"),
                ("gid", b"4000000"),
                ("SCHILY.xattr.user.a", b"one\ntwo=\0"),
                ("SCHILY.xattr.user.b%3Dc%25", b""),
                ("comment", b"nothing"),
            ],
        )
        .block(Block::new(b'0', b"short", 0))
        .body(b"abc")
        .listed();
    let last = listed.lines().last().expect("one file");
    assert_eq!(
        last,
        format!("{long} 644 3000000:4000000 -2.750000000 'abc' user.a=one\\ntwo=\\x00 user.b=c%=")
    );
}

#[test]
fn pax_names_may_hold_newlines() {
    let listed = Tar::new()
        .pax(b'x', &[("path", b"a\nb 9 path=evil\n")])
        .file(b"x", b"1")
        .listed();
    assert!(listed.starts_with("a\\nb 9 path=evil\\n 644"), "{listed}");
}

#[test]
fn pax_link_target_wins() {
    let target = vec![b't'; 300];
    let listed = Tar::new()
        .pax(b'x', &[("linkpath", &target)])
        .symlink(b"l", b"short")
        .listed();
    assert!(
        listed.contains(&format!("-> {}", "t".repeat(300))),
        "{listed}"
    );
}

#[test]
fn global_records_apply_until_replaced() {
    let listed = Tar::new()
        .pax(
            b'g',
            &[
                ("mtime", b"11"),
                ("uid", b"7"),
                ("comment", b"0123456789abcdef0123456789abcdef01234567"),
            ],
        )
        .file(b"a", b"")
        .pax(b'x', &[("mtime", b"22")])
        .file(b"b", b"")
        .pax(b'g', &[("mtime", b"33")])
        .file(b"c", b"")
        .listed();
    assert_eq!(
        listed,
        "a 644 7:0 11.000000000 ''\nb 644 7:0 22.000000000 ''\nc 644 7:0 33.000000000 ''\n"
    );
}

#[test]
fn gnu_long_names_and_links_are_read() {
    let (name, target) = (vec![b'n'; 200], vec![b't'; 150]);
    let with_nul = |text: &[u8]| [text, b"\0"].concat();
    let listed = Tar::new()
        .block(Block::gnu(b'L', b"././@LongLink", 201))
        .body(&with_nul(&name))
        .block(Block::gnu(b'K', b"././@LongLink", 151))
        .body(&with_nul(&target))
        .block(Block::gnu(b'2', &name[..100], 0).link(&target[..100]))
        .listed();
    assert!(
        listed.starts_with(&"n".repeat(200))
            && listed.ends_with(&format!("-> {}\n", "t".repeat(150))),
        "{listed}"
    );
}

#[test]
fn base_256_fields_are_read() {
    let mut size = [0; 12];
    (size[0], size[11]) = (0x80, 5);
    let mut mtime = [0xff; 12];
    mtime[11] = 0xfb;
    let block = Block::gnu(b'0', b"f", 0)
        .with(124, &size)
        .with(136, &mtime)
        .with(108, &[0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0]);
    let listed = Tar::new().block(block).body(b"12345").listed();
    assert_eq!(listed, "f 644 3000000:0 -5.000000000 '12345'\n");
}

#[test]
fn set_id_bits_are_dropped_with_a_note() {
    let archive = Tar::new()
        .block(Block::new(b'0', b"f", 0).with(100, b"0006755\0"))
        .read()
        .expect("valid");
    assert_eq!(archive.notes, [Note::SetIdDropped { path: "f".into() }]);
    assert_eq!(node(&archive.tree, "f").meta().perm, 0o755);
}

#[test]
fn foreign_attributes_are_dropped_with_a_note() {
    let notes = Tar::new()
        .pax(
            b'x',
            &[
                ("SCHILY.xattr.security.capability", b"x"),
                ("SCHILY.xattr.user.kept", b"x"),
                ("SCHILY.acl.access", b"user::rw-"),
                ("LIBARCHIVE.xattr.user.kept", b"eA=="),
                ("RHT.security.selinux", b"x"),
            ],
        )
        .file(b"f", b"")
        .notes();
    let dropped: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        dropped,
        [
            "f: attribute security.capability dropped",
            "f: attribute SCHILY.acl.access dropped",
            "f: attribute RHT.security.selinux dropped"
        ]
    );
}

#[test]
fn policies_replace_times_and_owners() {
    let bytes = Tar::new()
        .pax(b'x', &[("mtime", b"5.5"), ("uid", b"9")])
        .file(b"d/f", b"")
        .end();
    let options = ReadOptions {
        mtime: MtimePolicy::Fixed(1000),
        owner: OwnerPolicy::Fixed(1, 2),
        ..ReadOptions::default()
    };
    let tree = read(&bytes[..], &options).expect("valid").tree;
    assert_eq!(
        list(&tree),
        "d 755 1:2 1000.000000000 dir\nd/f 644 1:2 1000.000000000 ''\n"
    );
    assert_eq!(
        (tree.node(0).meta().uid, tree.node(0).meta().mtime),
        (1, 1000)
    );
}

#[test]
fn excluded_names_vanish_with_a_note() {
    let bytes = Tar::new()
        .file(b"keep.txt", b"1")
        .file(b"cache/a.tmp", b"2")
        .block(Block::new(b'3', b"dev/null", 0))
        .hard_link(b"kept-link", b"cache/a.tmp")
        .file(b"deep/x.tmp", b"3")
        .end();
    let options = ReadOptions {
        excludes: vec!["cache".into(), "*.tmp".into(), "/dev".into()],
        ..keep()
    };
    let archive = read(&bytes[..], &options).expect("valid");
    assert_eq!(
        list(&archive.tree)
            .lines()
            .map(|line| line.split(' ').next().unwrap_or(""))
            .collect::<Vec<_>>(),
        ["deep", "keep.txt", "kept-link"]
    );
    assert_eq!(contents(node(&archive.tree, "kept-link")), b"2");
    assert_eq!(
        archive
            .notes
            .iter()
            .filter(|note| matches!(note, Note::Excluded { .. }))
            .count(),
        2,
        "{:?}",
        archive.notes
    );
}

/// Case reported-zappignore-in-tar: the same tree was another image as an archive.
#[test]
fn ignore_files_hold_as_in_a_directory() {
    let bytes = Tar::new()
        .file(b"x.tmp", b"1")
        .file(b"d/.zappignore", b"!y.tmp\n/own/\n")
        .file(b"d/y.tmp", b"2")
        .file(b"d/own/f", b"3")
        .file(b"own/f", b"4")
        .file(b"d/e/z.tmp", b"5")
        .file(b".zappignore", b"\xEF\xBB\xBF*.tmp\n")
        .end();
    let names = |options: &ReadOptions| {
        let archive = read(&bytes[..], options).expect("valid");
        let names: Vec<String> = list(&archive.tree)
            .lines()
            .filter(|line| !line.ends_with(" dir"))
            .map(|line| line.split(' ').next().unwrap_or("").to_owned())
            .collect();
        let ignored = |note: &&Note| matches!(note, Note::Ignored { .. });
        (names, archive.notes.iter().filter(ignored).count())
    };
    let kept = [".zappignore", "d/.zappignore", "d/y.tmp", "own/f"];
    assert_eq!(names(&keep()), (kept.map(str::to_owned).to_vec(), 3));
    let all = ReadOptions {
        no_ignore_file: true,
        ..keep()
    };
    let (names, ignored) = names(&all);
    assert_eq!((names.len(), ignored), (7, 0), "{names:?}");
}

#[test]
fn an_ignore_file_that_cannot_be_followed_is_an_error() {
    let error = |bytes: &[u8]| {
        let archive = Tar::new().file(b"d/.zappignore", bytes).end();
        read(&archive[..], &keep())
            .expect_err("refused")
            .to_string()
    };
    assert!(error(b"a\n\xE9").contains("d/.zappignore: line 2 is not UTF-8"));
    assert!(error(&[b'\n'; 65_537]).contains("d/.zappignore: is longer than"));
}

/// Bodies are as they were, and are in one file on disk, not in memory.
#[test]
fn bodies_are_spooled() {
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let archive = Tar::new()
        .file(b"big", &big)
        .file(b"small", b"x")
        .file(b"odd", &big[..1025])
        .read()
        .expect("valid");
    for (name, wanted) in [("big", &big[..]), ("small", b"x"), ("odd", &big[..1025])] {
        let node = node(&archive.tree, name);
        assert!(matches!(
            node,
            Node::File {
                source: Source::Stored { .. },
                ..
            }
        ));
        assert!(contents(node) == wanted, "{name}");
    }
}

#[test]
fn compressed_archives_are_recognised() {
    let plain = Tar::new().file(b"a", b"1").file(b"b", &[7; 5000]).end();
    let wanted = list(&read(&plain[..], &keep()).expect("plain").tree);
    let (left, right) = plain.split_at(700);
    let zstd = |part: &[u8]| zstd::encode_all(part, 3).expect("compress");
    let gzip = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(part).expect("compress");
        encoder.finish().expect("compress")
    };
    let skippable = [
        &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..],
        b"seek",
        &zstd(&plain),
    ]
    .concat();
    for (name, bytes) in [
        ("zstd", zstd(&plain)),
        ("several zstd frames", [zstd(left), zstd(right)].concat()),
        ("skippable frame first", skippable),
        ("gzip", gzip(&plain)),
        ("several gzip members", [gzip(left), gzip(right)].concat()),
    ] {
        let tree = read(&bytes[..], &keep()).expect(name).tree;
        assert_eq!(list(&tree), wanted, "{name}");
        for cut in [bytes.len() - 1, bytes.len() / 2, 20] {
            let result = read(&bytes[..cut], &keep());
            assert!(
                matches!(
                    result,
                    Err(TarError::Truncated { .. } | TarError::Io { .. })
                ),
                "{name} cut to {cut}: {result:?}"
            );
        }
    }
}

#[test]
fn unsupported_compression_says_what_to_do() {
    for (bytes, word) in [
        (&b"\xfd7zXZ\0rest"[..], "xz"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04", "zip"),
    ] {
        match read(bytes, &keep()) {
            Err(error @ TarError::NotTar(_)) => {
                assert!(error.to_string().contains(word), "{error}")
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A member's name may begin with the bytes of a compressed file.
#[test]
fn name_that_looks_compressed_is_a_name() {
    let listed = Tar::new().file(b"\x1f\x8b", b"x").listed();
    assert!(listed.starts_with("\\x1f\\x8b 644"), "{listed}");
}

/// A pipe gives what it has, one byte at a time if need be.
#[test]
fn dribbling_input_is_read() {
    struct Dribble(Cursor<Vec<u8>>);
    impl Read for Dribble {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let len = buf.len().min(7);
            self.0.read(&mut buf[..len])
        }
    }
    let bytes = Tar::new()
        .pax(b'x', &[("path", &[b'p'; 150])])
        .file(b"a", &[3; 2000])
        .end();
    let tree = read(Dribble(Cursor::new(bytes)), &keep())
        .expect("valid")
        .tree;
    assert_eq!(contents(node(&tree, &"p".repeat(150))), [3; 2000]);
}

#[test]
fn full_spool_is_a_clear_error() {
    let options = ReadOptions {
        spool_dir: "/nonexistent".into(),
        ..keep()
    };
    let result = read(&Tar::new().end()[..], &options);
    assert!(
        matches!(
            result,
            Err(TarError::Io {
                op: "make spool file",
                ..
            })
        ),
        "{result:?}"
    );
}
