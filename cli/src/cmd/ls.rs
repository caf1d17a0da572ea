//! `zapp ls`: names in an image.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use imagefs::{Image, Ino, Kind, Stat};
use serde_json::{Map, Value, json};

use super::{find, open, shown};
use crate::name;
use crate::output::Output;
use crate::status::Status;

/// Lists names in an image
///
/// One name a line; with -R full paths, each directory before what is in it. -l adds type and mode, links, owner, size,
/// storage class, time (UTC) and the target of a symlink.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One line of details for each name
    #[arg(short, long)]
    long: bool,
    /// Descend into directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Image file
    image: PathBuf,
    /// Directory or file in the image
    #[arg(default_value = "/")]
    path: OsString,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let image = open(&args.image)?;
    let start = match find(&image, &args.path, !args.long) {
        Ok(ino) => ino,
        Err(error) => {
            eprintln!("zapp: {}: {error}", shown(&args.path));
            return Ok(Status::Negative);
        }
    };
    let mut list = List {
        image: &image,
        args,
        out: Output::new(),
    };
    let base = trimmed(args.path.as_bytes());
    if image.kind(start) != Kind::Directory {
        list.entry(base, start)?;
    } else if args.recursive {
        list.below(start, base)?;
    } else {
        for entry in image.read_dir(start) {
            list.entry(entry.name, entry.ino)?;
        }
    }
    list.out.flush()?;
    Ok(Status::Done)
}

/// A path argument without slashes at its ends.
fn trimmed(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    let end = path
        .iter()
        .rposition(|&b| b != b'/')
        .map_or(start, |at| at + 1);
    &path[start..end]
}

struct List<'a> {
    image: &'a Image,
    args: &'a Args,
    out: Output,
}

impl List<'_> {
    /// Everything below a directory, with paths that begin with `base`.
    fn below(&mut self, dir: Ino, base: &[u8]) -> anyhow::Result<()> {
        let mut walk = self.image.walk(dir);
        let mut path = base.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        let start = path.len();
        while let Some(entry) = walk.next() {
            path.truncate(start);
            path.extend_from_slice(walk.path());
            self.entry(&path, entry.ino)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], ino: Ino) -> anyhow::Result<()> {
        if self.args.json {
            let value = self.object(path, ino);
            self.out.json(&value)?;
            return Ok(());
        }
        if self.args.long {
            write!(self.out, "{}", details(&self.image.stat(ino)))?;
        }
        self.out.name(path)?;
        if let (true, Some(target)) = (self.args.long, self.image.read_link(ino)) {
            self.out.write_all(b" -> ")?;
            self.out.name(target)?;
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }

    fn object(&self, path: &[u8], ino: Ino) -> Value {
        let stat = self.image.stat(ino);
        let mut object = Map::new();
        name::put(&mut object, "path", path);
        let kind = match stat.kind {
            Kind::Directory => "directory",
            Kind::Regular => "file",
            Kind::Symlink => "symlink",
        };
        object.insert("type".into(), kind.into());
        object.insert("mode".into(), format!("{:04o}", stat.mode).into());
        object.insert("ino".into(), ino.index().into());
        object.insert("nlink".into(), stat.nlink.into());
        object.insert("uid".into(), stat.uid.into());
        object.insert("gid".into(), stat.gid.into());
        object.insert("mtime".into(), stat.mtime.into());
        object.insert("mtime_ns".into(), stat.mtime_ns.into());
        if let Some(hash) = self.image.content_hash(ino) {
            object.insert("size".into(), stat.size.into());
            object.insert("class".into(), stat.class.name().into());
            object.insert("blake3".into(), name::hex(&hash).into());
        }
        if let Some(target) = self.image.read_link(ino) {
            name::put(&mut object, "target", target);
        }
        let xattrs: Vec<Value> = self
            .image
            .xattrs(ino)
            .map(|(key, value)| {
                let mut object = Map::new();
                name::put(&mut object, "name", key);
                name::put(&mut object, "value", value);
                Value::Object(object)
            })
            .collect();
        if !xattrs.is_empty() {
            object.insert("xattrs".into(), json!(xattrs));
        }
        Value::Object(object)
    }
}

/// The columns of `ls -l` before the name.
fn details(stat: &Stat) -> String {
    let owner = format!("{}/{}", stat.uid, stat.gid);
    format!(
        "{} {:>3} {owner:>9} {:>12} {:<10} {} ",
        mode_text(stat),
        stat.nlink,
        stat.size,
        stat.class.name(),
        time_text(stat.mtime)
    )
}

/// Type and permissions as `ls -l` writes them.
fn mode_text(stat: &Stat) -> String {
    let mut text = String::with_capacity(10);
    text.push(match stat.kind {
        Kind::Directory => 'd',
        Kind::Regular => '-',
        Kind::Symlink => 'l',
    });
    for shift in [6, 3, 0] {
        let bits = stat.mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(
            match (bits & 1 != 0, shift == 0 && stat.mode & 0o1000 != 0) {
                (true, false) => 'x',
                (false, false) => '-',
                (true, true) => 't',
                (false, true) => 'T',
            },
        );
    }
    text
}

/// Seconds since 1970 as a UTC date and time.
fn time_text(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        rest / 3600,
        rest / 60 % 60
    )
}

/// The Gregorian date of a day counted from 1970-01-01. Years begin in March here, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_400_YEARS: i64 = 146_097;
    // 0000-03-01 is 719,468 days before 1970-01-01.
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(DAYS_400_YEARS);
    let day_of_era = shifted.rem_euclid(DAYS_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(time_text(0), "1970-01-01 00:00");
        assert_eq!(time_text(315_532_800), "1980-01-01 00:00");
        assert_eq!(time_text(951_782_400), "2000-02-29 00:00");
        assert_eq!(time_text(-1), "1969-12-31 23:59");
        assert_eq!(time_text(4_107_542_399), "2100-02-28 23:59");
        assert_eq!(time_text(4_107_542_400), "2100-03-01 00:00");
        time_text(i64::MIN);
        time_text(i64::MAX);
    }

    #[test]
    fn slashes_at_the_ends_of_a_path_do_not_matter() {
        assert_eq!(trimmed(b"/"), b"");
        assert_eq!(trimmed(b"//a/b/"), b"a/b");
        assert_eq!(trimmed(b""), b"");
    }
}
