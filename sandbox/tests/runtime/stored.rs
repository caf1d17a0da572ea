//! Snapshots in files: that they come back whole, and that a file can ask for nothing a guest could not do.

use crate::support::{AREA, Script, sandbox, snapshot};
use sandbox::{
    Error, Finished, Input, Instance, Limits, MemoryTree, Mounts, Outcome, Request, Snapshot,
    Unstorable, Waiting,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const ACCEPT: i64 = 0x7A00;
/// Where `accept` puts the request.
const REQUEST: u64 = AREA + 0x8000;
const PAGE: usize = 4096;

fn mounts() -> Mounts {
    let tree = MemoryTree::new().file("/site/page", b"page".to_vec());
    Mounts::new().mount("/", Arc::new(tree))
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 64 << 20,
        wall: Some(Duration::from_secs(20)),
        cpu: Some(Duration::from_secs(2)),
        ..Limits::default()
    }
}

fn start() -> Snapshot {
    snapshot("calls", &limits(), &mounts())
}

fn waiting(before: Script) -> Waiting {
    before
        .call(ACCEPT, [REQUEST, 4096])
        .instance(&start())
        .run_to_accept()
        .expect("it accepts")
}

/// A guest with something in every place that a file keeps.
fn warmed() -> Snapshot {
    let before = Script::new()
        .poke(AREA, [7; 100])
        .call(libc::SYS_mmap, [0, 3 << 20, 3, 0x22, u64::MAX, 0])
        .call(libc::SYS_getrandom, [AREA + 0x3000, 64])
        .path(AREA + 0x1000, "/site")
        .call(libc::SYS_chdir, [AREA + 0x1000])
        .call(libc::SYS_umask, [0o27]);
    waiting(before).freeze(true).expect("it can be frozen")
}

fn stored(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.store(&mut bytes).expect("it can be stored");
    bytes
}

/// Asks a clone for everything that it can see of its past.
fn ask(snapshot: &Snapshot) -> Finished {
    let script = Script::new()
        .peek(AREA, 0x4000)
        .call(libc::SYS_getcwd, [AREA + 0x2000, 100])
        .peek(AREA + 0x2000, 6)
        .call(libc::SYS_umask, [0])
        .call(libc::SYS_brk, [0])
        .call(libc::SYS_mmap, [0, 4096, 3, 0x22, u64::MAX, 0])
        .call(libc::SYS_openat, [0, AREA + 0x2000, 0]);
    Instance::builder(snapshot)
        .stdin(Input::Bytes(script.input().to_vec()))
        .request(Request::default())
        .build()
        .expect("room")
        .run()
}

#[test]
fn stored_guest_comes_back_as_it_was() {
    let original = warmed();
    let (_, pages) = Instance::builder(&original)
        .request(Request::default())
        .build()
        .expect("room")
        .run_warming();
    original.keep_hot(&[pages]);
    let restored = start().restore(&stored(&original)).expect("it is sound");
    let (want, got) = (ask(&original), ask(&restored));
    assert_eq!(want.report.outcome, Outcome::Exited { status: 0 });
    assert_eq!(got.report.outcome, want.report.outcome);
    assert_eq!(got.stdout, want.stdout);
    assert_eq!(&got.stdout[8..108], [7; 100]);
    assert_eq!(
        got.report.usage.private_bytes,
        want.report.usage.private_bytes
    );
    // And again, from what was restored.
    assert_eq!(stored(&restored), stored(&original));
}

#[test]
fn only_memory_can_be_stored() {
    let reason = |snapshot: &Snapshot| match snapshot.store(&mut Vec::new()) {
        Err(Error::CannotStore { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&start()), Unstorable::Start);
    let open = |path: &str, flags: u64| {
        Script::new()
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, flags, 0o600])
    };
    let frozen = |script| waiting(script).freeze(false).expect("it can be frozen");
    assert_eq!(
        reason(&frozen(open("/site/page", 0))),
        Unstorable::OpenFiles
    );
    let closed = open("/tmp/own", 0o101).call(libc::SYS_close, [3]);
    assert_eq!(reason(&frozen(closed)), Unstorable::Files);
    let read = open("/site/page", 0).call(libc::SYS_close, [3]);
    stored(&frozen(read));
}

#[test]
fn what_was_done_to_files_can_be_taken_back() {
    let write = Script::new()
        .path(AREA, "/tmp/own")
        .call(libc::SYS_open, [AREA, 0o101, 0o600])
        .path(AREA + 100, "/site/page")
        .call(libc::SYS_open, [AREA + 100, 1]);
    let close = |fd: u64| Script::new().call(libc::SYS_close, [fd]);
    let accept = Script::new().call(ACCEPT, [REQUEST, 4096]);
    // Waits, writes and closes, waits again.
    let whole = [&accept, &write, &close(3), &close(4), &accept];
    let input: Vec<u8> = whole
        .iter()
        .flat_map(|script| script.input().to_vec())
        .collect();
    let begin = |input: Vec<u8>| {
        Instance::builder(&start())
            .arg("calls")
            .stdin(Input::Bytes(input))
            .build()
            .expect("room")
            .run_to_accept()
            .expect("it accepts")
    };
    let first = begin(input);
    let before = first.file_changes();
    let mut second = first
        .serve_next(&Request::default())
        .expect("it accepts again");
    second
        .freeze(false)
        .expect("it can be frozen")
        .store(&mut Vec::new())
        .expect_err("it has a file of its own");
    assert!(second.take_back_files(&before));
    stored(&second.freeze(false).expect("it can be frozen"));

    // With its own file still open nothing is taken back; with one of the tree open everything is.
    for (closed, is_taken_back) in [(4, false), (3, true)] {
        let whole = [&accept, &write, &close(closed), &accept];
        let first = begin(
            whole
                .iter()
                .flat_map(|script| script.input().to_vec())
                .collect(),
        );
        let before = first.file_changes();
        let mut second = first
            .serve_next(&Request::default())
            .expect("it accepts again");
        assert_eq!(second.take_back_files(&before), is_taken_back);
        drop(second.finish());
    }
}

/// The head and the pages of a stored snapshot.
fn take_apart(bytes: &[u8]) -> (Value, Vec<u8>) {
    let len = usize::try_from(u32::from_le_bytes(bytes[12..16].try_into().unwrap())).unwrap();
    let head = serde_json::from_slice(&bytes[16..16 + len]).expect("JSON");
    (head, bytes[(16 + len).next_multiple_of(PAGE)..].to_vec())
}

fn put_together(head: &Value, pages: &[u8]) -> Vec<u8> {
    let json = serde_json::to_vec(head).unwrap();
    let mut bytes = b"\x89zwarm\r\n\x02\0\0\0".to_vec();
    bytes.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
    bytes.extend(json);
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    bytes.extend(pages);
    bytes
}

fn refusal(bytes: &[u8]) -> Option<&'static str> {
    match start().restore(bytes) {
        Ok(_) => None,
        Err(Error::Stored { reason }) => Some(reason),
        Err(other) => panic!("{other}"),
    }
}

// case limits-09-stored-runs-503: it was taken up, and then there was no slot for any request.
#[test]
fn snapshot_in_more_pieces_than_there_are_mappings_is_refused() {
    let limits = Limits {
        memory_bytes: 512 << 20,
        ..limits()
    };
    let start = snapshot("calls", &limits, &mounts());
    let waiting = Script::new()
        .call(ACCEPT, [REQUEST, 4096])
        .instance(&start)
        .run_to_accept()
        .expect("it accepts");
    let (mut head, pages) = take_apart(&stored(&waiting.freeze(true).expect("it can be frozen")));
    head["hot"] = json!([]);
    let mut in_pieces = |count: usize| {
        let heap_start = head["layout"]["heap_start"].as_u64().unwrap();
        head["runs"] = (0..count as u64)
            .map(|at| json!([heap_start + at * 8192, 4096]))
            .collect();
        start.restore(&put_together(&head, &pages[..PAGE].repeat(count)))
    };
    // Each piece is a mapping, and so is what lies between two; the kernel's usual limit is 65,530.
    let refused = in_pieces(20_000);
    let reason = "it has more runs than the process may have mappings";
    assert!(
        matches!(refused, Err(Error::Stored { reason: why }) if why == reason),
        "{refused:?}"
    );
    // Fewer can be mapped, but not often: whoever needs more slots is told.
    let few = in_pieces(2_000).unwrap().slots_at_once();
    assert!((1..100).contains(&few), "{few}");
    let many = in_pieces(1).unwrap().slots_at_once();
    assert!(many > 1000, "{many}");
}

#[test]
fn every_rule_refuses_alone() {
    let bytes = stored(&warmed());
    let (head, pages) = take_apart(&bytes);
    assert_eq!(refusal(&put_together(&head, &pages)), None);
    let number = |value: &Value| value.as_u64().expect("a number");
    let first_run = number(&head["runs"][0][0]);
    let first_len = number(&head["runs"][0][1]);
    let back = number(&head["returns"][0]);
    let heap_end = number(&head["layout"]["heap_end"]);
    let depth = 8 * (head["returns"].as_array().unwrap().len() + 1);
    let record =
        |id: u64, depth: usize, target: u64| json!([{"id": id, "depth": depth, "target": target}]);

    let runs = "a run lies outside writable memory";
    let hot = "a hot page lies outside writable memory";
    let heap = "the heap in use lies outside the heap";
    let returns = "a return address follows no call";
    let jumps = "a record of setjmp is none";
    type Case<'a> = (&'a str, Value, Option<&'a str>);
    let cases: Vec<Case<'_>> = vec![
        (
            "/program/0",
            json!(number(&head["program"][0]) ^ 1),
            Some("it is of another program"),
        ),
        (
            "/layout/heap_end",
            json!(heap_end - 4096),
            Some("it was made with other limits of memory"),
        ),
        ("/layout/heap_end", json!(heap_end), None),
        ("/runs/0/0", json!(0x2_0000), Some(runs)),
        ("/runs/0/0", json!(0xF000), Some(runs)),
        ("/runs/0/0", json!(heap_end), Some(runs)),
        ("/runs/0/0", json!(first_run + 1), Some(runs)),
        ("/runs/0/1", json!(0), Some(runs)),
        ("/runs/0/1", json!(first_len + 1), Some(runs)),
        ("/runs/0/1", json!(0xFFFF_F000_u64), Some(runs)),
        ("/runs/1/0", json!(first_run), Some(runs)),
        ("/runs/0", json!([first_run, first_len]), None),
        ("/hot", json!([[0x2_0000, 0x2_1000]]), Some(hot)),
        ("/hot", json!([[first_run, first_run + 1]]), Some(hot)),
        ("/hot", json!([[first_run, first_run]]), Some(hot)),
        (
            "/hot",
            json!([[first_run, first_run + 4096], [first_run, first_run + 4096]]),
            Some(hot),
        ),
        ("/hot", json!([[first_run, first_run + 4096]]), None),
        (
            "/hot",
            json!([[number(&head["layout"]["heap_start"]), heap_end]]),
            Some("it has too many hot pages"),
        ),
        (
            "/brk",
            json!(number(&head["layout"]["heap_start"]) - 1),
            Some(heap),
        ),
        (
            "/brk",
            json!(number(&head["layout"]["break_max"]) + 1),
            Some(heap),
        ),
        ("/brk", json!(number(&head["layout"]["break_max"])), None),
        ("/taken", json!(vec![u64::MAX; 100_000]), Some(heap)),
        ("/taken", json!([u64::MAX]), None),
        ("/returns/0", json!(back + 1), Some(returns)),
        ("/returns/0", json!(back - 1), Some(returns)),
        ("/returns/0", json!(0), Some(returns)),
        ("/returns/0", json!(0xFFFF_FFFF_u64), Some(returns)),
        ("/returns", json!(vec![back; (1 << 20) / 8]), Some(returns)),
        ("/returns", json!(vec![back; (1 << 20) / 8 - 1]), None),
        ("/jumps/records", record(1, depth, back), None),
        ("/jumps/records", record(1, depth, back + 1), Some(jumps)),
        ("/jumps/records", record(0, depth, back), Some(jumps)),
        ("/jumps/records", record(1, depth + 8, back), Some(jumps)),
        ("/jumps/records", record(1, depth - 4, back), Some(jumps)),
        ("/jumps/records", record(1, 0, back), Some(jumps)),
        (
            "/working_directory",
            json!(b"/site/page"),
            Some("its working directory is none"),
        ),
        ("/working_directory", json!(b"/tmp"), None),
        ("/umask", json!(-1), Some("its head is malformed")),
        ("/umask", json!(0o7777), None),
        (
            "/clocks/monotonic_ns",
            json!((1_u64 << 62) + 1),
            Some("its clocks are those of nobody"),
        ),
        ("/clocks/cpu_ns", json!(1_u64 << 62), None),
    ];
    for (place, value, want) in cases {
        let mut changed = head.clone();
        *changed
            .pointer_mut(place)
            .unwrap_or_else(|| panic!("{place}")) = value.clone();
        let shown = value.to_string();
        assert_eq!(
            refusal(&put_together(&changed, &pages)),
            want,
            "{place} {shown:.60}"
        );
    }
    let mut more = head.clone();
    more["mxcsr"] = json!(0);
    assert_eq!(
        refusal(&put_together(&more, &pages)),
        Some("its head is malformed")
    );
    let two =
        json!([{"id": 1, "depth": 16, "target": back}, {"id": 2, "depth": 8, "target": back}]);
    let mut unsorted = head.clone();
    unsorted["jumps"]["records"] = two;
    assert_eq!(refusal(&put_together(&unsorted, &pages)), Some(jumps));

    let cut = "its pages are cut short, or too many";
    assert_eq!(refusal(&bytes[..bytes.len() - PAGE]), Some(cut));
    assert_eq!(refusal(&[&bytes[..], &[0; PAGE]].concat()), Some(cut));
    assert_eq!(refusal(&[]), Some("it is too short"));
    assert_eq!(refusal(&bytes[..2000]), Some("its head is too long"));
    for (at, want) in [
        (0, "it is no snapshot"),
        (8, "it is of another version"),
        (15, "its head is too long"),
    ] {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        assert_eq!(refusal(&changed), Some(want));
    }
}

/// Whatever bytes are taken up, the guest stays confined and its slot comes back clean.
#[test]
fn damaged_snapshots_are_refused_or_run_confined() {
    let bytes = stored(&warmed());
    let head_len = usize::try_from(u32::from_le_bytes(bytes[12..16].try_into().unwrap())).unwrap();
    let mut state = 0x9E37_79B9_u64;
    let mut random = move |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    let rounds = if std::env::var_os("ZAPP_TEST_FULL").is_some() {
        20_000
    } else {
        1_000
    };
    let (mut taken_up, limits) = (
        0,
        Limits {
            cpu: Some(Duration::from_millis(20)),
            ..limits()
        },
    );
    let start = snapshot("calls", &limits, &mounts());
    for _ in 0..rounds {
        let mut changed = bytes.clone();
        for _ in 0..=random(3) {
            // Half of the changes leave the head readable: another digit for a digit.
            let at = if random(4) == 0 {
                random(bytes.len())
            } else {
                16 + random(head_len)
            };
            changed[at] = match changed[at] {
                b'0'..=b'9' if random(8) > 0 => b"0123456789"[random(10)],
                byte => byte ^ 1 << random(8),
            };
        }
        if let Ok(snapshot) = start.restore(&changed) {
            taken_up += 1;
            let finished = ask(&snapshot);
            assert!(!matches!(finished.report.outcome, Outcome::HostBug { .. }));
            assert!(finished.poisoned.is_none());
        }
    }
    assert!(
        taken_up > rounds / 10,
        "{taken_up} of {rounds} were taken up"
    );
    assert_eq!(sandbox().poisoned_slots(), 0);
}
