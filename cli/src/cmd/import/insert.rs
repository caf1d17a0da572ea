//! The rows of an INSERT as values. Only literals are values; whatever else stands in a row is an error, because a row that
//! is left out or guessed is worse.

use super::dump::What;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    /// A number that is no 64-bit integer, as it was written.
    Number(String),
    /// A string: its bytes, whatever its character set.
    Text(Vec<u8>),
    /// A string of bytes: `0x…`, `x'…'`, `_binary '…'`.
    Bytes(Vec<u8>),
}

/// An INSERT or REPLACE up to its rows, which are read one by one.
#[derive(Debug)]
pub(crate) struct Insert<'a> {
    pub(crate) table: String,
    /// When the statement names them.
    pub(crate) columns: Option<Vec<String>>,
    /// `REPLACE`: a row with the same key makes way.
    pub(crate) replaces: bool,
    /// `IGNORE`: a row whose key is there is left out.
    pub(crate) ignores: bool,
    rest: Parser<'a>,
    is_first: bool,
}

impl<'a> Insert<'a> {
    /// `None` when the statement is no INSERT with rows.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Option<Insert<'a>>, What> {
        let mut rest = Parser { text, at: 0 };
        let replaces = rest.word(b"REPLACE");
        if !replaces && !rest.word(b"INSERT") {
            return Ok(None);
        }
        let mut ignores = false;
        for modifier in [
            &b"LOW_PRIORITY"[..],
            b"HIGH_PRIORITY",
            b"DELAYED",
            b"IGNORE",
        ] {
            ignores |= rest.word(modifier) && modifier == b"IGNORE";
        }
        rest.word(b"INTO");
        let mut table = rest.name()?;
        if rest.byte(b'.') {
            table = rest.name()?;
        }
        let columns = match rest.peek() {
            Some(b'(') => Some(rest.names()?),
            _ => None,
        };
        if !rest.word(b"VALUES") && !rest.word(b"VALUE") {
            return Err(rest.expected("VALUES"));
        }
        Ok(Some(Insert {
            table,
            columns,
            replaces,
            ignores,
            rest,
            is_first: true,
        }))
    }

    /// Reads the next row into `row`; `false` after the last.
    pub(crate) fn next_row(&mut self, row: &mut Vec<Value>) -> Result<bool, What> {
        row.clear();
        if !self.is_first && !self.rest.byte(b',') {
            self.rest.blank();
            return match self.rest.at == self.rest.text.len() {
                true => Ok(false),
                false => Err(self.rest.expected("`,` or the end of the rows")),
            };
        }
        self.is_first = false;
        if !self.rest.byte(b'(') {
            return Err(self.rest.expected("`(`"));
        }
        loop {
            row.push(self.rest.value()?);
            if self.rest.byte(b')') {
                return Ok(true);
            }
            if !self.rest.byte(b',') {
                return Err(self.rest.expected("`,` or `)`"));
            }
        }
    }
}

#[derive(Debug)]
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn expected(&self, expected: &'static str) -> What {
        What::Syntax {
            at: self.at,
            expected,
        }
    }

    fn blank(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.text.get(self.at).copied()
    }

    fn byte(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Takes a keyword, whatever its case.
    fn word(&mut self, word: &[u8]) -> bool {
        self.blank();
        let rest = &self.text[self.at..];
        let is_there = rest.len() >= word.len()
            && rest[..word.len()].eq_ignore_ascii_case(word)
            && !rest.get(word.len()).is_some_and(|&b| is_in_name(b));
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    /// A name, between backticks or bare.
    fn name(&mut self) -> Result<String, What> {
        let from = self.at;
        let name = match self.peek() {
            Some(b'`') => self.quoted(b'`')?,
            _ => {
                let rest = &self.text[self.at..];
                let len = rest.iter().take_while(|&&b| is_in_name(b)).count();
                self.at += len;
                rest[..len].to_vec()
            }
        };
        match String::from_utf8(name) {
            Ok(name) if !name.is_empty() => Ok(name),
            _ => Err(What::Syntax {
                at: from,
                expected: "a name",
            }),
        }
    }

    fn names(&mut self) -> Result<Vec<String>, What> {
        let mut names = Vec::new();
        self.byte(b'(');
        loop {
            names.push(self.name()?);
            if self.byte(b')') {
                return Ok(names);
            }
            if !self.byte(b',') {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn value(&mut self) -> Result<Value, What> {
        let first = self.peek().ok_or_else(|| self.expected("a value"))?;
        let second = self.text.get(self.at + 1).copied();
        Ok(match (first, second) {
            (b'\'' | b'"', _) => Value::Text(self.quoted(first)?),
            (b'0', Some(b'x')) => {
                self.at += 2;
                let len = self.text[self.at..]
                    .iter()
                    .take_while(|b| b.is_ascii_hexdigit())
                    .count();
                let digits = &self.text[self.at..self.at + len];
                let bytes = hex(digits).ok_or_else(|| self.expected("hexadecimal digits"))?;
                self.at += len;
                Value::Bytes(bytes)
            }
            (b'x' | b'X', Some(b'\'')) => {
                self.at += 1;
                let digits = self.quoted(b'\'')?;
                Value::Bytes(hex(&digits).ok_or_else(|| self.expected("hexadecimal digits"))?)
            }
            (b'b' | b'B', Some(b'\'')) => {
                self.at += 1;
                let digits = String::from_utf8(self.quoted(b'\'')?).ok();
                let bits = digits.and_then(|digits| u64::from_str_radix(&digits, 2).ok());
                let bits = bits.ok_or_else(|| self.expected("binary digits"))?;
                Value::Integer(bits.cast_signed())
            }
            (b'_', _) => {
                let set = self.name()?;
                // One character set and no more: a hostile chain of them would be a deep recursion.
                if self.peek() == Some(b'_') {
                    return Err(self.expected("a string"));
                }
                match (self.value()?, set.eq_ignore_ascii_case("_binary")) {
                    (Value::Text(bytes) | Value::Bytes(bytes), true) => Value::Bytes(bytes),
                    (Value::Text(bytes) | Value::Bytes(bytes), false) => Value::Text(bytes),
                    _ => return Err(self.expected("a string")),
                }
            }
            (b'-' | b'+' | b'.' | b'0'..=b'9', _) => self.number()?,
            _ if self.word(b"NULL") => Value::Null,
            _ if self.word(b"TRUE") => Value::Integer(1),
            _ if self.word(b"FALSE") => Value::Integer(0),
            _ => return Err(self.expected("a literal value")),
        })
    }

    fn number(&mut self) -> Result<Value, What> {
        let rest = &self.text[self.at..];
        let is_part = |&&b: &&u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
        let len = rest.iter().take_while(is_part).count();
        let text = String::from_utf8_lossy(&rest[..len]).into_owned();
        if text.parse::<f64>().is_err() {
            return Err(self.expected("a number"));
        }
        self.at += len;
        Ok(match text.parse() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Number(text),
        })
    }

    /// What stands between quotes, which are doubled or behind a backslash within.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, What> {
        self.at += 1;
        let mut value = Vec::new();
        let escape = if quote == b'`' { b'`' } else { b'\\' };
        loop {
            let rest = &self.text[self.at..];
            let len = memchr::memchr2(quote, escape, rest);
            let len = len.ok_or_else(|| self.expected("the end of the string"))?;
            value.extend_from_slice(&rest[..len]);
            self.at += len + 1;
            let next = self.text.get(self.at).copied();
            if rest[len] == quote {
                if next != Some(quote) {
                    return Ok(value);
                }
                value.push(quote);
            } else {
                let byte = next.ok_or_else(|| self.expected("the end of the string"))?;
                unescape(byte, &mut value);
            }
            self.at += 1;
        }
    }
}

/// What a backslash and this byte mean (MySQL's manual, "String Literals").
fn unescape(byte: u8, value: &mut Vec<u8>) {
    match byte {
        b'0' => value.push(0),
        b'b' => value.push(8),
        b'n' => value.push(b'\n'),
        b'r' => value.push(b'\r'),
        b't' => value.push(b'\t'),
        b'Z' => value.push(26),
        // For patterns; elsewhere both characters stand for themselves.
        b'%' | b'_' => value.extend([b'\\', byte]),
        other => value.push(other),
    }
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let odd = digits.len() % 2;
    let mut bytes = Vec::with_capacity(digits.len() / 2 + odd);
    if odd == 1 {
        bytes.push(digit(digits[0])?);
    }
    for pair in digits[odd..].chunks_exact(2) {
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<Vec<Value>>, What> {
        let mut insert = Insert::parse(text)?.expect("an INSERT");
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        while insert.next_row(&mut row)? {
            rows.push(row.clone());
        }
        Ok(rows)
    }

    fn one(value: &[u8]) -> Value {
        let text = [b"INSERT INTO t VALUES (", value, b")"].concat();
        rows(&text).unwrap().remove(0).remove(0)
    }

    #[test]
    fn every_kind_of_literal_is_a_value() {
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        assert_eq!(one(b"NULL"), Value::Null);
        assert_eq!(one(b"-12"), Value::Integer(-12));
        assert_eq!(one(b"12.30"), Value::Number("12.30".into()));
        assert_eq!(one(b"1e3"), Value::Number("1e3".into()));
        let above = "18446744073709551615";
        assert_eq!(one(above.as_bytes()), Value::Number(above.into()));
        assert_eq!(
            one("'caf\u{e9} \u{1f600}'".as_bytes()),
            text("caf\u{e9} \u{1f600}")
        );
        assert_eq!(one(b"'0000-00-00 00:00:00'"), text("0000-00-00 00:00:00"));
        assert_eq!(
            one(br#"'a\'b''c"d\"\\\n\r\t\0\Z\b\%\_\x'"#),
            text("a'b'c\"d\"\\\n\r\t\0\u{1a}\u{8}\\%\\_x")
        );
        assert_eq!(one(b"\"x\"\"'y\""), text("x\"'y"));
        assert_eq!(one(b"0xFF00a"), Value::Bytes(vec![0x0f, 0xf0, 0x0a]));
        assert_eq!(one(b"0x"), Value::Bytes(vec![]));
        assert_eq!(one(b"x'ff'"), Value::Bytes(vec![0xff]));
        assert_eq!(one(b"_binary '\xff\\0'"), Value::Bytes(vec![0xff, 0]));
        assert_eq!(one(b"_utf8mb4'a'"), text("a"));
        assert_eq!(one(b"b'101'"), Value::Integer(5));
    }

    #[test]
    fn tables_columns_and_modifiers() {
        let text = b"INSERT IGNORE INTO `a``b` (`x`,y) VALUES (1,'),('),\n(2,'')";
        let insert = Insert::parse(text).unwrap().unwrap();
        assert_eq!(insert.table, "a`b");
        assert_eq!(insert.columns.unwrap(), ["x", "y"]);
        assert!(insert.ignores && !insert.replaces);
        assert_eq!(rows(text).unwrap().len(), 2);
        assert!(
            Insert::parse(b"replace into d.t values (1)")
                .unwrap()
                .unwrap()
                .replaces
        );
        assert!(Insert::parse(b"INSERTED").unwrap().is_none());
        assert!(Insert::parse(b"SELECT 1").unwrap().is_none());
    }

    #[test]
    fn what_is_no_literal_is_an_error_and_no_row() {
        for (text, said) in [
            (
                &b"INSERT INTO t VALUES (NOW())"[..],
                "byte 22 of the statement: a literal value expected",
            ),
            (
                b"INSERT INTO t VALUES (1",
                "byte 23 of the statement: `,` or `)` expected",
            ),
            (
                b"INSERT INTO t VALUES (1) (2)",
                "byte 25 of the statement: `,` or the end of the rows expected",
            ),
            (
                b"INSERT INTO t SELECT 1",
                "byte 14 of the statement: VALUES expected",
            ),
            (
                b"INSERT INTO t VALUES ('a\\",
                "byte 25 of the statement: the end of the string expected",
            ),
            (
                b"INSERT INTO t VALUES (1-2)",
                "byte 22 of the statement: a number expected",
            ),
            (
                b"INSERT INTO t VALUES (x'0g')",
                "byte 27 of the statement: hexadecimal digits expected",
            ),
            (b"INSERT INTO", "byte 11 of the statement: a name expected"),
        ] {
            assert_eq!(rows(text).unwrap_err().to_string(), said);
        }
    }

    /// Whatever a dump holds, it is read or refused.
    #[test]
    fn damaged_rows_never_do_worse_than_an_error() {
        let whole =
            b"INSERT INTO `t` (`a`) VALUES (1,'x\\'y',0xff,_binary 'z',NULL,-1.5e3),(b'1','')";
        for at in 0..whole.len() {
            let _ = Insert::parse(&whole[..at]).map(|i| i.map(|_| rows(&whole[..at])));
            for byte in 0..=255 {
                let mut damaged = whole.to_vec();
                damaged[at] = byte;
                if let Ok(Some(_)) = Insert::parse(&damaged) {
                    let _ = rows(&damaged);
                }
            }
        }
    }
}
