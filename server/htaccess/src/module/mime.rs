//! `AddType`, `AddHandler` and their kin: what the extensions of a name mean.

use std::collections::HashMap;

use crate::uri;

/// What an extension may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aspect {
    Type,
    Charset,
    Encoding,
    Handler,
    Language,
}

const ASPECTS: usize = 5;

/// What a section says. `Some` of nothing: it was taken away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mime {
    given: HashMap<Vec<u8>, [Option<Vec<u8>>; ASPECTS]>,
    removed: Vec<(Vec<u8>, Aspect)>,
    /// Aspects of extensions that any section took away, for scripts.
    taken: Vec<(Vec<u8>, Aspect)>,
}

/// What the extensions of a name add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) media_type: Option<Vec<u8>>,
    pub(crate) charset: Option<Vec<u8>>,
    pub(crate) encoding: Option<Vec<u8>>,
    pub(crate) handler: Option<Vec<u8>>,
    pub(crate) language: Option<Vec<u8>>,
    /// The last extension lost its handler or type.
    pub(crate) taken: bool,
}

fn key(extension: &[u8]) -> Vec<u8> {
    let bare = extension.strip_prefix(b".").unwrap_or(extension);
    bare.to_ascii_lowercase()
}

impl Mime {
    /// `AddType type extension…` and the like.
    pub(crate) fn add(&mut self, aspect: Aspect, value: &[u8], extensions: &[Vec<u8>]) {
        for extension in extensions {
            let given = self.given.entry(key(extension)).or_default();
            given[aspect as usize] = Some(value.to_ascii_lowercase());
        }
    }

    /// `RemoveType extension…` and the like.
    pub(crate) fn remove(&mut self, aspect: Aspect, extensions: &[Vec<u8>]) {
        for extension in extensions {
            let key = key(extension);
            self.taken.push((key.clone(), aspect));
            match aspect {
                // Types have their own way: an empty one hides the one of the server's table.
                Aspect::Type => {
                    self.given.entry(key).or_default()[aspect as usize] = Some(Vec::new());
                }
                _ => self.removed.push((key, aspect)),
            }
        }
    }

    pub(crate) fn merged(&self, over: &Mime) -> Mime {
        let mut given = self.given.clone();
        for (extension, own) in &over.given {
            let base = given.entry(extension.clone()).or_default();
            for (value, own) in base.iter_mut().zip(own) {
                if own.is_some() {
                    value.clone_from(own);
                }
            }
        }
        for (extension, aspect) in &over.removed {
            if let Some(given) = given.get_mut(extension) {
                given[*aspect as usize] = None;
            }
        }
        let mut taken = self.taken.clone();
        // What is given again is not taken any more.
        taken.retain(|(extension, aspect)| {
            let own = over.given.get(extension);
            own.is_none_or(|own| own[*aspect as usize].is_none())
        });
        taken.extend_from_slice(&over.taken);
        Mime {
            given,
            removed: Vec::new(),
            taken,
        }
    }

    /// What a file's name means.
    pub(crate) fn meaning(&self, path: &[u8]) -> Meaning {
        let mut meaning = Meaning::default();
        let mut last = None;
        for extension in extensions(path) {
            last = Some(extension.clone());
            let Some(given) = self.given.get(&extension) else {
                continue;
            };
            let aspect = |aspect: Aspect| {
                let value = given[aspect as usize].clone();
                value.filter(|value| !value.is_empty())
            };
            let replace = |old: &mut Option<Vec<u8>>, new: Option<Vec<u8>>| {
                if new.is_some() {
                    *old = new;
                }
            };
            replace(&mut meaning.media_type, aspect(Aspect::Type));
            replace(&mut meaning.charset, aspect(Aspect::Charset));
            replace(&mut meaning.handler, aspect(Aspect::Handler));
            if let Some(encoding) = aspect(Aspect::Encoding) {
                meaning.encoding = Some(match meaning.encoding.take() {
                    Some(first) => [first.as_slice(), b", ", &encoding].concat(),
                    None => encoding,
                });
            }
            if let Some(language) = aspect(Aspect::Language) {
                meaning.language = Some(match meaning.language.take() {
                    Some(first) => [first.as_slice(), b", ", &language].concat(),
                    None => language,
                });
            }
        }
        if let Some(last) = last {
            let is_taken = |(extension, aspect): &(Vec<u8>, Aspect)| {
                *extension == last && matches!(aspect, Aspect::Handler | Aspect::Type)
            };
            meaning.taken = self.taken.iter().any(is_taken) && meaning.handler.is_none();
        }
        meaning
    }
}

/// The extensions of a name, in lower case: all that follows its first dot, dots at its beginning left aside.
pub(crate) fn extensions(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let name = uri::basename(path);
    let dots = name.iter().take_while(|&&b| b == b'.').count();
    let rest = &name[dots..];
    let start = rest.iter().position(|&b| b == b'.').unwrap_or(rest.len());
    rest[start..]
        .split(|&b| b == b'.')
        .filter(|extension| !extension.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<u8>> {
        crate::text::Words::new(text.as_bytes()).all()
    }

    #[test]
    fn extensions_start_behind_the_base_name() {
        let of = |path: &str| -> Vec<String> {
            extensions(path.as_bytes())
                .map(|e| String::from_utf8(e).unwrap())
                .collect()
        };
        assert_eq!(of("/a.b/x.tar.GZ"), ["tar", "gz"]);
        assert_eq!(of("/.htaccess"), Vec::<String>::new());
        assert_eq!(of("/..a.b"), ["b"]);
        assert_eq!(of("/x..y"), ["y"]);
    }

    #[test]
    fn deeper_sections_add_and_take_away() {
        let mut base = Mime::default();
        base.add(
            Aspect::Handler,
            b"Application/X-HTTPD-PHP",
            &words(".php .html"),
        );
        base.add(Aspect::Encoding, b"x-gzip", &words("gz"));
        let mut over = Mime::default();
        over.remove(Aspect::Handler, &words(".php"));
        over.add(Aspect::Type, b"text/plain", &words(".php"));
        let merged = base.merged(&over);
        let php = merged.meaning(b"/a.php");
        assert_eq!(php.handler, None);
        assert!(php.taken);
        assert_eq!(php.media_type.as_deref(), Some(&b"text/plain"[..]));
        let html = merged.meaning(b"/a.html.gz");
        assert_eq!(
            html.handler.as_deref(),
            Some(&b"application/x-httpd-php"[..])
        );
        assert_eq!(html.encoding.as_deref(), Some(&b"x-gzip"[..]));
        let mut again = Mime::default();
        again.add(Aspect::Handler, b"php-script", &words("php"));
        assert!(!merged.merged(&again).meaning(b"/a.php").taken);
    }
}
