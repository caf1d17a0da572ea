//! One directive: to its module.

use super::line::Line;
use super::{Place, Read, Reader, Remark, known, remark};
use crate::finding::Class;
use crate::limits::{LoadError, PASSWORD_FILE_BYTES_MAX};
use crate::module::access::Names;
use crate::module::authorization::{Node, Provider};
use crate::module::flag;
use crate::module::mime::Aspect;
use crate::password::Passwords;
use crate::section::part;
use crate::text::{Words, number, show};

/// What a module makes of a directive: `Err` says why it is refused.
type Taken = Result<(), String>;

const NOT_LET_IN: &str = "names of hosts are not looked up: nobody is let in by one";
const NOT_KEPT_OUT: &str = "names of hosts are not looked up: nobody is kept out by one";

impl Reader<'_> {
    pub(super) fn directive(&mut self, line: &Line, place: &mut Place) -> Read {
        let found = match self.plain(line, place)? {
            Some(found) => found,
            None => self.with_patterns(line, place)?,
        };
        match found {
            Found::Done(Ok(())) => Ok(None),
            Found::Done(Err(message)) => remark(self.class_of_failure(line), message),
            Found::Remarked(remark) => Ok(Some(remark)),
            Found::Unknown => {
                let message = match known::class(&line.name, &line.arguments) {
                    Class::Harmless => "has no meaning here",
                    Class::Ignored => "not understood",
                    Class::WouldDeny => "not understood, and may restrict who sees what",
                };
                remark(known::class(&line.name, &line.arguments), message)
            }
        }
    }

    /// A directive that cannot be read as it stands. Apache would refuse everything below when it could not read it.
    fn class_of_failure(&self, line: &Line) -> Class {
        let restricts = match line.name.as_slice() {
            b"rewriterule" => crate::rewrite::would_refuse(&line.arguments),
            b"redirect" | b"redirectmatch" => {
                let first = Words::new(&line.arguments).next().unwrap_or_default();
                first.eq_ignore_ascii_case(b"gone") || number(&first) >= 400
            }
            b"rewritecond" | b"rewriteengine" | b"options" | b"sethandler" => true,
            // Variables decide about access.
            b"setenvif" | b"setenvifnocase" | b"setenvifexpr" => true,
            b"browsermatch" | b"browsermatchnocase" => true,
            name => known::restricts(name, &line.arguments),
        };
        match restricts {
            true => Class::WouldDeny,
            false => Class::Ignored,
        }
    }

    /// Directives without patterns in them.
    fn plain(&mut self, line: &Line, place: &mut Place) -> Result<Option<Found>, LoadError> {
        let words = Words::new(&line.arguments).all();
        let one = || match words.as_slice() {
            [word] => Ok(word.as_slice()),
            _ => Err("takes one argument".to_owned()),
        };
        let section = &mut place.section;
        let methods = place.methods;
        let taken: Taken = match line.name.as_slice() {
            b"options" => return Ok(Some(options(part(&mut section.core).set_options(&words)))),
            b"errordocument" => match words.as_slice() {
                [status, document] => part(&mut section.core).set_error_document(status, document),
                _ => Err("takes a status and a document".to_owned()),
            },
            b"adddefaultcharset" => one().map(|w| part(&mut section.core).set_default_charset(w)),
            b"forcetype" => {
                one().map(|w| part(&mut section.core).forced_type = Some(w.to_ascii_lowercase()))
            }
            b"sethandler" => one().and_then(|w| part(&mut section.core).set_handler(w)),
            b"acceptpathinfo" => {
                one().and_then(|w| part(&mut section.core).set_accept_path_info(w))
            }
            b"limitrequestbody" => one().map(|w| {
                let max = u64::try_from(number(w)).unwrap_or(0);
                part(&mut section.core).body_max = Some(max);
            }),
            b"sslrequiressl" => {
                part(&mut section.core).https_only = Some(true);
                Ok(())
            }
            b"php_value" | b"php_flag" => match words.as_slice() {
                [name, value] => {
                    let is_flag = line.name == b"php_flag";
                    part(&mut section.core).set_php(name, value, is_flag)
                }
                _ => Err("takes a name and a value".to_owned()),
            },
            b"order" => one().and_then(|w| part(&mut section.access).set_order(w, methods)),
            b"satisfy" => one().and_then(|w| part(&mut section.access).set_satisfy(w, methods)),
            b"allow" | b"deny" => {
                let allow = line.name == b"allow";
                return Ok(Some(hosts(
                    part(&mut section.access).add(&words, allow, methods),
                )));
            }
            b"directoryindex" => {
                part(&mut section.index).add_names(words);
                Ok(())
            }
            b"directoryslash" => one().and_then(|w| part(&mut section.index).set_slash(w)),
            b"directorycheckhandler" => {
                one().and_then(|w| part(&mut section.index).set_check_handler(w))
            }
            b"directoryindexredirect" => {
                one().and_then(|w| part(&mut section.index).set_redirect(w))
            }
            b"fallbackresource" => one().map(|w| part(&mut section.index).set_fallback(w)),
            b"setenv" => match words.as_slice() {
                [name] => {
                    part(&mut section.fixed).set(name, b"");
                    Ok(())
                }
                [name, value] => {
                    part(&mut section.fixed).set(name, value);
                    Ok(())
                }
                _ => Err("takes a name and a value".to_owned()),
            },
            b"unsetenv" => {
                words
                    .iter()
                    .for_each(|name| part(&mut section.fixed).unset(name));
                Ok(())
            }
            b"passenv" => {
                let message = "the server's own environment is not passed on";
                return Ok(Some(Found::Remarked(Remark::new(Class::Ignored, message))));
            }
            b"expiresactive" => one().and_then(|w| part(&mut section.expires).set_active(w)),
            b"expiresdefault" => one().and_then(|w| part(&mut section.expires).set_default(w)),
            b"expiresbytype" => match words.as_slice() {
                [name, age] => part(&mut section.expires).set_type(name, age),
                _ => Err("takes a type and an age".to_owned()),
            },
            b"rewriteengine" => one()
                .and_then(flag)
                .map(|on| place.rewriting().set_engine(on)),
            b"rewritebase" => one().and_then(|w| place.rewriting().set_base(w)),
            b"rewriteoptions" => place.rewriting().set_options(&words),
            b"redirectrelative" => one()
                .and_then(flag)
                .map(|on| part(&mut section.redirects).set_relative(on)),
            _ => return Ok(types(line, &words, place).or_else(|| self.users(line, &words, place))),
        };
        Ok(Some(Found::Done(taken)))
    }

    /// Directives that may have patterns in them, which come from the quota.
    fn with_patterns(&mut self, line: &Line, place: &mut Place) -> Result<Found, LoadError> {
        let words = || Words::new(&line.arguments).all();
        let section = &mut place.section;
        let redirect = |place: &mut Place, status: u16, by_pattern: bool| {
            part(&mut place.section.redirects).add(&words(), status, by_pattern)
        };
        let read = match line.name.as_slice() {
            b"rewriterule" | b"rewritecond" => return self.rewriting(line, place),
            b"require" => return self.require(line, place),
            b"redirect" => redirect(place, 302, false),
            b"redirectmatch" => redirect(place, 302, true),
            b"redirectpermanent" => redirect(place, 301, false),
            b"redirecttemp" => redirect(place, 302, false),
            b"header" => part(&mut section.headers).add(&line.arguments, false),
            b"requestheader" => part(&mut section.headers).add(&line.arguments, true),
            b"setenvif" | b"setenvifnocase" => match words().split_first() {
                Some((attribute, rest)) => {
                    let any_case = line.name == b"setenvifnocase";
                    part(&mut section.conditional).add(attribute, rest, any_case)
                }
                None => Err("arguments are missing".to_owned()),
            },
            b"browsermatch" | b"browsermatchnocase" => {
                let any_case = line.name == b"browsermatchnocase";
                part(&mut section.conditional).add(b"User-Agent", &words(), any_case)
            }
            b"setenvifexpr" => part(&mut section.conditional).add_expression(&words()),
            _ => return Ok(Found::Unknown),
        };
        match read {
            Ok(sizes) => {
                self.patterns(&sizes)?;
                Ok(Found::Done(Ok(())))
            }
            Err(message) => Ok(Found::Done(Err(message))),
        }
    }

    fn rewriting(&mut self, line: &Line, place: &mut Place) -> Result<Found, LoadError> {
        let rewriting = place.rewriting();
        let noted = match line.name.as_slice() {
            b"rewriterule" => rewriting.add_rule(&line.arguments),
            _ => rewriting.add_condition(&line.arguments),
        };
        match noted {
            Ok(noted) => {
                self.patterns(&noted.patterns)?;
                Ok(match noted.remark {
                    Some(message) => Found::Remarked(Remark::new(Class::Ignored, message)),
                    None => Found::Done(Ok(())),
                })
            }
            Err(message) => {
                if line.name == b"rewritecond" {
                    rewriting.poison();
                }
                Ok(Found::Done(Err(message)))
            }
        }
    }

    fn require(&mut self, line: &Line, place: &mut Place) -> Result<Found, LoadError> {
        let (node, provider) = match Node::require(&line.arguments, place.methods) {
            Ok(read) => read,
            Err(message) => return Ok(Found::Done(Err(message))),
        };
        self.patterns(&node.patterns())?;
        let container = match place.containers.last_mut() {
            Some(container) => container,
            None => part(&mut place.section.authorization).root(),
        };
        if let Err(message) = container.add(node) {
            return Ok(Found::Done(Err(message)));
        }
        Ok(match provider {
            Provider::Known => Found::Done(Ok(())),
            Provider::NeverGrants(message) => Found::Remarked(Remark::new(Class::Ignored, message)),
            Provider::Unknown => {
                let message = "who this lets in cannot be known here: nobody is";
                Found::Remarked(Remark::new(Class::WouldDeny, message))
            }
        })
    }

    /// Directives about users.
    fn users(&mut self, line: &Line, words: &[Vec<u8>], place: &mut Place) -> Option<Found> {
        let authentication = part_if(&line.name, b"auth", &mut place.section.authentication)?;
        let deny = |message: &str| Found::Remarked(Remark::new(Class::WouldDeny, message));
        let taken: Taken = match (line.name.as_slice(), words) {
            (b"authtype", [word]) => match authentication.set_type(word) {
                true => Ok(()),
                false => return Some(deny("a way to sign in that is not known: nobody can")),
            },
            (b"authname", [word]) => authentication.set_realm(word),
            (b"authuserfile", [path]) => {
                let text = self.read_file(path);
                let passwords = text.as_deref().map(Passwords::parse);
                let unusable = passwords.as_ref().map(Passwords::unusable);
                authentication.set_passwords(passwords);
                match unusable {
                    None => return Some(missing(path)),
                    Some(0) => Ok(()),
                    Some(count) => {
                        let message = format!(
                            "{count} passwords in {} are hashed in a way that is not known or \
                             costs too much: they fit nothing",
                            show(path)
                        );
                        return Some(Found::Remarked(Remark::new(Class::Ignored, message)));
                    }
                }
            }
            (b"authgroupfile", [path]) => {
                let text = self.read_file(path);
                authentication.set_groups(text.as_deref());
                match text {
                    Some(_) => Ok(()),
                    None => return Some(missing(path)),
                }
            }
            (b"authbasicprovider", [_, ..]) => match authentication.set_providers(words) {
                true => Ok(()),
                false => {
                    return Some(deny(
                        "only files of passwords are known: nobody can sign in",
                    ));
                }
            },
            (b"authbasicauthoritative", [word]) => authentication.set_authoritative(word),
            (b"authmerging", [word]) => part(&mut place.section.authorization).set_merging(word),
            (b"authzsendforbiddenonfailure", [word]) => flag(word).map(|on| {
                part(&mut place.section.authorization).set_forbidden_on_failure(on);
            }),
            (
                b"authtype"
                | b"authname"
                | b"authuserfile"
                | b"authgroupfile"
                | b"authbasicprovider"
                | b"authbasicauthoritative"
                | b"authmerging",
                _,
            ) => Err("takes one argument".to_owned()),
            _ => return None,
        };
        Some(Found::Done(taken))
    }

    fn read_file(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = crate::uri::normalise(path)?;
        self.files.read(&path, PASSWORD_FILE_BYTES_MAX)
    }
}

/// What became of a directive.
enum Found {
    Done(Taken),
    Remarked(Remark),
    Unknown,
}

/// The part of a section, when a name begins in a way.
fn part_if<'s, T: Clone + Default>(
    name: &[u8],
    beginning: &[u8],
    slot: &'s mut Option<std::sync::Arc<T>>,
) -> Option<&'s mut T> {
    name.starts_with(beginning).then(|| part(slot))
}

fn missing(path: &[u8]) -> Found {
    let message = format!("{} is not in the image: nobody can sign in", show(path));
    Found::Remarked(Remark::new(Class::Ignored, message))
}

fn options(read: Result<Vec<&'static str>, String>) -> Found {
    match read {
        Ok(remarks) if remarks.is_empty() => Found::Done(Ok(())),
        Ok(remarks) => {
            let message = format!("{} is not done", remarks.join(", "));
            Found::Remarked(Remark::new(Class::Ignored, message))
        }
        Err(message) => Found::Done(Err(message)),
    }
}

fn hosts(read: Result<Names, String>) -> Found {
    match read {
        Ok(Names::None) => Found::Done(Ok(())),
        Ok(Names::NotLetIn) => Found::Remarked(Remark::new(Class::Ignored, NOT_LET_IN)),
        Ok(Names::NotKeptOut) => Found::Remarked(Remark::new(Class::WouldDeny, NOT_KEPT_OUT)),
        Err(message) => Found::Done(Err(message)),
    }
}

/// Directives about what extensions mean.
fn types(line: &Line, words: &[Vec<u8>], place: &mut Place) -> Option<Found> {
    let (adds, aspect) = match line.name.as_slice() {
        b"addtype" => (true, Aspect::Type),
        b"addcharset" => (true, Aspect::Charset),
        b"addencoding" => (true, Aspect::Encoding),
        b"addhandler" => (true, Aspect::Handler),
        b"addlanguage" => (true, Aspect::Language),
        b"removetype" => (false, Aspect::Type),
        b"removecharset" => (false, Aspect::Charset),
        b"removeencoding" => (false, Aspect::Encoding),
        b"removehandler" => (false, Aspect::Handler),
        b"removelanguage" => (false, Aspect::Language),
        _ => return None,
    };
    let mime = part(&mut place.section.mime);
    Some(Found::Done(match (adds, words) {
        (true, [value, extensions @ ..]) if !extensions.is_empty() => {
            mime.add(aspect, value, extensions);
            Ok(())
        }
        (false, [_, ..]) => {
            mime.remove(aspect, words);
            Ok(())
        }
        _ => Err("arguments are missing".to_owned()),
    }))
}
