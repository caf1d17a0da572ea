//! A dump as its statements: what mysqldump, mariadb-dump and phpMyAdmin write, cut at its delimiters.
//!
//! Comments are gone; what stands in `/*!40101 … */` is part of the statement, as for MySQL, and what stands in `/*M!… */` is
//! MariaDB's own and is not. A dump is a stranger's: a statement is at most [`STATEMENT_BYTES_MAX`] long.

use std::io::{self, BufRead};

use memchr::{memchr_iter, memchr2};

/// The longest statement: MySQL itself takes no packet above a gigabyte, and 64 MiB unless told otherwise.
pub(crate) const STATEMENT_BYTES_MAX: usize = 128 << 20;

/// Why a dump cannot be read, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct DumpError {
    /// The line on which the statement begins.
    pub(crate) line: u64,
    pub(crate) what: What,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum What {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a statement is longer than {STATEMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the dump ends inside {0}: it is not whole")]
    Cut(&'static str),
    #[error("byte {at} of the statement: {expected} expected")]
    Syntax { at: usize, expected: &'static str },
    #[error("{0}")]
    Rows(String),
}

/// One statement, without its delimiter.
#[derive(Debug, PartialEq)]
pub(crate) struct Statement {
    pub(crate) text: Vec<u8>,
    /// The line it begins on.
    pub(crate) line: u64,
}

/// Where the reader is within a statement.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Plain,
    /// Between quotes of this kind.
    Quoted(u8),
    /// Behind a backslash between them.
    Escaped(u8),
    LineComment,
    /// `/*`, and how much of its beginning has been seen.
    CommentBegins,
    /// The version number of `/*!`.
    Version,
    Comment {
        star: bool,
    },
}

/// The statements of a dump, one after the other.
pub(crate) struct Statements<R> {
    input: R,
    delimiter: Vec<u8>,
    line: u64,
    state: State,
    /// Within `/*! … */`, whose end is not part of the statement.
    versioned: bool,
}

impl<R: BufRead> Statements<R> {
    pub(crate) fn new(input: R) -> Statements<R> {
        Statements {
            input,
            delimiter: b";".to_vec(),
            line: 1,
            state: State::Plain,
            versioned: false,
        }
    }

    /// The next statement that says anything; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Statement>, DumpError> {
        let mut text = Vec::new();
        let mut line = self.line;
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(at(line, error.into())),
            };
            if piece.is_empty() {
                return self.end(text, line);
            }
            let mut used = 0;
            let mut is_whole = false;
            while used < piece.len() && !is_whole {
                let reader = Reader {
                    delimiter: &mut self.delimiter,
                    state: &mut self.state,
                    versioned: &mut self.versioned,
                    line: &mut self.line,
                    text: &mut text,
                };
                let (taken, whole) = reader.step(&piece[used..]);
                used += taken;
                is_whole = whole;
                if text.is_empty() {
                    line = self.line;
                }
            }
            self.input.consume(used);
            if text.len() > STATEMENT_BYTES_MAX {
                return Err(at(line, What::TooLong));
            }
            if is_whole {
                trim(&mut text);
                if !text.is_empty() {
                    return Ok(Some(Statement { text, line }));
                }
                line = self.line;
            }
        }
    }

    fn end(&mut self, mut text: Vec<u8>, line: u64) -> Result<Option<Statement>, DumpError> {
        let cut = match self.state {
            State::Plain | State::LineComment => None,
            State::Quoted(_) | State::Escaped(_) => Some("a string"),
            _ => Some("a comment"),
        };
        if let Some(what) = cut.or(self.versioned.then_some("a comment")) {
            return Err(at(line, What::Cut(what)));
        }
        trim(&mut text);
        // What has no delimiter was not written to its end, a client's own command aside.
        match text.is_empty() || is_delimiter_line(&text).is_some() {
            true => Ok(None),
            false => Err(at(line, What::Cut("a statement"))),
        }
    }
}

pub(crate) fn at(line: u64, what: What) -> DumpError {
    DumpError { line, what }
}

fn trim(text: &mut Vec<u8>) {
    text.truncate(text.trim_ascii_end().len());
    let from = text.len() - text.trim_ascii_start().len();
    text.drain(..from);
}

/// Whether the client's own command begins so; its end is that of the line.
fn begins_delimiter_line(text: &[u8]) -> bool {
    text.split_at_checked(9).is_some_and(|(word, rest)| {
        word.eq_ignore_ascii_case(b"DELIMITER") && rest.first().is_some_and(u8::is_ascii_whitespace)
    })
}

/// The delimiter that a `DELIMITER` line sets.
fn is_delimiter_line(text: &[u8]) -> Option<&[u8]> {
    let new = begins_delimiter_line(text).then(|| text[9..].trim_ascii());
    new.filter(|new| !new.is_empty())
}

/// One step of the reader over what lies in the buffer.
struct Reader<'a> {
    delimiter: &'a mut Vec<u8>,
    state: &'a mut State,
    versioned: &'a mut bool,
    line: &'a mut u64,
    text: &'a mut Vec<u8>,
}

impl Reader<'_> {
    /// How many bytes were taken, and whether a statement has ended.
    fn step(mut self, piece: &[u8]) -> (usize, bool) {
        if let State::Quoted(quote) = *self.state {
            // A backslash is an ordinary character of a name.
            let escape = if quote == b'`' { b'`' } else { b'\\' };
            let len = memchr2(quote, escape, piece).unwrap_or(piece.len());
            if len > 0 {
                self.text.extend_from_slice(&piece[..len]);
                *self.line += memchr_iter(b'\n', &piece[..len]).count() as u64;
                return (len, false);
            }
        }
        let byte = piece[0];
        *self.line += u64::from(byte == b'\n');
        match *self.state {
            State::Plain => return (1, self.plain(byte)),
            State::Quoted(quote) => {
                self.text.push(byte);
                *self.state = match byte == quote {
                    true => State::Plain,
                    false => State::Escaped(quote),
                };
            }
            State::Escaped(quote) => {
                self.text.push(byte);
                *self.state = State::Quoted(quote);
            }
            State::LineComment if byte == b'\n' => {
                self.space();
                *self.state = State::Plain;
            }
            State::LineComment => {}
            State::CommentBegins if byte == b'!' && !*self.versioned => {
                *self.versioned = true;
                *self.state = State::Version;
            }
            State::CommentBegins => *self.state = State::Comment { star: byte == b'*' },
            State::Version if byte.is_ascii_digit() => {}
            State::Version => {
                *self.state = State::Plain;
                return (1, self.plain(byte));
            }
            State::Comment { star: true } if byte == b'/' => {
                self.space();
                *self.state = State::Plain;
            }
            State::Comment { .. } => *self.state = State::Comment { star: byte == b'*' },
        }
        (1, false)
    }

    /// What a comment leaves, but for one between statements.
    fn space(&mut self) {
        if !self.text.is_empty() {
            self.text.push(b' ');
        }
    }

    fn plain(self, byte: u8) -> bool {
        let text = self.text;
        match byte {
            b'\'' | b'"' | b'`' => *self.state = State::Quoted(byte),
            b'#' => {
                *self.state = State::LineComment;
                return false;
            }
            b'*' if text.last() == Some(&b'/') => {
                text.pop();
                *self.state = State::CommentBegins;
                return false;
            }
            b'/' if *self.versioned && text.last() == Some(&b'*') => {
                text.pop();
                text.push(b' ');
                *self.versioned = false;
                return false;
            }
            b' ' | b'\t' | b'\r' | b'\n' if text.ends_with(b"--") => {
                text.truncate(text.len() - 2);
                if byte != b'\n' {
                    *self.state = State::LineComment;
                }
                return false;
            }
            b'\n' => {
                if let Some(new) = is_delimiter_line(text) {
                    *self.delimiter = new.to_vec();
                    text.clear();
                    return false;
                }
            }
            _ => {}
        }
        // Between statements there is nothing to keep.
        if text.is_empty() && byte.is_ascii_whitespace() {
            return false;
        }
        text.push(byte);
        let is_whole = text.ends_with(self.delimiter)
            && *self.state == State::Plain
            && !begins_delimiter_line(text);
        if is_whole {
            text.truncate(text.len() - self.delimiter.len());
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(dump: &str) -> Vec<(u64, String)> {
        // Every size of buffer must give the same.
        let read = |size| {
            let mut statements =
                Statements::new(io::BufReader::with_capacity(size, dump.as_bytes()));
            let mut all = Vec::new();
            while let Some(next) = statements.next().expect(dump) {
                all.push((next.line, String::from_utf8(next.text).unwrap()));
            }
            all
        };
        let whole = read(1 << 16);
        for size in 1..8 {
            assert_eq!(read(size), whole, "{size}");
        }
        whole
    }

    #[track_caller]
    fn gives(dump: &str, statements: &[(u64, &str)]) {
        let all = all(dump);
        let all: Vec<(u64, &str)> = all.iter().map(|(line, text)| (*line, &text[..])).collect();
        assert_eq!(all, statements);
    }

    #[test]
    fn statements_end_outside_of_strings_and_comments() {
        gives(
            "-- a; b\n# c; d\nSELECT 'x;y', \"z;\", `q;`;\n/* e; */ SELECT 2;",
            &[(3, "SELECT 'x;y', \"z;\", `q;`"), (4, "SELECT 2")],
        );
        gives(
            "INSERT INTO t VALUES ('it''s; \\'; \\\\');SELECT 1--1;",
            &[
                (1, "INSERT INTO t VALUES ('it''s; \\'; \\\\')"),
                (1, "SELECT 1--1"),
            ],
        );
        gives(
            "SELECT `a\\`;SELECT 'b\n;\n';\nSELECT 3;",
            &[(1, "SELECT `a\\`"), (1, "SELECT 'b\n;\n'"), (4, "SELECT 3")],
        );
    }

    #[test]
    fn versioned_comments_are_code_and_those_of_mariadb_are_none() {
        gives(
            "/*M!999999\\- enable the sandbox mode */ \n/*!40101 SET NAMES utf8mb4 */;\n/*!50003 CREATE*/ /*!50017 VIEW 'a*/;'*/;",
            &[(2, "SET NAMES utf8mb4"), (3, "CREATE   VIEW 'a*/;'")],
        );
    }

    #[test]
    fn delimiters_are_those_of_the_client() {
        gives(
            "DELIMITER ;;\nCREATE TRIGGER x BEGIN a; b; END ;;\nDELIMITER ;\nSELECT 1;\n",
            &[(2, "CREATE TRIGGER x BEGIN a; b; END"), (4, "SELECT 1")],
        );
    }

    #[test]
    fn what_is_cut_short_is_an_error_with_its_line() {
        for (dump, said) in [
            (
                "SELECT 1;\nSELECT 'a",
                "line 2: the dump ends inside a string: it is not whole",
            ),
            (
                "SELECT 1;\n\nSELECT 2",
                "line 3: the dump ends inside a statement: it is not whole",
            ),
            (
                "/* a",
                "line 1: the dump ends inside a comment: it is not whole",
            ),
            (
                "/*!40000 SET x;",
                "line 1: the dump ends inside a comment: it is not whole",
            ),
        ] {
            let mut statements = Statements::new(dump.as_bytes());
            let error = loop {
                match statements.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{dump}"),
                    Err(error) => break error.to_string(),
                }
            };
            assert_eq!(error, said);
        }
        assert!(all("").is_empty() && all(" ; ;\n-- end").is_empty());
    }
}
