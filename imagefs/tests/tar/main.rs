//! Tar archives in and out: by hand, by GNU tar, and made to hurt.

mod bench;
mod export;
mod gnu;
mod headers;
mod import;
mod names;
mod sparse;
