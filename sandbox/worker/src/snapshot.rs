//! Making the snapshot of an image ahead of time, in a worker that does nothing else.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imagefs::Image;

use crate::setup::Setup;
use crate::spawn::spawn;
use crate::wire::{HEAD, Head, Kind};

/// A worker says little more than that it is ready.
const MESSAGE_MAX: usize = 1 << 20;
/// How often somebody looks whether it shall still be made.
const GLANCE: Duration = Duration::from_millis(100);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The system did not let the worker start, or said no while it was waited for.
    #[error("{what}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// The worker ended without a word.
    #[error("the program's process died while it was warmed up")]
    Died,
    /// The worker said why.
    #[error("warming up: {0}")]
    Failed(String),
    /// The worker said something else than it should.
    #[error("the program's process spoke out of turn")]
    OutOfTurn,
    /// The caller wanted to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Runs the program of an image as a server would until it is warm, and writes its snapshot to a file, whose content
/// belongs at [`SNAPSHOT_PATH`](crate::SNAPSHOT_PATH). What the program says goes to standard error.
///
/// # Errors
/// When the program does not start or does not become warm, or when `stop` is set.
pub fn make_snapshot(
    image: &Image,
    setup: &Setup,
    to: &File,
    stop: &AtomicBool,
) -> Result<(), SnapshotError> {
    let failed = |what| move |source| SnapshotError::Process { what, source };
    let (socket, mut child) =
        spawn(image, setup, Some(to), Stdio::inherit()).map_err(failed("starting the program"))?;
    let answer = answer(&socket, stop);
    if answer.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    child.wait().map_err(failed("waiting for the program"))?;
    answer
}

/// Waits until the worker is done.
fn answer(socket: &UnixStream, stop: &AtomicBool) -> Result<(), SnapshotError> {
    let mut head = [0; HEAD];
    read(socket, &mut head, stop)?;
    let head = Head::parse(head, MESSAGE_MAX).map_err(|_| SnapshotError::OutOfTurn)?;
    let mut text = vec![0; head.len];
    read(socket, &mut text, stop)?;
    match head.kind {
        Kind::Ready => Ok(()),
        Kind::Failed => Err(SnapshotError::Failed(imagefs::printable(&text))),
        _ => Err(SnapshotError::OutOfTurn),
    }
}

/// Fills a buffer, unless somebody wants to stop.
fn read(
    mut socket: &UnixStream,
    buffer: &mut [u8],
    stop: &AtomicBool,
) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Process {
        what: "waiting for the program",
        source,
    };
    socket.set_read_timeout(Some(GLANCE)).map_err(failed)?;
    let mut done = 0;
    while done < buffer.len() {
        if stop.load(Ordering::Relaxed) {
            return Err(SnapshotError::Interrupted);
        }
        match socket.read(&mut buffer[done..]) {
            Ok(0) => return Err(SnapshotError::Died),
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}
