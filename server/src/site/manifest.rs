//! `zapp.toml`, the manifest inside an image: what the site's owner wishes. The operator's flags are ceilings over it.
//!
//! Only keys that do something are known; any other is refused with its line, so that a misspelt deny rule is an error
//! and not a hole.

#![allow(
    clippy::mutable_key_type,
    reason = "a pattern compares by its text; only its compiled form caches, and the derive has no place for a narrower note"
)]

use std::collections::BTreeMap;

use imagefs::{Image, Kind};
use serde::Deserialize;

use crate::site::application::Application;
use crate::site::pattern::{self, Pattern};
use crate::site::read_only::ReadOnly;
use crate::site::units::{Size, Span};

/// Where the manifest lies in an image.
pub const MANIFEST_PATH: &str = "zapp.toml";

/// Where `zapp pack` puts the interpreter. The directory is hidden, so no request reaches it.
pub const PROGRAM_PATH: &str = "/.zapp/php";

/// The largest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What a manifest says, with the defaults filled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[expect(
        dead_code,
        reason = "checked while it is read; there is only one version"
    )]
    schema: Schema,
    #[expect(dead_code, reason = "for people who look into the image")]
    #[serde(default)]
    image: About,
    #[serde(default)]
    pub(crate) program: Program,
    /// Lines of php.ini.
    #[serde(default)]
    pub(crate) php: BTreeMap<String, IniValue>,
    /// PHP constants, defined where the site has not defined them itself.
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, Constant>,
    #[serde(default)]
    pub(crate) site: SiteSection,
    #[serde(default)]
    pub(crate) read_only: ReadOnly,
    #[serde(default)]
    pub(crate) limits: Wishes,
    #[serde(default)]
    pub(crate) database: Option<Database>,
    #[serde(default)]
    pub(crate) warmup: Warmup,
    /// What lies in the image, when it is something known.
    #[serde(skip)]
    pub(crate) application: Option<Application>,
}

/// The only version of the form there is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
struct Schema;

impl TryFrom<u64> for Schema {
    type Error = String;
    fn try_from(version: u64) -> Result<Schema, String> {
        match version {
            1 => Ok(Schema),
            _ => Err(format!("schema {version} is not known, only 1 is")),
        }
    }
}

/// `[image]`: for people, not used while serving.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct About {
    name: Option<String>,
    version: Option<String>,
    labels: BTreeMap<String, String>,
}

/// `[program]`: what answers requests that are not for a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Program {
    /// Path of a guest program in the image.
    pub(crate) entry: Option<String>,
    /// Its arguments; `--web` and the `[php]` table when not given.
    pub(crate) args: Option<Vec<String>>,
    pub(crate) env: BTreeMap<String, String>,
}

/// A value of `[php]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum IniValue {
    Bool(bool),
    Number(i64),
    Text(String),
    /// `opcache.enable = true` is a table to TOML.
    Group(BTreeMap<String, IniValue>),
}

/// The lines of php.ini below a name.
fn ini_lines(name: &str, value: &IniValue, lines: &mut Vec<String>) {
    match value {
        IniValue::Bool(on) => lines.push(format!("{name}={}", u8::from(*on))),
        IniValue::Number(number) => lines.push(format!("{name}={number}")),
        IniValue::Text(text) => lines.push(format!("{name}={text}")),
        IniValue::Group(group) => {
            for (rest, value) in group {
                ini_lines(&format!("{name}.{rest}"), value, lines);
            }
        }
    }
}

/// A value of `[constants]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Constant {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Constant {
    /// As the PHP guest reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Constant::Bool(on) => write!(f, "bool:{}", u8::from(*on)),
            Constant::Number(number) => write!(f, "int:{number}"),
            Constant::Text(text) => write!(f, "text:{text}"),
        }
    }
}

/// `[site]`: which request is for what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteSection {
    /// Directory of the image that `/` of the site means.
    pub(crate) root: String,
    pub(crate) index: Vec<String>,
    pub(crate) hosts: Vec<String>,
    /// Script that answers what is not there.
    pub(crate) front_controller: Option<String>,
    #[serde(deserialize_with = "pattern::list")]
    pub(crate) deny: Vec<Pattern>,
    /// Scripts that may run; every `.php` file when not given.
    #[serde(deserialize_with = "pattern::optional_list")]
    pub(crate) php: Option<Vec<Pattern>>,
    /// Media types by extension, over the built-in ones.
    pub(crate) types: BTreeMap<String, String>,
    /// Response headers of files, by pattern.
    #[serde(deserialize_with = "pattern::table")]
    pub(crate) headers: BTreeMap<Pattern, BTreeMap<String, String>>,
    /// Files shown for an error status.
    pub(crate) errors: BTreeMap<String, String>,
}

impl Default for SiteSection {
    fn default() -> SiteSection {
        SiteSection {
            root: "/".to_owned(),
            index: vec!["index.php".to_owned(), "index.html".to_owned()],
            hosts: Vec::new(),
            front_controller: None,
            deny: Vec::new(),
            php: None,
            types: BTreeMap::new(),
            headers: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }
}

/// `[limits]`: the image's wish.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wishes {
    pub(crate) wall: Option<Span>,
    pub(crate) cpu: Option<Span>,
    pub(crate) memory: Option<Size>,
    pub(crate) output: Option<Size>,
    pub(crate) body: Option<Size>,
    pub(crate) tmp: Option<Size>,
    pub(crate) files: Option<u32>,
}

/// `[database]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Path in the image.
    pub(crate) sqlite: String,
    #[expect(
        dead_code,
        reason = "there is only one mode, and the runtime treats every file so"
    )]
    #[serde(default)]
    mode: DatabaseMode,
}

/// What happens to writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DatabaseMode {
    /// They go to a private copy and vanish with the request.
    #[default]
    Cow,
}

/// `[warmup]`: requests answered before the snapshot is taken.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Warmup {
    pub(crate) urls: Vec<String>,
    pub(crate) snapshot: SnapshotLevel,
}

/// How far the program has come in the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotLevel {
    /// The interpreter runs and its caches are full; no request has begun.
    #[default]
    AfterStartup,
    /// Beside that, the site's own bootstrap has run, for those requests that may go on from there.
    AfterBootstrap,
    /// Every instance starts at the program's entry.
    None,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The image does not give it out.
    #[error("zapp.toml: {0}")]
    Read(#[from] imagefs::Error),
    /// It is a directory, a symlink, or far too large.
    #[error("zapp.toml is no regular file of at most 1 MiB")]
    NotAFile,
    /// It is something else than text.
    #[error("zapp.toml is not UTF-8")]
    NotText,
    /// It is no TOML, or has keys or types that are not known.
    #[error("zapp.toml: {0}")]
    Form(#[from] toml::de::Error),
    /// A value that cannot be.
    #[error("zapp.toml: {key}: {what}")]
    Value {
        /// Of which key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl Manifest {
    /// The manifest of an image, or one that fits what lies in it. What a known application needs is filled in.
    ///
    /// # Errors
    /// When the image has a manifest that cannot be used.
    pub fn of_image(image: &Image) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::written(image)?;
        manifest.application = Application::of(image, &manifest.site.root);
        if let Some(application) = manifest.application {
            application.fill_in(&mut manifest);
        }
        Ok(manifest)
    }

    fn written(image: &Image) -> Result<Manifest, ManifestError> {
        let Some(ino) = image.lookup(MANIFEST_PATH.as_bytes()) else {
            return Ok(Manifest::detect(image));
        };
        let stat = image.stat(ino);
        if stat.kind != Kind::Regular || stat.size > MANIFEST_BYTES_MAX {
            return Err(ManifestError::NotAFile);
        }
        let bytes = image.bytes(ino)?;
        Manifest::parse(std::str::from_utf8(&bytes).map_err(|_| ManifestError::NotText)?)
    }

    /// Reads and checks the text of a manifest.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let bad = |key, what: &str| ManifestError::Value {
            key,
            what: what.to_owned(),
        };
        if !self.site.root.starts_with('/') {
            return Err(bad("site.root", "must begin with a slash"));
        }
        if self
            .site
            .front_controller
            .as_ref()
            .is_some_and(|p| !p.starts_with('/'))
        {
            return Err(bad("site.front_controller", "must begin with a slash"));
        }
        if self
            .site
            .index
            .iter()
            .any(|name| name.is_empty() || name.contains('/'))
        {
            return Err(bad("site.index", "holds names, not paths"));
        }
        for host in &self.site.hosts {
            crate::site::path::Host::parse(host)
                .map_err(|_| bad("site.hosts", &format!("`{host}` is no host name")))?;
        }
        for (name, value) in self.site.headers.values().flatten() {
            let name_ok = hyper::header::HeaderName::from_bytes(name.as_bytes());
            if name_ok.is_err() || hyper::header::HeaderValue::from_str(value).is_err() {
                return Err(bad(
                    "site.headers",
                    &format!("`{name}: {value}` is no header"),
                ));
            }
        }
        for (extension, kind) in &self.site.types {
            let media = hyper::header::HeaderValue::from_str(kind).is_ok() && kind.contains('/');
            if !media || crate::site::types::is_never_static(extension.as_bytes()) {
                return Err(bad(
                    "site.types",
                    &format!("`{extension} = {kind}` is not allowed"),
                ));
            }
        }
        if self
            .site
            .errors
            .keys()
            .any(|s| s.parse::<u16>().is_ok_and(|s| !(400..600).contains(&s)))
        {
            return Err(bad("site.errors", "holds status codes from 400 to 599"));
        }
        let is_name = |name: &String| {
            let mut bytes = name.bytes();
            bytes
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let is_plain = |value: &Constant| match value {
            Constant::Text(text) => !text.contains(['"', '\\', '$', '\n', '\r', '\0']),
            _ => true,
        };
        if let Some((name, _)) = self
            .constants
            .iter()
            .find(|(name, value)| !is_name(name) || !is_plain(value))
        {
            let what =
                format!("`{name}` is no name, or its text holds one of \" \\ $ or a line break");
            return Err(bad("constants", &what));
        }
        if self
            .read_only
            .page
            .as_ref()
            .is_some_and(|p| !p.starts_with('/'))
        {
            return Err(bad("read_only.page", "must begin with a slash"));
        }
        if self.warmup.urls.iter().any(|url| !url.starts_with('/')) {
            return Err(bad("warmup.urls", "must begin with a slash"));
        }
        let is_bad_name = |name: &String| name.contains('=');
        if self.php.keys().any(is_bad_name) || self.php_lines().iter().any(|l| l.contains('\n')) {
            return Err(bad("php", "a line of php.ini cannot hold a line break"));
        }
        Ok(())
    }

    /// What is served when nobody wrote a manifest: WordPress, a PHP site with a front controller, or plain files.
    pub(crate) fn detect(image: &Image) -> Manifest {
        let has = |path: &str| image.lookup(path.as_bytes()).is_some();
        let text = if Application::of(image, "/").is_some() {
            WORDPRESS
        } else if has("index.php") {
            PHP
        } else {
            FILES
        };
        Manifest::parse(text).expect("the built-in manifests are tested")
    }

    /// `[php]` as lines of php.ini.
    fn php_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, value) in &self.php {
            ini_lines(name, value, &mut lines);
        }
        lines
    }

    /// The program that the manifest names, by its path in the image.
    pub fn entry(&self) -> Option<&str> {
        self.program.entry.as_deref()
    }

    /// Paths in the image of the scripts that a visitor meets first, whether or not they exist.
    pub fn scripts(&self) -> impl Iterator<Item = String> {
        let names = self.site.index.iter().chain(&self.site.front_controller);
        names
            .filter(|name| name.ends_with(".php"))
            .map(|name| format!("{}/{name}", self.site.root))
    }

    /// The arguments of the program, its name first.
    pub(crate) fn arguments(&self, entry: &str) -> Vec<String> {
        let mut arguments = vec![entry.to_owned()];
        match &self.program.args {
            Some(given) => arguments.extend(given.iter().cloned()),
            None => {
                arguments.push("--web".to_owned());
                let mut set = |line: String| arguments.extend(["-d".to_owned(), line]);
                self.php_lines().into_iter().for_each(&mut set);
                if let Some(application) = self.application {
                    set(format!("zapp.site={}", application.name()));
                }
                for (name, value) in &self.constants {
                    set(format!("zapp.constant.{name}={value}"));
                }
            }
        }
        arguments
    }
}

/// Stock WordPress: its front controller, and the scripts beside it. What is no page of the site is not run.
const WORDPRESS: &str = r#"
schema = 1
[site]
front_controller = "/index.php"
deny = ["/wp-config.php", "/wp-config-sample.php", "/wp-content/database/**", "/wp-content/uploads/**/*.php",
        "/wp-content/debug.log", "*.sqlite"]
php = ["/index.php", "/wp-*.php", "/xmlrpc.php", "/wp-admin/**/*.php", "/wp-includes/js/tinymce/*.php"]
[site.headers]
"/wp-content/**" = { cache-control = "public, max-age=86400" }
"/wp-includes/**" = { cache-control = "public, max-age=86400" }
[warmup]
urls = ["/", "/?p=1", "/feed/"]
"#;

/// PHP with an `index.php`.
const PHP: &str = r#"
schema = 1
[site]
front_controller = "/index.php"
deny = ["/vendor/**", "*.sqlite", "*.db", "*.sql", "*.log", "/composer.*"]
[warmup]
urls = ["/"]
"#;

/// Only files.
const FILES: &str = r#"
schema = 1
[site]
index = ["index.html", "index.htm"]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_manifests_are_good() {
        for text in [WORDPRESS, PHP, FILES] {
            Manifest::parse(text).unwrap();
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let error = Manifest::parse("schema = 1\n[site]\nroot = \"/\"\ndenny = []\n").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 4") && text.contains("denny"), "{text}");
        for text in [
            "schema = 1\nextra = 1",
            "schema = 2",
            "",
            "schema = 1\n[limits]\nwall = \"1d\"",
        ] {
            assert!(Manifest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for line in [
            "site.root = \"site\"",
            "site.front_controller = \"index.php\"",
            "site.index = [\"a/b\"]",
            "site.hosts = [\"a b\"]",
            "site.headers.\"/**\".x = \"a\\nb\"",
            "site.types.php = \"text/plain\"",
            "site.errors.200 = \"/x\"",
            "warmup.urls = [\"x\"]",
            "constants.\"a b\" = 1",
            "constants.a = \"${x}\"",
            "constants.a = 1.5",
            "read_only.page = \"x\"",
            "read_only.screens = [\"a/b\"]",
            "read_only.writes = \"keep\"",
            "site.deny = [\"a/b\"]",
        ] {
            let text = format!("schema = 1\n{line}\n");
            assert!(Manifest::parse(&text).is_err(), "{line}");
        }
    }

    #[test]
    fn php_settings_become_options() {
        let text = "schema = 1\n[php]\nmemory_limit = \"64M\"\ndisplay_errors = false\nsession.gc_divisor = 5\n";
        let manifest = Manifest::parse(text).unwrap();
        let expected = [
            "php",
            "--web",
            "-d",
            "display_errors=0",
            "-d",
            "memory_limit=64M",
            "-d",
            "session.gc_divisor=5",
        ];
        assert_eq!(manifest.arguments("php"), expected);
    }

    #[test]
    fn constants_become_options() {
        let text = "schema = 1\n[constants]\nA = true\nB = -3\nC = \"x y\"\n";
        let manifest = Manifest::parse(text).unwrap();
        let options: Vec<String> = manifest.arguments("php").split_off(2);
        let lines: Vec<&str> = options
            .iter()
            .map(String::as_str)
            .filter(|o| *o != "-d")
            .collect();
        let expected = [
            "zapp.constant.A=bool:1",
            "zapp.constant.B=int:-3",
            "zapp.constant.C=text:x y",
        ];
        assert_eq!(lines, expected);
    }

    /// Case limits-04-manifest-bomb: 8 KB of an image became 3 GB and 26 seconds.
    #[test]
    fn lists_of_patterns_are_bounded() {
        let list = |key: &str, count: usize| {
            let patterns = (0..count)
                .map(|n| format!("\"/a{n}/**\""))
                .collect::<Vec<_>>();
            Manifest::parse(&format!("schema = 1\n{key} = [{}]", patterns.join(", ")))
        };
        for key in [
            "site.deny",
            "site.php",
            "read_only.screens",
            "read_only.forms",
            "read_only.except",
        ] {
            list(key, 256).unwrap();
            let refused = list(key, 257).unwrap_err().to_string();
            assert!(
                refused.contains("more than 256 patterns"),
                "{key}: {refused}"
            );
        }
        let table = |count: usize| {
            let rows = (0..count).map(|n| format!("\"/a{n}\" = {{}}\n"));
            Manifest::parse(&format!(
                "schema = 1\n[site.headers]\n{}",
                rows.collect::<String>()
            ))
        };
        table(256).unwrap();
        let refused = table(257).unwrap_err().to_string();
        assert!(refused.contains("more than 256 patterns"), "{refused}");
    }
}
