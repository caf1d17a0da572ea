//! Guests of the sandbox behind the worker's loop: a warmed snapshot, and a clone of it for every request.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use imagefs::Image;
use sandbox::{
    Config, Finished, ImageTree, Input, Instance, LimitKind, Mounts, Outcome, Request, Sandbox,
    Snapshot,
};

use super::backend::{Asked, Backend, Cancel};
use super::bootstrap::Bootstraps;
use super::warm;
use crate::serve::stored;
use crate::serve::wire::{Answer, Cost, Ending, Limits, Pairs, Setup};

/// Tells the guest that nobody will ask this instance again, so that it need not tidy up.
const LAST_REQUEST: &[u8] = b"ZAPP_LAST_REQUEST";

/// Guests ready for requests.
#[derive(Debug)]
pub(super) struct Guests {
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
    pub(super) fn start(
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
            .map(|plan| Bootstraps::start(plan, &warmed.requests, &warmed.snapshot))
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
    pub(super) fn origin(&self) -> &'static str {
        match &self.start {
            Start::Warm {
                is_stored: true, ..
            } => "image",
            Start::Warm { .. } => "warm-up",
            Start::Cold { .. } => "none",
        }
    }
}

/// Loads and verifies the program.
pub(super) fn load(
    image: &Image,
    setup: &Setup,
    confine: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Snapshot> {
    let ino = image
        .resolve(image.root(), setup.entry.as_bytes(), true)
        .map_err(|e| anyhow!("program {}: {e}", setup.entry))?;
    let elf = image
        .bytes(ino)
        .with_context(|| format!("program {}", setup.entry))?;
    let sandbox = Sandbox::new(Config {
        memory_budget_bytes: budget(setup),
        ..Config::default()
    })?;
    confine()?;
    let program = sandbox
        .load(&elf)
        .with_context(|| format!("program {}", setup.entry))?;
    drop(elf);
    let mounts = Mounts::new().mount("/", Arc::new(ImageTree::new(image.clone())?));
    Ok(sandbox.start(&program, &limits(&setup.limits), &mounts)?)
}

/// What all instances at once may use, and two more: one that is being warmed, and one it is compared with.
fn budget(setup: &Setup) -> u64 {
    let limits = &setup.limits;
    let each = limits
        .memory_bytes
        .saturating_add(limits.scratch_bytes)
        .saturating_add(64 << 20);
    each.saturating_mul(u64::from(setup.concurrency) + 2)
}

fn limits(limits: &Limits) -> sandbox::Limits {
    sandbox::Limits {
        wall: Some(Duration::from_millis(limits.wall_ms)),
        cpu: Some(Duration::from_millis(limits.cpu_ms)),
        memory_bytes: limits.memory_bytes,
        output_bytes: limits.output_bytes,
        scratch_bytes: limits.scratch_bytes,
        files: limits.files,
        ..sandbox::Limits::default()
    }
}

/// How a guest ended and the end of what it said, for people.
pub(super) fn describe(ended: &Finished) -> String {
    let from = ended.stderr.len().saturating_sub(2000);
    let said = imagefs::printable(&ended.stderr[from..]);
    format!("{:?} {said}", ended.report.outcome)
}

pub(super) fn last(mut variables: Pairs) -> Pairs {
    variables.push((LAST_REQUEST.to_vec(), b"1".to_vec()));
    variables
}

impl Backend for Guests {
    fn answer(&self, asked: Asked, started: &dyn Fn(Cancel)) -> Answer {
        let Asked { variables, body } = asked;
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
