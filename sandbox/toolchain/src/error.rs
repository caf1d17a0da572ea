//! What can stop a build, each with the place in the source it comes from.

use std::fmt;
use std::path::PathBuf;

/// Why a statement has no sandboxed form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The statement is not understood.
    Syntax(&'static str),
    /// The verifier refuses every form of this instruction; no rewriting exists.
    Refused(&'static str),
    /// A register that belongs to the sandbox is written: `%r14`, `%rbx`, `%r11`.
    ReservedRegister,
    /// The return address is read or replaced; it is out of reach of guests.
    ReturnAddress,
    /// The stack depth at this point cannot be followed.
    StackDepth(String),
    /// Condition flags are live where a masked indirect jump arrives: the mask would change them.
    FlagsLive(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Syntax(what) => write!(f, "cannot read this assembly: {what}"),
            Reason::Refused(what) => write!(f, "not possible in a sandbox: {what}"),
            Reason::ReservedRegister => {
                f.write_str("writes a register reserved by the sandbox (rbx, r11, r14)")
            }
            Reason::ReturnAddress => {
                f.write_str("uses the return address, which guests cannot reach")
            }
            Reason::StackDepth(what) => write!(f, "stack depth cannot be followed: {what}"),
            Reason::FlagsLive(label) => {
                write!(
                    f,
                    "condition flags are live at {label}, which an indirect jump reaches"
                )
            }
        }
    }
}

/// A statement that cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteError {
    /// Line of the assembly text.
    pub line: u32,
    /// Source file and line, when the assembly names them.
    pub source: Option<(String, u32)>,
    /// The statement.
    pub text: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl RewriteError {
    pub(crate) fn at(line: u32, text: &str, reason: Reason) -> Self {
        RewriteError {
            line,
            source: None,
            text: text.to_owned(),
            reason,
        }
    }
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some((file, line)) => write!(f, "{file}:{line}: ")?,
            None => write!(f, "assembly line {}: ", self.line)?,
        }
        write!(f, "{} (`{}`)", self.reason, self.text)
    }
}

impl std::error::Error for RewriteError {}

/// Anything that stops the compiler driver or a guest build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The assembly of one translation unit cannot be sandboxed.
    #[error("{file}: {error}")]
    Rewrite {
        /// The translation unit.
        file: String,
        /// What was met.
        error: RewriteError,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program that the build needs failed; its own message has been printed.
    #[error("{program} ended with {status}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// A program that the build needs is not installed.
    #[error("{program} is not installed; run: {remedy}")]
    Missing {
        /// Its name.
        program: String,
        /// One line that installs it.
        remedy: String,
    },
    /// An option or input that makes no sense for a sandboxed guest.
    #[error("{0}")]
    Usage(String),
    /// The linked file is not what the linker script describes.
    #[error("{}: not a guest program: {what}", path.display())]
    Link {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A downloaded source has another content than the pinned one.
    #[error("{file}: SHA-256 is {found}, pinned is {pinned}")]
    Checksum {
        /// The file.
        file: String,
        /// What came.
        found: String,
        /// What was expected.
        pinned: String,
    },
    /// A guest whose recipe is not part of this program, and whose recipe is not where it was.
    #[error(
        "building {guest} needs the source tree of zapp, which is not at {}; name one with ZAPP_SOURCE_DIR", path.display()
    )]
    NoSources {
        /// The guest.
        guest: &'static str,
        /// Where the tree was looked for.
        path: PathBuf,
    },
    /// The build was told to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] about `path`, for `map_err`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
