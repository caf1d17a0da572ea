//! Takes files out of an image into a directory, and never writes outside it.
//!
//! Every name is created relative to the descriptor of the directory it belongs in, one component at a time, and no
//! symlink is followed on the way: neither one from the image nor one that lay there before or is swapped in meanwhile.
//! A file gets its bytes, attributes and times under a temporary name and is then renamed into place, so that whoever
//! looks sees the old file or the new one.
//!
//! Restored are bytes and holes, permissions, times, hard links, symlinks and `user.*` attributes; owners on request.

mod place;
mod select;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, printable};
use crate::reader::{Class, DirEntry, Image, Ino, Kind, Stat};
use place::Temp;
use select::Selection;

/// Bytes copied at once.
const PART: usize = 1 << 20;

/// What to take out, and how.
#[derive(Clone, Debug, Default)]
pub struct ExtractOptions {
    /// Globs of paths; a pattern without a slash matches names at any depth, and a directory brings all that is in it.
    /// None: everything.
    pub globs: Vec<String>,
    /// Give files the owners the image says; needs privilege.
    pub owner: bool,
    /// Leave extended attributes out.
    pub no_xattrs: bool,
}

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Regular files, hard links not counted.
    pub files: u64,
    /// Directories, those that were there included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files already extracted.
    pub links: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Names that could not be extracted, or not completely.
    pub failures: u64,
}

/// Who is told while files are taken out, and who may stop it.
#[expect(
    missing_debug_implementations,
    reason = "functions have nothing to show"
)]
pub struct Watch<'a> {
    /// Told how many more bytes are done.
    pub progress: &'a mut dyn FnMut(u64),
    /// Told of each name that failed, with its path in the image; the others go on.
    pub failed: &'a mut dyn FnMut(&[u8], &Error),
    /// Set to end early with [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
}

/// Extracts into `dir`, which is made when it does not exist (its parent must).
///
/// # Errors
/// The directory cannot be opened; a glob does not parse; the disk is full or fails; the caller asked to stop.
/// Everything else concerns one name, is told to `watch.failed` and counted.
pub fn extract(
    image: &Image,
    dir: &Path,
    options: &ExtractOptions,
    watch: &mut Watch<'_>,
) -> Result<Extracted, Error> {
    let selection = Selection::new(image, &options.globs)?;
    let (root, created) = place::destination(dir)?;
    let mut run = Extract {
        image,
        options,
        dir,
        root: root.try_clone().map_err(|e| Error::io("open", dir, e))?,
        watch,
        first_names: HashMap::new(),
        buffer: Vec::new(),
        done: Extracted::default(),
        path: Vec::new(),
    };
    run.all(&selection, root, created)?;
    Ok(run.done)
}

/// Where a file with several names was extracted first.
struct FirstName {
    path: Vec<u8>,
    id: (u64, u64),
}

/// A directory being filled.
struct Level {
    fd: OwnedFd,
    ino: Ino,
    next: u32,
    /// Everything in it is selected.
    whole: bool,
    /// Length of its path.
    path: usize,
    /// Give it the image's attributes when it is full.
    finish: bool,
}

struct Extract<'a, 'w> {
    image: &'a Image,
    options: &'a ExtractOptions,
    dir: &'a Path,
    root: OwnedFd,
    watch: &'a mut Watch<'w>,
    first_names: HashMap<Ino, FirstName>,
    buffer: Vec<u8>,
    done: Extracted,
    /// Path in the image of what is being extracted.
    path: Vec<u8>,
}

impl Extract<'_, '_> {
    fn all(&mut self, selection: &Selection, root: OwnedFd, created: bool) -> Result<(), Error> {
        let image = self.image;
        let mut stack = vec![Level {
            fd: root,
            ino: image.root(),
            next: 0,
            whole: selection.everything(),
            path: 0,
            // A directory that was there, such as /tmp, keeps its own permissions.
            finish: created,
        }];
        while let Some(level) = stack.last_mut() {
            self.path.truncate(level.path);
            let Some(entry) = image.dir_entry(level.ino, level.next) else {
                let level = stack.pop().expect("it is there");
                if level.finish
                    && let Err(error) = self.attributes(level.fd.as_fd(), level.ino)
                {
                    self.fail(error)?;
                }
                continue;
            };
            level.next += 1;
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(entry.name);
            if self.watch.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let whole = level.whole || selection.matches(&self.path);
            if entry.kind != Kind::Directory {
                if whole && let Err(error) = self.leaf(level.fd.as_fd(), &entry) {
                    self.fail(error)?;
                }
            } else if whole || selection.leads_to_match(entry.ino) {
                match place::directory(level.fd.as_fd(), entry.name) {
                    Ok(fd) => {
                        self.done.directories += 1;
                        let path = self.path.len();
                        stack.push(Level {
                            fd,
                            ino: entry.ino,
                            next: 0,
                            whole,
                            path,
                            finish: true,
                        });
                    }
                    Err(e) => {
                        let error = self.io("make directory", e);
                        self.fail(error)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Extracts one file or symlink.
    fn leaf(&mut self, dir: rustix::fd::BorrowedFd<'_>, entry: &DirEntry<'_>) -> Result<(), Error> {
        let stat = self.image.stat(entry.ino);
        if stat.nlink > 1 && self.link(dir, entry)? {
            self.done.links += 1;
            return Ok(());
        }
        let id = match stat.kind {
            Kind::Symlink => {
                let id = self.symlink(dir, entry, &stat)?;
                self.done.symlinks += 1;
                id
            }
            _ => {
                let id = self.file(dir, entry, &stat)?;
                self.done.files += 1;
                id
            }
        };
        if stat.nlink > 1 {
            let path = self.path.clone();
            self.first_names.insert(entry.ino, FirstName { path, id });
        }
        Ok(())
    }

    /// Gives a file that is already extracted this name, too; `false` when it has to be extracted by itself.
    fn link(
        &mut self,
        dir: rustix::fd::BorrowedFd<'_>,
        entry: &DirEntry<'_>,
    ) -> Result<bool, Error> {
        let Some(first) = self.first_names.get(&entry.ino) else {
            return Ok(false);
        };
        let Some(source) = place::open_same(self.root.as_fd(), &first.path, first.id) else {
            // Somebody moved or replaced it; then there is nothing to link to.
            return Ok(false);
        };
        let temp = Temp::link(dir, source.as_fd()).map_err(|e| self.io("link", e))?;
        temp.rename_to(entry.name)
            .map_err(|e| self.io("rename", e))?;
        Ok(true)
    }

    fn symlink(
        &mut self,
        dir: rustix::fd::BorrowedFd<'_>,
        entry: &DirEntry<'_>,
        stat: &Stat,
    ) -> Result<(u64, u64), Error> {
        let target = self.image.read_link(entry.ino).expect("it is a symlink");
        let temp = Temp::symlink(dir, target).map_err(|e| self.io("symlink", e))?;
        let id = place::finish_symlink(&temp, stat, self.options.owner)
            .map_err(|e| self.io("set times", e))?;
        temp.rename_to(entry.name)
            .map_err(|e| self.io("rename", e))?;
        Ok(id)
    }

    fn file(
        &mut self,
        dir: rustix::fd::BorrowedFd<'_>,
        entry: &DirEntry<'_>,
        stat: &Stat,
    ) -> Result<(u64, u64), Error> {
        let (temp, file) = Temp::file(dir).map_err(|e| self.io("create", e))?;
        if stat.class == Class::Sparse {
            self.sparse(&file, entry.ino, stat.size)?;
        } else {
            self.range(&file, entry.ino, 0, stat.size)?;
        }
        let attributes = self.attributes(file.as_fd(), entry.ino);
        let id = place::id(file.as_fd()).map_err(|e| self.io("stat", e))?;
        // A close is where network file systems say that the disk is full.
        drop(file);
        temp.rename_to(entry.name)
            .map_err(|e| self.io("rename", e))?;
        attributes?;
        Ok(id)
    }

    /// Copies the data parts of a sparse file and leaves the rest as holes.
    fn sparse(&mut self, file: &File, ino: Ino, size: u64) -> Result<(), Error> {
        file.set_len(size).map_err(|e| self.io("set length", e))?;
        let image = self.image;
        for part in image.data_ranges(ino) {
            self.range(file, ino, part.start, part.end)?;
        }
        Ok(())
    }

    fn range(&mut self, file: &File, ino: Ino, start: u64, end: u64) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let want = PART.min(usize::try_from(end - start).unwrap_or(PART));
        if buffer.len() < want {
            buffer.resize(want, 0);
        }
        let mut at = start;
        while at < end {
            if self.watch.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let want = PART.min(usize::try_from(end - at).unwrap_or(PART));
            let n = self.image.read_at(ino, at, &mut buffer[..want])?;
            if n == 0 {
                break;
            }
            file.write_all_at(&buffer[..n], at)
                .map_err(|e| self.io("write", e))?;
            at += n as u64;
            self.done.bytes += n as u64;
            (self.watch.progress)(n as u64);
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Extended attributes, owner, permissions, times: in this order, because each may undo what follows it.
    fn attributes(&self, fd: rustix::fd::BorrowedFd<'_>, ino: Ino) -> Result<(), Error> {
        let stat = self.image.stat(ino);
        let mut result = Ok(());
        if !self.options.no_xattrs {
            for (name, value) in self.image.xattrs(ino) {
                // Other name spaces hold capabilities and labels: an image must not hand those out.
                if !name.starts_with(b"user.") {
                    let what = format!("attribute {} is not restored", printable(name));
                    result = Err(Error::source(&self.path, what));
                } else if let Err(e) = place::set_xattr(fd, name, value) {
                    result = Err(self.io("set extended attribute", e));
                }
            }
        }
        place::finish(fd, &stat, self.options.owner).map_err(|e| self.io("set attributes", e))?;
        result
    }

    fn io(&self, call: &'static str, source: impl Into<std::io::Error>) -> Error {
        let mut path: PathBuf = self.dir.to_owned();
        path.push(place::os(&self.path));
        Error::io(call, path, source)
    }

    /// Counts a failure of one name, or ends everything when the next name would fail alike.
    fn fail(&mut self, error: Error) -> Result<(), Error> {
        let ends_all = match &error {
            Error::Interrupted => true,
            Error::Io { source, .. } => {
                use rustix::io::Errno;
                matches!(
                    Errno::from_io_error(source),
                    Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO | Errno::MFILE)
                )
            }
            _ => false,
        };
        if ends_all {
            return Err(error);
        }
        self.done.failures += 1;
        (self.watch.failed)(&self.path, &error);
        Ok(())
    }
}
