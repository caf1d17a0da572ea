//! What the operator sees: the log, metrics, and a listener of its own for both.

pub(crate) mod admin;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod seldom;
