//! What a good token says: until when, for whom, under which name, with which roles.
//!
//! Pure. Invariant: a role comes from a claim that the project names, and from nothing else.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use vitalake_runtime::config::access::{Issuer as Settings, Scope};

use crate::identity::Identity;
use crate::names::{Client, Refused, is_name};

/// The client that claims are of.
pub(super) fn client(
    issuer: &str,
    settings: &Settings,
    claims: &Map<String, Value>,
    now_ms: i64,
) -> Result<Client, Refused> {
    let leeway_ms = i64::from(settings.leeway_seconds) * 1_000;
    let ends_ms = moment_ms(claims, "exp").ok_or(Refused::Token("says no end"))?;
    if now_ms >= ends_ms.saturating_add(leeway_ms) {
        return Err(Refused::Over);
    }
    let begins_ms = claims.get("nbf").map(|_| moment_ms(claims, "nbf").unwrap_or(i64::MAX));
    if begins_ms.is_some_and(|begins| now_ms < begins.saturating_sub(leeway_ms)) {
        return Err(Refused::Token("is not good yet"));
    }
    if !texts(claims.get("aud"), false).iter().any(|audience| settings.audiences.contains(*audience)) {
        return Err(Refused::Token("is for another audience"));
    }
    let name = settings.name.iter().find_map(|claim| claims.get(claim)?.as_str().filter(|name| is_name(name)));
    let name = name.ok_or(Refused::Token("has none of the claims that a name is taken from"))?;
    let roles = roles(settings, claims);
    if roles.is_empty() && lacks_groups(settings, claims) {
        return Err(Refused::Token(
            "lists no groups, since its user is in too many of them; assign roles of the application, or have the issuer emit only groups that are assigned to it",
        ));
    }
    let identity = Identity::client(format!("{issuer}/{name}"), roles).narrowed(&scope(settings, claims));
    Ok(Client { identity, expires_ms: Some(ends_ms) })
}

/// The one subject whose records a device writes.
fn scope(settings: &Settings, claims: &Map<String, Value>) -> Scope {
    let of = |claim: &String| claims.get(claim).and_then(Value::as_str);
    let subject = settings.subject.as_ref().map(|claim| of(claim).unwrap_or_default().to_owned());
    subject.map_or_else(Scope::default, Scope::of_subject)
}

fn roles(settings: &Settings, claims: &Map<String, Value>) -> BTreeSet<String> {
    let given = settings.roles.iter().filter(|given| {
        // Scopes are words in one text (RFC 8693, 4.2).
        let are_words = matches!(given.claim.as_str(), "scp" | "scope");
        texts(claims.get(&given.claim), are_words).contains(&given.value.as_str())
    });
    given.map(|given| given.role.clone()).collect()
}

/// Whether groups that roles come from are left out of the token, and only said to be elsewhere (Entra ID's overage).
fn lacks_groups(settings: &Settings, claims: &Map<String, Value>) -> bool {
    let elsewhere = |claim: &str| claims.get("_claim_names").is_some_and(|names| names.get(claim).is_some());
    let is_marked = claims.get("hasgroups").is_some() || claims.get("groups:src1").is_some();
    settings.roles.iter().any(|given| elsewhere(&given.claim) || (given.claim == "groups" && is_marked))
}

/// A claim that is a text, or several.
fn texts(claim: Option<&Value>, are_words: bool) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) if are_words => text.split(' ').collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A moment in seconds since 1970, whole or not (RFC 7519, 2).
fn moment_ms(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let seconds = claims.get(name)?;
    let whole = seconds.as_i64();
    // More than a thousand years are none.
    let real = || seconds.as_f64().filter(|seconds| seconds.abs() < 1e11).map(|seconds| seconds as i64);
    whole.or_else(real)?.checked_mul(1_000)
}
