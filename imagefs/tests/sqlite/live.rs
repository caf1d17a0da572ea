//! Databases that another process is using right now, and the children that do so.

use std::fs::{self, FileTimes, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use imagefs::sqlite::{BusyReason, Note, Options, SqliteError, Step};
use rusqlite::Connection;

use crate::bench::{Bench, Role, has, open_read_only};

/// What the children do. Each prints "ready" and then waits to be killed.
pub(crate) fn play(role: &str, path: &Path) {
    if role == "prepare" {
        let staging = path.parent().expect("source").with_file_name("staging");
        let result = imagefs::sqlite::prepare(path, imagefs::sqlite::Mode::Prepare, &staging);
        println!(
            "{}",
            result.map_or_else(|error| error.to_string(), |_| "prepared".to_owned())
        );
        return;
    }
    let conn = Connection::open(path).expect("open");
    conn.busy_timeout(Duration::from_secs(20)).expect("timeout");
    let sql = |text: &str| conn.execute_batch(text).expect(text);
    match role {
        "die-in-rollback-transaction" => {
            // A tiny cache makes SQLite sync the journal and write into the database before the commit.
            sql(
                "PRAGMA cache_size=2; PRAGMA cache_spill=1; BEGIN; UPDATE t SET v = 'uncommitted';
                 INSERT INTO t SELECT id + 100000, 'uncommitted' FROM t;",
            );
        }
        "die-with-wal" => {
            sql("PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=2; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                 INSERT INTO t SELECT i, hex(randomblob(200)) FROM n;
                 BEGIN; UPDATE t SET v = 'uncommitted';");
        }
        "die-in-commit-over-two-databases" => return die_in_commit(&conn, path),
        "hold-reserved" => sql("BEGIN IMMEDIATE; INSERT INTO t VALUES (2);"),
        "hold-exclusive" => sql("BEGIN EXCLUSIVE; INSERT INTO t VALUES (2);"),
        "hold-reader" => {
            sql("BEGIN");
            conn.query_row("SELECT count(*) FROM t", [], |_| Ok(()))
                .expect("read");
        }
        "hold-open" => conn
            .query_row("SELECT count(*) FROM t", [], |_| Ok(()))
            .expect("read"),
        "transfer-forever" => return transfer_forever(&conn),
        other => panic!("no role {other}"),
    }
    println!("ready");
    std::thread::sleep(Duration::from_secs(120));
}

/// Dies in the middle of a commit over two files. SQLite writes the journals and pages of the first file before it
/// writes those of the second, and there a file size limit ends the process.
fn die_in_commit(conn: &Connection, path: &Path) {
    let two = path.with_file_name("two.db");
    let room = fs::metadata(&two).expect("stat").len() + 8192;
    conn.execute("ATTACH ?1 AS two", [two.to_str().expect("UTF-8")])
        .expect("attach");
    let limit = rustix::process::Rlimit {
        current: Some(room),
        maximum: Some(room),
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).expect("limit");
    println!("ready");
    conn.execute_batch(
        "BEGIN; UPDATE main.t SET x = 2; INSERT INTO two.t VALUES (zeroblob(100000)); COMMIT",
    )
    .expect("the size limit kills before this returns");
}

/// Moves money between two accounts, one commit after the other; the sum never changes.
fn transfer_forever(conn: &Connection) {
    println!("ready");
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        conn.execute_batch(
            "BEGIN IMMEDIATE;
             UPDATE account SET cents = cents - 1 WHERE id = 1; UPDATE account SET cents = cents + 1 WHERE id = 2;
             INSERT INTO log VALUES (randomblob(3000)); DELETE FROM log WHERE rowid % 7 = 0; COMMIT;",
        )
        .expect("transfer");
    }
}

fn in_use(result: Result<imagefs::sqlite::Prepared, SqliteError>) -> BusyReason {
    match result {
        Err(SqliteError::InUse { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Waits for nobody.
fn impatient() -> Options {
    Options {
        patience: Duration::ZERO,
        ..Options::default()
    }
}

/// What a writer has not committed is not there, and the writer goes on as if nobody had been there.
#[test]
fn what_a_writer_has_committed_is_taken_while_it_writes() {
    let bench = Bench::new();
    for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL"] {
        let sql =
            format!("PRAGMA journal_mode={mode}; CREATE TABLE t(x); INSERT INTO t VALUES (1);");
        let path = bench.database(&format!("{mode}.db"), &sql);
        let writer = Role::start("hold-reserved", &path);
        let mut prepared = bench.prepare_with(&path, &impatient()).expect(mode);
        assert_eq!(prepared.notes, [Note::OpenElsewhere], "{mode}");
        let out = bench.save(&mut prepared, "out.db");
        assert_eq!(crate::bench::count(&out, "SELECT count(*) FROM t"), 1);
        writer.kill();
    }
}

#[test]
fn a_writer_that_never_lets_go_is_named_after_a_while() {
    let bench = Bench::new();
    let path = bench.database("a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1);");
    let writer = Role::start("hold-exclusive", &path);
    let options = Options {
        patience: Duration::from_millis(300),
        ..Options::default()
    };
    let began = Instant::now();
    let error = bench
        .prepare_with(&path, &options)
        .expect_err("it is locked");
    assert!(began.elapsed() >= options.patience, "it was waited for");
    let said = format!(
        "{}: database in use, for 300ms: locked for writing by process {}; stop its writer or pack a backup of it",
        path.display(),
        writer.pid()
    );
    assert_eq!(error.to_string(), said);
    assert_eq!(
        in_use(Err(error)),
        BusyReason::WriteLock(Some(writer.pid()))
    );
    writer.kill();
    bench.prepare_with(&path, &impatient()).expect("afterwards");
}

/// Whoever removes its log on leaving cannot do so while it is read; the next one does.
#[test]
fn a_reader_leaves_no_log_behind() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1);",
    );
    let open = Role::start("hold-open", &path);
    bench.prepare(&path).expect("prepare");
    open.kill();
    let names = |bench: &Bench| fs::read_dir(bench.root().join("source")).unwrap().count();
    assert_eq!(names(&bench), 3, "what was killed leaves its log");
    let conn = Connection::open(&path).expect("open");
    conn.execute_batch("INSERT INTO t VALUES (2)")
        .expect("insert");
    conn.close().expect("close");
    assert_eq!(names(&bench), 1, "the next one removes it");
}

#[test]
fn readers_do_not_stop_preparation() {
    let bench = Bench::new();
    for mode in ["DELETE", "WAL"] {
        let sql =
            format!("PRAGMA journal_mode={mode}; CREATE TABLE t(x); INSERT INTO t VALUES (1);");
        let path = bench.database(&format!("{mode}.db"), &sql);
        let _reader = Role::start("hold-reader", &path);
        let prepared = bench.prepare(&path).expect(mode);
        assert!(
            has(&prepared.notes, |note| *note == Note::OpenElsewhere),
            "{mode}: {:?}",
            prepared.notes
        );
    }
}

#[test]
fn idle_wal_connection_is_noted_and_its_commits_are_taken() {
    let bench = Bench::new();
    let path = bench.database("a.db", "PRAGMA journal_mode=WAL; CREATE TABLE t(x);");
    let _open = Role::start("hold-open", &path);
    let conn = Connection::open(&path).expect("open");
    conn.execute_batch("INSERT INTO t VALUES (1), (2), (3)")
        .expect("insert");
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(has(&prepared.notes, |note| *note == Note::OpenElsewhere));
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(crate::bench::count(&out, "SELECT count(*) FROM t"), 3);
}

/// The lock taken on the source must be a reader's: a writer goes on as soon as the copy is done.
#[test]
fn no_lock_outlives_the_preparation() {
    let bench = Bench::new();
    let path = bench.database("a.db", "CREATE TABLE t(x);");
    let _prepared = bench.prepare(&path).expect("prepare");
    Connection::open(&path)
        .expect("open")
        .execute_batch("BEGIN EXCLUSIVE; COMMIT")
        .expect("lock");
}

#[test]
fn a_constant_writer_gives_a_consistent_state_each_time() {
    let bench = Bench::new();
    for mode in ["DELETE", "WAL"] {
        let sql = format!(
            "PRAGMA journal_mode={mode}; CREATE TABLE account(id INTEGER PRIMARY KEY, cents INTEGER);
             INSERT INTO account VALUES (1, 500), (2, 500); CREATE TABLE log(x); INSERT INTO log VALUES (zeroblob(300000));"
        );
        let path = bench.database(&format!("{mode}.db"), &sql);
        let writer = Role::start("transfer-forever", &path);
        let mut taken = 0;
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            let mut prepared =
                imagefs::sqlite::prepare(&path, imagefs::sqlite::Mode::Prepare, &bench.staging())
                    .unwrap_or_else(|error| panic!("{mode}: {error}"));
            let out = bench.save(&mut prepared, "out.db");
            let sum: i64 = open_read_only(&out)
                .query_row("SELECT sum(cents) FROM account", [], |row| row.get(0))
                .expect("sum");
            assert_eq!(sum, 1000, "{mode}");
            taken += 1;
        }
        println!("{mode}: {taken} taken");
        assert!(taken > 2, "{mode}");
        writer.kill();
        bench.prepare(&path).expect("after its death");
    }
}

/// Runs `change` after the source was opened and looked at, before it is copied.
fn prepare_while(
    bench: &Bench,
    path: &Path,
    change: impl Fn() + Send + Sync + 'static,
) -> BusyReason {
    let progress = move |step| {
        if step == Step::Copy {
            change();
        }
    };
    let options = Options {
        progress: Some(Arc::new(progress)),
        ..impatient()
    };
    let source = imagefs::sqlite::Source::open(path).expect("open");
    in_use(imagefs::sqlite::prepare_source(
        &source,
        &options,
        &bench.staging(),
    ))
}

#[test]
fn change_while_copying_is_noticed() {
    let bench = Bench::new();
    let path = bench.database("a.db", "CREATE TABLE t(x);");
    let name = |suffix: &str| bench.source(&format!("a.db{suffix}"));

    let target = path.clone();
    let reason = prepare_while(&bench, &path, move || {
        let file = OpenOptions::new().write(true).open(&target).expect("open");
        file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH))
            .expect("times");
    });
    assert_eq!(reason, BusyReason::Changed(path.clone()), "times");

    let target = path.clone();
    let reason = prepare_while(&bench, &path, move || {
        fs::copy(&target, target.with_extension("new")).expect("copy");
        fs::rename(target.with_extension("new"), &target).expect("rename");
    });
    assert_eq!(
        reason,
        BusyReason::Changed(path.clone()),
        "replaced by an equal file"
    );

    for suffix in ["-wal", "-journal", "-shm"] {
        let target = name(suffix);
        let reason = prepare_while(&bench, &path, move || {
            fs::write(&target, "").expect("write")
        });
        assert_eq!(
            reason,
            BusyReason::Changed(name(suffix)),
            "{suffix} appeared"
        );
        let target = name(suffix);
        let reason = prepare_while(&bench, &path, move || {
            fs::remove_file(&target).expect("remove")
        });
        assert_eq!(
            reason,
            BusyReason::Changed(name(suffix)),
            "{suffix} vanished"
        );
    }
}

#[test]
fn steps_are_reported_in_order() {
    let bench = Bench::new();
    let path = bench.database("a.db", "CREATE TABLE t(x);");
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let options = Options {
        progress: Some(Arc::new(move |step| {
            sink.lock().expect("unpoisoned").push(step)
        })),
        ..Options::default()
    };
    bench.prepare_with(&path, &options).expect("prepare");
    let mut seen = seen.lock().expect("unpoisoned").clone();
    seen.dedup();
    let all = [
        Step::Copy,
        Step::Recover,
        Step::Checkpoint,
        Step::JournalMode,
        Step::Check,
        Step::Vacuum,
        Step::Compare,
    ];
    assert_eq!(seen, all);
}
