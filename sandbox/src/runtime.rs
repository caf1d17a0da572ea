//! The runtime object: what programs, snapshots and instances of one embedder share.
//!
//! There is no global state beyond the signal handlers and the gate page, both of which are the same
//! for everybody in the process.

use crate::budget::Budget;
use crate::error::Error;
use crate::limits::Limits;
use crate::outside::World;
use crate::program::{Program, Verdicts};
use crate::snapshot::Snapshot;
use crate::sys::gate::GatePage;
use crate::sys::pagemap::Pagemap;
use crate::sys::signal;
use crate::sys::thread;
use crate::tree::Mounts;
use crate::watchdog::Watchdog;
use std::sync::Arc;

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
    verdicts: Verdicts,
    pagemap: Arc<Pagemap>,
    watchdog: Watchdog,
    budget: Budget,
    world: Arc<World>,
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
        Ok(Sandbox(Arc::new(Inner {
            verdicts: Verdicts::default(),
            pagemap: Arc::new(pagemap),
            watchdog: Watchdog::new(),
            budget: Budget::new(config.memory_budget_bytes),
            world: Arc::new(World::new(config.clock_granularity_ns)),
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
        self.0.budget.live_instances()
    }

    /// Slots that could not be proved clean and were given up.
    #[must_use]
    pub fn poisoned_slots(&self) -> u64 {
        self.0.budget.poisoned_slots()
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub(crate) fn pagemap(&self) -> &Arc<Pagemap> {
        &self.0.pagemap
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.0.watchdog
    }

    /// What its instances have of the world in common.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.0.world
    }
}
