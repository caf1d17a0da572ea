//! The runtime object: what programs, snapshots and instances of one embedder share.
//!
//! There is no global state beyond the signal handlers and the gate page, both of which are the same
//! for everybody in the process.

use crate::error::Error;
use crate::limits::Limits;
use crate::program::{Program, Verdicts};
use crate::snapshot::Snapshot;
use crate::sys::entry::GatePage;
use crate::sys::linux::{self, Clock};
use crate::sys::pagemap::Pagemap;
use crate::sys::signal;
use crate::sys::thread;
use crate::tree::Mounts;
use crate::watchdog::Watchdog;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a sandbox may use in all.
#[derive(Debug, Clone)]
pub struct Config {
    /// Sum of the limits of all live instances, in bytes; more have to wait.
    pub memory_budget_bytes: u64,
    /// Guest clocks are rounded down to a multiple of this.
    pub clock_granularity_ns: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            memory_budget_bytes: 1 << 44,
            clock_granularity_ns: 1_000,
        }
    }
}

/// Runs guests; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    verdicts: Verdicts,
    pagemap: Pagemap,
    watchdog: Watchdog,
    committed_bytes: AtomicU64,
    mappings: AtomicU64,
    mappings_max: u64,
    live: AtomicU64,
    started_ns: u64,
    poisoned: AtomicU64,
}

impl Sandbox {
    /// Prepares this process for guests: installs the signal handlers (chaining to those there are)
    /// and checks that nothing in the process makes guests unsafe.
    ///
    /// # Errors
    /// When a signal handler without an alternate stack exists, or the kernel lacks what is needed.
    pub fn new(config: Config) -> Result<Sandbox, Error> {
        signal::install().map_err(Error::system("sigaction"))?;
        let bad = signal::handlers_without_alternate_stack();
        if !bad.is_empty() {
            let reason = format!("handlers without SA_ONSTACK for signals {bad:?}");
            return Err(Error::Host { reason });
        }
        if thread::has_shadow_stack() {
            let reason = "shadow stacks are on; turn them off for this process with \
                          GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK"
                .to_owned();
            return Err(Error::Host { reason });
        }
        GatePage::get().map_err(Error::system("making the gate page"))?;
        let pagemap = Pagemap::open().map_err(Error::system("opening /proc/self/pagemap"))?;
        let mappings_max = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(65_530_u64);
        Ok(Sandbox(Arc::new(Inner {
            config,
            verdicts: Verdicts::default(),
            pagemap,
            watchdog: Watchdog::new(),
            committed_bytes: AtomicU64::new(0),
            mappings: AtomicU64::new(0),
            mappings_max: mappings_max / 2,
            live: AtomicU64::new(0),
            started_ns: linux::clock(Clock::Monotonic),
            poisoned: AtomicU64::new(0),
        })))
    }

    /// Loads an ELF program and proves its machine code confined. A program that was loaded before
    /// is recognised by the hash of its text and not verified again.
    ///
    /// # Errors
    /// [`Error::Refused`] with the rule, the address and the instruction.
    pub fn load(&self, elf: &[u8]) -> Result<Program, Error> {
        Program::load(elf, &self.0.verdicts)
    }

    /// What instances of `program` start from, seeing the trees of `mounts`.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when the limits are too small for the program, [`Error::GuestPath`] when
    /// a tree cannot be mounted where it should.
    pub fn start(
        &self,
        program: &Program,
        limits: &Limits,
        mounts: &Mounts,
    ) -> Result<Snapshot, Error> {
        Snapshot::of_program(self, program, limits, mounts)
    }

    /// How many different texts have been verified.
    #[must_use]
    pub fn verified_programs(&self) -> usize {
        self.0.verdicts.len()
    }

    /// Instances that have been started and not ended.
    #[must_use]
    pub fn live_instances(&self) -> u64 {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Slots that could not be proved clean and were given up.
    #[must_use]
    pub fn poisoned_slots(&self) -> u64 {
        self.0.poisoned.load(Ordering::Relaxed)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn pagemap(&self) -> &Pagemap {
        &self.0.pagemap
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.0.watchdog
    }

    /// When this sandbox was made, on the host's monotonic clock.
    pub(crate) fn started_ns(&self) -> u64 {
        self.0.started_ns
    }

    pub(crate) fn count_poisoned(&self) {
        self.0.poisoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `bytes` of the budget until the share is dropped (review F11).
    pub(crate) fn admit(&self, bytes: u64) -> Result<Admission, Error> {
        let inner = &self.0;
        if !take(
            &inner.committed_bytes,
            bytes,
            inner.config.memory_budget_bytes,
        ) {
            return Err(Error::Busy { what: "memory" });
        }
        inner.live.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            sandbox: self.clone(),
            bytes,
        })
    }

    /// Takes `count` of the process's memory mappings until the share is dropped. Half of what the
    /// kernel allows stays for the host itself (review F9).
    pub(crate) fn take_mappings(&self, count: u64) -> Result<Mappings, Error> {
        if !take(&self.0.mappings, count, self.0.mappings_max) {
            return Err(Error::Busy {
                what: "memory mappings",
            });
        }
        Ok(Mappings {
            sandbox: self.clone(),
            count,
        })
    }
}

fn take(counter: &AtomicU64, amount: u64, max: u64) -> bool {
    let add = |now: u64| now.checked_add(amount).filter(|sum| *sum <= max);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
        .is_ok()
}

/// A live instance's share of the memory budget.
#[derive(Debug)]
pub(crate) struct Admission {
    sandbox: Sandbox,
    bytes: u64,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let inner = &self.sandbox.0;
        inner
            .committed_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
        inner.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A share of the process's memory mappings.
#[derive(Debug)]
pub(crate) struct Mappings {
    sandbox: Sandbox,
    count: u64,
}

impl Drop for Mappings {
    fn drop(&mut self) {
        self.sandbox
            .0
            .mappings
            .fetch_sub(self.count, Ordering::Relaxed);
    }
}
