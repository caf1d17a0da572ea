//! Four databases that break on read-only media, unprepared and prepared, read by the real `sqlite3` shell.
//!
//! The media is a read-only bind mount in a mount namespace of its own (root), or a directory and files without write
//! permission (everybody else). Without the shell these tests say so and end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imagefs::sqlite::{Mode, Prepared};
use rusqlite::Connection;

use crate::bench::{Bench, Role};

/// Read-only media with one database called `x.db`, and files beside it.
struct Media {
    bench: Bench,
    dir: PathBuf,
}

impl Media {
    fn new(bench: Bench) -> Media {
        let dir = bench.root().join("media");
        fs::create_dir(&dir).expect("media");
        Media { bench, dir }
    }

    fn unprepared(&self, suffixes: &[&str]) {
        self.clear();
        for suffix in suffixes {
            let name = format!("x.db{suffix}");
            fs::copy(self.bench.source(&name), self.dir.join(name)).expect("copy");
        }
        self.close();
    }

    fn prepared(&self, mut prepared: Prepared) {
        self.clear();
        self.bench.save(&mut prepared, "media/x.db");
        self.close();
    }

    fn clear(&self) {
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o755)).expect("permissions");
        for entry in fs::read_dir(&self.dir).expect("list") {
            fs::remove_file(entry.expect("entry").path()).expect("remove");
        }
    }

    fn close(&self) {
        for entry in fs::read_dir(&self.dir).expect("list") {
            fs::set_permissions(
                entry.expect("entry").path(),
                fs::Permissions::from_mode(0o444),
            )
            .expect("permissions");
        }
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o555)).expect("permissions");
    }

    /// What the shell answers to a query on the plain path.
    fn plain(&self, sql: &str) -> Result<String, String> {
        self.shell(&self.dir.join("x.db").display().to_string(), sql)
    }

    /// What the shell answers when told that the file cannot change.
    fn immutable(&self, sql: &str) -> Result<String, String> {
        self.shell(
            &format!("file:{}/x.db?immutable=1", self.dir.display()),
            sql,
        )
    }

    fn shell(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = if rustix::process::geteuid().is_root() {
            let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec sqlite3 \"$2\" \"$3\"";
            run(Command::new("unshare")
                .args(["-m", "sh", "-c", script, "sh"])
                .arg(&self.dir)
                .args([database, sql]))
        } else {
            run(Command::new("sqlite3").args([database, sql]))
        };
        if output.status.success() && output.stderr.is_empty() {
            Ok(String::from_utf8(output.stdout)
                .expect("UTF-8")
                .trim()
                .to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        // So that the temporary directory can be removed by somebody who is not root.
        let _ = fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o755));
    }
}

fn run(command: &mut Command) -> Output {
    command.output().expect("run")
}

fn shell_is_missing() -> bool {
    let missing = Command::new("sqlite3").arg("--version").output().is_err();
    if missing {
        println!("skipped: no sqlite3 shell (apt-get install sqlite3)");
    }
    missing
}

/// The prepared database answers on the plain path and immutable alike, and its check is good.
fn works(media: &Media, sql: &str, wanted: &str) {
    for answer in [media.plain(sql), media.immutable(sql)] {
        assert_eq!(answer.as_deref(), Ok(wanted));
    }
    for answer in [
        media.plain("PRAGMA integrity_check"),
        media.immutable("PRAGMA integrity_check"),
    ] {
        assert_eq!(answer.as_deref(), Ok("ok"));
    }
    assert_eq!(
        fs::read_dir(&media.dir).expect("list").count(),
        1,
        "nothing beside the database"
    );
}

fn prepare(media: &Media, path: &Path) -> Prepared {
    media
        .bench
        .prepare_mode(path, Mode::Prepare)
        .expect("prepare")
}

const SOME_ROWS: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    INSERT INTO t SELECT i, hex(randomblob(200)) FROM n;";

#[test]
fn row_1_wal_mode_cleanly_closed() {
    if shell_is_missing() {
        return;
    }
    let media = Media::new(Bench::new());
    let path = media
        .bench
        .database("x.db", &format!("PRAGMA journal_mode=WAL; {SOME_ROWS}"));
    media.unprepared(&[""]);
    let answer = media
        .plain("SELECT count(*) FROM t")
        .expect_err("a WAL-mode file cannot be opened");
    assert!(answer.contains("unable to open database file"), "{answer}");
    media.prepared(prepare(&media, &path));
    works(&media, "SELECT count(*) FROM t", "1000");
}

#[test]
fn row_2_wal_with_commits_that_were_never_checkpointed() {
    if shell_is_missing() {
        return;
    }
    let media = Media::new(Bench::new());
    let path = media
        .bench
        .database("x.db", "PRAGMA journal_mode=WAL; CREATE TABLE old(x);");
    Role::start("die-with-wal", &path).kill();
    media.unprepared(&["", "-wal"]);
    let answer = media
        .immutable("SELECT count(*) FROM t")
        .expect_err("immutable loses the log");
    assert!(answer.contains("no such table"), "{answer}");
    media.prepared(prepare(&media, &path));
    works(
        &media,
        "SELECT count(*), count(v = 'uncommitted' OR NULL) FROM t",
        "500|0",
    );
}

#[test]
fn row_3_rollback_mode_with_a_hot_journal() {
    if shell_is_missing() {
        return;
    }
    let media = Media::new(Bench::new());
    let path = media.bench.database("x.db", SOME_ROWS);
    Role::start("die-in-rollback-transaction", &path).kill();
    media.unprepared(&["", "-journal"]);
    let answer = media
        .plain("SELECT count(*) FROM t")
        .expect_err("a hot journal cannot be rolled back here");
    assert!(
        answer.contains("readonly database") || answer.contains("disk I/O"),
        "{answer}"
    );
    let uncommitted = "SELECT count(*) > 0 FROM t NOT INDEXED WHERE v = 'uncommitted'";
    assert_eq!(
        media.immutable(uncommitted).as_deref(),
        Ok("1"),
        "immutable shows what was never committed"
    );
    media.prepared(prepare(&media, &path));
    works(
        &media,
        "SELECT count(*), count(v = 'uncommitted' OR NULL) FROM t",
        "1000|0",
    );
}

#[test]
fn row_4_rollback_mode_cleanly_closed() {
    if shell_is_missing() {
        return;
    }
    let media = Media::new(Bench::new());
    let path = media.bench.database("x.db", SOME_ROWS);
    media.unprepared(&[""]);
    works(&media, "SELECT count(*) FROM t", "1000");
    media.prepared(prepare(&media, &path));
    works(&media, "SELECT count(*) FROM t", "1000");
    // The shell's SQLite is another version than ours; each reads what the other wrote.
    let sum = "SELECT sum(id), count(DISTINCT v) FROM t";
    let ours: (i64, i64) = Connection::open(&path)
        .expect("open")
        .query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("query");
    assert_eq!(
        media.plain(sum).as_deref(),
        Ok(format!("{}|{}", ours.0, ours.1).as_str())
    );
}
