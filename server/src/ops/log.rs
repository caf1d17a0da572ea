//! Events and accesses, as lines of text or JSON.
//!
//! Bytes that come from clients or guests are escaped before they are written: no line can be forged, no terminal
//! switched.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use clap::ValueEnum;

/// How important an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// All is well.
    Info,
    /// Somebody may want to look at it.
    Warn,
    /// Somebody should.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Form of event lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    #[expect(
        missing_docs,
        reason = "a description would be printed below each value in the help"
    )]
    Text,
    #[expect(missing_docs, reason = "as above")]
    Json,
}

/// Form of access lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AccessFormat {
    /// As Apache and nginx write it, with the request id and the time taken at the end.
    #[default]
    Combined,
    #[expect(
        missing_docs,
        reason = "the name says it, and a description would be printed in the help"
    )]
    Json,
}

/// What is written down, where and in which form.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Form of event lines, which go to standard error.
    pub format: LogFormat,
    /// Events below this are left out.
    pub level: Level,
    /// Accesses go to this file or, for `-`, to standard output.
    pub access: Option<PathBuf>,
    /// Form of access lines.
    pub access_format: AccessFormat,
}

/// One answered request.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Access {
    #[serde(skip)]
    pub(crate) time: SystemTime,
    pub(crate) remote: String,
    pub(crate) host: String,
    pub(crate) site: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) protocol: &'static str,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) referer: String,
    pub(crate) user_agent: String,
    pub(crate) handler: &'static str,
    pub(crate) request_id: String,
    pub(crate) duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<worker::Cost>,
}

/// Where lines go.
pub(crate) struct Log {
    format: LogFormat,
    level: Level,
    events: Mutex<Box<dyn Write + Send>>,
    access: Option<(AccessFormat, Mutex<Box<dyn Write + Send>>)>,
    /// The access log's file, when it is one.
    path: Option<PathBuf>,
}

impl Log {
    /// Events to standard error, accesses to a file or, for `-`, to standard output.
    pub(crate) fn open(options: &LogOptions) -> anyhow::Result<Log> {
        let access = options.access.as_deref();
        let path = access.filter(|path| *path != Path::new("-"));
        let access: Option<Box<dyn Write + Send>> = match (access, path) {
            (None, _) => None,
            (Some(_), None) => Some(Box::new(std::io::stdout())),
            (Some(_), Some(path)) => Some(Box::new(open(path)?)),
        };
        let access = access.map(|writer| (options.access_format, Mutex::new(writer)));
        Ok(Log {
            format: options.format,
            level: options.level,
            events: Mutex::new(Box::new(std::io::stderr())),
            access,
            path: path.map(Path::to_owned),
        })
    }

    /// Opens the access log's file again, after somebody has moved it away. The old one stays when that fails.
    pub(crate) fn reopen(&self) -> anyhow::Result<()> {
        if let (Some(path), Some((_, writer))) = (&self.path, &self.access) {
            let file = open(path)?;
            *writer.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(file);
        }
        Ok(())
    }

    /// Writes an event about a site, or about the server when the site's name is empty.
    pub(crate) fn event(&self, level: Level, site: &str, message: &str, fields: &[(&str, String)]) {
        if level < self.level {
            return;
        }
        let line = match self.format {
            LogFormat::Text => text_event(level, site, message, fields),
            LogFormat::Json => json_event(level, site, message, fields),
        };
        write_line(&self.events, &line);
    }

    /// Writes an access.
    pub(crate) fn access(&self, access: &Access) {
        let Some((format, writer)) = &self.access else {
            return;
        };
        let line = match format {
            AccessFormat::Combined => combined(access),
            AccessFormat::Json => {
                let mut value = serde_json::to_value(access).unwrap_or_default();
                value["time"] = rfc3339(access.time).into();
                value.to_string()
            }
        };
        write_line(writer, &line);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({:?})", self.format)
    }
}

fn open(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|e| anyhow::anyhow!("access log {}: {e}", path.display()))
}

fn write_line(writer: &Mutex<Box<dyn Write + Send>>, line: &str) {
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    // A log that cannot be written must not stop the server; there is nobody left to tell.
    let _ = writer
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| writer.flush());
}

fn text_event(level: Level, site: &str, message: &str, fields: &[(&str, String)]) -> String {
    let mut line = format!("{} {}", rfc3339(SystemTime::now()), level.name());
    if !site.is_empty() {
        line.push_str(&format!(" [{site}]"));
    }
    line.push_str(&format!(" {}", imagefs::printable(message.as_bytes())));
    for (name, value) in fields {
        line.push_str(&format!(" {name}={}", imagefs::printable(value.as_bytes())));
    }
    line
}

fn json_event(level: Level, site: &str, message: &str, fields: &[(&str, String)]) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".into(), rfc3339(SystemTime::now()).into());
    object.insert("level".into(), level.name().into());
    if !site.is_empty() {
        object.insert("site".into(), site.into());
    }
    object.insert("message".into(), message.into());
    for (name, value) in fields {
        object.insert((*name).into(), value.as_str().into());
    }
    serde_json::Value::Object(object).to_string()
}

/// Apache's combined form, with the host, the request id and the microseconds after it.
fn combined(access: &Access) -> String {
    let quoted = |text: &str| {
        let text = if text.is_empty() { "-" } else { text };
        imagefs::printable(text.as_bytes())
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
    };
    format!(
        "{} - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\" {} {} {}",
        access.remote,
        common_time(access.time),
        quoted(&access.method),
        quoted(&access.target),
        access.protocol,
        access.status,
        access.bytes,
        quoted(&access.referer),
        quoted(&access.user_agent),
        quoted(&access.host),
        access.request_id,
        access.duration_us,
    )
}

/// A moment of UTC in parts: year, month, day, hour, minute, second, millisecond.
fn parts(time: SystemTime) -> (i64, usize, i64, i64, i64, i64, u32) {
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days since 1970, with the year beginning in March so that the leap day comes last.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let month = usize::try_from(month).unwrap_or(1);
    (
        year,
        month,
        day,
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    )
}

fn rfc3339(time: SystemTime) -> String {
    let (year, month, day, hour, minute, second, milli) = parts(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

fn common_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day, hour, minute, second, _) = parts(time);
    format!(
        "{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000",
        MONTHS[month - 1]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_in_utc() {
        let at = |seconds| std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(at(1_795_471_390)), "2026-11-23T22:03:10.000Z");
        assert_eq!(common_time(at(1_795_471_390)), "23/Nov/2026:22:03:10 +0000");
    }

    #[test]
    fn no_line_can_be_forged() {
        let access = Access {
            time: std::time::UNIX_EPOCH,
            remote: "127.0.0.1".into(),
            host: "a".into(),
            site: "s".into(),
            method: "GET".into(),
            target: "/\u{1b}[2J\"\r\nx".into(),
            protocol: "HTTP/1.1",
            status: 200,
            bytes: 5,
            referer: String::new(),
            user_agent: "x\" \"y".into(),
            handler: "static",
            request_id: "id".into(),
            duration_us: 7,
            cost: None,
        };
        let expected = "127.0.0.1 - - [01/Jan/1970:00:00:00 +0000] \"GET /\\\\u{1b}[2J\\\"\\\\r\\\\nx HTTP/1.1\" 200 5 \
                        \"-\" \"x\\\" \\\"y\" a id 7";
        assert_eq!(combined(&access), expected);
        let line = text_event(Level::Info, "s", "a\nb", &[("k", "\u{7}".into())]);
        assert!(line.ends_with(" info [s] a\\nb k=\\u{7}"), "{line}");
    }

    #[test]
    fn json_events_are_json() {
        let fields = [("request_id", "x\"y".to_owned())];
        let line = json_event(Level::Warn, "s", "a\nb\u{1b}", &fields);
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (name, value) in [
            ("level", "warn"),
            ("site", "s"),
            ("message", "a\nb\u{1b}"),
            ("request_id", "x\"y"),
        ] {
            assert_eq!(event[name], value);
        }
    }
}
