//! Images as archives, read by the real GNU tar and by our own reader.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use imagefs::Image;
use imagefs::scan::{MtimePolicy, OwnerPolicy, ScanOptions, scan};
use imagefs::tar::{End, read, write};
use imagefs::tree::Tree;
use imagefs::writer::{PackOptions, pack};
use tempfile::TempDir;

use crate::bench::{Block, Tar, keep, list};
use crate::gnu::{odd_directory, run};

fn packed(tree: Tree, dir: &Path) -> Image {
    let out = dir.join("image");
    let options = PackOptions {
        force: true,
        ..PackOptions::default()
    };
    pack(tree, &options, &out, &|_| {}, &AtomicBool::new(false)).expect("pack");
    Image::open(&out).expect("open")
}

fn exported(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(write(image, &mut bytes).expect("write"), End::Complete);
    assert_eq!(bytes.len() % 512, 0);
    bytes
}

fn image_of(source: &Path, dir: &Path) -> Image {
    let options = ScanOptions {
        mtime: MtimePolicy::Keep,
        owner: OwnerPolicy::Keep,
        ..ScanOptions::default()
    };
    packed(scan(source, &options).expect("scan").tree, dir)
}

/// Extracts with GNU tar; everything it says counts as a failure.
fn extract(bytes: &[u8], into: &Path) {
    let mut child = Command::new("tar")
        .args([
            "--xattrs",
            "--xattrs-include=user.*",
            "--same-permissions",
            "-C",
        ])
        .arg(into)
        .args(["-xf", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tar");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(bytes)
        .expect("feed");
    let output = child.wait_with_output().expect("wait");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

/// Blocks a directory's files occupy.
fn blocks(dir: &Path, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(dir.join(name)).expect("stat").blocks()
}

#[test]
fn gnu_tar_extracts_without_a_difference() {
    let source = odd_directory();
    let work = TempDir::new().expect("temporary directory");
    let image = image_of(source.path(), work.path());
    let out = work.path().join("out");
    fs::create_dir(&out).expect("dir");
    extract(&exported(&image), &out);
    run(Command::new("diff")
        .arg("-r")
        .arg("--no-dereference")
        .arg(source.path())
        .arg(&out));
    // Modes, owners, times, links and attributes, as a scan of both sees them.
    let again = image_of(&out, work.path());
    assert_eq!(again.tree_id(), image.tree_id());
    for name in ["sparse", "all-hole", "hole-first", "many-holes"] {
        assert!(
            blocks(&out, name) <= blocks(source.path(), name),
            "{name} lost its holes"
        );
    }
}

#[test]
fn our_reader_takes_what_our_writer_gives() {
    let source = odd_directory();
    let work = TempDir::new().expect("temporary directory");
    let image = image_of(source.path(), work.path());
    let bytes = exported(&image);
    let archive = read(&bytes[..], &keep()).expect("read");
    assert_eq!(archive.notes, []);
    let second = packed(archive.tree, work.path());
    assert_eq!(second.tree_id(), image.tree_id());
    assert_eq!(second.image_id(), image.image_id());
    assert!(
        exported(&second) == bytes,
        "the same image gives the same bytes"
    );
}

#[test]
fn values_beyond_the_header_come_back() {
    let xattr: Vec<u8> = (0..=255).collect();
    let long = "directory/".repeat(30) + "name";
    let archive = Tar::new()
        .pax(
            b'x',
            &[
                ("path", long.as_bytes()),
                ("mtime", b"-1.25"),
                ("uid", b"4000000000"),
                ("gid", b"2097152"),
            ],
        )
        .file(b"x", b"1")
        .pax(
            b'x',
            &[
                ("mtime", b"8589934592"),
                ("SCHILY.xattr.user.%25 %3D\n", &xattr),
            ],
        )
        .file(b"late", b"2")
        .pax(
            b'x',
            &[
                ("mtime", b"1000000000.000000001"),
                ("linkpath", &[b'l'; 4095]),
            ],
        )
        .symlink(b"link", b"x")
        .hard_link(b"link-again", b"link")
        .block(
            Block::new(b'5', b"./", 0)
                .with(100, b"0001777\0")
                .with(136, b"00000000777\0"),
        )
        .read()
        .expect("valid");
    let wanted = list(&archive.tree);
    let work = TempDir::new().expect("temporary directory");
    let again = read(&exported(&packed(archive.tree, work.path()))[..], &keep()).expect("read");
    assert_eq!(list(&again.tree), wanted);
    assert_eq!(
        (
            again.tree.node(0).meta().perm,
            again.tree.node(0).meta().mtime
        ),
        (0o1777, 0o777)
    );
}

/// Names that fit the two name fields need no extended header.
#[test]
fn plain_members_have_plain_headers() {
    let name = ["d".repeat(99), "f".repeat(100)].join("/");
    let archive = Tar::new()
        .pax(b'x', &[("path", name.as_bytes())])
        .file(b"x", b"1")
        .read()
        .expect("valid");
    let work = TempDir::new().expect("temporary directory");
    let bytes = exported(&packed(archive.tree, work.path()));
    assert!(
        bytes
            .chunks(512)
            .all(|block| block[156] != b'x' || &block[257..262] != b"ustar"),
        "no extended header"
    );
    assert!(list(&read(&bytes[..], &keep()).expect("read").tree).contains(&name));
}

/// GNU tar extracts a sparse file of 5 GiB, and neither side reads or writes its holes.
#[test]
fn large_sparse_file_passes_both_ways() {
    let source = TempDir::new().expect("temporary directory");
    let file = fs::File::create(source.path().join("huge")).expect("create");
    file.set_len(5 << 30).expect("length");
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 3 << 30).expect("write");
    let work = TempDir::new().expect("temporary directory");
    let image = image_of(source.path(), work.path());
    let bytes = exported(&image);
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    let out = work.path().join("out");
    fs::create_dir(&out).expect("dir");
    extract(&bytes, &out);
    let stat = fs::metadata(out.join("huge")).expect("stat");
    assert_eq!(stat.len(), 5 << 30);
    assert!(blocks(&out, "huge") < 4096, "still sparse");
    let mut middle = [0; 6];
    let huge = fs::File::open(out.join("huge")).expect("open");
    std::os::unix::fs::FileExt::read_exact_at(&huge, &mut middle, 3 << 30).expect("read");
    assert_eq!(&middle, b"middle");
}

/// A reader that has seen enough closes the pipe; that is not a failure. Any other error of the output is.
#[test]
fn closed_pipe_is_an_end_and_a_full_disk_is_an_error() {
    struct Failing(io::ErrorKind, usize);
    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = self
                .1
                .checked_sub(bytes.len())
                .ok_or_else(|| io::Error::from(self.0))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let archive = Tar::new().file(b"a", &[1; 3000]).read().expect("valid");
    let work = TempDir::new().expect("temporary directory");
    let image = packed(archive.tree, work.path());
    for room in [0, 600, 2000] {
        assert_eq!(
            write(&image, Failing(io::ErrorKind::BrokenPipe, room)).expect("an end"),
            End::ClosedPipe
        );
        let full = write(&image, Failing(io::ErrorKind::StorageFull, room));
        assert!(full.is_err_and(|error| error.to_string().starts_with("write archive")));
    }
}
