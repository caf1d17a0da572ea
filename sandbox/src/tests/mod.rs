//! Tests of whole instances that look at what no embedder can see.

mod addresses;
mod delta;
mod injection;
mod mappings;
#[path = "../../tests/runtime/support.rs"]
#[allow(dead_code, reason = "the runtime's tests use more of it")]
pub(crate) mod support;
