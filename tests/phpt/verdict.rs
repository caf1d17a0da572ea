//! What becomes of one test under one kind of PHP.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::case::{Broken, Case};
use super::expect::{is_met, trim};
use super::guest::Guest;
use super::native::Native;
use super::plan::{self, Place, Start};

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Its SKIPIF said why.
    Skip(String),
    /// Known by PHP's own developers not to pass.
    Expected,
    /// What it printed instead.
    Fail(String),
    /// It is not a proper test.
    Broken(String),
}

impl Verdict {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Skip(_) => "skip",
            Verdict::Expected => "xfail",
            Verdict::Fail(_) => "fail",
            Verdict::Broken(_) => "broken",
        }
    }
}

/// A kind of PHP under test.
#[derive(Debug)]
pub(super) enum Php {
    Native(Native),
    Guest(Guest),
}

/// Directory and code of a script of SKIPIF.
type SkipKey = (PathBuf, Vec<u8>);

/// PHP with what is known about it.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) php: Php,
    pub(super) root: PathBuf,
    pub(super) program: String,
    pub(super) opcache: bool,
    pub(super) extensions: Vec<String>,
    /// What scripts of SKIPIF have answered, as `run-tests.php` keeps it.
    pub(super) skips: Mutex<HashMap<SkipKey, Vec<u8>>>,
}

impl Runner {
    fn run(&self, start: &Start) -> Vec<u8> {
        match &self.php {
            Php::Native(php) => php.run(start),
            Php::Guest(php) => php.run(start),
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            root: &self.root,
            php: &self.program,
            opcache: self.opcache,
        }
    }

    /// Runs a test; once more when it depends on time and did not pass.
    pub(super) fn judge(&self, case: &Case) -> Verdict {
        let first = self.attempt(case);
        let verdict = match &first {
            Ok(Verdict::Fail(output)) if may_be_retried(case, output) => self.attempt(case),
            _ => first,
        };
        verdict.unwrap_or_else(|Broken(why)| Verdict::Broken(why))
    }

    fn attempt(&self, case: &Case) -> Result<Verdict, Broken> {
        let wanted = case.text("EXTENSIONS").to_lowercase();
        let missing = wanted
            .split_whitespace()
            .find(|name| !self.extensions.iter().any(|known| known == name));
        if let Some(name) = missing {
            return Ok(Verdict::Skip(format!("no extension {name}")));
        }
        if case.has("PHPDBG") {
            return Ok(Verdict::Skip("no phpdbg".to_owned()));
        }
        let mut expected = case.has("XFAIL");
        if case.filled("SKIPIF").is_some() {
            let said = self.skipif(case);
            let lower = said.to_ascii_lowercase();
            if lower.starts_with(b"skip") {
                let said = String::from_utf8_lossy(&said[4..]).trim().to_owned();
                return Ok(Verdict::Skip(said));
            }
            let harmless = [&b"info"[..], b"warn", b"flaky", b"nocache"];
            if lower.starts_with(b"xfail") {
                expected = true;
            } else if !lower.is_empty() && !harmless.iter().any(|word| lower.starts_with(word)) {
                let said = String::from_utf8_lossy(&said);
                return Err(Broken(format!("SKIPIF said {said}")));
            }
        }
        let output = self.run(&plan::main(case, self.place()));
        // In the guest, files of a test vanish with its instance.
        if let (Php::Native(_), Some(_)) = (&self.php, case.filled("CLEAN")) {
            self.run(&plan::clean(case, self.place()));
        }
        let (headers, body) = if case.is_web() {
            split_head(&output)
        } else {
            (&b""[..], output.as_slice())
        };
        if is_met(case, body)? && headers_are_met(case, headers) {
            Ok(Verdict::Pass)
        } else if expected {
            Ok(Verdict::Expected)
        } else {
            Ok(Verdict::Fail(String::from_utf8_lossy(&output).into_owned()))
        }
    }

    fn skipif(&self, case: &Case) -> Vec<u8> {
        let key = (case.dir().to_owned(), case.sections["SKIPIF"].clone());
        let lock = || self.skips.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = lock().get(&key) {
            return said.clone();
        }
        let output = self.run(&plan::skipif(case, self.place()));
        let said = if case.is_web() {
            split_head(&output).1
        } else {
            &output
        };
        let said = trim(said).to_vec();
        if !said.starts_with(b"nocache") {
            lock().insert(key, said.clone());
        }
        said
    }
}

/// The rule of `run-tests.php`.
fn may_be_retried(case: &Case, output: &str) -> bool {
    let says = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let output = output.to_ascii_lowercase();
    let troubles = [
        "address already in use",
        "connection refused",
        "deadlock",
        "timed out",
    ];
    let calls = ["disk_free_space(", "hrtime(", "microtime(", "sleep("];
    case.has("FLAKY")
        || case.text("SKIPIF").contains("SKIP_PERF_SENSITIVE")
        || says(&output, &troubles)
        || says(&case.text("FILE"), &calls)
}

/// Header lines and body of a CGI answer.
fn split_head(output: &[u8]) -> (&[u8], &[u8]) {
    let end = |mark: &[u8]| output.windows(mark.len()).position(|part| part == mark);
    match (end(b"\r\n\r\n"), end(b"\n\n")) {
        (Some(at), other) if other.is_none_or(|other| at < other) => {
            (&output[..at], &output[at + 4..])
        }
        (_, Some(at)) => (&output[..at], &output[at + 2..]),
        _ => (b"", output),
    }
}

fn headers_are_met(case: &Case, head: &[u8]) -> bool {
    let fields = |text: &str| -> HashMap<String, String> {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect()
    };
    let found = fields(&String::from_utf8_lossy(head));
    let is_met = |(name, wanted): (&String, &String)| match found.get(name) {
        // The reason is the server's to give.
        Some(status) if name == "Status" => wanted.split(' ').next() == Some(status),
        found => found == Some(wanted),
    };
    fields(&case.text("EXPECTHEADERS")).iter().all(is_met)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_at_the_first_empty_line() {
        assert_eq!(
            split_head(b"a: 1\r\n\r\nb\n\nc"),
            (&b"a: 1"[..], &b"b\n\nc"[..])
        );
        assert_eq!(
            split_head(b"a: 1\n\nb\r\n\r\nc"),
            (&b"a: 1"[..], &b"b\r\n\r\nc"[..])
        );
        assert_eq!(split_head(b"body"), (&b""[..], &b"body"[..]));
    }
}
