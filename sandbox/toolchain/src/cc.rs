//! `zapp cc`: a C compiler driver that takes GCC's options and makes guest programs.
//!
//! GCC compiles to assembly, [`crate::rewrite`] sandboxes it, `as` and `ld` make a static program at region offsets,
//! [`crate::finish`] merges padding, and the verifier has the last word. Options that have no meaning in a sandbox
//! (position independence, processor extensions, link-time optimisation) are accepted and ignored, because build systems
//! pass them without asking; those that would silently mean something else are errors.

mod compile;
mod link;
mod options;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Error;
pub use crate::process::run;
pub(crate) use options::{Mode, Options};
pub use tools::ensure_tools;
pub(crate) use tools::{gcc_version, missing};

/// What `-dumpmachine` prints: a triplet that configure scripts know.
pub const MACHINE: &str = "x86_64-linux-musl";

/// Runs the driver with the arguments behind `cc`; messages go to stderr as GCC's do.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match drive(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("zapp cc: error: {error}");
            ExitCode::from(1)
        }
    }
}

fn drive(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Error> {
    let options = Options::parse(args)?;
    if let Some(code) = tools::answer_query(&options)? {
        return Ok(code);
    }
    match options.mode {
        Mode::Preprocess => compile::preprocess(&options),
        Mode::Assembly | Mode::Object => compile::each_input(&options).map(|()| ExitCode::SUCCESS),
        Mode::Program => link::program(&options).map(|()| ExitCode::SUCCESS),
    }
}
