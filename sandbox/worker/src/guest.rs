//! Guests of the sandbox behind the worker's loop: a warmed snapshot, and a clone of it for every request.

use imagefs::Image;
use sandbox::{Finished, Input, Instance, LimitKind, Outcome, Request, Snapshot};

use crate::answer::{Answer, Cost, Ending};
use crate::backend::{Asked, Backend, Cancel};
use crate::bootstrap::Bootstraps;
use crate::line::Line;
use crate::load::load;
use crate::setup::Setup;
use crate::variables::last;
use crate::{stored, warm};

/// Guests ready for requests.
#[derive(Debug)]
pub(crate) struct Guests {
    start: Start,
}

#[derive(Debug)]
enum Start {
    /// Every request gets a clone of a guest that waits in `accept`, or of one that has loaded the site as well.
    Warm {
        snapshot: Snapshot,
        /// Whether the image brought it along.
        is_stored: bool,
        bootstraps: Option<Bootstraps>,
    },
    /// Every request gets a guest that starts at its entry.
    Cold {
        snapshot: Snapshot,
        arguments: Vec<String>,
        environment: Vec<String>,
    },
}

impl Guests {
    /// Loads the program, verifies it, and takes up the image's snapshot or warms up. `confine` is called before the
    /// first guest instruction runs.
    pub(crate) fn start(
        image: &Image,
        setup: &Setup,
        confine: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Guests> {
        let cold = load(image, setup, confine)?;
        if !setup.snapshot {
            let (arguments, environment) = (setup.arguments.clone(), setup.environment.clone());
            return Ok(Guests {
                start: Start::Cold {
                    snapshot: cold,
                    arguments,
                    environment,
                },
            });
        }
        let brought = stored::find(image, setup, &cold).unwrap_or_else(|error| {
            eprintln!("the image's snapshot is not used: {error:#}");
            None
        });
        let is_stored = brought.is_some();
        let warmed = match brought {
            Some(warmed) => warmed,
            None => warm::up(&cold, setup)?,
        };
        let bootstraps = setup
            .bootstrap
            .as_ref()
            .map(|plan| Bootstraps::start(plan, &warmed.requests, &warmed.snapshot, image))
            .transpose()?;
        Ok(Guests {
            start: Start::Warm {
                snapshot: warmed.snapshot,
                is_stored,
                bootstraps,
            },
        })
    }

    /// Where the snapshot of the default kind is from, for people.
    pub(crate) fn origin(&self) -> &'static str {
        match &self.start {
            Start::Warm {
                is_stored: true, ..
            } => "image",
            Start::Warm { .. } => "warm-up",
            Start::Cold { .. } => "none",
        }
    }
}

impl Backend for Guests {
    fn answer(&self, asked: Asked, started: &dyn Fn(Cancel), line: Line) -> Answer {
        let Asked { variables, body } = asked;
        let has_body = !variables.contains(&(b"REQUEST_METHOD".to_vec(), b"HEAD".to_vec()));
        let made = match &self.start {
            Start::Warm {
                bootstraps: Some(bootstraps),
                ..
            } => bootstraps.find(&variables).map(|made| (bootstraps, made)),
            _ => None,
        };
        let request = Request {
            variables: last(variables),
        };
        if let Some((bootstraps, made)) = made {
            // What it flushes is held back: the answer may have to be thrown away.
            let builder = Instance::builder(&made.snapshot).request(request.clone());
            match run(builder, started) {
                Ok(finished) if made.shows_in(&finished) => {
                    eprintln!(
                        "worker: an answer showed the request that was frozen; the default snapshot answers"
                    );
                    bootstraps.refuse(&made);
                }
                Ok(finished) => {
                    let mut answer = answer(finished);
                    answer.cost.after_bootstrap = 1;
                    return answer;
                }
                Err(ending) => return Answer::ended(ending),
            }
        }
        let builder = match &self.start {
            Start::Warm { snapshot, .. } => Instance::builder(snapshot),
            Start::Cold {
                snapshot,
                arguments,
                environment,
            } => {
                let builder =
                    Instance::builder(snapshot).args(arguments.iter().map(String::as_str));
                environment
                    .iter()
                    .fold(builder, |b, variable| b.env(variable.as_str()))
            }
        };
        let builder = builder.request(request).stdin(Input::Bytes(body));
        let builder = if has_body {
            builder.live(Box::new(line))
        } else {
            builder
        };
        run(builder, started).map_or_else(Answer::ended, answer)
    }
}

/// Runs one instance, if there is one to be had.
fn run(builder: sandbox::Builder<'_>, started: &dyn Fn(Cancel)) -> Result<Finished, Ending> {
    let instance = builder.build().map_err(|error| match error {
        sandbox::Error::Busy { .. } => Ending::Busy,
        error => {
            eprintln!("worker: no instance: {error}");
            Ending::HostBug
        }
    })?;
    let canceller = instance.canceller();
    started(Box::new(move || canceller.cancel()));
    Ok(instance.run())
}

/// What the front is told about a finished instance.
fn answer(finished: Finished) -> Answer {
    let Finished {
        report,
        response,
        stdout,
        stderr,
        ..
    } = finished;
    let usage = &report.usage;
    let cost = Cost {
        wall_ns: usage.wall_ns,
        cpu_ns: usage.cpu_ns,
        traps: usage.traps,
        private_bytes: usage.private_bytes,
        output_bytes: usage.output_bytes,
        scratch_bytes: usage.scratch_bytes,
        discarded_bytes: usage.discarded_bytes,
        files_opened: usage.files_opened,
        full_traps: usage.full_traps,
        after_bootstrap: 0,
    };
    let ending = match (&report.outcome, &response) {
        (Outcome::Exited { .. } | Outcome::Idle, Some(_)) => Ending::Answered,
        (Outcome::Exited { .. } | Outcome::Idle, None) => Ending::NoAnswer,
        (Outcome::Limit { limit }, _) => match limit {
            LimitKind::Wall => Ending::Wall,
            LimitKind::Cpu => Ending::Cpu,
            LimitKind::Output => Ending::Output,
            LimitKind::Stack => Ending::Stack,
            _ => Ending::Traps,
        },
        (Outcome::Cancelled, _) => Ending::Cancelled,
        (Outcome::Misuse { .. }, _) => Ending::Misuse,
        (Outcome::HostBug { what }, _) => {
            eprintln!("worker: host bug: {what}");
            Ending::HostBug
        }
        _ => Ending::Fault,
    };
    let failed = match ending {
        Ending::Answered => response.as_ref().is_some_and(|r| r.status >= 500),
        Ending::NoAnswer | Ending::Fault => true,
        _ => false,
    };
    // A guest that copes with a full disk has its say; one that fails over it would blame itself.
    let ending = if failed && cost.full_traps > 0 {
        Ending::Scratch
    } else {
        ending
    };
    let Some(response) = response.filter(|_| ending == Ending::Answered) else {
        return Answer {
            cost,
            stderr,
            ..Answer::ended(ending)
        };
    };
    let headers = response
        .headers
        .into_iter()
        .map(|(name, value)| (name.into_bytes(), value))
        .collect();
    Answer {
        ending,
        status: response.status,
        dropped: response.dropped,
        cost,
        headers,
        stderr,
        body: stdout.into(),
    }
}
