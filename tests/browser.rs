//! A real browser walks through the demo sites: every asset arrives, scripts run, nothing is complained about.
//!
//! Needs Debian's `chromium` and Node.js; without them the tests say so and do nothing. `browser/visit.mjs` does the walking.

use std::process::Command;

use serde_json::{Value, json};

use crate::php;
use crate::serve::Server;
use crate::support::{have, skip};

/// Walks through a site; paths in the steps become addresses of the server.
fn walk(server: &Server, steps: &[Value]) -> Value {
    let origin = format!("http://{}", server.address);
    let steps: Vec<Value> = steps
        .iter()
        .cloned()
        .map(|mut step| {
            if let Some(path) = step.get("open").and_then(Value::as_str) {
                step["open"] = json!(format!("{origin}{path}"));
            }
            step
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/browser/visit.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg("chromium")
        .arg(json!(steps).to_string())
        .output()
        .expect("node starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(seen["problems"], json!([]), "the browser complains");
    assert_eq!(seen["pages"].as_array().unwrap().len(), steps.len());
    for page in seen["pages"].as_array().unwrap() {
        assert_eq!(page["brokenImages"], 0, "{page}");
    }
    seen
}

/// Requests of one type, such as `Stylesheet`.
fn requests(seen: &Value, kind: &str) -> usize {
    let all = seen["requests"].as_array().unwrap();
    all.iter().filter(|request| request["type"] == kind).count()
}

fn title(seen: &Value, page: usize) -> &str {
    seen["pages"][page]["title"].as_str().unwrap()
}

fn text(seen: &Value, page: usize) -> &str {
    seen["pages"][page]["text"].as_str().unwrap()
}

macro_rules! need_a_browser {
    () => {
        for program in ["chromium", "node"] {
            if !have(program) {
                skip!("no {program}");
            }
        }
    };
}

#[test]
fn wordpress_in_a_browser() {
    need_a_browser!();
    let (image, _) = php::wordpress();
    let server = Server::start(image, &[]);
    let seen = walk(
        &server,
        &[
            json!({"open": "/"}),
            json!({"click": ".wp-block-post-title a"}),
            json!({"click": "a[rel='category tag'], .taxonomy-category a"}),
            json!({"open": "/?s=tempor"}),
            json!({"search": "input[type=search]", "words": "velit"}),
            json!({"click": "a.wp-block-query-pagination-next"}),
        ],
    );
    assert!(title(&seen, 0).contains("Fixture"), "{}", title(&seen, 0));
    assert_ne!(title(&seen, 1), title(&seen, 0));
    let url = |page: usize| seen["pages"][page]["url"].as_str().unwrap();
    assert!(url(1).contains("/2024/"), "{}", url(1));
    assert!(url(2).contains("/category/"), "{}", url(2));
    assert!(url(4).contains("s=velit"), "{}", url(4));
    assert!(title(&seen, 4).contains("velit"), "{}", title(&seen, 4));
    assert!(url(5).contains("s=velit"), "{}", url(5));
    assert_ne!(text(&seen, 5), text(&seen, 4));
    for (kind, least) in [
        ("Document", 6),
        ("Stylesheet", 1),
        ("Font", 1),
        ("Script", 1),
    ] {
        assert!(
            requests(&seen, kind) >= least,
            "{kind}: {}",
            seen["requests"]
        );
    }
}

#[test]
fn the_blog_in_a_browser() {
    need_a_browser!();
    let server = Server::start(php::blog(), &[]);
    let seen = walk(
        &server,
        &[
            json!({"open": "/"}),
            json!({"click": ".teaser a"}),
            json!({"open": "/search"}),
            json!({"search": "form.search[method=post] input", "words": "rope"}),
            json!({"click": ".teaser a"}),
        ],
    );
    assert!(text(&seen, 3).contains("for “rope”"), "{}", text(&seen, 3));
    assert!(text(&seen, 4).contains("rope"), "{}", text(&seen, 4));
    for kind in ["Stylesheet", "Script", "Image"] {
        assert!(requests(&seen, kind) > 0, "{kind}: {}", seen["requests"]);
    }
}
