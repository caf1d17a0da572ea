//! The host's side of an instance, as plain data: cloned with a snapshot, compared after a reset.

/// Everything the host remembers for one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {}
