//! `zapp run`: one instance of a program, with stdin, stdout and stderr passed through.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use imagefs::Image;
use sandbox::{
    Config, HostTree, ImageTree, Input, Instance, Limits, Mounts, Outcome, Output, Report, Sandbox,
};
use server::{Manifest, Size, Span};

use super::verify::{ELF, programs};
use crate::status;

/// How `run` ends, printed below its help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: the program's own; 124 wall time; 137 CPU time, output or number of traps; 139 stack; 128+N killed by signal N;
125 zapp failed before the program ran; 126 the program or image was refused; 127 image or entry not found.";

/// Runs a guest program, or the program of an image, in a confined instance
///
/// The program sees the image as its files, an empty /tmp, a few devices, and what --dir shows it; nothing else. What it
/// writes to files is private and vanishes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A guest program (ELF made by `zapp cc`) or an image, then the program's arguments: options behind
    /// its name are the program's own
    #[arg(
        value_names = ["IMAGE|PROGRAM", "ARG"],
        num_args = 1..,
        required = true,
        trailing_var_arg = true
    )]
    line: Vec<OsString>,
    /// Program in the image [default: the manifest's, or the image's only one]
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// Show a directory of the host to the program, read-only; may be repeated
    #[arg(long, value_name = "HOST[::GUEST]")]
    dir: Vec<String>,
    /// Start in this directory [default: /]
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Set an environment variable; may be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Elapsed time
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// CPU time
    #[arg(long, value_name = "TIME")]
    cpu: Option<Span>,
    /// Writable memory
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Bytes written to stdout and stderr
    #[arg(long, value_name = "SIZE")]
    output_size: Option<Size>,
    /// Scratch files and changed files
    #[arg(long, value_name = "SIZE")]
    tmp_size: Option<Size>,
    /// Open files
    #[arg(long, value_name = "N")]
    open_files: Option<u32>,
    /// Calls from the program to its host
    #[arg(long, value_name = "N")]
    traps: Option<u64>,
    /// Print the report as JSON on stderr
    #[arg(long)]
    stats: bool,
    /// Print one line for each call on stderr
    #[arg(long)]
    trace: bool,
}

impl Args {
    /// The program or image.
    fn target(&self) -> &Path {
        Path::new(&self.line[0])
    }
}

/// zapp failed before the program ran.
const FAILED: u8 = 125;
/// The program or image was refused.
const REFUSED: u8 = 126;
/// The image or its entry is not there.
const NOT_FOUND: u8 = 127;

/// Runs and turns the end into an exit code.
pub(crate) fn run(args: Args) -> ExitCode {
    on_a_thread(move || instance(&args))
}

/// Guests run on a thread of their own: signals are blocked there, and Ctrl-C keeps working here.
pub(super) fn on_a_thread(guest: impl FnOnce() -> anyhow::Result<u8> + Send + 'static) -> ExitCode {
    let guest = std::thread::spawn(move || {
        guest().unwrap_or_else(|error| {
            status::say(&error);
            code(&error)
        })
    });
    ExitCode::from(guest.join().unwrap_or(FAILED))
}

/// The exit code of a failure before the program ran.
fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(e) = cause.downcast_ref::<std::io::Error>()
            && e.kind() == std::io::ErrorKind::NotFound
        {
            return NOT_FOUND;
        }
        if cause.is::<NoEntry>() {
            return NOT_FOUND;
        }
        if cause.is::<NoFile>() {
            return REFUSED;
        }
        if let Some(
            imagefs::Error::Corrupt { .. }
            | imagefs::Error::BadBlock { .. }
            | imagefs::Error::NotAnImage(_),
        ) = cause.downcast_ref::<imagefs::Error>()
        {
            return REFUSED;
        }
        if cause.is::<verifier::ProgramError>()
            || cause.is::<verifier::Rejection>()
            || cause.is::<verifier::ElfError>()
        {
            return REFUSED;
        }
    }
    FAILED
}

/// The image has no such program.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoEntry(pub(super) String);

/// Neither a program nor an image can be this: a directory, a pipe, a device.
#[derive(Debug, thiserror::Error)]
#[error("not a regular file")]
struct NoFile;

/// The signal of a program that writes where nobody reads any more.
const SIGPIPE: u32 = 13;

fn instance(args: &Args) -> anyhow::Result<u8> {
    let mut mounts = Mounts::new();
    let (name, elf) = program(args, &mut mounts)?;
    for dir in &args.dir {
        let (host, guest) = dir.split_once("::").unwrap_or((dir, "/"));
        mounts = mounts.mount(
            guest,
            Arc::new(HostTree::open(host).with_context(|| host.to_owned())?),
        );
    }
    if let Some(path) = &args.workdir {
        mounts = mounts.working_directory(path.as_bytes());
    }
    if let Some(variable) = args.env.iter().find(|variable| !variable.contains('=')) {
        bail!("-e {variable}: not NAME=VALUE");
    }
    let rest = args.line[1..].iter().cloned().map(OsStringExt::into_vec);
    let launch = Launch {
        shown: super::shown(args.target().as_os_str()),
        elf,
        mounts,
        words: std::iter::once(name).chain(rest).collect(),
        env: args.env.clone(),
        limits: limits(args),
        trace: args.trace,
        stats: args.stats,
    };
    let report = launch.run()?;
    if !args.stats {
        tell_of_lost(&report, "what a program is shown");
    }
    Ok(report.exit_code())
}

/// Says on stderr that what was written is gone, if anything was, and that `what` stays as it is.
pub(super) fn tell_of_lost(report: &Report, what: &str) {
    let written = report.usage.discarded_bytes;
    if written > 0 {
        // As with the report, somebody may have closed stderr.
        let _ = writeln!(
            std::io::stderr(),
            "zapp: {written} bytes were written and are gone: {what} stays as it is"
        );
    }
}

/// A program and all it gets, with stdin, stdout and stderr passed through.
pub(super) struct Launch {
    /// What it is, for messages.
    pub(super) shown: String,
    pub(super) elf: Vec<u8>,
    pub(super) mounts: Mounts,
    /// Its arguments, its name first.
    pub(super) words: Vec<Vec<u8>>,
    /// As NAME=VALUE.
    pub(super) env: Vec<String>,
    pub(super) limits: Limits,
    pub(super) trace: bool,
    /// Whether the report is printed however it ends.
    pub(super) stats: bool,
}

impl Launch {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        let sandbox = Sandbox::new(Config::default()).context("cannot set up the sandbox")?;
        let program = sandbox.load(&self.elf).context(self.shown)?;
        let snapshot = sandbox.start(&program, &self.limits, &self.mounts)?;
        let mut builder = Instance::builder(&snapshot).args(self.words);
        for variable in &self.env {
            builder = builder.env(variable.as_bytes());
        }
        if self.trace {
            builder = builder.trace(Box::new(std::io::stderr()));
        }
        let report = builder
            .stdin(Input::Host(std::io::stdin().as_fd().try_clone_to_owned()?))
            .stdout(Output::Host(
                std::io::stdout().as_fd().try_clone_to_owned()?,
            ))
            .stderr(Output::Host(
                std::io::stderr().as_fd().try_clone_to_owned()?,
            ))
            .build()?
            .run()
            .report;
        // A program whose reader has gone away has ended as it should.
        let is_usual = matches!(
            report.outcome,
            Outcome::Exited { .. } | Outcome::Raised { signal: SIGPIPE }
        );
        if self.stats || !is_usual {
            // Whoever closed stderr does not want the report.
            let _ = writeln!(std::io::stderr(), "{}", report.to_json());
        }
        Ok(report)
    }
}

fn limits(args: &Args) -> Limits {
    let default = Limits::default();
    Limits {
        wall: args.timeout.map(|t| t.0).or(default.wall),
        cpu: args.cpu.map(|t| t.0).or(default.cpu),
        memory_bytes: args.memory.map_or(default.memory_bytes, |s| s.0),
        output_bytes: args.output_size.map_or(default.output_bytes, |s| s.0),
        scratch_bytes: args.tmp_size.map_or(default.scratch_bytes, |s| s.0),
        files: args.open_files.unwrap_or(default.files),
        traps: args.traps.or(default.traps),
        ..default
    }
}

/// The program's name and bytes; an image becomes the root of what it sees.
fn program(args: &Args, mounts: &mut Mounts) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let context = || super::shown(args.target().as_os_str());
    // Looked at before it is opened: a pipe would wait, and a device has no end.
    if !std::fs::metadata(args.target())
        .with_context(context)?
        .is_file()
    {
        return Err(NoFile).with_context(context);
    }
    let mut head = [0; 4];
    let mut file = std::fs::File::open(args.target()).with_context(context)?;
    let is_program = std::io::Read::read_exact(&mut file, &mut head).is_ok() && head == ELF;
    if is_program {
        let elf = std::fs::read(args.target()).with_context(context)?;
        return Ok((args.target().to_owned().into_os_string().into_vec(), elf));
    }
    let image = ingest(args.target())?;
    let manifest = Manifest::of_image(&image).with_context(context)?;
    let (path, ino) = match args.entry.as_deref().or(manifest.entry()) {
        Some(entry) => {
            let ino = image
                .resolve(image.root(), entry.as_bytes(), true)
                .map_err(|e| NoEntry(format!("{}: {entry}: {e}", context())))?;
            (entry.as_bytes().to_vec(), ino)
        }
        None => match &programs(&image)[..] {
            [(path, ino)] => ([b"/", &path[..]].concat(), *ino),
            [] => bail!(NoEntry(format!("{}: no program in this image", context()))),
            several => bail!(NoEntry(format!(
                "{}: {} programs in this image; choose one with --entry",
                context(),
                several.len()
            ))),
        },
    };
    let elf = image.bytes(ino).with_context(context)?.into_owned();
    let home = manifest.home();
    let path = [home.outside("").as_bytes(), &path].concat();
    *mounts = std::mem::take(mounts)
        .mount(home.path(), Arc::new(ImageTree::new(image)?))
        .working_directory(home.path());
    Ok((path, elf))
}

/// Opens an image through a copy that cannot change while the program runs.
pub(super) fn ingest(path: &Path) -> anyhow::Result<Image> {
    Image::ingest(path).with_context(|| super::shown(path.as_os_str()))
}
