//! The host's side of an instance, as plain data: cloned with a snapshot, compared after a reset.

use crate::error::Error;
use crate::files::Files;
use crate::jumps::Jumps;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::tree::Mounts;
use crate::tree::view::View;

/// Everything the host remembers for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) files: Files,
    pub(crate) view: View,
    pub(crate) memory: Memory,
    pub(crate) jumps: Jumps,
    /// True once the guest has read random bytes: what it derived from them would be shared by all
    /// clones of a snapshot (review F16).
    pub(crate) has_read_random: bool,
}

impl State {
    /// The state at the start of a program.
    pub(crate) fn new(layout: &Layout, mounts: &Mounts) -> Result<State, Error> {
        Ok(State {
            files: Files::default(),
            view: View::new(mounts)?,
            memory: Memory::new(layout),
            jumps: Jumps::default(),
            has_read_random: false,
        })
    }
}
