//! One compact, indexed, read-only image of a directory tree.
//!
//! [`scan`] and [`tar`] make a [`tree::Tree`], [`writer`] packs it, [`Image`] reads it straight from the map. The byte
//! layout is in [`format`](crate::format) and `docs/format.md`. The crate knows bytes and paths, nothing of processes
//! or HTTP.

pub mod error;
pub mod format;
mod index;
mod reader;
pub mod sqlite;
mod sys;
pub mod tree;
mod tree_id;

pub use error::{Error, printable};
pub use reader::{Class, DirEntry, Extent, Image, Ino, Kind, ResolveError, Stat};
