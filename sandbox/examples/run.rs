//! Runs one verified program: `run [--stats] [--trace] [--dir HOST[::GUEST]] [-e NAME=VALUE] PROGRAM
//! [ARGUMENT...]`.

use sandbox::{Config, HostTree, Input, Instance, Limits, Mounts, Output, Sandbox};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    // Guests run on a thread of their own: signals are blocked there, and Ctrl-C keeps working here.
    let guest = std::thread::spawn(|| {
        run().unwrap_or_else(|error| {
            eprintln!("run: {}", describe(error.as_ref()));
            125
        })
    });
    ExitCode::from(guest.join().unwrap_or(125))
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", describe(source)),
        None => error.to_string(),
    }
}

fn run() -> Result<u8, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let (mut stats, mut trace) = (false, false);
    let mut mounts = Mounts::new();
    let mut environment = Vec::new();
    while let Some(option) = arguments.next_if(|word| word.as_encoded_bytes().starts_with(b"-")) {
        match option.to_str() {
            Some("--stats") => stats = true,
            Some("--trace") => trace = true,
            Some("--dir") => {
                let value = arguments.next().ok_or("--dir needs HOST[::GUEST]")?;
                let value = value.to_str().ok_or("--dir is not UTF-8")?;
                let (host, guest) = value.split_once("::").unwrap_or((value, "/"));
                mounts = mounts.mount(guest, Arc::new(HostTree::open(host)?));
            }
            Some("-e") => {
                environment.push(arguments.next().ok_or("-e needs NAME=VALUE")?.into_vec());
            }
            _ => return Err(format!("unknown option {option:?}").into()),
        }
    }
    let path = arguments
        .next()
        .ok_or("usage: run [--stats] PROGRAM [ARGUMENT...]")?;
    let sandbox = Sandbox::new(Config::default())?;
    let program = sandbox.load(&std::fs::read(&path)?)?;
    let snapshot = sandbox.start(&program, &Limits::default(), &mounts)?;
    let mut builder = Instance::builder(&snapshot);
    for variable in environment {
        builder = builder.env(variable);
    }
    if trace {
        builder = builder.trace(Box::new(std::io::stderr()));
    }
    let finished = builder
        .arg(path.into_vec())
        .args(arguments.map(OsStringExt::into_vec))
        .stdin(Input::Host(std::io::stdin().as_fd().try_clone_to_owned()?))
        .stdout(Output::Host(
            std::io::stdout().as_fd().try_clone_to_owned()?,
        ))
        .stderr(Output::Host(
            std::io::stderr().as_fd().try_clone_to_owned()?,
        ))
        .build()?
        .run();
    let report = finished.report;
    if stats || !matches!(report.outcome, sandbox::Outcome::Exited { .. }) {
        eprintln!("{}", report.to_json());
    }
    Ok(report.exit_code())
}
