//! What the log is told of a guest's answer: its standard error, and that what it meant to keep is gone.

use worker::Answer;

use crate::exchange::visit::Visit;
use crate::ops::log::Level;
use crate::site::language::PHP;
use crate::site::read_only::Writes;

/// Passes on what was said by a guest, and what became of what it wrote.
pub(crate) fn by(answer: &Answer, visit: &Visit<'_>, target: &str) {
    let lines = answer.stderr.split(|&b| b == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        let line = imagefs::printable(line);
        visit.event(Level::Warn, &line, &[("from", "guest".to_owned())]);
    }
    let discarded = answer.cost.discarded_bytes;
    if discarded > 0
        && let Some((requests, bytes)) = visit.hosted.discards.count(discarded)
    {
        let fields = [
            ("requests", requests.to_string()),
            ("bytes", bytes.to_string()),
            ("last", target.to_owned()),
        ];
        let message = "writes were discarded: the site is a read-only image";
        visit.event(level_of_loss(visit), message, &fields);
    }
    if starts_session(answer)
        && let Some((requests, _)) = visit.hosted.sessions.count(0)
    {
        let fields = [
            ("requests", requests.to_string()),
            ("last", target.to_owned()),
        ];
        let message = "a session was started and ends with its request: nothing is kept";
        visit.event(level_of_loss(visit), message, &fields);
    }
}

/// A loss that the manifest asks for is no reason to warn.
fn level_of_loss(visit: &Visit<'_>) -> Level {
    let manifest = &visit.hosted.site.manifest;
    if manifest.database.is_some() || manifest.read_only.writes == Writes::Discard {
        Level::Info
    } else {
        Level::Warn
    }
}

/// Whether an answer sets the cookie of a session.
fn starts_session(answer: &Answer) -> bool {
    let mut headers = answer.headers.iter();
    headers.any(|(name, value)| PHP.begins_session(name, value))
}
