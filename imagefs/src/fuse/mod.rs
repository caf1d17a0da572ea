//! An image as a mounted, read-only file system.
//!
//! For people and programs that want to look into an image with the tools they have; the sandbox and the server read
//! images directly. The kernel is told that nothing ever changes: names, attributes and pages stay in its caches for a
//! day, so that a second look costs no more than on any other file system.
//!
//! Mounting needs either root or the set-id helper `fusermount3`; both get `ro,nosuid,nodev,default_permissions`.

mod mount;
mod view;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use mount::{MountError, unmount};

use crate::error::Error;
use crate::reader::{Image, Ino};
use view::View;

/// Told of each read that met damage.
pub type OnDamage = Arc<dyn Fn(Ino, &Error) + Send + Sync>;

/// How an image is mounted.
#[derive(Clone, Default)]
pub struct MountOptions {
    /// Let other users in, with the permissions the files have.
    pub allow_other: bool,
    /// Threads that answer the kernel; `None`: one for each processor, two to eight.
    pub threads: Option<usize>,
    /// Told of each read that met damage; the reader gets `EIO`.
    pub on_damage: Option<OnDamage>,
}

impl std::fmt::Debug for MountOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MountOptions")
            .field("allow_other", &self.allow_other)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A mounted image that nobody serves yet. Dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    session: Option<fuser::Session<View>>,
    point: PathBuf,
}

impl Mounted {
    /// Mounts an image at a directory. `source` is the name shown in `/proc/mounts`.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn new(
        image: Image,
        source: &Path,
        point: &Path,
        options: &MountOptions,
    ) -> Result<Mounted, MountError> {
        let point = mount::check_point(point)?;
        let device = mount::mount(source.as_os_str().as_bytes(), &point, options.allow_other)?;
        let mut config = fuser::Config::default();
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        config.n_threads = Some(options.threads.unwrap_or(processors.clamp(2, 8)).max(1));
        // A queue of its own for each thread; opening the device again takes a right that a user of fusermount3 may
        // not have.
        config.clone_fd = mount::may_open_device();
        let view = View::new(image, options.on_damage.clone());
        // The kernel checks who may enter, so that the library need not.
        let acl = fuser::SessionACL::All;
        match fuser::Session::from_fd(view, device, acl, config) {
            Ok(session) => Ok(Mounted {
                session: Some(session),
                point,
            }),
            Err(source) => {
                // Nobody answers; leaving it would make every access to the directory fail.
                let _ = unmount(&point, true);
                Err(MountError::Handshake(source))
            }
        }
    }

    /// The directory, with all symlinks resolved.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Answers the kernel until the file system is unmounted.
    ///
    /// # Errors
    /// The connection to the kernel broke.
    pub fn serve(mut self) -> std::io::Result<()> {
        match self.session.take() {
            Some(session) => session.run(),
            None => Ok(()),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.session.is_some() {
            let _ = unmount(&self.point, true);
        }
    }
}
