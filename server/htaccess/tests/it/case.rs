//! Cases as text: files, requests, and what answers them.
//!
//! ```text
//! ### name of the case
//! --- .htaccess
//! RewriteEngine On
//! --- sub/.htaccess
//! Deny from all
//! --- files
//! index.php
//! a/b.txt
//! link -> a
//! --- requests
//! GET /x?y=1 host=example.org remote=10.0.0.1 header=Accept:text/html
//!   200 run /index.php query=y=1
//! ```
//!
//! A line that begins with a space is what the request above it is answered with; several are one answer. `--- ours` in
//! place of `--- requests` keeps a case from the comparison with Apache, whose answer differs for a reason that the case's
//! name says.

use std::path::Path;

/// One case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Paths below the document root, and texts.
    pub(crate) rules: Vec<(String, String)>,
    /// Paths below the document root; `a -> b` is a symbolic link; a slash at the end makes a directory.
    pub(crate) files: Vec<String>,
    pub(crate) requests: Vec<Asked>,
    /// Not compared with Apache.
    pub(crate) ours: bool,
}

/// A request, and what answers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) remote: String,
    pub(crate) https: bool,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) expected: Vec<String>,
}

impl Asked {
    pub(crate) fn get(target: &str) -> Asked {
        Asked {
            method: "GET".to_owned(),
            target: target.to_owned(),
            host: "example.org".to_owned(),
            remote: "127.0.0.1".to_owned(),
            ..Asked::default()
        }
    }

    /// Reads a line. `%20` stands for a space in a header's value.
    fn parse(line: &str) -> Asked {
        let mut words = line.split(' ');
        let method = words.next().expect("a method").to_owned();
        let mut asked = Asked::get(words.next().expect("a target"));
        asked.method = method;
        for word in words {
            if let Some(host) = word.strip_prefix("host=") {
                asked.host = host.to_owned();
            } else if let Some(remote) = word.strip_prefix("remote=") {
                asked.remote = remote.to_owned();
            } else if word == "https" {
                asked.https = true;
            } else if let Some(header) = word.strip_prefix("header=") {
                let (name, value) = header.split_once(':').expect("a header and its value");
                asked
                    .headers
                    .push((name.to_owned(), value.replace("%20", " ")));
            } else {
                panic!("unknown word {word} in {line}");
            }
        }
        asked
    }
}

/// All cases of the files in a directory, by file and name.
pub(crate) fn all() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .expect("the cases are there")
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let file = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        cases.extend(parse(&text).into_iter().map(|mut case| {
            case.name = format!("{file}: {}", case.name);
            case
        }));
    }
    cases
}

/// Reads the cases of a text.
pub(crate) fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut block = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            cases.push(Case {
                name: name.to_owned(),
                ..Case::default()
            });
            block.clear();
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        if let Some(name) = line.strip_prefix("--- ") {
            block = name.to_owned();
            case.ours |= name == "ours";
            if name.ends_with(".htaccess") {
                case.rules.push((name.to_owned(), String::new()));
            }
            continue;
        }
        match block.as_str() {
            "" => assert!(line.is_empty(), "text outside of a block: {line}"),
            "files" if line.is_empty() => {}
            "files" => case.files.push(line.to_owned()),
            "requests" | "ours" if line.is_empty() => {}
            "requests" | "ours" => match line.strip_prefix("  ") {
                Some(answer) => {
                    let asked = case
                        .requests
                        .last_mut()
                        .expect("a request above its answer");
                    asked.expected.push(answer.to_owned());
                }
                None => case.requests.push(Asked::parse(line)),
            },
            _ => {
                let (_, rules) = case.rules.last_mut().expect("a file was begun");
                rules.push_str(line);
                rules.push('\n');
            }
        }
    }
    cases
}
