//! The command line.

use clap::{Parser, Subcommand};

use crate::cmd;

/// How every command ends, printed below its help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 nothing found, image damaged, or images differ; 2 failed or called wrongly; 130 interrupted.
Data goes to stdout, messages to stderr; a closed pipe is success.
With --json, a name that is not UTF-8 is given twice: KEY with U+FFFD in place of the bytes that cannot be shown, and
KEY_hex with all its bytes as hexadecimal digits.";

/// Packs a site into one read-only image file, looks into it, and runs it.
#[derive(Debug, Parser)]
#[command(name = "zapp", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_help = EXIT_CODES)]
    Pack(cmd::pack::Args),
    #[command(after_help = EXIT_CODES)]
    Ls(cmd::ls::Args),
    #[command(after_help = EXIT_CODES)]
    Tree(cmd::tree::Args),
    #[command(after_help = EXIT_CODES)]
    Cat(cmd::cat::Args),
    #[command(after_help = EXIT_CODES)]
    Info(cmd::info::Args),
    #[command(after_help = EXIT_CODES)]
    Check(cmd::check::Args),
    #[command(after_help = EXIT_CODES)]
    Extract(cmd::extract::Args),
    #[command(after_help = EXIT_CODES)]
    Tar(cmd::tar::Args),
    #[command(after_help = EXIT_CODES)]
    Diff(cmd::diff::Args),
    #[cfg(feature = "fuse")]
    #[command(after_help = EXIT_CODES)]
    Mount(cmd::mount::Args),
    #[cfg(feature = "fuse")]
    #[command(after_help = EXIT_CODES)]
    Umount(cmd::mount::UmountArgs),
    /// Compiles C to a guest program: gcc's options, a drop-in CC
    Cc(cmd::cc::Args),
    /// Compiles C++ to a guest program, without exceptions: g++'s options, a drop-in CXX
    #[command(name = "c++")]
    Cxx(cmd::cc::Args),
    #[command(after_help = EXIT_CODES)]
    Guest(cmd::guest::Args),
    #[command(after_help = EXIT_CODES)]
    Verify(cmd::verify::Args),
    #[command(after_help = cmd::run::EXIT_CODES)]
    Run(Box<cmd::run::Args>),
    #[command(after_help = EXIT_CODES)]
    Import(cmd::import::Args),
    #[command(after_help = cmd::run::EXIT_CODES)]
    Php(cmd::php::Args),
    #[command(after_help = cmd::run::EXIT_CODES)]
    Wp(cmd::wp::Args),
    #[command(after_help = EXIT_CODES)]
    Demo(cmd::demo::Args),
    #[command(after_help = EXIT_CODES)]
    Serve(Box<cmd::serve::Args>),
}
