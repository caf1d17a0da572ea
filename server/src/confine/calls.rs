//! The system calls of the front, of a worker that has just been started, and of the dynamic loader in between.

use worker::{Argument, Calls};

/// Numbers of x86-64 system calls, from `asm/unistd_64.h`.
const PLAIN: &[i64] = &[
    0,   // read
    1,   // write
    2,   // open, of older loaders
    3,   // close
    4,   // stat
    5,   // fstat
    6,   // lstat
    7,   // poll
    8,   // lseek
    9, // mmap: executable as well, for libraries; PR_SET_MDWE keeps what is writable from becoming so
    10, // mprotect
    11, // munmap
    12, // brk
    13, // rt_sigaction
    14, // rt_sigprocmask
    15, // rt_sigreturn
    16, // ioctl
    17, // pread64
    18, // pwrite64
    19, // readv
    20, // writev
    21, // access
    22, // pipe
    24, // sched_yield
    25, // mremap
    26, // msync
    28, // madvise
    32, // dup
    33, // dup2
    35, // nanosleep
    39, // getpid
    40, // sendfile
    43, // accept
    44, // sendto; a TCP connection that it would open is landlock's
    45, // recvfrom
    46, // sendmsg, with descriptors for a worker
    47, // recvmsg
    48, // shutdown
    50, // listen
    51, // getsockname
    52, // getpeername
    53, // socketpair
    54, // setsockopt
    55, // getsockopt
    56, // clone
    59, // execve: this binary alone, says landlock
    60, // exit
    61, // wait4
    62, // kill: workers alone, says landlock
    63, // uname
    72, // fcntl
    73, // flock
    74, // fsync
    75, // fdatasync
    77, // ftruncate
    79, // getcwd
    80, // chdir
    87, // unlink: the socket files
    89, // readlink
    99, // sysinfo
    102, // getuid
    104, // getgid
    107, // geteuid
    108, // getegid
    109, // setpgid
    110, // getppid
    125, // capget
    126, // capset: workers have none
    131, // sigaltstack
    137, // statfs
    138, // fstatfs
    157, // prctl
    158, // arch_prctl
    160, // setrlimit
    186, // gettid
    202, // futex
    203, // sched_setaffinity
    204, // sched_getaffinity
    217, // getdents64
    218, // set_tid_address
    221, // fadvise64
    228, // clock_gettime
    229, // clock_getres
    230, // clock_nanosleep
    231, // exit_group
    232, // epoll_wait
    233, // epoll_ctl
    234, // tgkill
    247, // waitid
    257, // openat
    262, // newfstatat
    263, // unlinkat
    267, // readlinkat
    269, // faccessat
    271, // ppoll
    273, // set_robust_list
    275, // splice
    281, // epoll_pwait
    285, // fallocate
    288, // accept4
    290, // eventfd2
    291, // epoll_create1
    292, // dup3
    293, // pipe2
    302, // prlimit64
    309, // getcpu
    317, // seccomp
    318, // getrandom
    319, // memfd_create
    324, // membarrier
    326, // copy_file_range
    332, // statx
    334, // rseq
    434, // pidfd_open
    424, // pidfd_send_signal
    435, // clone3
    436, // close_range
    439, // faccessat2
    441, // epoll_pwait2
    444, // landlock_create_ruleset
    445, // landlock_add_rule
    446, // landlock_restrict_self
];

const SOCKET: i64 = 41;
const AF_UNIX: u64 = 1;

/// What the front may call. No `connect` and no socket but for a message to the supervisor, no `ptrace` and its kin, no
/// mounts, namespaces, keys, modules, timers of others, `io_uring` or `bpf`, no change of user, and no files but by `open` and `unlink`,
/// where landlock looks.
pub(crate) fn allowed() -> anyhow::Result<Calls> {
    let calls = Calls::default().allow(PLAIN);
    calls.allow_when(SOCKET, &[Argument::Is(0, AF_UNIX)])
}
