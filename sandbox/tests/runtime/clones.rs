//! Snapshots: freezing, cloning, and that nothing crosses from one instance to the next.

use crate::support::{sandbox, snapshot};
use sandbox::{Error, Finished, Instance, Limits, Mounts, Outcome, Request, Snapshot};
use std::collections::HashSet;

fn start() -> Snapshot {
    let limits = Limits {
        memory_bytes: 64 << 20,
        ..Limits::default()
    };
    snapshot("server", &limits, &Mounts::new())
}

fn frozen() -> Snapshot {
    let instance = Instance::builder(&start())
        .arg("server")
        .build()
        .expect("room");
    instance
        .run_to_accept()
        .expect("it accepts")
        .freeze(false)
        .expect("it can be frozen")
}

fn request() -> Request {
    Request::default()
        .variable("METHOD", "GET")
        .variable("EMPTY", "")
}

fn serve(snapshot: &Snapshot) -> Finished {
    Instance::builder(snapshot)
        .request(request())
        .build()
        .expect("room")
        .run()
}

/// What the guest showed, taken apart.
struct Shown {
    request: Vec<u8>,
    registers: Vec<u64>,
    marks: Vec<u8>,
    warm: Vec<u8>,
}

impl Shown {
    fn of(finished: &Finished) -> Shown {
        assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
        let all = &finished.stdout;
        let len = u32::from_le_bytes(all[4..8].try_into().unwrap());
        let (request, rest) = all.split_at(usize::try_from(len).unwrap());
        let (registers, rest) = rest.split_at(144);
        let (marks, warm) = rest.split_at(0x10000);
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        Shown {
            request: request.to_vec(),
            registers: registers.chunks_exact(8).map(word).collect(),
            marks: marks.to_vec(),
            warm: warm.to_vec(),
        }
    }
}

#[test]
fn clone_goes_on_where_the_snapshot_waited() {
    let shown = Shown::of(&serve(&frozen()));
    let text = shown.request[92..].to_vec();
    assert_eq!(shown.request[..4], 1_u32.to_le_bytes());
    let want = [
        &6_u32.to_le_bytes()[..],
        &3_u32.to_le_bytes(),
        b"METHOD\0GET\0",
        &5_u32.to_le_bytes(),
        &0_u32.to_le_bytes(),
        b"EMPTY\0\0",
    ];
    assert_eq!(text[4..], want.concat());
    assert_eq!(shown.registers[0], shown.request.len() as u64);
    assert_eq!(shown.registers[1], 0x1234, "a register kept from before");
    assert_eq!(shown.warm, [1; 16]);
}

#[test]
fn response_is_handed_over() {
    let finished = serve(&frozen());
    let response = finished.response.expect("it responded");
    assert_eq!(response.status, 200);
    assert_eq!(response.headers, [("X-A".to_owned(), b"b".to_vec())]);
}

#[test]
fn nothing_crosses_from_one_clone_to_the_next() {
    let snapshot = frozen();
    let first = Shown::of(&serve(&snapshot));
    for round in 0..50 {
        let shown = Shown::of(&serve(&snapshot));
        assert!(
            shown.marks.iter().all(|byte| *byte == 0),
            "marks in round {round}"
        );
        assert_eq!(shown.warm, [1; 16], "round {round}");
        assert_eq!(shown.registers, first.registers, "round {round}");
        let mxcsr = shown.registers[11] & 0xFFFF_FFFF;
        assert_eq!(mxcsr, 0x1F80, "round {round}");
    }
    assert_eq!(sandbox().poisoned_slots(), 0);
}

#[test]
fn nothing_crosses_between_fresh_starts() {
    let snapshot = start();
    for _ in 0..20 {
        let shown = Shown::of(&serve(&snapshot));
        assert!(shown.marks.iter().all(|byte| *byte == 0));
        assert!(
            shown.registers[2..]
                .iter()
                .all(|word| *word != 0xA5A5_A5A5_A5A5_A5A5)
        );
    }
}

#[test]
fn entropy_number_and_time_differ_in_every_clone() {
    let snapshot = frozen();
    let mut seen = HashSet::new();
    let mut last = 0;
    for _ in 0..1_000 {
        let request = Shown::of(&serve(&snapshot)).request;
        let number = u64::from_le_bytes(request[8..16].try_into().unwrap());
        assert!(number > last);
        last = number;
        let fresh = &request[24..88];
        for part in fresh.chunks_exact(8) {
            assert!(seen.insert(part.to_vec()), "eight random bytes twice");
        }
    }
}

#[test]
fn clones_run_in_many_slots_at_once_and_on_many_threads() {
    let snapshot = frozen();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let shown = Shown::of(&serve(&snapshot));
                    assert!(shown.marks.iter().all(|byte| *byte == 0));
                }
            });
        }
    });
}

#[test]
fn clone_of_a_clone_works() {
    // A clone that has its request is no longer waiting; but one without is.
    let snapshot = frozen();
    let waiting = Instance::builder(&snapshot)
        .build()
        .expect("room")
        .run_to_accept();
    let again = waiting
        .expect("it still waits")
        .freeze(false)
        .expect("frozen again");
    let shown = Shown::of(&serve(&again));
    assert_eq!(shown.warm, [1; 16]);
    assert!(shown.marks.iter().all(|byte| *byte == 0));
}

#[test]
fn waiting_instance_is_served_in_place_on_another_thread() {
    let instance = Instance::builder(&start())
        .arg("server")
        .build()
        .expect("room");
    let waiting = instance.run_to_accept().expect("it accepts");
    let finished = std::thread::spawn(move || waiting.serve(&request()))
        .join()
        .expect("no panic");
    assert_eq!(Shown::of(&finished).warm, [1; 16]);
}

#[test]
fn clone_without_a_request_is_idle() {
    let finished = Instance::builder(&frozen()).build().expect("room").run();
    assert_eq!(finished.report.outcome, Outcome::Idle);
    assert_eq!(finished.report.usage.traps, 0);
}

#[test]
fn request_larger_than_the_buffer_is_an_error_of_accept() {
    let request = Request::default().variable("BIG", vec![b'x'; 5000]);
    let finished = Instance::builder(&frozen())
        .request(request)
        .build()
        .expect("room")
        .run();
    // The guest writes from a buffer of negative length: it fails, and nothing else happens.
    assert_ne!(finished.report.outcome, Outcome::Exited { status: 1 });
    assert!(!finished.stdout.windows(4).any(|bytes| bytes == b"xxxx"));
}

#[test]
fn hot_pages_stay_and_everything_else_goes() {
    let snapshot = frozen();
    let (warmed, pages) = Instance::builder(&snapshot)
        .request(request())
        .build()
        .expect("room")
        .run_warming();
    snapshot.keep_hot(&[pages]);
    assert!(warmed.report.usage.private_bytes > 1 << 20);
    for _ in 0..20 {
        let shown = Shown::of(&serve(&snapshot));
        assert!(shown.marks.iter().all(|byte| *byte == 0));
        assert_eq!(shown.warm, [1; 16]);
    }
    assert_eq!(sandbox().poisoned_slots(), 0);
}

#[test]
fn guest_that_has_read_random_bytes_must_declare_that_it_reseeds() {
    let script = crate::support::Script::new()
        .call(libc::SYS_getrandom, [crate::support::AREA, 16, 0])
        .call(0x7A00, [crate::support::AREA, 4096]);
    let snapshot = snapshot("calls", &Limits::default(), &Mounts::new());
    let waiting = || {
        script
            .instance(&snapshot)
            .run_to_accept()
            .expect("it accepts")
    };
    let error = waiting().freeze(false).expect_err("it must declare");
    let reason = sandbox::Unfreezable::RandomBytes;
    assert!(
        matches!(error, Error::CannotFreeze { reason: why } if why == reason),
        "{error}"
    );
    waiting().freeze(true).expect("it declares");
}

#[test]
fn open_files_and_their_offsets_are_cloned() {
    // The guest opened /tmp/warm as 3 before `accept` and writes four more bytes to it after: with the
    // offset of another clone, the file would grow from one to the next.
    let snapshot = frozen();
    let sizes: HashSet<u64> = (0..5)
        .map(|_| serve(&snapshot).report.usage.scratch_bytes)
        .collect();
    assert_eq!(sizes.len(), 1);
}
