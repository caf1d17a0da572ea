//! The tables of a dump, made by the plugin's MySQL driver in the PHP guest: it knows MySQL's grammar, and keeps beside the
//! tables what WordPress asks of MySQL about them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::dump::Statement;
use crate::cmd::php;

/// Statements of all tables together.
const SHAPES_BYTES_MAX: usize = 64 << 20;

/// A statement that the driver refused.
#[derive(Deserialize)]
struct Failed {
    line: u64,
    error: String,
}

/// Makes a database with the tables that these statements make. Returns the statements the driver refused, with their lines;
/// a table that is not made is an error.
pub(super) fn make(
    plugin: &Path,
    shapes: &[Statement],
    work: &Path,
    database: &Path,
) -> anyhow::Result<Vec<(u64, String)>> {
    let bytes: usize = shapes.iter().map(|shape| shape.text.len()).sum();
    ensure!(
        bytes <= SHAPES_BYTES_MAX,
        "the tables of the dump take {bytes} bytes to describe"
    );
    ensure!(!shapes.is_empty(), "the dump makes no table");
    let job = work.join("job");
    fs::create_dir(&job)?;
    let mut file = File::create(job.join("statements"))?;
    for shape in shapes {
        writeln!(file, "{} {}", shape.line, STANDARD.encode(&shape.text))?;
    }
    fs::write(job.join("schema.php"), include_str!("schema.php"))?;
    let out = work.join("out");
    // A process of its own runs the guest: this one handles signals, which a process that runs guests must not.
    let status = Command::new(std::env::current_exe()?)
        .arg("run")
        .args([shown_at(&job, "/job"), shown_at(plugin, "/plugin")].concat())
        .arg(php::built_path()?)
        .arg("/job/schema.php")
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .status()
        .context("PHP")?;
    let mut answer = BufReader::new(File::open(&out)?);
    let mut line = String::new();
    answer.read_line(&mut line).context("what PHP said")?;
    let failed: Option<Vec<Failed>> = serde_json::from_str(&line).ok();
    let Some(failed) = failed.filter(|_| status.success()) else {
        bail!(
            "the MySQL driver failed: {}",
            crate::name::escaped(line.trim().as_bytes())
        );
    };
    io::copy(&mut answer, &mut File::create(database)?)?;
    let is_table = |line: u64| {
        let shape = shapes.iter().find(|shape| shape.line == line);
        shape.is_some_and(|shape| {
            let mut words = shape.text.split(u8::is_ascii_whitespace);
            let is = |word: Option<&[u8]>, what: &[u8]| {
                word.is_some_and(|word| word.eq_ignore_ascii_case(what))
            };
            is(words.next(), b"CREATE") && is(words.next(), b"TABLE")
        })
    };
    if let Some(failed) = failed.iter().find(|failed| is_table(failed.line)) {
        bail!(
            "line {}: the table cannot be made: {}",
            failed.line,
            failed.error
        );
    }
    Ok(failed
        .into_iter()
        .map(|failed| (failed.line, failed.error))
        .collect())
}

/// The options that show a folder to a guest.
fn shown_at(folder: &Path, at: &str) -> [OsString; 2] {
    let mut shown = folder.as_os_str().to_owned();
    shown.push("::");
    shown.push(at);
    ["--dir".into(), shown]
}
