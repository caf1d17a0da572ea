//! Everything that reaches a guest and is determined neither by its program nor by what it was given: clocks, random
//! bytes, the number of a request, what a read of standard input brings and how a write to an output ends, and whether
//! the process has a mapping to spare for a window on a file. An instance asks its [`Outside`] for all of it.
//!
//! So a run can be recorded and run again: same snapshot, arguments, trees and request, and from the recording
//! whatever came from outside. The answers lie in the order in which the guest asked:
//!
//! ```text
//! kind u8 | number u64                (times, request number, error, end of a write, window)
//! kind u8 | length u32, bytes         (random, input)
//! ```
//! Not recorded: a limit of time, a cancellation, memory that the kernel does not have. A program that looks for the base
//! of its slot sees another one.

use crate::abi::{Errno, Stop};
use crate::report::{Asked, Divergence};
use crate::sys::linux::{self, Clock};
use crate::watchdog::{Canceller, Reason};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SECOND: u64 = 1_000_000_000;

/// Longest sleep between two looks at `cancel`; a kick ends it early.
const STEP_NS: u64 = 10_000_000;

/// What an instance was told from outside, to be told again by [`crate::Builder::replay`]. It holds the guest's random
/// bytes and its input: whoever reads it knows what the guest knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording(Vec<u8>);

impl Recording {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the instances of one sandbox have of the world in common.
#[derive(Debug)]
pub(crate) struct World {
    /// Guest clocks are rounded down to a multiple of this.
    granularity_ns: u64,
    /// When the sandbox was made, on the host's monotonic clock: the host's uptime is nobody's business.
    started_ns: u64,
    next_request: AtomicU64,
}

impl World {
    pub(crate) fn new(granularity_ns: u64) -> World {
        World {
            granularity_ns: granularity_ns.max(1),
            started_ns: linux::clock(Clock::Monotonic),
            next_request: AtomicU64::new(1),
        }
    }

    /// The guests' monotonic clock.
    fn monotonic_ns(&self) -> u64 {
        linux::clock(Clock::Monotonic) - self.started_ns + SECOND
    }
}

/// The latest that a guest's clocks have shown: no clone of it may be shown less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clocks {
    pub(crate) monotonic_ns: u64,
    pub(crate) cpu_ns: u64,
}

impl Clocks {
    /// Some hundred years: no clock of a guest's gets so far, and sums with it stay numbers.
    const MAX_NS: u64 = 1 << 62;

    /// Whether a guest can have been shown this.
    pub(crate) fn is_sound(&self) -> bool {
        self.monotonic_ns <= Clocks::MAX_NS && self.cpu_ns <= Clocks::MAX_NS
    }
}

/// Where one instance gets what nothing determines.
#[derive(Debug)]
pub(crate) struct Outside {
    world: Arc<World>,
    /// How far the instance's monotonic clock is ahead of its sandbox's: another process may have run for longer.
    ahead_ns: u64,
    /// What the CPU clock showed before this instance began to use any.
    cpu_before_ns: u64,
    source: Source,
}

/// Who answers.
#[derive(Debug, Default)]
pub(crate) enum Source {
    /// The host.
    #[default]
    Live,
    /// The host; its answers are kept, while they take no more than so many bytes.
    Recorded { answers: Vec<u8>, bytes_max: usize },
    /// A recording.
    Replayed(Replay),
}

/// A recording that is being used up.
#[derive(Debug)]
pub(crate) struct Replay {
    recording: Vec<u8>,
    at: usize,
    answered: u64,
    divergence: Option<Divergence>,
    /// Ends the instance when it leaves the recording.
    canceller: Option<Canceller>,
}

impl Source {
    /// The host's answers, to be kept.
    pub(crate) fn recorded(bytes_max: usize) -> Source {
        Source::Recorded {
            answers: Vec::new(),
            bytes_max,
        }
    }

    /// The answers of an earlier run.
    pub(crate) fn replayed(recording: Recording) -> Source {
        Source::Replayed(Replay {
            recording: recording.0,
            at: 0,
            answered: 0,
            divergence: None,
            canceller: None,
        })
    }

    /// Keeps an answer; when it would be too much, all are given up, and nothing more is kept.
    fn keep(&mut self, asked: Asked, parts: [&[u8]; 2]) {
        if let Source::Recorded { answers, bytes_max } = self {
            let len = 1 + parts[0].len() + parts[1].len();
            if answers.len() + len > *bytes_max {
                *self = Source::Live;
                return;
            }
            answers.push(asked as u8);
            answers.extend_from_slice(parts[0]);
            answers.extend_from_slice(parts[1]);
        }
    }
}

impl Replay {
    /// What comes next in the recording.
    fn next_kind(&self) -> Option<Asked> {
        let kind = self.recording.get(self.at)?;
        Asked::ALL.into_iter().find(|asked| *asked as u8 == *kind)
    }

    /// Ends the instance: it asks for what the recording does not hold here.
    #[cold]
    fn diverge(&mut self, asked: Asked) {
        if self.divergence.is_none() {
            self.divergence = Some(Divergence {
                after: self.answered,
                asked,
                recorded: self.next_kind(),
            });
        }
        if let Some(canceller) = &self.canceller {
            canceller.cancel_for(Reason::Diverged);
        }
    }

    /// The bytes of the next answer, when it is of this kind and has `N` bytes after its kind.
    fn fixed<const N: usize>(&mut self, asked: Asked) -> Option<[u8; N]> {
        let is_next = self.divergence.is_none() && self.next_kind() == Some(asked);
        let rest = self.recording.get(self.at + 1..).filter(|_| is_next);
        rest.and_then(|rest| rest.first_chunk()).copied()
    }

    /// The next answer, a number; 0 when it is not there.
    fn number(&mut self, asked: Asked) -> u64 {
        let Some(bytes) = self.fixed(asked) else {
            self.diverge(asked);
            return 0;
        };
        self.at += 9;
        self.answered += 1;
        u64::from_le_bytes(bytes)
    }

    /// Fills the start of `target` with the next answer; nothing when it is not there or does not fit.
    fn bytes(&mut self, asked: Asked, target: &mut [u8]) -> Option<usize> {
        let answer = self.fixed(asked).and_then(|len| {
            let len = usize::try_from(u32::from_le_bytes(len)).ok()?;
            let start = self.at + 5;
            let bytes = self.recording.get(start..start.checked_add(len)?)?;
            target.get_mut(..len)?.copy_from_slice(bytes);
            Some(len)
        });
        match answer {
            Some(len) => {
                self.at += 5 + len;
                self.answered += 1;
            }
            None => self.diverge(asked),
        }
        answer
    }
}

impl Outside {
    /// The outside of an instance that goes on from `clocks`; `canceller` ends it.
    pub(crate) fn new(
        world: &Arc<World>,
        clocks: Clocks,
        mut source: Source,
        canceller: impl FnOnce() -> Canceller,
    ) -> Outside {
        if let Source::Replayed(replay) = &mut source {
            replay.canceller = Some(canceller());
        }
        let ahead_ns = match clocks.monotonic_ns {
            0 => 0,
            shown => shown.saturating_sub(world.monotonic_ns()),
        };
        Outside {
            world: Arc::clone(world),
            ahead_ns,
            cpu_before_ns: clocks.cpu_ns,
            source,
        }
    }

    /// A number from outside.
    #[inline]
    fn number(&mut self, asked: Asked, live: impl FnOnce(&World) -> u64) -> u64 {
        if let Source::Live = self.source {
            return live(&self.world);
        }
        self.kept_number(asked, live)
    }

    #[cold]
    fn kept_number(&mut self, asked: Asked, live: impl FnOnce(&World) -> u64) -> u64 {
        if let Source::Replayed(replay) = &mut self.source {
            return replay.number(asked);
        }
        let number = live(&self.world);
        self.keep_number(asked, number);
        number
    }

    fn keep_number(&mut self, asked: Asked, number: u64) {
        self.source.keep(asked, [&number.to_le_bytes(), &[]]);
    }

    fn keep_bytes(&mut self, asked: Asked, bytes: &[u8]) {
        // Nobody asks for 4 GiB at once: data moves in units far below.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.source.keep(asked, [&len.to_le_bytes(), bytes]);
    }

    /// The resolution of all clocks.
    pub(crate) fn granularity_ns(&self) -> u64 {
        self.world.granularity_ns
    }

    fn rounded(&self, now_ns: u64) -> u64 {
        now_ns - now_ns % self.world.granularity_ns
    }

    /// Nanoseconds since 1970, rounded.
    #[inline]
    pub(crate) fn real_ns(&mut self) -> u64 {
        let now = self.number(Asked::RealTime, |_| linux::clock(Clock::Real));
        self.rounded(now)
    }

    /// Nanoseconds on the instance's monotonic clock, rounded.
    #[inline]
    pub(crate) fn monotonic_ns(&mut self, clocks: &mut Clocks) -> u64 {
        let ahead = self.ahead_ns;
        let now = self.number(Asked::MonotonicTime, |world| world.monotonic_ns() + ahead);
        clocks.monotonic_ns = self.rounded(now);
        clocks.monotonic_ns
    }

    /// Nanoseconds of CPU time, rounded, of an instance that has used `used` since it began.
    pub(crate) fn cpu_ns(&mut self, clocks: &mut Clocks, used: impl FnOnce() -> u64) -> u64 {
        let before = self.cpu_before_ns;
        let now = self.number(Asked::CpuTime, |_| before + used());
        clocks.cpu_ns = self.rounded(now);
        clocks.cpu_ns
    }

    /// From here on the CPU time that is used counts from zero again.
    pub(crate) fn go_on_from(&mut self, clocks: Clocks) {
        self.cpu_before_ns = clocks.cpu_ns;
    }

    /// The number of a request.
    pub(crate) fn request_number(&mut self) -> u64 {
        self.number(Asked::RequestNumber, |world| {
            world.next_request.fetch_add(1, Ordering::Relaxed)
        })
    }

    /// Fills `target` with random bytes.
    pub(crate) fn random(&mut self, target: &mut [u8]) {
        if let Source::Replayed(replay) = &mut self.source {
            let len = replay.bytes(Asked::Random, target);
            if len.is_some_and(|len| len != target.len()) {
                replay.diverge(Asked::Random);
            }
            return;
        }
        linux::random(target);
        self.keep_bytes(Asked::Random, target);
    }

    /// What a read of standard input into `target` brings; `live` reads.
    pub(crate) fn input(
        &mut self,
        target: &mut [u8],
        live: impl FnOnce(&mut [u8]) -> Result<usize, Stop>,
    ) -> Result<usize, Stop> {
        if let Source::Replayed(replay) = &mut self.source {
            if replay.next_kind() == Some(Asked::InputError) {
                return Err(errno_of(replay.number(Asked::InputError)).into());
            }
            return Ok(replay.bytes(Asked::Input, target).unwrap_or(0));
        }
        let read = live(target);
        match &read {
            Ok(len) => self.keep_bytes(Asked::Input, &target[..*len]),
            Err(Stop::Error(errno)) => self.keep_number(Asked::InputError, number_of(*errno)),
            Err(_) => {}
        }
        read
    }

    /// How much of a write of `len` bytes to an output is done, and how it ends; `live` writes so much.
    pub(crate) fn output(
        &mut self,
        len: usize,
        live: impl FnOnce(usize) -> (usize, Result<(), Stop>),
    ) -> (usize, Result<(), Stop>) {
        if let Source::Replayed(replay) = &mut self.source {
            let told = replay.number(Asked::Output);
            let done = usize::try_from(told & 0xFFFF_FFFF).map_or(0, |done| done.min(len));
            // The guest is told what it was told, whatever becomes of the output of the replay.
            let _ = live(done);
            return match told >> 32 {
                0 => (done, Ok(())),
                errno => (done, Err(errno_of(errno).into())),
            };
        }
        let (done, end) = live(len);
        match &end {
            Ok(()) => self.keep_number(Asked::Output, done as u64),
            Err(Stop::Error(errno)) => {
                self.keep_number(Asked::Output, number_of(*errno) << 32 | done as u64);
            }
            Err(_) => {}
        }
        (done, end)
    }

    /// The share of the process's mappings that `live` takes, when there is one.
    pub(crate) fn mappings<T>(&mut self, live: impl FnOnce() -> Option<T>) -> Option<T> {
        if let Source::Replayed(replay) = &mut self.source {
            let had_one = replay.number(Asked::Window) != 0;
            let share = if had_one { live() } else { None };
            if had_one && share.is_none() {
                replay.diverge(Asked::Window);
            }
            return share;
        }
        let share = live();
        self.keep_number(Asked::Window, share.is_some().into());
        share
    }

    /// A pause of so many nanoseconds from now; a replay does not wait.
    pub(crate) fn pause(&self, nanos: u64) -> Pause {
        let is_replay = matches!(self.source, Source::Replayed(_));
        Pause(if is_replay {
            0
        } else {
            linux::clock(Clock::Monotonic).saturating_add(nanos)
        })
    }

    /// Where a replay left its recording, if it did.
    pub(crate) fn divergence(&self) -> Option<Divergence> {
        match &self.source {
            Source::Replayed(replay) => replay.divergence,
            _ => None,
        }
    }

    /// What was recorded; nothing when nothing was to be, or when it was too much.
    pub(crate) fn take_recording(&mut self) -> Option<Recording> {
        match std::mem::take(&mut self.source) {
            Source::Recorded { answers, .. } => Some(Recording(answers)),
            _ => None,
        }
    }
}

/// A pause that ends at a moment of the host's monotonic clock.
#[derive(Debug)]
pub(crate) struct Pause(u64);

impl Pause {
    /// Sleeps for a step; false when the pause is over.
    pub(crate) fn step(&self) -> bool {
        let rest = self.0.saturating_sub(linux::clock(Clock::Monotonic));
        if rest > 0 {
            linux::sleep(rest.min(STEP_NS));
        }
        rest > 0
    }
}

/// An error number, for a recording.
fn number_of(errno: Errno) -> u64 {
    errno.0.unsigned_abs().into()
}

/// An error number of a recording.
fn errno_of(number: u64) -> Errno {
    Errno(i32::try_from(number).unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests;
