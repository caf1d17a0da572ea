//! The order of the house: which file imports which, and that no circle of imports grows.
//!
//! Read from the sources, so that a circle is seen when it is made: every path that begins with `crate`, `super`, `self`
//! or a child module counts, in a `use` or in the middle of an expression. A re-export stands for the file that it
//! names. Modules for tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders of crates, each with a `src`, and how many files may import each other in it.
const CRATES: [(&str, usize); 4] = [
    ("sandbox", 2),
    ("sandbox/worker", 2),
    ("server", 2),
    ("server/htaccess", 2),
];

/// A module by its path inside its crate; the root has none.
type Module = Vec<String>;

/// What is known of one file.
struct Source {
    file: PathBuf,
    /// Every path in it that may lead to a module, with what stands before its last name.
    paths: Vec<Module>,
    /// Names it re-exports, and what they stand for.
    exports: BTreeMap<String, Module>,
}

/// One piece of a Rust source that this measure looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    PathSeparator,
    Sign(char),
}

/// Splits a source into names and signs; comments, strings and character literals are dropped.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => {
                let end = rest.windows(2).position(|pair| pair == ['*', '/']);
                end.map_or(rest.len(), |end| end + 2)
            }
            ['r', '"' | '#', ..] if !is_raw_name(rest) => raw_string_len(rest),
            ['"', ..] => string_len(rest),
            ['\'', '\\', ..] => 2 + rest[2..].iter().take_while(|c| **c != '\'').count().max(1) + 1,
            ['\'', _, '\'', ..] => 3,
            [':', ':', ..] => {
                tokens.push(Token::PathSeparator);
                2
            }
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let name = rest
                    .iter()
                    .take_while(|c| c.is_alphanumeric() || **c == '_');
                let name: String = name.collect();
                let len = name.chars().count();
                tokens.push(Token::Name(name));
                len
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    tokens.push(Token::Sign(*c));
                }
                1
            }
            [] => 1,
        };
    }
    tokens
}

/// The length of a string literal, with its quotes.
fn string_len(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r#name`, an identifier.
fn is_raw_name(rest: &[char]) -> bool {
    matches!(rest, ['r', '#', c, ..] if c.is_alphabetic() || *c == '_')
}

/// The length of a raw string literal, with its signs.
fn raw_string_len(rest: &[char]) -> usize {
    let signs = rest[1..].iter().take_while(|c| **c == '#').count();
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', signs))
        .collect();
    let start = 2 + signs;
    let len = rest
        .get(start..)
        .unwrap_or_default()
        .windows(end.len())
        .position(|c| c == end);
    len.map_or(rest.len(), |len| start + len + end.len())
}

/// Drops what follows `#[cfg(test)]`: one item, to its semicolon or its closing brace.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let marker: Vec<Token> = self::tokens("#[cfg(test)]");
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&marker) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += marker.len();
        let mut depth = 0_usize;
        while at < tokens.len() {
            match &tokens[at] {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            let ends = matches!(tokens[at], Token::Sign('}' | ';' | ','));
            at += 1;
            if ends && depth == 0 {
                break;
            }
        }
    }
    kept
}

/// Reads the path that begins at `at`, with everything its braces name; answers where it ends.
fn read_path(tokens: &[Token], mut at: usize, mut path: Module, found: &mut Vec<Module>) -> usize {
    loop {
        match tokens.get(at) {
            Some(Token::Name(name)) => path.push(name.clone()),
            Some(Token::Sign('*')) => {
                found.push(path);
                return at + 1;
            }
            Some(Token::Sign('{')) => {
                at += 1;
                while at < tokens.len() && tokens[at] != Token::Sign('}') {
                    at = match &tokens[at] {
                        Token::Sign(',') => at + 1,
                        _ => read_path(tokens, at, path.clone(), found),
                    };
                }
                return at + 1;
            }
            _ => {
                found.push(path);
                return at.max(1);
            }
        }
        at += 1;
        if tokens.get(at) != Some(&Token::PathSeparator) {
            found.push(path);
            // `as` gives it another name.
            let renamed = tokens.get(at) == Some(&Token::Name("as".to_owned()));
            return if renamed { at + 2 } else { at };
        }
        at += 1;
    }
}

/// Turns a path of the source of `module` into one from the crate's root; nothing when it leads to no module of ours.
fn absolute(path: &[String], module: &Module, children: &BTreeSet<String>) -> Option<Module> {
    let (first, mut rest) = path.split_first()?;
    let mut base = module.clone();
    match first.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop()?;
            while let Some(("super", tail)) = rest.split_first().map(|(a, b)| (a.as_str(), b)) {
                base.pop()?;
                rest = tail;
            }
        }
        name if children.contains(name) => base.push(name.to_owned()),
        _ => return None,
    }
    base.extend_from_slice(rest);
    Some(base)
}

impl Source {
    fn read(file: PathBuf, module: &Module) -> Source {
        let text = std::fs::read_to_string(&file).expect("a source of the project");
        Source::parse(file, module, &text)
    }

    fn parse(file: PathBuf, module: &Module, text: &str) -> Source {
        let tokens = without_tests(&tokens(text));
        let name = |at: usize| match tokens.get(at) {
            Some(Token::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        let children: BTreeSet<String> = (0..tokens.len())
            .filter(|at| name(*at) == Some("mod") && tokens.get(at + 2) == Some(&Token::Sign(';')))
            .filter_map(|at| name(at + 1).map(str::to_owned))
            .collect();
        let mut paths = Vec::new();
        let mut exports = BTreeMap::new();
        let mut used = BTreeMap::<&str, usize>::new();
        for at in 0..tokens.len() {
            *used.entry(name(at).unwrap_or_default()).or_default() += 1;
        }
        let mut at = 0;
        while at < tokens.len() {
            let begins = name(at).is_some()
                && tokens.get(at + 1) == Some(&Token::PathSeparator)
                && (at == 0 || tokens[at - 1] != Token::PathSeparator);
            if !begins {
                at += 1;
                continue;
            }
            let is_export = at >= 2
                && name(at - 1) == Some("use")
                && (name(at - 2) == Some("pub") || tokens[at - 2] == Token::Sign(')'));
            let mut found = Vec::new();
            at = read_path(&tokens, at, Vec::new(), &mut found).max(at + 1);
            for path in found
                .iter()
                .filter_map(|path| absolute(path, module, &children))
            {
                let last = path.last().cloned().unwrap_or_default();
                if is_export {
                    exports.insert(last.clone(), path.clone());
                    if used.get(last.as_str()) == Some(&1) {
                        continue;
                    }
                }
                paths.push(path);
            }
        }
        Source {
            file,
            paths,
            exports,
        }
    }
}

/// The sources of a crate below `directory`, by module.
fn sources(directory: &Path, module: &Module, all: &mut BTreeMap<Module, Source>) {
    for entry in std::fs::read_dir(directory).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let inner = |name: &str| {
            let mut inner = module.clone();
            inner.push(name.to_owned());
            inner
        };
        if path.is_dir() {
            if stem != "tests" {
                sources(&path, &inner(&stem), all);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let own = match &*stem {
                "lib" | "main" | "mod" => module.clone(),
                name => inner(name),
            };
            all.insert(own.clone(), Source::read(path, &own));
        }
    }
}

/// The file a path leads to: the longest part of it that is a module, or what that module re-exports.
fn target(path: &[String], all: &BTreeMap<Module, Source>) -> Option<Module> {
    let mut path = path.to_vec();
    // A re-export may stand for another; no chain is longer than the house is deep.
    for _ in 0..8 {
        let len = (0..=path.len())
            .rev()
            .find(|len| all.contains_key(&path[..*len]))?;
        let module = &path[..len];
        let exported = path.get(len).and_then(|name| all[module].exports.get(name));
        match exported {
            Some(other) => path = other.iter().chain(&path[len + 1..]).cloned().collect(),
            None => return Some(module.to_vec()),
        }
    }
    None
}

/// Files that can be reached from each other, as sets.
fn circles(all: &BTreeMap<Module, Source>) -> BTreeSet<Vec<PathBuf>> {
    let edges: BTreeMap<&Module, BTreeSet<Module>> = all
        .iter()
        .map(|(module, source)| {
            let targets = source.paths.iter().filter_map(|path| target(path, all));
            (module, targets.filter(|other| other != module).collect())
        })
        .collect();
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![from.clone()];
        while let Some(module) = ahead.pop() {
            for next in &edges[&module] {
                if seen.insert(next.clone()) {
                    ahead.push(next.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        all.keys().map(|module| (module, reach(module))).collect();
    all.keys()
        .filter(|module| reached[module].contains(*module))
        .map(|module| {
            let mutual = |other: &&Module| reached[other].contains(module);
            let circle = reached[module].iter().filter(mutual);
            circle.map(|other| all[other].file.clone()).collect()
        })
        .collect()
}

#[test]
fn no_circle_of_imports_is_larger_than_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, circle_max) in CRATES {
        let mut all = BTreeMap::new();
        sources(&root.join(name).join("src"), &Vec::new(), &mut all);
        assert!(
            all.len() > 3,
            "{name}: only {} sources were found",
            all.len()
        );
        let edges: usize = all.values().map(|source| source.paths.len()).sum();
        assert!(edges > all.len(), "{name}: only {edges} imports were found");
        for circle in circles(&all) {
            assert!(
                circle.len() <= circle_max,
                "{name}: {} files import each other: {circle:#?}",
                circle.len()
            );
        }
    }
}

/// Sources that ask the host itself: the seam, and those that measure and limit what an instance uses.
const ASK_THE_HOST: [&str; 4] = ["outside", "instance", "watchdog", "sys"];

/// Names of what nothing determines.
const ASKING: [&str; 6] = [
    "linux::random",
    "linux::random_word",
    "Clock::Real",
    "Clock::Monotonic",
    "SystemTime",
    "Instant",
];

#[test]
fn what_is_not_determined_comes_in_through_one_door() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = BTreeMap::new();
    sources(&source, &Vec::new(), &mut all);
    let mut asking = 0;
    for (module, source) in all {
        let text = std::fs::read_to_string(&source.file).expect("a source of the project");
        let tokens = without_tests(&tokens(&text));
        // The CPU time of the thread is measured in the trap that asks for it, and passed on.
        let asks = ASKING.into_iter().any(|name| {
            let name = self::tokens(name);
            tokens.windows(name.len()).any(|window| window == name)
        });
        let may = module
            .first()
            .is_some_and(|first| ASK_THE_HOST.contains(&first.as_str()));
        asking += u32::from(asks);
        assert!(
            may || !asks,
            "{} asks the host itself",
            source.file.display()
        );
    }
    assert!(asking >= 3, "the seam is among them");
}

#[test]
fn circles_are_found_through_every_kind_of_path() {
    let mut all = BTreeMap::new();
    let mut add = |module: &[&str], text: &str| {
        let module: Module = module.iter().map(|&name| name.to_owned()).collect();
        let file = PathBuf::from(module.join("/"));
        let source = Source::parse(file, &module, text);
        all.insert(module, source);
    };
    // `a` -> `b` by braces, `b` -> `c` in an expression, `c` -> `a` through a re-export of the root.
    add(&[], "mod a; mod b; mod c; mod d; pub use a::{A, Other};");
    add(&["a"], "use crate::{b::B, std_like};");
    add(
        &["b"],
        "fn f() { let x = crate::c::f(\"crate::d\"); } // crate::d",
    );
    add(
        &["c"],
        "use crate::A;\n#[cfg(test)] mod tests { use crate::d::D; }",
    );
    // `d` -> `d::e` as a child, `d::e` -> `d` by `super`.
    add(&["d"], "mod e; use std::fmt; fn f() -> e::E { e::E }");
    add(&["d", "e"], "use super::Thing; use crate::b::B as C;");
    let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let wanted = BTreeSet::from([files(&["a", "b", "c"]), files(&["d", "d/e"])]);
    assert_eq!(circles(&all), wanted);
}
