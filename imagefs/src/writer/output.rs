//! The file under construction: without a name until it is complete and compared.
//!
//! It is an unnamed `O_TMPFILE` in the target directory, so that even `kill -9` leaves nothing behind; file systems
//! without that get a hidden temporary name, which every ordinary end removes.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::Error;

/// An image being written.
pub(super) struct Output {
    file: File,
    /// The temporary name on file systems without `O_TMPFILE`.
    named: Option<tempfile::TempPath>,
    target: PathBuf,
    dir: PathBuf,
    /// Bytes written so far.
    pub(super) at: u64,
}

impl Output {
    /// # Errors
    /// The target exists and may not be replaced, or its directory cannot be written.
    pub(super) fn create(target: &Path, force: bool) -> Result<Output, Error> {
        if !force && target.symlink_metadata().is_ok() {
            let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(Error::io("create", target, exists));
        }
        if target.is_dir() {
            return Err(Error::io(
                "create",
                target,
                std::io::Error::from(std::io::ErrorKind::IsADirectory),
            ));
        }
        let dir = match target.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        // An image is for others to read; the umask does not enter its bytes.
        let mode = Mode::from_raw_mode(0o644);
        let (file, named) = match rustix::fs::openat(
            CWD,
            &dir,
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            mode,
        ) {
            Ok(fd) => (File::from(fd), None),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let named = tempfile::Builder::new()
                    .prefix(".zapp-")
                    .suffix(".tmp")
                    .tempfile_in(&dir)
                    .map_err(|e| Error::io("create in", &dir, e))?;
                let (file, path) = named.into_parts();
                (file, Some(path))
            }
            Err(e) => return Err(Error::io("create in", dir, e)),
        };
        Ok(Output {
            file,
            named,
            target: target.to_owned(),
            dir,
            at: 0,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The system refuses, as on a full disk.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|e| Error::io("write", &self.target, e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Appends zeros up to a multiple of `align`, a power of two of at most 4096.
    ///
    /// # Errors
    /// As [`Output::append`].
    pub(super) fn align(&mut self, align: u64) -> Result<(), Error> {
        let zeros = [0; 4096];
        let gap = usize::try_from(self.at.next_multiple_of(align) - self.at).expect("below 4096");
        self.append(&zeros[..gap])
    }

    /// Overwrites the start of the file.
    ///
    /// # Errors
    /// As [`Output::append`].
    pub(super) fn write_head(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.rewind().and_then(|()| self.file.write_all(bytes));
        written.map_err(|e| Error::io("write", &self.target, e))
    }

    /// Another handle on the file, for reading.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn reopen(&self) -> Result<File, Error> {
        self.file
            .try_clone()
            .map_err(|e| Error::io("dup", &self.target, e))
    }

    /// Flushes the file and gives it its name, replacing what was there.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn publish(self) -> Result<(), Error> {
        let failed = |call, e: std::io::Error| Error::io(call, &self.target, e);
        self.file.sync_all().map_err(|e| failed("fsync", e))?;
        if let Some(named) = self.named {
            let perm = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            self.file
                .set_permissions(perm)
                .map_err(|e| failed("chmod", e))?;
            return named
                .persist(&self.target)
                .map_err(|e| failed("rename", e.error));
        }
        // linkat(2) never replaces, so the file gets a private name first. See open(2), O_TMPFILE.
        let fd_path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let name = self
            .dir
            .join(format!(".zapp-{}-{:08x}.tmp", std::process::id(), nonce()));
        rustix::fs::linkat(CWD, &fd_path, CWD, &name, AtFlags::SYMLINK_FOLLOW)
            .map_err(|e| failed("link", e.into()))?;
        rustix::fs::rename(&name, &self.target).map_err(|e| {
            drop(std::fs::remove_file(&name));
            failed("rename", e.into())
        })?;
        Ok(())
    }
}

/// Keeps two packs of one process apart.
fn nonce() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
