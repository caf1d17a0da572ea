//! What holds for a site, and where it comes from: what holds for every site, what fits what was recognised, and what its
//! own manifest says, each over the ones before it, key by key. Tables are merged; a list or any other value takes the place of
//! the one below it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use toml::{Table, Value};

use super::{MANIFEST_BYTES_MAX, MANIFEST_PATH, Manifest, ManifestError};
use crate::site::apps::{self, Look};

/// What holds for every site.
const BASE: &str = r#"
[site]
at = "/"
root = "/"
htaccess = true
index = ["index.php", "index.html", "index.htm"]
[site.types]
"/.well-known/apple-app-site-association" = "application/json"
"/.well-known/host-meta" = "application/xrd+xml"
"/.well-known/matrix/*" = "application/json"
"/.well-known/nodeinfo" = "application/json"
"/.well-known/oauth-*" = "application/json"
"/.well-known/openid-configuration" = "application/json"
"/.well-known/webfinger" = "application/jrd+json"
[read_only]
writes = "refuse"
[warmup]
snapshot = "after-startup"
"#;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It holds for every site.
    Default,
    /// It fits what the site was recognised as.
    BuiltIn(&'static str),
    /// The site's manifest says so.
    Manifest,
    /// Who packed it said so.
    Packed,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::BuiltIn(name) => write!(f, "built in for {name}"),
            Origin::Manifest => f.write_str(MANIFEST_PATH),
            Origin::Packed => f.write_str("zapp pack"),
        }
    }
}

/// A key, what it is, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The key with its tables: `site.root`.
    pub key: String,
    /// Its value, as TOML writes it.
    pub value: Value,
    /// Where that comes from.
    pub origin: Origin,
}

/// What holds for a site.
#[derive(Debug)]
pub struct Effective {
    /// What the site was recognised as.
    pub recognised: &'static str,
    /// All of it.
    pub manifest: Manifest,
    /// The same for people, by key.
    pub rows: Vec<Row>,
}

/// The text of a site's manifest, if it has one.
pub(super) fn written(site: &dyn Look) -> Result<Option<String>, ManifestError> {
    if !site.names("").iter().any(|name| name == MANIFEST_PATH) {
        return Ok(None);
    }
    let bytes = site.read(MANIFEST_PATH, MANIFEST_BYTES_MAX)?;
    let text = String::from_utf8(bytes.ok_or(ManifestError::NotAFile)?);
    text.map(Some).map_err(|_| ManifestError::NotText)
}

/// What holds for a site with a manifest of this text, or without one.
pub(super) fn of(site: &dyn Look, text: Option<&str>) -> Result<Effective, ManifestError> {
    let own: Table = toml::from_str(text.unwrap_or("schema = 1"))?;
    let root = own.get("site").and_then(|site| site.get("root"));
    let recognised = apps::recognise(site, root.and_then(Value::as_str))?;
    let built_in = Origin::BuiltIn(recognised.name);
    let fixed = |text: &str| toml::from_str(text).expect("the built-in rules are tested");
    let rules = recognised.rules.iter().map(|text| (built_in, fixed(text)));
    let layers: Vec<(Origin, Table)> = std::iter::once((Origin::Default, fixed(BASE)))
        .chain(rules)
        .chain([(Origin::Manifest, own)])
        .chain(site.at().map(|at| (Origin::Packed, packed(at))))
        .collect();
    let mut merged = Table::new();
    let mut rows = BTreeMap::new();
    for (origin, table) in layers {
        leaves(&table, "", &mut |key, value| {
            let (key, value) = (key.to_owned(), value.clone());
            rows.insert(key.clone(), Row { key, value, origin });
        });
        overlay(&mut merged, table);
    }
    let manifest = Manifest::deserialize(merged);
    let mut manifest = manifest.map_err(|why| in_its_line(text, why))?;
    manifest.check()?;
    manifest.application = recognised.application;
    // An empty name takes a built-in one away.
    (manifest.site.front_controller).take_if(|script| script.is_empty());
    let rows = rows.into_values();
    let own_rows = rows.filter(|row| text.is_some() || row.origin != Origin::Manifest);
    Ok(Effective {
        recognised: recognised.name,
        manifest,
        rows: own_rows.collect(),
    })
}

/// What who packed a site has said, in the form of a manifest.
fn packed(at: String) -> Table {
    let section = Table::from_iter([("at".to_owned(), Value::String(at))]);
    Table::from_iter([("site".to_owned(), Value::Table(section))])
}

/// Of what is wrong in a manifest, the account that knows its line.
fn in_its_line(text: Option<&str>, why: toml::de::Error) -> ManifestError {
    let alone = text.map(toml::from_str::<Manifest>);
    match alone {
        Some(Err(with_line)) => with_line.into(),
        _ => why.into(),
    }
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Every value of a table that is no table, with its key.
fn leaves(table: &Table, prefix: &str, each: &mut dyn FnMut(&str, &Value)) {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    for (name, value) in table {
        let name = match !name.is_empty() && name.bytes().all(is_bare) {
            true => name.clone(),
            false => Value::String(name.clone()).to_string(),
        };
        let key = match prefix {
            "" => name,
            _ => format!("{prefix}.{name}"),
        };
        match value {
            Value::Table(table) => leaves(table, &key, each),
            _ => each(&key, value),
        }
    }
}
