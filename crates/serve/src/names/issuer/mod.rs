//! Tokens of an OpenID provider (RFC 7519, 9068): checked against its published keys, and read as a name with roles.
//!
//! `keys` fetches and keeps the keys, `claims` reads what a good token says, `login` sends browsers there. A client's name
//! is `ISSUER/NAME`, which no client of the project's own can have. Invariant: nothing of a token is believed before its
//! signature is found good by a key of the one issuer that it names, under an algorithm that the project takes from there.

mod claims;
mod keys;
mod login;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Access, Issuer as Settings};
use vitalake_runtime::health::Health;

use super::{Client, Refused};
use keys::Keys;
use login::Departures;
pub use login::Sent;

/// No token of an issuer is longer.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Who else may say who somebody is.
#[derive(Debug, Default)]
pub(super) struct Issuers(BTreeMap<String, Issuer>, Departures);

#[derive(Debug)]
struct Issuer {
    name: String,
    settings: Settings,
    keys: Keys,
}

impl Issuers {
    /// Those of a project, by the `iss` of their tokens.
    pub(super) fn new(access: &Access, clock: &Clock) -> Self {
        let issuers = access.issuers.iter().map(|(name, settings)| {
            let keys = Keys::new(name, settings, clock);
            (settings.url.clone(), Issuer { name: name.clone(), settings: settings.clone(), keys })
        });
        Self(issuers.collect(), Departures::default())
    }

    /// Whether each of them answers.
    pub(super) fn health(&self) -> Vec<Health> {
        self.0.values().map(|issuer| issuer.keys.health().clone()).collect()
    }

    /// Asks those again that did not answer.
    pub(super) async fn ask_again(&self, now_ms: i64) {
        for issuer in self.0.values() {
            issuer.keys.ask_again(now_ms).await;
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text is a token of some issuer, by its looks.
    pub(super) fn takes(&self, token: &str) -> bool {
        !self.0.is_empty() && token.starts_with("ey") && token.matches('.').count() == 2
    }

    /// Who a token says that its bearer is.
    pub(super) async fn check(&self, token: &str, now_ms: i64) -> Result<Client, Refused> {
        self.check_as(token, now_ms, |_| None).await.map(|(client, _)| client)
    }

    /// The same by other settings of its issuer, where there are any, with what the token says.
    async fn check_as(
        &self,
        token: &str,
        now_ms: i64,
        other: impl FnOnce(&Settings) -> Option<Settings>,
    ) -> Result<(Client, Map<String, Value>), Refused> {
        let parts = Parts::of(token).ok_or(Refused::Token("is no token that can be read here"))?;
        let issuer = parts.issuer().and_then(|url| self.0.get(url));
        let issuer = issuer.ok_or(Refused::Token("is of an issuer that is not listed under access.issuers"))?;
        let algorithm = parts.algorithm(&issuer.settings)?;
        let key = issuer.keys.find(parts.key(), algorithm, now_ms).await?;
        if !is_signed(token, &key, algorithm) {
            return Err(Refused::Token("is not signed by its issuer"));
        }
        let other = other(&issuer.settings);
        let settings = other.as_ref().unwrap_or(&issuer.settings);
        Ok((claims::client(&issuer.name, settings, &parts.claims, now_ms)?, parts.claims))
    }
}

/// A token's header and claims, not believed yet.
struct Parts {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Parts {
    fn of(token: &str) -> Option<Self> {
        let mut parts = Some(token).filter(|token| token.len() <= TOKEN_BYTES_MAX)?.split('.');
        let mut part = || {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
        };
        Some(Self { header: part()?, claims: part()? })
    }

    fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    fn key(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    fn algorithm(&self, settings: &Settings) -> Result<Algorithm, Refused> {
        // What has to be understood and is not (RFC 7515, 4.1.11).
        if self.header.contains_key("crit") {
            return Err(Refused::Token("asks for something that is not known here"));
        }
        let name = self.header.get("alg").and_then(Value::as_str).filter(|name| settings.algorithms.contains(*name));
        let algorithm = name.and_then(|name| Algorithm::from_str(name).ok());
        algorithm.ok_or(Refused::Token("is signed by an algorithm that is not taken from its issuer"))
    }
}

/// Whether the signature is good. Claims are read apart, by this platform's own clock.
fn is_signed(token: &str, key: &DecodingKey, algorithm: Algorithm) -> bool {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation).is_ok()
}
