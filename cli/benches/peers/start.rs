//! How long a server takes from its start to its first answer: images with and without a snapshot, taking turns.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Connection;
use crate::servers::free_address;

/// A server that has not answered by then has failed.
const START_MAX: Duration = Duration::from_secs(60);

/// Packs each site twice and prints elapsed times.
pub(crate) fn first_answers(sites: &[(&str, PathBuf)], work: &Path, rounds: usize) {
    let mut images: Vec<(String, PathBuf, Vec<f64>)> = Vec::new();
    for (name, site) in sites {
        for (what, options) in [
            ("warmed up at start", &[][..]),
            ("packed with --warm", &["--warm"]),
        ] {
            let image = work.join(format!("{name}{}.zapp", options.len()));
            crate::run(
                Command::new(crate::ZAPP)
                    .args(["pack", "--quiet", "--php", "always"])
                    .args(options)
                    .arg(site)
                    .arg("-o")
                    .arg(&image),
            );
            images.push((format!("{name}, {what}"), image, Vec::new()));
        }
    }
    for _ in 0..rounds {
        for (_, image, times) in &mut images {
            times.push(first_answer(image));
        }
    }
    println!("\nfrom start to first answer, elapsed");
    for (name, _, times) in images {
        let least = times.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "  {name:<45} {:>9.1} ms   least {least:.1}",
            crate::median(times)
        );
    }
}

fn first_answer(image: &Path) -> f64 {
    let address = free_address();
    let start = Instant::now();
    let mut child = Command::new(crate::ZAPP)
        .args(["serve", "--quiet", "--no-watch", "--listen"])
        .arg(address.to_string())
        .arg(image)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("zapp starts");
    wait_for(address, start);
    let status = Connection::new(address).get("/").status;
    let elapsed = start.elapsed();
    child
        .kill()
        .and_then(|()| child.wait())
        .expect("it is ours");
    assert_eq!(status, 200, "{}", image.display());
    elapsed.as_secs_f64() * 1e3
}

fn wait_for(address: SocketAddr, start: Instant) {
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < START_MAX, "no server at {address}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
