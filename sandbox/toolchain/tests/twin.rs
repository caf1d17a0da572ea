//! One C file, two programs: one of the sandbox, one of this machine, both with the same libc source and options.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sandbox::{Config, Input, Instance, Limits, Mounts, Outcome, Sandbox};
use toolchain::guest::libc::{Flavour, build};

/// Longest a program may run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Status(u8),
    Signal(u32),
    TimedOut,
    Other(String),
}

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) end: End,
    pub(crate) stdout: Vec<u8>,
}

/// The driver under test.
pub(crate) fn driver() -> Command {
    let program = env!("CARGO_BIN_EXE_zapp-cc");
    let mut command = Command::new(program);
    command.env("ZAPP_CC", program);
    command
}

/// Builds the guest libc first if need be: the driver would, too, but from many processes at once.
pub(crate) fn ready() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let probe = driver()
            .arg("-print-sysroot")
            .output()
            .expect("the driver runs");
        assert!(
            probe.status.success(),
            "{}",
            String::from_utf8_lossy(&probe.stderr)
        );
        PathBuf::from(String::from_utf8_lossy(&probe.stdout).trim())
    })
}

/// Compiles and links for the sandbox; the message of the driver if it cannot.
pub(crate) fn build_guest(source: &Path, options: &[&str], output: &Path) -> Result<(), String> {
    ready();
    let result = driver()
        .args(options)
        .arg("-o")
        .arg(output)
        .arg(source)
        .arg("-lm")
        .output();
    let result = result.map_err(|error| error.to_string())?;
    if result.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&result.stderr).into_owned())
    }
}

/// Compiles and links for this machine against the same libc source; false if GCC cannot.
pub(crate) fn build_native(source: &Path, options: &[&str], output: &Path) -> bool {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| build(Flavour::Native).expect("the native libc builds"));
    let library = |name: &str| root.join("lib").join(name);
    let headers = Command::new("gcc")
        .arg("-print-file-name=include")
        .output()
        .expect("gcc runs")
        .stdout;
    let mut gcc = Command::new("gcc");
    gcc.args(options).args([
        "-march=x86-64-v2",
        "-mno-avx",
        "-fno-pie",
        "-no-pie",
        "-fno-stack-protector",
    ]);
    gcc.args(["-static", "-nostdlib", "-nostdinc", "-isystem"])
        .arg(root.join("include"));
    gcc.arg("-isystem")
        .arg(String::from_utf8_lossy(&headers).trim())
        .arg("-o")
        .arg(output)
        .arg(source);
    gcc.args([library("crt1.o"), library("crti.o"), library("libc.a")]);
    gcc.args(["-lgcc", "-lgcc_eh"])
        .args([library("libc.a"), library("crtn.o")]);
    gcc.stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a guest program in a slot of its own, without files.
pub(crate) fn run_guest(program: &Path) -> Behaviour {
    run_guest_with(program, &Mounts::new(), &[], &[], Input::Empty, PATIENCE)
}

/// Runs a guest program with all it may be given.
pub(crate) fn run_guest_with(
    program: &Path,
    mounts: &Mounts,
    args: &[&str],
    env: &[&str],
    stdin: Input,
    patience: Duration,
) -> Behaviour {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let sandbox = SANDBOX.get_or_init(|| Sandbox::new(Config::default()).expect("a sandbox"));
    let run = || -> Result<Behaviour, sandbox::Error> {
        let bytes = std::fs::read(program).expect("the program was built");
        let program = sandbox.load(&bytes)?;
        let limits = Limits {
            wall: Some(patience),
            ..Limits::default()
        };
        let snapshot = sandbox.start(&program, &limits, mounts)?;
        let mut builder = Instance::builder(&snapshot)
            .arg("program")
            .args(args.iter().copied())
            .stdin(stdin);
        for variable in env {
            builder = builder.env(*variable);
        }
        let finished = builder.build()?.run();
        let end = match finished.report.outcome {
            Outcome::Exited { status } => End::Status(status),
            Outcome::Fault { signal, .. } | Outcome::Raised { signal } => End::Signal(signal),
            Outcome::Limit { .. } => End::TimedOut,
            other => End::Other(format!("{other:?}")),
        };
        Ok(Behaviour {
            end,
            stdout: finished.stdout,
        })
    };
    run().unwrap_or_else(|error| Behaviour {
        end: End::Other(error.to_string()),
        stdout: Vec::new(),
    })
}

/// Runs a native program with all it may be given; its environment is empty otherwise, as a guest's is.
pub(crate) fn run_native_with(
    program: &Path,
    folder: &Path,
    args: &[&str],
    env: &[&str],
    stdin: &[u8],
    patience: Duration,
) -> Behaviour {
    use std::io::{Read, Seek, Write};
    use std::os::unix::process::ExitStatusExt;

    let mut input = tempfile::tempfile().expect("a temporary file");
    input.write_all(stdin).expect("written");
    input.rewind().expect("rewound");
    let variables = env.iter().filter_map(|variable| variable.split_once('='));
    let mut command = Command::new(program);
    command
        .arg0_program()
        .args(args)
        .env_clear()
        .envs(variables)
        .current_dir(folder)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the native program starts");
    let mut pipe = child.stdout.take().expect("stdout is a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => {
                child.kill().expect("the child is ours");
                child.wait().expect("the child is ours");
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let stdout = reader
        .join()
        .expect("the reader ends")
        .expect("a pipe can be read");
    let end = match status {
        None => End::TimedOut,
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Status(u8::try_from(code).expect("a status has eight bits")),
            (None, signal) => End::Signal(u32::try_from(signal.unwrap_or(0)).unwrap_or(0)),
        },
    };
    Behaviour { end, stdout }
}

/// Both programs are started under the same name, which some of them print.
trait SameName {
    fn arg0_program(&mut self) -> &mut Self;
}

impl SameName for Command {
    fn arg0_program(&mut self) -> &mut Self {
        use std::os::unix::process::CommandExt;
        self.arg0("program")
    }
}

/// What became of one source at one set of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    /// GCC itself cannot build it, or the native program does not end.
    NoTwin,
    /// The driver cannot build it.
    Refused(String),
    Differs(String),
}

/// Builds and runs both, and compares. A program that takes longer than `patience` natively has no twin.
pub(crate) fn compare(source: &Path, options: &[&str], work: &Path, patience: Duration) -> Verdict {
    let name = source.file_stem().unwrap_or_default().to_string_lossy();
    let level = options.first().copied().unwrap_or_default();
    let path = |kind: &str| work.join(format!("{name}{level}.{kind}"));
    let (native, guest) = (path("native"), path("guest"));
    if !build_native(source, options, &native) {
        return Verdict::NoTwin;
    }
    let folder = std::env::temp_dir();
    let expected = run_native_with(&native, &folder, &[], &[], &[], patience);
    let verdict = if expected.end == End::TimedOut {
        Verdict::NoTwin
    } else {
        match build_guest(source, options, &guest) {
            Err(message) => Verdict::Refused(message.trim().to_owned()),
            Ok(()) => {
                let found = run_guest(&guest);
                if found == expected {
                    Verdict::Same
                } else if found.stdout == expected.stdout {
                    Verdict::Differs(format!("{:?} instead of {:?}", found.end, expected.end))
                } else {
                    Verdict::Differs(format!("{:?}, other output", found.end))
                }
            }
        }
    };
    for file in [native, guest] {
        if let Err(error) = std::fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            panic!("{}: {error}", file.display());
        }
    }
    verdict
}

/// Runs `job` for each of `count` numbers on as many threads as there are processors; results in order.
pub(crate) fn in_parallel<T: Send>(count: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(count.max(1));
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if index >= count {
                            return done;
                        }
                        done.push((index, job(index)));
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker ends"))
            .collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
