//! Signals at every instruction of the border between guest and host (review F3, §5).
//!
//! A child process runs the guest `steps`; this one steps it through everything between `zapp_enter`
//! and its return, trap handlers excepted, and delivers a signal in front of every instruction:
//!
//! * a kick that concerns nobody, somebody else's signal while it is blocked, and the same while it is
//!   not: afterwards all registers are what they were, and the guest ends as ever;
//! * a kick for this instance: no further instruction of the guest is executed, and the instance
//!   ends as cancelled.

use super::tracee::{Registers, Tracee};
use crate::sys::entry::{self, Control, Tcb};
use crate::sys::gate;
use crate::sys::guest;
use crate::sys::signal::KICK;
use crate::tests::support;
use crate::{Instance, Limits, Mounts};
use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::offset_of;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the file through which the child answers.
const ANSWERS: &str = "ZAPP_STEPPED_CHILD";

/// Steps that one signal handler may take: one that allocated, or asked the dynamic linker for
/// thread-local storage, would take more (review F31).
const HANDLER_STEPS: usize = 400;

static SEEN: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

extern "C" fn count(signal: libc::c_int) {
    SEEN[usize::from(signal == libc::SIGALRM)].fetch_add(1, Ordering::Relaxed);
}

/// The child's part: an endless row of runs, with a stop before each.
#[test]
fn stepped_child() {
    let Some(path) = std::env::var_os(ANSWERS) else {
        return;
    };
    let mut answers = std::fs::File::create(path).expect("the parent made its directory");
    let handler: extern "C" fn(libc::c_int) = count;
    for signal in [libc::SIGUSR1, libc::SIGALRM] {
        // SAFETY: the handler only adds to an atomic; it runs on the alternate stack.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
    let limits = Limits {
        wall: None,
        cpu: None,
        ..Limits::default()
    };
    let snapshot = support::snapshot("steps", &limits, &Mounts::new());
    let border = entry::border();
    let (copy, entries) = guest::copy_code();
    let gate = gate::GatePage::get()
        .expect("made with the sandbox")
        .address();
    // SAFETY: no arguments.
    let tid = unsafe { libc::gettid() };
    let words = [
        usize::try_from(tid).expect("positive"),
        border.start,
        border.end,
        copy.start,
        copy.end,
        gate,
        entry::tcb().addr(),
        entries[0],
        entries[1],
        entries[2],
    ];
    writeln!(answers, "{}", words.map(|word| word.to_string()).join(" ")).expect("a line");
    // SAFETY: makes the parent the tracer of this thread.
    if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0_usize, 0_usize) } != 0 {
        writeln!(answers, "refused").expect("a line");
        return;
    }
    loop {
        let by_fault = std::env::var_os("ZAPP_STEPPED_FAULT").is_some();
        let arguments: &[&str] = if by_fault {
            &["steps", "f"]
        } else {
            &["steps"]
        };
        let instance = Instance::builder(&snapshot)
            .args(arguments.iter().copied())
            .build()
            .expect("room");
        writeln!(answers, "{}", instance.slot().region.base()).expect("a line");
        // SAFETY: stops this thread, as the parent traces it; the signal is not delivered.
        unsafe { libc::raise(libc::SIGUSR2) };
        let finished = instance.run();
        assert!(finished.poisoned.is_none());
        let seen = SEEN.each_ref().map(|seen| seen.load(Ordering::Relaxed));
        writeln!(
            answers,
            "{:?} {} {seen:?}",
            finished.report.outcome,
            String::from_utf8_lossy(&finished.stdout)
        )
        .expect("a line");
    }
}

/// Where an instruction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Border,
    Gate,
    Guest,
    Copy,
    Host,
}

/// The child and what is known about it.
struct Stepper {
    thread: Tracee,
    words: [u64; 10],
    base: u64,
    lines: usize,
    answers: std::path::PathBuf,
    process: std::process::Child,
    /// Where the trap handler returns to.
    back: Option<u64>,
    _directory: tempfile::TempDir,
}

impl Drop for Stepper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        // The process ends only when its tracer has seen the end of the thread.
        while self.thread.tid != 0 && self.thread.wait().is_some() {}
        let _ = self.process.wait();
    }
}

impl Stepper {
    /// Starts the child; nothing if it may not be traced.
    fn start(by_fault: bool) -> Option<Stepper> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let answers = directory.path().join("answers");
        let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
        command
            .args([
                "--exact",
                "sys::tests::steps::stepped_child",
                "--test-threads=1",
            ])
            .env(ANSWERS, &answers)
            .stdout(Stdio::null());
        if by_fault {
            command.env("ZAPP_STEPPED_FAULT", "1");
        }
        let process = command.spawn().expect("the test's own file can be started");
        let mut stepper = Stepper {
            thread: Tracee { tid: 0 },
            words: [0; 10],
            base: 0,
            lines: 0,
            answers,
            process,
            back: None,
            _directory: directory,
        };
        let first = stepper.line();
        let words: Vec<u64> = first
            .split(' ')
            .map(|word| word.parse().expect("a number"))
            .collect();
        stepper.words = words.try_into().expect("ten words");
        let second = stepper.line();
        if second == "refused" {
            return None;
        }
        stepper.base = second.parse().expect("a number");
        stepper.thread.tid = i32::try_from(stepper.words[0]).expect("a thread");
        assert_eq!(stepper.thread.wait(), Some(libc::SIGUSR2));
        Some(stepper)
    }

    /// The child's next line; it may not be written yet.
    fn line(&mut self) -> String {
        let number = self.lines;
        self.lines += 1;
        loop {
            let text = std::fs::read_to_string(&self.answers).unwrap_or_default();
            // Only a whole line counts.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            if let Some(line) = whole
                .split('\n')
                .nth(number)
                .filter(|line| !line.is_empty())
            {
                return line.to_owned();
            }
            let ended = self.process.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the child ended: {ended:?}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn place(&self, rip: u64) -> Place {
        let [_, border, border_end, copy, copy_end, gate, ..] = self.words;
        match rip {
            _ if (border..border_end).contains(&rip) => Place::Border,
            _ if (gate..gate + 4096).contains(&rip) => Place::Gate,
            _ if (self.base..self.base + (1 << 32)).contains(&rip) => Place::Guest,
            _ if (copy..copy_end).contains(&rip) => Place::Copy,
            _ => Place::Host,
        }
    }

    /// Goes to the first instruction of the border in the run that comes.
    fn enter(&mut self) -> Registers {
        assert_eq!(self.thread.run_to(&[self.words[1]], 0), None, "it enters");
        self.back = None;
        self.thread.registers()
    }

    /// Executes the next instruction, or takes `signal` in front of it, and then whatever host code
    /// follows up to the border's or a copy routine's next instruction. Nothing when the border has
    /// returned to Rust.
    fn advance(&mut self, now: &Registers, signal: i32) -> Option<Registers> {
        let mut stopped = self.thread.step(signal);
        let mut kicked = signal == KICK;
        // The watchdog repeats a kick until it has been heard.
        while stopped == KICK {
            kicked = true;
            stopped = self.thread.step(KICK);
        }
        // A fault of the guest's or of a copy routine's is delivered.
        let fault = stopped != libc::SIGTRAP;
        if fault {
            assert_eq!(stopped, libc::SIGSEGV, "at {now:x?}");
            stopped = self.thread.step(libc::SIGSEGV);
        }
        assert_eq!(stopped, libc::SIGTRAP, "at {now:x?}");
        let next = self.thread.registers();
        if self.place(next.rip) != Place::Host {
            return Some(next);
        }
        let called = self.place(now.rip) == Place::Border && !fault && next.rsp != now.rsp;
        let back = self.thread.peek(next.rsp);
        match self.place(now.rip) {
            // A handler of signals, which ends in the border, in a copy routine or in the guest.
            _ if fault || kicked => return Some(self.out_of_host()),
            // The border calls the trap handler, or returns to Rust.
            Place::Border if called && self.place(back) == Place::Border => self.back = Some(back),
            Place::Border => return None,
            // A copy routine returns to the trap handler.
            _ => {}
        }
        let mut stops = self.words[7..].to_vec();
        stops.push(self.back.expect("a trap handler was called"));
        assert_eq!(self.thread.run_to(&stops, 0), None, "from {now:x?}");
        Some(self.thread.registers())
    }

    /// Steps through a signal handler.
    fn out_of_host(&self) -> Registers {
        for _ in 0..HANDLER_STEPS {
            let here = self.thread.registers();
            if self.place(here.rip) != Place::Host {
                return here;
            }
            assert_eq!(
                self.thread.step(0),
                libc::SIGTRAP,
                "a handler is undisturbed"
            );
        }
        panic!("the handler does not end");
    }

    /// Takes a signal whose handler returns to where it came from: nothing has changed then.
    fn disturb(&self, now: &Registers, signal: i32) {
        let vectors = self.thread.vectors();
        let mut stopped = self.thread.step(signal);
        for _ in 0..HANDLER_STEPS {
            assert_eq!(stopped, libc::SIGTRAP, "a handler is undisturbed");
            let here = self.thread.registers();
            if here.rip == now.rip && here.rsp == now.rsp {
                assert_eq!(
                    Registers {
                        orig_rax: 0,
                        ..here
                    },
                    Registers {
                        orig_rax: 0,
                        ..*now
                    },
                    "registers after signal {signal}"
                );
                assert!(vectors == self.thread.vectors(), "vectors at {now:x?}");
                return;
            }
            assert_ne!(self.place(here.rip), Place::Guest, "from {now:x?}");
            stopped = self.thread.step(0);
        }
        panic!("the handler of {signal} does not return to {now:x?}");
    }

    /// Lets the run come to its end and answers what the child says about it.
    fn finish(&mut self) -> String {
        let mut stopped = self.thread.go_on(0);
        while stopped != Some(libc::SIGUSR2) {
            // What was blocked until now.
            stopped = self.thread.go_on(stopped.expect("the child goes on"));
        }
        let answer = self.line();
        self.base = self.line().parse().expect("a number");
        answer
    }

    /// Makes the current run the one to be killed, as another thread would.
    fn cancel(&self) {
        let control = self
            .thread
            .peek(self.words[6] + offset_of!(Tcb, control) as u64);
        let generation = self
            .thread
            .peek(control + offset_of!(Control, generation) as u64);
        assert_ne!(generation, 0);
        let cancel = control + offset_of!(Control, cancel) as u64;
        self.thread.poke(cancel, generation);
    }
}

fn stepper(by_fault: bool) -> Option<Stepper> {
    let stepper = Stepper::start(by_fault);
    if stepper.is_none() {
        println!("skipped: this process may not trace a child");
    }
    stepper
}

/// Walks through a run and delivers `signal` in front of every instruction; answers how often, and
/// what the child said.
fn disturbed_run(child: &mut Stepper, signal: i32, blocked: bool) -> (u64, String) {
    let mut now = child.enter();
    if !blocked {
        child.thread.unblock(signal);
    }
    let mut count = 0;
    let mut places = std::collections::BTreeMap::new();
    loop {
        *places
            .entry(format!("{:?}", child.place(now.rip)))
            .or_insert(0) += 1;
        count += 1;
        // A blocked signal waits until the guest has ended: the step is an ordinary one.
        let next = if blocked {
            child.advance(&now, signal)
        } else {
            child.disturb(&now, signal);
            child.advance(&now, 0)
        };
        match next {
            Some(next) => now = next,
            None => break,
        }
    }
    let mut text = String::new();
    write!(text, "{places:?}").expect("a string");
    println!("signal {signal} in front of {count} instructions: {text}");
    for place in ["Border", "Gate", "Guest", "Copy"] {
        assert!(places.contains_key(place), "{place} was not reached");
    }
    (count, child.finish())
}

#[test]
fn signals_in_front_of_every_instruction_change_nothing() {
    let Some(mut child) = stepper(false) else {
        return;
    };
    let ended = |answer: &str| answer.starts_with("Exited { status: 42 } steps ");
    let (count, answer) = disturbed_run(&mut child, KICK, false);
    assert!(count > 500 && ended(&answer), "{count}: {answer}");
    // Somebody else's handler, on the alternate stack, at every instruction.
    let (count, answer) = disturbed_run(&mut child, libc::SIGUSR1, false);
    assert!(ended(&answer), "{answer}");
    assert!(
        answer.ends_with(&format!("[{count}, 0]")),
        "{count}: {answer}"
    );
    // Blocked: taken once, when the guest has ended.
    let (_, answer) = disturbed_run(&mut child, libc::SIGALRM, true);
    assert!(ended(&answer), "{answer}");
    assert!(answer.ends_with(&format!("[{count}, 1]")), "{answer}");
}

/// Kills a run in front of its instruction number `at`; answers where that was and what the child
/// said, or nothing when the run has fewer instructions.
fn killed_run(child: &mut Stepper, at: usize) -> Option<(Place, String)> {
    let mut now = child.enter();
    for _ in 0..at {
        let Some(next) = child.advance(&now, 0) else {
            child.finish();
            return None;
        };
        now = next;
    }
    let place = child.place(now.rip);
    child.cancel();
    let mut next = child.advance(&now, KICK);
    while let Some(here) = next {
        let guest = child.place(here.rip) == Place::Guest;
        assert!(
            !guest,
            "after a kick at {now:x?} the guest goes on at {here:x?}"
        );
        next = child.advance(&here, 0);
    }
    Some((place, child.finish()))
}

#[test]
fn kick_in_front_of_every_instruction_ends_the_guest_there() {
    for by_fault in [false, true] {
        let Some(mut child) = stepper(by_fault) else {
            return;
        };
        // Only the end of a run with a fault differs from the other run.
        let (mut at, mut cancelled, mut late) = (if by_fault { 500 } else { 0 }, 0, 0);
        while let Some((place, answer)) = killed_run(&mut child, at) {
            if answer.starts_with("Cancelled") {
                assert_eq!(late, 0, "instruction {at} in {place:?} comes after the end");
                cancelled += 1;
            } else {
                // The guest had already ended: the host was on its way out.
                let own = ["Exited { status: 42 }", "Fault"][usize::from(by_fault)];
                assert!(answer.starts_with(own), "{at}: {answer}");
                assert_eq!(place, Place::Border, "instruction {at}");
                late += 1;
            }
            at += 1;
        }
        println!("killed in front of {cancelled} instructions, {late} of the way out came later");
        let enough = cancelled > if by_fault { 50 } else { 500 };
        assert!(enough && (1..100).contains(&late), "{cancelled}, {late}");
    }
}
