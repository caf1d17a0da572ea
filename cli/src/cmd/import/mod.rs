//! `zapp import wordpress`: a site on MySQL, as a dump and a folder, becomes a site on SQLite.
//!
//! ```text
//!  dump ──┬─ CREATE, ALTER ── the plugin's MySQL driver, in the PHP guest ──▶ empty tables ─┐
//!         └─ INSERT ───────── values, bound to prepared statements ───────────────────────┴─▶ database ─┐
//!  folder ─────────────────── copied, with db.php, the plugin and constants in wp-config.php ─────────────┴─▶ site
//! ```
//! The dump is read twice: tables first, wherever their statements stand. What is neither is skipped, and listed.

mod dump;
mod files;
mod insert;
mod load;
mod schema;
mod serialized;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use self::dump::{Statement, Statements};
use self::load::Filling;
use self::serialized::Replacement;
use crate::args::EXIT_CODES;
use crate::output::Output;
use crate::status::Status;

/// Makes a site on SQLite from one on MySQL
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes a folder to pack from a dump and the files of a WordPress site
    ///
    /// The dump is one of mysqldump, mariadb-dump or phpMyAdmin. Its tables are made by the MySQL driver of the plugin
    /// sqlite-database-integration, which the site needs anyway: the site's own, when it is of version 3, the one named with
    /// --plugin, or the one of an npm package. Then every row is taken; nothing is written at SITE before all is done.
    #[command(after_help = EXIT_CODES)]
    Wordpress(Wordpress),
}

#[derive(Debug, clap::Args)]
struct Wordpress {
    /// The dump, plain or compressed by gzip or zstd
    #[arg(long, value_name = "FILE")]
    dump: PathBuf,
    /// The folder of the site, which stays as it is
    #[arg(long, value_name = "DIR")]
    files: PathBuf,
    /// The address the site will have, in place of the one it has: replaced in all text, also in serialised data
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The folder to make
    #[arg(short, long, value_name = "SITE")]
    output: PathBuf,
    /// The folder of the plugin sqlite-database-integration, version 3
    #[arg(long, value_name = "DIR")]
    plugin: Option<PathBuf>,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let What::Wordpress(args) = &args.what;
    let stop = crate::interrupt::flag()?;
    if args.output.symlink_metadata().is_ok() {
        bail!("{}: exists", args.output.display());
    }
    let parent = match args.output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Beside its place, so that it gets its name in one step; gone when anything fails.
    let folder = tempfile::Builder::new()
        .prefix(".zapp-import-")
        .tempdir_in(parent);
    let folder = folder.with_context(|| parent.display().to_string())?;
    let import = Import {
        args,
        site: folder.path().join("site"),
        work: tempfile::tempdir().context("a folder to work in")?,
        stop,
    };
    let report = import.all()?;
    std::fs::rename(&import.site, &args.output)
        .with_context(|| args.output.display().to_string())?;
    report.print(args)?;
    Ok(match report.is_complete() {
        true => Status::Done,
        false => Status::Negative,
    })
}

/// What was done, for the user.
#[derive(Default)]
struct Report {
    /// Rows in the dump, by table.
    rows: BTreeMap<String, u64>,
    /// Rows in the site.
    found: BTreeMap<String, u64>,
    /// Statements without effect: their line and what is said of them.
    skipped: Vec<(u64, String)>,
    replaced: Option<(String, u64)>,
}

impl Report {
    fn is_complete(&self) -> bool {
        self.found
            .iter()
            .all(|(table, found)| self.rows.get(table).unwrap_or(&0) == found)
    }

    fn print(&self, args: &Wordpress) -> anyhow::Result<()> {
        for (line, what) in &self.skipped {
            eprintln!("zapp: line {line}: skipped: {what}");
        }
        for (table, found) in &self.found {
            let rows = self.rows.get(table).unwrap_or(&0);
            if rows != found {
                eprintln!("zapp: {table}: the dump has {rows} rows, the site {found}");
            }
        }
        if args.json {
            let mut out = Output::new();
            out.json(&self.document(args))?;
            return Ok(std::io::Write::flush(&mut out)?);
        }
        let rows: u64 = self.found.values().sum();
        eprintln!("zapp: {} tables, {rows} rows", self.found.len());
        if let Some((old, count)) = &self.replaced {
            eprintln!("zapp: {old} replaced {count} times");
        }
        Ok(())
    }

    fn document(&self, args: &Wordpress) -> Value {
        let table = |(name, found): (&String, &u64)| {
            let dump = self.rows.get(name).unwrap_or(&0);
            (name.clone(), json!({ "dump": dump, "site": found }))
        };
        let skipped = self.skipped.iter();
        json!({
            "site": args.output.display().to_string(),
            "tables": self.found.iter().map(table).collect::<serde_json::Map<_, _>>(),
            "skipped": skipped.map(|(line, what)| json!({ "line": line, "what": what })).collect::<Vec<_>>(),
            "url": self.replaced.as_ref().map(|(old, count)| json!({ "old": old, "replaced": count })),
        })
    }
}

/// An import under way.
struct Import<'a> {
    args: &'a Wordpress,
    /// The site before it has its name.
    site: PathBuf,
    work: tempfile::TempDir,
    stop: Arc<AtomicBool>,
}

/// What a statement of a dump is for.
enum Purpose {
    /// Makes or changes a table.
    Shape,
    Rows,
    /// Of no consequence where there was nothing before.
    Nothing,
    Unknown,
}

impl Import<'_> {
    fn all(&self) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let plugin = files::plugin(self.args.plugin.as_deref(), &self.args.files)?;
        let shapes = self.shapes(&mut report)?;
        files::copy(&self.args.files, &self.site, &self.stop)?;
        let database = files::dress(&self.site, &plugin)?;
        let failed = schema::make(&plugin, &shapes, self.work.path(), &database)?;
        report.skipped.extend(failed);
        report.skipped.sort();
        let mut filling = Filling::open(&database)?;
        self.each("rows", |statement| {
            if let Purpose::Rows = purpose(&statement.text)
                && !filling.take(&statement)?
            {
                bail!(
                    "line {}: rows for a table that is not there",
                    statement.line
                );
            }
            Ok(())
        })?;
        report.found = filling.counts()?;
        report.rows = std::mem::take(&mut filling.rows);
        if let Some(new) = &self.args.url {
            report.replaced = self.move_to(new, &filling)?;
        }
        filling.close()?;
        Ok(report)
    }

    /// The statements that make tables; what is neither those nor rows goes to the report.
    fn shapes(&self, report: &mut Report) -> anyhow::Result<Vec<Statement>> {
        let mut shapes = Vec::new();
        self.each("tables", |statement| {
            match purpose(&statement.text) {
                Purpose::Shape => shapes.push(statement),
                Purpose::Unknown => {
                    let head = &statement.text[..statement.text.len().min(60)];
                    report
                        .skipped
                        .push((statement.line, crate::name::escaped(head)));
                }
                Purpose::Rows | Purpose::Nothing => {}
            }
            Ok(())
        })?;
        Ok(shapes)
    }

    /// Puts a new address in place of the old one.
    fn move_to(&self, new: &str, filling: &Filling) -> anyhow::Result<Option<(String, u64)>> {
        let new = new.trim_end_matches('/');
        let prefix = files::table_prefix(&self.site)?;
        let old = filling
            .option(&prefix, "home")
            .or_else(|| filling.option(&prefix, "siteurl"));
        let old = old.context("--url: the site has no address of its own")?;
        let old = old.trim_end_matches('/').to_owned();
        if old.is_empty() || old == new {
            return Ok(None);
        }
        let count = filling.replace(&Replacement::new(&old, new))?;
        Ok(Some((old, count)))
    }

    /// Reads the dump from its beginning to its end.
    fn each(
        &self,
        what: &str,
        mut take: impl FnMut(Statement) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = &self.args.dump;
        let shown = || path.display().to_string();
        let file = File::open(path).with_context(shown)?;
        let total = file.metadata().with_context(shown)?.len().max(1);
        let read = Arc::new(AtomicU64::new(0));
        let input = decompressed(Counted(file, Arc::clone(&read))).with_context(shown)?;
        let mut statements = Statements::new(BufReader::with_capacity(1 << 20, input));
        let is_terminal = std::io::stderr().is_terminal();
        let mut percent = u64::MAX;
        while let Some(statement) = statements.next().with_context(shown)? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(imagefs::Error::Interrupted.into());
            }
            let now = read.load(Ordering::Relaxed) * 100 / total;
            if is_terminal && now != percent {
                eprint!("\rzapp: {what}: {now} % of the dump\x1b[K");
                percent = now;
            }
            take(statement).with_context(shown)?;
        }
        if is_terminal {
            eprint!("\r\x1b[K");
        }
        Ok(())
    }
}

fn purpose(text: &[u8]) -> Purpose {
    let head = text[..text.len().min(200)].to_ascii_uppercase();
    let head = String::from_utf8_lossy(&head).into_owned();
    let words: Vec<&str> = head.split_ascii_whitespace().take(3).collect();
    match words[..] {
        ["INSERT" | "REPLACE", ..] => Purpose::Rows,
        ["ALTER", "TABLE", ..] if head.trim_end().ends_with(" KEYS") => Purpose::Nothing,
        ["CREATE" | "ALTER", "TABLE", ..]
        | ["CREATE", "INDEX", ..]
        | ["CREATE", "UNIQUE", "INDEX"] => Purpose::Shape,
        ["CREATE" | "DROP" | "ALTER", "DATABASE" | "SCHEMA", ..]
        | ["DROP", "TABLE" | "VIEW", ..] => Purpose::Nothing,
        [
            "SET" | "LOCK" | "UNLOCK" | "USE" | "START" | "BEGIN" | "COMMIT" | "FLUSH" | "COMMIT;",
            ..,
        ] => Purpose::Nothing,
        _ => Purpose::Unknown,
    }
}

/// A file that tells how far it has been read.
struct Counted(File, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.0.read(buffer)?;
        self.1.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// What is in a file, by its first bytes: gzip, zstd, or the dump itself.
fn decompressed(mut file: Counted) -> std::io::Result<Box<dyn Read>> {
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head)?;
    let is_zstd = head == [0x28, 0xb5, 0x2f, 0xfd];
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    let whole = std::io::Cursor::new(head).chain(file);
    Ok(if is_gzip {
        Box::new(flate2::read::MultiGzDecoder::new(whole))
    } else if is_zstd {
        Box::new(zstd::stream::read::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}
