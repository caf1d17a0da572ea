//! The workbench of these tests: a directory with databases, its fingerprint, children that hold or lose databases.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use imagefs::sqlite::{self, Mode, Note, Options, Prepared, Source, SqliteError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// A source directory and a staging directory.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let dir = TempDir::new().expect("temporary directory");
        fs::create_dir(dir.path().join("source")).expect("source");
        fs::create_dir(dir.path().join("staging")).expect("staging");
        Bench { dir }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.dir.path().join("source").join(name)
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    /// Makes a database and runs statements in it.
    pub(crate) fn database(&self, name: &str, sql: &str) -> PathBuf {
        let path = self.source(name);
        let conn = Connection::open(&path).expect("open");
        conn.execute_batch(sql).expect(sql);
        conn.close().expect("close");
        path
    }

    pub(crate) fn prepare(&self, path: &Path) -> Result<Prepared, SqliteError> {
        self.prepare_with(path, &Options::default())
    }

    pub(crate) fn prepare_mode(&self, path: &Path, mode: Mode) -> Result<Prepared, SqliteError> {
        self.prepare_with(
            path,
            &Options {
                mode,
                ..Options::default()
            },
        )
    }

    /// Prepares, and checks what holds however it ends: the source is as it was, and staging is empty again.
    pub(crate) fn prepare_with(
        &self,
        path: &Path,
        options: &Options,
    ) -> Result<Prepared, SqliteError> {
        let before = self.fingerprint();
        let result = sqlite::prepare_source(&Source::open(path)?, options, &self.staging());
        assert_eq!(before, self.fingerprint(), "the source changed");
        assert_eq!(
            fs::read_dir(self.staging()).expect("staging").count(),
            0,
            "staging is not empty"
        );
        result
    }

    /// Names, identities, times and bytes of everything in the source directory, and the times of the directory.
    pub(crate) fn fingerprint(&self) -> Vec<String> {
        let root = self.dir.path().join("source");
        let mut lines = vec![];
        let mut paths: Vec<PathBuf> = fs::read_dir(&root)
            .expect("list")
            .map(|entry| entry.expect("entry").path())
            .collect();
        paths.push(root);
        for path in paths {
            let stat = fs::symlink_metadata(&path).expect("stat");
            let hash = if stat.is_file() {
                blake3::hash(&fs::read(&path).expect("read")).to_string()
            } else {
                String::new()
            };
            lines.push(format!(
                "{} {} {:o} {} {} {} {} {hash}",
                path.display(),
                stat.ino(),
                stat.mode(),
                stat.size(),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.ctime_nsec()
            ));
        }
        lines.sort();
        lines
    }

    /// Writes a prepared database where a test can open it.
    pub(crate) fn save(&self, prepared: &mut Prepared, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut file = File::create(&path).expect("create");
        let copied = std::io::copy(&mut prepared.file, &mut file).expect("copy");
        assert_eq!(copied, prepared.len, "length");
        path
    }

    /// All bytes of a prepared database.
    pub(crate) fn bytes(prepared: &mut Prepared) -> Vec<u8> {
        let mut bytes = Vec::new();
        prepared.file.read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes.len() as u64, prepared.len, "length");
        bytes
    }
}

/// Opens as an unmodified program on read-only media would.
pub(crate) fn open_read_only(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open")
}

pub(crate) fn count(path: &Path, sql: &str) -> i64 {
    open_read_only(path)
        .query_row(sql, [], |row| row.get(0))
        .expect(sql)
}

pub(crate) fn has(notes: &[Note], wanted: impl Fn(&Note) -> bool) -> bool {
    notes.iter().any(wanted)
}

/// Everything in a database, as text: an independent twin of the comparison inside `prepare`.
pub(crate) fn dump(path: &Path) -> String {
    let conn = open_read_only(path);
    let mut out = String::new();
    for setting in [
        "encoding",
        "page_size",
        "auto_vacuum",
        "user_version",
        "application_id",
    ] {
        let value: rusqlite::types::Value = conn
            .query_row(&format!("PRAGMA {setting}"), [], |row| row.get(0))
            .expect(setting);
        writeln!(out, "{setting} {value:?}").expect("write");
    }
    let mut schema = conn
        .prepare(
            "SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema ORDER BY type, name",
        )
        .expect("schema");
    let mut tables = Vec::new();
    let mut rows = schema.query([]).expect("schema");
    while let Some(row) = rows.next().expect("schema") {
        let name: String = row.get(1).expect("name");
        writeln!(
            out,
            "{:?} {name} {:?} {:?}",
            row.get_ref(0),
            row.get_ref(2),
            row.get_ref(3)
        )
        .expect("write");
        if row.get::<_, String>(0).expect("type") == "table"
            && row.get::<_, i64>(4).expect("root") > 0
        {
            tables.push(name);
        }
    }
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        let with_rowid = format!("SELECT rowid, * FROM \"{quoted}\" NOT INDEXED");
        let mut statement = conn
            .prepare(&with_rowid)
            .or_else(|_| conn.prepare(&format!("SELECT * FROM \"{quoted}\" NOT INDEXED")))
            .expect("table");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("table");
        while let Some(row) = rows.next().expect("row") {
            write!(out, "{table}").expect("write");
            for index in 0..columns {
                match row.get_ref(index).expect("value") {
                    ValueRef::Text(text) => write!(out, " t{}", text.escape_ascii()),
                    other => write!(out, " {other:?}"),
                }
                .expect("write");
            }
            out.push('\n');
        }
    }
    out
}

/// A child process that runs one of this binary's roles and dies when dropped.
pub(crate) struct Role {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// Names the variable that tells a child what to do.
const ROLE: &str = "IMAGEFS_TEST_ROLE";
const ROLE_PATH: &str = "IMAGEFS_TEST_PATH";
/// What the role of a worker is to do.
pub(crate) const JOB: &str = "IMAGEFS_TEST_JOB";

impl Role {
    /// Starts the role and waits until it says that it is ready.
    pub(crate) fn start(role: &str, path: &Path) -> Role {
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        let mut child = as_role(&mut command, role, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut role = Role { child, lines };
        role.wait_for("ready");
        role
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(
                self.lines.read_line(&mut line).expect("child output"),
                0,
                "child ended early"
            );
        }
    }

    /// Waits for a child that kills itself.
    pub(crate) fn wait_for_its_death(mut self) {
        let status = self.child.wait().expect("wait");
        assert_eq!(status.code(), None, "died by a signal");
    }

    /// SIGKILL: no lock is released in order, no sidecar removed.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

/// Completes a command that runs this binary, so that it plays a role.
pub(crate) fn as_role<'a>(command: &'a mut Command, role: &str, path: &Path) -> &'a mut Command {
    command
        .args([
            "--exact",
            "bench::child_role",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(ROLE_PATH, path)
}

impl Drop for Role {
    fn drop(&mut self) {
        // Already gone after `kill`; then both calls fail, and that is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: the body of the children. Without the variable it is none and passes.
#[test]
fn child_role() {
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(ROLE_PATH)) else {
        return;
    };
    if let Ok(job) = std::env::var(JOB) {
        return crate::worker::play(Path::new(&path), &job);
    }
    crate::live::play(&role, Path::new(&path));
}
