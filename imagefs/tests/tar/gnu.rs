//! Archives that the real GNU tar writes.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use imagefs::scan::{ScanOptions, scan};
use imagefs::tar::read;
use imagefs::tree::{Node, Tree};
use tempfile::TempDir;

use crate::bench::{contents, keep};

/// A directory with every odd thing an archive can hold.
pub(crate) fn odd_directory() -> TempDir {
    let dir = TempDir::new().expect("temporary directory");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("empty/dir")).expect("dir");
    let deep = at(&"a-rather-long-directory-name/".repeat(12));
    fs::create_dir_all(&deep).expect("dir");
    fs::write(deep.join("at the end of a long path"), "deep").expect("write");
    fs::write(at("n".repeat(255).as_str()), "long name").expect("write");
    fs::write(at("line\nbreak = \u{fc} \"quoted\""), "odd").expect("write");
    fs::write(at("with-latin1-\u{e9}"), "").expect("write");
    for size in [
        0, 1, 511, 512, 513, 4095, 4096, 4097, 131_071, 131_072, 131_073,
    ] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 251).to_le_bytes()[0]).collect();
        fs::write(at(&format!("size-{size}")), bytes).expect("write");
    }
    for mode in [0o400, 0o644, 0o755, 0o1777] {
        let path = at(&format!("mode-{mode:o}"));
        fs::write(&path, "m").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    }
    symlink("size-1", at("symlink")).expect("symlink");
    symlink("/absolute/nowhere", at("dangling")).expect("symlink");
    symlink("t".repeat(300), at("long-target")).expect("symlink");
    fs::hard_link(at("size-513"), at("hard-link")).expect("link");
    fs::hard_link(at("symlink"), at("hard-symlink")).expect("link");
    for (name, parts, len) in [
        ("sparse", &[(1 << 20, 5000), (3 << 20, 100)][..], 8 << 20),
        ("all-hole", &[], 1 << 20),
        ("hole-first", &[((1 << 20) - 7, 7)], 1 << 20),
    ] {
        let file = File::create(at(name)).expect("create");
        file.set_len(len).expect("length");
        for &(offset, bytes) in parts {
            file.write_all_at(&vec![b'd'; bytes], offset)
                .expect("write");
        }
    }
    let many = File::create(at("many-holes")).expect("create");
    for part in 0..200_u64 {
        many.write_all_at(&[b'p'; 4096], part * 65536)
            .expect("write");
    }
    let attributes = File::open(at("size-1")).expect("open");
    for (name, value) in [
        ("user.plain", &b"value"[..]),
        ("user.bin", b"\0\n=\xff"),
        ("user.a=b%", b"x"),
    ] {
        // Not every file system has these; then the archive has none either.
        let _ = rustix::fs::fsetxattr(&attributes, name, value, rustix::fs::XattrFlags::empty());
    }
    dir
}

/// Runs a command and requires that it succeeds without a word.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("run");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{command:?}: {complaints}"
    );
    output.stdout
}

/// A tree as lines that do not depend on where its bytes are.
fn lines(tree: &Tree, root: Option<&Path>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut seen = std::collections::HashMap::new();
    tree.walk(&mut |path, id, node| {
        let shown = path.escape_ascii().to_string();
        let first = seen.entry(id).or_insert_with(|| shown.clone()).clone();
        let content = match (node, root) {
            (Node::Dir { .. }, _) => "dir".to_owned(),
            (Node::Symlink { target, .. }, _) => target.escape_ascii().to_string(),
            (Node::File { .. }, Some(root)) => {
                let on_disk: PathBuf =
                    root.join(std::os::unix::ffi::OsStrExt::from_bytes(path) as &std::ffi::OsStr);
                blake3::hash(&fs::read(on_disk).expect("read")).to_string()
            }
            (Node::File { .. }, None) => blake3::hash(&contents(node)).to_string(),
        };
        lines.push(format!("{shown} = {first} {:?} {content}", node.meta()));
        Ok(())
    })
    .expect("walk");
    lines
}

fn scanned(root: &Path, whole_seconds: bool) -> Vec<String> {
    let options = ScanOptions {
        mtime: keep().mtime,
        owner: keep().owner,
        ..ScanOptions::default()
    };
    let mut tree = scan(root, &options).expect("scan").tree;
    if whole_seconds {
        for id in 0..u32::try_from(tree.len()).expect("small") {
            tree.node_mut(id).meta_mut().mtime_ns = 0;
        }
    }
    lines(&tree, Some(root))
}

#[test]
fn what_gnu_tar_packs_is_what_a_scan_sees() {
    let dir = odd_directory();
    for format in ["gnu", "pax", "posix"] {
        for sparse in [
            &[][..],
            &["--sparse"],
            &["--sparse", "--sparse-version=0.0"],
            &["--sparse", "--sparse-version=0.1"],
            &["--sparse", "--sparse-version=1.0"],
        ] {
            if format == "gnu" && sparse.len() > 1 {
                continue;
            }
            let mut command = Command::new("tar");
            command
                .args(["--format", format, "--sort=name", "-C"])
                .arg(dir.path())
                .args(sparse);
            if format != "gnu" {
                command.args(["--xattrs", "--xattrs-include=user.*"]);
            }
            let bytes = run(command.args(["-cf", "-", "."]));
            let archive = read(&bytes[..], &keep()).expect(format);
            assert_eq!(archive.notes, [], "{format} {sparse:?}");
            let got = lines(&archive.tree, None);
            let mut wanted = scanned(dir.path(), format == "gnu");
            if format == "gnu" {
                // This format has no room for attributes.
                for line in &mut wanted {
                    if let (Some(from), Some(to)) = (line.find("xattrs: Some("), line.rfind("}) }"))
                    {
                        line.replace_range(from..to + 2, "xattrs: None");
                    }
                }
            }
            for (got, wanted) in got.iter().zip(&wanted) {
                assert_eq!(got, wanted, "{format} {sparse:?}");
            }
            assert_eq!(got.len(), wanted.len());
        }
    }
}

#[test]
fn oldest_formats_are_read() {
    let dir = TempDir::new().expect("temporary directory");
    fs::write(dir.path().join("file"), "content").expect("write");
    fs::create_dir(dir.path().join("d")).expect("dir");
    fs::hard_link(dir.path().join("file"), dir.path().join("d/again")).expect("link");
    symlink("file", dir.path().join("link")).expect("symlink");
    for format in ["v7", "ustar", "oldgnu"] {
        let mut command = Command::new("tar");
        let bytes = run(command
            .args(["--format", format, "-C"])
            .arg(dir.path())
            .args(["--sort=name", "-cf", "-", "."]));
        let archive = read(&bytes[..], &keep()).expect(format);
        assert_eq!(
            lines(&archive.tree, None),
            scanned(dir.path(), true),
            "{format}"
        );
    }
}

/// A sparse file of 5 GiB passes without its holes.
#[test]
fn large_sparse_file_is_read_in_no_time() {
    let dir = TempDir::new().expect("temporary directory");
    let file = File::create(dir.path().join("huge")).expect("create");
    file.set_len(5 << 30).expect("length");
    file.write_all_at(b"middle", 3 << 30).expect("write");
    let mut command = Command::new("tar");
    let bytes = run(command
        .args(["--format=pax", "--sparse", "-C"])
        .arg(dir.path())
        .args(["-cf", "-", "huge"]));
    let archive = read(&bytes[..], &keep()).expect("valid");
    let Node::File {
        size,
        source: imagefs::tree::Source::Stored {
            data: Some(data), ..
        },
        ..
    } = archive.tree.node(1)
    else {
        panic!("a sparse file")
    };
    assert_eq!(*size, 5 << 30);
    assert!(data.len() == 1 && data[0].contains(&(3 << 30)), "{data:?}");
}

#[test]
fn appended_archive_keeps_the_last_version() {
    let dir = TempDir::new().expect("temporary directory");
    let archive = dir.path().join("a.tar");
    for content in ["first", "second"] {
        fs::write(dir.path().join("f"), content).expect("write");
        run(Command::new("tar")
            .arg("-C")
            .arg(dir.path())
            .arg("-rf")
            .arg(&archive)
            .arg("f"));
    }
    let read = read(File::open(&archive).expect("open"), &keep()).expect("valid");
    assert_eq!(
        contents(read.tree.node(read.tree.child(0, b"f").expect("f"))),
        b"second"
    );
    assert_eq!(read.notes.len(), 1);
}
