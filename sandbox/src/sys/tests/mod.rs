//! The border looked at from inside: what only a test with the names of `sys` can see.

mod handlers;
mod residue;
mod steps;
mod tracee;
