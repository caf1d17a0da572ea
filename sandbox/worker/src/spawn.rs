//! Starting a worker: this binary once more, with a socket as its standard input and nothing else.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use imagefs::Image;

use crate::hello;
use crate::setup::Setup;

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
    // What the operator's shell left open is nothing that a worker should have.
    sandbox::close_on_exec()?;
    // The link to the binary stays good when the file has been replaced. A group of its own, so that Ctrl-C on
    // the terminal reaches only this process, which then ends the worker.
    let mut child = Command::new("/proc/self/exe")
        .arg0("zapp-worker")
        .arg(COMMAND)
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0)
        .spawn()?;
    let sent = hello::send(&ours, setup, image.file().as_fd(), store.map(AsFd::as_fd));
    if let Err(error) = sent {
        // It may have ended by itself; nobody else would ever wait for it.
        let _ = child.kill();
        child.wait()?;
        return Err(error);
    }
    Ok((ours, child))
}
