//! When the host itself goes wrong: a trap that panics, memory that is being moved during a reset, a
//! process in which guests must not run.

use crate::support::{AREA, Script, snapshot};
use sandbox::{Entry, Kind, Limits, MemoryTree, Metadata, Mounts, Outcome, Tree};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A tree that panics when the file `bomb` is read.
#[derive(Debug)]
struct Bomb(MemoryTree);

impl Tree for Bomb {
    fn root(&self) -> u32 {
        self.0.root()
    }
    fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        self.0.child(directory, name)
    }
    fn parent(&self, directory: u32) -> u32 {
        self.0.parent(directory)
    }
    fn metadata(&self, node: u32) -> Metadata {
        self.0.metadata(node)
    }
    fn entry(&self, directory: u32, index: u32) -> Option<Entry<'_>> {
        self.0.entry(directory, index)
    }
    fn read_link(&self, node: u32) -> Option<Cow<'_, [u8]>> {
        self.0.read_link(node)
    }
    fn read_at(&self, node: u32, _: u64, _: &mut [u8]) -> Result<usize, i32> {
        assert_ne!(
            self.0.metadata(node).kind,
            Kind::Regular,
            "a bug of the host's"
        );
        Err(libc::EIO)
    }
}

#[test]
fn panic_in_a_trap_ends_only_its_instance() {
    let tree = Bomb(MemoryTree::new().file("bomb", "x"));
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let snapshot = snapshot("calls", &Limits::default(), &mounts);
    let bomb = Script::new()
        .path(AREA, "/bomb")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [3, AREA, 1])
        .call(libc::SYS_getpid, []);
    for _ in 0..3 {
        let played = bomb.try_play(&snapshot);
        let outcome = played.finished.report.outcome.clone();
        assert!(matches!(outcome, Outcome::HostBug { .. }), "{outcome:?}");
        assert_eq!(played.finished.report.exit_code(), 125);
        assert_eq!(played.results.len(), 2, "nothing ran after the panic");
        let next = Script::new().call(libc::SYS_getpid, []).play(&snapshot);
        assert_eq!(next.results, [1]);
    }
}

#[test]
fn reset_is_complete_while_the_kernel_moves_pages() {
    // A page that is being moved is not present for a moment; a reset that looks for present pages
    // only would leave it behind. The check after each reset (debug builds) compares all of them.
    let compact = "/proc/sys/vm/compact_memory";
    if std::fs::write(compact, "1").is_err() {
        println!("skipped: {compact} needs root");
        return;
    }
    let snapshot = snapshot("calls", &Limits::default(), &Mounts::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::write(compact, "1");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let len = 200 * 4096;
        let map = Script::new().call(libc::SYS_mmap, [0, len, 3, 0x22, u64::MAX, 0]);
        let at = map.play(&snapshot).results[0].cast_unsigned();
        let fill = map.clone().call(libc::SYS_getrandom, [at, len, 0]);
        let look = map.peek(at, len);
        for round in 0..40 {
            fill.play(&snapshot);
            let shown = &look.play(&snapshot).shown[1];
            assert!(shown.iter().all(|byte| *byte == 0), "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(crate::support::sandbox().poisoned_slots(), 0);
}
