//! One request on its way through the phases of Apache, with its internal redirects and subrequests.

mod access;
mod authorization;
mod directory;
mod expression;
mod finish;
mod fixups;
mod headers;
mod inside;
mod redirects;
mod rewrite;
mod sign_in;
mod value;
mod variables;
mod walk;

use std::sync::Arc;

use crate::decision::Decision;
use crate::files::Files;
use crate::hit::Hit;
use crate::limits::{Budget, Exhausted};
use crate::outcome::{Answer, Outcome};
use crate::request::Request;
use crate::rules::Rules;
use crate::table::Table;

/// What looking at a file costs.
const STAT_STEPS: usize = 40;

/// What serves one request and all that comes of it.
pub(crate) struct Engine<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) request: &'a Request<'a>,
    pub(crate) files: &'a dyn Files,
    pub(crate) budget: Budget,
    redirects: u32,
    /// What stopped a redirect.
    exhausted: Option<Exhausted>,
    always: Table,
    /// Names of cookies that rules have set.
    cookies: Vec<Vec<u8>>,
}

/// Where a request stands after its phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It can be served.
    Ready,
    /// It ends with a status.
    Ended(u16),
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        request: &'a Request<'a>,
        files: &'a dyn Files,
        steps: u64,
    ) -> Engine<'a> {
        Engine {
            rules,
            request,
            files,
            budget: Budget::new(steps),
            redirects: 0,
            exhausted: None,
            always: Table::default(),
            cookies: Vec::new(),
        }
    }

    /// Decides about the request.
    pub(crate) fn decide(&mut self) -> Decision {
        let hit = Hit::first(self.request, Arc::clone(&self.rules.top));
        self.run(hit)
    }

    /// Decides how an error is answered that was met in serving a decision.
    pub(crate) fn fail(&mut self, decision: &Decision, status: u16) -> Decision {
        self.always = decision.always.clone();
        let hit = decision.hit.as_ref().clone();
        match self.error(hit, status) {
            Ok(Next::Again(hit)) => self.run(hit),
            Ok(Next::Done(hit, answer)) => self.decision(hit, Outcome::Answer(answer)),
            Err(exhausted) => self.exhausted(decision.hit.as_ref().clone(), exhausted),
        }
    }

    fn run(&mut self, hit: Hit) -> Decision {
        let fallback = hit.clone();
        match self.follow(hit) {
            Ok(decision) => decision,
            Err(exhausted) => self.exhausted(fallback, exhausted),
        }
    }

    fn exhausted(&mut self, hit: Hit, exhausted: Exhausted) -> Decision {
        let answer = Answer {
            status: 500,
            location: None,
            text: None,
            exhausted: Some(exhausted),
        };
        self.decision(hit, Outcome::Answer(answer))
    }

    fn decision(&mut self, hit: Hit, mut outcome: Outcome) -> Decision {
        if let Outcome::Answer(answer) = &mut outcome
            && answer.status == 500
        {
            answer.exhausted = answer.exhausted.or(self.exhausted);
        }
        Decision {
            outcome,
            hit: Box::new(hit),
            always: std::mem::take(&mut self.always),
        }
    }

    /// Runs the phases until something answers.
    fn follow(&mut self, mut hit: Hit) -> Result<Decision, Exhausted> {
        loop {
            let next = match self.process(&mut hit)? {
                Phase::Ready => match hit.internal.take() {
                    Some(url) => match self.redirect_inside(hit, &url)? {
                        Ok(hit) => Next::Again(hit),
                        Err((hit, status)) => self.error(hit, status)?,
                    },
                    None => {
                        let target = hit.target();
                        return Ok(self.decision(hit, Outcome::Serve(target)));
                    }
                },
                Phase::Ended(status) => self.error(hit, status)?,
            };
            match next {
                Next::Again(next) => hit = next,
                Next::Done(hit, answer) => return Ok(self.decision(hit, Outcome::Answer(answer))),
            }
        }
    }

    /// All phases up to the handler.
    fn process(&mut self, hit: &mut Hit) -> Result<Phase, Exhausted> {
        if !hit.uri.starts_with(b"/") {
            return Ok(Phase::Ended(400));
        }
        let root = &self.rules.document_root;
        hit.filename = [root.as_slice(), &hit.uri].concat();
        self.process_file(hit)
    }

    /// All phases but the one that finds the file's name.
    fn process_file(&mut self, hit: &mut Hit) -> Result<Phase, Exhausted> {
        if let Some(status) = self.find_section(hit)? {
            return Ok(Phase::Ended(status));
        }
        if !hit.is_subrequest() {
            self.set_conditional(hit)?;
        }
        if let Some(status) = self.check_access(hit)? {
            return Ok(Phase::Ended(status));
        }
        self.find_type(hit);
        if let Some(status) = self.fix_up(hit)? {
            return Ok(Phase::Ended(status));
        }
        Ok(Phase::Ready)
    }
}

/// How a request goes on after an error.
enum Next {
    Again(Hit),
    Done(Hit, Answer),
}
