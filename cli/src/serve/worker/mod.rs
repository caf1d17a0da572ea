//! The worker: one confined process that answers the requests of one image.
//!
//! It is started by the front process as the same binary with a hidden command, has a socket as its standard input and
//! nothing else, confines itself before it starts a thread or looks at the image, and ends when the socket does.

mod backend;
mod bootstrap;
mod confine;
mod guest;
mod hello;
mod serve;
mod warm;

#[cfg(test)]
pub(crate) use backend::{Asked, Backend, Cancel};
#[cfg(test)]
pub(crate) use serve::serve;
pub(crate) use warm::Warmed;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use imagefs::Image;

use super::stored;
use super::wire::{self, Kind, Setup};

/// The hidden command that makes the binary a worker.
pub(crate) const COMMAND: &str = "__worker";

/// Starts this binary as the worker of an image. With `store` it only writes its snapshot there and ends.
pub(crate) fn spawn(
    image: &Image,
    setup: &Setup,
    store: Option<&File>,
    stderr: Stdio,
) -> std::io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    // The link to the binary stays good when the file has been replaced. A group of its own, so that Ctrl-C on
    // the terminal reaches only this process, which then ends the worker.
    let child = Command::new("/proc/self/exe")
        .arg0("zapp-worker")
        .arg(COMMAND)
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0)
        .spawn()?;
    hello::send(&ours, setup, image.file().as_fd(), store.map(AsFd::as_fd))?;
    Ok((ours, child))
}

/// Runs the worker whose socket is standard input. False when it could not start.
pub(crate) fn main() -> bool {
    let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => UnixStream::from(fd),
        Err(error) => {
            eprintln!("worker: no socket on standard input: {error}");
            return false;
        }
    };
    match start(&socket) {
        Ok(started) => {
            let snapshot = started.as_ref().map_or("", |(guests, _)| guests.origin());
            let ready = wire::frame(Kind::Ready, 0, &[snapshot.as_bytes()]);
            // When the front is gone already, the loop ends at once.
            let _ = std::io::Write::write_all(&mut &socket, &ready);
            if let Some((backend, concurrency)) = started {
                serve::serve(&socket, &backend, concurrency);
            }
            true
        }
        Err(error) => {
            let failed = wire::frame(Kind::Failed, 0, &[format!("{error:#}").as_bytes()]);
            // When the front is gone nobody needs the reason.
            let _ = std::io::Write::write_all(&mut &socket, &failed);
            false
        }
    }
}

/// The guests and how many run at once; nothing when their snapshot was all that was wanted.
fn start(socket: &UnixStream) -> anyhow::Result<Option<(guest::Guests, u32)>> {
    let hello::Hello {
        setup,
        image,
        store,
    } = hello::receive(socket)?;
    let files = confine::before_threads()?;
    let image = Image::from_file(image)?;
    let confine = || confine::before_guests(files);
    if let Some(mut store) = store {
        let cold = guest::load(&image, &setup, confine)?;
        let warmed = warm::up(&cold, &setup)?;
        stored::write(&image, &setup, &warmed, &mut store)?;
        return Ok(None);
    }
    let guests = guest::Guests::start(&image, &setup, confine)?;
    Ok(Some((guests, setup.concurrency)))
}
