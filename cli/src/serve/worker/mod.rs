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

#[cfg(test)]
pub(crate) use backend::{Asked, Backend, Cancel};
pub(crate) use hello::send as send_hello;
#[cfg(test)]
pub(crate) use serve::serve;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::wire::{self, Kind};

/// The hidden command that makes the binary a worker.
pub(crate) const COMMAND: &str = "__worker";

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
        Ok((backend, concurrency)) => {
            let ready = wire::frame(Kind::Ready, 0, &[]);
            // When the front is gone already, the loop ends at once.
            let _ = std::io::Write::write_all(&mut &socket, &ready);
            serve::serve(&socket, &backend, concurrency);
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

fn start(socket: &UnixStream) -> anyhow::Result<(guest::Guests, u32)> {
    let (setup, file) = hello::receive(socket)?;
    let files = confine::before_threads()?;
    let image = imagefs::Image::from_file(file)?;
    let guests = guest::Guests::start(&image, &setup, || confine::before_guests(files))?;
    Ok((guests, setup.concurrency))
}
