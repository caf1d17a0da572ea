//! Packs a [`Tree`] into an image file.
//!
//! Passes: databases are prepared ([`databases`]); every file is read once, hashed and classified ([`examine`]); equal
//! contents are merged and laid out ([`layout`]); blocks are compressed and written ([`encode`]); tables are built
//! ([`tables`]); the result is opened and every byte compared with what was read ([`verify`]); only then does it get its
//! name. The bytes depend on the tree and the options alone: work is split among threads, order never is.

mod codec;
mod databases;
mod encode;
mod examine;
mod layout;
mod open;
mod output;
mod tables;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::reader::Class;
use crate::scan::Note;
use crate::sqlite;
use crate::tree::Tree;

pub use codec::{LEVEL_DEFAULT, LEVEL_MAX, LEVEL_MIN};
pub use open::contents;

/// How to pack.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Effort of compression, [`LEVEL_MIN`] to [`LEVEL_MAX`].
    pub level: i32,
    /// Storage classes by glob of the path; the first match wins. Allowed: raw, packed-raw, zframe, packed, zblocks.
    pub classes: Vec<(String, Class)>,
    /// Worker threads; 0 means one for each core.
    pub jobs: usize,
    /// What to do with SQLite databases.
    pub sqlite: sqlite::Options,
    /// The time that files of the tree were given instead of their own, if they were. The image tells its readers.
    pub given_mtime: Option<i64>,
    /// The path at which programs are to see the tree, if it is known. The image tells its readers.
    pub at: Option<String>,
    /// Replace an existing image.
    pub force: bool,
    /// Name and version of the calling tool, for the image's build information.
    pub tool: String,
}

impl Default for PackOptions {
    fn default() -> Self {
        PackOptions {
            level: LEVEL_DEFAULT,
            classes: Vec::new(),
            jobs: 0,
            sqlite: sqlite::Options::default(),
            given_mtime: None,
            at: None,
            force: false,
            tool: concat!("imagefs ", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// What the writer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Preparing databases.
    Databases,
    /// Reading, hashing and classifying files.
    Examine,
    /// Compressing and writing blocks.
    Write,
    /// Comparing the image with the source.
    Verify,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// Plain bytes done in it.
    pub done: u64,
    /// Plain bytes to do in it.
    pub total: u64,
    /// Stored bytes written so far.
    pub stored: u64,
}

/// Sums of one storage class.
#[derive(Clone, Copy, Debug)]
pub struct ClassTotal {
    /// The class.
    pub class: Class,
    /// Number of distinct contents.
    pub contents: u64,
    /// Their plain bytes.
    pub plain: u64,
    /// Stored bytes; a block that contents share counts once.
    pub stored: u64,
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct PackReport {
    /// Identity of the image's bytes.
    pub image_id: [u8; 32],
    /// Identity of the tree.
    pub tree_id: [u8; 32],
    /// Length of the image in bytes.
    pub image_len: u64,
    /// Regular files, hard links counted once.
    pub files: u64,
    /// Directories, the root included.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Sum of the sizes of the regular files.
    pub total_size: u64,
    /// The same with equal files counted once.
    pub unique_size: u64,
    /// Bytes of tables, section table and superblock.
    pub metadata: u64,
    /// Sums for each class in use.
    pub classes: Vec<ClassTotal>,
    /// What the image has otherwise than the source.
    pub notes: Vec<Note>,
}

/// One file as it would be stored.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Path of its first name.
    pub path: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Storage class.
    pub class: Class,
    /// Equal to a file before it, and not stored again.
    pub duplicate: bool,
}

/// Called with the state of the work from any worker thread.
pub type ProgressFn<'a> = &'a (dyn Fn(Progress) + Sync);

/// Packs a tree into the image file `out`.
///
/// Setting `stop` ends the work early with [`Error::Interrupted`]. On any error nothing is left behind and an image that
/// was there before is untouched.
///
/// # Errors
/// `out` exists and `force` is not set; a file cannot be read, changed meanwhile, or is over a limit; a database cannot
/// be prepared; the system refuses to write.
pub fn pack(
    tree: Tree,
    options: &PackOptions,
    out: &Path,
    progress: ProgressFn<'_>,
    stop: &AtomicBool,
) -> Result<PackReport, Error> {
    let output = output::Output::create(out, options.force)?;
    let work = Work::new(options, progress, stop)?;
    work.run(tree, |work, tree, notes| {
        let layout = layout::Layout::new(work, tree)?;
        let mut output = output;
        let encoded = encode::write(work, tree, &layout, &mut output)?;
        let finished = tables::write(work, tree, &layout, &encoded, &mut output)?;
        drop(encoded);
        verify::compare(work, tree, &layout, output.reopen()?)?;
        let report = finished.report(notes);
        drop(layout);
        output.publish()?;
        Ok(report)
    })
}

/// Works out what [`pack`] would store, and writes nothing.
///
/// # Errors
/// As [`pack`], as far as reading goes.
pub fn plan(
    tree: Tree,
    options: &PackOptions,
    progress: ProgressFn<'_>,
    stop: &AtomicBool,
) -> Result<(Vec<Planned>, Vec<Note>), Error> {
    let work = Work::new(options, progress, stop)?;
    work.run(tree, |work, tree, notes| {
        Ok((layout::Layout::new(work, tree)?.planned(), notes))
    })
}

/// What all passes share.
struct Work<'a> {
    options: &'a PackOptions,
    progress: ProgressFn<'a>,
    stop: &'a AtomicBool,
    pool: rayon::ThreadPool,
}

impl<'a> Work<'a> {
    fn new(
        options: &'a PackOptions,
        progress: ProgressFn<'a>,
        stop: &'a AtomicBool,
    ) -> Result<Self, Error> {
        if !(LEVEL_MIN..=LEVEL_MAX).contains(&options.level) {
            let what = format!("level {} (from {LEVEL_MIN})", options.level);
            return Err(Error::Limit {
                what,
                max: LEVEL_MAX.unsigned_abs().into(),
            });
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.jobs)
            .build()
            .map_err(|e| Error::io("start worker threads", "", std::io::Error::other(e)))?;
        Ok(Work {
            options,
            progress,
            stop,
            pool,
        })
    }

    fn run<T>(
        &self,
        mut tree: Tree,
        then: impl FnOnce(&Self, &Tree, Vec<Note>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut notes = Vec::new();
        databases::prepare(self, &mut tree, &mut notes)?;
        then(self, &tree, notes)
    }

    /// # Errors
    /// The caller asked to stop.
    fn check_stop(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }

    fn say(&self, phase: Phase, done: u64, total: u64, stored: u64) {
        (self.progress)(Progress {
            phase,
            done,
            total,
            stored,
        });
    }
}
