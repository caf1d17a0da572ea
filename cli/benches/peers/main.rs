//! What a request costs, beside other ways to run PHP: CPU time of all processes of a server, one batch of requests after
//! the other, servers taking turns in each round.
//!
//! `cargo bench -p zapp --bench peers -- [wordpress|hello|playground|start]… [rounds=N]`
//!
//! Peers come from Debian (php8.2-fpm, php8.2-cgi, php8.2-sqlite3, nginx-light) and npm (`@wp-playground/cli`); one that
//! is missing is named and left out. All need the PHP guest, which is built when it is missing. `start` is about elapsed
//! time, and runs only when it is named.

mod client;
mod process;
mod servers;
mod start;

use std::path::{Path, PathBuf};
use std::process::Command;

use servers::{Server, Site};

const ZAPP: &str = env!("CARGO_BIN_EXE_zapp");

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let rounds = args
        .iter()
        .find_map(|a| a.strip_prefix("rounds=")?.parse().ok())
        .unwrap_or(7);
    let names: Vec<&str> = args
        .iter()
        .filter(|a| !a.contains('='))
        .map(String::as_str)
        .collect();
    let wanted = |name: &str| {
        names.is_empty() && !["playground", "start"].contains(&name) || names.contains(&name)
    };
    let work = tempfile::tempdir().expect("a scratch directory");
    if wanted("wordpress") || wanted("playground") {
        let image = demo_image(&["--wordpress"]);
        let site = Site::copy(&wordpress(), &work.path().join("wordpress"));
        wordpress_pages(&image, &site, rounds, wanted("playground"));
    }
    if wanted("hello") {
        hello(work.path(), rounds);
    }
    if wanted("start") {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sites = [
            ("blog", sources.join("fixtures/sites/blog")),
            ("WordPress", wordpress()),
        ];
        start::first_answers(&sites, work.path(), rounds);
    }
}

/// WordPress' front page, a post and its feed.
fn wordpress_pages(image: &Path, site: &Site, rounds: usize, with_playground: bool) {
    let post = site.urls().last().cloned().expect("the fixture has posts");
    let paths = ["/".to_owned(), post, "/feed/".to_owned()];
    let mut peers = vec![
        servers::fpm("nginx + php-fpm, opcache", site, &[]),
        servers::zapp("zapp, default snapshot", image, &[]),
        servers::zapp(
            "zapp, after-bootstrap",
            image,
            &["--snapshot", "after-bootstrap"],
        ),
        servers::fpm(
            "nginx + php-fpm, one request a process",
            site,
            &["pm.max_requests = 1"],
        ),
        servers::spawned_cgi(
            "php-cgi for each request, no opcache",
            site,
            &[
                "-n",
                "-d",
                "extension=pdo",
                "-d",
                "extension=pdo_sqlite",
                "-d",
                "extension=sqlite3",
            ],
        ),
        servers::spawned_cgi("php-cgi for each request, Debian's settings", site, &[]),
    ];
    if with_playground {
        peers.push(servers::playground("@wp-playground/cli", site));
    }
    measure(peers, &paths, rounds, 12);
}

/// One line of PHP.
fn hello(work: &Path, rounds: usize) {
    let tree = work.join("hello");
    std::fs::create_dir_all(&tree).expect("a directory");
    std::fs::write(tree.join("index.php"), "<?php echo 'hello';").expect("a file");
    let program = demo_program();
    let image = work.join("hello.zapp");
    std::fs::create_dir_all(tree.join(".zapp")).expect("a directory");
    std::fs::write(tree.join(".zapp/php"), program).expect("a file");
    run(Command::new(ZAPP)
        .args(["pack", "--force"])
        .arg(&tree)
        .arg("-o")
        .arg(&image));
    let site = Site::at(&tree);
    let peers = vec![
        servers::fpm("nginx + php-fpm, opcache", &site, &[]),
        servers::zapp("zapp, default snapshot", &image, &[]),
    ];
    measure(peers, &["/".to_owned()], rounds, 1000);
}

/// Prints the median CPU time of a request for each server and path, and its ratio to the first server's in the same round.
fn measure(peers: Vec<Result<Server, String>>, paths: &[String], rounds: usize, batch: usize) {
    let mut running: Vec<(Server, Vec<Vec<f64>>)> = Vec::new();
    for peer in peers {
        match peer {
            Ok(server) => running.push((server, vec![Vec::new(); paths.len()])),
            Err(reason) => eprintln!("left out: {reason}"),
        }
    }
    for (server, _) in &mut running {
        // Caches fill, snapshots are made.
        for _ in 0..3 {
            for path in paths {
                let reply = server.get(path);
                assert!(
                    reply.status == 200 && !reply.body.is_empty(),
                    "{} {path}",
                    server.name
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
    }
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (at, path) in paths.iter().enumerate() {
            for (server, results) in &mut running {
                let requests = if server.is_slow {
                    batch.div_ceil(4)
                } else {
                    batch
                };
                let before = server.cpu();
                let mut connection = server.connect();
                for _ in 0..requests {
                    assert_eq!(connection.get(path).status, 200, "{} {path}", server.name);
                }
                drop(connection);
                results[at].push((server.cpu() - before) * 1e3 / requests as f64);
            }
        }
    }
    for (at, path) in paths.iter().enumerate() {
        println!("\n{path}");
        let first = running[0].1[at].clone();
        for (server, results) in &running {
            let ratios = results[at]
                .iter()
                .zip(&first)
                .map(|(one, first)| one / first)
                .collect();
            let milliseconds = median(results[at].clone());
            println!(
                "  {:<45} {milliseconds:>9.3} ms   {:>6.2}",
                server.name,
                median(ratios)
            );
        }
    }
    for (server, _) in &running {
        println!("  {:<45} {}", server.name, server.memory());
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn wordpress() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    last_line(&mut Command::new(sources.join("fixtures/wordpress/build")))
}

/// The demo's image, with PHP in it.
fn demo_image(options: &[&str]) -> PathBuf {
    last_line(
        Command::new(ZAPP)
            .args(["demo", "--pack-only"])
            .args(options),
    )
}

/// PHP itself, out of the demo's image.
fn demo_program() -> Vec<u8> {
    let output = Command::new(ZAPP)
        .arg("cat")
        .arg(demo_image(&[]))
        .arg("/.zapp/php")
        .output();
    output.expect("zapp runs").stdout
}

fn last_line(command: &mut Command) -> PathBuf {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().last().expect("a path").into()
}

fn run(command: &mut Command) {
    assert!(
        command.status().expect("the program runs").success(),
        "{command:?}"
    );
}
