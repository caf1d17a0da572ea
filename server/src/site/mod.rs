//! What an image says about its site, and what a request means there. Pure: nothing here waits, serves or runs.

pub(crate) mod application;
pub(crate) mod cgi;
pub(crate) mod manifest;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod read_only;
pub(crate) mod route;
mod types;
pub(crate) mod units;
