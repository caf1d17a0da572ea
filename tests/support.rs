//! What the tests share: a directory of their own, a command wrapper, trees, and a comparison of trees.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const ZAPP: &str = env!("CARGO_BIN_EXE_zapp");

/// Prints why a test does nothing and ends it.
macro_rules! skip {
    ($($reason:tt)*) => {{
        eprintln!("skipped {}: {}", module_path!(), format_args!($($reason)*));
        return;
    }};
}
pub(crate) use skip;

/// A directory that vanishes with the test.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(
            tempfile::Builder::new()
                .prefix("zapp-e2e-")
                .tempdir()
                .expect("a directory in /tmp"),
        )
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new directory in it.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A directory in it with these files, each a path and what it holds.
    pub(crate) fn tree(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let tree = self.dir(name);
        for (path, text) in files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    /// Lets every user in: temporary directories are private.
    pub(crate) fn open_to_all(&self) {
        fs::set_permissions(self.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    /// Requires an exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "stderr: {}", self.stderr);
        self
    }

    /// Requires success.
    #[track_caller]
    pub(crate) fn ok(self) -> Run {
        self.code(0)
    }

    /// Requires words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Run {
        assert!(
            self.stderr.contains(words),
            "{words:?} is not in stderr: {}",
            self.stderr
        );
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is UTF-8")
    }

    /// The JSON documents on stdout, one a line.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command line of the program under test, in a clean environment.
pub(crate) fn command<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(ZAPP);
    command
        .args(args)
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null());
    command
}

/// Runs the program under test.
pub(crate) fn zapp<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Run {
    command(args).output().expect("the program starts").into()
}

/// A copy of the program under test that every user can reach. Written by another process: a child that some other test
/// starts meanwhile would inherit our open file, and a file that somebody may write cannot be run.
pub(crate) fn program_for_all(scratch: &Scratch) -> PathBuf {
    scratch.open_to_all();
    let program = scratch.path("zapp");
    let copied = Command::new("cp").arg(ZAPP).arg(&program).status();
    assert!(copied.expect("cp").success());
    program
}

/// A command line given as words of different kinds.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        [$(std::ffi::OsString::from(&$arg)),*]
    };
}
pub(crate) use args;

/// Runs another program; its words are kept.
pub(crate) fn run(program: &str, args: &[&OsStr]) -> Run {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect(program)
        .into()
}

/// Whether a program is installed.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Why images cannot be mounted here, if so.
pub(crate) fn no_fuse() -> Option<&'static str> {
    if !Path::new("/dev/fuse").exists() {
        return Some("no /dev/fuse");
    }
    (!is_root() && !have("fusermount3")).then_some("neither root nor fusermount3")
}

/// Whether whole trees are wanted where a sample is the rule.
pub(crate) fn full() -> bool {
    std::env::var_os("ZAPP_TEST_FULL").is_some_and(|v| v == "1")
}

/// A mounted image, unmounted at the end of the test.
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
}

impl Mount {
    pub(crate) fn new(image: &Path, point: PathBuf) -> Mount {
        fs::create_dir_all(&point).unwrap();
        zapp(args!["mount", image, point]).ok();
        Mount { point }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let run = zapp(args!["umount", self.point]);
        if run.code != Some(0) {
            zapp(args!["umount", "--lazy", self.point]);
        }
    }
}

/// The WordPress fixture when it has been built (`fixtures/wordpress/build`).
pub(crate) fn wordpress() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = std::env::var_os("ZAPP_CACHE_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            std::env::var_os("XDG_CACHE_HOME")
                .map_or(home.join(".cache"), PathBuf::from)
                .join("zapp")
        });
    let found = fs::read_dir(cache.join("fixtures"))
        .ok()?
        .flatten()
        .map(|e| e.path())
        .find(|p| {
            p.file_name()
                .is_some_and(|n| n.as_bytes().starts_with(b"wordpress-"))
                && p.join("site/index.php").exists()
        });
    Some(found?.join("site"))
}

/// Waits until something holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited a minute for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that do not compress, the same for a seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes that compress as text does.
pub(crate) fn text(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len)
        .iter()
        .map(|b| b"etaoin shrdlu\n,.{}"[usize::from(b % 18)])
        .collect()
}

/// Sizes around the edges of blocks, pages and classes.
const SIZES: [usize; 10] = [0, 1, 64, 65, 4095, 4096, 4097, 131_071, 131_072, 131_073];

/// A tree of every odd name, mode, link and size. `sparse` is the length of a sparse file with three data parts.
pub(crate) fn odd_tree(root: &Path, sparse: u64) {
    fs::create_dir_all(root).unwrap();
    for size in SIZES {
        fs::write(root.join(format!("text-{size}.txt")), text(7, size)).unwrap();
        fs::write(root.join(format!("noise-{size}.bin")), noise(8, size)).unwrap();
    }
    fs::write(root.join("big.js"), text(9, 1_500_000)).unwrap();
    let names = root.join("names");
    fs::create_dir(&names).unwrap();
    let odd: [&[u8]; 14] = [
        b" ",
        b"a\nb",
        b"\xff\xfe",
        b"-rf",
        b"quote\"'\\",
        "ümläut".as_bytes(),
        &[b'x'; 255],
        b"...",
        b"a,b=c",
        b"\x1b[31mred",
        b"\\x41",
        b"%41",
        b"*",
        b"\xe2\x80\xaegpj.exe",
    ];
    for name in odd {
        fs::write(names.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let deep: PathBuf = (0..100).map(|i| format!("d{i}")).collect();
    fs::create_dir_all(root.join(deep).join("end")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for mode in [0o400, 0o444, 0o600, 0o644, 0o711, 0o755, 0o777, 0o1755] {
        let path = root.join(format!("mode-{mode:o}"));
        fs::write(&path, format!("mode {mode:o}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let dir = root.join(format!("dir-{mode:o}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), b"in it").unwrap();
        if mode & 0o500 == 0o500 {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    fs::hard_link(root.join("text-4096.txt"), root.join("a-hard-link")).unwrap();
    fs::hard_link(root.join("text-4096.txt"), root.join("d0/hard-link")).unwrap();
    for (target, name) in [
        ("text-1.txt", "to-file"),
        ("/d0/d1", "absolute"),
        ("../../../../..", "d0/up"),
        ("nowhere", "dangling"),
        ("loop-b", "loop-a"),
        ("loop-a", "loop-b"),
        ("d0", "to-dir"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    fs::hard_link(root.join("dangling"), root.join("dangling-twin")).unwrap();
    symlink(OsStr::from_bytes(&[b'y'; 4000]), root.join("long-target")).unwrap();
    sparse_file(&root.join("sparse"), sparse);
    set_xattr(&root.join("text-65.txt"), "user.note", b"with\0bytes\xff");
    set_xattr(&root.join("text-65.txt"), "user.empty", b"");
    set_xattr(&root.join("empty"), "user.on-dir", b"yes");
}

/// A sparse file with data at its start, around its middle and at its end.
pub(crate) fn sparse_file(path: &Path, len: u64) {
    let file = File::create(path).unwrap();
    file.set_len(len).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(&noise(3, 10_000), len / 2).unwrap();
    file.write_all_at(b"end", len - 3).unwrap();
}

/// Sets an attribute; file systems without them are left alone.
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let _ = rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty());
}

/// Everything about a file but its bytes and times.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    kind: &'static str,
    mode: u32,
    size: u64,
    nlink: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// Names, types, modes, sizes, links, targets and attributes of a tree, by relative path.
pub(crate) fn metadata(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = path.symlink_metadata().unwrap();
        let kind = match meta.file_type() {
            t if t.is_dir() => "directory",
            t if t.is_symlink() => "symlink",
            t if t.is_file() => "file",
            _ => "special",
        };
        if kind == "directory" {
            pending.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let entry = Entry {
            kind,
            mode: if kind == "symlink" {
                0o777
            } else {
                meta.mode() & 0o7777
            },
            size: if kind == "directory" { 0 } else { meta.size() },
            nlink: if kind == "directory" { 0 } else { meta.nlink() },
            target: fs::read_link(&path).ok(),
            xattrs: if kind == "symlink" {
                BTreeMap::new()
            } else {
                xattrs(&path)
            },
        };
        entries.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
    }
    entries
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 65536];
    let Ok(len) = rustix::fs::listxattr(path, names.as_mut_slice()) else {
        return BTreeMap::new();
    };
    names[..len]
        .split(|&b| b == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let mut value = vec![0; 65536];
            let name = OsString::from_vec(name.to_vec());
            let len = rustix::fs::getxattr(path, &name, value.as_mut_slice()).unwrap();
            value.truncate(len);
            (name, value)
        })
        .collect()
}

/// Requires two trees to be the same: names and metadata by our own walk, contents by diff(1).
#[track_caller]
pub(crate) fn same_trees(a: &Path, b: &Path) {
    let (left, right) = (metadata(a), metadata(b));
    for (path, entry) in &left {
        assert_eq!(Some(entry), right.get(path), "{} differs", path.display());
    }
    assert_eq!(
        left.len(),
        right.len(),
        "{} has names of its own",
        b.display()
    );
    same_contents(a, b);
}

/// Requires `diff -r` to find no difference.
#[track_caller]
pub(crate) fn same_contents(a: &Path, b: &Path) {
    let run = run(
        "diff",
        &[
            "-r".as_ref(),
            "--no-dereference".as_ref(),
            a.as_ref(),
            b.as_ref(),
        ],
    );
    assert_eq!(
        run.code,
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        run.stderr
    );
}
