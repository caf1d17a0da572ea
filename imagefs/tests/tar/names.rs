//! Names and links made to lead elsewhere: each is refused with its reason, or ends as the documents say.

use imagefs::tar::{Note, TarError};

use crate::bench::{Block, Tar, contents, list, node};

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
