//! Isolation between requests, with PHP: whatever a page leaves behind, no later request finds it.
//!
//! Every request looks for the traces of all others, then leaves its own in each place (`sites/requests/src/isolation.php`
//! lists them) and proves that it did. Parallel clients send them among pages that fail, run into limits, or go away.

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::Client;
use crate::serve::{Server, exchange};
use crate::serve_php::server;
use crate::support::full;

/// Places where a request can leave something, as `places()` of the site lists them.
const PLACES: usize = 27;
const CLIENTS: usize = 8;

/// What must differ between any two requests.
#[derive(Default)]
struct Drawn(Mutex<HashSet<String>>);

impl Drawn {
    fn add(&self, what: &str, answer: &serde_json::Value) {
        let drawn = answer[what].as_str().expect("a text").to_owned();
        let fresh = self.0.lock().unwrap().insert(drawn.clone());
        assert!(fresh, "two requests have the same {what}: {drawn}");
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// One request that looks and leaves.
fn look_and_leave(client: &mut Client, token: &str, drawn: &[Drawn; 4]) {
    let before = now();
    let cookie = "Cookie: PHPSESSID=everybodys\r\n";
    let target = format!("/isolation?token={token}");
    let answer = client.request("GET", &target, cookie, b"").unwrap();
    let after = now();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    assert_eq!(said["token"], token);
    assert_eq!(said["traces"], serde_json::json!([]), "{token}");
    assert_eq!(said["left"].as_array().unwrap().len(), PLACES, "{said}");
    for (set, what) in drawn.iter().zip(["drawn", "bytes", "uniqid", "sqlite"]) {
        set.add(what, &said);
    }
    for what in ["time", "request_time"] {
        let time = said[what].as_f64().unwrap();
        assert!(
            (before - 0.01..=after + 0.01).contains(&time),
            "{what}: {time} is not between {before} and {after}"
        );
    }
}

/// A request that ends badly, on a connection of its own. Only that nobody notices is of interest.
fn disturb(server: &Server, kind: usize) {
    let paths = [
        "/fatal", "/exit", "/limited", "/headers", "/bomb", "/spill", "/deep",
    ];
    if kind.is_multiple_of(paths.len() + 1) {
        // A client that does not wait.
        let mut stream = TcpStream::connect(server.address).unwrap();
        let request = b"GET /isolation?token=gone HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request).unwrap();
        return;
    }
    let status = server.get(paths[kind % paths.len()]).status;
    assert!(status >= 200, "{status}");
}

#[test]
fn nothing_is_left_behind() {
    let server = server!("-n", "8", "--queue", "100");
    let total = if full() { 10_000 } else { 300 };
    let next = AtomicUsize::new(0);
    let drawn: [Drawn; 4] = Default::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(server.address).unwrap();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        break;
                    }
                    if number % 25 == 24 {
                        disturb(&server, number / 25);
                    }
                    look_and_leave(&mut client, &format!("t{number}"), &drawn);
                }
            });
        }
    });
    assert_eq!(drawn[0].0.lock().unwrap().len(), total);
    let metrics = exchange(server.admin, b"GET /metrics HTTP/1.0\r\n\r\n");
    assert!(
        metrics.contains("zapp_worker_restarts_total{site=\"requests\"} 0"),
        "{metrics}"
    );
}
