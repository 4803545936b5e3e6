//! An issuer's keys, fetched by discovery and kept.
//!
//! A key that is not known is asked for once a minute at most, whoever sends tokens that name it; an issuer that is away
//! delays nobody whose key is known. Keys that could not be seen again for a day are trusted no longer. Invariant: keys
//! come from the address that the project names, by TLS or from this machine, and by no redirect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::Mutex;
use ureq::Agent;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Issuer as Settings, is_private};
use vitalake_runtime::health::Health;
use vitalake_runtime::http::{client, is_here};

use super::login::Endpoints;
use crate::names::Refused;

/// How often an issuer is asked at most.
const ASKED_EVERY_MS: i64 = 60_000;
/// After so long its keys are looked at again.
const FRESH_MS: i64 = 3_600_000;
/// How long keys are trusted that could not be looked at again.
const TRUSTED_MS: i64 = 24 * 3_600_000;
const ANSWER_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const BYTES_MAX: u64 = 1 << 20;
const KEYS_MAX: usize = 100;
/// What status calls a part that proves names.
const PART: &str = "an issuer of tokens";

/// Why an issuer's keys cannot be had. It quotes nothing of what the issuer said.
#[derive(Debug, Error)]
enum Away {
    #[error("it does not answer")]
    Silent,
    #[error("it answers {0}")]
    Status(u16),
    #[error("what it answers is no OpenID configuration or set of keys")]
    Unreadable,
    #[error("its configuration is of another issuer")]
    Another,
    #[error("its keys are at an address whose answers cannot be trusted")]
    Address,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: Arc<Source>,
    held: RwLock<Held>,
    /// One asks at a time.
    asking: Mutex<()>,
    /// Whether it answered when it was last asked.
    health: Health,
    /// Where browsers log in, and when that was seen.
    endpoints: RwLock<Option<(i64, Endpoints)>>,
}

#[derive(Debug)]
struct Source {
    name: String,
    url: String,
    discovery: String,
    agent: Agent,
}

#[derive(Debug, Default)]
struct Held {
    keys: BTreeMap<String, Jwk>,
    /// When they were seen, and when they were last asked for.
    seen_ms: Option<i64>,
    asked_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// A configuration that says where browsers log in, too.
#[derive(Deserialize)]
struct LogIns {
    #[serde(flatten)]
    configuration: Configuration,
    #[serde(flatten)]
    endpoints: Endpoints,
}

impl Keys {
    pub(super) fn new(name: &str, settings: &Settings, clock: &Clock) -> Self {
        let below = || format!("{}/.well-known/openid-configuration", settings.url.trim_end_matches('/'));
        let discovery = settings.discovery.clone().unwrap_or_else(below);
        let agent = agent(&discovery);
        let issuer = Arc::new(Source { name: name.to_owned(), url: settings.url.clone(), discovery, agent });
        let health = Health::new(PART, clock.clone());
        Self { issuer, held: RwLock::default(), asking: Mutex::default(), health, endpoints: RwLock::default() }
    }

    /// Whether the issuer answered when it was last asked.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Asks an issuer again that did not answer, so that it is known when it is back, also where nobody comes by it.
    pub(super) async fn ask_again(&self, now_ms: i64) {
        if self.health.away().is_none() {
            return;
        }
        let _turn = self.asking.lock().await;
        if self.held.read().may_ask(now_ms) {
            self.ask(now_ms).await;
        }
    }

    /// The key of a token; its issuer is asked where it is not known, or was not seen for long.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now_ms: i64,
    ) -> Result<DecodingKey, Refused> {
        let mut found = self.held.read().find(kid, algorithm, now_ms);
        if found.is_none() || self.held.read().is_old(now_ms) {
            // Whose key is known does not wait while another asks.
            let turn = match &found {
                Some(_) => self.asking.try_lock().ok(),
                None => Some(self.asking.lock().await),
            };
            if turn.is_some() && self.held.read().may_ask(now_ms) {
                self.ask(now_ms).await;
            }
            drop(turn);
            found = self.held.read().find(kid, algorithm, now_ms);
        }
        match found {
            Some(key) => Ok(key),
            None if self.held.read().is_trusted(now_ms) => {
                Err(Refused::Token("is signed with a key that its issuer does not publish"))
            }
            None => Err(Refused::Away),
        }
    }

    /// Where browsers log in.
    pub(super) async fn endpoints(&self, now_ms: i64) -> Result<Endpoints, Refused> {
        if let Some((seen_ms, endpoints)) = &*self.endpoints.read()
            && now_ms - seen_ms < FRESH_MS
        {
            return Ok(endpoints.clone());
        }
        let source = Arc::clone(&self.issuer);
        let answered = tokio::task::spawn_blocking(move || source.endpoints()).await;
        match answered.unwrap_or(Err(Away::Silent)) {
            Ok(endpoints) => {
                *self.endpoints.write() = Some((now_ms, endpoints.clone()));
                Ok(endpoints)
            }
            Err(away) => {
                tracing::warn!(issuer = %self.issuer.name, reason = %away, "nobody can log in at an issuer now");
                Err(Refused::Away)
            }
        }
    }

    async fn ask(&self, now_ms: i64) {
        self.held.write().asked_ms = Some(now_ms);
        let source = Arc::clone(&self.issuer);
        let answered = tokio::task::spawn_blocking(move || source.keys()).await;
        match answered.unwrap_or(Err(Away::Silent)) {
            Ok(keys) => {
                let mut held = self.held.write();
                (held.keys, held.seen_ms) = (keys, Some(now_ms));
                drop(held);
                self.health.answered();
            }
            Err(away) => {
                self.health.note(format!("the keys of {} cannot be fetched: {away}", self.issuer.name));
                tracing::warn!(issuer = %self.issuer.name, reason = %away, "the keys of an issuer could not be fetched; asked again in a minute");
            }
        }
    }
}

impl Held {
    fn find(&self, kid: Option<&str>, algorithm: Algorithm, now_ms: i64) -> Option<DecodingKey> {
        let key = match kid {
            Some(kid) => self.keys.get(kid),
            // Who has one key alone need not name it.
            None => self.keys.values().next().filter(|_| self.keys.len() == 1),
        };
        let fits = |key: &&Jwk| {
            let of = key.common.key_algorithm.map(|of| of.to_string());
            of.is_none_or(|of| of == format!("{algorithm:?}"))
        };
        key.filter(|_| self.is_trusted(now_ms)).filter(fits).and_then(|key| DecodingKey::from_jwk(key).ok())
    }

    fn is_old(&self, now_ms: i64) -> bool {
        self.seen_ms.is_none_or(|seen| now_ms - seen >= FRESH_MS)
    }

    fn is_trusted(&self, now_ms: i64) -> bool {
        self.seen_ms.is_some_and(|seen| now_ms - seen < TRUSTED_MS)
    }

    fn may_ask(&self, now_ms: i64) -> bool {
        self.asked_ms.is_none_or(|asked| now_ms - asked >= ASKED_EVERY_MS)
    }
}

impl Source {
    fn keys(&self) -> Result<BTreeMap<String, Jwk>, Away> {
        let configuration: Configuration = self.get(&self.discovery)?;
        if configuration.issuer != self.url {
            return Err(Away::Another);
        }
        let address = Some(configuration.jwks_uri).filter(|url| is_private(url));
        // Whom the project names by TLS sends nobody to this machine's own services.
        let address = address.filter(|url| is_here(&self.discovery) || !is_here(url)).ok_or(Away::Address)?;
        let set: Lenient = self.get(&address)?;
        Ok(set.keys())
    }

    fn endpoints(&self) -> Result<Endpoints, Away> {
        let LogIns { configuration, endpoints } = self.get(&self.discovery)?;
        if configuration.issuer != self.url {
            return Err(Away::Another);
        }
        if endpoints.are_trusted(&self.discovery) { Ok(endpoints) } else { Err(Away::Address) }
    }

    fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, Away> {
        let sent = self.agent.get(url).header("accept", "application/json").call().map_err(|_| Away::Silent)?;
        if sent.status().as_u16() != 200 {
            return Err(Away::Status(sent.status().as_u16()));
        }
        sent.into_body().into_with_config().limit(BYTES_MAX).read_json().map_err(|_| Away::Unreadable)
    }
}

/// A set of keys, of which those that are not understood are left out.
#[derive(Deserialize)]
struct Lenient {
    keys: Vec<serde_json::Value>,
}

impl Lenient {
    fn keys(self) -> BTreeMap<String, Jwk> {
        let keys = self.keys.into_iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let set = JwkSet { keys: keys.collect() };
        let signs =
            |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)));
        let named = |key: Jwk| (key.common.key_id.clone().unwrap_or_default(), key);
        set.keys.into_iter().filter(signs).map(named).collect()
    }
}

fn agent(url: &str) -> Agent {
    let config = client().timeout_global(Some(ANSWER_MAX)).timeout_connect(Some(CONNECT_MAX));
    // What is on this machine is not asked of a proxy.
    let config = if is_here(url) { config.proxy(None) } else { config };
    config.build().new_agent()
}
