//! Ends instances from outside: wall time, CPU time, and whoever holds a [`Canceller`].
//!
//! The watchdog stores the generation into `cancel`, then kicks the thread, and repeats every 10 ms
//! until the generation has changed. It never touches the instance itself: that ends at the next
//! point of the protocol in `sys::entry`.

use crate::lock::{lock, wait};
use crate::sys::entry::Control;
use crate::sys::linux::{self, Clock};
use crate::sys::signal::KICK;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How often a cancelled instance is kicked again, and how late a new deadline may be noticed.
const TICK_NS: u64 = 10_000_000;

/// Why an instance was cancelled, as stored in `Control::reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Reason {
    Wall = 1,
    Cpu = 2,
    Caller = 3,
    Diverged = 4,
}

impl Reason {
    /// The reason stored in a control block.
    pub(crate) fn of(control: &Control) -> Reason {
        match control.reason.load(Ordering::Acquire) {
            1 => Reason::Wall,
            2 => Reason::Cpu,
            4 => Reason::Diverged,
            _ => Reason::Caller,
        }
    }
}

/// What other threads know about one instance. All times are in nanoseconds; 0 means none.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) control: Control,
    tid: AtomicI32,
    wall_deadline: AtomicU64,
    cpu_deadline: AtomicU64,
}

impl Run {
    /// Cancels generation `generation` and kicks the thread it runs on, if it runs.
    pub(crate) fn cancel(&self, generation: u64, reason: Reason) {
        // The first reason stays: a wall limit noticed again later changes nothing.
        let _ = self.control.reason.compare_exchange(
            0,
            reason as u32,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        self.control.cancel.store(generation, Ordering::Release);
        let tid = self.tid.load(Ordering::Acquire);
        if tid != 0 && self.control.generation.load(Ordering::Acquire) == generation {
            linux::signal_thread(tid, KICK);
        }
    }

    /// Looks at the deadlines; answers when to look again, as monotonic time.
    fn check(&self, now: u64) -> u64 {
        let generation = self.control.generation.load(Ordering::Acquire);
        if generation == 0 {
            return now + TICK_NS;
        }
        if self.control.cancel.load(Ordering::Acquire) == generation {
            self.cancel(generation, Reason::Caller);
            return now + TICK_NS;
        }
        let mut next = u64::MAX;
        let wall = self.wall_deadline.load(Ordering::Acquire);
        if wall != 0 {
            if now >= wall {
                self.cancel(generation, Reason::Wall);
            }
            next = next.min(wall);
        }
        let cpu = self.cpu_deadline.load(Ordering::Acquire);
        if cpu != 0
            && let Some(used) = linux::thread_cpu(self.tid.load(Ordering::Acquire))
        {
            if used >= cpu {
                self.cancel(generation, Reason::Cpu);
            }
            next = next.min(now + cpu.saturating_sub(used));
        }
        next.max(now + TICK_NS / 20)
    }
}

/// The thread that watches the runs of one sandbox.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    runs: Mutex<Runs>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Runs {
    active: Vec<Arc<Run>>,
    /// When the thread will look next, as monotonic time.
    next_look: u64,
    started: bool,
    stopped: bool,
}

impl Watchdog {
    pub(crate) fn new() -> Watchdog {
        Watchdog {
            shared: Arc::default(),
        }
    }

    /// Watches `run` on thread `tid` until the guard is dropped.
    pub(crate) fn watch(
        &self,
        run: &Arc<Run>,
        generation: u64,
        tid: i32,
        wall_deadline: u64,
        cpu_deadline: u64,
    ) -> io::Result<Watched<'_>> {
        run.wall_deadline.store(wall_deadline, Ordering::Release);
        run.cpu_deadline.store(cpu_deadline, Ordering::Release);
        run.tid.store(tid, Ordering::Release);
        run.control.generation.store(generation, Ordering::Release);
        let mut runs = lock(&self.shared.runs);
        runs.active.push(Arc::clone(run));
        let watched = Watched {
            shared: &self.shared,
            run: Arc::clone(run),
        };
        if !runs.started {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new()
                .name("zapp-watchdog".to_owned())
                .spawn(move || watch_loop(&shared));
            runs.started = started.is_ok();
            // Without the lock, which the end of the watch takes.
            drop(runs);
            started?;
        } else {
            // A sleeper looks only when it is woken, or at `next_look`.
            let asleep = runs.next_look == u64::MAX;
            let limited = (wall_deadline | cpu_deadline) != 0;
            let sooner = wall_deadline != 0 && wall_deadline < runs.next_look;
            if (asleep && limited) || sooner {
                self.shared.wake.notify_one();
            }
        }
        Ok(watched)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.shared.runs).stopped = true;
        self.shared.wake.notify_one();
    }
}

/// A run being watched.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    shared: &'a Shared,
    run: Arc<Run>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // First the generation, so that a kick under way finds nobody.
        self.run.control.generation.store(0, Ordering::Release);
        self.run.tid.store(0, Ordering::Release);
        let mut runs = lock(&self.shared.runs);
        let mut active = runs.active.iter();
        if let Some(at) = active.rposition(|run| Arc::ptr_eq(run, &self.run)) {
            runs.active.swap_remove(at);
        }
    }
}

fn watch_loop(shared: &Shared) {
    let mut runs = lock(&shared.runs);
    let mut idle_looks = 0;
    while !runs.stopped {
        let now = linux::clock(Clock::Monotonic);
        let mut next = now + TICK_NS;
        for run in &runs.active {
            next = next.min(run.check(now));
        }
        // After a second without work, sleep until the next run is started: waking a sleeper costs
        // more than a short instance does.
        idle_looks = if runs.active.is_empty() {
            idle_looks + 1
        } else {
            0
        };
        if idle_looks > 100 {
            runs.next_look = u64::MAX;
            runs = wait(&shared.wake, runs, None);
            idle_looks = 0;
        } else {
            runs.next_look = next;
            let pause = Duration::from_nanos(next.saturating_sub(now).max(TICK_NS / 20));
            runs = wait(&shared.wake, runs, Some(pause));
        }
    }
}

/// Ends one instance from another thread.
#[derive(Debug, Clone)]
pub struct Canceller {
    pub(crate) run: Arc<Run>,
    pub(crate) generation: u64,
}

impl Canceller {
    /// Ends the instance at the next possible moment; does nothing when it has ended already.
    pub fn cancel(&self) {
        self.cancel_for(Reason::Caller);
    }

    pub(crate) fn cancel_for(&self, reason: Reason) {
        self.run.cancel(self.generation, reason);
    }
}
