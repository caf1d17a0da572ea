//! HTTP at the edge: listening sockets, and connections of HTTP/1.1 and HTTP/2.

mod activity;
pub(crate) mod address;
pub(crate) mod conversation;
pub(crate) mod listener;
pub(crate) mod proxy;
mod target;
