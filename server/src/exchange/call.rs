//! A request that the site's program answers: its body is read, it waits for an instance, and the guest runs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use worker::{Answer, Beginning, Ending, NoAnswer, Pairs};

use crate::exchange::account::protocol;
use crate::exchange::body::Body;
use crate::exchange::buffers::Exhausted;
use crate::exchange::guest_answer;
use crate::exchange::instances::Underway;
use crate::exchange::live::{Caller, LiveBody, Stay};
use crate::exchange::reply::{Handler, Reply, Run};
use crate::exchange::said;
use crate::exchange::status::{status_only, unavailable};
use crate::exchange::upload::{self, Bounds, Unread};
use crate::exchange::visit::Visit;
use crate::ops::log::Level;
use crate::site::cgi::{self, Facts};
use crate::site::path::Host;
use crate::site::route::Script;

/// Why no guest has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unanswered {
    /// The image has no program.
    NoProgram,
    Unread(Unread),
    /// The request's head is more than a guest is given.
    HeadTooLarge,
    /// The queue is full, or the wait was too long.
    Full,
    NoAnswer(NoAnswer),
}

/// What a guest has said, to its end or up to now.
struct Ran {
    reply: worker::Reply,
    /// How long the request waited for an instance.
    queued: Duration,
    stay: Stay,
}

/// What a request asks for: its path and query.
fn target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |uri| uri.as_str())
}

/// A request for a script.
pub(crate) struct Call<'a> {
    visit: &'a Visit<'a>,
    script: Script,
}

impl<'a> Call<'a> {
    pub(crate) fn new(visit: &'a Visit<'a>, script: Script) -> Call<'a> {
        Call { visit, script }
    }

    /// What the guest answers, or why it does not.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Reply
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let target = target(&head);
        match self.run(&head, body).await {
            Ok(Ran {
                reply: worker::Reply::Whole(answer),
                queued,
                stay,
            }) => {
                drop(stay);
                let cost = answer.cost;
                said::by(&answer, self.visit, target);
                Reply {
                    run: Some(Run { cost, queued }),
                    ..Reply::new(Handler::Guest, self.response(&head.method, answer))
                }
            }
            Ok(Ran {
                reply: worker::Reply::Begun(beginning),
                stay,
                ..
            }) => {
                let response = self.begun(&head.method, target, beginning, stay).await;
                Reply::new(Handler::Guest, response)
            }
            Err(why) => Reply::new(Handler::Guest, self.failed(why)),
        }
    }

    /// The response to which the guest goes on to add.
    async fn begun(
        &self,
        method: &Method,
        target: &str,
        beginning: Beginning,
        stay: Stay,
    ) -> Response<Body> {
        let answer = Answer {
            status: beginning.status,
            dropped: beginning.dropped,
            headers: beginning.headers,
            ..Answer::ended(Ending::Answered)
        };
        match guest_answer::response(method, answer) {
            Ok((response, dropped)) => {
                let caller = Caller::new(self.visit, target);
                let live = LiveBody::new(beginning.stream, caller, dropped, stay);
                if method == Method::HEAD || guest_answer::is_bodiless(response.status()) {
                    live.drain().await;
                    return response;
                }
                response.map(|_| Body::live(live))
            }
            Err(bad) => self.error(StatusCode::BAD_GATEWAY, &format!("bad answer: {bad}")),
        }
    }

    /// Runs the guest to its end, or until it flushes what it has said.
    async fn run<B>(&self, head: &Parts, body: B) -> Result<Ran, Unanswered>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let Visit { server, hosted, .. } = *self.visit;
        let link = hosted.link.as_ref().ok_or(Unanswered::NoProgram)?;
        let bounds = Bounds {
            bytes_max: hosted.site.limits.body_bytes,
            time_max: server.http.body_timeout,
            buffers: &server.buffers,
        };
        let asks_first = head.headers.contains_key(header::EXPECT);
        let (body, upload) = upload::read(body, asks_first, bounds)
            .await
            .map_err(Unanswered::Unread)?;
        let variables = self.variables(head, &body)?;
        let waiting = Instant::now();
        let place = hosted.gate.enter().await.map_err(|_| Unanswered::Full)?;
        let queued = waiting.elapsed();
        let listed = server.instances.list(Underway {
            site: hosted.name.clone(),
            method: head.method.to_string(),
            target: target(head).to_owned(),
            remote: self.visit.peers.client.address.clone(),
            request_id: self.visit.request_id.to_owned(),
            since: Instant::now(),
        });
        let wall = Duration::from_millis(hosted.site.limits.wall_ms);
        let reply = link
            .ask(&variables, &body, wall, server.hosting.queue_timeout)
            .await;
        Ok(Ran {
            reply: reply.map_err(Unanswered::NoAnswer)?,
            queued,
            stay: Stay {
                _place: place,
                _listed: listed,
                _upload: upload,
            },
        })
    }

    /// The request as CGI has it.
    fn variables(&self, head: &Parts, body: &Bytes) -> Result<Pairs, Unanswered> {
        let Visit { hosted, peers, .. } = *self.visit;
        let host = self.visit.host.map_or_else(String::new, Host::to_string);
        let has_body = !body.is_empty() || head.headers.contains_key(header::CONTENT_LENGTH);
        let facts = Facts {
            method: head.method.as_str(),
            uri: target(head),
            protocol: protocol(head.version),
            headers: &head.headers,
            body_len: has_body.then_some(body.len()),
            server_name: self.visit.host.map_or("localhost", Host::name),
            host: &host,
            server: (&peers.local.0, self.server_port()),
            remote: (&peers.client.address, peers.client.port),
            https: peers.client.https,
            root: hosted.site.router.root_path(),
            script: &self.script,
            request_id: self.visit.request_id,
        };
        cgi::variables(&facts).map_err(|cgi::TooLarge| Unanswered::HeadTooLarge)
    }

    /// The port that a client sees, as Apache has it: behind a proxy it is not ours.
    fn server_port(&self) -> u16 {
        let Visit { peers, host, .. } = *self.visit;
        let usual = if peers.client.https { 443 } else { 80 };
        host.map_or(peers.local.1, |host| host.port().unwrap_or(usual))
    }

    /// The response that a guest's answer makes, however it ended.
    fn response(&self, method: &Method, answer: Answer) -> Response<Body> {
        let (ending, cost) = (answer.ending, answer.cost);
        let (response, dropped) = match ending {
            Ending::Answered => match guest_answer::response(method, answer) {
                Ok((response, dropped)) => (self.buffered(response), dropped),
                Err(bad) => {
                    let why = format!("bad answer: {bad}");
                    (self.error(StatusCode::BAD_GATEWAY, &why), 0)
                }
            },
            Ending::Busy => (unavailable(), 0),
            _ => (self.error(status_of(ending), ending.name()), 0),
        };
        let Visit { server, hosted, .. } = *self.visit;
        server.metrics.guest(&hosted.name, ending, &cost, dropped);
        response
    }

    /// An answer that lies in memory until the client has taken it.
    fn buffered(&self, response: Response<Body>) -> Response<Body> {
        let mut hold = self.visit.server.buffers.hold();
        let len = response.body().len().unwrap_or(0);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        match hold.grow(len) {
            Ok(()) => response.map(|body| body.holding(hold)),
            Err(Exhausted) => {
                self.visit.rejected();
                unavailable()
            }
        }
    }

    /// The response when there is no answer.
    fn failed(&self, why: Unanswered) -> Response<Body> {
        match why {
            Unanswered::NoProgram => status_only(StatusCode::NOT_IMPLEMENTED),
            Unanswered::Full | Unanswered::Unread(Unread::NoRoom) => {
                self.visit.rejected();
                unavailable()
            }
            Unanswered::Unread(unread) => status_only(unread.status()),
            Unanswered::HeadTooLarge => status_only(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Unanswered::NoAnswer(NoAnswer::Died) => {
                self.error(StatusCode::BAD_GATEWAY, "the worker died with this request")
            }
            Unanswered::NoAnswer(NoAnswer::Overdue) => {
                self.error(StatusCode::GATEWAY_TIMEOUT, "the request did not end")
            }
            Unanswered::NoAnswer(NoAnswer::Down) => unavailable(),
        }
    }

    /// An error that the log hears of.
    fn error(&self, status: StatusCode, why: &str) -> Response<Body> {
        let fields = [("status", status.as_str().to_owned())];
        self.visit.event(Level::Error, why, &fields);
        status_only(status)
    }
}

/// The status that stands for an ending without an answer.
fn status_of(ending: Ending) -> StatusCode {
    match ending {
        Ending::Wall | Ending::Cpu | Ending::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        Ending::NoAnswer => StatusCode::BAD_GATEWAY,
        Ending::Scratch => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
