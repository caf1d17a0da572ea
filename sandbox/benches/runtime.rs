//! Costs of the runtime, each beside what it is compared with, taken alternately in one run.
//!
//! Prints the median of the rounds. CPU time of the calling thread, except where a child process is
//! measured: there it is the CPU time of the child and of the fork that made it.

#![allow(
    unsafe_code,
    reason = "reads clocks and makes the system calls it compares with"
)]

#[path = "../tests/runtime/support.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

use sandbox::{ImageTree, Instance, Limits, MemoryTree, Mounts, Snapshot, Tree};
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

/// CPU nanoseconds of this thread, or of all children that have ended.
fn cpu_ns(who: libc::c_int) -> u64 {
    // SAFETY: rusage is plain data; the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(who, &raw mut usage), 0);
        usage
    };
    let of = |time: libc::timeval| {
        u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).expect("positive") * 1_000
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn thread_ns() -> u64 {
    // SAFETY: timespec is plain data; the call fills it.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        assert_eq!(
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time),
            0
        );
        u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("positive")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A guest's CPU time for one run with the given letter, less its start.
fn guest_ns(snapshot: &Snapshot, kind: &str) -> f64 {
    let instance = Instance::builder(snapshot)
        .args(["faults", kind])
        .build()
        .expect("room");
    as_f64(instance.run().report.usage.cpu_ns)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

fn null_trap() {
    const CALLS: u64 = 1_000_000;
    let snapshot = support::snapshot("faults", &Limits::default(), &Mounts::new());
    let (mut traps, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        traps.push(guest_ns(&snapshot, "g") / as_f64(CALLS));
        let start = thread_ns();
        for _ in 0..CALLS / 10 {
            // SAFETY: no arguments.
            black_box(unsafe { libc::syscall(libc::SYS_getppid) });
        }
        calls.push(as_f64(thread_ns() - start) / as_f64(CALLS / 10));
    }
    let (trap, call) = (median(traps), median(calls));
    println!(
        "null trap            {trap:8.1} ns   getppid {call:8.1} ns   ratio {:.3}",
        trap / call
    );
}

fn clock() {
    const CALLS: u64 = 1_000_000;
    let snapshot = support::snapshot("faults", &Limits::default(), &Mounts::new());
    let (mut guests, mut natives) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        guests.push(guest_ns(&snapshot, "w") / as_f64(CALLS));
        let start = thread_ns();
        for _ in 0..CALLS / 10 {
            // SAFETY: timespec is plain data; the call fills it.
            unsafe {
                let mut time: libc::timespec = std::mem::zeroed();
                libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
                black_box(time);
            }
        }
        natives.push(as_f64(thread_ns() - start) / as_f64(CALLS / 10));
    }
    let (guest, native) = (median(guests), median(natives));
    println!(
        "clock_gettime        {guest:8.1} ns   native  {native:8.1} ns   ratio {:.3}",
        guest / native
    );
}

fn instance_life() {
    const ROUNDS: usize = 5_000;
    let snapshot = support::snapshot("hello", &Limits::default(), &Mounts::new());
    let build = || {
        Instance::builder(&snapshot)
            .arg("hello")
            .build()
            .expect("room")
    };
    let (_, pages) = build().run_warming();
    snapshot.keep_hot(&[pages]);
    let directory = tempfile::tempdir().expect("temporary directory");
    let native = directory.path().join("hello");
    build_native(&native);
    let mut lives = Vec::new();
    for _ in 0..ROUNDS {
        let start = thread_ns();
        let finished = black_box(build().run());
        lives.push(as_f64(thread_ns() - start) / 1_000.0);
        assert_eq!(finished.stdout, b"hello\n");
    }
    let mut processes = Vec::new();
    for _ in 0..20 {
        let runs = 20;
        let before = cpu_ns(libc::RUSAGE_SELF) + cpu_ns(libc::RUSAGE_CHILDREN);
        for _ in 0..runs {
            assert_eq!(fork_exec_wait(&native), 7);
        }
        let after = cpu_ns(libc::RUSAGE_SELF) + cpu_ns(libc::RUSAGE_CHILDREN);
        processes.push(as_f64(after - before) / f64::from(runs) / 1_000.0);
    }
    let (life, process) = (median(lives), median(processes));
    println!(
        "clone + run + reset  {life:8.1} us   fork+exec {process:6.1} us   factor {:.1}",
        process / life
    );
}

/// Starts a process by fork and exec, output to nowhere, and waits for its status.
fn fork_exec_wait(program: &std::path::Path) -> i32 {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.stdout(std::process::Stdio::null());
    // SAFETY: the closure does nothing; its presence makes the library fork rather than spawn.
    unsafe { command.pre_exec(|| Ok(())) };
    command.status().expect("starts").code().expect("exits")
}

/// The same program as a native one: no libc, two system calls.
fn build_native(target: &std::path::Path) {
    let source = target.with_extension("s");
    let text = "
        .globl _start
_start: movl $1, %eax
        movl $1, %edi
        leaq message(%rip), %rsi
        movl $6, %edx
        syscall
        movl $231, %eax
        movl $7, %edi
        syscall
message: .ascii \"hello\\n\"
";
    std::fs::write(&source, text).expect("write");
    let object = target.with_extension("o");
    let ok = |command: &mut Command| assert!(command.status().expect("binutils").success());
    ok(Command::new("as").arg("-o").arg(&object).arg(&source));
    ok(Command::new("ld").arg("-o").arg(target).arg(&object));
}

/// A thousand bytes like those of a page.
fn page() -> Vec<u8> {
    let line = |n: u32| {
        format!(
            "<li class=\"item-{n}\"><?= esc($row[{}]) ?></li>\n",
            n * 7 % 23
        )
    };
    let text: String = (0..).map(line).take(40).collect();
    text.as_bytes()[..1_000].to_vec()
}

/// An image with the page stored as `class`, among others.
fn image(class: imagefs::Class) -> ImageTree {
    let directory = tempfile::tempdir().expect("temporary directory");
    let site = directory.path().join("site");
    std::fs::create_dir_all(site.join("srv/www")).expect("directories");
    std::fs::write(site.join("srv/www/page"), page()).expect("write");
    for n in 0..100 {
        let other = [page(), vec![n; 500]].concat();
        std::fs::write(site.join(format!("srv/www/other-{n}.php")), other).expect("write");
    }
    let scanned = imagefs::scan::scan(&site, &imagefs::scan::ScanOptions::default());
    let options = imagefs::writer::PackOptions {
        classes: vec![("srv/www/page".to_owned(), class)],
        ..imagefs::writer::PackOptions::default()
    };
    let target = directory.path().join("site.zapp");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let tree = scanned.expect("a tree").tree;
    imagefs::writer::pack(tree, &options, &target, &|_| {}, &stop).expect("an image");
    let image = imagefs::Image::ingest(&target).expect("an image");
    ImageTree::new(image).expect("a descriptor")
}

fn open_read_close() {
    let tree = MemoryTree::new().file("srv/www/page", page());
    open_read_close_in("memory", Arc::new(tree));
    for (name, class) in [
        ("image, raw", imagefs::Class::Raw),
        ("image, frame", imagefs::Class::Frame),
        ("image, packed", imagefs::Class::Packed),
    ] {
        open_read_close_in(name, Arc::new(image(class)));
    }
}

fn open_read_close_in(name: &str, tree: Arc<dyn Tree>) {
    const CALLS: u64 = 100_000;
    let content = page();
    let mounts = Mounts::new().mount("/", tree);
    let snapshot = support::snapshot("faults", &Limits::default(), &mounts);
    let shm = tempfile::tempdir_in("/dev/shm").expect("tmpfs");
    std::fs::create_dir_all(shm.path().join("www")).expect("directory");
    let path = shm.path().join("www/page");
    std::fs::write(&path, &content).expect("write");
    let path = std::ffi::CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let mut buffer = [0_u8; 4096];
    let (mut guests, mut natives) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        guests.push(guest_ns(&snapshot, "f") / as_f64(CALLS));
        let start = thread_ns();
        for _ in 0..CALLS / 10 {
            // SAFETY: the path is NUL-terminated, the buffer is live.
            unsafe {
                let fd = libc::open(path.as_ptr(), libc::O_RDONLY);
                let got = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
                assert_eq!(got, 1_000);
                libc::close(fd);
            }
        }
        natives.push(as_f64(thread_ns() - start) / as_f64(CALLS / 10));
    }
    let (guest, native) = (median(guests), median(natives));
    println!(
        "open + read + close  {guest:8.1} ns   tmpfs   {native:8.1} ns   ratio {:.3}   ({name})",
        guest / native
    );
}

fn main() {
    // `cargo test --benches` asks every target for its list of tests.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let all: [(&str, fn()); 4] = [
        ("trap", null_trap),
        ("clock", clock),
        ("life", instance_life),
        ("open", open_read_close),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}
