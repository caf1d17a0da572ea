//! The time of a first store tells nothing about the instance before (review F2).
//!
//! One instance writes a random half of 512 pages. The next measures its first store to each page and
//! guesses. That the same guess is nearly always right about the pages it has written itself shows
//! that the clock is good enough.

use crate::support::guest;
use sandbox::{Config, Input, Instance, Limits, Mounts, Outcome, Sandbox, Snapshot};

const PAGES: usize = 512;
const AREA: u32 = 0x31000;
const ROUNDS: usize = 16;

const STORE: u32 = 2;
const TIMED: u32 = 3;

/// Reproducible random numbers: xorshift.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// All pages in random order.
    fn order(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..PAGES).collect();
        for last in (1..PAGES).rev() {
            let other = usize::try_from(self.number() % (last as u64 + 1)).expect("small");
            order.swap(last, other);
        }
        order
    }

    /// A random half of the pages.
    fn half(&mut self) -> Vec<usize> {
        self.order()[..PAGES / 2].to_vec()
    }
}

fn records(operation: u32, pages: &[usize]) -> Vec<u8> {
    pages
        .iter()
        .flat_map(|page| {
            let at = AREA + u32::try_from(page * 4096).expect("small");
            [operation.to_le_bytes(), at.to_le_bytes()].concat()
        })
        .collect()
}

fn instance(snapshot: &Snapshot, records: Vec<u8>) -> Instance {
    Instance::builder(snapshot)
        .stdin(Input::Bytes(records))
        .build()
        .expect("room")
}

/// Runs what is given, and answers the time of each measured store, by page.
fn run(snapshot: &Snapshot, first: &[usize], measured: &[usize]) -> Vec<u64> {
    let records = [records(STORE, first), records(TIMED, measured)].concat();
    let finished = instance(snapshot, records).run();
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut times = vec![0; PAGES];
    for (page, looks) in measured.iter().zip(finished.stdout.chunks_exact(32)) {
        let [seconds, nanos, seconds_after, nanos_after] =
            [0, 8, 16, 24].map(|at| word(&looks[at..at + 8]));
        times[*page] = (seconds_after - seconds) * 1_000_000_000 + nanos_after - nanos;
    }
    times
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How many of the pages are told right: by a limit, and as the faster half.
fn right(times: &[u64], written: &[usize], limit: u64) -> [usize; 2] {
    let mut by_time: Vec<usize> = (0..PAGES).collect();
    by_time.sort_by_key(|page| times[*page]);
    let faster = &by_time[..PAGES / 2];
    let hits = |guess: &dyn Fn(usize) -> bool| {
        (0..PAGES)
            .filter(|page| guess(*page) == written.contains(page))
            .count()
    };
    [
        hits(&|page| times[page] < limit),
        hits(&|page| faster.contains(&page)),
    ]
}

/// Total of right guesses about the instance itself and about the one before it.
fn guesses(snapshot: &Snapshot, random: &mut Random) -> ([usize; 2], [usize; 2]) {
    let (mut own, mut other) = ([0; 2], [0; 2]);
    for _ in 0..ROUNDS {
        let written = random.half();
        let times = run(snapshot, &written, &random.order());
        let of = |is_written: bool| {
            let pages = (0..PAGES).filter(|page| written.contains(page) == is_written);
            median(pages.map(|page| times[page]).collect())
        };
        let limit = u64::midpoint(of(true), of(false));
        let found = right(&times, &written, limit);
        let before = random.half();
        run(snapshot, &before, &[]);
        let times = run(snapshot, &[], &random.order());
        let guessed = right(&times, &before, limit);
        for kind in 0..2 {
            own[kind] += found[kind];
            other[kind] += guessed[kind];
        }
    }
    (own, other)
}

#[test]
fn time_of_first_stores_tells_nothing_about_the_instance_before() {
    let config = Config {
        clock_granularity_ns: 1,
        ..Config::default()
    };
    let sandbox = Sandbox::new(config).expect("this process can host guests");
    let program = sandbox.load(&guest("pages")).expect("verified");
    let mut random = Random(0x2026_1125);
    for warm in [0, PAGES / 4] {
        let limits = Limits::default();
        let snapshot = sandbox
            .start(&program, &limits, &Mounts::new())
            .expect("fits");
        if warm > 0 {
            let hot: Vec<usize> = random.order()[..warm].to_vec();
            let (_, pages) = instance(&snapshot, records(STORE, &hot)).run_warming();
            snapshot.keep_hot(&[pages]);
        }
        let (own, other) = guesses(&snapshot, &mut random);
        let all = ROUNDS * PAGES;
        println!("{warm} hot pages, of {all}: own pages {own:?}, those before {other:?}");
        // Hot pages look written always.
        let told = if warm == 0 {
            all * 9 / 10
        } else {
            all * 7 / 10
        };
        assert!(own[1] > told, "the clock is too bad: {own:?}");
        for hits in other {
            // Four and a half standard deviations of tossing a coin.
            let off = hits.abs_diff(all / 2);
            assert!(
                off < 205,
                "{hits} of {all} guesses about another instance are right"
            );
        }
    }
}
