//! What a guest could learn about the host from its own memory, and whether looking costs the host
//! anything (review §6 row 11, F6, F19).

use super::support::{AREA, Script, guest, sandbox, snapshot};
use crate::address::Claimed;
use crate::contents::{Backing, Span};
use crate::layout::TABLE;
use crate::slot::Slot;
use crate::sys::gate::GatePage;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use crate::{Input, Instance, Limits, MemoryTree, Mounts, Request, Snapshot};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

fn limits() -> Limits {
    Limits {
        memory_bytes: 16 << 20,
        stack_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// Everything that is mapped or reserved in this process, slots included.
fn mapped() -> Vec<Range<u64>> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let number = |text| u64::from_str_radix(text, 16).expect("an address");
    maps.lines()
        .map(|line| {
            let (start, rest) = line.split_once('-').expect("a range");
            number(start)..number(rest.split(' ').next().expect("a range"))
        })
        .collect()
}

/// Offsets of all eight-byte values in what a guest can read that are addresses of this process,
/// and the values. The call table is left out.
fn addresses_in(slot: &Slot, snapshot: &Snapshot) -> Vec<(u64, u64)> {
    let mut maps = mapped();
    maps.sort_by_key(|range| range.start);
    let is_address = |value: u64| {
        let after = maps.partition_point(|range| range.start <= value);
        after > 0 && maps[after - 1].end > value
    };
    let mut found = Vec::new();
    let mut page = [0; PAGE];
    for span in snapshot.contents().spans() {
        for at in span.range.pages() {
            slot.region
                .copy_in(at.into(), &mut page)
                .expect("a span can be read");
            if page.iter().all(|byte| *byte == 0) {
                continue;
            }
            for (index, bytes) in page.windows(8).enumerate() {
                let value = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                if is_address(value) {
                    found.push((u64::from(at) + index as u64, value));
                }
            }
        }
    }
    found
}

/// All calls that write something to the guest, each to a place of its own.
fn curious() -> Script {
    let mut script = Script::new()
        .path(AREA, "/f")
        .call(libc::SYS_open, [AREA, 0]);
    for number in (0..460).chain(0x7A04..0x7A07) {
        let ends = matches!(
            number,
            libc::SYS_exit
                | libc::SYS_exit_group
                | libc::SYS_kill
                | libc::SYS_tkill
                | libc::SYS_tgkill
                | libc::SYS_nanosleep
                | libc::SYS_clock_nanosleep
                | libc::SYS_poll
                | libc::SYS_futex
                | libc::SYS_close
        );
        if ends {
            continue;
        }
        let at = AREA + 0x200 + (number.cast_unsigned() % 480) * 128;
        script = script
            .call(number, [at, at + 16, 64, at + 32, at + 48, 0])
            .call(number, [3, at, 64, at + 64, 0, 0])
            .call(number, [1, at, 8, at + 8, 8, 0]);
    }
    script
}

#[test]
fn no_address_of_the_host_is_in_sight_of_a_guest() {
    let tree = MemoryTree::new().file("f", "0123456789").directory("d");
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let calls = snapshot("calls", &limits(), &mounts);
    // Several slots, so that the base of another one would be found too.
    let _others: Vec<_> = (0..3).map(|_| curious().instance(&calls)).collect();
    let mut instance = curious().instance(&calls);
    let before = addresses_in(instance.slot(), &calls);
    assert_eq!(before, [], "at the start");
    let _ = instance.run_and_stay();
    assert_eq!(addresses_in(instance.slot(), &calls), [], "after all calls");
    // The search finds what is there.
    let host = (&raw const *instance.slot()).addr() as u64;
    let place = Claimed::in_register(AREA + 3);
    instance
        .slot()
        .region
        .copy_out(place, &host.to_le_bytes())
        .expect("writable");
    assert_eq!(addresses_in(instance.slot(), &calls), [(AREA + 3, host)]);
}

#[test]
fn no_address_of_the_host_survives_a_freeze() {
    let start = snapshot("server", &limits(), &Mounts::new());
    let build = || {
        Instance::builder(&start)
            .arg("server")
            .build()
            .expect("room")
    };
    let _other = build();
    let waiting = build().run_to_accept().expect("it accepts");
    assert_eq!(addresses_in(waiting.slot(), &start), []);
    let frozen = waiting.freeze(false).expect("it can be frozen");
    drop(waiting);
    let mut clone = Instance::builder(&frozen)
        .request(Request::default().variable("A", "b"))
        .build()
        .expect("room");
    assert_eq!(addresses_in(clone.slot(), &frozen), []);
    let _ = clone.run_and_stay();
    assert_eq!(addresses_in(clone.slot(), &frozen), []);
}

#[test]
fn call_table_names_nothing_but_the_gate_page() {
    let calls = snapshot("hello", &limits(), &Mounts::new());
    let instance = Instance::builder(&calls).build().expect("room");
    let mut page = [0; PAGE];
    instance
        .slot()
        .region
        .copy_in(TABLE.address().into(), &mut page)
        .expect("the table");
    let gate = GatePage::get().expect("made").address() as u64;
    for entry in page.chunks_exact(8) {
        let entry = u64::from_le_bytes(entry.try_into().expect("eight bytes"));
        assert!((gate..gate + PAGE as u64).contains(&entry), "{entry:#x}");
    }
    // The gate page itself is not in the slot: a guest cannot read its stubs.
    let base = instance.slot().region.base() as u64;
    assert!(!(base..base + (1 << 32)).contains(&gate));
}

/// Blocks that a sealed file takes.
fn blocks(file: &impl AsFd) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let copy = file.as_fd().try_clone_to_owned().expect("a descriptor");
    std::fs::File::from(copy)
        .metadata()
        .expect("a file")
        .blocks()
}

#[test]
fn reading_everything_makes_no_sealed_file_grow() {
    let start = snapshot("server", &limits(), &Mounts::new());
    let build = Instance::builder(&start).arg("server").build();
    let waiting = build.expect("room").run_to_accept().expect("it accepts");
    let frozen = waiting.freeze(false).expect("it can be frozen");
    drop(waiting);
    let program = sandbox().load(&guest("pages")).expect("verified");
    let pages = sandbox()
        .start(&program, &limits(), &Mounts::new())
        .expect("fits");
    let reads: Vec<u8> = pages
        .contents()
        .spans()
        .iter()
        .flat_map(|span| span.range.pages())
        .flat_map(|at| [1_u32.to_le_bytes(), at.get().to_le_bytes()].concat())
        .collect();
    let files = || -> Vec<u64> {
        let files = [&frozen, &pages].map(|snapshot| snapshot.contents().files().map(blocks));
        files.into_iter().flatten().collect()
    };
    let holds = |span: &Span| matches!(span.backing, Backing::Frozen(_));
    assert!(
        frozen.contents().spans().iter().any(holds),
        "it holds memory"
    );
    let before = files();
    for _ in 0..3 {
        let finished = Instance::builder(&pages)
            .stdin(Input::Bytes(reads.clone()))
            .build()
            .expect("room")
            .run();
        let records = u64::try_from(reads.len() / 8).expect("few");
        assert_eq!(finished.report.usage.traps, records + 2);
        // The host's own way to read every byte of a clone.
        let clone = Instance::builder(&frozen).build().expect("room");
        for span in frozen.contents().spans() {
            let mut bytes = vec![0; span.range.size()];
            clone
                .slot()
                .region
                .copy_in(span.range.address().into(), &mut bytes)
                .expect("readable");
        }
    }
    assert_eq!(files(), before);
    assert!(
        frozen
            .contents()
            .files()
            .all(SealedFile::is_sealed_and_dense)
    );
}
