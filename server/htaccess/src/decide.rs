//! From rules and a request to a decision, and to the headers of the answer.

use crate::decision::Decision;
use crate::engine::Engine;
use crate::files::Files;
use crate::limits::{Exhausted, STEPS_MAX, STEPS_SOON_MAX};
use crate::outcome::{Outcome, Response};
use crate::request::Request;
use crate::rules::Rules;

impl Rules {
    /// Decides about a request. What it costs is bounded by [`STEPS_MAX`]: a second in the worst case.
    pub fn decide(&self, request: &Request<'_>, files: &dyn Files) -> Decision {
        Engine::new(self, request, files, STEPS_MAX).decide()
    }

    /// Decides about a request if that costs little, as it does for all but hostile rules and passwords to check. A server
    /// can do this where it must not wait, and [`Rules::decide`] elsewhere when there is no answer.
    pub fn decide_soon(&self, request: &Request<'_>, files: &dyn Files) -> Option<Decision> {
        let decision = Engine::new(self, request, files, STEPS_SOON_MAX).decide();
        match &decision.outcome {
            Outcome::Answer(answer) if answer.exhausted == Some(Exhausted::Steps) => None,
            _ => Some(decision),
        }
    }

    /// Decides how an error is answered that was met in serving what was decided: by its `ErrorDocument`.
    pub fn fail(
        &self,
        request: &Request<'_>,
        files: &dyn Files,
        decision: &Decision,
        status: u16,
    ) -> Decision {
        Engine::new(self, request, files, STEPS_SOON_MAX).fail(decision, status)
    }

    /// Changes the headers of an answer to what was decided: `Expires`, `Header`, `AddDefaultCharset`.
    ///
    /// # Errors
    ///
    /// When they would cost too much; the answer is then as it was, and must not be sent.
    pub fn finish(
        &self,
        request: &Request<'_>,
        files: &dyn Files,
        decision: &Decision,
        response: &mut Response,
    ) -> Result<(), Exhausted> {
        Engine::new(self, request, files, STEPS_SOON_MAX).finish(decision, response)
    }
}
