//! The warmed snapshot in an image: made while packing, so that a server need not.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, ensure};
use imagefs::tree::Tree;
use imagefs::writer::{self, PackOptions};
use imagefs::{Error, Image};
use rustix::fs::MemfdFlags;
use server::{Ceilings, Site};
use worker::{SNAPSHOT_PATH, Setup, SnapshotError};

use crate::interpreter;

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
    match worker::make_snapshot(&image, &setup(&image)?, &file, stop) {
        Err(SnapshotError::Interrupted) => return Err(Error::Interrupted.into()),
        made => made?,
    }
    interpreter::put(tree, SNAPSHOT_PATH, &file)
}

/// Checks that the snapshot in a packed image will be used.
pub(crate) fn check(image: &Path) -> anyhow::Result<()> {
    let image = Image::open(image)?;
    let fits = worker::fits(&image, &setup(&image)?).context(SNAPSHOT_PATH)?;
    ensure!(
        fits,
        "the site changed while it was packed: the image is whole, but its snapshot will not be used"
    );
    Ok(())
}

/// What a server without options tells the worker of an image.
fn setup(image: &Image) -> anyhow::Result<Setup> {
    let setup = Site::of(image.clone(), &Ceilings::default())?.setup(1)?;
    let setup = setup.context("there is no program to warm up")?;
    ensure!(
        setup.snapshot,
        "zapp.toml: warmup.snapshot none: the program is started anew for every request"
    );
    Ok(setup)
}
