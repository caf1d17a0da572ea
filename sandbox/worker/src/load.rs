//! A program before it runs: loaded from the image, verified, and within its limits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use imagefs::Image;
use sandbox::{Config, Finished, ImageTree, Mounts, Sandbox, Snapshot};

use crate::memory::budget;
use crate::setup::{RequestLimits, Setup};

/// Loads and verifies the program.
pub(crate) fn load(
    image: &Image,
    setup: &Setup,
    confine: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Snapshot> {
    let ino = image
        .resolve(image.root(), setup.entry.as_bytes(), true)
        .map_err(|e| anyhow!("program {}: {e}", setup.entry))?;
    let elf = image
        .bytes(ino)
        .with_context(|| format!("program {}", setup.entry))?;
    let sandbox = Sandbox::new(Config {
        memory_budget_bytes: budget(setup),
        ..Config::default()
    })?;
    confine()?;
    let program = sandbox
        .load(&elf)
        .with_context(|| format!("program {}", setup.entry))?;
    drop(elf);
    let tree = Arc::new(ImageTree::new(image.clone())?);
    let mounts = Mounts::new().mount(setup.at.as_bytes(), tree);
    let mounts = mounts.working_directory(setup.at.as_bytes());
    Ok(sandbox.start(&program, &limits(&setup.limits), &mounts)?)
}

fn limits(limits: &RequestLimits) -> sandbox::Limits {
    sandbox::Limits {
        wall: Some(Duration::from_millis(limits.wall_ms)),
        cpu: Some(Duration::from_millis(limits.cpu_ms)),
        memory_bytes: limits.memory_bytes,
        output_bytes: limits.output_bytes,
        scratch_bytes: limits.scratch_bytes,
        files: limits.files,
        ..sandbox::Limits::default()
    }
}

/// How a guest ended and the end of what it said, for people.
pub(crate) fn describe(ended: &Finished) -> String {
    let from = ended.stderr.len().saturating_sub(2000);
    let said = imagefs::printable(&ended.stderr[from..]);
    format!("{:?} {said}", ended.report.outcome)
}
