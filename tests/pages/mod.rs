//! Same bytes: a page that PHP makes in the sandbox is the page that the same PHP makes as an ordinary process.
//!
//! `zapp serve` answers from clones of a snapshot; the native build answers the same request by CGI, each time from a new
//! process, on a copy of the same tree. Status, headers and body must be identical, but for `Date` and what the host
//! itself adds. `ZAPP_TEST_FULL=1` asks for every page of the WordPress fixture, a sample of each kind is asked for otherwise.

mod answer;
mod native;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::php;
use crate::serve::Server;
use crate::support::{Scratch, full, wait_for};
use answer::{Asked, HOST, Page, served, traps};
use native::Native;

/// What the native PHP answers to each request.
fn expected(server: &Server, native: &Native, requests: &[Asked]) -> Vec<Page> {
    let answers = Mutex::new(Vec::new());
    for_each(requests, |index, asked| {
        let page = native.page(asked, server.address);
        answers.lock().unwrap().push((index, page));
    });
    let mut answers = answers.into_inner().unwrap();
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, page)| page).collect()
}

fn for_each(requests: &[Asked], work: impl Fn(usize, &Asked) + Sync) {
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(asked) = requests.get(index) else {
                return;
            };
            work(index, asked);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
}

/// Compares the answers to every request, and says how many differ.
fn compare(server: &Server, expected: &[Page], requests: &[Asked]) {
    let differences = Mutex::new(Vec::new());
    for_each(requests, |index, asked| {
        // Once from whatever the clone before has left, once more to be sure that nothing is.
        for _ in 0..2 {
            let found = served(server.address, asked);
            if let Some(difference) = expected[index].difference(&found) {
                let line = format!("{asked}: {difference}");
                differences.lock().unwrap().push(line);
                break;
            }
        }
    });
    let differences = differences.into_inner().unwrap();
    eprintln!("{} requests compared", requests.len());
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        requests.len(),
        differences.join("\n")
    );
}

/// A copy of a tree: the native PHP may write to it.
fn copy(tree: &Path, scratch: &Scratch) -> PathBuf {
    let root = scratch.path("site");
    let copied = Command::new("cp").arg("-a").arg(tree).arg(&root).status();
    assert!(copied.expect("cp runs").success());
    root
}

/// Requests that nobody links to.
fn odd() -> Vec<Asked> {
    let odd = [
        "/?p=1",
        "/?p=999999",
        "/?page_id=2",
        "/?cat=3&paged=2",
        "/?s=",
        "/?s=%3Cscript%3E&x[]=1&x[a][b]=2",
        "/?s=na%C3%AFve%20caf%C3%A9",
        "/?s=%FF%FE",
        "/?m=202404",
        "/?author=1",
        "/?feed=rss2",
        "/?feed=atom",
        "/?rest_route=/wp/v2/posts",
        "/?rest_route=/nonsense",
        "/?orderby=rand%00&order=%27%22",
        "/?a=1&a=2&b&=c&%5B%5D=d",
        "/?attachment_id=7",
        "/index.php",
        "/index.php?p=5",
        "/wp-load.php",
        "/wp-blog-header.php?p=9",
        "/wp-json/wp/v2/posts?per_page=3&page=2&_fields=id,slug",
        "/wp-json/wp/v2/posts/1",
        "/wp-json/wp/v2/tags?search=lorem",
        "/wp-json/wp/v2/nothing",
        "/2024/",
        "/2024/13/",
        "/page/9999/",
        "/category/nothing/",
        "/author/admin/",
        "/wp-sitemap.xml",
        "/sitemap.xml",
        "/favicon.ico?x",
        "/Nowhere/%20with%20blanks",
        "/comments/feed/atom/",
        "/feed/atom/",
        "/feed/rdf/",
    ];
    let mut odd: Vec<Asked> = odd.into_iter().map(Asked::get).collect();
    odd.extend(["/", "/feed/", "/nowhere/", "/wp-json/"].map(Asked::head));
    odd.push(Asked {
        cookie: Some("wordpress_test_cookie=1; comment_author_x=Ada"),
        ..Asked::get("/")
    });
    odd
}

/// Paths of the fixture, of which a sample has one or two of each kind.
fn wordpress_requests(list: &str) -> Vec<Asked> {
    let paths: Vec<&str> = list.lines().collect();
    let requests = paths.iter().copied().map(Asked::get).chain(odd());
    let requests: Vec<Asked> = requests.collect();
    if full() {
        assert!(requests.len() >= 300, "{} requests", requests.len());
        return requests;
    }
    let is_post = |uri: &str| uri.starts_with("/2024/") && uri.len() > "/2024/04/".len();
    let kinds: [&dyn Fn(&str) -> bool; 13] = [
        &|uri| uri == "/",
        &|uri| uri == "/feed/" || uri == "/robots.txt",
        &|uri| uri.starts_with("/page/"),
        &|uri| uri.starts_with("/category/") && uri.ends_with("/page/2/"),
        &|uri| uri.starts_with("/category/") && uri.ends_with("/feed/"),
        &|uri| uri.starts_with("/tag/"),
        &|uri| uri.starts_with("/2024/") && !is_post(uri),
        &|uri| is_post(uri) && uri.ends_with("/feed/"),
        &|uri| is_post(uri) && !uri.ends_with("/feed/"),
        &|uri| uri.contains("?s="),
        &|uri| uri.starts_with("/wp-json/"),
        &|uri| uri == "/wp-load.php",
        &|uri| uri == "/nowhere/",
    ];
    let mut sample: Vec<Asked> = Vec::new();
    for is_kind in kinds {
        let of_kind = requests.iter().filter(|asked| is_kind(&asked.uri));
        let before = sample.len();
        sample.extend(of_kind.take(2).cloned());
        assert!(
            sample.len() > before,
            "a kind of page is missing in the list"
        );
    }
    sample.extend(odd().into_iter().step_by(8));
    sample
}

#[test]
fn wordpress_pages_are_those_of_the_native_php() {
    let (image, site) = php::wordpress();
    let scratch = Scratch::new();
    let native = Native {
        program: php::native(),
        root: copy(&site, &scratch),
        environment: &[("DISABLE_WP_CRON", "1")],
    };
    let list = fs::read_to_string(site.with_file_name("urls.txt")).unwrap();
    let requests = wordpress_requests(&list);
    let server = Server::start(image, &["--server-timing"]);
    let expected = expected(&server, &native, &requests);
    compare(&server, &expected, &requests);
    let usual = traps(&server, "/");
    assert!(server.stop().success());

    // No page shows the port, so that the second server may have its own.
    let level = ["--server-timing", "--snapshot", "after-bootstrap"];
    let server = Server::start(image, &level);
    // The first request orders the snapshot for its host.
    wait_for("the snapshot", || traps(&server, "/") * 4 < usual * 3);
    compare(&server, &expected, &requests);
    assert!(
        traps(&server, "/") * 4 < usual * 3,
        "the snapshot is out of use"
    );
}

#[test]
fn blog_pages_are_those_of_the_native_php() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/sites/blog");
    let scratch = Scratch::new();
    let native = Native {
        program: php::native(),
        root: copy(&site, &scratch),
        environment: &[("BLOG_EDITION", "read-only")],
    };
    let server = Server::start(php::blog(), &[]);
    let sitemap = native.page(&Asked::get("/sitemap.xml"), server.address);
    let sitemap = String::from_utf8(sitemap.body).unwrap();
    let mut requests: Vec<Asked> = sitemap
        .split("<loc>")
        .skip(1)
        .filter_map(|part| part.split_once("</loc>"))
        .map(|(link, _)| link.split_once(HOST).expect("a link to here").1)
        // Files are the server's own affair.
        .filter(|uri| !uri.ends_with(".html"))
        .map(Asked::get)
        .collect();
    assert!(requests.len() >= 40, "{} links", requests.len());
    let more = [
        "/?page=2",
        "/?page=0",
        "/archive",
        "/archive/2024/05",
        "/tags",
        "/feed.xml",
        "/sitemap.xml",
        "/search",
        "/search?q=rope",
        "/search?q=%22rope&q[]=x",
        "/search?q=na%C3%AFve",
        "/search?q=%FF",
        "/post/nothing",
        "/nowhere?a[b]=c",
    ];
    requests.extend(more.map(Asked::get));
    requests.extend(["/", "/search?q=rope", "/nowhere"].map(Asked::head));
    requests.push(Asked {
        method: "PUT",
        ..Asked::get("/")
    });
    requests.push(Asked::post("/search", "q=rope"));
    requests.push(Asked::post("/search", "q=lighthouse+keeper"));
    requests.push(Asked::post("/search", "q[]=a&q[]=b"));
    requests.push(Asked::post("/search", "q=%FF%00&other=1"));
    requests.push(Asked::post("/search", ""));
    compare(&server, &expected(&server, &native, &requests), &requests);

    // A comment is kept by the native PHP alone, so its tree is used up by it.
    let post = requests
        .iter()
        .find(|asked| asked.uri.starts_with("/post/"))
        .expect("a post");
    let asked = Asked::post(
        &format!("{}/comments", post.uri),
        "author=Ada&body=A+few+words",
    );
    let expected = native.page(&asked, server.address);
    let found = served(server.address, &asked);
    assert_eq!(expected.difference(&found), None);
}
