//! The first message: what to run, and the image's descriptor beside it.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::serve::wire::{self, HEAD, Head, Kind, Setup};

/// The largest setup that is read.
const SETUP_MAX: usize = 16 << 20;

/// Sends the setup and the image.
pub(crate) fn send(
    socket: &UnixStream,
    setup: &Setup,
    image: BorrowedFd<'_>,
) -> std::io::Result<()> {
    let json = serde_json::to_vec(setup)?;
    let frame = wire::frame(Kind::Setup, 0, &[&json]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [image];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(std::io::Error::other("no room for a descriptor"));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&frame)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    (&mut &*socket).write_all(&frame[sent..])
}

/// Receives them.
pub(crate) fn receive(socket: &UnixStream) -> anyhow::Result<(Setup, File)> {
    let mut head = [0; HEAD];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut head)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .context("recvmsg on standard input")?;
    let mut file = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            file = fds.last().map(File::from);
        }
    }
    (&mut &*socket)
        .read_exact(&mut head[received.bytes..])
        .context("reading the setup")?;
    let head = Head::parse(head, SETUP_MAX)?;
    if head.kind != Kind::Setup {
        bail!("the first message is no setup");
    }
    let mut json = vec![0; head.len];
    (&mut &*socket)
        .read_exact(&mut json)
        .context("reading the setup")?;
    let setup = serde_json::from_slice(&json).context("reading the setup")?;
    Ok((setup, file.context("the setup came without an image")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_setup_brings_the_image_along() {
        let (front, worker) = UnixStream::pair().unwrap();
        let mut image = tempfile::tempfile().unwrap();
        image.write_all(b"image").unwrap();
        let setup = Setup {
            entry: "/.zapp/php".into(),
            ..Setup::default()
        };
        send(&front, &setup, image.as_fd()).unwrap();
        let (received, mut file) = receive(&worker).unwrap();
        assert_eq!(received, setup);
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"image");
    }

    #[test]
    fn a_setup_without_an_image_is_refused() {
        let (front, worker) = UnixStream::pair().unwrap();
        let json = serde_json::to_vec(&Setup::default()).unwrap();
        (&front)
            .write_all(&wire::frame(Kind::Setup, 0, &[&json]))
            .unwrap();
        assert!(receive(&worker).is_err());
        drop(front);
        assert!(receive(&worker).is_err());
    }
}
