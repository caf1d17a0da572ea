//! What a request is answered with, and what the logs want to know of it.

use std::time::Duration;

use hyper::{Response, StatusCode};
use worker::Cost;

use crate::exchange::body::Body;
use crate::exchange::status::status_only;

/// Which part of the server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// Nothing was asked for that could be given.
    Refused,
    /// A file of the image.
    Static,
    /// The rules of a site that cannot be changed.
    ReadOnly,
    /// The image's program, or what stands before it.
    Guest,
}

impl Handler {
    /// Its name in the log and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Handler::Refused => "refused",
            Handler::Static => "static",
            Handler::ReadOnly => "read-only",
            Handler::Guest => "guest",
        }
    }
}

/// What a guest took for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) cost: Cost,
    /// How long the request waited for an instance.
    pub(crate) queued: Duration,
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<Body>,
    pub(crate) handler: Handler,
    /// Missing when no guest ran.
    pub(crate) run: Option<Run>,
    /// A file of the site to show when there is no body, before the one for its status.
    pub(crate) page: Option<String>,
}

impl Reply {
    /// A response from one part of the server.
    pub(crate) fn new(handler: Handler, response: Response<Body>) -> Reply {
        Reply {
            response,
            handler,
            run: None,
            page: None,
        }
    }

    /// A refusal with this status.
    pub(crate) fn refused(status: StatusCode) -> Reply {
        Reply::new(Handler::Refused, status_only(status))
    }
}
