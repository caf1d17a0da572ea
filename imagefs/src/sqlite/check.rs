//! What SQLite's checks and errors mean: damage, a broken constraint, a missing definition, a limit.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi};

use super::content::quote;
use super::error::{SqliteError, Step, printable};

/// Findings asked of a check: more broken constraints than this hide damage, and count as such.
const FINDINGS_MAX: usize = 10_000;

/// What is checked, and how well.
#[derive(Clone, Copy)]
pub(super) enum Check<'a> {
    /// Everything.
    Full,
    /// Everything but whether indexes agree with their tables.
    Quick,
    /// One table and its indexes.
    Table(&'a str),
}

impl Check<'_> {
    fn sql(self) -> String {
        match self {
            Check::Full => format!("PRAGMA integrity_check({FINDINGS_MAX})"),
            Check::Quick => format!("PRAGMA quick_check({FINDINGS_MAX})"),
            Check::Table(table) => format!("PRAGMA integrity_check({})", quote(table)),
        }
    }
}

/// What a check says of a database that is not damaged.
pub(super) enum Verdict {
    Good,
    /// Rows that the schema's own constraints forbid. The program wrote them so, and they are kept.
    RulesBroken {
        first: String,
        count: usize,
    },
    /// The check needs a definition that is missing here.
    Undefined(String),
}

/// Runs a check. Damage is an error; everything else it may say is a verdict.
pub(super) fn judge(check: Check<'_>, conn: &Connection) -> Result<Verdict, Failure> {
    let rows = conn.prepare(&check.sql()).and_then(|mut statement| {
        statement
            .query_map([], |row| row.get::<_, String>(0))?
            .collect()
    });
    let rows: Vec<String> = match rows {
        Ok(rows) => rows,
        Err(error) if is_undefined(&error) => {
            return Ok(Verdict::Undefined(printable(&message(&error))));
        }
        Err(error) => return Err(Failure::Sqlite(error)),
    };
    if rows == ["ok"] {
        return Ok(Verdict::Good);
    }
    let damage: Vec<String> = rows
        .iter()
        .filter(|row| !breaks_a_rule(row))
        .take(3)
        .map(|row| printable(row))
        .collect();
    if damage.is_empty() && !rows.is_empty() && rows.len() < FINDINGS_MAX {
        return Ok(Verdict::RulesBroken {
            first: printable(&rows[0]),
            count: rows.len(),
        });
    }
    if damage.is_empty() {
        return Err(Failure::Damage(format!(
            "{} broken constraints hide the rest",
            rows.len()
        )));
    }
    Err(Failure::Damage(damage.join("; ")))
}

/// Why a check came to no verdict.
pub(super) enum Failure {
    /// SQLite could not finish it.
    Sqlite(rusqlite::Error),
    /// It found damage: its first words.
    Damage(String),
}

/// Gives SQLite's error the name a caller can act on.
pub(super) fn name_error(
    error: rusqlite::Error,
    path: PathBuf,
    step: Step,
    timeout: Duration,
) -> SqliteError {
    let code = match &error {
        rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        other => other.sqlite_error_code(),
    };
    match code {
        Some(ErrorCode::OperationInterrupted) => SqliteError::Timeout {
            path,
            step,
            after: timeout,
        },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SqliteError::Corrupt {
            path,
            step,
            detail: printable(&message(&error)),
        },
        Some(ErrorCode::OutOfMemory | ErrorCode::TooBig) => SqliteError::Limit {
            path,
            step,
            detail: printable(&message(&error)),
        },
        Some(ErrorCode::DiskFull) => SqliteError::NoSpace { path, step },
        _ if matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::Utf8Error(..)
        ) =>
        {
            SqliteError::Corrupt {
                path,
                step,
                detail: "a name in the schema is not UTF-8".to_owned(),
            }
        }
        _ => SqliteError::Sqlite {
            path,
            step,
            source: error,
        },
    }
}

/// SQLite's own words for an error.
pub(super) fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// SQLite's primary result code.
fn primary_code(error: &rusqlite::Error) -> Option<std::ffi::c_int> {
    match error {
        rusqlite::Error::SqliteFailure(code, _)
        | rusqlite::Error::SqlInputError { error: code, .. } => Some(code.extended_code & 0xff),
        _ => None,
    }
}

/// Whether the error means that the schema uses a function, collation, tokenizer or module that only its own program
/// registers. SQLite answers with its general error; damage, memory, time and I/O have codes of their own.
pub(super) fn is_undefined(error: &rusqlite::Error) -> bool {
    primary_code(error) == Some(ffi::SQLITE_ERROR)
}

/// Whether a line of `integrity_check` is about a constraint of the schema, not about the storage (`pragma.c`,
/// `PragTyp_INTEGRITY_CHECK`).
fn breaks_a_rule(line: &str) -> bool {
    line.starts_with("CHECK constraint failed in ")
        || [
            "NULL value in ",
            "NUMERIC value in ",
            "TEXT value in ",
            "non-",
        ]
        .iter()
        .any(|start| line.starts_with(start) && line.contains(" value in "))
}
