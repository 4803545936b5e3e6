//! Logging in at an issuer: OpenID Connect's authorization code with PKCE (RFC 7636), as a browser takes it.
//!
//! A browser is sent to the issuer with a state that it alone can bring back, comes back with a code, and the code is
//! exchanged for an ID token here. Invariant: a code is taken once, from the browser that was sent away, and the token
//! that it gives is believed as any other of its issuer: signed, for this client, and with the nonce that was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::Deserialize;
use vitalake_runtime::config::access::{Issuer as Settings, Login, is_private};
use vitalake_runtime::http::{client, is_here};

use super::Issuers;
use crate::names::{Client, Refused, hash_of, random};

/// How long a browser may take at the issuer.
const AWAY_MS_MAX: i64 = 10 * 60_000;
/// Browsers that are away at once; beyond them the oldest begin anew.
const AWAY_MAX: usize = 1_000;
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Scopes that are asked for where the project names none.
const SCOPES: &str = "openid profile";

/// Browsers that were sent to an issuer.
#[derive(Default)]
pub(in crate::names) struct Departures(Mutex<BTreeMap<[u8; 32], Departure>>);

impl std::fmt::Debug for Departures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Departures").finish_non_exhaustive()
    }
}

/// One browser that was sent away.
struct Departure {
    /// The issuer, by the `iss` of its tokens.
    issuer: String,
    verifier: String,
    nonce: String,
    /// Where it is to come back to.
    redirect: String,
    /// The hash of what it holds meanwhile.
    browser: [u8; 32],
    /// The page that it wanted.
    page: String,
    ends_ms: i64,
}

/// Where a browser is sent, and what it holds until it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The issuer's page.
    pub location: String,
    /// What the browser has to show again.
    pub holds: String,
    /// For how many milliseconds that is good.
    pub ms: i64,
}

/// What an issuer's configuration says of logging in.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Endpoints {
    authorization_endpoint: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Answer {
    id_token: String,
}

impl Issuers {
    /// Names of the issuers that browsers can log in at.
    pub(in crate::names) fn log_ins(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|issuer| issuer.settings.login.is_some()).map(|issuer| issuer.name.as_str())
    }

    /// Sends a browser to an issuer: the one of that name, or the first.
    pub(in crate::names) async fn send(
        &self,
        (name, page): (Option<&str>, &str),
        redirect: String,
        now_ms: i64,
    ) -> Result<Sent, Refused> {
        let is_meant = |name_of: &str| name.is_none_or(|name| name == name_of);
        let mut found = self.0.iter().filter(|(_, issuer)| is_meant(&issuer.name));
        let found = found.find_map(|(url, issuer)| Some((url, issuer, issuer.settings.login.as_ref()?)));
        let (url, issuer, login) = found.ok_or(Refused::NoIssuer)?;
        let endpoints = issuer.keys.endpoints(now_ms).await?;
        let [state, nonce, verifier, holds] = [(); 4].map(|()| random());
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(hash_of(&verifier));
        let scopes = if login.scopes.is_empty() { SCOPES.to_owned() } else { login.scopes.join(" ") };
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &login.client_id),
            ("redirect_uri", &redirect),
            ("scope", &scopes),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let departure = Departure {
            issuer: url.clone(),
            verifier,
            nonce,
            redirect,
            browser: hash_of(&holds),
            page: page.to_owned(),
            ends_ms: now_ms + AWAY_MS_MAX,
        };
        self.1.keep(hash_of(&state), departure, now_ms);
        let between = if endpoints.authorization_endpoint.contains('?') { '&' } else { '?' };
        Ok(Sent { location: format!("{}{between}{query}", endpoints.authorization_endpoint), holds, ms: AWAY_MS_MAX })
    }

    /// Takes a browser back with its code: who its user is, and the page that he wanted.
    pub(in crate::names) async fn take_back(
        &self,
        (state, code, holds): (&str, &str, &str),
        now_ms: i64,
    ) -> Result<(Client, String), Refused> {
        let departure = self.1.take(&hash_of(state), &hash_of(holds), now_ms).ok_or(Refused::Ended)?;
        let issuer = self.0.get(&departure.issuer).ok_or(Refused::Ended)?;
        let login = issuer.settings.login.as_ref().ok_or(Refused::Ended)?;
        let endpoints = issuer.keys.endpoints(now_ms).await?;
        let secret = login.client_secret.as_ref().map(|secret| secret.expose().to_owned());
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", departure.redirect.as_str()),
            ("client_id", login.client_id.as_str()),
            ("code_verifier", departure.verifier.as_str()),
        ];
        fields.extend(secret.as_deref().map(|secret| ("client_secret", secret)));
        let body = form(&fields);
        let asked = tokio::task::spawn_blocking(move || exchange(&endpoints.token_endpoint, body)).await;
        let token = asked.unwrap_or(Err(Refused::Away))?;
        let client = self.check_log_in(&token, (&departure.issuer, login, &departure.nonce), now_ms).await?;
        Ok((client, departure.page))
    }

    /// Who an ID token says that its bearer is, where it is the one that was asked for.
    async fn check_log_in(
        &self,
        token: &str,
        (issuer, login, nonce): (&str, &Login, &str),
        now_ms: i64,
    ) -> Result<Client, Refused> {
        let audiences = [login.client_id.clone()].into();
        let for_this = |settings: &Settings| Some(Settings { audiences, subject: None, ..settings.clone() });
        let (client, claims) = self.check_as(token, now_ms, for_this).await?;
        let says = |name: &str, want: &str| claims.get(name).and_then(serde_json::Value::as_str) == Some(want);
        if !says("iss", issuer) || !says("nonce", nonce) {
            return Err(Refused::Token("is not the one that was asked for"));
        }
        if claims.contains_key("azp") && !says("azp", &login.client_id) {
            return Err(Refused::Token("is for another audience"));
        }
        Ok(client)
    }
}

impl Endpoints {
    /// Whether both are addresses that can be trusted as much as the one that names them.
    pub(super) fn are_trusted(&self, discovery: &str) -> bool {
        let fits =
            |url: &str| is_private(url.split('?').next().unwrap_or_default()) && (is_here(discovery) || !is_here(url));
        fits(&self.authorization_endpoint) && fits(&self.token_endpoint)
    }
}

impl Departures {
    fn keep(&self, state: [u8; 32], departure: Departure, now_ms: i64) {
        let mut away = self.0.lock();
        away.retain(|_, known| known.ends_ms > now_ms);
        if away.len() >= AWAY_MAX {
            let oldest = away.iter().min_by_key(|(_, known)| known.ends_ms).map(|(state, _)| *state);
            oldest.map(|state| away.remove(&state));
        }
        away.insert(state, departure);
    }

    /// The browser that was sent away with that state, where it is the one that holds what it was given.
    fn take(&self, state: &[u8; 32], browser: &[u8; 32], now_ms: i64) -> Option<Departure> {
        let mut away = self.0.lock();
        // Another's browser takes nothing from the one that is awaited.
        away.get(state).filter(|known| known.browser == *browser)?;
        away.remove(state).filter(|known| known.ends_ms > now_ms)
    }
}

/// Exchanges a code for an ID token. Nothing of what an issuer says in words leaves here.
fn exchange(url: &str, body: String) -> Result<String, Refused> {
    let config = client().timeout_global(Some(ANSWER_MAX));
    let config = if is_here(url) { config.proxy(None) } else { config };
    let request = config.build().new_agent();
    let request = request.post(url).header("accept", "application/json");
    let sent = request.content_type("application/x-www-form-urlencoded").send(body).map_err(|_| Refused::Away)?;
    match sent.status().as_u16() {
        200 => {}
        400..=499 => return Err(Refused::Token("was not given by its issuer for that log-in")),
        _ => return Err(Refused::Away),
    }
    let answer = sent.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_json::<Answer>();
    answer.map(|answer| answer.id_token).map_err(|_| Refused::Token("was not given by its issuer for that log-in"))
}

/// Fields as a form writes them.
fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        text.bytes().fold(String::new(), |mut encoded, byte| {
            match byte {
                b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => encoded.push(char::from(b)),
                b => encoded.push_str(&format!("%{b:02X}")),
            }
            encoded
        })
    };
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    fields.collect::<Vec<_>>().join("&")
}
