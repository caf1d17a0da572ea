//! What comes back from a worker for a request: how it ended, what it cost, and the guest's answer.

use bytes::Bytes;
use serde::Serialize;

use crate::setup::Pairs;

/// How a request ended in the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// The guest answered.
    Answered = 0,
    /// It ended without an answer, or with one that is no HTTP.
    NoAnswer = 1,
    /// Its wall time was used up.
    Wall = 2,
    /// Its CPU time was used up.
    Cpu = 3,
    /// It said more than it may.
    Output = 4,
    /// Its stack was used up.
    Stack = 5,
    /// It did what the processor refuses.
    Fault = 6,
    /// It used a trap as no program does.
    Misuse = 7,
    /// The worker made a mistake.
    HostBug = 8,
    /// Nobody waits for it any more.
    Cancelled = 9,
    /// The worker's memory budget is used up.
    Busy = 10,
    /// Scratch space was used up, and the guest failed over it.
    Scratch = 11,
    /// Too many calls from guest to host.
    Traps = 12,
}

impl Ending {
    /// All endings, by number.
    pub const ALL: [Ending; 13] = [
        Ending::Answered,
        Ending::NoAnswer,
        Ending::Wall,
        Ending::Cpu,
        Ending::Output,
        Ending::Stack,
        Ending::Fault,
        Ending::Misuse,
        Ending::HostBug,
        Ending::Cancelled,
        Ending::Busy,
        Ending::Scratch,
        Ending::Traps,
    ];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Answered => "answered",
            Ending::NoAnswer => "no_answer",
            Ending::Wall => "wall_limit",
            Ending::Cpu => "cpu_limit",
            Ending::Output => "output_limit",
            Ending::Stack => "stack_limit",
            Ending::Fault => "fault",
            Ending::Misuse => "misuse",
            Ending::HostBug => "host_bug",
            Ending::Cancelled => "cancelled",
            Ending::Busy => "busy",
            Ending::Scratch => "scratch_limit",
            Ending::Traps => "trap_limit",
        }
    }
}

/// What a request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Elapsed time.
    pub wall_ns: u64,
    /// CPU time.
    pub cpu_ns: u64,
    /// Calls from guest to host.
    pub traps: u64,
    /// Memory that was its own alone.
    pub private_bytes: u64,
    /// Bytes it said.
    pub output_bytes: u64,
    /// Scratch space in use at its largest.
    pub scratch_bytes: u64,
    /// Bytes written to files, gone with the instance.
    pub discarded_bytes: u64,
    /// Files it opened.
    pub files_opened: u64,
    /// Calls refused for want of scratch space.
    pub full_traps: u64,
    /// 1 when the instance went on from behind the site's bootstrap, 0 when from the default snapshot.
    pub after_bootstrap: u64,
}

impl Cost {
    pub(crate) fn numbers(&self) -> [u64; 10] {
        [
            self.wall_ns,
            self.cpu_ns,
            self.traps,
            self.private_bytes,
            self.output_bytes,
            self.scratch_bytes,
            self.discarded_bytes,
            self.files_opened,
            self.full_traps,
            self.after_bootstrap,
        ]
    }

    pub(crate) fn of(numbers: [u64; 10]) -> Cost {
        let [
            wall_ns,
            cpu_ns,
            traps,
            private_bytes,
            output_bytes,
            scratch_bytes,
            discarded_bytes,
            files_opened,
            full_traps,
            after_bootstrap,
        ] = numbers;
        Cost {
            wall_ns,
            cpu_ns,
            traps,
            private_bytes,
            output_bytes,
            scratch_bytes,
            discarded_bytes,
            files_opened,
            full_traps,
            after_bootstrap,
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub ending: Ending,
    /// HTTP status.
    pub status: u16,
    /// Headers the runtime dropped because they frame the message.
    pub dropped: u32,
    /// What it cost.
    pub cost: Cost,
    /// Headers of the guest.
    pub headers: Pairs,
    /// The beginning of what it said on its error output.
    pub stderr: Vec<u8>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// An answer that says only how the request ended.
    pub fn ended(ending: Ending) -> Answer {
        Answer {
            ending,
            status: 0,
            dropped: 0,
            cost: Cost::default(),
            headers: Vec::new(),
            stderr: Vec::new(),
            body: Bytes::new(),
        }
    }
}
