//! Response files: `@file` on the command line stands for what the file says.

use crate::error::Error;

/// Replaces `@file` by the words of the file, as GCC does: white space separates, quotes and backslashes protect.
pub(crate) fn expand(arg: String, into: &mut Vec<String>, depth: usize) -> Result<(), Error> {
    let Some(text) = arg
        .strip_prefix('@')
        .and_then(|file| std::fs::read_to_string(file).ok())
    else {
        into.push(arg);
        return Ok(());
    };
    if depth > 20 {
        return Err(Error::Usage(format!(
            "{arg}: response files name each other"
        )));
    }
    let (mut word, mut quote, mut started) = (String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => {
                word.extend(chars.next());
                started = true;
            }
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                started = true;
            }
            (c, None) if c.is_whitespace() => {
                if std::mem::take(&mut started) {
                    expand(std::mem::take(&mut word), into, depth + 1)?;
                }
            }
            _ => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        expand(word, into, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_files_are_read_with_their_quotes() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "-DA='x y' \"-Ib c\"\n-O2").expect("written");
        let mut words = Vec::new();
        expand(format!("@{}", file.path().display()), &mut words, 0).expect("read");
        assert_eq!(words, ["-DA=x y", "-Ib c", "-O2"]);
    }
}
