//! Request targets that RFC 3986 does not allow: a raw `"`, `<` or `>`, or bytes that are no ASCII. Old links and clients send
//! them, other servers take them, and the HTTP library refuses them. They are percent-encoded on their way to it.
//!
//! Bytes of a connection may be changed only where they are a target for certain: were a body taken for a request line, or
//! the other way round, whoever shares the connection (behind a proxy) could be given another's request. So this
//! follows a connection only as long as there is one way to read it: origin-form targets, usual methods, lines that end in CRLF,
//! no folded lines, and bodies that one `Content-Length` in digits announces. At the first byte that
//! is anything else (a chunked body, `Upgrade`, `Expect`, a second length, HTTP/2) it is lost for good, and changes
//! nothing more on this connection. Then such targets are answered 400, as any other broken request.

/// Methods after which a body is what the headers say.
const METHODS: [&[u8]; 7] = [
    b"delete", b"get", b"head", b"options", b"patch", b"post", b"put",
];

/// Headers that change where a request ends, beside `Content-Length`.
const FRAMING: [&[u8]; 3] = [b"expect", b"transfer-encoding", b"upgrade"];

/// What follows a target; the digit is the last but two.
const VERSIONS: [&[u8; 10]; 2] = [b"HTTP/1.1\r\n", b"HTTP/1.0\r\n"];

/// Digits of a length: bodies are far smaller than 10^15 bytes.
const DIGITS_MAX: u8 = 15;

/// Where in a connection's bytes the next one lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Method,
    TargetStart,
    Target,
    /// So many bytes of the version are read.
    Version(usize),
    LineStart,
    Name,
    Value,
    /// In the value of `Content-Length`, behind so many digits.
    Length(u8),
    /// Behind the CR of a header line, and of the empty line.
    LineEnd,
    HeadEnd,
    Body,
    Lost,
}

/// Follows what a client sends and finds its request targets.
#[derive(Debug)]
pub(crate) struct Targets {
    at: At,
    word: Word,
    /// The length that the head announced; in a body, what is left of it.
    length: Option<u64>,
}

impl Targets {
    /// At the beginning of a connection.
    pub(crate) fn new() -> Targets {
        Targets {
            at: At::Method,
            word: Word::default(),
            length: None,
        }
    }

    /// Takes the next bytes of the connection; what is to be read instead of them, if that is something else.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut encoded = Vec::new();
        // So many of the bytes are in there.
        let mut copied = 0;
        let mut index = 0;
        while index < bytes.len() && self.at != At::Lost {
            if self.at == At::Body {
                index += self.skip(bytes.len() - index);
                continue;
            }
            let byte = bytes[index];
            if self.at == At::Target && is_refused(byte) {
                encoded.extend_from_slice(&bytes[copied..index]);
                encoded.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]);
                copied = index + 1;
            }
            self.at = self.next(byte);
            index += 1;
        }
        if copied == 0 {
            return None;
        }
        encoded.extend_from_slice(&bytes[copied..]);
        Some(encoded)
    }

    /// Skips a body's bytes; how many of those that are there.
    fn skip(&mut self, there: usize) -> usize {
        let left = self.length.unwrap_or(0);
        let skipped = usize::try_from(left).map_or(there, |left| left.min(there));
        self.length = Some(left - skipped as u64);
        if self.length == Some(0) {
            self.begin();
        }
        skipped
    }

    /// A request begins.
    fn begin(&mut self) {
        *self = Targets::new();
    }

    /// Where the byte behind this one lies.
    fn next(&mut self, byte: u8) -> At {
        match (self.at, byte) {
            (At::Method, b' ') if METHODS.contains(&self.word.bytes()) => At::TargetStart,
            (At::Method, b'A'..=b'Z') => self.word.push(byte, At::Method),
            (At::TargetStart, b'/') => At::Target,
            (At::Target, b' ') => At::Version(0),
            (At::Target, b'!'..=b'~' | 0x80..) => At::Target,
            (At::Version(read), _) if VERSIONS.iter().any(|v| v[read] == byte) => {
                if read + 1 == VERSIONS[0].len() {
                    At::LineStart
                } else {
                    At::Version(read + 1)
                }
            }
            (At::LineStart, b'\r') => At::HeadEnd,
            (At::LineStart, _) if is_name(byte) => {
                self.word = Word::default();
                self.word.push(byte, At::Name)
            }
            (At::Name, b':') => self.named(),
            (At::Name, _) if is_name(byte) => self.word.push(byte, At::Name),
            (At::Value | At::Length(1..), b'\r') => At::LineEnd,
            (At::Value, b'\t' | b' '..=b'~' | 0x80..) => At::Value,
            (At::Length(0), b' ' | b'\t') => At::Length(0),
            (At::Length(read @ 0..DIGITS_MAX), b'0'..=b'9') => {
                let length = self.length.unwrap_or(0);
                self.length = Some(length * 10 + u64::from(byte - b'0'));
                At::Length(read + 1)
            }
            (At::LineEnd, b'\n') => At::LineStart,
            (At::HeadEnd, b'\n') if self.length.is_some_and(|length| length > 0) => At::Body,
            (At::HeadEnd, b'\n') => {
                self.begin();
                At::Method
            }
            _ => At::Lost,
        }
    }

    /// Behind a header's name.
    fn named(&self) -> At {
        match self.word.bytes() {
            b"content-length" if self.length.is_none() => At::Length(0),
            b"content-length" => At::Lost,
            name if FRAMING.contains(&name) => At::Lost,
            _ => At::Value,
        }
    }
}

/// A method or a header's name in small letters, as long as it may be one that matters.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; 20],
    len: usize,
}

impl Word {
    /// Adds a letter, and stays where it is.
    fn push(&mut self, byte: u8, at: At) -> At {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte.to_ascii_lowercase();
            self.len += 1;
        }
        at
    }

    /// What was added; cut, it is longer than all that are known.
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What the HTTP library refuses in a path or a query.
fn is_refused(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | 0x80..)
}

/// `token` of RFC 9110, 5.6.2.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn hex(digit: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(digit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes bytes in pieces of one size.
    fn pass(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut targets = Targets::new();
        let pieces = bytes.chunks(piece);
        pieces
            .flat_map(|piece| targets.pass(piece).unwrap_or_else(|| piece.to_vec()))
            .collect()
    }

    fn each_way(sent: &[u8], read: &[u8]) {
        for piece in [1, 2, 3, 7, 16, 61, usize::MAX] {
            let passed = pass(sent, piece);
            let (passed, read) = (passed.escape_ascii(), read.escape_ascii());
            assert_eq!(passed.to_string(), read.to_string(), "pieces of {piece}");
        }
    }

    #[test]
    fn targets_are_encoded_and_nothing_else() {
        each_way(
            b"GET /caf\xe9\xff?a=\"<b>\"|{}^`\\ HTTP/1.1\r\nHost: \"x\"\r\nReferer: /\xe9\r\n\r\n",
            b"GET /caf%E9%FF?a=%22%3Cb%3E%22|{}^`\\ HTTP/1.1\r\nHost: \"x\"\r\nReferer: /\xe9\r\n\r\n",
        );
    }

    #[test]
    fn requests_follow_each_other() {
        let body = b"GET /\"in the body\" HTTP/1.1\r\n\r\n";
        let sent = |quote: &str| {
            let first = format!(
                "POST /?{quote} HTTP/1.1\r\nX-Content-Length: 1\r\nContent-LENGTH:  {}\r\nA:\r\n\r\n",
                body.len()
            );
            let none = format!("PUT /?{quote} HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
            let last = format!("GET /?{quote} HTTP/1.1\r\n\r\n");
            [first.as_bytes(), body, none.as_bytes(), last.as_bytes()].concat()
        };
        each_way(&sent("\""), &sent("%22"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_left_alone_from_there_on() {
        let next = "GET /?\" HTTP/1.1\r\n\r\n";
        for doubtful in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding:x\r\nContent-Length: 2\r\n\r\nab",
            "POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0 \r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0x0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0000000000000000\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length : 0\r\n\r\n",
            "POST / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\n\r\n",
            "GET / HTTP/1.1\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "CONNECT /a HTTP/1.1\r\n\r\n",
            "get / HTTP/1.1\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            let sent = format!("{doubtful}{next}");
            each_way(sent.as_bytes(), sent.as_bytes());
        }
    }

    #[test]
    fn most_bytes_are_not_copied() {
        let mut targets = Targets::new();
        assert_eq!(
            targets.pass(b"GET /a?b=c HTTP/1.1\r\nA: \"b\"\r\n\r\n"),
            None
        );
    }
}
