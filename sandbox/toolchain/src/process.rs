//! Running the programs a build consists of, so that all of them end when the build is told to.
//!
//! A program that may be asked to stop names a flag once ([`stop_on`]). From then on every program started here leads a
//! process group of its own: when the flag is set the group is ended as a whole, whoever got the signal, and the caller
//! sees [`Error::Interrupted`].

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::Error;

/// How often the flag is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Signals are the process's own, so the flag they set is, too.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Builds end soon after `flag` is set. The first flag that is named stays.
pub fn stop_on(flag: &Arc<AtomicBool>) {
    STOP.get_or_init(|| Arc::clone(flag));
}

/// Fails when the build was told to stop.
pub(crate) fn go_on() -> Result<(), Error> {
    match STOP.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Interrupted),
        _ => Ok(()),
    }
}

/// Sleeps for a moment, or fails when the build was told to stop.
pub(crate) fn pause() -> Result<(), Error> {
    std::thread::sleep(LOOK);
    go_on()
}

/// Runs a program to its end; a failure is an error that names it.
pub fn run(command: &mut Command) -> Result<(), Error> {
    let status = status(command)?;
    succeeded(command, status)
}

pub(crate) fn succeeded(command: &Command, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Error::Program { program, status })
}

/// Runs a program to its end.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus, Error> {
    let mut child = start(command)?;
    if STOP.get().is_none() {
        return child.wait().map_err(Error::io(name(command)));
    }
    loop {
        if let Some(status) = child.try_wait().map_err(Error::io(name(command)))? {
            return go_on().map(|()| status);
        }
        end_when_told(&mut child)?;
        std::thread::sleep(LOOK);
    }
}

/// Runs a program that must not be torn apart, as the installation of a package; the flag has its turn behind it.
pub(crate) fn run_whole(command: &mut Command) -> Result<(), Error> {
    let status = start(command)?.wait().map_err(Error::io(name(command)))?;
    go_on()?;
    succeeded(command, status)
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

/// Runs a program and reads what it prints. `each` sees every line as it comes, and `None` now and then in between.
pub(crate) fn read(
    command: &mut Command,
    mut each: impl FnMut(Option<(Stream, &[u8])>),
) -> Result<Printed, Error> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = start(command)?;
    let (sender, lines) = channel();
    if let Some(pipe) = child.stdout.take() {
        forward(Stream::Out, pipe, sender.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        forward(Stream::Err, pipe, sender);
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(line) = next(&lines, &mut child)? {
        let Some((stream, line)) = line else {
            each(None);
            continue;
        };
        each(Some((stream, line.trim_ascii_end())));
        match stream {
            Stream::Out => out.extend(line),
            Stream::Err => err.extend(line),
        }
    }
    let status = child.wait().map_err(Error::io(name(command)))?;
    go_on()?;
    Ok(Printed { status, out, err })
}

type Line = (Stream, Vec<u8>);

/// The next line, an inner `None` when there was none for a while, an outer one at the end.
fn next(lines: &Receiver<Line>, child: &mut Child) -> Result<Option<Option<Line>>, Error> {
    match lines.recv_timeout(LOOK) {
        Ok(line) => Ok(Some(Some(line))),
        Err(RecvTimeoutError::Disconnected) => Ok(None),
        Err(RecvTimeoutError::Timeout) => {
            end_when_told(child)?;
            Ok(Some(None))
        }
    }
}

/// Passes on the lines of a pipe from a thread of its own, until the pipe ends or nobody listens.
fn forward(stream: Stream, pipe: impl Read + Send + 'static, into: Sender<Line>) {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if into.send((stream, std::mem::take(&mut line))).is_err() {
                return;
            }
        }
    });
}

fn start(command: &mut Command) -> Result<Child, Error> {
    use std::os::unix::process::CommandExt;

    go_on()?;
    if STOP.get().is_some() {
        command.process_group(0);
    }
    command.spawn().map_err(|source| {
        let program = name(command);
        if source.kind() == std::io::ErrorKind::NotFound {
            crate::cc::missing(&program)
        } else {
            Error::io(program)(source)
        }
    })
}

/// Ends the program and everything it started when the build was told to stop.
fn end_when_told(child: &mut Child) -> Result<(), Error> {
    let Err(told) = go_on() else { return Ok(()) };
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The child was not waited for, so the group's number is still its own.
        let _gone = kill_process_group(group, Signal::TERM);
    }
    child.wait().map_err(Error::io("wait"))?;
    Err(told)
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
