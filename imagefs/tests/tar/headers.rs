//! Headers that are damaged, or that programs read differently: each ends in a typed error or a documented result.

use imagefs::tar::{Note, ReadOptions, TarError, read};

use crate::bench::{Block, Tar, keep, list};

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
