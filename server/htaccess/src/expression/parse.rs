//! Reads expressions: the grammar of Apache's `util_expr_parse.y`, by recursive descent.

use super::{Comparison, Condition, ExpressionError, Function, Test, Word};
use crate::glob::Style;
use crate::limits::EXPRESSION_NESTING_MAX;
use crate::pattern::Pattern;
use crate::subnet::Subnet;
use crate::variable::{Dialect, Variable};

type Parsed<T> = Result<T, ExpressionError>;

/// Reads a condition.
pub(crate) fn condition(text: &[u8]) -> Parsed<Condition> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let condition = parser.alternatives()?;
    parser.skip_space();
    match parser.at == text.len() {
        true => Ok(condition),
        false => Err(parser.syntax()),
    }
}

/// Reads a text with variables in it.
pub(crate) fn text(text: &[u8]) -> Parsed<Word> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    parser.string(None)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// Binary operators by name: without `-` for the sake of old configurations.
const NUMERIC: [(&str, Comparison); 6] = [
    ("eq", comparison(true, false, true, false)),
    ("ne", comparison(true, true, false, true)),
    ("lt", comparison(true, true, false, false)),
    ("le", comparison(true, true, true, false)),
    ("gt", comparison(true, false, false, true)),
    ("ge", comparison(true, false, true, true)),
];

/// Binary operators by sign, longer ones first.
const TEXTUAL: [(&str, Comparison); 7] = [
    ("==", comparison(false, false, true, false)),
    ("!=", comparison(false, true, false, true)),
    ("<=", comparison(false, true, true, false)),
    (">=", comparison(false, false, true, true)),
    ("=", comparison(false, false, true, false)),
    ("<", comparison(false, true, false, false)),
    (">", comparison(false, false, false, true)),
];

const fn comparison(numbers: bool, less: bool, equal: bool, greater: bool) -> Comparison {
    Comparison {
        numbers,
        less,
        equal,
        greater,
    }
}

impl Parser<'_> {
    fn syntax(&self) -> ExpressionError {
        ExpressionError::Syntax(self.at)
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let is_space = |b: &&u8| matches!(**b, b' ' | b'\t' | b'\n');
        self.at += self.rest().iter().take_while(is_space).count();
    }

    fn take(&mut self, sign: &[u8]) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// A name that is not part of a longer one.
    fn take_name(&mut self, name: &[u8]) -> bool {
        self.skip_space();
        let is_name = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let found = self.rest().starts_with(name) && !is_name(self.rest().get(name.len()));
        if found {
            self.at += name.len();
        }
        found
    }

    fn name(&mut self) -> Vec<u8> {
        let is_name = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_';
        let len = self.rest().iter().take_while(is_name).count();
        let name = self.rest()[..len].to_vec();
        self.at += len;
        name
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        match self.depth > EXPRESSION_NESTING_MAX {
            true => Err(ExpressionError::TooDeep),
            false => Ok(()),
        }
    }

    fn alternatives(&mut self) -> Parsed<Condition> {
        self.deeper()?;
        let mut parts = vec![self.conjunction()?];
        while self.take(b"||") || self.take_name(b"or") {
            parts.push(self.conjunction()?);
        }
        self.depth -= 1;
        balanced(parts, Condition::Or)
    }

    fn conjunction(&mut self) -> Parsed<Condition> {
        let mut parts = vec![self.negation()?];
        while self.take(b"&&") || self.take_name(b"and") {
            parts.push(self.negation()?);
        }
        balanced(parts, Condition::And)
    }

    fn negation(&mut self) -> Parsed<Condition> {
        self.skip_space();
        let is_not = self.rest().starts_with(b"!") && !self.rest().starts_with(b"!=");
        if is_not && self.take(b"!") || self.take_name(b"not") {
            self.deeper()?;
            let inner = self.negation()?;
            self.depth -= 1;
            return Ok(Condition::Not(Box::new(inner)));
        }
        if self.take_name(b"true") {
            return Ok(Condition::Constant(true));
        }
        if self.take_name(b"false") {
            return Ok(Condition::Constant(false));
        }
        if self.take(b"(") {
            let inner = self.alternatives()?;
            return match self.take(b")") {
                true => Ok(inner),
                false => Err(self.syntax()),
            };
        }
        self.skip_space();
        match self.rest() {
            [b'-', letter, ..] if letter.is_ascii_alphabetic() => self.unary(),
            _ => self.comparison(),
        }
    }

    /// `-f word`.
    fn unary(&mut self) -> Parsed<Condition> {
        self.at += 1;
        let name = self.name();
        let word = self.word()?;
        let test = match name.as_slice() {
            b"R" => {
                let subnet = word.constant().and_then(Subnet::parse);
                let subnet = subnet.ok_or_else(|| self.syntax())?;
                return Ok(Condition::RemoteWithin(subnet));
            }
            b"z" => Test::Empty,
            b"n" => Test::NotEmpty,
            b"T" => Test::True,
            b"d" => Test::Directory,
            b"e" => Test::Exists,
            b"f" => Test::File,
            b"s" => Test::NotEmptyFile,
            b"L" | b"h" => Test::Symlink,
            b"x" => Test::Executable,
            b"F" => Test::FileAllowed,
            b"U" | b"A" => Test::UrlAllowed,
            _ => return Err(unknown(b"-", &name)),
        };
        Ok(Condition::Is(test, word))
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let word = self.word()?;
        if self.take(b"=~") {
            return self.matches(word, false);
        }
        if self.take(b"!~") {
            return self.matches(word, true);
        }
        for (sign, comparison) in TEXTUAL {
            if self.take(sign.as_bytes()) {
                return Ok(Condition::Compare(comparison, word, self.word()?));
            }
        }
        for (name, comparison) in NUMERIC {
            let dashed = [b"-", name.as_bytes()].concat();
            if self.take_name(&dashed) || self.take_name(name.as_bytes()) {
                return Ok(Condition::Compare(comparison, word, self.word()?));
            }
        }
        if self.take_name(b"-in") || self.take_name(b"in") {
            return self.list(word);
        }
        if !self.take(b"-") {
            return Err(self.syntax());
        }
        let name = self.name();
        let other = self.word()?;
        let style = match name.to_ascii_lowercase().as_slice() {
            b"ipmatch" => {
                let subnet = other.constant().and_then(Subnet::parse);
                let subnet = subnet.ok_or_else(|| self.syntax())?;
                return Ok(Condition::Within(word, subnet));
            }
            b"strmatch" => Style::default(),
            b"strcmatch" => Style {
                any_case: true,
                ..Style::default()
            },
            b"fnmatch" => Style {
                paths: true,
                ..Style::default()
            },
            _ => return Err(unknown(b"-", &name)),
        };
        Ok(Condition::Glob(word, other, style))
    }

    /// `{'a', 'b'}`.
    fn list(&mut self, word: Word) -> Parsed<Condition> {
        if !self.take(b"{") {
            return Err(self.syntax());
        }
        let mut list = vec![self.word()?];
        while self.take(b",") {
            list.push(self.word()?);
        }
        match self.take(b"}") {
            true => Ok(Condition::In(word, list)),
            false => Err(self.syntax()),
        }
    }

    /// `/pattern/i` or `m#pattern#`.
    fn matches(&mut self, word: Word, negative: bool) -> Parsed<Condition> {
        self.skip_space();
        let end = match *self.rest() {
            [b'/', ..] => {
                self.at += 1;
                b'/'
            }
            [b'm', sign, ..] if b"/#$%^,;:_?|-!.'\"".contains(&sign) => {
                self.at += 2;
                sign
            }
            _ => return Err(self.syntax()),
        };
        let len = self.rest().iter().position(|&b| b == end);
        let len = len.ok_or_else(|| self.syntax())?;
        let pattern = self.rest()[..len].to_vec();
        self.at += len + 1;
        let any_case = self.rest().starts_with(b"i");
        self.at += usize::from(any_case);
        let pattern = Pattern::new(&pattern, any_case)?;
        Ok(Condition::Matches {
            word,
            pattern,
            negative,
        })
    }

    /// Words, joined by `.`.
    fn word(&mut self) -> Parsed<Word> {
        let mut words = vec![self.single()?];
        loop {
            self.skip_space();
            // Not the start of a number: numbers have no point here.
            if !self.take(b".") {
                break;
            }
            words.push(self.single()?);
        }
        Ok(joined(words))
    }

    fn single(&mut self) -> Parsed<Word> {
        self.skip_space();
        match *self.rest() {
            [quote @ (b'"' | b'\''), ..] => {
                self.at += 1;
                self.string(Some(quote))
            }
            [b'%', b'{', ..] => self.braced(),
            [b'$', digit @ b'0'..=b'9', ..] => {
                self.at += 2;
                Ok(Word::Group(usize::from(digit - b'0')))
            }
            [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => {
                let start = self.at;
                self.at += usize::from(self.rest()[0] == b'-');
                self.at += self
                    .rest()
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                Ok(Word::Text(self.text[start..self.at].to_vec()))
            }
            [byte, ..] if byte.is_ascii_alphabetic() => {
                let name = self.name();
                if !self.take(b"(") {
                    return Err(self.syntax());
                }
                self.deeper()?;
                let argument = self.word()?;
                self.depth -= 1;
                match self.take(b")") {
                    true => Ok(Word::Call(function(&name)?, Box::new(argument))),
                    false => Err(self.syntax()),
                }
            }
            _ => Err(self.syntax()),
        }
    }

    /// `%{NAME}` or `%{function:argument}`.
    fn braced(&mut self) -> Parsed<Word> {
        self.at += 2;
        let name = self.name();
        if self.rest().starts_with(b"}") {
            self.at += 1;
            let variable = Variable::named(&name, Dialect::Expression);
            return variable
                .map(Word::Variable)
                .ok_or_else(|| unknown(b"%", &name));
        }
        if !self.rest().starts_with(b":") {
            return Err(self.syntax());
        }
        self.at += 1;
        self.deeper()?;
        let argument = self.string(Some(b'}'))?;
        self.depth -= 1;
        Ok(Word::Call(function(&name)?, Box::new(argument)))
    }

    /// A text up to a quote, a brace, or the end.
    fn string(&mut self, end: Option<u8>) -> Parsed<Word> {
        let mut words = Vec::new();
        let mut text = Vec::new();
        loop {
            let found = match *self.rest() {
                [] if end.is_none() => None,
                [] | [b'\n', ..] => return Err(self.syntax()),
                [byte, ..] if Some(byte) == end => {
                    self.at += 1;
                    None
                }
                [b'\\', ..] => {
                    text.push(self.escape()?);
                    continue;
                }
                [b'%', b'{', ..] => Some(self.braced()?),
                [b'$', digit @ b'0'..=b'9', ..] => {
                    self.at += 2;
                    Some(Word::Group(usize::from(digit - b'0')))
                }
                [byte, ..] => {
                    self.at += 1;
                    text.push(byte);
                    continue;
                }
            };
            if !text.is_empty() {
                words.push(Word::Text(std::mem::take(&mut text)));
            }
            match found {
                Some(word) => words.push(word),
                None => return Ok(joined(words)),
            }
        }
    }

    fn escape(&mut self) -> Parsed<u8> {
        self.at += 1;
        let is_octal = |b: &&u8| (b'0'..=b'7').contains(*b);
        let digits = self.rest().iter().take(3).take_while(is_octal).count();
        if digits > 0 {
            let value = self.rest()[..digits]
                .iter()
                .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            self.at += digits;
            return u8::try_from(value).map_err(|_| self.syntax());
        }
        let &byte = self.rest().first().ok_or_else(|| self.syntax())?;
        self.at += 1;
        Ok(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'f' => 0x0c,
            other => other,
        })
    }
}

fn unknown(sign: &[u8], name: &[u8]) -> ExpressionError {
    ExpressionError::Unknown(crate::text::show(&[sign, name].concat()))
}

fn joined(mut words: Vec<Word>) -> Word {
    match words.len() {
        0 => Word::Text(Vec::new()),
        1 => words.pop().expect("there is one"),
        _ => Word::Join(words),
    }
}

/// Joins parts as a tree of little depth, so that a long chain is no deep recursion.
fn balanced(
    mut parts: Vec<Condition>,
    join: fn(Box<Condition>, Box<Condition>) -> Condition,
) -> Parsed<Condition> {
    if parts.len() == 1 {
        return Ok(parts.pop().expect("there is one"));
    }
    let right = parts.split_off(parts.len() / 2);
    let left = balanced(parts, join)?;
    Ok(join(Box::new(left), Box::new(balanced(right, join)?)))
}

fn function(name: &[u8]) -> Parsed<Function> {
    Ok(match name.to_ascii_lowercase().as_slice() {
        b"req" | b"http" => Function::RequestHeader,
        b"req_novary" => Function::RequestHeaderOnly,
        b"resp" => Function::ResponseHeader,
        b"reqenv" | b"env" => Function::Env,
        b"osenv" => Function::ProcessEnv,
        b"note" => Function::Note,
        b"tolower" => Function::Lower,
        b"toupper" => Function::Upper,
        b"escape" => Function::Escape,
        b"unescape" => Function::Unescape,
        b"base64" => Function::Base64,
        b"unbase64" => Function::Unbase64,
        b"sha1" => Function::Sha1,
        b"md5" => Function::Md5,
        b"filesize" => Function::FileSize,
        b"file" => Function::FileText,
        _ => return Err(unknown(b"", name)),
    })
}
