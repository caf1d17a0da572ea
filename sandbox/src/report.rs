//! What an instance consumed and how it ended, as versioned JSON.

use crate::limits::LimitKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the JSON form; it grows when a field changes its meaning or goes away.
pub const REPORT_VERSION: u32 = 1;

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The guest ended itself.
    Exited {
        /// The low eight bits of its status.
        status: u8,
    },
    /// The guest waits in `accept` and there is no request for it.
    Idle,
    /// The guest's code faulted.
    Fault {
        /// The Linux signal number of the fault.
        signal: u32,
        /// Offset in the slot of the instruction.
        instruction: u64,
        /// Offset in the slot that was accessed, when it lies in the slot.
        address: Option<u64>,
    },
    /// The guest sent itself a signal, as `abort` does.
    Raised {
        /// The Linux signal number.
        signal: u32,
    },
    /// A limit was reached.
    Limit {
        /// Which one.
        limit: LimitKind,
    },
    /// Whoever started the instance cancelled it.
    Cancelled,
    /// The guest did something no correct program does.
    Misuse {
        /// What it did.
        what: String,
    },
    /// It ran from a recording and asked for something else than was recorded.
    Diverged(Divergence),
    /// A bug of the host ended the instance; its slot is not used again.
    HostBug {
        /// What is known about it.
        what: String,
    },
}

/// What a guest asks of the world outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum Asked {
    /// The time of day.
    RealTime = 1,
    /// The time since some moment.
    MonotonicTime = 2,
    /// The CPU time it has used.
    CpuTime = 3,
    /// Random bytes, so many.
    Random = 4,
    /// The number of a request.
    RequestNumber = 5,
    /// Bytes of standard input.
    Input = 6,
    /// How a read of standard input failed.
    InputError = 7,
    /// How a write to an output ended.
    Output = 8,
    /// Whether there is a mapping for a window.
    Window = 9,
}

impl Asked {
    pub(crate) const ALL: [Asked; 9] = [
        Asked::RealTime,
        Asked::MonotonicTime,
        Asked::CpuTime,
        Asked::Random,
        Asked::RequestNumber,
        Asked::Input,
        Asked::InputError,
        Asked::Output,
        Asked::Window,
    ];
}

/// Where a replay left its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Answers that were as recorded.
    pub after: u64,
    /// What the guest asked then.
    pub asked: Asked,
    /// What the recording holds there: something else, as much as does not fit, or nothing more.
    pub recorded: Option<Asked>,
}

/// What an instance consumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Elapsed nanoseconds in the guest and its traps.
    pub wall_ns: u64,
    /// CPU nanoseconds in the guest and its traps.
    pub cpu_ns: u64,
    /// Calls from guest to host.
    pub traps: u64,
    /// Private memory at the end: pages the guest wrote, in bytes.
    pub private_bytes: u64,
    /// Bytes written to channels.
    pub output_bytes: u64,
    /// Largest size of scratch files and private copies.
    pub scratch_bytes: u64,
    /// Files opened.
    pub files_opened: u64,
    /// Bytes written to private copies of image files, and of files made in directories of the image: what the guest
    /// may have meant to keep, and what vanishes with the instance.
    pub discarded_bytes: u64,
    /// Calls refused because scratch space or the number of scratch files was used up.
    pub full_traps: u64,
    /// Calls that are not offered, by number, with how often each was made.
    pub unknown_traps: BTreeMap<u64, u64>,
}

/// The report of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What it consumed.
    pub usage: Usage,
}

impl Report {
    /// The status with which `zapp run` ends: the guest's own, 124 for the wall limit, 137 for any
    /// other, 128 plus the signal for a fault, 125 for a failure of ours.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.outcome {
            Outcome::Exited { status } => *status,
            Outcome::Idle => 0,
            Outcome::Fault { signal, .. } | Outcome::Raised { signal } => {
                u8::try_from(128 + signal).unwrap_or(255)
            }
            Outcome::Limit {
                limit: LimitKind::Wall,
            } => 124,
            Outcome::Limit {
                limit: LimitKind::Stack,
            } => 139,
            Outcome::Limit { .. } => 137,
            Outcome::Cancelled => 130,
            Outcome::Misuse { .. } => 159,
            Outcome::Diverged(_) | Outcome::HostBug { .. } => 125,
        }
    }

    /// The report as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has only string keys and finite numbers")
    }
}
