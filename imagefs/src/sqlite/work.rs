//! SQLite's part: recover, check, rewrite, compare, all on the staged copy.
//!
//! The database may be hostile, so SQLite runs with its defences up: no trusted schema, no triggers or views, no writing to
//! shadow tables, cell sizes checked, no memory map, a heap limit, and a deadline looked at every few thousand steps.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::check::{self, Check, Failure, Verdict, is_undefined, message};
use super::content::{Contents, Difference, tables};
use super::error::{SqliteError, Step, printable};
use super::header::Header;
use super::note::{Note, WhyCopied};
use super::stage::{DATABASE, JOURNAL, REWRITTEN, Stage, WAL};
use super::{Options, Vacuum};

/// Virtual-machine steps between two looks at the clock: some 10 µs.
const STEPS_BETWEEN_CHECKS: std::ffi::c_int = 1000;

/// Longest SQL text, which bounds what one hostile schema entry can make the parser do.
const SQL_BYTES_MAX: i32 = 16 << 20;

/// Prepares what lies in the staging directory.
pub(super) fn run(stage: &Stage, options: &Options) -> Result<Outcome, SqliteError> {
    // SQLite makes an empty log as soon as it opens a database in WAL mode, so look before.
    let leftovers = Leftovers {
        wal_bytes: stage.len_of(WAL),
        journal_bytes: stage.len_of(JOURNAL),
    };
    let mut work = Work {
        stage,
        options,
        began: Instant::now(),
        step: Step::Recover,
        notes: Vec::new(),
    };
    let conn = work.connect(&stage.path(DATABASE), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let header = work.recover(&conn, leftovers)?;
    let undefined = work.check(&conn, header)?;
    let vacuumed = work.rewrite(&conn, header, undefined)?;
    work.close(conn)?;
    work.finish(header, vacuumed)
}

/// How SQLite's part ended well.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Rewritten; else the staged copy itself is the result.
    pub(super) vacuumed: bool,
    pub(super) notes: Vec<Note>,
}

/// The sidecars that were staged because they carry data.
struct Leftovers {
    wal_bytes: Option<u64>,
    journal_bytes: Option<u64>,
}

struct Work<'a> {
    stage: &'a Stage,
    options: &'a Options,
    began: Instant,
    /// For messages.
    step: Step,
    notes: Vec<Note>,
}

impl Work<'_> {
    fn enter(&mut self, step: Step) {
        self.step = step;
        self.options.say(step);
    }

    /// Opens a database with every defence up. `locking_mode` must come before the first read: then WAL recovery keeps its
    /// index in memory and creates no `-shm`.
    fn connect(&self, path: &Path, mode: OpenFlags) -> Result<Connection, SqliteError> {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        self.open(path, flags).map_err(|error| self.failed(error))
    }

    fn open(&self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let mut conn = Connection::open_with_flags(path, flags)?;
        for (setting, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        ] {
            conn.set_db_config(setting, on)?;
        }
        conn.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX)?;
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
        conn.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
        let (began, timeout) = (self.began, self.options.timeout);
        conn.progress_handler(
            STEPS_BETWEEN_CHECKS,
            Some(move || began.elapsed() > timeout),
        )?;
        let heap = self.options.heap_bytes_max;
        for setting in [
            "locking_mode=EXCLUSIVE",
            "cell_size_check=ON",
            "mmap_size=0",
            "synchronous=OFF",
        ] {
            pragma(&conn, setting)?;
        }
        pragma(&conn, &format!("hard_heap_limit={heap}"))?;
        Ok(conn)
    }

    /// Applies the log, rolls back the journal, and leaves a database in rollback mode without sidecars.
    fn recover(&mut self, conn: &Connection, leftovers: Leftovers) -> Result<Header, SqliteError> {
        self.enter(Step::Recover);
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(|error| self.failed(error))?;
        if let Some(bytes) = leftovers.journal_bytes {
            self.notes.push(Note::JournalRolledBack { bytes });
        }
        self.enter(Step::Checkpoint);
        // FULL counts the frames, TRUNCATE empties the log. Outside WAL mode both answer −1.
        let frames = self.checkpoint(conn, "FULL")?;
        self.checkpoint(conn, "TRUNCATE")?;
        if let Some(bytes) = leftovers.wal_bytes {
            self.notes.push(Note::WalApplied { bytes, frames });
        }
        self.enter(Step::JournalMode);
        let mode: String = conn
            .query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0))
            .map_err(|error| self.failed(error))?;
        if mode != "delete" {
            return Err(self.wrong(format!("journal mode stays {}", printable(&mode))));
        }
        self.stage.header(DATABASE)
    }

    fn checkpoint(&self, conn: &Connection, kind: &str) -> Result<u64, SqliteError> {
        let (busy, log, done): (i64, i64, i64) = conn
            .query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(|error| self.failed(error))?;
        if busy != 0 || log != done {
            return Err(self.wrong(format!(
                "checkpoint left {log} frames, {done} done, busy {busy}"
            )));
        }
        Ok(u64::try_from(log).unwrap_or(0))
    }

    /// Checks the whole database. `Some` when parts need definitions that only their own program has.
    fn check(&mut self, conn: &Connection, header: Header) -> Result<Option<String>, SqliteError> {
        self.enter(Step::Check);
        let len = self.stage.len_of(DATABASE).unwrap_or(0);
        let trailing = len % u64::from(header.page_size);
        if trailing != 0 {
            self.notes.push(Note::TrailingBytes { bytes: trailing });
        }
        let quick = len > self.options.vacuum_bytes_max && !self.options.deep;
        let check = if quick { Check::Quick } else { Check::Full };
        let verdict = self.judge(check, conn)?;
        if quick {
            self.notes.push(Note::QuickChecked);
        }
        let undefined = match verdict {
            Verdict::Good => return Ok(None),
            Verdict::RulesBroken { first, count } => {
                self.notes.push(Note::RulesBroken { first, count });
                return Ok(None);
            }
            Verdict::Undefined(what) => what,
        };
        let mut scanned = Vec::new();
        for table in tables(conn).map_err(|error| self.failed(error))? {
            if let Verdict::Undefined(_) = self.judge(Check::Table(&table.name), conn)? {
                scanned.push(printable(&table.name));
            }
        }
        // Reading every row is what can still be done.
        let unread = Contents::read(conn, is_undefined)
            .map_err(|error| self.failed(error))?
            .unread;
        scanned.retain(|table| !unread.contains(table));
        if !scanned.is_empty() || !unread.is_empty() {
            self.notes.push(Note::Unchecked { scanned, unread });
        }
        Ok(Some(undefined))
    }

    fn judge(&self, check: Check<'_>, conn: &Connection) -> Result<Verdict, SqliteError> {
        check::judge(check, conn).map_err(|failure| match failure {
            Failure::Sqlite(error) => self.failed(error),
            Failure::Damage(detail) => SqliteError::Corrupt {
                path: self.stage.source().to_owned(),
                step: self.step,
                detail,
            },
        })
    }

    /// Rewrites the database where that is wanted, possible, and changes nothing a program can see.
    fn rewrite(
        &mut self,
        conn: &Connection,
        header: Header,
        undefined: Option<String>,
    ) -> Result<bool, SqliteError> {
        let len = self.stage.len_of(DATABASE).unwrap_or(0);
        let why = match undefined {
            Some(what) => WhyCopied::Undefined(what),
            None if self.options.vacuum == Vacuum::Never => WhyCopied::Asked,
            None if header.reserved != 0 => WhyCopied::ReservedBytes(header.reserved),
            None if len > self.options.vacuum_bytes_max => WhyCopied::Large,
            None => match self.vacuum(conn)? {
                None => return Ok(true),
                Some(why) => why,
            },
        };
        self.notes.push(Note::Copied(why));
        Ok(false)
    }

    /// `None` when the rewritten database is there and says the same.
    fn vacuum(&mut self, conn: &Connection) -> Result<Option<WhyCopied>, SqliteError> {
        self.enter(Step::Vacuum);
        let target = self.stage.path(REWRITTEN);
        let target = target
            .to_str()
            .ok_or_else(|| self.wrong("staging path is not UTF-8".to_owned()))?;
        match conn.execute("VACUUM main INTO ?1", [target]) {
            Ok(_) => {}
            Err(error) if is_undefined(&error) => {
                self.discard_rewritten()?;
                return Ok(Some(WhyCopied::Undefined(printable(&message(&error)))));
            }
            Err(error) => return Err(self.failed(error)),
        }
        self.enter(Step::Compare);
        let before = Contents::read(conn, is_undefined).map_err(|error| self.failed(error))?;
        let after = {
            let conn = self.reopen(REWRITTEN)?;
            if let Verdict::Undefined(what) = self.judge(Check::Full, &conn)? {
                return Err(self.wrong(what));
            }
            Contents::read(&conn, is_undefined).map_err(|error| self.failed(error))?
        };
        match before.difference(&after) {
            None => Ok(None),
            Some(Difference::Rows(table)) => {
                self.discard_rewritten()?;
                Ok(Some(WhyCopied::Differs(table)))
            }
            Some(Difference::Other(what)) => Err(self.wrong(what)),
        }
    }

    fn discard_rewritten(&self) -> Result<(), SqliteError> {
        match self.stage.len_of(REWRITTEN) {
            Some(_) => self.stage.remove(REWRITTEN),
            None => Ok(()),
        }
    }

    /// Opens a result as a reader of the image may: read-only and immutable.
    fn reopen(&self, name: &str) -> Result<Connection, SqliteError> {
        let uri = immutable_uri(&self.stage.path(name));
        self.connect(
            Path::new(&uri),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        )
    }

    fn close(&self, conn: Connection) -> Result<(), SqliteError> {
        conn.close().map_err(|(_, error)| self.failed(error))
    }

    /// Last look at the file that will be packed.
    fn finish(mut self, header: Header, vacuumed: bool) -> Result<Outcome, SqliteError> {
        self.enter(Step::Compare);
        let name = if vacuumed { REWRITTEN } else { DATABASE };
        if !vacuumed {
            self.cut_trailing(header)?;
            let conn = self.reopen(name)?;
            conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
                .map_err(|error| self.failed(error))?;
        }
        let (_, result, _) = self.stage.result(vacuumed)?;
        if result.page_size != header.page_size {
            return Err(self.wrong(format!("page size became {}", result.page_size)));
        }
        Ok(Outcome {
            vacuumed,
            notes: self.notes,
        })
    }

    fn cut_trailing(&self, header: Header) -> Result<(), SqliteError> {
        let len = self.stage.len_of(DATABASE).unwrap_or(0);
        let whole = len - len % u64::from(header.page_size);
        if whole == len {
            return Ok(());
        }
        OpenOptions::new()
            .write(true)
            .open(self.stage.path(DATABASE))
            .and_then(|file| file.set_len(whole))
            .map_err(|error| self.stage.io_error("cut copy", error))
    }

    fn wrong(&self, detail: String) -> SqliteError {
        SqliteError::Wrong {
            path: self.stage.source().to_owned(),
            detail,
        }
    }

    fn failed(&self, error: rusqlite::Error) -> SqliteError {
        let path = self.stage.source().to_owned();
        check::name_error(error, path, self.step, self.options.timeout)
    }
}

/// Runs a pragma whatever it returns.
fn pragma(conn: &Connection, setting: &str) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(&format!("PRAGMA {setting}"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// `file:` URI of a path; every byte that could mean something is escaped.
fn immutable_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02x}"));
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    uri
}
