//! Who a request comes from, and whether it may ask that: the one place where HTTP is let in.
//!
//! A client proves its name by its token, as `Authorization: Bearer TOKEN` or as the password of its name (`Basic`), for
//! tools that know no other way. Where no client is listed, whoever reaches the loopback address may all. Invariant: a
//! request without an identity reaches no handler but those that tell nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use vitalake_ops::audit::{self, Entry, Outcome, Surface, Who};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Access, Action};

use super::App;
use super::api::error_response;
use super::told::{Told, end, told};
use crate::identity::Identity;

/// How long a wrong token waits for its answer.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);
/// Refusals that wait at once; a client beyond them is told to come back.
const REFUSALS_MAX: usize = 64;
/// The name of whoever a token belongs to, for tools that have the token alone and want a name.
pub const ANY_NAME: &str = "__token__";
/// No token of ours is longer.
const TOKEN_BYTES_MAX: usize = 512;

/// Who may come in.
#[derive(Debug)]
pub struct Doors {
    /// By the SHA-256 of their tokens.
    clients: BTreeMap<[u8; 32], Pass>,
    clock: Clock,
    refusals: Semaphore,
}

/// Somebody who is let in, and until when.
#[derive(Debug, Clone)]
pub struct Pass {
    identity: Identity,
    expires_ms: Option<i64>,
}

impl Pass {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// What a request needs of who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing: it tells nothing of the data, or carries its own proof.
    Nothing,
    /// A name.
    Name,
    /// A role that sees what the platform says of all datasets.
    Watch,
    /// A role that sees who saw what.
    Audit,
    /// A role that may deliver, or a subject to write records of.
    Records,
    /// A role that may do this, of a client that is not bound to one subject.
    Role(Action),
}

impl Doors {
    /// The clients that a project lists.
    #[must_use]
    pub fn new(access: &Access, clock: Clock) -> Self {
        let clients = access.clients.iter().map(|(name, client)| {
            let identity = Identity::client(name, client.roles.iter().cloned()).of_subject(client.subject.as_deref());
            let expires_ms = client.expires.map(|moment| moment.timestamp_millis());
            (client.token_sha256, Pass { identity, expires_ms })
        });
        Self { clients: clients.collect(), clock, refusals: Semaphore::new(REFUSALS_MAX) }
    }

    /// The doors of a command that has opened a project in its own process: whoever has its secret may all.
    #[must_use]
    pub fn of_secret(secret: &str, clock: Clock) -> Self {
        let pass = Pass { identity: Identity::local(), expires_ms: None };
        let clients = BTreeMap::from([(Sha256::digest(secret.as_bytes()).into(), pass)]);
        Self { clients, clock, refusals: Semaphore::new(REFUSALS_MAX) }
    }

    /// Whether a client has to say who it is.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Who a request's headers prove that it is.
    fn identify(&self, headers: &HeaderMap) -> Result<Identity, &'static str> {
        if !self.is_locked() {
            return Ok(Identity::local());
        }
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = given.next() else {
            return Err("this server wants to know who asks; send `Authorization: Bearer TOKEN`");
        };
        let wrong = "the Authorization header is not one that is read here; send `Bearer TOKEN`, or your name and token as Basic";
        if given.next().is_some() {
            return Err("the request has two Authorization headers; send one");
        }
        let (scheme, rest) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')).ok_or(wrong)?;
        let (name, token) = if scheme.eq_ignore_ascii_case("bearer") {
            (None, rest.trim().to_owned())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let text = BASE64_STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (name, token) = text.as_deref().and_then(|text| text.split_once(':')).ok_or(wrong)?;
            (Some(name.to_owned()), token.to_owned())
        } else {
            return Err(wrong);
        };
        self.pass(name.as_deref(), &token).map(|pass| pass.identity)
    }

    /// What a name and its token, or a token alone, let in. [`ANY_NAME`] stands for whoever the token belongs to.
    ///
    /// # Errors
    /// Why they let nobody in.
    pub fn pass(&self, name: Option<&str>, token: &str) -> Result<Pass, &'static str> {
        // What is compared is the hash, which tells nothing of the token however long the comparison takes.
        let refused = "the token is not one of this server, or not one of this name; ask whoever keeps `access:`";
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(refused);
        }
        let pass = self.clients.get(&<[u8; 32]>::from(Sha256::digest(token.as_bytes()))).ok_or(refused)?;
        if name.is_some_and(|name| name != pass.identity.name() && name != ANY_NAME) {
            return Err(refused);
        }
        if self.holds(pass) { Ok(pass.clone()) } else { Err("the token is over; make a new one with `vitalake token`") }
    }

    /// Whether it is still good.
    #[must_use]
    pub fn holds(&self, pass: &Pass) -> bool {
        pass.expires_ms.is_none_or(|end| self.clock.now_ms() < end)
    }
}

/// Lets a request in that says who it is and may ask that, with its identity for the handlers.
pub(super) async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let need = need(request.method(), request.uri().path());
    let path = request.uri().path().to_owned();
    let told = told(request.method(), &path);
    if need == Need::Nothing {
        // A signed address has no other name.
        return run(&app, told, Who::named("signature", "signature", []), request, next).await;
    }
    let druid = request.uri().path().starts_with("/druid/");
    let identity = match app.doors.identify(request.headers()) {
        Ok(identity) => identity,
        Err(message) => {
            let response = app.doors.refuse(message, druid).await;
            if response.status() == StatusCode::UNAUTHORIZED {
                let entry = Entry::new(Who::unknown(), Surface::Http, audit::Action::Login);
                app.sessions.audit().note(entry.ended(Outcome::Refused, Some("no_name")));
            }
            return response;
        }
    };
    let may = |action| identity.subject().is_none() && app.sessions.may(&identity, action);
    let missing = match need {
        Need::Role(action) => Some(action).filter(|action| !may(*action)),
        Need::Records => Some(Action::Deliver).filter(|action| identity.subject().is_none() && !may(*action)),
        _ => None,
    };
    if let Some(action) = missing {
        app.note_refused(told, Who::from(&identity), "role");
        let message = format!("this is for roles that may {}; ask whoever keeps `access:` for one", action.as_str());
        return error_response(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    if need == Need::Watch && !app.sessions.watches(&identity) {
        app.note_refused(told, Who::from(&identity), "role");
        let message = "this tells of all datasets, and is for roles that may operate or that have the layer ops and the clearance restricted";
        return error_response(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    if need == Need::Audit && !app.sessions.audits(&identity) {
        app.note_refused(told, Who::from(&identity), "role");
        let message = "this tells who saw what, and is for roles that have the layer ops and the clearance restricted";
        return error_response(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    let who = Who::from(&identity);
    request.extensions_mut().insert(identity);
    // As with batches by Kafka's protocol, what is sent is in the log itself; the journal has what is refused.
    let told = told.filter(|_| need != Need::Records);
    run(&app, told, who, request, next).await
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

impl Doors {
    /// Whoever tries tokens waits for each answer, and not many do at once.
    async fn refuse(&self, message: &'static str, druid: bool) -> Response {
        let Ok(_waiting) = self.refusals.try_acquire() else {
            let message = "too many requests without a good token; come back later";
            let mut response = error_response(StatusCode::TOO_MANY_REQUESTS, "capacity", message).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        };
        tokio::time::sleep(REFUSAL_DELAY).await;
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
}

/// What each address needs. One that is not known here needs the most.
fn need(method: &Method, path: &str) -> Need {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["health", "live" | "ready"] | ["status", "health"] if reads => Need::Nothing,
        // Its address is signed.
        ["api", "v1", "published", ..] if reads => Need::Nothing,
        ["druid", "v2", "sql", ..] | ["api", "v1", "query" | "tables" | "openapi.json", ..] => Need::Name,
        ["api", "v1", "audit", ..] => Need::Audit,
        ["ingest", _dataset] if *method == Method::POST => Need::Records,
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
        ["api", "v1", "deliveries", _dataset] if *method == Method::POST => Need::Role(Action::Deliver),
        _ => Need::Role(Action::Operate),
    }
}

#[cfg(test)]
mod tests;
