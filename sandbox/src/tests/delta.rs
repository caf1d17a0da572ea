//! What an instance has changed, taken from it and applied to another: the same files come out.

use crate::error::Error;
use crate::ledger::Room;
use crate::tree::delta::{Change, Delta, Origin};
use crate::tree::difference::Difference;
use crate::tree::listing::{Shown, Taken};
use crate::tree::memory::MemoryTree;
use crate::tree::trees::Trees;
use crate::tree::view::View;
use crate::tree::{Kind, Mounts, Node};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const ROOM: Room = Room {
    bytes: 1 << 30,
    files: 1 << 20,
    now_ns: 7,
};

fn mounts() -> Mounts {
    let bytes = |len: usize| (0..len).map(|at| at.to_le_bytes()[0]).collect::<Vec<u8>>();
    let image = MemoryTree::new()
        .file("etc/motd", "welcome\n")
        .file("site/data.db", bytes(50_000))
        .file("site/a/b/c", bytes(5_000))
        .link("site/link", "data.db")
        .directory("site/empty");
    let data = MemoryTree::new()
        .file("name", "object")
        .directory("down/below");
    Mounts::new()
        .mount("/", Arc::new(image))
        .mount("/data", Arc::new(data))
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// Every name: path, directory, name, node.
fn all(view: &View, trees: &Trees) -> Vec<(Vec<u8>, Node, Vec<u8>, Node)> {
    let mut found = Vec::new();
    let mut directories = vec![(Vec::new(), view.root())];
    while let Some((path, directory)) = directories.pop() {
        let mut reading = view.begin_reading();
        let go_on = || Ok::<(), ()>(());
        let each = |shown: Shown<'_>| {
            let path = [path.as_slice(), b"/", shown.name].concat();
            if shown.kind == Kind::Directory {
                directories.push((path.clone(), shown.node));
            }
            found.push((path, directory, shown.name.to_vec(), shown.node));
            Taken::Yes
        };
        let after_dots = 2;
        view.read_directory(trees, directory, &mut reading, after_dots, go_on, each)
            .unwrap();
    }
    found.sort();
    found
}

/// Everything a guest can see, with one number for all names of a file.
fn dump(view: &View, trees: &Trees) -> BTreeMap<Vec<u8>, String> {
    let mut identity = HashMap::new();
    let mut dump = BTreeMap::new();
    for (path, _, _, node) in all(view, trees) {
        let next = identity.len();
        let same = *identity.entry(node).or_insert(next);
        let facts = view.metadata(trees, node);
        let content = match facts.kind {
            Kind::Regular => {
                let mut bytes = vec![0xEE; usize::try_from(facts.size).unwrap() + 1];
                let len = view.read_at(trees, node, 0, &mut bytes).unwrap();
                bytes.truncate(len);
                bytes
            }
            Kind::Symlink => view.read_link(trees, node).unwrap().into_owned(),
            _ => Vec::new(),
        };
        let facts = (facts.kind, facts.mode, facts.modified_ns, facts.size);
        dump.insert(path, format!("{same} {facts:?} {content:?}"));
    }
    dump
}

/// One operation of those a guest has, where it is allowed.
fn step(view: &mut View, trees: &Trees, random: &mut Random) {
    let all = all(view, trees);
    let directories: Vec<Node> = all
        .iter()
        .filter(|(path, _, _, node)| view.kind(trees, *node) == Kind::Directory && path != b"/dev")
        .map(|(_, _, _, node)| *node)
        .chain([view.root()])
        .collect();
    let target = directories[random.below(directories.len())];
    let new = vec![b'n', b'a' + u8::try_from(random.below(12)).unwrap()];
    let is_free = view.lookup(trees, target, &new).is_none();
    let (path, directory, name, node) = all[random.below(all.len())].clone();
    let kind = view.kind(trees, node);
    let is_fixed = [&b"/tmp"[..], b"/dev", b"/data"].contains(&path.as_slice());
    let mode = u32::try_from(random.below(0o1000)).unwrap();
    match random.below(11) {
        0 if is_free => {
            let _ = view.create(target, &new, mode, &ROOM);
        }
        1 if is_free => {
            let _ = view.make_directory(target, &new, mode, &ROOM);
        }
        2 if is_free => {
            let _ = view.make_symlink(target, &new, b"../x", &ROOM);
        }
        3 if is_free && matches!(kind, Kind::Regular | Kind::Symlink) => {
            let _ = view.link(target, &new, node, &ROOM);
        }
        4 if kind != Kind::Device
            && !is_fixed
            && (kind != Kind::Directory || view.is_empty(trees, node)) =>
        {
            view.remove(trees, directory, &name, node, &ROOM).unwrap();
        }
        5 | 6 if kind != Kind::Device && !is_fixed => {
            let is_directory = kind == Kind::Directory;
            let of_tree = matches!(node, Node::Base(..));
            let there = view.lookup(trees, target, &new);
            let fits = there.is_none_or(|there| {
                there != node
                    && (view.kind(trees, there) == Kind::Directory) == is_directory
                    && (!is_directory || view.is_empty(trees, there))
            });
            let moves = !(is_directory && (of_tree || view.is_below(trees, target, node)));
            if fits && moves {
                view.rename(
                    trees,
                    (directory, &name),
                    (target, &new),
                    node,
                    there,
                    &ROOM,
                )
                .unwrap();
            }
        }
        7 if kind == Kind::Regular => {
            let (at, len) = (random.below(60_000) as u64, random.below(9_000));
            let bytes = vec![mode.to_le_bytes()[0]; len];
            let room = Room { now_ns: 9, ..ROOM };
            view.write_at(trees, node, at, &bytes, &room).unwrap();
        }
        8 if kind == Kind::Regular => {
            let size = random.below(70_000) as u64;
            let room = Room { now_ns: 11, ..ROOM };
            view.truncate(trees, node, size, &room).unwrap();
        }
        9 if kind != Kind::Device => view.set_mode(node, mode, &ROOM).unwrap(),
        10 if kind != Kind::Device => view.set_modified(node, mode.into(), &ROOM).unwrap(),
        _ => {}
    }
}

fn rounds(few: u64, many: u64) -> u64 {
    if std::env::var_os("ZAPP_TEST_FULL").is_some() {
        many
    } else {
        few
    }
}

/// A start, and what became of it.
fn history(mounts: &Mounts, trees: &Trees, seed: u64) -> (View, View) {
    let random = &mut Random(seed);
    let mut start = View::new(mounts, trees).unwrap();
    for _ in 0..random.below(30) {
        step(&mut start, trees, random);
    }
    let mut end = start.clone();
    for _ in 0..random.below(40) {
        step(&mut end, trees, random);
        let (records, bytes) = end.count_what_is_kept();
        assert_eq!(end.ledger().records(), records);
        assert_eq!(end.ledger().content_bytes(), bytes);
    }
    (start, end)
}

#[test]
fn delta_of_any_history_makes_the_same_files_elsewhere() {
    let mounts = mounts();
    let trees = mounts.trees().unwrap();
    let mut changed = 0;
    for seed in 0..rounds(400, 20_000) {
        let (start, end) = history(&mounts, &trees, seed);
        let delta = Difference::new(&start, &end, &mounts, &trees).delta();
        let bytes = delta.to_bytes();
        let back = Delta::from_bytes(&bytes).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!(back, delta, "seed {seed}");
        let mut fresh = start.clone();
        fresh
            .apply(&trees, &back, &ROOM)
            .unwrap_or_else(|error| panic!("seed {seed}: {error} {:?}", delta.changes()));
        let (want, got) = (dump(&end, &trees), dump(&fresh, &trees));
        assert!(want == got, "seed {seed}");
        assert!(
            !delta.is_empty() || want == dump(&start, &trees),
            "seed {seed}"
        );
        changed += usize::from(!delta.is_empty());
        // What was applied makes the same delta of files that were there.
        let again = Difference::new(&start, &fresh, &mounts, &trees).delta();
        assert_eq!(again.names().len(), delta.names().len(), "seed {seed}");
    }
    assert!(changed > 100, "{changed} histories changed anything");
}

#[test]
fn damaged_deltas_are_refused_or_applied_without_harm() {
    let mounts = mounts();
    let trees = mounts.trees().unwrap();
    let random = &mut Random(99);
    let (mut read, mut applied) = (0, 0);
    for seed in 0..rounds(20, 2_000) {
        let (start, end) = history(&mounts, &trees, seed);
        let bytes = Difference::new(&start, &end, &mounts, &trees)
            .delta()
            .to_bytes();
        for _ in 0..100 {
            let mut changed = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(changed.len());
                match random.below(4) {
                    0 => changed.truncate(at.max(1)),
                    1 => changed[at] = u8::try_from(random.below(256)).unwrap(),
                    // Most of the bytes are pages; the rules are about the others.
                    _ => {
                        let at = random.below(changed.len().min(400));
                        changed[at] ^= 1 << random.below(8);
                    }
                }
            }
            let delta = match Delta::from_bytes(&changed) {
                Ok(delta) => delta,
                Err(Error::Delta { at, .. }) => {
                    assert!(at <= changed.len());
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            read += 1;
            assert!(delta.to_bytes() == changed, "one delta has one form");
            drop(delta.changes());
            let mut fresh = start.clone();
            match fresh.apply(&trees, &delta, &ROOM) {
                // A damaged length makes a hole of up to 1 TiB: it is not read.
                Ok(()) => {
                    applied += 1;
                    drop(all(&fresh, &trees));
                }
                Err(Error::CannotApply { .. }) => assert!(fresh == start, "nothing was changed"),
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(
        read > 100 && applied > 50,
        "{read} were read, {applied} applied"
    );
}

#[test]
fn delta_tells_created_renamed_linked_and_removed() {
    let mounts = mounts();
    let trees = mounts.trees().unwrap();
    let start = View::new(&mounts, &trees).unwrap();
    let mut end = start.clone();
    let find = |view: &View, path: &[u8]| {
        let walked = view.walk(&trees, view.root(), path, false).unwrap();
        (walked.directory, walked.name().to_vec(), walked.node)
    };
    let (site, name, node) = find(&end, b"/site/data.db");
    end.rename(
        &trees,
        (site, &name),
        (site, b"moved.db"),
        node.unwrap(),
        None,
        &ROOM,
    )
    .unwrap();
    end.write_at(&trees, node.unwrap(), 4096, b"x", &ROOM)
        .unwrap();
    let (etc, _, node) = find(&end, b"/etc/motd");
    end.link(site, b"hard", node.unwrap(), &ROOM).unwrap();
    let (a, b_name, _) = find(&end, b"/site/link");
    end.remove(
        &trees,
        a,
        &b_name,
        find(&end, b"/site/link").2.unwrap(),
        &ROOM,
    )
    .unwrap();
    let made = end.create(etc, b"new", 0o600, &ROOM).unwrap();
    end.truncate(&trees, made, 1 << 30, &ROOM).unwrap();
    end.make_directory(find(&end, b"/data/name").0, b"sub", 0o700, &ROOM)
        .unwrap();
    // A file that came and went is no change.
    let gone = end.create(etc, b"gone", 0o600, &ROOM).unwrap();
    end.remove(&trees, etc, b"gone", gone, &ROOM).unwrap();

    let delta = Difference::new(&start, &end, &mounts, &trees).delta();
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    let told: Vec<String> = delta
        .changes()
        .iter()
        .map(|change| match change {
            Change::Created(path, node) => format!("created {} {:?}", text(path), node.kind),
            Change::Linked(path, node) => format!("linked {} {}", text(path), text(&node.path)),
            Change::Renamed(from, to, _) => format!("renamed {} {}", text(from), text(to)),
            Change::Removed(path, _) => format!("removed {}", text(path)),
            Change::Altered(node) => format!("altered {}", text(&node.path)),
        })
        .collect();
    let want = [
        "removed /site/link",
        "created /etc/new Regular",
        "linked /site/hard /etc/motd",
        "renamed /site/data.db /site/moved.db",
        "created /data/sub Directory",
        "altered /site/data.db",
    ];
    for line in want {
        assert!(told.iter().any(|told| told == line), "{line} in {told:?}");
    }
    assert_eq!(told.len(), want.len(), "{told:?}");
    let database = delta
        .nodes()
        .iter()
        .find(|node| node.path == b"/site/data.db")
        .unwrap();
    let inode = match find(&start, b"/site/data.db").2 {
        Some(Node::Base(0, inode)) => inode,
        other => panic!("{other:?}"),
    };
    let mount = b"/".to_vec();
    assert_eq!(database.origin, Origin::Tree { mount, inode });
    assert!(
        delta.to_bytes().len() < 3 * 4096,
        "one page, and a hole costs nothing"
    );
}
