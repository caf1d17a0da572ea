//! `Order`, `Allow`, `Deny` and `Satisfy`: access as Apache 2.2 wrote it.

use std::net::IpAddr;

use crate::limits::{Budget, Exhausted};
use crate::request::{Method, Methods};
use crate::subnet::Subnet;
use crate::table::Table;
use crate::text::show;

/// Which list has the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    DenyAllow,
    AllowDeny,
    MutualFailure,
}

/// Whom a line means.
#[derive(Clone, Debug)]
enum Whom {
    All,
    Env(Vec<u8>),
    NoEnv(Vec<u8>),
    Network(Subnet),
    Local,
    /// A host's name. Names are not looked up, so nobody is meant.
    Host,
}

/// Whether the host or the user is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Satisfy {
    #[default]
    All,
    Any,
}

/// What a section says. A deeper section replaces it as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    orders: Vec<(Methods, Order)>,
    satisfy: Vec<(Methods, Satisfy)>,
    allow: Vec<(Methods, Whom)>,
    deny: Vec<(Methods, Whom)>,
}

/// What became of a line that names hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// None of them is a host's name.
    None,
    /// Somebody is not let in because of a name.
    NotLetIn,
    /// Somebody is not kept out because of a name.
    NotKeptOut,
}

impl Access {
    /// `Order allow,deny`.
    pub(crate) fn set_order(&mut self, word: &[u8], methods: Methods) -> Result<(), String> {
        let order = match word.to_ascii_lowercase().as_slice() {
            b"allow,deny" => Order::AllowDeny,
            b"deny,allow" => Order::DenyAllow,
            b"mutual-failure" => Order::MutualFailure,
            _ => return Err(format!("unknown order {}", show(word))),
        };
        self.orders.push((methods, order));
        Ok(())
    }

    /// `Satisfy all|any`.
    pub(crate) fn set_satisfy(&mut self, word: &[u8], methods: Methods) -> Result<(), String> {
        let satisfy = match word.to_ascii_lowercase().as_slice() {
            b"all" => Satisfy::All,
            b"any" => Satisfy::Any,
            _ => return Err("must be any or all".to_owned()),
        };
        self.satisfy.push((methods, satisfy));
        Ok(())
    }

    /// `Allow from …` and `Deny from …`.
    pub(crate) fn add(
        &mut self,
        words: &[Vec<u8>],
        allow: bool,
        methods: Methods,
    ) -> Result<Names, String> {
        let whom = match words.split_first() {
            Some((from, whom)) if from.eq_ignore_ascii_case(b"from") && !whom.is_empty() => whom,
            _ => return Err("must be followed by from and hosts".to_owned()),
        };
        let mut names = Names::None;
        for word in whom {
            let whom = Whom::parse(word)?;
            if matches!(whom, Whom::Host) {
                names = match allow {
                    true => Names::NotLetIn,
                    false => Names::NotKeptOut,
                };
            }
            let list = if allow {
                &mut self.allow
            } else {
                &mut self.deny
            };
            list.push((methods, whom));
        }
        Ok(names)
    }

    /// Whether a host may ask.
    pub(crate) fn admits(
        &self,
        method: Method,
        env: &Table,
        remote: IpAddr,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        budget.spend(self.allow.len() + self.deny.len())?;
        let is_listed = |list: &[(Methods, Whom)]| {
            let mut all = list.iter();
            all.any(|(methods, whom)| methods.contains(method) && whom.means(env, remote))
        };
        let (allowed, denied) = (is_listed(&self.allow), is_listed(&self.deny));
        Ok(match latest(&self.orders, method) {
            Order::AllowDeny | Order::MutualFailure => allowed && !denied,
            Order::DenyAllow => allowed || !denied,
        })
    }

    pub(crate) fn satisfy(&self, method: Method) -> Satisfy {
        latest(&self.satisfy, method)
    }
}

fn latest<T: Copy + Default>(list: &[(Methods, T)], method: Method) -> T {
    let mut all = list.iter().rev();
    all.find(|(methods, _)| methods.contains(method))
        .map_or_else(T::default, |(_, value)| *value)
}

impl Whom {
    fn means(&self, env: &Table, remote: IpAddr) -> bool {
        match self {
            Whom::All => true,
            Whom::Env(name) => env.contains(name),
            Whom::NoEnv(name) => !env.contains(name),
            Whom::Network(subnet) => subnet.contains(remote),
            Whom::Local => Subnet::LOCAL_V4.contains(remote) || Subnet::LOCAL_V6.contains(remote),
            Whom::Host => false,
        }
    }

    fn parse(word: &[u8]) -> Result<Whom, String> {
        let after = |prefix: &str| {
            let head = word.get(..prefix.len())?;
            let same = head.eq_ignore_ascii_case(prefix.as_bytes());
            same.then(|| word[prefix.len()..].to_vec())
        };
        if let Some(name) = after("env=!") {
            return Ok(Whom::NoEnv(name));
        }
        if let Some(name) = after("env=") {
            return Ok(Whom::Env(name));
        }
        if word.eq_ignore_ascii_case(b"all") {
            return Ok(Whom::All);
        }
        if let Some(subnet) = Subnet::parse(word) {
            return Ok(Whom::Network(subnet));
        }
        if word.contains(&b'/') {
            return Err(format!("an address was expected, not {}", show(word)));
        }
        if word.contains(&b'#') {
            return Err("no comments are allowed here".to_owned());
        }
        Ok(match word.eq_ignore_ascii_case(b"localhost") {
            true => Whom::Local,
            false => Whom::Host,
        })
    }
}
