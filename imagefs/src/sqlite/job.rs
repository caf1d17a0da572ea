//! SQLite's part, done somewhere else: in a process that the caller confines.
//!
//! SQLite parses hostile bytes in C. A caller that can start processes gives [`super::Options::runner`]; then everything SQLite
//! does happens inside one staging directory, described by a short text going in and another coming out:
//!
//! ```text
//! prepare ── copy to staging ── runner(dir, job) ┄┄▶ [child: no network, nothing but dir] run_job(dir, job)
//!    ▲                                                                                        │
//!    └── look at header, length, directory again ◀┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ reply ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┘
//! ```
//! What comes back is as trustworthy as the database was: it is checked for form, and may hold any content.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{SqliteError, Step};
use super::note::Note;
use super::stage::Stage;
use super::work::{Outcome, run};
use super::{Options, Vacuum};

/// Runs a job in the staging directory given, and returns what [`run_job`] returned there. SQLite puts large temporary
/// files where the variable `SQLITE_TMPDIR` says; that should be the same directory.
pub type Runner = Arc<dyn Fn(&Path, &str) -> io::Result<String> + Send + Sync>;

/// The options that matter to SQLite's part.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    vacuum: Vacuum,
    vacuum_bytes_max: u64,
    deep: bool,
    timeout: Duration,
    heap_bytes_max: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Done { vacuumed: bool, notes: Vec<Note> },
    Failed(Failure),
}

/// The errors of SQLite's part. Paths are left to the side that knows them.
#[derive(Debug, Serialize, Deserialize)]
enum Failure {
    NotADatabase,
    Corrupt {
        step: Step,
        detail: String,
    },
    Timeout {
        step: Step,
    },
    Limit {
        step: Step,
        detail: String,
    },
    NoSpace {
        step: Step,
    },
    Wrong {
        detail: String,
    },
    Sqlite {
        step: Step,
        code: i32,
        message: String,
    },
    Other {
        message: String,
    },
}

/// Does a job in this process. The other half of a [`Runner`].
#[must_use]
pub fn run_job(dir: &Path, job: &str) -> String {
    let reply = match serde_json::from_str::<Job>(job) {
        Err(error) => Reply::Failed(Failure::Other {
            message: error.to_string(),
        }),
        Ok(job) => {
            let options = Options {
                vacuum: job.vacuum,
                vacuum_bytes_max: job.vacuum_bytes_max,
                deep: job.deep,
                timeout: job.timeout,
                heap_bytes_max: job.heap_bytes_max,
                ..Options::default()
            };
            match run(&Stage::borrow(dir), &options) {
                Ok(Outcome { vacuumed, notes }) => Reply::Done { vacuumed, notes },
                Err(error) => Reply::Failed(Failure::from(error)),
            }
        }
    };
    serde_json::to_string(&reply).expect("plain data has a JSON form")
}

/// Has the job done by the runner.
pub(super) fn run_elsewhere(
    stage: &Stage,
    options: &Options,
    runner: &Runner,
) -> Result<Outcome, SqliteError> {
    let job = Job {
        vacuum: options.vacuum,
        vacuum_bytes_max: options.vacuum_bytes_max,
        deep: options.deep,
        timeout: options.timeout,
        heap_bytes_max: options.heap_bytes_max,
    };
    let job = serde_json::to_string(&job).expect("plain data has a JSON form");
    let failed = |source| SqliteError::Worker {
        path: stage.source().to_owned(),
        source,
    };
    let reply = runner(stage.root(), &job).map_err(failed)?;
    match serde_json::from_str(&reply).map_err(|error| failed(error.into()))? {
        Reply::Done { vacuumed, notes } => Ok(Outcome { vacuumed, notes }),
        Reply::Failed(failure) => Err(failure.named(stage, options)),
    }
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Failure {
        match error {
            SqliteError::NotADatabase { .. } => Failure::NotADatabase,
            SqliteError::Corrupt { step, detail, .. } => Failure::Corrupt { step, detail },
            SqliteError::Timeout { step, .. } => Failure::Timeout { step },
            SqliteError::Limit { step, detail, .. } => Failure::Limit { step, detail },
            SqliteError::NoSpace { step, .. } => Failure::NoSpace { step },
            SqliteError::Wrong { detail, .. } => Failure::Wrong { detail },
            SqliteError::Sqlite { step, source, .. } => Failure::Sqlite {
                step,
                code: source.sqlite_error().map_or(1, |error| error.extended_code),
                message: source.to_string(),
            },
            other => Failure::Other {
                message: other.to_string(),
            },
        }
    }
}

impl Failure {
    fn named(self, stage: &Stage, options: &Options) -> SqliteError {
        let path = stage.source().to_owned();
        match self {
            Failure::NotADatabase => SqliteError::NotADatabase { path },
            Failure::Corrupt { step, detail } => SqliteError::Corrupt { path, step, detail },
            Failure::Timeout { step } => SqliteError::Timeout {
                path,
                step,
                after: options.timeout,
            },
            Failure::Limit { step, detail } => SqliteError::Limit { path, step, detail },
            Failure::NoSpace { step } => SqliteError::NoSpace { path, step },
            Failure::Wrong { detail } => SqliteError::Wrong { path, detail },
            Failure::Sqlite {
                step,
                code,
                message,
            } => {
                let code = rusqlite::ffi::Error::new(code);
                let source = rusqlite::Error::SqliteFailure(code, Some(message));
                SqliteError::Sqlite { path, step, source }
            }
            Failure::Other { message } => SqliteError::Worker {
                path,
                source: io::Error::other(message),
            },
        }
    }
}
