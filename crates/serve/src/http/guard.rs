//! A server without a password answers this machine only: not a page of another site that a browser here has open.
//!
//! A rebound DNS name shows in `Host`, a cross-site request in `Origin` or `Sec-Fetch-Site`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::api::error_response;
use super::console::files::is_page;

/// Lets a request through when it comes from this machine to this machine.
pub async fn local_only(request: Request, next: Next) -> Response {
    match refusal(request.headers(), is_open(&request)) {
        None => next.run(request).await,
        Some(message) => error_response(StatusCode::FORBIDDEN, "forbidden", message).into_response(),
    }
}

/// Lets a request through that no page of another site sends: a browser would add what its user once said.
pub async fn own_pages_only(request: Request, next: Next) -> Response {
    if is_foreign(request.headers(), is_open(&request)) {
        return error_response(StatusCode::FORBIDDEN, "forbidden", FOREIGN_PAGE).into_response();
    }
    next.run(request).await
}

/// Whether an address may be followed from another site: the console's pages hold nothing, and a log-in comes back from
/// its issuer's.
fn is_open(request: &Request) -> bool {
    let (method, path) = (request.method(), request.uri().path());
    is_page(method, path) || (*method == Method::GET && path == LOGIN_ENDS)
}

/// Where an issuer sends a browser back to.
const LOGIN_ENDS: &str = "/api/v1/login/callback";

const FOREIGN_PAGE: &str = "this server does not answer pages of other sites";

/// Whether a header stands twice that says where a request comes from or goes to: one would be looked at, and the other
/// be meant.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    ["host", "origin", "sec-fetch-site"].iter().any(|name| headers.get_all(*name).iter().count() > 1)
}

fn is_foreign(headers: &HeaderMap, is_open: bool) -> bool {
    if is_ambiguous(headers) {
        return true;
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text("host").unwrap_or_default();
    match text("origin") {
        Some(origin) => origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host)),
        None => text("sec-fetch-site") == Some("cross-site") && !is_open,
    }
}

fn refusal(headers: &HeaderMap, is_open: bool) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if !text(header::HOST).is_some_and(is_local) {
        return Some("this server answers only requests to localhost; use http://localhost or http://127.0.0.1");
    }
    if is_ambiguous(headers) {
        return Some(FOREIGN_PAGE);
    }
    let origin = text(header::ORIGIN);
    let origin_is_local = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| is_local(host));
    if origin.is_some_and(|origin| !origin_is_local(origin)) {
        return Some(FOREIGN_PAGE);
    }
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or_default());
    if site == Some("cross-site") && origin.is_none() && !is_open {
        return Some(FOREIGN_PAGE);
    }
    None
}

/// Whether a host, with or without a port, is this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_page_of_another_site_is_told_from_ones_own() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            is_foreign(&headers, false)
        };
        assert!(!of(&[("host", "lake.example:8888")]));
        assert!(!of(&[("host", "lake.example:8888"), ("origin", "https://lake.example:8888")]));
        assert!(of(&[("host", "lake.example"), ("origin", "https://evil.example")]));
        assert!(of(&[("host", "lake.example"), ("origin", "null")]));
        assert!(of(&[("host", "lake.example"), ("sec-fetch-site", "cross-site")]));
        assert!(!of(&[("host", "lake.example"), ("sec-fetch-site", "none")]));
        let own = ("origin", "https://lake.example");
        assert!(of(&[("host", "lake.example"), own, ("origin", "https://evil.example")]));
        assert!(of(&[("host", "lake.example"), own, own]));
        assert!(of(&[("host", "evil.example"), ("host", "lake.example"), own]));
    }

    #[test]
    fn only_loopback_names_are_local() {
        for host in ["localhost", "localhost:8888", "127.0.0.1:8888", "127.1.2.3", "[::1]:8888", "LOCALHOST"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8888", "10.0.0.1:8888", "", "[::2]:1", "127.0.0.1.nip.io"]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
