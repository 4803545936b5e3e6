//! The console's pages as they are built into the binary: by name, packed where the browser takes that, and the first page
//! for every address of theirs.
//!
//! They hold nothing of the data, and are given to whoever asks. Invariant: what is given is one of the embedded files,
//! looked up by its whole name; no address is ever a path.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use vitalake_runtime::hex;

/// Nothing is loaded from elsewhere, and no other page frames this one.
const POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
/// What a page of the console's says beside that.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];
/// The first page.
const INDEX: &str = "index.html";
/// Files whose names are made of what they hold.
const HASHED: &str = "assets/";
const FOREVER: &str = "public, max-age=31536000, immutable";
/// First words of addresses that are no page's.
const OTHERS: [&str; 7] = ["api", "ingest", "druid", "runbooks", "health", "metrics", "status"];

/// One file as it was built.
struct Embedded {
    path: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
}

const EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// A file as it is given.
struct File {
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
    kind: &'static str,
    /// Its tag, and that of its packed form.
    tags: [HeaderValue; 2],
    cache: &'static str,
}

static FILES: LazyLock<BTreeMap<&'static str, File>> = LazyLock::new(|| files_of(EMBEDDED));

fn files_of(embedded: &'static [Embedded]) -> BTreeMap<&'static str, File> {
    let file = |embedded: &'static Embedded| {
        let Embedded { path, plain, gzip } = *embedded;
        let hash = hex::encode(&Sha256::digest(plain)[..16]);
        let tag =
            |form: &str| HeaderValue::from_str(&format!("\"{hash}{form}\"")).unwrap_or(HeaderValue::from_static(""));
        let cache = if path.starts_with(HASHED) { FOREVER } else { "no-cache" };
        (path, File { plain, gzip, kind: kind_of(path), tags: [tag(""), tag("-gz")], cache })
    };
    embedded.iter().map(file).collect()
}

/// Whether the console is in this binary.
pub(in crate::http) fn is_built_in() -> bool {
    EMBEDDED.iter().any(|file| file.path == INDEX)
}

/// Whether an address is one of the console's: a file of it, or a page, which the browser's own code draws.
pub(in crate::http) fn is_page(method: &Method, path: &str) -> bool {
    is_built_in() && is_page_address(method, path)
}

fn is_page_address(method: &Method, path: &str) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    reads && !OTHERS.contains(&first)
}

/// The file or page of an address; 404 where it is none of the console's.
pub(in crate::http) async fn page(request: Request) -> Response {
    let path = request.uri().path();
    if !is_page(request.method(), path) {
        return StatusCode::NOT_FOUND.into_response();
    }
    give(&FILES, path, request.headers())
}

fn give(files: &BTreeMap<&'static str, File>, path: &str, headers: &HeaderMap) -> Response {
    let name = path.trim_start_matches('/');
    let found = match files.get(name) {
        Some(file) => Some(file),
        // A part of the pages that was rebuilt since is not there, and the first page is no script.
        None if name.starts_with(HASHED) => None,
        None => files.get(INDEX),
    };
    let Some(file) = found else { return StatusCode::NOT_FOUND.into_response() };
    let packed = file.gzip.filter(|_| takes_gzip(headers));
    let tag = if packed.is_some() { &file.tags[1] } else { &file.tags[0] };
    let mut response = match is_known(headers, tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => packed.unwrap_or(file.plain).into_response(),
    };
    let is_whole = response.status() == StatusCode::OK;
    let head = response.headers_mut();
    head.remove(header::CONTENT_TYPE);
    if is_whole {
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
        if packed.is_some() {
            head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    head.insert(header::ETAG, tag.clone());
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static(file.cache));
    head.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    for (name, value) in HEADERS {
        head.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a browser takes a packed answer: `gzip` or `*`, unless its weight is nought.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for part in headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for coding in part.split(',') {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let refused = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") => return !refused,
                "*" => any = Some(!refused),
                _ => {}
            }
        }
    }
    any.unwrap_or(false)
}

/// Whether a browser has an answer with this tag already (RFC 9110, 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).map(str::trim).any(|known| {
        let known = known.strip_prefix("W/").unwrap_or(known);
        known == "*" || known == tag
    })
}

/// The media type of a file, by its ending.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
