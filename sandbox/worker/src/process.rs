//! The confined process: started with a socket as its standard input and nothing else, it confines itself before it starts a
//! thread or looks at the image, and ends when the socket does.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use imagefs::Image;

use crate::guest::Guests;
use crate::hello::{self, Hello};
use crate::load::load;
use crate::spawn::COMMAND;
use crate::wire::{self, Kind};
use crate::{confine, serve, stored, warm};

/// Runs a worker to its end when this process was started as one: the embedding binary calls it with its arguments before
/// it does anything else, and ends with the code. Who is no worker gets `None`.
///
/// A person who types the hidden command gets a message and a failure, because there is no socket.
pub fn intercept(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let is_worker = arguments.into_iter().nth(1)? == COMMAND;
    is_worker.then(|| match main() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}

/// The worker could not start.
const FAILED: u8 = 2;

/// Runs the worker whose socket is standard input. False when it could not start.
fn main() -> bool {
    let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => Arc::new(UnixStream::from(fd)),
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
            let _ = std::io::Write::write_all(&mut &*socket, &ready);
            if let Some((backend, concurrency)) = started {
                serve::serve(&socket, &backend, concurrency);
            }
            true
        }
        Err(error) => {
            let failed = wire::frame(Kind::Failed, 0, &[format!("{error:#}").as_bytes()]);
            // When the front is gone nobody needs the reason.
            let _ = std::io::Write::write_all(&mut &*socket, &failed);
            false
        }
    }
}

/// The guests and how many run at once; nothing when their snapshot was all that was wanted.
fn start(socket: &UnixStream) -> anyhow::Result<Option<(Guests, u32)>> {
    let Hello {
        setup,
        image,
        store,
    } = hello::receive(socket)?;
    let files = confine::before_threads()?;
    let image = Image::from_file(image)?;
    let confine = || confine::before_guests(files);
    if let Some(mut store) = store {
        let cold = load(&image, &setup, confine)?;
        let warmed = warm::up(&cold, &setup)?;
        stored::write(&image, &setup, &warmed, &mut store)?;
        return Ok(None);
    }
    let guests = Guests::start(&image, &setup, confine)?;
    Ok(Some((guests, setup.concurrency)))
}
