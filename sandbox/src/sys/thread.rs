//! What a thread needs before a guest may run on it: an alternate signal stack, blocked signals,
//! and room on its own stack.

use super::linux::{Mapping, PAGE, Protection, check};
use super::signal::{self, KICK};
use crate::address::size;
use std::cell::OnceCell;
use std::io;

/// Stack the trap handlers may use (review F30).
const HEADROOM: usize = 256 << 10;

thread_local! {
    static THREAD: OnceCell<GuestThread> = const { OnceCell::new() };
}

/// A thread that may run guests; kept until the thread ends.
#[derive(Debug)]
struct GuestThread {
    tid: i32,
    stack_low: usize,
    #[expect(
        dead_code,
        reason = "owned so that it is unmapped after the thread has let go of it"
    )]
    alternate: Mapping,
}

impl Drop for GuestThread {
    fn drop(&mut self) {
        // The stack there was before may be gone already: this runs at the end of the thread, after
        // the standard library has unmapped its own. So the thread ends without one.
        let none = libc::stack_t {
            ss_sp: std::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: only takes the alternate stack away, before it is unmapped.
        unsafe { libc::sigaltstack(&raw const none, std::ptr::null_mut()) };
    }
}

impl GuestThread {
    fn new() -> io::Result<GuestThread> {
        // Somebody may have installed a handler since the sandbox was made (review E5 a).
        let bad = signal::handlers_without_alternate_stack();
        if !bad.is_empty() {
            let what = format!("handlers without SA_ONSTACK for signals {bad:?}");
            return Err(io::Error::other(what));
        }
        // SAFETY: getauxval has no memory arguments.
        let minimum = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
        let size = size(minimum).next_multiple_of(PAGE) + (64 << 10);
        let alternate = Mapping::reserve(size + PAGE)?;
        alternate.protect(PAGE, size, Protection::ReadWrite)?;
        assert!(
            alternate.address() >= 1 << 32,
            "signal stacks lie above the first 4 GiB"
        );
        let new = libc::stack_t {
            ss_sp: alternate.pointer(PAGE),
            ss_flags: 0,
            ss_size: size,
        };
        let stack_low = stack_low()?;
        // SAFETY: the structure is live; the new stack stays mapped until `drop` takes it away.
        check(unsafe { libc::sigaltstack(&raw const new, std::ptr::null_mut()) })?;
        // SAFETY: no arguments.
        let tid = unsafe { libc::gettid() };
        Ok(GuestThread {
            tid,
            stack_low,
            alternate,
        })
    }
}

fn stack_low() -> io::Result<usize> {
    // SAFETY: the attribute object is initialised by the first call and destroyed by the last.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        let error = libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes);
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        let (mut low, mut size) = (std::ptr::null_mut(), 0);
        libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        Ok(low.addr())
    }
}

/// Makes the calling thread fit to run a guest until the guard is dropped.
pub(crate) fn prepare() -> io::Result<Prepared> {
    let tid = THREAD.with(|cell| {
        let thread = match cell.get() {
            Some(thread) => thread,
            None => {
                let made = GuestThread::new()?;
                cell.get_or_init(|| made)
            }
        };
        let here = (&raw const *thread).addr();
        let marker = 0_u8;
        let depth = (&raw const marker).addr().saturating_sub(thread.stack_low);
        assert!(
            depth >= HEADROOM,
            "a guest needs {HEADROOM} bytes of host stack ({here:#x})"
        );
        Ok::<i32, io::Error>(thread.tid)
    })?;
    // SAFETY: sigset_t is plain data for which all zeroes is valid; the calls fill it.
    let mut previous: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: both sets are live; blocking signals touches no memory of ours.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut blocked);
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
        ] {
            libc::sigdelset(&raw mut blocked, signal);
        }
        libc::sigdelset(&raw mut blocked, libc::SIGSYS);
        libc::sigdelset(&raw mut blocked, KICK);
        let error = libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, &raw mut previous);
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    Ok(Prepared { tid, previous })
}

/// Signals stay blocked on this thread while this lives.
pub(crate) struct Prepared {
    tid: i32,
    previous: libc::sigset_t,
}

impl Prepared {
    /// The kernel's number of this thread.
    pub(crate) fn tid(&self) -> i32 {
        self.tid
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: restores the mask this thread had; the set is live.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.previous,
                std::ptr::null_mut(),
            )
        };
    }
}

/// True when the processor keeps a shadow stack for this thread, which would forbid the jumps from one
/// return stack to another (review F27).
pub(crate) fn has_shadow_stack() -> bool {
    const ARCH_SHSTK_STATUS: libc::c_int = 0x5005;
    let mut features = 0_u64;
    // SAFETY: the call writes one word to the live variable, or fails where it is not known.
    let result =
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SHSTK_STATUS, &raw mut features) };
    is_shadow_stack(result, features)
}

/// What the kernel's answer means: bit 0 of the features is the shadow stack.
fn is_shadow_stack(result: libc::c_long, features: u64) -> bool {
    result == 0 && features & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::is_shadow_stack;

    #[test]
    fn shadow_stack_is_told_from_its_status() {
        assert!(is_shadow_stack(0, 1) && is_shadow_stack(0, 3));
        assert!(!is_shadow_stack(0, 0) && !is_shadow_stack(0, 2));
        // A kernel that does not know the question.
        assert!(!is_shadow_stack(-1, 1));
    }
}
