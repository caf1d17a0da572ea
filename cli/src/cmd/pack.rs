//! `zapp pack`: a directory or tar archive becomes an image.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use clap::ValueEnum;
use imagefs::scan::{self, MtimePolicy, OwnerPolicy, ScanOptions};
use imagefs::tree::Tree;
use imagefs::writer::{self, PackOptions, PackReport, Phase, Planned, Progress};
use imagefs::{Class, Error, sqlite, tar};
use serde_json::{Map, Value, json};
use server::Manifest;
use toolchain::guest::Guest;
use toolchain::guest::php::Extensions;

use super::{progress, shown};
use crate::htaccess::{self, Unknown};
use crate::in_tree::InTree;
use crate::name::{self, hex};
use crate::output::Output;
use crate::status::Status;
use crate::{interpreter, interrupt, places, warm};

/// Packs a directory or a tar archive into an image
///
/// The same tree with the same times gives the same bytes, whoever packs it, when and where; a fresh checkout has other times,
/// and --mtime gives it one for all. The image is written under a temporary name,
/// compared with the source byte for byte, and then renamed. Whatever the image has otherwise than the source is said
/// on stderr. An image packed with --warm holds the memory of a program and differs each time. Files are left out only
/// by --exclude and by .zappignore files (syntax of .gitignore).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory to pack
    #[arg(required_unless_present = "tar", conflicts_with = "tar")]
    source: Option<PathBuf>,
    /// Pack a tar archive (plain, gzip or zstd) instead of a directory; - is stdin
    #[arg(long, value_name = "FILE")]
    tar: Option<PathBuf>,
    /// Image to write [default: name of the source with .zapp, in the current directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an image that is there
    #[arg(short, long)]
    force: bool,
    /// Leave out what matches; without a slash at any depth (repeatable)
    #[arg(short = 'x', long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Do not read .zappignore files
    #[arg(long)]
    no_ignore_file: bool,
    /// Leave out devices, sockets and FIFOs instead of refusing them
    #[arg(long)]
    skip_special: bool,
    /// Effort of compression, 1 (fast) to 19 (small)
    #[arg(short = 'z', long, value_name = "N", default_value_t = writer::LEVEL_DEFAULT,
          value_parser = clap::value_parser!(i32).range(i64::from(writer::LEVEL_MIN)..=i64::from(writer::LEVEL_MAX)))]
    level: i32,
    /// Store what matches in this class: raw, packed-raw, zframe, packed, zblocks (repeatable, first match wins)
    #[arg(long = "class", value_name = "GLOB=CLASS", value_parser = class_rule)]
    classes: Vec<(String, Class)>,
    /// Threads [default: one for each core]
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true
    )]
    jobs: usize,
    /// Modification times: keep, or seconds since 1970 for all files [default: keep, but none after SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "TIME", value_parser = mtime)]
    mtime: Option<MtimePolicy>,
    /// Where the site lived: its programs see it there, and the absolute paths that it has noted are right
    #[arg(long, value_name = "PATH", value_parser = at)]
    at: Option<String>,
    /// Owners: keep, or UID:GID for all files
    #[arg(long, value_name = "OWNER", default_value = "0:0", value_parser = owner)]
    owner: OwnerPolicy,
    /// What to do with SQLite databases
    #[arg(long, value_enum, default_value_t = Sqlite::Prepare)]
    sqlite: Sqlite,
    /// Put PHP into the image: auto does when the site has an index.php and no program, and builds PHP when it must
    #[arg(long, value_enum, default_value_t = Php::Auto, value_name = "WHEN")]
    php: Php,
    /// What to do about directives of .htaccess files that are not understood and would have denied something
    #[arg(long, value_enum, default_value_t = Unknown::Refuse, value_name = "WHAT")]
    htaccess: Unknown,
    /// Warm the program up now and put the snapshot into the image, so that a server can start from it
    #[arg(long)]
    warm: bool,
    /// List what would be stored, and how; write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Report as JSON on stdout
    #[arg(long)]
    json: bool,
    /// No progress bar and no summary
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sqlite {
    /// Resolve journals, check, and rewrite for read-only use
    Prepare,
    /// Take the files as they are
    Raw,
    /// As prepare, but a journal with content is an error
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Php {
    Auto,
    Always,
    Never,
}

fn class_rule(text: &str) -> Result<(String, Class), String> {
    let (glob, class) = text.rsplit_once('=').ok_or("expected GLOB=CLASS")?;
    let allowed = [
        Class::Raw,
        Class::PackedRaw,
        Class::Frame,
        Class::Packed,
        Class::Blocks,
    ];
    let class = allowed
        .into_iter()
        .find(|c| c.name() == class)
        .ok_or_else(|| {
            format!(
                "no such class; choose from {}",
                allowed.map(Class::name).join(", ")
            )
        })?;
    Ok((glob.to_owned(), class))
}

fn mtime(text: &str) -> Result<MtimePolicy, String> {
    match text {
        "keep" => Ok(MtimePolicy::Keep),
        seconds => seconds
            .parse()
            .map(MtimePolicy::Fixed)
            .map_err(|_| "expected keep, or a number of seconds since 1970".into()),
    }
}

fn at(text: &str) -> Result<String, String> {
    server::home_misfit(text).map_or(Ok(text.to_owned()), |what| Err(what.to_owned()))
}

fn owner(text: &str) -> Result<OwnerPolicy, String> {
    let numbers = || {
        let (uid, gid) = text.split_once(':')?;
        Some(OwnerPolicy::Fixed(uid.parse().ok()?, gid.parse().ok()?))
    };
    match text {
        "keep" => Ok(OwnerPolicy::Keep),
        _ => numbers().ok_or_else(|| "expected keep, or UID:GID as numbers".into()),
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let stop = interrupt::flag()?;
    let output = output(args)?;
    if !args.dry_run && !args.force && output.symlink_metadata().is_ok() {
        bail!("{}: exists; --force replaces it", shown(output.as_os_str()));
    }
    let mtime = match args.mtime {
        Some(policy) => policy,
        None => source_date_epoch()?,
    };
    if mtime.given() == Some(0) {
        eprintln!("zapp: warning: PHP's opcache does not cache files whose modification time is 0");
    }
    let mut tree = read(args, mtime, &output, &stop)?;
    let site = InTree {
        tree: &tree,
        at: args.at.as_deref(),
    };
    htaccess::check(&site, args.htaccess)?;
    // A manifest that cannot be used is an error where it is needed.
    if let Ok(manifest) = Manifest::of(&site) {
        places::say(&site, &manifest.home())?;
    }
    let needs_php = match args.php {
        Php::Auto => interpreter::is_missing(&site)?,
        Php::Always => true,
        Php::Never => false,
    };
    if needs_php {
        add_php(&mut tree, args.dry_run, &stop)?;
    }
    let options = PackOptions {
        level: args.level,
        classes: args.classes.clone(),
        jobs: args.jobs,
        sqlite: sqlite::Options {
            mode: mode(args.sqlite),
            ..sqlite::Options::default()
        },
        given_mtime: mtime.given(),
        at: args.at.clone(),
        force: args.force,
        tool: concat!("zapp ", env!("CARGO_PKG_VERSION")).into(),
    };
    if args.warm && !args.dry_run {
        say_note(&"warming up");
        warm::add(&mut tree, &options, &stop).context("--warm")?;
    }
    let bar = Bar::new(args.quiet);
    if args.dry_run {
        let planned = writer::plan(tree, &options, &|p| bar.show(p), &stop);
        bar.clear();
        let (files, notes) = planned?;
        notes.iter().for_each(say_note);
        return dry_run(args, &files);
    }
    let packed = writer::pack(tree, &options, &output, &|p| bar.show(p), &stop);
    bar.clear();
    let report = packed.with_context(|| format!("pack {}", shown(output.as_os_str())))?;
    report.notes.iter().for_each(say_note);
    if args.warm {
        warm::check(&output).with_context(|| shown(output.as_os_str()))?;
    }
    if args.json {
        let mut out = Output::new();
        out.json(&document(&output, &report))?;
        out.flush()?;
    } else if !args.quiet {
        summary(&output, &report);
    }
    Ok(Status::Done)
}

/// Puts PHP into the image; who only asks what would be packed waits for no build.
fn add_php(tree: &mut Tree, dry_run: bool, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    toolchain::process::stop_on(stop);
    let php = match dry_run {
        true => Guest::Php.path(&Extensions::full()),
        false => Guest::Php.build(&Extensions::full()).map(Some),
    };
    match php.context("the site needs PHP (--php never packs it without)")? {
        Some(php) => interpreter::add(tree, &php)?,
        None => say_note(&"PHP has not been built yet and is not listed"),
    }
    say_note(&"PHP is put into the image; --php never leaves it out");
    Ok(())
}

fn mode(choice: Sqlite) -> sqlite::Mode {
    match choice {
        Sqlite::Prepare => sqlite::Mode::Prepare,
        Sqlite::Raw => sqlite::Mode::Raw,
        Sqlite::Refuse => sqlite::Mode::Refuse,
    }
}

/// Where the image goes.
fn output(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    let named = match (&args.source, &args.tar) {
        (Some(source), _) => {
            let real = source.canonicalize();
            let real = real.with_context(|| shown(source.as_os_str()))?;
            // A link is called what it was called on the command line; `.` has no name of its own.
            source.file_name().map_or(real, |_| source.clone())
        }
        (None, Some(tar)) if tar.as_os_str() != "-" => tar.clone(),
        _ => bail!("the archive comes from stdin; name the image with -o"),
    };
    let name = named.file_name().unwrap_or(OsStr::new("root")).as_bytes();
    let stem = [&b".tar.zst"[..], b".tar.gz", b".tgz", b".tar"]
        .iter()
        .filter(|_| args.tar.is_some())
        .find_map(|suffix| name.strip_suffix(*suffix))
        .unwrap_or(name);
    let mut image = OsStr::from_bytes(stem).to_owned();
    image.push(".zapp");
    Ok(image.into())
}

/// Times as they are, but none after the one that builds agree on (reproducible-builds.org).
fn source_date_epoch() -> anyhow::Result<MtimePolicy> {
    match std::env::var_os("SOURCE_DATE_EPOCH") {
        None => Ok(MtimePolicy::Keep),
        Some(text) => text
            .to_str()
            .and_then(|text| text.parse().ok())
            .map(MtimePolicy::Clamp)
            .context("SOURCE_DATE_EPOCH is not a number of seconds"),
    }
}

/// Reads names and metadata of the source, and says what is left out.
fn read(args: &Args, mtime: MtimePolicy, output: &Path, stop: &AtomicBool) -> anyhow::Result<Tree> {
    if let Some(source) = &args.source {
        warn_if_inside(source, output);
        let options = ScanOptions {
            excludes: args.exclude.clone(),
            no_ignore_file: args.no_ignore_file,
            mtime,
            owner: args.owner,
            skip_special: args.skip_special,
        };
        let scanned = scan::scan(source, &options)?;
        scanned.notes.iter().for_each(say_note);
        return Ok(scanned.tree);
    }
    let tar = args.tar.as_deref().expect("clap requires one of the two");
    let options = tar::ReadOptions {
        excludes: args.exclude.clone(),
        no_ignore_file: args.no_ignore_file,
        mtime,
        owner: args.owner,
        skip_special: args.skip_special,
        ..tar::ReadOptions::default()
    };
    let input: Box<dyn Read> = if tar == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(tar).with_context(|| shown(tar.as_os_str()))?)
    };
    let archive = tar::read(Stoppable { input, stop }, &options);
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted.into());
    }
    let archive = archive.with_context(|| shown(tar.as_os_str()))?;
    archive.notes.iter().for_each(say_note);
    Ok(archive.tree)
}

/// An image inside the tree it is made of would be packed into the next one.
fn warn_if_inside(source: &Path, output: &Path) {
    let parent = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if let (Ok(source), Ok(parent)) = (source.canonicalize(), parent.canonicalize())
        && parent.starts_with(source)
    {
        eprintln!("zapp: warning: the image lies inside the directory that is packed");
    }
}

/// Ends reading when somebody pressed Ctrl-C.
struct Stoppable<'a> {
    input: Box<dyn Read>,
    stop: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.input.read(buf)
    }
}

fn say_note(note: &impl std::fmt::Display) {
    eprintln!("zapp: {note}");
}

/// The progress bar, which starts again with each phase.
struct Bar {
    bar: progress::Bar,
    phase: Mutex<Option<Phase>>,
}

impl Bar {
    fn new(quiet: bool) -> Bar {
        Bar {
            bar: progress::Bar::new(0, "scanning", quiet),
            phase: Mutex::new(None),
        }
    }

    fn show(&self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let mut phase = self.phase.lock().expect("nothing panics with it");
        if *phase != Some(progress.phase) {
            *phase = Some(progress.phase);
            self.bar.start(match progress.phase {
                Phase::Databases => "databases",
                Phase::Examine => "reading",
                Phase::Write => "packing",
                Phase::Verify => "verifying",
            });
        }
        let mut remark = String::new();
        if progress.phase == Phase::Write && progress.done > 0 {
            let percent = progress.stored.saturating_mul(100) / progress.done;
            remark = format!("ratio {percent} %");
        }
        self.bar.set(progress.done, progress.total, remark);
    }

    fn clear(&self) {
        self.bar.clear();
    }
}

fn dry_run(args: &Args, files: &[Planned]) -> anyhow::Result<Status> {
    let mut out = Output::new();
    for file in files {
        if args.json {
            let mut object = Map::new();
            name::put(&mut object, "path", &file.path);
            object.insert("size".into(), file.size.into());
            object.insert("class".into(), file.class.name().into());
            object.insert("duplicate".into(), file.duplicate.into());
            out.json(&Value::Object(object))?;
        } else {
            let class = if file.duplicate {
                "duplicate"
            } else {
                file.class.name()
            };
            write!(out, "{:>12} {class:<10} ", file.size)?;
            out.name(&file.path)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(Status::Done)
}

fn summary(output: &Path, report: &PackReport) {
    eprintln!(
        "{}: {} files, {} directories, {} symlinks; {} bytes{}",
        shown(output.as_os_str()),
        report.files,
        report.dirs,
        report.symlinks,
        report.image_len,
        super::share(report.image_len, report.total_size)
    );
    eprintln!("image id {}", hex(&report.image_id));
}

fn document(output: &Path, report: &PackReport) -> Value {
    let mut object = Map::new();
    name::put(&mut object, "image", output.as_os_str().as_bytes());
    let more = json!({
        "image_id": hex(&report.image_id),
        "tree_id": hex(&report.tree_id),
        "image_size": report.image_len,
        "files": report.files,
        "directories": report.dirs,
        "symlinks": report.symlinks,
        "plain_size": report.total_size,
        "unique_size": report.unique_size,
        "metadata_size": report.metadata,
        "classes": report.classes.iter().map(|c| json!({
            "class": c.class.name(),
            "contents": c.contents,
            "plain_size": c.plain,
            "stored_size": c.stored,
        })).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let Value::Object(more) = more {
        object.extend(more);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_what_they_expect() {
        assert_eq!(
            class_rule("a=b/*.db=raw").unwrap(),
            ("a=b/*.db".into(), Class::Raw)
        );
        assert!(class_rule("*.db=inline").unwrap_err().contains("zframe"));
        assert!(class_rule("raw").is_err());
        assert_eq!(mtime("keep").unwrap(), MtimePolicy::Keep);
        assert_eq!(mtime("5").unwrap(), MtimePolicy::Fixed(5));
        assert!(mtime("yesterday").is_err());
        assert_eq!(owner("33:34").unwrap(), OwnerPolicy::Fixed(33, 34));
        assert!(owner("www-data").is_err());
    }
}
