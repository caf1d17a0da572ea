//! Who may ask: hosts, users, and how the two go together.

use super::Engine;
use super::authorization::Permission;
use super::sign_in::SignedIn;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::access::Satisfy;

impl Engine<'_> {
    /// Checks access. Gives the status of a refusal.
    pub(super) fn check_access(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        // What the request before this one passed by the same sections is not asked again.
        if hit.checked.as_ref() == Some(&hit.section.identity) {
            return Ok(None);
        }
        let core = hit.section.core.as_ref();
        if core.is_some_and(|core| core.https_only == Some(true)) && !self.request.https {
            return Ok(Some(403));
        }
        hit.user = None;
        hit.auth_type = None;
        let access = hit.section.access.as_ref();
        let satisfy = access.map_or(Satisfy::All, |access| access.satisfy(hit.method));
        let remote = self.request.remote;
        let host_may = match access {
            Some(access) => access.admits(hit.method, &hit.env, remote, &mut self.budget)?,
            None => true,
        };
        match satisfy {
            Satisfy::All if !host_may => return Ok(Some(403)),
            Satisfy::Any if host_may => return Ok(None),
            Satisfy::All | Satisfy::Any => {}
        }
        match self.permission(hit)? {
            Permission::Granted => Ok(None),
            Permission::Denied => Ok(Some(403)),
            Permission::Broken => Ok(Some(500)),
            Permission::NeedsUser => self.check_user(hit),
        }
    }

    fn check_user(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        match self.sign_in(hit)? {
            SignedIn::As(user) => hit.user = Some(user),
            SignedIn::Refused => {
                ask_for_user(hit);
                return Ok(Some(401));
            }
            // Nobody can sign in where there is nothing to sign in to.
            SignedIn::NotAsked | SignedIn::Broken => return Ok(Some(500)),
        }
        match self.permission(hit)? {
            Permission::Granted => Ok(None),
            Permission::Broken => Ok(Some(500)),
            Permission::Denied | Permission::NeedsUser => {
                let authorization = hit.section.authorization.as_ref();
                if authorization.is_some_and(|a| a.forbidden_on_failure()) {
                    return Ok(Some(403));
                }
                ask_for_user(hit);
                Ok(Some(401))
            }
        }
    }
}

fn ask_for_user(hit: &mut Hit) {
    let realm = hit.realm.clone().unwrap_or_default();
    hit.challenge = Some([b"Basic realm=\"", realm.as_slice(), b"\""].concat());
}
