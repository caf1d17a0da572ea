//! Archives made to hurt, or that programs read differently: each ends in a typed error or a documented result.

use imagefs::tar::{Note, ReadOptions, TarError, read};

use crate::bench::{Block, Tar, contents, keep, list, node};

fn path_error(tar: Tar) -> &'static str {
    match tar.read() {
        Err(TarError::Path { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

fn link_error(tar: Tar) -> &'static str {
    match tar.read() {
        Err(TarError::Link { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn absolute_name_is_refused() {
    assert_eq!(
        path_error(Tar::new().file(b"/etc/passwd", b"x")),
        "an absolute name"
    );
    assert_eq!(
        path_error(
            Tar::new()
                .pax(b'x', &[("path", b"/etc/passwd")])
                .file(b"fine", b"x")
        ),
        "an absolute name"
    );
    assert_eq!(
        path_error(Tar::new().block(Block::new(b'0', b"passwd", 0).with(345, b"/etc"))),
        "an absolute name"
    );
}

#[test]
fn name_that_leads_out_is_refused() {
    for name in [
        &b".."[..],
        b"../x",
        b"a/../../x",
        b"a/..",
        b"./../x",
        b"a/../b",
    ] {
        assert_eq!(
            path_error(Tar::new().file(name, b"")),
            "a name with ..",
            "{}",
            name.escape_ascii()
        );
    }
}

#[test]
fn nul_in_a_long_name_is_refused() {
    assert_eq!(
        path_error(Tar::new().pax(b'x', &[("path", b"a\0b")]).file(b"x", b"")),
        "a name with a NUL"
    );
    let tar = Tar::new()
        .block(Block::gnu(b'L', b"././@LongLink", 5))
        .body(b"a\0bc\0")
        .block(Block::gnu(b'0', b"x", 0));
    assert_eq!(path_error(tar), "a name with a NUL");
}

#[test]
fn empty_name_is_refused() {
    assert_eq!(path_error(Tar::new().file(b"", b"x")), "an empty name");
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("path", b"")])
            .file(b"x", b"")
            .read(),
        Err(TarError::Pax { .. })
    ));
}

#[test]
fn file_as_the_root_is_refused() {
    for name in [&b"."[..], b"./."] {
        assert_eq!(
            path_error(Tar::new().file(name, b"x")),
            "the root can only be a directory"
        );
    }
    assert_eq!(
        path_error(Tar::new().symlink(b".", b"/etc")),
        "the root can only be a directory"
    );
}

#[test]
fn names_over_the_limits_are_refused() {
    let long = vec![b'n'; 256];
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("path", &long)])
            .file(b"x", b"")
            .read(),
        Err(TarError::Tree { .. })
    ));
    let deep = "d/".repeat(2048) + "f";
    assert_eq!(
        path_error(
            Tar::new()
                .pax(b'x', &[("path", deep.as_bytes())])
                .file(b"x", b"")
        ),
        "a name longer than 4095 bytes"
    );
    let deep = "d/".repeat(256) + "f";
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("path", deep.as_bytes())])
            .file(b"x", b"")
            .read(),
        Err(TarError::Tree { .. })
    ));
}

#[test]
fn last_of_equal_names_wins_with_a_note() {
    let archive = Tar::new()
        .file(b"f", b"first")
        .file(b"./f", b"second")
        .symlink(b"f", b"third")
        .read()
        .expect("valid");
    assert!(list(&archive.tree).ends_with("-> third\n"));
    assert_eq!(
        archive.notes,
        [
            Note::Replaced { path: "./f".into() },
            Note::Replaced { path: "f".into() }
        ]
    );
}

/// The name of the replaced file is taken; its other names keep it.
#[test]
fn replaced_file_lives_on_under_its_other_names() {
    let archive = Tar::new()
        .file(b"a", b"old")
        .hard_link(b"b", b"a")
        .file(b"a", b"new")
        .read()
        .expect("valid");
    assert_eq!(contents(node(&archive.tree, "a")), b"new");
    assert_eq!(contents(node(&archive.tree, "b")), b"old");
}

#[test]
fn repeated_directory_keeps_its_entries() {
    let archive = Tar::new()
        .dir(b"d")
        .file(b"d/f", b"x")
        .dir(b"d/")
        .read()
        .expect("valid");
    assert_eq!(contents(node(&archive.tree, "d/f")), b"x");
    assert_eq!(archive.notes, []);
}

#[test]
fn directory_with_entries_is_not_replaced_by_a_file() {
    let what = "would replace a directory that has entries";
    assert_eq!(
        path_error(Tar::new().file(b"d/f", b"x").file(b"d", b"y")),
        what
    );
    assert_eq!(
        path_error(Tar::new().file(b"d/f", b"x").symlink(b"d", b"y")),
        what
    );
    assert_eq!(
        link_error(
            Tar::new()
                .file(b"d/f", b"x")
                .file(b"g", b"")
                .hard_link(b"d", b"g")
        ),
        what
    );
    let notes = Tar::new().dir(b"d").file(b"d", b"y").notes();
    assert_eq!(
        notes,
        [Note::Replaced { path: "d".into() }],
        "an empty one is"
    );
}

/// A symlink, then a member "through" it.
#[test]
fn nothing_is_placed_below_a_symlink() {
    assert_eq!(
        path_error(Tar::new().symlink(b"d", b"/etc").file(b"d/passwd", b"x")),
        "a parent is a file or symlink"
    );
    assert_eq!(
        path_error(Tar::new().file(b"d", b"").file(b"d/passwd", b"x")),
        "a parent is a file or symlink"
    );
    // A directory of the same name replaces the link and is a plain directory.
    let listed = Tar::new()
        .symlink(b"d", b"/etc")
        .dir(b"d/")
        .file(b"d/passwd", b"x")
        .listed();
    assert!(
        listed.starts_with("d 755 0:0 0.000000000 dir\nd/passwd "),
        "{listed}"
    );
}

#[test]
fn hard_link_before_its_target_is_refused() {
    assert_eq!(
        link_error(Tar::new().hard_link(b"l", b"f").file(b"f", b"x")),
        "no such earlier member"
    );
}

#[test]
fn hard_link_to_the_outside_is_refused() {
    assert_eq!(
        link_error(Tar::new().hard_link(b"l", b"/etc/shadow")),
        "an absolute name"
    );
    assert_eq!(
        link_error(Tar::new().hard_link(b"l", b"../shadow")),
        "a name with .."
    );
    assert_eq!(link_error(Tar::new().hard_link(b"l", b"")), "an empty name");
    assert_eq!(
        link_error(
            Tar::new()
                .pax(b'x', &[("linkpath", b"a\0b")])
                .hard_link(b"l", b"x")
        ),
        "a name with a NUL"
    );
}

#[test]
fn hard_link_to_a_directory_is_refused() {
    assert_eq!(
        link_error(Tar::new().dir(b"d").hard_link(b"l", b"d")),
        "it is a directory"
    );
    assert_eq!(
        link_error(Tar::new().hard_link(b"l", b".")),
        "it is a directory"
    );
}

/// The link is the symlink itself: it is neither followed nor refused.
#[test]
fn hard_link_to_a_symlink_is_the_symlink() {
    let listed = Tar::new()
        .symlink(b"s", b"/etc/shadow")
        .hard_link(b"t", b"s")
        .listed();
    assert!(listed.ends_with("-> /etc/shadow\nt = s\n"), "{listed}");
    // Through a symlink to a directory there is nothing.
    let tar = Tar::new()
        .file(b"d/f", b"x")
        .symlink(b"s", b"d")
        .hard_link(b"t", b"s/f");
    assert_eq!(link_error(tar), "no such earlier member");
}

#[test]
fn hard_link_to_itself_says_nothing() {
    let archive = Tar::new()
        .file(b"f", b"x")
        .hard_link(b"f", b"f")
        .read()
        .expect("valid");
    assert_eq!(contents(node(&archive.tree, "f")), b"x");
    assert_eq!(archive.notes, [Note::LinkToItself { path: "f".into() }]);
}

/// The body of the first member hides a second one from readers that go by the header's size.
#[test]
fn pax_size_wins_over_the_header_and_smuggles_nothing() {
    let hidden = Tar::new().file(b"hidden", b"evil").bytes;
    let size = hidden.len().to_string();
    let listed = Tar::new()
        .pax(b'x', &[("size", size.as_bytes())])
        .block(Block::new(b'0', b"cover", 0))
        .body(&hidden)
        .file(b"after", b"")
        .listed();
    assert!(
        listed.contains("cover ") && listed.contains("after ") && !listed.contains("hidden "),
        "{listed}"
    );
}

#[test]
fn negative_size_is_refused() {
    let tar = Tar::new().block(Block::gnu(b'0', b"f", 0).with(124, &[0xff; 12]));
    assert!(matches!(
        tar.read(),
        Err(TarError::Size {
            what: "negative size",
            ..
        })
    ));
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("size", b"-1")])
            .file(b"f", b"")
            .read(),
        Err(TarError::Pax { .. })
    ));
    let tar = Tar::new().block(Block::new(b'0', b"f", 0).with(124, b"-0000000001\0"));
    assert!(matches!(
        tar.read(),
        Err(TarError::Header {
            what: "size is no number",
            ..
        })
    ));
}

#[test]
fn huge_size_allocates_nothing() {
    let mut size = [0; 12];
    size[0] = 0x80;
    size[4] = 0x7f;
    size[5..].fill(0xff);
    let tar = Tar::new().block(Block::gnu(b'0', b"f", 0).with(124, &size));
    assert!(matches!(
        tar.read(),
        Err(TarError::Size { .. } | TarError::Limit { .. })
    ));
    let tar = Tar::new()
        .pax(b'x', &[("size", b"18446744073709551615")])
        .file(b"f", b"");
    assert!(matches!(
        tar.read(),
        Err(TarError::Size {
            what: "size is beyond any archive",
            ..
        })
    ));
    for kind in [b'x', b'g', b'L', b'K'] {
        let tar = Tar::new().block(Block::gnu(kind, b"f", 0).with(124, b"77777777777\0"));
        assert!(matches!(tar.read(), Err(TarError::Header { .. })), "{kind}");
    }
}

/// Some programs skip a body of that size, others read it as the next header.
#[test]
fn size_on_a_member_without_content_is_refused() {
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        let tar = Tar::new()
            .file(b"t", b"")
            .block(Block::new(kind, b"m", 512).link(b"t"))
            .body(&[b'x'; 512]);
        assert!(
            matches!(tar.read(), Err(TarError::Size { .. })),
            "{}",
            kind.escape_ascii()
        );
    }
}

#[test]
fn wrong_checksum_is_refused() {
    let mut bytes = Tar::new().file(b"a", b"x").file(b"b", b"y").end();
    bytes[1024] ^= 1;
    assert!(matches!(
        read(&bytes[..], &keep()),
        Err(TarError::Header {
            at: 1024,
            what: "checksum is wrong"
        })
    ));
    bytes[0] ^= 1;
    assert!(matches!(
        read(&bytes[..], &keep()),
        Err(TarError::NotTar(_))
    ));
    assert!(matches!(
        read(&[b'x'; 5000][..], &keep()),
        Err(TarError::NotTar(_))
    ));
}

#[test]
fn signed_checksums_of_old_programs_count() {
    let mut block = Block::new(b'0', b"\xff\xfe", 0).0;
    block[148..156].fill(b' ');
    let sum: i64 = block
        .iter()
        .map(|&byte| i64::from(byte.cast_signed()))
        .sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = Tar::new();
    tar.bytes.extend_from_slice(&block);
    assert!(tar.listed().starts_with("\\xff\\xfe "));
}

#[test]
fn empty_input_is_no_archive_but_an_empty_archive_is_one() {
    assert!(matches!(
        read(&b""[..], &keep()),
        Err(TarError::NotTar("it is empty"))
    ));
    assert_eq!(Tar::new().listed(), "");
}

/// Cut at every byte: never a tree that looks whole.
#[test]
fn truncated_archive_is_refused_at_every_byte() {
    let bytes = Tar::new()
        .pax(b'x', &[("path", &[b'p'; 150])])
        .file(b"x", &[5; 700])
        .block(Block::gnu(b'L', b"././@LongLink", 151))
        .body(&[b'n'; 151])
        .file(b"y", b"z")
        .end();
    let whole = bytes.len();
    for cut in 0..whole {
        let result = read(&bytes[..cut], &keep());
        // One zero block at the very end of the input is an end marker as well.
        let allowed = cut == whole - 512;
        assert_eq!(
            result.is_ok(),
            allowed,
            "cut to {cut} of {whole}: {result:?}"
        );
    }
}

#[test]
fn lone_zero_block_in_the_middle_is_refused() {
    let mut tar = Tar::new().file(b"a", b"");
    tar.bytes.extend_from_slice(&[0; 512]);
    assert!(matches!(
        tar.file(b"b", b"").read(),
        Err(TarError::Header {
            what: "a lone zero block in the middle",
            ..
        })
    ));
}

#[test]
fn second_archive_after_the_end_is_noted() {
    let mut bytes = Tar::new().file(b"a", b"").end();
    let at = bytes.len() as u64;
    bytes.extend_from_slice(&Tar::new().file(b"b", b"").end());
    let archive = read(&bytes[..], &keep()).expect("valid");
    assert_eq!(archive.notes, [Note::AfterEnd { at }]);
    bytes.truncate(usize::try_from(at).expect("small"));
    bytes.extend_from_slice(&[0; 10240]);
    assert_eq!(
        read(&bytes[..], &keep()).expect("valid").notes,
        [],
        "padding is nothing"
    );
}

#[test]
fn global_records_that_name_or_measure_are_refused() {
    for key in [
        "path",
        "linkpath",
        "size",
        "GNU.sparse.name",
        "GNU.sparse.size",
    ] {
        let tar = Tar::new()
            .pax(b'g', &[(key, b"1")])
            .file(b"a", b"x")
            .file(b"b", b"y");
        assert!(matches!(tar.read(), Err(TarError::Pax { .. })), "{key}");
    }
}

#[test]
fn damaged_pax_records_are_refused() {
    for body in [
        &b"99 path=x\n"[..],
        b"path=x\n",
        b"0 path=x\n",
        b"10 path=x\n\0\0",
        b"9 path=xyz\n",
    ] {
        let tar = Tar::new()
            .block(Block::new(b'x', b"h", body.len() as u64))
            .body(body)
            .file(b"f", b"");
        assert!(
            matches!(tar.read(), Err(TarError::Pax { .. })),
            "{}",
            body.escape_ascii()
        );
    }
    for (key, value) in [
        ("mtime", &b"soon"[..]),
        ("uid", b"99999999999"),
        ("gid", b"-1"),
        ("size", b"1 "),
        ("mtime", b"99999999999999999999"),
    ] {
        let tar = Tar::new().pax(b'x', &[(key, value)]).file(b"f", b"");
        assert!(matches!(tar.read(), Err(TarError::Pax { .. })), "{key}");
    }
}

#[test]
fn extended_header_without_member_is_refused() {
    assert!(matches!(
        Tar::new().pax(b'x', &[("path", b"x")]).read(),
        Err(TarError::Pax { .. })
    ));
}

#[test]
fn devices_and_fifos_are_refused_or_skipped_on_request() {
    for (kind, word) in [
        (b'3', "character device"),
        (b'4', "block device"),
        (b'6', "FIFO"),
    ] {
        let bytes = Tar::new()
            .block(Block::new(kind, b"dev/x", 0).with(329, b"0000001\0"))
            .file(b"f", b"")
            .end();
        match read(&bytes[..], &keep()) {
            Err(TarError::Unsupported { path, what, .. }) => {
                assert!(path == "dev/x" && what.contains(word), "{what}")
            }
            other => panic!("{other:?}"),
        }
        let options = ReadOptions {
            skip_special: true,
            ..keep()
        };
        let archive = read(&bytes[..], &options).expect("valid");
        assert!(
            matches!(&archive.notes[..], [Note::SpecialSkipped { what, .. }] if what.contains(word))
        );
        assert!(list(&archive.tree).starts_with("f "));
    }
}

#[test]
fn kinds_that_mean_a_different_archive_are_refused() {
    for kind in [b'D', b'M', b'N', b'Z', 1, 0xff] {
        let tar = Tar::new().block(Block::gnu(kind, b"x", 0));
        assert!(
            matches!(tar.read(), Err(TarError::Unsupported { .. })),
            "{}",
            kind.escape_ascii()
        );
    }
    let notes = Tar::new()
        .block(Block::gnu(b'V', b"backup of today", 0))
        .file(b"f", b"")
        .notes();
    assert!(matches!(
        &notes[..],
        [Note::Skipped {
            what: "a volume label",
            ..
        }]
    ));
}

/// Whiteouts of container layers are names like any other: nothing is deleted.
#[test]
fn whiteouts_are_ordinary_files() {
    let listed = Tar::new()
        .file(b"d/a", b"")
        .file(b"d/.wh.a", b"")
        .file(b"d/.wh..wh..opq", b"")
        .listed();
    assert_eq!(listed.lines().count(), 4);
}

#[test]
fn link_name_of_exactly_100_bytes_is_read() {
    let (name, target) = ([b'n'; 100], [b't'; 100]);
    let listed = Tar::new().symlink(&name, &target).listed();
    assert!(
        listed.starts_with(&"n".repeat(100)) && listed.ends_with(&("t".repeat(100) + "\n")),
        "{listed}"
    );
}

#[test]
fn symlink_targets_over_the_limits_are_refused() {
    assert!(matches!(
        Tar::new().symlink(b"l", b"").read(),
        Err(TarError::Tree { .. })
    ));
    let long = vec![b't'; 4096];
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("linkpath", &long)])
            .symlink(b"l", b"x")
            .read(),
        Err(TarError::Tree { .. })
    ));
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("linkpath", b"a\0b")])
            .symlink(b"l", b"x")
            .read(),
        Err(TarError::Tree { .. })
    ));
}

#[test]
fn attributes_over_the_limits_are_refused() {
    let value = vec![0; 65537];
    assert!(matches!(
        Tar::new()
            .pax(b'x', &[("SCHILY.xattr.user.a", &value)])
            .file(b"f", b"")
            .read(),
        Err(TarError::Tree { .. })
    ));
}

#[test]
fn too_many_members_are_refused() {
    let bytes = Tar::new().file(b"a", b"").file(b"b", b"").end();
    let options = ReadOptions {
        members_max: 1,
        ..keep()
    };
    assert!(matches!(
        read(&bytes[..], &options),
        Err(TarError::Limit { max: 1, .. })
    ));
    // A bomb: little to read, much to store.
    let bomb = zstd::encode_all(
        &Tar::new()
            .file(b"a", &[0; 1_000_000])
            .file(b"b", &[0; 1_000_000])
            .end()[..],
        3,
    )
    .expect("compress");
    let options = ReadOptions {
        bytes_max: 1_500_000,
        ..keep()
    };
    assert!(matches!(
        read(&bomb[..], &options),
        Err(TarError::Limit { max: 1_500_000, .. })
    ));
    // Extended headers without end, none of them too long.
    let mut tar = Tar::new();
    for _ in 0..20 {
        tar = tar.pax(b'x', &[("comment", &[b'c'; 1_000_000])]);
    }
    assert!(matches!(
        tar.file(b"f", b"").read(),
        Err(TarError::Header { .. })
    ));
}

#[test]
fn names_are_safe_to_print() {
    let name = b"evil\x1b[31m\n";
    for result in [
        Tar::new()
            .pax(b'x', &[("path", b"/\x1b[31m")])
            .file(b"f", b"")
            .read()
            .map(drop),
        Tar::new().hard_link(name, b"\x1b").read().map(drop),
        Tar::new().block(Block::new(b'M', name, 0)).read().map(drop),
    ] {
        let shown = result.expect_err("refused").to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    for note in Tar::new().file(name, b"").file(name, b"").notes() {
        assert!(!note.to_string().chars().any(char::is_control), "{note:?}");
    }
}

/// Old GNU format: map in the header and one extension block.
fn old_sparse(entries: &[(u64, u64)], real: u64, stored: u64) -> Tar {
    let entry = |&(offset, len): &(u64, u64)| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    let (head, rest) = entries.split_at(entries.len().min(4));
    let head: Vec<u8> = head.iter().flat_map(entry).collect();
    let mut block = Block::gnu(b'S', b"sparse", stored)
        .with(386, &head)
        .with(483, format!("{real:011o}\0").as_bytes());
    block.0[482] = u8::from(!rest.is_empty());
    let mut tar = Tar::new().block(block);
    let chunks: Vec<&[(u64, u64)]> = rest.chunks(21).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut bytes: Vec<u8> = chunk.iter().flat_map(entry).collect();
        bytes.resize(512, 0);
        bytes[504] = u8::from(index + 1 < chunks.len());
        tar.bytes.extend_from_slice(&bytes);
    }
    tar
}

#[test]
fn sparse_files_of_every_format_are_the_same_file() {
    let parts = [(1000, 512), (4096, 3), (9000, 0)];
    let data: Vec<u8> = (0..515_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut wanted = vec![0; 9000];
    wanted[1000..1512].copy_from_slice(&data[..512]);
    wanted[4096..4099].copy_from_slice(&data[512..]);
    let mut map = b"3\n1000\n512\n4096\n3\n9000\n0\n".to_vec();
    map.resize(512, 0);
    let in_body = [map, data.clone()].concat();
    let stored = data.len() as u64;
    for (name, tar) in [
        ("old", old_sparse(&parts, 9000, stored).body(&data)),
        (
            "0.0",
            Tar::new()
                .pax(
                    b'x',
                    &[
                        ("GNU.sparse.size", b"9000"),
                        ("GNU.sparse.numblocks", b"3"),
                        ("GNU.sparse.offset", b"1000"),
                        ("GNU.sparse.numbytes", b"512"),
                        ("GNU.sparse.offset", b"4096"),
                        ("GNU.sparse.numbytes", b"3"),
                        ("GNU.sparse.offset", b"9000"),
                        ("GNU.sparse.numbytes", b"0"),
                    ],
                )
                .file(b"sparse", &data),
        ),
        (
            "0.1",
            Tar::new()
                .pax(
                    b'x',
                    &[
                        ("GNU.sparse.size", b"9000"),
                        ("GNU.sparse.numblocks", b"3"),
                        ("GNU.sparse.name", b"sparse"),
                        ("GNU.sparse.map", b"1000,512,4096,3,9000,0"),
                    ],
                )
                .file(b"GNUSparseFile.1/sparse", &data),
        ),
        (
            "1.0",
            Tar::new()
                .pax(
                    b'x',
                    &[
                        ("GNU.sparse.major", b"1"),
                        ("GNU.sparse.minor", b"0"),
                        ("GNU.sparse.name", b"sparse"),
                        ("GNU.sparse.realsize", b"9000"),
                    ],
                )
                .file(b"GNUSparseFile.1/sparse", &in_body),
        ),
    ] {
        let archive = tar.file(b"after", b"x").read().expect(name);
        assert!(contents(node(&archive.tree, "sparse")) == wanted, "{name}");
        assert_eq!(contents(node(&archive.tree, "after")), b"x", "{name}");
    }
}

#[test]
fn sparse_file_without_any_data_is_a_hole() {
    let archive = old_sparse(&[(5 << 30, 0)], 5 << 30, 0)
        .read()
        .expect("valid");
    assert!(list_sizes(&archive.tree, "sparse") == 5 << 30);
}

fn list_sizes(tree: &imagefs::tree::Tree, path: &str) -> u64 {
    match node(tree, path) {
        imagefs::tree::Node::File { size, .. } => *size,
        other => panic!("{other:?}"),
    }
}

#[test]
fn old_sparse_maps_continue_over_extension_blocks() {
    let parts: Vec<(u64, u64)> = (0..60).map(|n| (n * 1000, 10)).collect();
    let archive = old_sparse(&parts, 60_000, 600)
        .body(&[b'd'; 600])
        .file(b"after", b"x")
        .read()
        .expect("valid");
    let content = contents(node(&archive.tree, "sparse"));
    assert_eq!(content.iter().filter(|&&byte| byte == b'd').count(), 600);
    assert_eq!(content[59_009], b'd');
    assert_eq!(contents(node(&archive.tree, "after")), b"x");
}

#[test]
fn sparse_maps_that_contradict_themselves_are_refused() {
    for (parts, real, stored) in [
        (&[(512, 512), (0, 512)][..], 4096, 1024),
        (&[(0, 512), (100, 512)], 4096, 1024),
        (&[(0, 512)], 100, 512),
        (&[(0, 512)], 4096, 100),
        (&[(0, 10)], 4096, 512),
        (&[(0o77777777777, 0o77777777777)], 4096, 512),
    ] {
        let result = old_sparse(parts, real, stored).body(&[1; 1024]).read();
        assert!(
            matches!(result, Err(TarError::Sparse { .. })),
            "{parts:?}: {result:?}"
        );
    }
    for records in [
        &[
            ("GNU.sparse.major", &b"2"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9"),
        ][..],
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")],
        &[("GNU.sparse.map", b"0,1")],
        &[
            ("GNU.sparse.size", b"100"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.map", b"0,1"),
        ],
        &[("GNU.sparse.size", b"100"), ("GNU.sparse.offset", b"0")],
    ] {
        let result = Tar::new()
            .pax(b'x', records)
            .file(b"f", b"1\n0\n1\n")
            .read();
        assert!(
            matches!(result, Err(TarError::Sparse { .. })),
            "{records:?}: {result:?}"
        );
    }
    for records in [
        &[("GNU.sparse.map", &b"0,1,2"[..])][..],
        &[("GNU.sparse.map", b"0,-1")],
        &[("GNU.sparse.numbytes", b"1")],
        &[("GNU.sparse.offset", b"1"), ("GNU.sparse.offset", b"1")],
        &[("GNU.sparse.unheard", b"1")],
        &[("SCHILY.realsize", b"1")],
    ] {
        let result = Tar::new().pax(b'x', records).file(b"f", b"1").read();
        assert!(
            matches!(result, Err(TarError::Pax { .. })),
            "{records:?}: {result:?}"
        );
    }
}

#[test]
fn sparse_maps_in_bodies_cannot_run_away() {
    for body in [
        &b"99999999999\n"[..],
        b"1\n0\n",
        b"x\n",
        b"",
        b"-1\n",
        &[b'1'; 600],
        b"4194305\n0\n1\n",
    ] {
        let records = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9"),
        ];
        let result = Tar::new().pax(b'x', &records).file(b"f", body).read();
        assert!(
            matches!(result, Err(TarError::Sparse { .. })),
            "{}: {result:?}",
            body.escape_ascii()
        );
    }
    // A map on something that has no content.
    let result = Tar::new()
        .pax(
            b'x',
            &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,0")],
        )
        .dir(b"d")
        .read();
    assert!(matches!(result, Err(TarError::Sparse { .. })), "{result:?}");
}
