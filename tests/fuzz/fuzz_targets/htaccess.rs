//! `.htaccess` files and requests of any bytes: reading and deciding never panic, and end within their budget.
//!
//! Input: the path of a request, a line feed, its query, a line feed, a header, a line feed, then the file.
#![no_main]

use htaccess::{Files, Kind, Request, Response, Rules, Site, Stat, Table};
use libfuzzer_sys::fuzz_target;

/// A script, a file and a directory; all other paths lead nowhere.
struct Few;

impl Files for Few {
    fn stat(&self, path: &[u8]) -> Option<Stat> {
        let kind = match path {
            b"/site" | b"/site/" | b"/site/dir" | b"/site/dir/" => Kind::Directory,
            b"/site/index.php" | b"/site/dir/x.txt" => Kind::File,
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

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(4, |&b| b == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (path, query, header, text) = (next(), next(), next(), next());
    let site = Site {
        document_root: b"/site",
        index: &["index.php".to_owned()],
    };
    let Ok(rules) = Rules::read(&site, &[("/site", text), ("/site/dir", text)], &Few) else {
        return;
    };
    let headers: Table = [("User-Agent", header), ("Authorization", header)].into_iter().collect();
    let path = [b"/", path].concat();
    let request = Request {
        query: Some(query),
        ..Request::get(&path, &headers)
    };
    if let Some(decision) = rules.decide_soon(&request, &Few) {
        let mut response = Response::default();
        let _ = rules.finish(&request, &Few, &decision, &mut response);
        rules.fail(&request, &Few, &decision, 404);
    }
});
