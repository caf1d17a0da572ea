//! `zapp cc`: the guest compiler, a drop-in `CC`. Its arguments are gcc's own, so they are passed on unread.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the driver when the first argument is `cc`; `None` when it is not.
///
/// This happens before the command line is parsed: gcc's options (`-dumpmachine`, `-o-`) are not ours to judge.
pub(crate) fn intercept(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let _program = args.next();
    (args.next()? == "cc").then(|| toolchain::cc::main(args))
}

/// Stands for `zapp cc` in the help; [`intercept`] does the work.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Options and files as for gcc
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}
