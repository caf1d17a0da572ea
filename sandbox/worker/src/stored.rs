//! The snapshot that an image can bring along, so that a server need not warm up.
//!
//! It is a file of the image: the hash of the one program, set of files and way of warming up that it fits, then as one
//! zstd frame the requests it was warmed with (length, JSON) and the snapshot. A server that finds another hash warms up instead. Nobody trusts it
//! more than the image: what it may ask for is the sandbox's to decide.

use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, ensure};
use imagefs::{Image, Ino};
use sandbox::Snapshot;

use crate::setup::Setup;
use crate::warmed::Warmed;

/// Where it lies in an image. An empty file is no snapshot, and keeps the place.
pub const SNAPSHOT_PATH: &str = "/.zapp/snapshot";

const FINGERPRINT: usize = 32;
/// Level of compression; higher ones save a tenth and take seconds.
const LEVEL: i32 = 3;
/// Room for what is no memory.
const HEAD_MAX: u64 = 32 << 20;

/// Takes up the snapshot that `image` brings for `setup`, if it has one. `cold` is the start of its program.
///
/// # Errors
/// When there is one that cannot be used.
pub(crate) fn find(
    image: &Image,
    setup: &Setup,
    cold: &Snapshot,
) -> anyhow::Result<Option<Warmed>> {
    let Some(ino) = place(image).filter(|ino| image.stat(*ino).size > 0) else {
        return Ok(None);
    };
    let bytes = image.bytes(ino).context(SNAPSHOT_PATH)?;
    let (fingerprint, snapshot) = bytes
        .split_first_chunk::<FINGERPRINT>()
        .context("it is too short")?;
    ensure!(
        *fingerprint == of(image, setup),
        "it was made for other files or settings"
    );
    // A guest has no more memory than this, and a description of it is shorter.
    let max = setup.limits.memory_bytes.saturating_add(HEAD_MAX);
    let mut plain = Vec::new();
    zstd::Decoder::with_buffer(snapshot)
        .and_then(|decoder| decoder.take(max).read_to_end(&mut plain))
        .context("unpacking it")?;
    let too_short = "it is too short";
    let (len, rest) = plain.split_first_chunk().context(too_short)?;
    let len = usize::try_from(u32::from_le_bytes(*len))?;
    let (requests, snapshot) = rest.split_at_checked(len).context(too_short)?;
    let snapshot = cold.restore(snapshot)?;
    // Twice, since the slots of its start and of snapshots behind a bootstrap are mapped beside its own.
    let wanted = 2 * (u64::from(setup.concurrency) + 2);
    let slots = snapshot.slots_at_once();
    ensure!(
        slots >= wanted,
        "its memory lies in so many pieces that the process could map {slots} slots, not {wanted}"
    );
    Ok(Some(Warmed {
        requests: serde_json::from_slice(requests).context("its requests")?,
        snapshot,
    }))
}

/// Writes a snapshot for [`find`].
pub(crate) fn write(
    image: &Image,
    setup: &Setup,
    warmed: &Warmed,
    to: &mut File,
) -> anyhow::Result<()> {
    to.write_all(&of(image, setup))
        .context("writing the snapshot")?;
    let mut packed = zstd::Encoder::new(to, LEVEL).context("packing the snapshot")?;
    packed
        .include_checksum(true)
        .context("packing the snapshot")?;
    let requests = serde_json::to_vec(&warmed.requests)?;
    let len = u32::try_from(requests.len())?.to_le_bytes();
    packed
        .write_all(&[&len[..], &requests].concat())
        .context("writing the snapshot")?;
    warmed.snapshot.store(&mut packed)?;
    packed.finish().context("writing the snapshot")?;
    Ok(())
}

/// Whether the snapshot of `image`, if it has one, was made for these files and settings.
///
/// # Errors
/// When it cannot be read.
pub fn fits(image: &Image, setup: &Setup) -> Result<bool, imagefs::Error> {
    let Some(ino) = place(image) else {
        return Ok(false);
    };
    let mut found = [0; FINGERPRINT];
    let read = image.read_at(ino, 0, &mut found)?;
    Ok(read == FINGERPRINT && found == of(image, setup))
}

fn place(image: &Image) -> Option<Ino> {
    image
        .lookup(SNAPSHOT_PATH.trim_start_matches('/').as_bytes())
        .filter(|ino| image.kind(*ino) == imagefs::Kind::Regular)
}

/// Hash of what a warmed program can know: every file but its own snapshot, and how it was warmed.
fn of(image: &Image, setup: &Setup) -> [u8; FINGERPRINT] {
    let mut hash = blake3::Hasher::new_derive_key("zapp stored snapshot 1");
    let own = place(image);
    let mut field = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for ino in (0..image.inode_count()).filter_map(|index| image.inode_at(index)) {
        let stat = image.stat(ino);
        let facts = [
            stat.mode.into(),
            stat.nlink.into(),
            stat.uid.into(),
            stat.gid.into(),
            stat.mtime.cast_unsigned(),
            stat.mtime_ns.into(),
            // Its own size and content are not known before it is made.
            if own == Some(ino) { 0 } else { stat.size },
        ];
        field(&facts.map(u64::to_le_bytes).concat());
        match stat.kind {
            imagefs::Kind::Directory => {
                for entry in image.read_dir(ino) {
                    field(entry.name);
                    field(&entry.ino.index().to_le_bytes());
                }
            }
            imagefs::Kind::Regular if own == Some(ino) => {}
            imagefs::Kind::Regular => field(&image.content_hash(ino).unwrap_or_default()),
            imagefs::Kind::Symlink => field(image.read_link(ino).unwrap_or_default()),
        }
    }
    let settings = serde_json::json!([
        env!("CARGO_PKG_VERSION"),
        setup.entry,
        setup.arguments,
        setup.environment,
        setup.warmup,
        setup.compile,
    ]);
    field(settings.to_string().as_bytes());
    hash.finalize().into()
}
