//! Files that are no databases, damaged ones, and ones made to hurt.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use imagefs::sqlite::{
    HEADER_LEN, Note, Options, Source, SqliteError, Step, detect, prepare_source,
};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::bench::{Bench, as_role, count, dump, has};

const ROWS: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX tv ON t(v);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO t SELECT i, printf('row %08d of many', i) FROM n;";

#[test]
fn detection_goes_by_content() {
    let bench = Bench::new();
    let path = bench.database("no-extension", ROWS);
    let bytes = fs::read(&path).expect("read");
    let len = bytes.len() as u64;
    assert!(detect(&bytes, len) && detect(&bytes[..HEADER_LEN], len));
    assert!(!detect(&bytes[..HEADER_LEN - 1], len), "not enough to tell");
    assert!(!detect(b"", 0), "zero-length file");
    assert!(!detect(b"SQLite format 3\0", 16), "magic alone");
    assert!(!detect(&[0x5a; 4096], 4096), "encrypted");
    assert!(!detect(b"<?php // a.sqlite", 17));
}

#[test]
fn what_is_no_database_is_said_to_be_none() {
    let bench = Bench::new();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("magic", b"SQLite format 3\0"),
        ("encrypted", &[0x5a; 4096]),
    ] {
        let path = bench.source(name);
        fs::write(&path, bytes).expect("write");
        let result = bench.prepare(&path);
        assert!(
            matches!(&result, Err(SqliteError::NotADatabase { path: at }) if *at == path),
            "{name}: {result:?}"
        );
    }
    let fifo = bench.source("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("fifo");
    let real = bench.database("real.db", ROWS);
    symlink(&real, bench.source("link")).expect("symlink");
    fs::create_dir(bench.source("dir")).expect("dir");
    for name in ["fifo", "link", "dir"] {
        let result = bench.prepare(&bench.source(name));
        assert!(
            matches!(result, Err(SqliteError::NotAFile { .. })),
            "{name}: {result:?}"
        );
    }
    // A sidecar that is a link could lead anywhere.
    symlink("/etc/passwd", bench.source("real.db-wal")).expect("symlink");
    let result = bench.prepare(&real);
    assert!(
        matches!(result, Err(SqliteError::NotAFile { .. })),
        "{result:?}"
    );
    let missing = bench.prepare(&bench.source("missing"));
    assert!(
        matches!(&missing, Err(SqliteError::Io { op: "open", .. })),
        "{missing:?}"
    );
}

#[test]
fn damaged_page_is_reported() {
    let bench = Bench::new();
    let path = bench.database("a.db", ROWS);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open")
        .write_all_at(&[0xff; 64], 4096 * 3)
        .expect("write");
    match bench.prepare(&path) {
        Err(SqliteError::Corrupt {
            path: at, detail, ..
        }) => assert!(at == path && !detail.is_empty(), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn truncated_database_is_reported() {
    let bench = Bench::new();
    let path = bench.database("a.db", ROWS);
    let len = fs::metadata(&path).expect("stat").len();
    for cut in [4096, 4097, 1, len - 100] {
        let file = bench.source(&format!("cut{cut}"));
        fs::copy(&path, &file).expect("copy");
        OpenOptions::new()
            .write(true)
            .open(&file)
            .expect("open")
            .set_len(len - cut)
            .expect("cut");
        let result = bench.prepare(&file);
        assert!(
            matches!(result, Err(SqliteError::Corrupt { .. })),
            "{cut}: {result:?}"
        );
    }
}

/// Every page is sound, but the index misses a row: only a full check sees it.
#[test]
fn index_that_disagrees_with_its_table_is_reported() {
    let bench = Bench::new();
    let path = bench.database("a.db", ROWS);
    let conn = Connection::open(&path).expect("open");
    conn.execute_batch(
        "PRAGMA writable_schema=ON; CREATE TABLE spare(x); INSERT INTO spare VALUES ('zzz');
         UPDATE sqlite_schema SET sql = 'CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, w TEXT)' WHERE name = 't';
         UPDATE sqlite_schema SET sql = 'CREATE INDEX tv ON t(w)' WHERE name = 'tv';",
    )
    .expect("sql");
    conn.close().expect("close");
    match bench.prepare(&path) {
        Err(SqliteError::Corrupt {
            step: Step::Check,
            detail,
            ..
        }) => {
            assert!(detail.contains("missing from index tv"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_after_the_last_page_are_left_out_with_a_note() {
    let bench = Bench::new();
    let path = bench.database("a.db", ROWS);
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    let len = file.metadata().expect("stat").len();
    file.write_all_at(b"trailer", len).expect("write");
    for vacuum in [
        imagefs::sqlite::Vacuum::Auto,
        imagefs::sqlite::Vacuum::Never,
    ] {
        let options = Options {
            vacuum,
            ..Options::default()
        };
        let mut prepared = bench.prepare_with(&path, &options).expect("prepare");
        assert!(has(&prepared.notes, |note| *note
            == Note::TrailingBytes { bytes: 7 }));
        assert_eq!(prepared.len % 4096, 0);
        let out = bench.save(&mut prepared, "out.db");
        assert_eq!(count(&out, "SELECT count(*) FROM t"), 2000);
    }
}

#[test]
fn endless_work_ends_with_a_timeout() {
    let bench = Bench::new();
    let path = bench.database("a.db", ROWS);
    let options = Options {
        timeout: Duration::ZERO,
        ..Options::default()
    };
    let result = bench.prepare_with(&path, &options);
    assert!(
        matches!(result, Err(SqliteError::Timeout { .. })),
        "{result:?}"
    );

    // A constraint that builds two megabytes for each row, evaluated by the check: minutes in all.
    let slow = bench.database(
        "slow.db",
        "CREATE TABLE t(a, CHECK (length(hex(zeroblob(a))) > 0)); PRAGMA ignore_check_constraints=ON;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO t SELECT 1000000 FROM n;",
    );
    let began = Instant::now();
    let options = Options {
        timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let result = bench.prepare_with(&slow, &options);
    assert!(
        matches!(
            result,
            Err(SqliteError::Timeout {
                step: Step::Check,
                ..
            })
        ),
        "{result:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}

/// An expression in the schema wants a value of a gigabyte, which the check would build for each row.
#[test]
fn memory_bomb_in_the_schema_meets_a_limit() {
    let bench = Bench::new();
    let path = bench.source("bomb.db");
    let conn = Connection::open(&path).expect("open");
    conn.create_scalar_function(
        "zeroblob",
        1,
        FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS,
        |_| Ok(1),
    )
    .expect("function");
    conn.execute_batch(
        "CREATE TABLE t(a); CREATE INDEX i ON t(hex(hex(hex(zeroblob(a))))); INSERT INTO t VALUES (900000000);",
    )
    .expect("sql");
    conn.close().expect("close");
    let result = bench.prepare(&path);
    assert!(
        matches!(
            result,
            Err(SqliteError::Limit {
                step: Step::Check,
                ..
            })
        ),
        "{result:?}"
    );
}

/// Triggers and views of the database never run: neither preparing nor checking needs them.
#[test]
fn triggers_and_views_do_not_run() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE TABLE t(x); CREATE TABLE log(x); INSERT INTO t VALUES (1);
         CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END;
         CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
         CREATE VIEW broken AS SELECT load_extension('/tmp/evil.so'), never FROM nowhere;",
    );
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(prepared.vacuumed, "{:?}", prepared.notes);
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(dump(&path), dump(&out));
}

/// Single flipped bytes anywhere: each ends in a sound database or a typed error, in bounded time, with the source untouched.
#[test]
fn flipped_bytes_never_do_worse_than_an_error() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "PRAGMA page_size=512; PRAGMA auto_vacuum=FULL; CREATE TABLE t(a, b UNIQUE); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID;
         CREATE VIRTUAL TABLE f USING fts5(text); INSERT INTO f VALUES ('hello world');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
         INSERT INTO t SELECT i, randomblob(40) FROM n; INSERT INTO w SELECT b, a FROM t; DELETE FROM t WHERE a % 3 = 0;",
    );
    let clean = fs::read(&path).expect("read");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut sound, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut bytes = clean.clone();
        for _ in 0..3 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(random >> 33).expect("fits") % bytes.len();
            bytes[at] = u8::try_from(random & 0xff).expect("a byte");
        }
        if !detect(&bytes, bytes.len() as u64) {
            continue;
        }
        fs::write(&path, bytes).expect("write");
        let options = Options {
            timeout: Duration::from_secs(10),
            ..Options::default()
        };
        match prepare_source(
            &Source::open(&path).expect("open"),
            &options,
            &bench.staging(),
        ) {
            Ok(mut prepared) => {
                let out = bench.save(&mut prepared, "out.db");
                count(&out, "SELECT count(*) FROM sqlite_schema");
                sound += 1;
            }
            Err(SqliteError::InUse { .. } | SqliteError::Io { .. }) => {
                panic!("not about the bytes")
            }
            Err(_) => refused += 1,
        }
        assert_eq!(fs::read_dir(bench.staging()).expect("staging").count(), 0);
    }
    println!("{sound} sound, {refused} refused");
    assert!(sound > 0 && refused > 0);
}

#[test]
fn names_from_the_database_are_safe_to_print() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE TABLE \"evil\u{1b}[31m\n\"(x); CREATE INDEX i ON \"evil\u{1b}[31m\n\"(x);",
    );
    let conn = Connection::open(&path).expect("open");
    conn.create_collation("mine\u{1b}", |a, b| a.cmp(b))
        .expect("collation");
    conn.execute_batch(
        "CREATE TABLE c(x COLLATE \"mine\u{1b}\" PRIMARY KEY); INSERT INTO c VALUES ('a');",
    )
    .expect("sql");
    conn.close().expect("close");
    let prepared = bench.prepare(&path).expect("prepare");
    for note in &prepared.notes {
        assert!(!note.to_string().chars().any(char::is_control), "{note:?}");
    }
    assert!(!prepared.notes.is_empty());
}

#[test]
fn missing_staging_is_a_clear_error() {
    let bench = Bench::new();
    let path = bench.database("a.db", ROWS);
    let result = prepare_source(
        &Source::open(&path).expect("open"),
        &Options::default(),
        &bench.root().join("none"),
    );
    assert!(
        matches!(
            &result,
            Err(SqliteError::Io {
                op: "make staging directory",
                ..
            })
        ),
        "{result:?}"
    );
    let link = bench.root().join("link");
    symlink(bench.staging(), &link).expect("symlink");
    prepare_source(
        &Source::open(&path).expect("open"),
        &Options::default(),
        &link,
    )
    .expect("staging through a link");
}

/// The child sees the staging directory as a file system of 64 KiB; root only, because that needs a mount.
#[test]
fn full_staging_is_a_clear_error() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root to mount a small tmpfs");
        return;
    }
    let bench = Bench::new();
    let path = bench.database("a.db", &ROWS.replace("2000", "20000"));
    let before = bench.fingerprint();
    let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(bench.staging())
        .arg(std::env::current_exe().expect("own path"));
    let output = as_role(&mut command, "prepare", &path)
        .output()
        .expect("run");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.contains("no room in the staging directory"),
        "{output}"
    );
    assert_eq!(before, bench.fingerprint());
}
