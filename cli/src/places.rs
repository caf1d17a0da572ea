//! Absolute paths that a site has noted, in its configuration and databases: where it lived. An image that puts it elsewhere breaks them.

use std::collections::BTreeMap;

use imagefs::tree::{Node, Tree};
use imagefs::writer;
use server::{Home, Look};

use crate::in_tree::InTree;

/// Where sites usually lie. Elsewhere a path is more likely a URL's.
const USUAL: [&[u8]; 8] = [
    b"/var/",
    b"/home/",
    b"/srv/",
    b"/opt/",
    b"/mnt/",
    b"/data/",
    b"/usr/local/",
    b"/Users/",
];
/// A configuration that is larger is none.
const TEXT_MAX: u64 = 1 << 20;
/// Of a larger database nothing is read.
const DATABASE_MAX: u64 = 64 << 20;
/// Names of files that say how a site is set up.
const SETTINGS: [&str; 6] = ["config", "settings", "database", "install", "local", ".env"];
/// Folders of other people's code, where paths are examples.
const LIBRARIES: [&[u8]; 2] = [b"vendor/", b"node_modules/"];

/// The places that a site takes itself to be at, each with the first file that says so. A path counts when the site has what it
/// leads to: so it is known where the place ends and the site begins.
pub(crate) fn noted(site: &InTree<'_>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut places = BTreeMap::new();
    for (path, max) in candidates(site.tree)? {
        // A database may be written just now, which packing can cope with; what cannot be read at all is met again by it.
        let Ok(Some(bytes)) = writer::contents(site.tree, &path, max) else {
            continue;
        };
        for place in places_in(site, &bytes) {
            let file = || String::from_utf8_lossy(&path).into_owned();
            places.entry(place).or_insert_with(file);
        }
    }
    Ok(places)
}

/// Says which places the site is not at.
pub(crate) fn say(site: &InTree<'_>, home: &Home) -> anyhow::Result<()> {
    for (place, file) in noted(site)? {
        if place != home.path() {
            eprintln!("zapp: {file}: has paths below {place}; --at {place} puts the site there");
        }
    }
    Ok(())
}

/// The files that may have noted where they are, and how much of each is read.
fn candidates(tree: &Tree) -> anyhow::Result<Vec<(Vec<u8>, u64)>> {
    let mut found = Vec::new();
    tree.walk(&mut |path, _, node| {
        let is_library = LIBRARIES
            .iter()
            .any(|folder| path.starts_with(folder) || memchr::memmem::find(path, folder).is_some());
        if !matches!(node, Node::File { .. }) || is_library {
            return Ok(());
        }
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if is(&[".sqlite", ".sqlite3", ".db", ".sq3"]) {
            found.push((path.to_vec(), DATABASE_MAX));
        } else if SETTINGS.iter().any(|word| name.contains(word))
            && is(&[
                ".php", ".inc", ".ini", ".json", ".yml", ".yaml", ".xml", ".env", ".local",
            ])
        {
            found.push((path.to_vec(), TEXT_MAX));
        }
        Ok(())
    })?;
    Ok(found)
}

/// The places in one file.
fn places_in(site: &InTree<'_>, bytes: &[u8]) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for usual in USUAL {
        for start in memchr::memmem::find_iter(bytes, usual) {
            let is_inside = |b: &u8| b.is_ascii_alphanumeric() || b"._-~/".contains(b);
            if start > 0 && is_inside(&bytes[start - 1]) {
                continue;
            }
            let rest = &bytes[start..bytes.len().min(start + 1024)];
            let end = rest.iter().position(|b| !is_inside(b));
            let Ok(path) = std::str::from_utf8(&rest[..end.unwrap_or(rest.len())]) else {
                continue;
            };
            let known = |place: &String| path.starts_with(&format!("{place}/"));
            if !places.iter().any(known)
                && let Some(place) = place_of(site, path)
            {
                places.push(place);
            }
        }
    }
    places
}

/// The part of a path that is not the site's.
fn place_of(site: &InTree<'_>, path: &str) -> Option<String> {
    let path = path.trim_end_matches(['/', '.']);
    let slashes = path.match_indices('/').skip(2);
    let mut places = slashes.map(|(at, _)| path.split_at(at));
    let found = places.find(|(_, rest)| site.kind(rest.trim_start_matches('/')).is_some());
    found.map(|(place, _)| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use imagefs::scan::{ScanOptions, scan};

    // case site-abs-path
    #[test]
    fn a_place_ends_where_the_site_begins() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let write = |path: &str, text: &str| {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "data/blog.db",
            "s:30:\"/var/www/html/data/blog.db\";\0/home/me/www/data\0",
        );
        write(
            "config.php",
            "<?php const A = '/srv/a/b/index.php', B = '/usr/share/data';",
        );
        write("index.php", "<?php include '/opt/site/index.php';");
        write(
            "lib/config.php",
            "see http://host/var/x/data and /home/you/nothing.txt",
        );
        write("vendor/config.php", "'/home/author/lib/index.php'");
        let tree = scan(top, &ScanOptions::default()).unwrap().tree;
        let site = InTree {
            tree: &tree,
            at: None,
        };
        let places: Vec<_> = noted(&site).unwrap().into_iter().collect();
        let pair = |place: &str, file: &str| (place.to_owned(), file.to_owned());
        let expected = [
            pair("/home/me/www", "data/blog.db"),
            pair("/srv/a/b", "config.php"),
            pair("/var/www/html", "data/blog.db"),
        ];
        assert_eq!(places, expected);
    }
}
