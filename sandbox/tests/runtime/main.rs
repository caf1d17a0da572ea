//! The runtime from outside: hand-written guests, assembled by GNU `as`, run and looked at.

mod bound;
mod broken;
mod clones;
mod delta;
mod directories;
mod documents;
mod endings;
mod files;
mod house;
mod images;
mod jumps;
mod kept;
mod links;
mod many;
mod memory;
mod outside;
mod pointers;
mod reads;
mod residue;
mod stored;
mod support;
mod timing;
