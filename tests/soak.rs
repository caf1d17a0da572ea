//! A server at saturation for a long time, with hostile requests among the others: it answers every one as it should, page
//! after page with the same bytes, and its memory, descriptors and mappings do not grow.
//!
//! `ZAPP_SOAK_MINUTES=30` runs it that long and compares the last quarter with the first one after warming up; without it
//! there are some seconds, in which only the answers are looked at.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::php;
use crate::serve::{Reply, Server, exchange};
use crate::serve_http2::burst_of_resets;
use crate::serve_php;

const CLIENTS: u64 = 16;

/// Pages of the blog, always the same bytes.
const BLOG: [&str; 8] = [
    "/",
    "/post/a-small-web-site",
    "/search?q=rope",
    "/archive",
    "/tags",
    "/feed.xml",
    "/nowhere",
    "/assets/style.css",
];

/// What nobody should ask for, and its status. Where an instance is needed the machine may be too busy as well.
const HOSTILE: [(&str, u16); 15] = [
    ("/loop", 504),
    ("/sleep", 504),
    ("/regex", 504),
    ("/bomb", 500),
    ("/limited", 500),
    ("/deep", 500),
    ("/compare", 500),
    ("/flood", 500),
    ("/headers", 502),
    ("/status", 502),
    ("/fatal", 500),
    ("/spill", 507),
    ("/secret.php/x.css", 403),
    ("/..%2fsecret.php", 400),
    ("/data/notes.db", 403),
];

/// Requests that are not HTTP, or end nowhere.
const MALFORMED: [&str; 6] = [
    "GET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: requests\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: requests\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "GET /large HTTP/1.1\r\nHost: requests\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: requests\r\nContent-Length: 100\r\n\r\nhalf",
    "\u{16}\u{3}\u{1}",
];

/// Numbers that repeat themselves only after very long.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A client of one virtual host that connects again when its connection has rested too long.
struct Visitor {
    address: SocketAddr,
    host: &'static str,
    client: Client,
}

impl Visitor {
    fn new(address: SocketAddr, host: &'static str) -> Visitor {
        Visitor {
            address,
            host,
            client: Client::for_host(address, host).unwrap(),
        }
    }

    fn get(&mut self, target: &str) -> Answer {
        if let Ok(answer) = self.client.get(target) {
            return answer;
        }
        self.client = Client::for_host(self.address, self.host).unwrap();
        self.client.get(target).unwrap()
    }
}

struct Soak<'a> {
    server: &'a Server,
    stop: AtomicBool,
    pages: Mutex<HashMap<&'static str, Vec<u8>>>,
    good: AtomicU64,
    busy: AtomicU64,
    hostile: AtomicU64,
}

impl Soak<'_> {
    /// One client, until it is told to stop.
    fn run(&self, seed: u64) {
        let mut dice = Dice(seed * 0x9E37_79B9 + 1);
        let address = self.server.address;
        let mut blog = Visitor::new(address, "blog");
        let mut requests = Visitor::new(address, "requests");
        let mut abandoned = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            match dice.roll(100) {
                0..60 => self.page(&mut blog, BLOG[dice.roll(BLOG.len())]),
                60..95 => {
                    let number = dice.roll(usize::MAX);
                    self.isolated(&mut requests, number);
                }
                _ => self.disturb(&mut dice, &mut abandoned),
            }
        }
    }

    fn page(&self, client: &mut Visitor, path: &'static str) {
        let answer = client.get(path);
        if matches!(answer.status, 503 | 504) {
            self.busy.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let expected = if path == "/nowhere" { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}");
        let mut pages = self.pages.lock().unwrap();
        let first = pages.entry(path).or_insert_with(|| answer.body.clone());
        assert_eq!(*first, answer.body, "{path} has changed");
        self.good.fetch_add(1, Ordering::Relaxed);
    }

    fn isolated(&self, client: &mut Visitor, number: usize) {
        let answer = client.get(&format!("/isolation?token=t{number}"));
        if matches!(answer.status, 503 | 504) {
            self.busy.fetch_add(1, Ordering::Relaxed);
            return;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["traces"], serde_json::json!([]));
        self.good.fetch_add(1, Ordering::Relaxed);
    }

    fn disturb(&self, dice: &mut Dice, abandoned: &mut Vec<TcpStream>) {
        self.hostile.fetch_add(1, Ordering::Relaxed);
        match dice.roll(10) {
            0 => burst_of_resets(self.server, 300),
            1..4 => {
                // Left half open; the server has to end it.
                let mut stream = TcpStream::connect(self.server.address).unwrap();
                let request = MALFORMED[dice.roll(MALFORMED.len())];
                stream.write_all(request.as_bytes()).unwrap();
                abandoned.push(stream);
                if abandoned.len() > 4 {
                    abandoned.remove(0);
                }
            }
            _ => {
                let (path, status) = HOSTILE[dice.roll(HOSTILE.len())];
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: requests\r\nConnection: close\r\n\r\n");
                let reply = Reply::parse(&exchange(self.server.address, request.as_bytes()));
                let is_busy = status >= 500 && matches!(reply.status, 503 | 504);
                assert!(reply.status == status || is_busy, "{path}: {reply:?}");
                assert!(!reply.body.contains("open sesame"), "{path}");
            }
        }
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    rss_kib: u64,
    descriptors: u64,
    mappings: u64,
    threads: u64,
}

impl Held {
    fn of(pid: i32) -> Held {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        let count = |path: &str| {
            fs::read_dir(format!("/proc/{pid}/{path}")).map_or(0, |entries| entries.count() as u64)
        };
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        Held {
            rss_kib: number("VmRSS:"),
            descriptors: count("fd"),
            mappings: maps.lines().count() as u64,
            threads: number("Threads:"),
        }
    }
}

/// The children of a process, with whether each is a zombie.
pub(crate) fn children(of: i32) -> Vec<(i32, bool)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: state, parent.
        let mut words = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, parent) = (words.next(), words.next());
        if parent.and_then(|p| p.parse().ok()) == Some(of) {
            found.push((pid, state == Some("Z")));
        }
    }
    found.sort_unstable();
    found
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// What one process held over time, judged by quarters after the first tenth.
fn judge(name: &str, samples: &[Held]) {
    let warm = &samples[samples.len() / 10..];
    let quarter = warm.len() / 4;
    let (first, last) = (&warm[..quarter], &warm[warm.len() - quarter..]);
    type Take = fn(&Held) -> u64;
    let kinds: [(&str, Take, u64); 4] = [
        ("KiB resident", |h| h.rss_kib, 8 << 10),
        ("descriptors", |h| h.descriptors, 16),
        ("mappings", |h| h.mappings, 64),
        ("threads", |h| h.threads, 4),
    ];
    for (what, take, slack) in kinds {
        let of = |part: &[Held]| median(part.iter().map(take).collect());
        let (before, after) = (of(first), of(last));
        let peak = warm.iter().map(take).max().unwrap();
        eprintln!("{name}: {what}: first quarter {before}, last quarter {after}, peak {peak}");
        assert!(
            after <= before + before / 20 + slack,
            "{name}: {what} grew from {before} to {after}"
        );
    }
}

#[test]
fn hostile_requests_among_others_leave_no_growth() {
    let minutes: Option<f64> = std::env::var("ZAPP_SOAK_MINUTES")
        .ok()
        .and_then(|text| text.parse().ok());
    let (blog, requests) = (php::blog().display(), serve_php::image().display());
    let (blog, requests) = (format!("blog={blog}"), format!("requests={requests}"));
    let limits =
        "--cpu 500ms --timeout 10s --header-timeout 5s --body-timeout 5s --write-timeout 5s";
    let mut options: Vec<&str> = limits.split(' ').collect();
    options.extend([
        "-n",
        "4",
        "--queue",
        "64",
        "--host",
        &blog,
        "--host",
        &requests,
        // Another test may pack the demo again, and the new file would be tried in a worker of its own.
        "--no-watch",
    ]);
    let server = Server::start(php::blog(), &options);
    let soak = Soak {
        server: &server,
        stop: AtomicBool::new(false),
        pages: Mutex::default(),
        good: AtomicU64::new(0),
        busy: AtomicU64::new(0),
        hostile: AtomicU64::new(0),
    };
    let length = minutes.map_or(Duration::from_secs(5), |m| {
        Duration::from_secs_f64(m * 60.0)
    });
    let every = (length / 100).clamp(Duration::from_millis(500), Duration::from_secs(5));
    let front = server.pid().as_raw_nonzero().get();
    let workers = children(front);
    let mut samples: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                scope.spawn({
                    let soak = &soak;
                    move || soak.run(seed)
                })
            })
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < length && !clients.iter().any(|client| client.is_finished()) {
            std::thread::sleep(every);
            let now = children(front);
            assert_eq!(now, workers, "workers came or went, or became zombies");
            samples
                .entry("front".into())
                .or_default()
                .push(Held::of(front));
            for (index, (pid, _)) in now.iter().enumerate() {
                samples
                    .entry(format!("worker {index}"))
                    .or_default()
                    .push(Held::of(*pid));
            }
        }
        soak.stop.store(true, Ordering::Relaxed);
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (good, hostile) = (count(&soak.good), count(&soak.hostile));
    eprintln!(
        "{good} pages, {hostile} hostile requests, {} times too busy",
        count(&soak.busy)
    );
    let busy = count(&soak.busy);
    assert!(
        good > 50 && hostile > 0 && busy * 10 <= good,
        "{good} {busy} {hostile}"
    );
    let metrics = server.metrics();
    assert_eq!(
        metrics.matches("zapp_worker_restarts_total{").count(),
        2,
        "{metrics}"
    );
    for site in ["blog", "requests"] {
        let line = format!("zapp_worker_restarts_total{{site=\"{site}\"}} 0");
        assert!(metrics.contains(&line), "{metrics}");
    }
    if minutes.is_some() {
        for (name, samples) in &samples {
            judge(name, samples);
        }
    }
}
