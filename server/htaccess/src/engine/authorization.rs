//! Whether what `Require` asks is met.

use super::Engine;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::authorization::{Logic, Node, What};
use crate::subnet::Subnet;
use crate::text::Words;

/// What a line grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Granted,
    Denied,
    /// Denied as long as nobody has signed in.
    NoUser,
    Neutral,
}

/// What access is like for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    /// It depends on who asks.
    NeedsUser,
    Denied,
    /// The configuration contradicts itself: 500.
    Broken,
}

impl Engine<'_> {
    /// What access is like, given who has signed in.
    pub(super) fn permission(&mut self, hit: &mut Hit) -> Result<Permission, Exhausted> {
        let authorization = hit.section.authorization.clone();
        let Some(root) = authorization.as_ref().and_then(|a| a.root.as_ref()) else {
            let has_type = hit
                .section
                .authentication
                .as_ref()
                .is_some_and(|a| a.has_type());
            return Ok(match has_type {
                true => Permission::Broken,
                false => Permission::Granted,
            });
        };
        Ok(match self.verdict(root, Logic::All, hit)? {
            Verdict::Granted => Permission::Granted,
            Verdict::NoUser => Permission::NeedsUser,
            Verdict::Denied | Verdict::Neutral => Permission::Denied,
        })
    }

    fn verdict(&mut self, node: &Node, parent: Logic, hit: &mut Hit) -> Result<Verdict, Exhausted> {
        self.budget.spend(4)?;
        if !node.methods.contains(hit.method) {
            return Ok(match parent {
                Logic::All => Verdict::Granted,
                Logic::Any => Verdict::Neutral,
            });
        }
        let granted = |yes: bool| match yes {
            true => Verdict::Granted,
            false => Verdict::Denied,
        };
        let verdict = match &node.what {
            What::Container(logic, children) => self.container(*logic, children, hit)?,
            What::Granted(yes) => granted(*yes),
            What::Env(names) => granted(names.iter().any(|name| hit.env.contains(name))),
            What::Methods(methods) => granted(methods.contains(hit.method)),
            What::Networks(networks) => {
                self.budget.spend(networks.len())?;
                let remote = self.request.remote;
                granted(networks.iter().any(|network| network.contains(remote)))
            }
            What::Local => {
                let remote = self.request.remote;
                let is_local =
                    Subnet::LOCAL_V4.contains(remote) || Subnet::LOCAL_V6.contains(remote);
                granted(is_local || remote == self.request.server)
            }
            What::Expression(condition) => match self.holds(condition, hit, &mut None)? {
                true => Verdict::Granted,
                false if condition.wants_user() && hit.user.is_none() => Verdict::NoUser,
                false => Verdict::Denied,
            },
            What::ValidUser => match hit.user {
                Some(_) => Verdict::Granted,
                None => Verdict::NoUser,
            },
            What::Users(users) => match hit.user.clone() {
                None => Verdict::NoUser,
                Some(user) => {
                    let users = self.text(users, hit)?;
                    granted(Words::new(&users).any(|name| name == user))
                }
            },
            What::Groups(groups) => match hit.user.clone() {
                None => Verdict::NoUser,
                Some(user) => {
                    let groups = self.text(groups, hit)?;
                    let authentication = hit.section.authentication.as_ref();
                    let is_member =
                        |group: Vec<u8>| authentication.is_some_and(|a| a.is_member(&user, &group));
                    granted(Words::new(&groups).any(is_member))
                }
            },
            What::Unknown => Verdict::Denied,
        };
        // What was not granted is not granted by turning it round either.
        Ok(match (node.negative, verdict, &node.what) {
            (true, _, What::Unknown) => Verdict::Denied,
            (true, Verdict::Granted, _) => Verdict::Denied,
            (true, _, _) => Verdict::Neutral,
            (false, verdict, _) => verdict,
        })
    }

    fn container(
        &mut self,
        logic: Logic,
        children: &[Node],
        hit: &mut Hit,
    ) -> Result<Verdict, Exhausted> {
        let mut result = Verdict::Neutral;
        for child in children {
            let verdict = self.verdict(child, logic, hit)?;
            let decides = match logic {
                Logic::All => verdict == Verdict::Denied,
                Logic::Any => verdict == Verdict::Granted,
            };
            if decides {
                return Ok(verdict);
            }
            let weaker = match logic {
                Logic::All => verdict == Verdict::NoUser,
                Logic::Any => verdict == Verdict::NoUser && result == Verdict::Denied,
            };
            if verdict != Verdict::Neutral && (weaker || result == Verdict::Neutral) {
                result = verdict;
            }
        }
        Ok(result)
    }
}
