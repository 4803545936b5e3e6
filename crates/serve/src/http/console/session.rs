//! `/api/v1/session`: who one is and what one may do; logging in with a token or a password, and leaving.
//!
//! A browser that has logged in holds a cookie that its scripts cannot read and other sites' pages cannot send. Invariant:
//! a request that changes something and comes by cookie carries a header that no form of another site can.

use axum::Extension;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use vitalake_ops::audit::{Action, Entry, Outcome, Surface, Who};
use vitalake_runtime::config::access::Action as May;

use super::super::App;
use super::super::doors::{peer, refusal};
use super::super::problem::Problem;
use crate::identity::Identity;
use crate::names::{Client, Credential};

/// The cookie's name.
const COOKIE: &str = "vitalake_session";
/// What a script of ours says with each request.
const SCRIPT: (&str, &str) = ("x-requested-with", "vitalake");
/// Bytes of a log-in.
const PROOF_BYTES_MAX: usize = 32 << 10;

/// The connection is one of TLS.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Encrypted;

/// Whether a request says that a script of ours sends it.
pub(in crate::http) fn is_script(headers: &HeaderMap) -> bool {
    headers.get(SCRIPT.0).is_some_and(|value| value.as_bytes() == SCRIPT.1.as_bytes())
}

/// What a browser holds of its log-in. One that is there twice is none: a neighbour of this host may have set the other.
pub(in crate::http) fn visit_of(headers: &HeaderMap) -> Option<String> {
    cookie_of(headers, COOKIE)
}

/// The cookie of that name.
pub(super) fn cookie_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(known, _)| *known == name).map(|(_, text)| text);
    let text = ours.next()?;
    ours.next().is_none().then(|| text.to_owned())
}

/// How one logs in here: `none`, `token`, `oidc` or `both`.
pub(in crate::http) fn log_in(app: &App) -> &'static str {
    app.names.log_in()
}

pub(super) async fn show(State(app): State<App>, Extension(identity): Extension<Identity>) -> Response {
    told(&app, &identity).into_response()
}

/// Who somebody is.
fn told(app: &App, identity: &Identity) -> Response {
    let (sessions, about) = (&app.sessions, app.console.about());
    let answer = json!({
        "name": identity.name(),
        "roles": identity.roles().iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        "may": {
            "operate": sessions.may(identity, May::Operate),
            "deliver": sessions.may(identity, May::Deliver),
            "steward": sessions.shows_records(identity),
            "watch": sessions.watches(identity),
            "audit": sessions.audits(identity),
        },
        "log_in": log_in(app),
        "project": about.project,
        "version": about.version,
        "started_at": about.started_at,
    });
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response()
}

/// What proves a name: a token, or a name with its password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    token: Option<String>,
    name: Option<String>,
    password: Option<String>,
}

pub(super) async fn begin(State(app): State<App>, request: Request) -> Response {
    if !is_script(request.headers()) {
        return no_script();
    }
    let (is_encrypted, from) = (is_encrypted(&app, &request), peer(&request, app.limits.behind_proxy));
    let body = to_bytes(request.into_body(), PROOF_BYTES_MAX);
    let Ok(Ok(body)) = tokio::time::timeout(app.limits.body_timeout, body).await else {
        return Problem::new(StatusCode::BAD_REQUEST, "invalid", "the log-in could not be read").into_response();
    };
    let Some(proof) = serde_json::from_slice::<Proof>(&body).ok() else { return no_proof() };
    let proved = match (&proof.token, &proof.name, &proof.password) {
        (Some(token), None, None) => app.names.prove(Credential::Token(token.trim()), from).await,
        (None, Some(name), Some(secret)) => app.names.prove(Credential::Named { name, secret }, from).await,
        _ => return no_proof(),
    };
    match proved {
        Ok(client) => {
            let mut response = told(&app, client.identity());
            let cookie = enter(&app, client, is_encrypted);
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(refused) => {
            app.note_no_name();
            let mut response = refusal(&refused, false);
            // A browser would ask for a name and password by itself.
            response.headers_mut().remove(header::WWW_AUTHENTICATE);
            response
        }
    }
}

impl App {
    /// Tells the journal of a browser whose user did not prove a name.
    pub(super) fn note_no_name(&self) {
        self.sessions.audit().note_stranger(Surface::Console);
    }
}

/// The cookie of somebody who has proved his name.
pub(super) fn enter(app: &App, client: Client, is_encrypted: bool) -> HeaderValue {
    app.sessions.audit().note(login(Who::from(client.identity())).ended(Outcome::Done, None));
    let (text, ms) = app.names.begin_visit(client);
    cookie(&text, ms / 1_000, is_encrypted)
}

pub(super) async fn end(State(app): State<App>, request: Request) -> Response {
    if !is_script(request.headers()) {
        return no_script();
    }
    if let Some(text) = visit_of(request.headers()) {
        app.names.end_visit(&text);
    }
    let cookie = cookie("", 0, is_encrypted(&app, &request));
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

fn login(who: Who) -> Entry {
    Entry::new(who, Surface::Console, Action::Login)
}

fn cookie(text: &str, seconds: i64, is_encrypted: bool) -> HeaderValue {
    let secure = if is_encrypted { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}

/// Whether the browser's own connection is one of TLS.
pub(super) fn is_encrypted(app: &App, request: &Request) -> bool {
    let last = request.headers().get_all("x-forwarded-proto").iter().next_back();
    let by_proxy = last.and_then(|value| value.to_str().ok()?.rsplit(',').next().map(str::trim));
    request.extensions().get::<Encrypted>().is_some() || (app.limits.behind_proxy && by_proxy == Some("https"))
}

/// The refusal of a request by cookie that a page of another site could send.
pub(in crate::http) fn no_script() -> Response {
    let message =
        "a log-in of a browser does this only for the console's own pages, which send `X-Requested-With: vitalake`";
    Problem::new(StatusCode::FORBIDDEN, "forbidden", message).into_response()
}

fn no_proof() -> Response {
    let message = "send {\"token\": …}, or {\"name\": …, \"password\": …}";
    Problem::new(StatusCode::BAD_REQUEST, "invalid", message).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::alone(&["vitalake_session=abc"], Some("abc"))]
    #[case::among_others(&["a=b; vitalake_session=abc; c=d"], Some("abc"))]
    #[case::of_two_headers(&["a=b", "vitalake_session=abc"], Some("abc"))]
    #[case::twice(&["vitalake_session=abc; vitalake_session=def"], None)]
    #[case::another(&["my_vitalake_session=abc"], None)]
    #[case::nothing(&[], None)]
    fn a_log_in_is_read_of_its_cookie(#[case] cookies: &[&str], #[case] want: Option<&str>) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        assert_eq!(visit_of(&headers).as_deref(), want);
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
        let plain = cookie("abc", 60, false);
        assert_eq!(plain, "vitalake_session=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
        assert!(cookie("abc", 60, true).to_str().unwrap().ends_with("; Secure"));
    }
}
