//! One test of PHP's own suite: the sections of a `.phpt` file, read as `run-tests.php` reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::expect::trim;

/// A test that cannot be run as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

/// Sections by name, and where the test belongs.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Path of the `.phpt` file below the source tree; for a redirected test the path of the redirecting one, `:`, and
    /// its own.
    pub(super) name: String,
    /// The scripts of the test lie here under its own stem.
    dir: PathBuf,
    stem: String,
    pub(super) sections: BTreeMap<String, Vec<u8>>,
}

/// What `run-tests.php` knows; anything else is a mistake in a test.
const KNOWN: &[&str] = &[
    "TEST",
    "EXPECT",
    "EXPECTF",
    "EXPECTREGEX",
    "EXPECTREGEX_EXTERNAL",
    "EXPECT_EXTERNAL",
    "EXPECTF_EXTERNAL",
    "EXPECTHEADERS",
    "POST",
    "POST_RAW",
    "GZIP_POST",
    "DEFLATE_POST",
    "PUT",
    "GET",
    "COOKIE",
    "ARGS",
    "FILE",
    "FILEEOF",
    "FILE_EXTERNAL",
    "REDIRECTTEST",
    "CAPTURE_STDIO",
    "STDIN",
    "CGI",
    "PHPDBG",
    "INI",
    "ENV",
    "EXTENSIONS",
    "SKIPIF",
    "XFAIL",
    "XLEAK",
    "CLEAN",
    "CREDITS",
    "DESCRIPTION",
    "CONFLICTS",
    "WHITESPACE_SENSITIVE",
    "FLAKY",
];

/// Sections that make a test one of a web server's.
const WEB: &[&str] = &[
    "GET",
    "POST",
    "GZIP_POST",
    "DEFLATE_POST",
    "POST_RAW",
    "PUT",
    "COOKIE",
    "EXPECTHEADERS",
];

impl Case {
    /// Reads the test at `name` below `root`.
    pub(super) fn read(root: &Path, name: &str) -> Result<Case, Broken> {
        let path = root.join(name);
        let bytes = std::fs::read(&path).map_err(|e| Broken(e.to_string()))?;
        let dir = Path::new(name).parent().unwrap_or(Path::new(""));
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut case = Case {
            name: name.to_owned(),
            dir: dir.to_owned(),
            stem,
            sections: sections(&bytes)?,
        };
        // A whole folder may be in its own way.
        if root.join(dir).join("CONFLICTS").exists() {
            case.sections.entry("CONFLICTS".to_owned()).or_default();
        }
        if !case.has("REDIRECTTEST") {
            case.complete(&root.join(dir))?;
        }
        Ok(case)
    }

    /// The same test run on behalf of a redirecting one, in its directory and with its environment.
    pub(super) fn redirected(mut self, by: &Case, environment: &str) -> Case {
        self.name = format!("{}:{}", by.name, self.name);
        self.dir.clone_from(&by.dir);
        let env = self.sections.entry("ENV".to_owned()).or_default();
        env.splice(0..0, environment.bytes());
        self
    }

    pub(super) fn has(&self, section: &str) -> bool {
        self.sections.contains_key(section)
    }

    /// The section, unless it is missing or what PHP calls empty.
    pub(super) fn filled(&self, section: &str) -> Option<&[u8]> {
        let bytes = self.sections.get(section)?;
        (!bytes.is_empty() && bytes != b"0").then_some(bytes)
    }

    /// A section as text; sections that are not scripts or output are ASCII.
    pub(super) fn text(&self, section: &str) -> String {
        let bytes = self.sections.get(section);
        String::from_utf8_lossy(bytes.map_or(&[][..], Vec::as_slice)).into_owned()
    }

    /// Whether a web server's PHP has to answer it.
    pub(super) fn is_web(&self) -> bool {
        self.has("CGI") || WEB.iter().any(|section| self.filled(section).is_some())
    }

    /// Directory of the test below the source tree.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its script below the source tree.
    pub(super) fn script(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}{kind}php", self.stem))
    }

    /// Writes the scripts of the test where `run-tests.php` does.
    pub(super) fn write_scripts(&self, root: &Path) -> std::io::Result<()> {
        for (section, kind) in [("FILE", "."), ("SKIPIF", ".skip."), ("CLEAN", ".clean.")] {
            if let Some(code) = self.sections.get(section) {
                let code = if section == "CLEAN" { trim(code) } else { code };
                std::fs::write(root.join(self.script(kind)), code)?;
            }
        }
        Ok(())
    }

    /// Brings sections that are elsewhere into place and checks that the test is whole.
    fn complete(&mut self, dir: &Path) -> Result<(), Broken> {
        if let Some(mut code) = self.sections.remove("FILEEOF") {
            while code.ends_with(b"\n") || code.ends_with(b"\r") {
                code.pop();
            }
            self.sections.insert("FILE".to_owned(), code);
        }
        for section in ["FILE", "EXPECT", "EXPECTF", "EXPECTREGEX"] {
            let external = format!("{section}_EXTERNAL");
            if self.has(&external) {
                let file = dir.join(self.text(&external).replace("..", "").trim());
                let bytes =
                    std::fs::read(&file).map_err(|e| Broken(format!("{}: {e}", file.display())))?;
                self.sections.insert(section.to_owned(), bytes);
            }
        }
        let expectations = ["EXPECT", "EXPECTF", "EXPECTREGEX"];
        if expectations.iter().filter(|name| self.has(name)).count() != 1 {
            return Err(Broken("not exactly one expectation".to_owned()));
        }
        if !self.has("FILE") {
            return Err(Broken("no FILE section".to_owned()));
        }
        Ok(())
    }
}

/// The name in a line that begins a section: `--NAME--` and whatever follows.
fn heading(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(b"--")?;
    let len = rest
        .iter()
        .position(|b| !b.is_ascii_uppercase() && *b != b'_')?;
    (len > 0 && rest[len..].starts_with(b"--"))
        .then(|| std::str::from_utf8(&rest[..len]).expect("capital letters"))
}

fn sections(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Broken> {
    if !bytes.starts_with(b"--TEST--") {
        return Err(Broken("does not start with --TEST--".to_owned()));
    }
    let mut sections = BTreeMap::from([("TEST".to_owned(), Vec::new())]);
    let mut current = "TEST".to_owned();
    let mut done = false;
    for line in bytes.split_inclusive(|b| *b == b'\n').skip(1) {
        if let Some(name) = heading(line) {
            if !KNOWN.contains(&name) {
                return Err(Broken(format!("unknown section {name}")));
            }
            if sections.get(name).is_some_and(|text| !text.is_empty()) {
                return Err(Broken(format!("section {name} is there twice")));
            }
            name.clone_into(&mut current);
            sections.insert(current.clone(), Vec::new());
            done = false;
            continue;
        }
        if !done {
            let text = sections.get_mut(&current).expect("made with its heading");
            text.extend_from_slice(line);
        }
        let is_code = matches!(current.as_str(), "FILE" | "FILEEOF" | "FILE_EXTERNAL");
        if is_code && line.trim_ascii_end() == b"===DONE===" {
            done = true;
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_those_of_run_tests() {
        let read = |text: &str| sections(text.as_bytes());
        let found =
            read("--TEST--\nname\n--FILE--\n<?php --x--;\n--a--\n===DONE===\nnot run\n--EXPECT--\n--\n===DONE===\nend")
                .unwrap();
        let get = |name: &str| std::str::from_utf8(&found[name]).unwrap();
        assert_eq!(get("TEST"), "name\n");
        assert_eq!(get("FILE"), "<?php --x--;\n--a--\n===DONE===\n");
        assert_eq!(get("EXPECT"), "--\n===DONE===\nend");
        for (text, why) in [
            ("TEST", "start"),
            ("--TEST--\n--NONSENSE--\n", "unknown"),
            ("--TEST--\n--FILE--\na\n--FILE--\n", "twice"),
        ] {
            let broken = read(text).unwrap_err();
            assert!(broken.0.contains(why), "{broken:?}");
        }
    }
}
