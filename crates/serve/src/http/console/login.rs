//! `/api/v1/login`: a browser's way to an OpenID issuer and back, where the project has one for that.
//!
//! Invariant: who comes back is let in only with what this server gave his browser when it left, and is led to a page of
//! this server alone.

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::App;
use super::super::problem::Problem;
use super::session::{cookie_of, enter, is_encrypted};
use crate::names::Refused;

/// What a browser holds while it is away.
const COOKIE: &str = "vitalake_login";
/// Where it comes back to.
const BACK: &str = "/api/v1/login/callback";
/// Characters of a page's address.
const PAGE_CHARACTERS_MAX: usize = 2_000;

/// Where a browser wants to go.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// The page that it is to see then.
    next: Option<String>,
    /// The issuer's name in the project.
    issuer: Option<String>,
}

/// What an issuer says of a browser that comes back.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Brought {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

pub(super) async fn begin(State(app): State<App>, Query(wanted): Query<Wanted>, request: Request) -> Response {
    let encrypted = is_encrypted(&app, &request);
    let Some(base) = base(&app, request.headers(), encrypted) else {
        let message = "the request does not say which host it is for";
        return Problem::new(StatusCode::BAD_REQUEST, "invalid", message).into_response();
    };
    let page = page(wanted.next.as_deref());
    match app.names.send(wanted.issuer.as_deref(), page, format!("{base}{BACK}")).await {
        Ok(sent) => {
            // The browser comes back from another site: a cookie for its own pages alone would not come with it.
            let held = held(&sent.holds, sent.ms / 1_000, encrypted);
            led(&sent.location, [held])
        }
        Err(refused) => led(&format!("/login?problem={}", problem(&refused)), []),
    }
}

/// Why nobody was let in, as the console's own page for that reads it.
fn problem(refused: &Refused) -> &'static str {
    match refused {
        Refused::Away | Refused::Busy => "away",
        Refused::Ended | Refused::Over => "expired",
        _ => "refused",
    }
}

pub(super) async fn end(State(app): State<App>, Query(brought): Query<Brought>, request: Request) -> Response {
    let encrypted = is_encrypted(&app, &request);
    let gone = held("", 0, encrypted);
    let (Some(state), Some(code)) = (&brought.state, &brought.code) else {
        let word = if brought.error.as_deref() == Some("access_denied") { "denied" } else { "refused" };
        return led(&format!("/login?problem={word}"), [gone]);
    };
    let held = cookie_of(request.headers(), COOKIE).unwrap_or_default();
    match app.names.take_back(state, code, &held).await {
        Ok((client, page)) => led(&page, [enter(&app, client, encrypted), gone]),
        Err(refused) => {
            app.note_no_name();
            led(&format!("/login?problem={}", problem(&refused)), [gone])
        }
    }
}

/// Where people reach this server: as the project says, else as this request does.
fn base(app: &App, headers: &HeaderMap, encrypted: bool) -> Option<String> {
    let said = app.console.about().public_url.map(|url| url.trim_end_matches('/').to_owned());
    let host = || {
        let host = headers.get(header::HOST)?.to_str().ok()?;
        Some(format!("{}://{host}", if encrypted { "https" } else { "http" }))
    };
    said.or_else(host)
}

/// A page of this server; its first where another is meant.
fn page(next: Option<&str>) -> &str {
    let is_ours = |page: &&str| {
        let fits = |letter: char| letter.is_ascii_graphic() && letter != '\\';
        let is_path = page.starts_with('/') && !page.starts_with("//") && !page.starts_with("/api/");
        is_path && page.len() <= PAGE_CHARACTERS_MAX && page.chars().all(fits)
    };
    next.filter(is_ours).unwrap_or("/")
}

fn held(text: &str, seconds: i64, encrypted: bool) -> HeaderValue {
    let secure = if encrypted { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={text}; Path=/api/v1/login; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}

/// Leads a browser to a page.
fn led<const N: usize>(location: &str, cookies: [HeaderValue; N]) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_leads_to_a_page_of_this_server_alone() {
        for ours in ["/", "/datasets/vitals?tab=rules#x", "/sql?q=SELECT%201"] {
            assert_eq!(page(Some(ours)), ours);
        }
        for other in
            ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb", "/api/v1/flush", "/ä"]
        {
            assert_eq!(page(Some(other)), "/", "{other}");
        }
        assert_eq!(page(None), "/");
    }
}
