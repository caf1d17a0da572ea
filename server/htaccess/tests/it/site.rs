//! A site in memory, and a server of the smallest kind that asks the rules and puts its answer into words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use htaccess::{
    Decision, Existing, Files, Handler, Kind, Outcome, Request, Response, Rules, Site, Stat, Table,
};

use crate::case::{Asked, Case};

/// Where a site lies, unless it lies somewhere for Apache.
pub(crate) const ROOT: &str = "/site";
/// When requests come: 2026-01-02 03:04:05.
pub(crate) const NOW: i64 = 1_767_323_045;
/// When all files were changed: 2025-06-01.
pub(crate) const MODIFIED: i64 = 1_748_736_000;

/// Names of variables that scripts say.
pub(crate) const VARIABLES: [&str; 14] = [
    "A",
    "B",
    "C",
    "HTTP_AUTHORIZATION",
    "REDIRECT_A",
    "REDIRECT_B",
    "REDIRECT_C",
    "REDIRECT_HTTP_AUTHORIZATION",
    "REDIRECT_REDIRECT_A",
    "REDIRECT_REDIRECT_B",
    "REDIRECT_REQUEST_METHOD",
    "REDIRECT_STATUS",
    "REDIRECT_REDIRECT_STATUS",
    "block",
];

/// Headers that are compared.
const HEADERS: [&str; 10] = [
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Expires",
    "Location",
    "Set-Cookie",
    "Vary",
    "WWW-Authenticate",
    "X-",
];

/// Types by extension: the test's own table, for both servers.
pub(crate) const TYPES: [(&str, &str); 9] = [
    ("css", "text/css"),
    ("gif", "image/gif"),
    ("html", "text/html"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("xml", "text/xml"),
];

#[derive(Clone, Debug)]
enum Entry {
    File(Vec<u8>),
    Directory,
    Link(String),
}

/// Files by their path.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    root: String,
    entries: BTreeMap<String, Entry>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            root: ROOT.to_owned(),
            entries: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// The files of a case.
    pub(crate) fn of(case: &Case) -> Memory {
        Memory::at(ROOT, case)
    }

    /// The files of a case in another place.
    pub(crate) fn at(root: &str, case: &Case) -> Memory {
        let mut memory = Memory {
            root: root.to_owned(),
            entries: BTreeMap::new(),
        };
        memory.directory(root);
        for line in &case.files {
            match line.split_once(" -> ") {
                Some((path, target)) => {
                    let path = format!("{root}/{path}");
                    memory.parents(&path);
                    memory.entries.insert(path, Entry::Link(target.to_owned()));
                }
                None if line.ends_with('/') => {
                    memory.directory(&format!("{root}/{}", line.trim_end_matches('/')));
                }
                None => match line.split_once(" = ") {
                    Some((path, text)) => memory.file(path, &text.replace("\\n", "\n")),
                    None => memory.file(line, &format!("file:/{line}\n")),
                },
            }
        }
        for (path, text) in &case.rules {
            memory.file(path, text);
        }
        memory
    }

    fn file(&mut self, path: &str, text: &str) {
        let path = format!("{}/{path}", self.root);
        self.parents(&path);
        self.entries
            .insert(path, Entry::File(text.as_bytes().to_vec()));
    }

    fn parents(&mut self, path: &str) {
        let parent = path.rsplit_once('/').expect("an absolute path").0;
        if !parent.is_empty() {
            self.directory(parent);
        }
    }

    fn directory(&mut self, path: &str) {
        self.parents(path);
        self.entries
            .entry(path.to_owned())
            .or_insert(Entry::Directory);
    }

    /// Follows links. Gives the real path and whether there was a link.
    fn resolve(&self, path: &[u8]) -> Option<(String, bool)> {
        let path = std::str::from_utf8(path).ok()?;
        let mut real = String::new();
        let mut linked = false;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let mut next = format!("{real}/{name}");
            if let Some(Entry::Link(target)) = self.entries.get(&next) {
                linked = true;
                next = match target.starts_with('/') {
                    true => target.clone(),
                    false => format!("{real}/{target}"),
                };
            }
            self.entries.get(&next)?;
            real = next;
        }
        Some((real, linked))
    }

    /// A file's text.
    pub(crate) fn text(&self, path: &[u8]) -> Option<&[u8]> {
        match self.entries.get(&self.resolve(path)?.0)? {
            Entry::File(text) => Some(text),
            _ => None,
        }
    }
}

impl Files for Memory {
    fn stat(&self, path: &[u8]) -> Option<Stat> {
        let (real, linked) = self.resolve(path)?;
        let (kind, size) = match self.entries.get(&real) {
            Some(Entry::File(text)) => (Kind::File, text.len()),
            _ => (Kind::Directory, 0),
        };
        Some(Stat {
            kind,
            size: u64::try_from(size).expect("small"),
            modified: MODIFIED,
            executable: kind == Kind::Directory,
            linked,
        })
    }

    fn is_symlink(&self, path: &[u8]) -> bool {
        let path = String::from_utf8_lossy(path);
        let path = path.trim_end_matches('/');
        matches!(self.entries.get(path), Some(Entry::Link(_)))
    }

    fn real_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        Some(self.resolve(path)?.0.into_bytes())
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        let text = self.text(path)?;
        (text.len() <= max).then(|| text.to_vec())
    }
}

/// The rules of a case.
pub(crate) fn rules(case: &Case, memory: &Memory) -> Rules {
    let inputs: Vec<(String, String)> = case
        .rules
        .iter()
        .map(|(path, text)| {
            let directory = path.trim_end_matches(".htaccess").trim_end_matches('/');
            let directory = format!("{}/{directory}", memory.root);
            let text = text.replace("/site/", &format!("{}/", memory.root));
            (directory.trim_end_matches('/').to_owned(), text)
        })
        .collect();
    let site = Site {
        document_root: memory.root.as_bytes(),
        index: &["index.php".to_owned(), "index.html".to_owned()],
    };
    Rules::read(&site, &inputs, memory).expect("within limits")
}

/// Answers a request, in words.
pub(crate) fn answer(rules: &Rules, memory: &Memory, asked: &Asked) -> Vec<String> {
    let mut headers: Table = asked
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.add(b"Host", asked.host.as_bytes());
    let (path, query) = match asked.target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (asked.target.as_str(), None),
    };
    let path = percent_decoded(path);
    let (host, port) = match asked.host.split_once(':') {
        Some((host, port)) => (host, port.parse().expect("a port")),
        None => (asked.host.as_str(), if asked.https { 443 } else { 80 }),
    };
    let request = Request {
        method: &asked.method,
        target: asked.target.as_bytes(),
        path: &path,
        query,
        protocol: "HTTP/1.1",
        https: asked.https,
        host,
        port,
        headers: &headers,
        remote: asked.remote.parse().expect("an address"),
        remote_port: 1234,
        server: IpAddr::from([127, 0, 0, 1]),
        time: NOW,
    };
    let mut decision = rules.decide(&request, memory);
    let mut sent = 0;
    loop {
        let is_script = is_run(&decision);
        match decision.default_status(is_script) {
            Some(status) if sent == 0 => {
                decision = rules.fail(&request, memory, &decision, status);
                sent = status;
            }
            // The page of the error fails itself.
            Some(status) => {
                decision = rules.fail(&request, memory, &decision, status);
            }
            None => break,
        }
    }
    in_words(&decision, rules, &request, memory)
}

fn percent_decoded(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [
            bytes.next().expect("a digit"),
            bytes.next().expect("a digit"),
        ];
        let digits = std::str::from_utf8(&digits).expect("ASCII");
        out.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
    }
    out
}

fn is_run(decision: &Decision) -> bool {
    let Outcome::Serve(target) = &decision.outcome else {
        return false;
    };
    match target.handler {
        Handler::Php => true,
        Handler::Never => false,
        // As AddHandler does: any of the extensions.
        Handler::ByName => {
            let name = target
                .file
                .rsplit(|&b| b == b'/')
                .next()
                .unwrap_or_default();
            name.split(|&b| b == b'.')
                .skip(1)
                .any(|extension| extension == b"php")
        }
    }
}

fn in_words(
    decision: &Decision,
    rules: &Rules,
    request: &Request<'_>,
    memory: &Memory,
) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut response = Response::default();
    let mut words = String::new();
    match &decision.outcome {
        Outcome::Answer(answer) => {
            response.status = answer.status;
            response.own_page = true;
            if let Some(location) = &answer.location {
                response.headers.add(b"Location", location);
            }
            if let Some(own) = &answer.text {
                write!(words, " says {}", text(own)).expect("a string grows");
            }
            if let Some(exhausted) = &answer.exhausted {
                write!(words, " because {exhausted}").expect("a string grows");
            }
        }
        Outcome::Serve(target) => {
            response.status = target.status;
            let is_run = is_run(decision);
            let file = text(&target.file);
            let shown = file.strip_prefix(memory.root.as_str()).unwrap_or(&file);
            let is_bare = target.exists == Existing::Directory && !shown.ends_with('/');
            let shown = &format!("{shown}{}", if is_bare { "/" } else { "" });
            let is_off = target.handler == Handler::Never && file.ends_with(".php");
            let what = match target.exists {
                Existing::Directory => "list",
                _ if is_run => "run",
                _ if is_off => "off",
                _ => "file",
            };
            // Files say what they are called, so that links show what they lead to.
            let own = memory.text(&target.file).filter(|_| what == "file");
            let own = own.map(|own| text(own.split(|&b| b == b'\n').next().unwrap_or_default()));
            let named = own.as_deref().and_then(|own| own.strip_prefix("file:"));
            write!(words, " {what} {}", named.unwrap_or(shown)).expect("a string grows");
            if is_run {
                words.push_str(&script_words(decision));
            }
            if target.exists == Existing::File {
                response.modified = Some(MODIFIED);
            }
            for (name, value) in content_headers(decision, is_run, target.exists, shown) {
                response.headers.add(name.as_bytes(), value.as_bytes());
            }
        }
    }
    rules
        .finish(request, memory, decision, &mut response)
        .expect("few steps");
    let mut lines = vec![format!("{}{words}", response.status)];
    lines.extend(header_lines(
        response.headers.iter().map(|(n, v)| (text(n), text(v))),
    ));
    lines
}

fn script_words(decision: &Decision) -> String {
    let Outcome::Serve(target) = &decision.outcome else {
        return String::new();
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut words = format!(" uri={}", text(&target.uri));
    if let Some(query) = &target.query {
        words.push_str(&format!(" query={}", text(query)));
    }
    if !target.path_info.is_empty() {
        words.push_str(&format!(" info={}", text(&target.path_info)));
    }
    if let Some((user, _)) = decision.user() {
        words.push_str(&format!(" user={}", text(user)));
    }
    let env = decision.environment();
    for name in VARIABLES {
        if let Some(value) = env.get(name.as_bytes()) {
            words.push_str(&format!(" {name}={}", text(value)));
        }
    }
    words
}

fn content_headers(
    decision: &Decision,
    is_run: bool,
    exists: Existing,
    path: &str,
) -> Vec<(&'static str, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if exists == Existing::Directory {
        return vec![("Content-Type", "text/html;charset=ISO-8859-1".to_owned())];
    }
    let given = decision.media_type();
    let mut headers = Vec::new();
    let by_name = || {
        let name = path.rsplit('/').next().unwrap_or_default();
        let mut found = None;
        for extension in name.split('.').skip(1) {
            let known = TYPES
                .iter()
                .find(|(known, _)| *known == extension.to_lowercase());
            found = known
                .map(|(_, media_type)| (*media_type).to_owned())
                .or(found);
        }
        found
    };
    let media_type = match is_run {
        true => Some("text/html".to_owned()),
        false => given.name.map(text).or_else(by_name),
    };
    if let Some(mut media_type) = media_type {
        if let Some(charset) = given.charset.filter(|_| !is_run) {
            media_type = format!("{media_type}; charset={}", text(charset));
        }
        headers.push(("Content-Type", media_type));
    }
    if let Some(encoding) = given.encoding {
        headers.push(("Content-Encoding", text(encoding)));
    }
    if let Some(language) = given.language {
        headers.push(("Content-Language", text(language)));
    }
    headers
}

/// The headers that are compared, one a line, sorted. The type of the server's own pages is its own matter.
pub(crate) fn header_lines(headers: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .filter(|(name, value)| {
            let is_known = HEADERS.iter().any(|known| match known.ends_with('-') {
                true => name.to_lowercase().starts_with(&known.to_lowercase()),
                false => name.eq_ignore_ascii_case(known),
            });
            is_known && !value.contains("iso-8859-1")
        })
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .collect();
    lines.sort();
    lines
}
