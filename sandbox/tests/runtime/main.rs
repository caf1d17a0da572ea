//! The runtime from outside: hand-written guests, assembled by GNU `as`, run and looked at.

mod endings;
mod files;
mod memory;
mod pointers;
mod support;
