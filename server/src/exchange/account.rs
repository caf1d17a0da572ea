//! What is written down of a request once its response is over: a line in the access log, and counters.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, Version};

use crate::exchange::body::{Body, Sent};
use crate::exchange::peers::Client;
use crate::exchange::reply::Reply;
use crate::hosting::Hosted;
use crate::ops::log::Access;
use crate::site::path::Host;
use crate::state::{InFlight, Server};

/// The account of a request that is being answered.
pub(crate) struct Account {
    server: Arc<Server>,
    in_flight: InFlight,
    start: Instant,
    access: Access,
}

impl Account {
    /// Begins with the request's head.
    pub(crate) fn open<B>(
        server: &Arc<Server>,
        client: &Client,
        request_id: &str,
        request: &Request<B>,
    ) -> Account {
        let header = |name: HeaderName| {
            let value = request
                .headers()
                .get(name)
                .map_or(&b""[..], HeaderValue::as_bytes);
            String::from_utf8_lossy(value).into_owned()
        };
        let access = Access {
            time: SystemTime::now(),
            remote: client.address.clone(),
            host: String::new(),
            site: String::new(),
            method: request.method().to_string(),
            target: match request.uri().path_and_query() {
                Some(target) if request.version() == Version::HTTP_2 => target.to_string(),
                _ => request.uri().to_string(),
            },
            protocol: protocol(request.version()),
            status: 0,
            bytes: 0,
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            handler: "",
            request_id: request_id.to_owned(),
            duration_us: 0,
            cost: None,
        };
        Account {
            server: Arc::clone(server),
            in_flight: server.enter(),
            start: Instant::now(),
            access,
        }
    }

    /// The response of a reply, which is written down when its last byte is sent.
    pub(crate) fn close(
        self,
        reply: Reply,
        host: Option<&Host>,
        hosted: Option<Arc<Hosted>>,
    ) -> Response<Body> {
        let Account {
            server,
            in_flight,
            start,
            mut access,
        } = self;
        access.status = reply.response.status().as_u16();
        access.host = host.map_or_else(String::new, Host::to_string);
        access.handler = reply.handler.name();
        access.cost = reply.run.map(|run| run.cost);
        access.site = match &hosted {
            Some(hosted) => hosted.name.clone(),
            None => "-".to_owned(),
        };
        // The site is kept until then, so that an image in use is not let go in the middle.
        let on_end = Box::new(move |Sent { bytes, cost }| {
            access.bytes = bytes;
            access.cost = access.cost.take().or(cost);
            let took = start.elapsed();
            access.duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            server
                .metrics
                .response(&access.site, access.handler, access.status, bytes, took);
            server.log.access(&access);
            drop((hosted, in_flight));
        });
        reply.response.map(|body| body.on_end(on_end))
    }
}

/// A protocol's name, as nginx and CGI write it.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
