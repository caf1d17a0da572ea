//! One compact, indexed, read-only image of a directory tree.
//!
//! [`scan`] and [`tar`] make a [`tree::Tree`], [`writer`] packs it, [`Image`] reads it straight from the map. The byte
//! layout is in [`format`](crate::format) and `docs/format.md`. The crate knows bytes and paths, nothing of processes
//! or HTTP.

pub mod deep;
pub mod diff;
pub mod error;
pub mod extract;
pub mod format;
#[cfg(feature = "fuse")]
pub mod fuse;
mod holes;
mod ignore_file;
mod index;
mod reader;
#[doc(hidden)]
pub mod rehash;
pub mod scan;
pub mod sqlite;
pub mod summary;
mod sys;
pub mod tar;
pub mod tree;
mod tree_id;
pub mod writer;

pub use error::{Error, printable};
pub use ignore_file::{IGNORE_FILE, IGNORE_FILE_MAX};
pub use reader::{Class, DirEntry, Extent, Image, Ino, Kind, ResolveError, Stat, Walk};
