//! Whether a request may ask what it asks: the one place where HTTP is let in.
//!
//! The console's pages are given to whoever asks. A client sends its token as `Authorization: Bearer TOKEN`, or its name with token or password as `Basic`; who that is
//! [`Names`](crate::names::Names) says. Where no client is listed, whoever reaches the loopback address may all.
//! Invariant: a request without an identity reaches no handler but those that tell nothing.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vitalake_ops::audit::{Surface, Who};
use vitalake_runtime::config::access::Action;

use super::App;
use super::api::error_response;
use super::console::{files, is_script, log_in, no_script, visit_of};
use super::problem::Problem;
use super::told::{Told, end, told};
use crate::identity::Identity;
use crate::names::{Given, Peer, Refused, Shown};
use crate::superset::client::form::percent_decoded;

/// What a request needs of who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// Nothing: it tells nothing of the data, or carries its own proof.
    Nothing,
    /// A name.
    Name,
    /// A role that sees what the platform says of all datasets.
    Watch,
    /// A role that sees who saw what.
    Audit,
    /// A role that hands in this dataset's records, or a subject to write records of.
    Records(String),
    /// A role that may do this, of a client that is not bound to one subject.
    Role(Action),
    /// A role that hands in what becomes this dataset.
    Deliver(String),
}

/// What a request's headers hold of who sends it.
fn said(headers: &HeaderMap) -> Result<Given, &'static str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else {
        return Err("this server wants to know who asks; send `Authorization: Bearer TOKEN`");
    };
    if given.next().is_some() {
        return Err("the request has two Authorization headers; send one");
    }
    value.to_str().ok().and_then(Given::of).ok_or(
        "the Authorization header is not one that is read here; send `Bearer TOKEN`, or your name and token or password as Basic",
    )
}

/// Lets a request in that says who it is and may ask that, with its identity for the handlers.
pub(super) async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if files::is_page(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let need = need(request.method(), request.uri().path());
    let path = request.uri().path().to_owned();
    let told = told(request.method(), &path);
    if need == Need::Nothing {
        return next.run(request).await;
    }
    let druid = request.uri().path().starts_with("/druid/");
    let (peer, given) = (peer(&request, app.limits.behind_proxy), given(&app, &request));
    let asked = Asked { druid, script: is_of_script(request.headers()), session: path == SESSION };
    let given = match given {
        Ok(given) => given,
        Err(message) => return app.shut_out(asked.turned_away(&app, unauthorized(message, druid))),
    };
    let client = match app.names.prove(given.credential(), peer).await {
        Ok(client) => client,
        Err(refused) => return app.shut_out(asked.turned_away(&app, refusal(&refused, druid))),
    };
    let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
    if matches!(given, Given::Visit(_) | Given::Principal(_)) && !reads && !is_script(request.headers()) {
        return no_script();
    }
    let identity = client.identity().clone();
    if let Some(message) = forbidden(&app, &need, &identity) {
        app.note_refused(told, Who::from(&identity), "role");
        return error_response(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    let who = Who::from(&identity);
    request.extensions_mut().insert(identity);
    // As with batches by Kafka's protocol, what is sent is in the log itself; the journal has what is refused.
    let told = told.filter(|_| !matches!(need, Need::Records(_)));
    run(&app, told, who, request, next).await
}

impl App {
    /// Tells the journal of somebody who did not prove a name.
    fn shut_out(&self, response: Response) -> Response {
        if response.status() == StatusCode::UNAUTHORIZED {
            self.sessions.audit().note_stranger(Surface::Http);
        }
        response
    }
}

/// Has a request answered, between the entries of its beginning and its end.
async fn run(app: &App, told: Option<Told<'_>>, who: Who, request: Request, next: Next) -> Response {
    let Some(told) = told else { return next.run(request).await };
    let begun = match app.begin(told, who).await {
        Ok(begun) => begun,
        Err(response) => return response,
    };
    let response = next.run(request).await;
    end(begun, response.status());
    response
}

/// What an identity lacks.
fn forbidden(app: &App, need: &Need, identity: &Identity) -> Option<String> {
    let roles_that = |may: &str| format!("this is for roles that may {may}; ask whoever keeps `access:` for one");
    match need {
        Need::Nothing | Need::Name => None,
        Need::Role(action) => (!app.sessions.may(identity, *action)).then(|| roles_that(action.as_str())),
        Need::Deliver(_) if identity.scope().subject.is_some() => {
            Some("a token for one subject's records delivers no files; send records to /ingest".to_owned())
        }
        Need::Deliver(dataset) | Need::Records(dataset) => {
            (!app.sessions.delivers(identity, dataset)).then(|| roles_that(&format!("deliver {dataset}")))
        }
        Need::Audit => (!app.sessions.audits(identity)).then(|| {
            "this tells who saw what, and is for roles that have the layer ops and the clearance restricted".to_owned()
        }),
        Need::Watch => (!app.sessions.watches(identity)).then(|| {
            "this tells of all datasets, and is for roles that may operate or that have the layer ops and the clearance restricted".to_owned()
        }),
    }
}

/// Where one asks who one is.
const SESSION: &str = "/api/v1/session";

/// What an Azure Static Web App says of its user, where the project takes its word.
const PRINCIPAL: &str = "x-ms-client-principal";

/// How somebody asks who is not let in.
struct Asked {
    druid: bool,
    script: bool,
    session: bool,
}

impl Asked {
    /// A refusal in the form that who asks reads. A browser would answer what a script was told with a window of its own.
    fn turned_away(&self, app: &App, response: Response) -> Response {
        if response.status() != StatusCode::UNAUTHORIZED || self.druid {
            return response;
        }
        let mut response = match self.session {
            true => {
                let message = "this server wants to know who asks; log in, or send `Authorization: Bearer TOKEN`";
                let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
                problem.with("log_in", log_in(app)).into_response()
            }
            false => response,
        };
        if self.script || self.session {
            response.headers_mut().remove(header::WWW_AUTHENTICATE);
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"vitalake\""));
        }
        response
    }
}

/// Whether a page's script asks, and not a person's browser by itself.
fn is_of_script(headers: &HeaderMap) -> bool {
    is_script(headers) || headers.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate")
}

/// What a request holds of who sends it: what its `Authorization` says, then what its cookie does, then a certificate.
fn given(app: &App, request: &Request) -> Result<Given, &'static str> {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION) {
        return if app.names.is_locked() { said(headers) } else { Ok(Given::Token(String::new())) };
    }
    let path = request.uri().path();
    let visit = visit_of(headers)
        .filter(|_| app.names.is_locked() && (path.starts_with("/api/v1/") || path.starts_with("/runbooks")));
    if let Some(text) = visit {
        return Ok(Given::Visit(text));
    }
    if let Some(said) = headers.get(PRINCIPAL).filter(|_| app.names.takes_principals()) {
        let is_one = headers.get_all(PRINCIPAL).iter().count() == 1;
        let said = said.to_str().ok().filter(|_| is_one);
        return said.map(|said| Given::Principal(said.to_owned())).ok_or("the header of the Static Web App is not one");
    }
    match request.extensions().get::<Arc<Shown>>() {
        Some(shown) => Ok(Given::Certificate(Arc::clone(shown))),
        None if app.names.is_locked() => said(headers),
        None => Ok(Given::Token(String::new())),
    }
}

/// What is said to who has proved nothing.
pub(super) fn refusal(refused: &Refused, druid: bool) -> Response {
    let Some(wait) = refused.retry_after() else { return unauthorized(&refused.to_string(), druid) };
    let (status, kind) = match refused {
        Refused::Away => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        _ => (StatusCode::TOO_MANY_REQUESTS, "capacity"),
    };
    let mut response = error_response(status, kind, refused.to_string()).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}

/// Where a request comes from. Behind a proxy that is what the proxy wrote last.
pub(super) fn peer(request: &Request, behind_proxy: bool) -> Peer {
    if !behind_proxy {
        return request.extensions().get::<Peer>().copied().unwrap_or_default();
    }
    let last = request.headers().get_all("x-forwarded-for").iter().next_back();
    let last = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    Peer(last.and_then(|address| address.trim().parse::<IpAddr>().ok()))
}

fn unauthorized(message: &str, druid: bool) -> Response {
    let mut response = if druid {
        // As Druid's own authenticators answer, for clients that look for this form.
        (StatusCode::UNAUTHORIZED, Json(json!({"error": "unauthorized", "errorMessage": message}))).into_response()
    } else {
        error_response(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response()
    };
    let headers = response.headers_mut();
    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"vitalake\""));
    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"vitalake\""));
    response
}

/// What each address needs. One that is not known here needs the most.
fn need(method: &Method, path: &str) -> Need {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["health", "live" | "ready"] | ["status", "health"] if reads => Need::Nothing,
        // Its address is signed.
        ["api", "v1", "published", ..] if reads => Need::Nothing,
        // Who logs in has no name yet, and who leaves needs none.
        ["api", "v1", "session"] if *method == Method::POST || *method == Method::DELETE => Need::Nothing,
        ["api", "v1", "login"] | ["api", "v1", "login", "callback"] if reads => Need::Nothing,
        ["druid", "v2", "sql", ..] | ["api", "v1", "query" | "tables" | "openapi.json", ..] => Need::Name,
        // Cut to what the name may see.
        ["api", "v1", "session" | "today" | "catalogue" | "lineage" | "dashboards" | "events", ..] if reads => {
            Need::Name
        }
        ["api", "v1", "audit", ..] => Need::Audit,
        ["ingest", dataset] if *method == Method::POST => Need::Records(percent_decoded(dataset)),
        // The evidence in runbooks and the rows of quarantines are shown as the platform sees them.
        ["runbooks", ..] | ["api", "v1", "runbooks" | "alerts", ..] => Need::Role(Action::Operate),
        ["api", "v1", "quarantine", ..] => Need::Role(Action::Operate),
        []
        | ["metrics"]
        | ["api", "v1", "status" | "datasets" | "books" | "gates" | "feeds" | "deliveries" | "druid", ..]
            if reads =>
        {
            Need::Watch
        }
        ["api", "v1", "deliveries", dataset] if *method == Method::POST => Need::Deliver(percent_decoded(dataset)),
        _ => Need::Role(Action::Operate),
    }
}

#[cfg(test)]
mod tests;
