//! The first message: what to run, and beside it the descriptors of the image and, when the snapshot is to be stored, of a
//! file for it.

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

use crate::setup::Setup;
use crate::wire::{self, HEAD, Head, Kind};

/// The largest setup that is read.
const SETUP_MAX: usize = 16 << 20;

/// What the worker gets.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) setup: Setup,
    pub(crate) image: File,
    /// Where its snapshot goes; then it does nothing else.
    pub(crate) store: Option<File>,
}

/// Sends the setup, the image, and a file for the snapshot if it is to be stored.
pub(crate) fn send(
    socket: &UnixStream,
    setup: &Setup,
    image: BorrowedFd<'_>,
    store: Option<BorrowedFd<'_>>,
) -> std::io::Result<()> {
    let json = serde_json::to_vec(setup)?;
    let frame = wire::frame(Kind::Setup, 0, &[&json]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = [image].into_iter().chain(store).collect();
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
pub(crate) fn receive(socket: &UnixStream) -> anyhow::Result<Hello> {
    let mut head = [0; HEAD];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut head)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .context("recvmsg on standard input")?;
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            files.extend(fds.map(File::from));
        }
    }
    let mut files = files.into_iter();
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
    Ok(Hello {
        setup,
        image: files.next().context("the setup came without an image")?,
        store: files.next(),
    })
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
        let mut store = tempfile::tempfile().unwrap();
        store.write_all(b"store").unwrap();
        let read = |mut file: File| {
            let mut bytes = Vec::new();
            std::io::Seek::rewind(&mut file).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        for with_store in [false, true] {
            let to = with_store.then(|| store.as_fd());
            send(&front, &setup, image.as_fd(), to).unwrap();
            let received = receive(&worker).unwrap();
            assert_eq!(received.setup, setup);
            assert_eq!(read(received.image), b"image");
            assert_eq!(
                received.store.map(read),
                with_store.then(|| b"store".to_vec())
            );
        }
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
