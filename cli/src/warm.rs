//! The warmed snapshot in an image: made while packing, so that a server need not.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use imagefs::tree::Tree;
use imagefs::writer::{self, PackOptions};
use imagefs::{Error, Image};
use rustix::fs::MemfdFlags;

use crate::cmd::serve::ceilings;
use crate::interpreter;
use crate::serve::site::Site;
use crate::serve::stored::{self, SNAPSHOT_PATH};
use crate::serve::wire::{HEAD, Head, Kind, Setup};
use crate::serve::worker;

/// A worker says little more than that it is ready.
const MESSAGE_MAX: usize = 1 << 20;

/// Packs the tree for the time being, runs its program as a server would until it is warm, and puts the snapshot into
/// the tree.
pub(crate) fn add(tree: &mut Tree, options: &PackOptions, stop: &AtomicBool) -> anyhow::Result<()> {
    // The file is there from the beginning, so that everything else has the same place in both images.
    let memory = rustix::fs::memfd_create("zapp-stored", MemfdFlags::CLOEXEC)
        .context("memory for the snapshot")?;
    let file = Arc::new(File::from(memory));
    interpreter::put(tree, SNAPSHOT_PATH, &file)?;
    let folder = tempfile::tempdir().context("a folder for the image that is warmed")?;
    let image = folder.path().join("cold.zapp");
    let fast = PackOptions {
        level: writer::LEVEL_MIN,
        force: true,
        ..options.clone()
    };
    writer::pack(tree.clone(), &fast, &image, &|_| (), stop)?;
    let image = Image::ingest(&image)?;
    run(&image, &setup(&image)?, &file, stop)?;
    interpreter::put(tree, SNAPSHOT_PATH, &file)
}

/// Checks that the snapshot in a packed image will be used.
pub(crate) fn check(image: &Path) -> anyhow::Result<()> {
    let image = Image::open(image)?;
    ensure!(
        stored::fits(&image, &setup(&image)?)?,
        "the site changed while it was packed: the image is whole, but its snapshot will not be used"
    );
    Ok(())
}

/// What a server without options tells the worker of an image.
fn setup(image: &Image) -> anyhow::Result<Setup> {
    let setup = Site::of("", image.clone(), &ceilings()?)?.setup(1)?;
    let setup = setup.context("there is no program to warm up")?;
    ensure!(
        setup.snapshot,
        "zapp.toml: warmup.snapshot none: the program is started anew for every request"
    );
    Ok(setup)
}

/// Lets a worker warm up and write its snapshot.
fn run(image: &Image, setup: &Setup, to: &File, stop: &AtomicBool) -> anyhow::Result<()> {
    let (socket, mut child) =
        worker::spawn(image, setup, Some(to), Stdio::inherit()).context("starting the program")?;
    let answer = answer(&socket, stop);
    if answer.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    child.wait().context("waiting for the program")?;
    answer
}

/// Waits until the worker is done.
fn answer(socket: &UnixStream, stop: &AtomicBool) -> anyhow::Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let read = |buffer: &mut [u8]| -> anyhow::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted.into());
            }
            match (&*socket).read(&mut buffer[done..]) {
                Ok(0) => bail!("the program's process died while it was warmed up"),
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("waiting for the program"),
            }
        }
        Ok(())
    };
    let mut head = [0; HEAD];
    read(&mut head)?;
    let head = Head::parse(head, MESSAGE_MAX)?;
    let mut text = vec![0; head.len];
    read(&mut text)?;
    match head.kind {
        Kind::Ready => Ok(()),
        Kind::Failed => bail!("warming up: {}", imagefs::printable(&text)),
        _ => bail!("the program's process spoke out of turn"),
    }
}
