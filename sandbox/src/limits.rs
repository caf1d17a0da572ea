//! What an instance may consume. The operator's values are ceilings; none can be switched off but
//! the times and the number of traps.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Time from start to end, waiting included.
    pub wall: Option<Duration>,
    /// CPU time of the guest and of the traps done for it.
    pub cpu: Option<Duration>,
    /// Sum of the writable bytes mapped for the guest: data, heap, stack, thread area.
    pub memory_bytes: u64,
    /// Part of the memory that is the data stack.
    pub stack_bytes: u64,
    /// Host memory for return addresses, eight bytes a nested call.
    pub return_stack_bytes: u64,
    /// Bytes written to stdout, stderr and other channels.
    pub output_bytes: u64,
    /// Bytes of scratch files and private copies of image files.
    pub scratch_bytes: u64,
    /// Open descriptors; also the number of scratch files and directories.
    pub files: u32,
    /// Calls from guest to host.
    pub traps: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            wall: None,
            cpu: None,
            memory_bytes: 512 << 20,
            stack_bytes: 8 << 20,
            return_stack_bytes: 1 << 20,
            output_bytes: 1 << 30,
            scratch_bytes: 256 << 20,
            files: 1024,
            traps: None,
        }
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitKind {
    /// Elapsed time.
    Wall,
    /// CPU time.
    Cpu,
    /// Output bytes.
    Output,
    /// Number of traps.
    Traps,
    /// Nested calls: the data stack or the return stack is full.
    Stack,
}
