//! The worker's second line of defence: what the process may ask of the kernel when the first line, the verifier, has
//! failed.
//!
//! Two steps, both irrevocable. [`before_threads`] runs while there is one thread and no byte of the image has been
//! looked at: no new privileges, no capabilities, no core dumps, no memory that becomes executable, no files but the
//! process's own `/proc` entries, no network, and an allow-list of system calls. [`before_guests`] runs when the runtime
//! has opened what it needs and takes away, on all threads, what only the start needed: no more filters, no facts about
//! files by their names, and no `open` but reading the process's own `/proc` entries, with which the runtime proves that
//! a slot is clean. Where there is no landlock to hold `open` to that, there is no
//! `open`. A call that is not allowed fails with `EPERM`; `execve` and `ptrace` end the process.

use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction};

use crate::calls::Argument::{Bits, Is};
use crate::calls::{Calls, exception};

/// Numbers of x86-64 system calls, from `asm/unistd_64.h`.
mod number {
    /// Memory, threads, time, and the descriptors there already are.
    pub(crate) const PLAIN: &[i64] = &[
        0,   // read
        1,   // write
        3,   // close
        5,   // fstat
        7,   // poll
        8,   // lseek
        11,  // munmap
        12,  // brk
        13,  // rt_sigaction
        14,  // rt_sigprocmask
        15,  // rt_sigreturn
        16,  // ioctl: PAGEMAP_SCAN; there is no terminal or device to misuse
        17,  // pread64
        18,  // pwrite64
        19,  // readv
        20,  // writev
        24,  // sched_yield
        25,  // mremap
        28,  // madvise
        35,  // nanosleep
        39,  // getpid
        44,  // sendto, on the socket to the front
        45,  // recvfrom
        60,  // exit
        72,  // fcntl
        77,  // ftruncate
        131, // sigaltstack
        158, // arch_prctl: the base of %gs
        186, // gettid
        202, // futex
        204, // sched_getaffinity
        218, // set_tid_address
        228, // clock_gettime
        229, // clock_getres
        230, // clock_nanosleep
        231, // exit_group
        271, // ppoll
        273, // set_robust_list
        318, // getrandom
        319, // memfd_create: snapshots are sealed memory files
        324, // membarrier
        334, // rseq
        435, // clone3, which another filter answers with ENOSYS
    ];
    /// What tells of files by their names, about which landlock has no say. Only the start needs it.
    pub(crate) const NAMES: &[i64] = &[
        89,  // readlink
        262, // newfstatat
        267, // readlinkat
        332, // statx
    ];
    pub(crate) const MMAP: i64 = 9;
    pub(crate) const MPROTECT: i64 = 10;
    pub(crate) const CLONE: i64 = 56;
    pub(crate) const EXECVE: i64 = 59;
    pub(crate) const PTRACE: i64 = 101;
    pub(crate) const PRCTL: i64 = 157;
    pub(crate) const TGKILL: i64 = 234;
    pub(crate) const OPENAT: i64 = 257;
    pub(crate) const PRLIMIT64: i64 = 302;
    pub(crate) const SECCOMP: i64 = 317;
    pub(crate) const EXECVEAT: i64 = 322;
    pub(crate) const CLONE3: i64 = 435;
}

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const CLONE_THREAD: u64 = 0x0001_0000;
const PR_SET_NAME: u64 = 15;
/// `PR_SET_VMA`, with which glibc and the runtime name their mappings.
const PR_SET_VMA: u64 = 0x5356_4d41;
/// Flags of `open` that write, create or truncate: `O_WRONLY`, `O_RDWR`, `O_CREAT`, `O_TRUNC`, `O_TMPFILE`.
const OPEN_CHANGES: u64 = 0o3 | 0o100 | 0o1000 | 0o20_000_000;
const PR_SET_NO_NEW_PRIVS: u64 = 38;
const ENOSYS: u32 = 38;

/// What stands between the worker and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileGuard {
    /// Landlock lets it read its own entries in `/proc`.
    Landlocked,
    /// There is no landlock here.
    Unguarded,
}

/// The first step; call it while the process has one thread.
pub(crate) fn before_threads() -> anyhow::Result<FileGuard> {
    // A core dump of a worker would hold every visitor's requests.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).context("setrlimit(RLIMIT_CORE)")?;
    std::env::set_current_dir("/").context("chdir")?;
    drop_capabilities()?;
    if let Err(error) = sandbox::refuse_new_code() {
        eprintln!(
            "worker: this kernel has no PR_SET_MDWE ({error}); only seccomp refuses new code"
        );
    }
    let files = confine_files()?;
    let fatal = [number::EXECVE, number::EXECVEAT, number::PTRACE];
    let absent = [number::CLONE3];
    for program in [
        exception(&fatal, SeccompAction::KillProcess)?,
        // Its flags lie in memory, where no filter sees them; glibc then uses clone, whose flags are looked at.
        exception(&absent, SeccompAction::Errno(ENOSYS))?,
        filter(Step::Start)?,
    ] {
        seccompiler::apply_filter(&program).context("seccomp")?;
    }
    Ok(files)
}

/// The second step: no guest has run yet, and from here on nothing can be opened.
pub(crate) fn before_guests(files: FileGuard) -> anyhow::Result<()> {
    let program = filter(Step::Guests(files))?;
    seccompiler::apply_filter_all_threads(&program).context("seccomp on all threads")
}

/// Whoever started the server as root has given the worker all there are.
fn drop_capabilities() -> anyhow::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).context("capset")
}

/// Files: only this process's own entries in `/proc`, and the limit on mappings. Network: none.
fn confine_files() -> anyhow::Result<FileGuard> {
    let abi = ABI::V5;
    let own = PathBeneath::new(PathFd::new("/proc/self")?, AccessFs::ReadFile);
    let mappings = PathBeneath::new(
        PathFd::new("/proc/sys/vm/max_map_count")?,
        AccessFs::ReadFile,
    );
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .add_rule(own)?
        .add_rule(mappings)?
        .restrict_self()
        .context("landlock")?;
    if status.ruleset == RulesetStatus::NotEnforced {
        eprintln!("worker: this kernel has no landlock; only seccomp keeps files out of reach");
        return Ok(FileGuard::Unguarded);
    }
    Ok(FileGuard::Landlocked)
}

/// Which step a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Start,
    Guests(FileGuard),
}

/// The allow-list of a step.
fn filter(step: Step) -> anyhow::Result<BpfProgram> {
    // Memory is writable or executable, never both, and no mapping becomes executable later. Threads, not processes.
    // Only signals to threads of this process. Limits may be read, not set.
    let own = u64::try_from(rustix::process::getpid().as_raw_nonzero().get())?;
    let plain = Bits(2, PROT_EXEC, 0);
    let both = Bits(2, PROT_EXEC | PROT_WRITE, PROT_EXEC);
    let calls = Calls::default()
        .allow(number::PLAIN)
        .allow_when(number::MMAP, &[plain, both])?
        .allow_when(number::MPROTECT, &[plain])?
        .allow_when(number::CLONE, &[Bits(0, CLONE_THREAD, CLONE_THREAD)])?
        .allow_when(number::PRCTL, &[Is(0, PR_SET_NAME), Is(0, PR_SET_VMA)])?
        .allow_when(number::TGKILL, &[Is(0, own)])?
        .allow_when(number::PRLIMIT64, &[Is(2, 0)])?;
    let calls = match step {
        // The second step installs one more filter.
        Step::Start => calls
            .allow(number::NAMES)
            .allow(&[number::OPENAT, number::SECCOMP])
            .allow_when(number::PRCTL, &[Is(0, PR_SET_NO_NEW_PRIVS)])?,
        Step::Guests(FileGuard::Landlocked) => {
            calls.allow_when(number::OPENAT, &[Bits(2, OPEN_CHANGES, 0)])?
        }
        Step::Guests(FileGuard::Unguarded) => calls,
    };
    calls.filter()
}

/// Confines this process as a worker is, without one: for the test that tries every call.
#[doc(hidden)]
pub fn confine_for_a_test() -> anyhow::Result<()> {
    let files = before_threads()?;
    before_guests(files)
}
