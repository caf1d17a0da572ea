//! What a decision costs: a folder that is denied, WordPress' own file, one that lists forty user agents, and reading them.
//!
//! Time of the processor, so that a busy machine does not matter much.

use std::hint::black_box;

use htaccess::{Files, Kind, Request, Rules, Site, Stat, Table};

const WORDPRESS: &str = "<IfModule mod_rewrite.c>\nRewriteEngine On\n\
    RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\nRewriteBase /\nRewriteRule ^index\\.php$ - [L]\n\
    RewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule . /index.php [L]\n</IfModule>\n";

struct Few;

impl Files for Few {
    fn stat(&self, path: &[u8]) -> Option<Stat> {
        let kind = match path {
            b"/site" | b"/site/" => Kind::Directory,
            b"/site/index.php" | b"/site/wp-includes/style.css" => Kind::File,
            _ => return None,
        };
        Some(Stat {
            kind,
            size: 1,
            modified: 0,
            executable: false,
            linked: false,
        })
    }
}

fn read(text: &str) -> Rules {
    let site = Site {
        document_root: b"/site",
        index: &["index.php".to_owned()],
    };
    Rules::read(&site, &[("/site", text)], &Few).expect("within limits")
}

fn agents() -> String {
    let names: Vec<String> = (0..40).map(|index| format!("agent{index}bot")).collect();
    let lines = names
        .iter()
        .map(|name| format!("SetEnvIfNoCase User-Agent \"^{name}.*(/|;)\" block\n"));
    let deny = "<RequireAll>\nRequire all granted\nRequire not env block\n</RequireAll>\n";
    format!("{WORDPRESS}{}{deny}", lines.collect::<String>())
}

/// Nanoseconds of the processor that this thread has taken.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    let first = text.split(' ').next().expect("three numbers");
    first.parse().expect("a number")
}

fn measure(name: &str, times: u64, mut run: impl FnMut()) {
    (0..times / 10).for_each(|_| run());
    let start = cpu();
    (0..times).for_each(|_| run());
    println!("{name:<45} {:>9} ns", (cpu() - start) / times);
}

fn main() {
    let headers: Table = [
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        ("Accept", "text/html,application/xhtml+xml"),
        ("Cookie", "wp-settings-time-1=1767323045"),
    ]
    .into_iter()
    .collect();
    for (name, text) in [
        ("denied", "Require all denied\n".to_owned()),
        ("wordpress", WORDPRESS.to_owned()),
        ("agents", agents()),
    ] {
        let rules = read(&text);
        for path in ["/2026/01/a-post/", "/wp-includes/style.css", "/"] {
            let request = Request::get(path.as_bytes(), &headers);
            measure(&format!("{name} {path}"), 50_000, || {
                black_box(rules.decide_soon(&request, &Few).expect("it costs little"));
            });
        }
        measure(&format!("{name}, read"), 1000, || {
            black_box(read(&text));
        });
    }
}
