//! Exit codes: how a command ended, and what an error means.

use std::io;
use std::process::ExitCode;

use imagefs::Error;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Status {
    /// A program's own exit code, passed on.
    Exit(ExitCode),
    /// Done: 0.
    Done,
    /// Nothing found, damaged, or different: 1.
    Negative,
    /// Part of it failed; the messages are on stderr: 2.
    Partial,
}

/// Failure or wrong usage.
const FAILED: u8 = 2;
/// Damage is an answer of its own, whichever command meets it.
const DAMAGED: u8 = 1;
/// As shells report a death by SIGINT.
const INTERRUPTED: u8 = 130;

/// Turns the end of a command into an exit code and says on stderr what went wrong.
pub(crate) fn report(result: anyhow::Result<Status>) -> ExitCode {
    let error = match result {
        Ok(Status::Exit(code)) => return code,
        Ok(Status::Done) => return ExitCode::SUCCESS,
        Ok(Status::Negative) => return ExitCode::from(1),
        Ok(Status::Partial) => return ExitCode::from(FAILED),
        Err(error) => error,
    };
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    say(&error);
    ExitCode::from(code(&error))
}

/// Prints an error with its causes, one line.
pub(crate) fn say(error: &anyhow::Error) {
    eprintln!("zapp: {error:#}");
}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    let stopped = |cause: &(dyn std::error::Error + 'static)| {
        matches!(
            cause.downcast_ref(),
            Some(toolchain::error::Error::Interrupted)
        )
    };
    if error.chain().any(stopped) {
        return INTERRUPTED;
    }
    match error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>())
    {
        Some(Error::Corrupt { .. } | Error::BadBlock { .. }) => DAMAGED,
        Some(Error::Interrupted) => INTERRUPTED,
        _ => FAILED,
    }
}

/// Whether whoever read our output stopped reading.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}
