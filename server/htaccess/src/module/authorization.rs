//! `Require` and its containers.

use crate::expression::{self, Condition, Word};
use crate::request::{Method, Methods};
use crate::subnet::Subnet;
use crate::text::{Words, show};

/// How the children of a container are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    All,
    Any,
}

/// What a line or a container asks.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) methods: Methods,
    pub(crate) negative: bool,
    pub(crate) what: What,
}

/// What one of them asks.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Container(Logic, Vec<Node>),
    Granted(bool),
    Env(Vec<Vec<u8>>),
    Methods(Methods),
    Networks(Vec<Subnet>),
    Local,
    Expression(Condition),
    ValidUser,
    Users(Word),
    Groups(Word),
    /// Something that cannot be known here. It never grants.
    Unknown,
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorization {
    pub(crate) root: Option<Node>,
    merging: Option<Merging>,
    forbidden_on_failure: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merging {
    Off,
    With(Logic),
}

/// What became of a `Require` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Known,
    /// Nobody is let in by it, though somebody might be.
    NeverGrants(&'static str),
    /// It is not known, and somebody who should be kept out may get in, or the other way round.
    Unknown,
}

impl Node {
    /// A container without children yet.
    pub(crate) fn container(logic: Logic, negative: bool) -> Node {
        Node {
            methods: Methods::NONE,
            negative,
            what: What::Container(logic, Vec::new()),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(&self.what, What::Container(_, children) if children.is_empty())
    }

    /// `Require [not] provider arguments`.
    pub(crate) fn require(line: &[u8], methods: Methods) -> Result<(Node, Provider), String> {
        let mut words = Words::new(line);
        let mut name = words.next().ok_or("an argument is missing")?;
        let negative = name.eq_ignore_ascii_case(b"not");
        if negative {
            name = words.next().ok_or("an argument is missing")?;
        }
        let rest = words.rest();
        let text = || expression::text(rest).map_err(|e| e.to_string());
        let what = match name.to_ascii_lowercase().as_slice() {
            b"all" if rest.eq_ignore_ascii_case(b"granted") => What::Granted(true),
            b"all" if rest.eq_ignore_ascii_case(b"denied") => What::Granted(false),
            b"all" => return Err("must be all granted or all denied".to_owned()),
            b"env" => What::Env(words.all()),
            b"method" => What::Methods(methods_of(words)?),
            b"ip" => What::Networks(networks(words)?),
            b"local" => What::Local,
            b"expr" => {
                What::Expression(expression::condition(unquoted(rest)).map_err(|e| e.to_string())?)
            }
            b"valid-user" => What::ValidUser,
            b"user" => What::Users(text()?),
            b"group" => What::Groups(text()?),
            _ => What::Unknown,
        };
        let is_by_name = matches!(
            name.to_ascii_lowercase().as_slice(),
            b"host" | b"forward-dns"
        );
        let provider = match (&what, negative) {
            (What::Unknown, false) if is_by_name => {
                Provider::NeverGrants("names of hosts are not looked up: nobody is let in by it")
            }
            (What::Unknown, _) => Provider::Unknown,
            _ => Provider::Known,
        };
        let node = Node {
            methods,
            negative,
            what,
        };
        Ok((node, provider))
    }

    /// The patterns in it, for the quota.
    pub(crate) fn patterns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        if let What::Expression(condition) = &self.what {
            condition.patterns(&mut found);
        }
        found
    }

    /// Adds a line or a container that was read to the end.
    pub(crate) fn add(&mut self, child: Node) -> Result<(), String> {
        let What::Container(logic, children) = &mut self.what else {
            unreachable!("children are added to containers");
        };
        if child.is_empty() {
            return Err("contains no Require".to_owned());
        }
        if child.negative && *logic == Logic::Any {
            return Err("a negative condition has no effect where any one is enough".to_owned());
        }
        self.methods = self.methods.or(child.methods);
        match child.what {
            // Nothing is changed by a container of the same kind.
            What::Container(inner, grandchildren) if inner == *logic && !child.negative => {
                children.extend(grandchildren);
            }
            what => children.push(Node { what, ..child }),
        }
        Ok(())
    }
}

fn unquoted(text: &[u8]) -> &[u8] {
    let inner = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""));
    inner.unwrap_or(text)
}

fn methods_of(words: Words<'_>) -> Result<Methods, String> {
    let mut methods = Methods::NONE;
    for word in words {
        methods = methods.with(method_of(&word)?);
    }
    Ok(methods)
}

/// A method that is known.
pub(crate) fn method_of(word: &[u8]) -> Result<Method, String> {
    let method = std::str::from_utf8(word).map(Method::named);
    match method {
        Ok(method) if method.is_known() => Ok(method),
        _ => Err(format!("unknown method {}", show(word))),
    }
}

fn networks(words: Words<'_>) -> Result<Vec<Subnet>, String> {
    let mut networks = Vec::new();
    for word in words {
        let network = Subnet::parse(&word);
        networks.push(network.ok_or_else(|| format!("invalid address {}", show(&word)))?);
    }
    match networks.is_empty() {
        true => Err("an address is missing".to_owned()),
        false => Ok(networks),
    }
}

impl Authorization {
    /// What the server's own configuration says of a document root: `Require all granted`.
    pub(crate) fn open() -> Authorization {
        let mut open = Authorization::default();
        let all = Node {
            methods: Methods::ALL,
            negative: false,
            what: What::Granted(true),
        };
        open.root().add(all).expect("it is not negative");
        open
    }

    /// The container that lines outside of any container stand in.
    pub(crate) fn root(&mut self) -> &mut Node {
        self.root.get_or_insert(Node {
            methods: Methods::NONE,
            negative: false,
            what: What::Container(Logic::Any, Vec::new()),
        })
    }

    /// `AuthMerging off|and|or`.
    pub(crate) fn set_merging(&mut self, word: &[u8]) -> Result<(), String> {
        self.merging = Some(match word.to_ascii_lowercase().as_slice() {
            b"off" => Merging::Off,
            b"and" => Merging::With(Logic::All),
            b"or" => Merging::With(Logic::Any),
            _ => return Err("must be off, and, or or".to_owned()),
        });
        Ok(())
    }

    /// `AuthzSendForbiddenOnFailure on|off`.
    pub(crate) fn set_forbidden_on_failure(&mut self, on: bool) {
        self.forbidden_on_failure = Some(on);
    }

    pub(crate) fn forbidden_on_failure(&self) -> bool {
        self.forbidden_on_failure == Some(true)
    }

    pub(crate) fn merged(&self, over: &Authorization) -> Authorization {
        let only_failure = over.merging.is_none() && over.root.is_none() && self.root.is_some();
        let (root, merging) = match over.merging {
            None if only_failure => (self.root.clone(), self.merging),
            None | Some(Merging::Off) => (over.root.clone(), over.merging),
            Some(Merging::With(logic)) => {
                let root = match (&self.root, &over.root) {
                    (Some(base), Some(own)) => Some(Node {
                        methods: base.methods.or(own.methods),
                        negative: false,
                        what: What::Container(logic, vec![base.clone(), own.clone()]),
                    }),
                    (base, own) => own.clone().or_else(|| base.clone()),
                };
                (root, over.merging)
            }
        };
        Authorization {
            root,
            merging,
            forbidden_on_failure: over.forbidden_on_failure.or(self.forbidden_on_failure),
        }
    }
}
