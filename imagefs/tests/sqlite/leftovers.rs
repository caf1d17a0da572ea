//! What a dead process left beside its database.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use imagefs::sqlite::{Mode, Note, Parts, SidecarKind, SqliteError, detect, prepare_parts};
use rusqlite::Connection;

use crate::bench::{Bench, Role, count, has, open_read_only};

fn len(path: &Path) -> u64 {
    fs::metadata(path).expect("stat").len()
}

fn sidecar(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// 1000 committed rows, then a child dies in the middle of a large transaction.
fn with_hot_journal(bench: &Bench) -> std::path::PathBuf {
    let path = bench.database(
        "site.db",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO t SELECT i, hex(randomblob(200)) FROM n;",
    );
    Role::start("die-in-rollback-transaction", &path).kill();
    assert!(len(&sidecar(&path, "-journal")) > 512, "the journal is hot");
    path
}

fn with_wal(bench: &Bench) -> std::path::PathBuf {
    let path = bench.database(
        "site.db",
        "PRAGMA journal_mode=WAL; CREATE TABLE old(x); INSERT INTO old VALUES (1);",
    );
    Role::start("die-with-wal", &path).kill();
    assert!(len(&sidecar(&path, "-wal")) > 0 && sidecar(&path, "-shm").exists());
    path
}

#[test]
fn hot_journal_of_a_killed_process_is_rolled_back() {
    let bench = Bench::new();
    let path = with_hot_journal(&bench);
    // Without the journal the database shows what was never committed.
    let naked = bench.root().join("naked.db");
    fs::copy(&path, &naked).expect("copy");
    assert_ne!(
        count(&naked, "SELECT count(*) FROM t WHERE v <> 'uncommitted'"),
        1000
    );

    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(has(
        &prepared.notes,
        |note| matches!(note, Note::JournalRolledBack { bytes } if *bytes > 0)
    ));
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(count(&out, "SELECT count(*) FROM t"), 1000);
    assert_eq!(
        count(&out, "SELECT count(*) FROM t WHERE v = 'uncommitted'"),
        0
    );
}

#[test]
fn wal_of_a_killed_process_is_applied_up_to_its_last_commit() {
    let bench = Bench::new();
    let path = with_wal(&bench);
    // Without the log the committed table does not exist.
    let naked = bench.root().join("naked.db");
    fs::copy(&path, &naked).expect("copy");
    let tables = Connection::open(&naked).expect("open").query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 't'",
        [],
        |row| row.get::<_, i64>(0),
    );
    assert_eq!(tables.expect("count"), 0);

    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(has(
        &prepared.notes,
        |note| matches!(note, Note::WalApplied { frames, .. } if *frames > 0)
    ));
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(count(&out, "SELECT count(*) FROM t"), 500);
    assert_eq!(
        count(&out, "SELECT count(*) FROM t WHERE v = 'uncommitted'"),
        0
    );
}

#[test]
fn clean_wal_mode_database_becomes_rollback_mode() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (7);",
    );
    assert_eq!(fs::read(&path).expect("read")[18..20], [2, 2]);
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert_eq!(Bench::bytes(&mut prepared)[18..20], [1, 1]);
    assert!(
        prepared.vacuumed && prepared.notes.is_empty(),
        "{:?}",
        prepared.notes
    );
}

#[test]
fn stale_sidecars_are_left_out() {
    let bench = Bench::new();
    // A finished transaction leaves a journal with a zeroed header.
    let path = bench.database(
        "p.db",
        "PRAGMA journal_mode=PERSIST; CREATE TABLE t(x); INSERT INTO t VALUES (1);",
    );
    assert!(len(&sidecar(&path, "-journal")) > 0);
    let prepared = bench.prepare(&path).expect("prepare");
    assert!(has(&prepared.notes, |n| matches!(
        n,
        Note::SidecarStale {
            kind: SidecarKind::Journal,
            ..
        }
    )));

    let path = bench.database(
        "q.db",
        "PRAGMA journal_mode=TRUNCATE; CREATE TABLE t(x); INSERT INTO t VALUES (1);",
    );
    assert_eq!(len(&sidecar(&path, "-journal")), 0);
    fs::write(sidecar(&path, "-wal"), [0_u8; 64]).expect("write");
    fs::write(sidecar(&path, "-shm"), [0_u8; 32768]).expect("write");
    let prepared = bench.prepare(&path).expect("prepare");
    assert_eq!(
        prepared.notes,
        [Note::SidecarStale {
            kind: SidecarKind::Wal,
            bytes: 64
        }]
    );
}

#[test]
fn wal_of_an_earlier_generation_changes_nothing() {
    let bench = Bench::new();
    let path = with_wal(&bench);
    let old_wal = fs::read(sidecar(&path, "-wal")).expect("read");
    // The log is checkpointed and removed; then a backup tool puts the old one back with other salts.
    Connection::open(&path)
        .expect("open")
        .execute_batch(
            "PRAGMA journal_mode=DELETE; DELETE FROM t; INSERT INTO t VALUES (1, 'now');",
        )
        .expect("sql");
    let mut wal = old_wal;
    wal[16] ^= 0xff;
    fs::write(sidecar(&path, "-wal"), wal).expect("write");
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(has(&prepared.notes, |note| matches!(
        note,
        Note::WalApplied { frames: 0, .. }
    )));
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(count(&out, "SELECT count(*) FROM t WHERE v = 'now'"), 1);
}

#[test]
fn foreign_file_with_a_sidecar_name_is_left_out_loudly() {
    let bench = Bench::new();
    let path = bench.database("diary", "CREATE TABLE t(x);");
    fs::write(sidecar(&path, "-journal"), "Dear diary, today").expect("write");
    fs::write(
        sidecar(&path, "-wal"),
        "not a log either, but long enough to be one",
    )
    .expect("write");
    let prepared = bench.prepare(&path).expect("prepare");
    let foreign = |kind| move |note: &Note| matches!(note, Note::SidecarForeign { kind: k, .. } if *k == kind);
    assert!(
        has(&prepared.notes, foreign(SidecarKind::Journal))
            && has(&prepared.notes, foreign(SidecarKind::Wal))
    );
    assert!(prepared.notes.iter().all(Note::is_warning));
}

#[test]
#[expect(clippy::big_endian_bytes, reason = "journals are big-endian")]
fn super_journal_is_refused_and_its_file_survives() {
    let bench = Bench::new();
    let path = with_hot_journal(&bench);
    let named = bench.source("site.db-mj1234ABCD");
    fs::write(&named, "other.db-journal\0").expect("write");
    let name = named.to_str().expect("UTF-8").as_bytes();
    let sum = name.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let mut journal = OpenOptions::new()
        .append(true)
        .open(sidecar(&path, "-journal"))
        .expect("open");
    let page = (1_u32 << 30) / 4096 + 1;
    let size = u32::try_from(name.len()).expect("short");
    for part in [
        &page.to_be_bytes()[..],
        name,
        &size.to_be_bytes(),
        &sum.to_be_bytes(),
    ] {
        journal.write_all(part).expect("write");
    }
    journal
        .write_all(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7])
        .expect("write");
    drop(journal);
    match bench.prepare(&path) {
        Err(SqliteError::SuperJournal { path: at, name }) => {
            assert_eq!((at, name.as_str()), (path, named.to_str().expect("UTF-8")));
        }
        other => panic!("{other:?}"),
    }
    assert!(named.exists());
}

#[test]
fn real_transaction_over_two_databases_leaves_a_super_journal_that_is_found() {
    let bench = Bench::new();
    let path = bench.database("one.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1);");
    bench.database(
        "two.db",
        "CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(500000));",
    );
    Role::start("die-in-commit-over-two-databases", &path).wait_for_its_death();
    assert!(len(&sidecar(&path, "-journal")) > 0, "the journal is hot");
    match bench.prepare(&path) {
        Err(SqliteError::SuperJournal { name, .. }) => {
            assert!(name.contains("one.db-mj"), "{name}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuse_mode_names_the_leftover() {
    let bench = Bench::new();
    let path = with_wal(&bench);
    let bytes = len(&sidecar(&path, "-wal"));
    match bench.prepare_mode(&path, Mode::Refuse) {
        Err(SqliteError::SidecarPresent {
            path: at,
            kind: SidecarKind::Wal,
            bytes: found,
        }) => {
            assert_eq!((at, found), (path.clone(), bytes));
        }
        other => panic!("{other:?}"),
    }
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(sidecar(&path, suffix)).expect("remove");
    }
    fs::write(sidecar(&path, "-journal"), "").expect("write");
    bench
        .prepare_mode(&path, Mode::Refuse)
        .expect("empty sidecars carry nothing");
    fs::write(sidecar(&path, "-shm"), "x").expect("write");
    let refused = bench.prepare_mode(&path, Mode::Refuse);
    assert!(
        matches!(
            refused,
            Err(SqliteError::SidecarPresent {
                kind: SidecarKind::Shm,
                bytes: 1,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn raw_mode_keeps_the_bytes_and_says_what_is_lost() {
    let bench = Bench::new();
    let path = with_wal(&bench);
    let mut prepared = bench.prepare_mode(&path, Mode::Raw).expect("raw");
    assert_eq!(Bench::bytes(&mut prepared), fs::read(&path).expect("read"));
    assert!(has(&prepared.notes, |n| matches!(
        n,
        Note::SidecarLost {
            kind: SidecarKind::Wal,
            ..
        }
    ) && n.is_warning()));
    assert!(has(&prepared.notes, |n| *n == Note::WalModeKept
        && n.is_warning()));

    let bench = Bench::new();
    let path = with_hot_journal(&bench);
    let prepared = bench.prepare_mode(&path, Mode::Raw).expect("raw");
    assert!(has(&prepared.notes, |n| matches!(
        n,
        Note::SidecarLost {
            kind: SidecarKind::Journal,
            ..
        }
    )));
}

#[test]
fn members_of_an_archive_are_prepared_like_files() {
    let bench = Bench::new();
    let path = with_wal(&bench);
    let mut direct = bench.prepare(&path).expect("prepare");
    let read = |suffix: &str| fs::read(sidecar(&path, suffix)).expect("read");
    let (database, wal) = (read(""), read("-wal"));
    assert!(detect(&database, database.len() as u64));
    let parts = Parts {
        database: &mut &database[..],
        wal: Some(&mut &wal[..]),
        journal: None,
    };
    let mut prepared = prepare_parts(
        Path::new("in.tar/site.db"),
        parts,
        &imagefs::sqlite::Options::default(),
        &bench.staging(),
    )
    .expect("prepare");
    assert!(has(
        &prepared.notes,
        |note| matches!(note, Note::WalApplied { frames, .. } if *frames > 0)
    ));
    assert_eq!(Bench::bytes(&mut prepared), Bench::bytes(&mut direct));
}

#[test]
fn same_input_gives_same_bytes_wherever_it_lies() {
    let bench = Bench::new();
    let path = with_wal(&bench);
    let mut first = bench.prepare(&path).expect("prepare");
    let other = Bench::new();
    for suffix in ["", "-wal"] {
        fs::copy(
            sidecar(&path, suffix),
            sidecar(&other.source("renamed? #%41.sqlite"), suffix),
        )
        .expect("copy");
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let mut second = other
        .prepare(&other.source("renamed? #%41.sqlite"))
        .expect("prepare");
    assert_eq!(Bench::bytes(&mut first), Bench::bytes(&mut second));
    // Preparing what is prepared changes nothing a program can see, and is stable as well.
    let once = bench.source("once.db");
    fs::copy(
        bench.save(&mut bench.prepare(&path).expect("prepare"), "x"),
        &once,
    )
    .expect("copy");
    let twice = bench.save(&mut bench.prepare(&once).expect("prepare"), "y");
    assert_eq!(crate::bench::dump(&once), crate::bench::dump(&twice));
    assert!(open_read_only(&twice).is_readonly("main").expect("main"));
}
