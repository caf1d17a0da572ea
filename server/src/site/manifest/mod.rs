//! `zapp.toml`, the manifest inside an image: what the site's owner wishes. The operator's flags are ceilings over it.
//!
//! Only keys that do something are known; any other is refused with its line, so that a misspelt deny rule is an error
//! and not a hole.

#![allow(
    clippy::mutable_key_type,
    reason = "a pattern compares by its text; only its compiled form caches, and the derive has no place for a narrower note"
)]

mod check;
pub(crate) mod layers;

use std::collections::BTreeMap;

use imagefs::{Image, Kind};
use serde::Deserialize;

use self::layers::Effective;
use crate::site::apps::{Application, Look};
use crate::site::home::Home;
use crate::site::language::PHP;
use crate::site::pattern::{self, Pattern};
use crate::site::read_only::ReadOnly;
use crate::site::types::Types;
use crate::site::units::{Size, Span};

/// Where the manifest lies in an image.
pub const MANIFEST_PATH: &str = "zapp.toml";

/// Where `zapp pack` puts the interpreter.
pub const PROGRAM_PATH: &str = PHP.program;

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
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteSection {
    /// Where programs see the image.
    pub(crate) at: String,
    /// Directory of the image that `/` of the site means.
    pub(crate) root: String,
    pub(crate) index: Vec<String>,
    pub(crate) hosts: Vec<String>,
    /// Whether `.htaccess` files are obeyed; they are when nothing is said.
    pub(crate) htaccess: Option<bool>,
    /// Script that answers what is not there; none when it is empty.
    pub(crate) front_controller: Option<String>,
    /// The same for parts of the site.
    #[serde(deserialize_with = "pattern::table")]
    pub(crate) front_controllers: BTreeMap<Pattern, String>,
    /// What is not answered: by name when it is there, by path in any case.
    #[serde(deserialize_with = "pattern::list")]
    pub(crate) deny: Vec<Pattern>,
    /// Scripts that may run; every `.php` file when not given.
    #[serde(deserialize_with = "pattern::optional_list")]
    pub(crate) php: Option<Vec<Pattern>>,
    /// Media types over the built-in ones.
    pub(crate) types: Types,
    /// Response headers of files, by pattern.
    #[serde(deserialize_with = "pattern::table")]
    pub(crate) headers: BTreeMap<Pattern, BTreeMap<String, String>>,
    /// Files shown for an error status.
    pub(crate) errors: BTreeMap<String, String>,
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
    /// Whether PHP compiles what the `urls` have not loaded; it does when nothing is said.
    pub(crate) compile: Option<bool>,
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
    /// What holds for an image, key by key, and where it comes from.
    ///
    /// # Errors
    /// When the image has a manifest that cannot be used.
    pub fn explain(image: &Image) -> Result<Effective, ManifestError> {
        layers::of(image, layers::written(image)?.as_deref())
    }

    /// What holds for an image: its manifest, and what fits the site where that says nothing.
    ///
    /// # Errors
    /// When the image has a manifest that cannot be used.
    pub fn of_image(image: &Image) -> Result<Manifest, ManifestError> {
        Manifest::of(image)
    }

    /// The same of a tree that will be an image.
    ///
    /// # Errors
    /// When it has a manifest that cannot be used.
    pub fn of(site: &dyn Look) -> Result<Manifest, ManifestError> {
        Ok(layers::of(site, layers::written(site)?.as_deref())?.manifest)
    }

    /// Reads and checks the text of a manifest, for a site of which nothing else is known.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        Ok(layers::of(&Nothing, Some(text))?.manifest)
    }

    /// `[php]` as lines of php.ini.
    #[must_use]
    pub fn php_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, value) in &self.php {
            ini_lines(name, value, &mut lines);
        }
        lines
    }

    /// Where programs see the image.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::new(&self.site.at)
    }

    /// Where programs see the site's root, without a slash at the end: nothing where that is `/`.
    #[must_use]
    pub fn document_root(&self) -> String {
        self.home().outside(self.site.root.trim_end_matches('/'))
    }

    /// The program that the manifest names, by its path in the image.
    pub fn entry(&self) -> Option<&str> {
        self.program.entry.as_deref()
    }

    /// Paths in the image of the scripts that a visitor meets first, whether or not they exist.
    pub fn scripts(&self) -> impl Iterator<Item = String> {
        let fronts = self.site.front_controllers.values();
        let names = (self.site.index.iter())
            .chain(&self.site.front_controller)
            .chain(fronts);
        names
            .filter(|name| PHP.runs(name.as_bytes()))
            .map(|name| format!("{}/{name}", self.site.root))
    }

    /// The arguments of the program, its name first. Lines of php.ini that the site says elsewhere come before its manifest's.
    pub(crate) fn arguments(&self, entry: &str, php: &[(String, String)]) -> Vec<String> {
        let mut arguments = vec![self.home().outside(entry)];
        match &self.program.args {
            Some(given) => arguments.extend(given.iter().cloned()),
            None => {
                let said = php.iter().map(|(name, value)| format!("{name}={value}"));
                let settings = said.chain(self.php_lines());
                let application = self.application.map(Application::name);
                arguments.extend(PHP.arguments(settings, application, &self.constants));
            }
        }
        arguments
    }
}

/// A site of which nothing is known.
struct Nothing;

impl Look for Nothing {
    fn kind(&self, _path: &str) -> Option<Kind> {
        None
    }

    fn names(&self, _directory: &str) -> Vec<String> {
        Vec::new()
    }

    fn read(&self, _path: &str, _max: u64) -> Result<Option<Vec<u8>>, imagefs::Error> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
