//! Signal handlers: guest faults become records, kicks stop a guest, everything else is chained.
//!
//! | state | known by | kick | SEGV, BUS, FPE, ILL, TRAP raised by the CPU |
//! |---|---|---|---|
//! | guest code | mode GUEST | leave if `cancel` names this generation | record it, leave |
//! | border code, mode GUEST | `%rip` | the same | host bug: chain |
//! | trap handler | mode HOST | nothing: the exit check sees `cancel` | in a copy routine: fix up; else chain |
//!
//! A handler writes only its thread's control block and the interrupted context: no allocation, no
//! lock, no formatting. All run on the alternate stack.

use super::entry::{self, FaultRecord, MODE_GUEST};
use super::guest;
use crate::address::size;
use std::io;
use std::ptr;
use std::sync::OnceLock;

/// The signal that asks a thread to look at its `cancel` word. Ignored by default, never queued, and
/// used by nothing in libc or the Rust runtime.
pub(crate) const KICK: libc::c_int = libc::SIGURG;

const FAULTS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
];

const HANDLED: usize = FAULTS.len() + 1;

/// What was installed before us, in the order of `FAULTS`, then the kick.
static PREVIOUS: [OnceLock<Previous>; HANDLED] = [const { OnceLock::new() }; HANDLED];

struct Previous(libc::sigaction);

// SAFETY: a plain description of a disposition; the code it may point to is callable anywhere.
unsafe impl Send for Previous {}
// SAFETY: as above; it is never written after it was stored.
unsafe impl Sync for Previous {}

/// Installs the handlers, once for the process.
pub(crate) fn install() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        entry::detect_vectors();
        for (index, signal) in FAULTS.into_iter().chain([KICK]).enumerate() {
            install_one(index, signal).map_err(|error| error.raw_os_error().unwrap_or(0))?;
        }
        Ok(())
    });
    done.map_err(io::Error::from_raw_os_error)
}

fn install_one(index: usize, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: sigaction is plain data for which all zeroes is a valid value.
    let (mut action, mut old) =
        unsafe { (std::mem::zeroed::<libc::sigaction>(), std::mem::zeroed()) };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the mask is a live field of `action`.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // The old action must be known before ours can run.
    // SAFETY: `old` is a live, writable sigaction.
    super::linux::check(unsafe { libc::sigaction(signal, ptr::null(), &raw mut old) })?;
    PREVIOUS[index].get_or_init(|| Previous(old));
    // SAFETY: the handler is async-signal-safe (see the module text) and never unloaded.
    super::linux::check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })
}

/// Signals whose handler would run on the guest's return stack: a process with one cannot host
/// guests (review E5 a).
pub(crate) fn handlers_without_alternate_stack() -> Vec<i32> {
    (1..=64)
        .filter(|signal| {
            // SAFETY: sigaction is plain data for which all zeroes is a valid value.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: `action` is live and writable; no new action is set.
            let known = unsafe { libc::sigaction(*signal, ptr::null(), &raw mut action) } == 0;
            known
                && action.sa_sigaction != libc::SIG_DFL
                && action.sa_sigaction != libc::SIG_IGN
                && action.sa_flags & libc::SA_ONSTACK == 0
        })
        .collect()
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let tcb = entry::tcb();
    // SAFETY: the kernel passes a valid siginfo and ucontext; the control block is this thread's.
    unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        let rip = register(machine, libc::REG_RIP);
        let raised_by_cpu = (*info).si_code > 0;
        if (*tcb).mode == MODE_GUEST {
            if signal == KICK {
                if (*(*tcb).control).is_cancelled() {
                    leave(machine, tcb, false);
                }
                return;
            }
            if raised_by_cpu && !entry::is_border_code(rip) {
                (*tcb).fault = record(signal, info, machine);
                leave(machine, tcb, true);
                return;
            }
        } else if raised_by_cpu && guest::is_copy_routine(rip) {
            set_register(machine, libc::REG_RIP, guest::copy_fixup());
            return;
        }
    }
    chain(signal, info, context);
}

/// Makes the interrupted thread continue at the way out, on the host stack.
///
/// # Safety
/// `tcb` is the current thread's block and a guest is running on it.
unsafe fn leave(machine: &mut libc::mcontext_t, tcb: *mut entry::Tcb, fault: bool) {
    let target = entry::leave_address(tcb, fault);
    // SAFETY: see the contract.
    unsafe {
        (*tcb).mode = 0;
        let stack = size((*tcb).host_rsp);
        set_register(machine, libc::REG_RSP, stack);
    }
    set_register(machine, libc::REG_RIP, target);
}

fn register(machine: &libc::mcontext_t, index: libc::c_int) -> usize {
    size(machine.gregs[index.unsigned_abs() as usize].cast_unsigned())
}

fn set_register(machine: &mut libc::mcontext_t, index: libc::c_int, value: usize) {
    machine.gregs[index.unsigned_abs() as usize] = (value as u64).cast_signed();
}

/// # Safety
/// `info` is the siginfo of a fault.
unsafe fn record(
    signal: libc::c_int,
    info: *const libc::siginfo_t,
    machine: &libc::mcontext_t,
) -> FaultRecord {
    const ORDER: [libc::c_int; 16] = [
        libc::REG_RAX,
        libc::REG_RBX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    FaultRecord {
        signal: u64::from(signal.cast_unsigned()),
        // SAFETY: the signals handled here carry an address.
        address: unsafe { (*info).si_addr() }.addr() as u64,
        rip: register(machine, libc::REG_RIP) as u64,
        registers: ORDER.map(|index| register(machine, index) as u64),
    }
}

/// Hands a signal that is not ours to whoever was there before.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let index = FAULTS
        .iter()
        .position(|known| *known == signal)
        .unwrap_or(FAULTS.len());
    let Some(Previous(action)) = PREVIOUS[index].get() else {
        return;
    };
    match action.sa_sigaction {
        libc::SIG_IGN => {}
        libc::SIG_DFL if signal == KICK => {}
        libc::SIG_DFL => {
            // SAFETY: puts the old disposition back and returns; the fault repeats and the kernel
            // ends the process as it would have without us. A signal that was sent is sent again.
            unsafe {
                libc::sigaction(signal, &raw const *action, ptr::null_mut());
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
        }
        handler if action.sa_flags & libc::SA_SIGINFO != 0 => {
            type Full = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: the flag says that the stored address is a three-argument handler.
            let call: Full = unsafe { std::mem::transmute::<usize, Full>(handler) };
            call(signal, info, context);
        }
        handler => {
            type Short = extern "C" fn(libc::c_int);
            // SAFETY: without the flag the stored address is a one-argument handler.
            let call: Short = unsafe { std::mem::transmute::<usize, Short>(handler) };
            call(signal);
        }
    }
}
