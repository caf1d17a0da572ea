//! What a request means to its site: a refusal, a file, or a run of the program. Decided here and nowhere else.

use bytes::Bytes;
use hyper::header;
use hyper::{Method, Request, StatusCode};

use crate::exchange::body::Body;
use crate::exchange::call::Call;
use crate::exchange::files::FileRequest;
use crate::exchange::refusal;
use crate::exchange::reply::{Handler, Reply};
use crate::exchange::rules;
use crate::exchange::status::{method_not_allowed, redirect, status_only};
use crate::exchange::upload;
use crate::exchange::visit::Visit;
use crate::ops::log::Level;
use crate::site::path::{Refusal, SitePath};
use crate::site::read_only::Refused;
use crate::site::route::{Route, Script, StaticFile};

/// The reply of the site that is visited.
pub(crate) async fn reply<B>(visit: &Visit<'_>, request: Request<B>) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        let allowed = match visit.hosted.link {
            Some(_) => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            None => "GET, HEAD",
        };
        return Reply::new(Handler::Refused, method_not_allowed(allowed));
    }
    let path = match SitePath::parse(request.uri().path()) {
        Ok(path) => path,
        Err(Refusal::TooLong) => return Reply::refused(StatusCode::URI_TOO_LONG),
        Err(_) => return Reply::refused(StatusCode::BAD_REQUEST),
    };
    let Some(rules) = &visit.hosted.site.rules else {
        return follow(visit, &path, visit.hosted.site.router.route(&path), request).await;
    };
    let asked = rules::asked(visit, &request, path.clone());
    let ruling = rules::rule(rules, &asked).await;
    let mut request = request;
    rules::apply(&ruling, &mut request);
    let reply = follow(visit, &path, ruling.route.clone(), request).await;
    rules::finish(visit, rules, &asked, &ruling, reply)
}

/// Goes where a request leads.
async fn follow<B>(visit: &Visit<'_>, path: &SitePath, route: Route, request: Request<B>) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    match route {
        Route::Answer(answer) => rules::answer(visit, &answer),
        Route::Denied => Reply::refused(StatusCode::FORBIDDEN),
        Route::Missing => Reply::refused(StatusCode::NOT_FOUND),
        Route::Redirect(location) => {
            Reply::new(Handler::Refused, redirect(location, request.uri().query()))
        }
        Route::Static(file) => send(visit, &request, &file).await,
        Route::Script(script) => run(visit, path, script, request).await,
    }
}

/// Sends a file.
async fn send<B>(visit: &Visit<'_>, request: &Request<B>, file: &StaticFile) -> Reply {
    let wanted = FileRequest {
        method: request.method(),
        headers: request.headers(),
        buffers: &visit.server.buffers,
    };
    let response = match visit.hosted.files.respond(wanted, file).await {
        Ok(response) => response,
        Err(error) => {
            visit.event(Level::Error, &error.to_string(), &[]);
            status_only(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        visit.rejected();
    }
    Reply::new(Handler::Static, response)
}

/// Runs a script, unless it would change what cannot be changed.
async fn run<B>(visit: &Visit<'_>, path: &SitePath, script: Script, request: Request<B>) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let names = [path.as_bytes(), &script.name];
    let rules = &visit.hosted.site.manifest.read_only;
    match rules.refuses(request.method(), &names, request.uri().query()) {
        Some(refused) => refuse(visit, refused, path, request).await,
        None => Call::new(visit, script).answer(request).await,
    }
}

/// Says that the site cannot be changed.
async fn refuse<B>(
    visit: &Visit<'_>,
    refused: Refused,
    path: &SitePath,
    request: Request<B>,
) -> Reply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let page = visit.hosted.site.manifest.read_only.page.clone();
    let mut response = refusal::answer(refused, path.as_bytes(), request.headers());
    if page.is_some() {
        *response.body_mut() = Body::empty();
    }
    // A client that asks first has not sent its body, and need not.
    if !request.body().is_end_stream() && !request.headers().contains_key(header::EXPECT) {
        upload::discard(request.into_body()).await;
    }
    Reply {
        page,
        ..Reply::new(Handler::ReadOnly, response)
    }
}
