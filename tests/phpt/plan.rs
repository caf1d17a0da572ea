//! What has to be run for a test, the same for both kinds of PHP: arguments, environment, input.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::case::Case;
use super::expect::trim;

/// Settings that `run-tests.php` begins with.
const SETTINGS: &[(&str, &str)] = &[
    ("output_handler", ""),
    ("open_basedir", ""),
    ("disable_functions", ""),
    ("output_buffering", "Off"),
    ("error_reporting", "32767"),
    ("display_errors", "1"),
    ("display_startup_errors", "1"),
    ("log_errors", "0"),
    ("html_errors", "0"),
    ("track_errors", "0"),
    ("report_memleaks", "1"),
    ("report_zend_debug", "0"),
    ("docref_root", ""),
    ("docref_ext", ".html"),
    ("error_prepend_string", ""),
    ("error_append_string", ""),
    ("auto_prepend_file", ""),
    ("auto_append_file", ""),
    ("ignore_repeated_errors", "0"),
    ("precision", "14"),
    ("serialize_precision", "-1"),
    ("memory_limit", "128M"),
    ("opcache.fast_shutdown", "0"),
    ("opcache.file_update_protection", "0"),
    ("opcache.revalidate_freq", "0"),
    ("opcache.preload_user", "root"),
    ("zend.assertions", "1"),
    ("zend.exception_ignore_args", "0"),
    ("zend.exception_string_param_max_len", "15"),
    ("short_open_tag", "0"),
    // What the web face has otherwise than PHP itself.
    ("request_order", ""),
];

/// Which streams a test looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    /// Standard output and standard error as one.
    Both,
    Stdout,
    Stderr,
}

/// One start of PHP.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// Behind the program's name.
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) environment: BTreeMap<String, Vec<u8>>,
    pub(super) stdin: Vec<u8>,
    pub(super) capture: Capture,
    /// Answers the request of the environment instead of being a command.
    pub(super) web: bool,
}

impl Start {
    /// A piece of PHP on the command line.
    pub(super) fn evaluate(code: &str) -> Start {
        Start {
            arguments: [&b"-n"[..], b"-r", code.as_bytes()]
                .map(<[u8]>::to_vec)
                .to_vec(),
            environment: BTreeMap::new(),
            stdin: Vec::new(),
            capture: Capture::Both,
            web: false,
        }
    }
}

/// Where a kind of PHP sees things.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The source tree.
    pub(super) root: &'a Path,
    /// The program.
    pub(super) php: &'a str,
    /// opcache is on where a test does not say otherwise.
    pub(super) opcache: bool,
}

/// The script that says whether a test can be run.
pub(super) fn skipif(case: &Case, place: Place<'_>) -> Start {
    helper(case, place, ".skip.", case.is_web())
}

/// The script that removes what a test has left.
pub(super) fn clean(case: &Case, place: Place<'_>) -> Start {
    helper(case, place, ".clean.", false)
}

fn helper(case: &Case, place: Place<'_>, kind: &str, web: bool) -> Start {
    let mut environment = environment(case, place);
    let script = bytes(&place.root.join(case.script(kind)));
    for name in ["REQUEST_METHOD", "QUERY_STRING", "PATH_TRANSLATED"] {
        environment.remove(name);
    }
    environment.insert("SCRIPT_FILENAME".to_owned(), script.clone());
    let settings: Vec<_> = SETTINGS.iter().map(|(n, v)| format!("{n}={v}")).collect();
    Start {
        arguments: arguments(&settings, web, script),
        environment,
        stdin: Vec::new(),
        capture: Capture::Both,
        web,
    }
}

/// The test itself.
pub(super) fn main(case: &Case, place: Place<'_>) -> Start {
    let mut environment = environment(case, place);
    let script = bytes(&place.root.join(case.script(".")));
    let web = case.is_web();
    let mut set = |name: &str, value: &[u8]| {
        environment.insert(name.to_owned(), value.to_vec());
    };
    set("REDIRECT_STATUS", b"1");
    set("REQUEST_METHOD", b"GET");
    set("PATH_TRANSLATED", &script);
    set("SCRIPT_FILENAME", &script);
    set("QUERY_STRING", trim(case.text("GET").as_bytes()));
    set("HTTP_COOKIE", trim(case.text("COOKIE").as_bytes()));
    // What ENV says has the last word in these.
    for (name, value) in own_environment(case, place) {
        if ["QUERY_STRING", "PATH_TRANSLATED", "SCRIPT_FILENAME"].contains(&name.as_str()) {
            environment.insert(name, value);
        }
    }
    let mut stdin = case.sections.get("STDIN").cloned().unwrap_or_default();
    if let Some(body) = body(case, &mut environment) {
        let len = body.len().to_string().into_bytes();
        let said = environment.entry("CONTENT_LENGTH".to_owned()).or_default();
        if said.is_empty() || case.filled("POST").is_none() {
            *said = len;
        }
        stdin = body;
    }
    let mut arguments = arguments(&settings(case, place), web, script);
    if !web && case.has("ARGS") {
        arguments.push(b"--".to_vec());
        arguments.extend(shell_words(&case.text("ARGS")));
    }
    let captured = case.text("CAPTURE_STDIO").to_ascii_uppercase();
    let capture = match (captured.contains("STDOUT"), captured.contains("STDERR")) {
        (true, false) => Capture::Stdout,
        (false, true) => Capture::Stderr,
        _ => Capture::Both,
    };
    Start {
        arguments,
        environment,
        stdin,
        capture,
        web,
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

fn arguments(settings: &[String], web: bool, script: Vec<u8>) -> Vec<Vec<u8>> {
    // -n: no php.ini of this machine's.
    let first: &[u8] = if web { b"--web" } else { b"-n" };
    let mut arguments = vec![first.to_vec()];
    for setting in settings {
        arguments.push(b"-d".to_vec());
        arguments.push(setting.clone().into_bytes());
    }
    if !web {
        arguments.push(b"-f".to_vec());
        arguments.push(script);
    }
    arguments
}

/// Settings of the test over those that hold for all, each name once.
fn settings(case: &Case, place: Place<'_>) -> Vec<String> {
    let dir = place.root.join(case.dir());
    let own = case
        .text("INI")
        .replace("{PWD}", &dir.to_string_lossy())
        .replace("{TMP}", "/tmp");
    let own = own
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), mail(value.trim())));
    let common = SETTINGS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut all: Vec<(String, String)> = Vec::new();
    if place.opcache {
        all.push(("opcache.enable_cli".to_owned(), "1".to_owned()));
    }
    for (name, value) in common.chain(own) {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => all.push((name, value)),
        }
    }
    all.into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// A value may name a program that keeps mail in a file: `{MAIL:file}`.
fn mail(value: &str) -> String {
    let part = value
        .split_once("{MAIL:")
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match part {
        Some((before, (file, after))) => format!("{before}tee {file} >/dev/null{after}"),
        None => value.to_owned(),
    }
}

fn environment(case: &Case, place: Place<'_>) -> BTreeMap<String, Vec<u8>> {
    let mut environment: BTreeMap<String, Vec<u8>> = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/root"),
        ("TEMP", "/tmp"),
        ("TZ", ""),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("NO_INTERACTION", "1"),
        ("SKIP_SLOW_TESTS", "1"),
        ("SKIP_ONLINE_TESTS", "1"),
        ("TEST_PHP_EXECUTABLE", place.php),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .collect();
    if case.is_web() {
        // As `zapp serve` says: nobody asks this instance again.
        environment.insert("ZAPP_LAST_REQUEST".to_owned(), b"1".to_vec());
    }
    environment.extend(own_environment(case, place));
    environment
}

fn own_environment(case: &Case, place: Place<'_>) -> Vec<(String, Vec<u8>)> {
    let dir = place.root.join(case.dir());
    let text = case
        .text("ENV")
        .replace("{PWD}", &dir.to_string_lossy())
        .replace("{ROOT}", &place.root.to_string_lossy());
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// The body of a request, with the method and type that come with it.
fn body(case: &Case, environment: &mut BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    let form = b"application/x-www-form-urlencoded";
    let mut set = |name: &str, value: &[u8]| {
        environment.insert(name.to_owned(), value.to_vec());
    };
    for (section, method) in [("POST_RAW", "POST"), ("PUT", "PUT")] {
        if let Some(raw) = case.filled(section) {
            let (kind, body) = raw_body(trim(raw));
            if let Some(kind) = kind {
                set("CONTENT_TYPE", &kind);
            }
            set("REQUEST_METHOD", method.as_bytes());
            return Some(body);
        }
    }
    for section in ["POST", "GZIP_POST", "DEFLATE_POST"] {
        let Some(post) = case.filled(section) else {
            continue;
        };
        let post = trim(post);
        set("REQUEST_METHOD", b"POST");
        set("CONTENT_TYPE", form);
        let packed = "compressing into memory cannot fail";
        return Some(match section {
            "GZIP_POST" => {
                set("HTTP_CONTENT_ENCODING", b"gzip");
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(post).expect(packed);
                encoder.finish().expect(packed)
            }
            "DEFLATE_POST" => {
                set("HTTP_CONTENT_ENCODING", b"deflate");
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(post).expect(packed);
                encoder.finish().expect(packed)
            }
            _ => post.to_vec(),
        });
    }
    None
}

/// The first `Content-Type:` line of a raw body is its type; the rest is the body.
fn raw_body(raw: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
    let mut kind = None;
    let mut lines = Vec::new();
    for line in raw.split(|b| *b == b'\n') {
        let is_type = line.len() >= 13 && line[..13].eq_ignore_ascii_case(b"content-type:");
        if kind.is_none() && is_type {
            kind = Some(trim(&line[13..]).to_vec());
        } else {
            lines.push(line);
        }
    }
    (kind, lines.join(&b'\n'))
}

/// Words as a shell would split them: quotes of both kinds, no expansions.
fn shell_words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for byte in trim(text.as_bytes()) {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                word.get_or_insert_default();
            }
            (None, byte) if byte.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_by_a_shell() {
        let words = |text: &str| -> Vec<String> {
            shell_words(text)
                .into_iter()
                .map(|word| String::from_utf8(word).unwrap())
                .collect()
        };
        assert_eq!(words("a --b='c d' \"\" e\n"), ["a", "--b=c d", "", "e"]);
        assert!(words(" \n").is_empty());
    }

    #[test]
    fn a_raw_body_has_its_type_in_front() {
        let (kind, body) = raw_body(b"Content-Type: text/plain\r\na\nContent-Type: b");
        assert_eq!(kind.as_deref(), Some(&b"text/plain"[..]));
        assert_eq!(body, b"a\nContent-Type: b");
    }
}
