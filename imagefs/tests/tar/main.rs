//! Tar archives in and out: by hand, by GNU tar, and made to hurt.

mod bench;
mod export;
mod gnu;
mod hostile;
mod import;
