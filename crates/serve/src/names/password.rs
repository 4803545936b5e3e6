//! Passwords: argon2id in a blocking task, and a short memory of what was proved.
//!
//! A hash of argon2id costs tens of milliseconds and megabytes by intent, so few are computed at once and a tool that sends
//! its password with every request pays once in a while. Invariant: a name without a password costs the same, and nothing
//! that is kept lets a password be found without that cost but in this process's memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use thiserror::Error;
use tokio::sync::Semaphore;
use vitalake_runtime::config::access::{Access, PASSWORD_HASH_PREFIX};

use super::scram::{ScramHash, Verifier};
use super::{Client, Names, Refused};

/// Hashes that are computed at once.
const AT_ONCE: usize = 2;
/// How long a proved pair is remembered.
const REMEMBERED_MS: i64 = 5 * 60_000;
/// Pairs that are remembered.
const PAIRS_MAX: usize = 4_096;
/// A hash that asks for more is refused: it would be a way to take this machine's memory or time.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// A hash of a password that cannot be used. It is not quoted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("access.clients.{name}.password: {reason}; make the lines anew with `vitalake password {name}`")]
pub struct WrongHash {
    /// Whose it is.
    pub name: String,
    reason: &'static str,
}

/// The hash of a password in the form that a project's file has; none where it cannot be computed.
#[must_use]
pub fn hashed(password: &str) -> Option<String> {
    hashed_with(Params::default(), password.as_bytes())
}

fn hashed_with(params: Params, password: &[u8]) -> Option<String> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).ok()?;
    Some(argon2(params).hash_password(password, &salt).ok()?.to_string())
}

fn argon2(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// A client that has a password.
struct Held {
    client: Client,
    hash: Arc<str>,
    scram: Vec<Verifier>,
}

/// The passwords of all clients, as hashes.
pub(super) struct Passwords {
    clients: BTreeMap<String, Held>,
    /// What a name without a password is compared with, at the cost of the others.
    nobody: Arc<str>,
    turns: Arc<Semaphore>,
    /// Until when a pair of name and password is known to be right, by its hash under `key`.
    pairs: Mutex<HashMap<[u8; 32], i64>>,
    key: [u8; 32],
    /// What verifiers of SCRAM for names without one are made of: the same as long as the project's file is.
    made_up: [u8; 32],
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            clients: BTreeMap::new(),
            nobody: Arc::from(""),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            pairs: Mutex::default(),
            key: rand::random(),
            made_up: rand::random(),
        }
    }
}

impl Passwords {
    /// Those that a project has hashes of.
    pub(super) fn new(access: &Access) -> Result<Self, WrongHash> {
        let (clients, cost) = read(access)?;
        let key = access.mask_key.as_ref().map(|key| key.expose().to_owned());
        let hashes = || access.clients.values().flat_map(|client| &client.password).map(|hash| hash.expose());
        let made_up = mac(b"scram", [key.unwrap_or_else(|| hashes().collect()).as_bytes()]);
        let nobody = hashed_with(cost, &rand::random::<[u8; 32]>());
        let nobody =
            nobody.ok_or_else(|| WrongHash { name: "NAME".to_owned(), reason: "argon2 cannot be computed" })?;
        Ok(Self { clients, nobody: nobody.into(), made_up, ..Self::default() })
    }

    /// Whose password that is, where it was found right a short while ago.
    pub(super) fn proven(&self, name: &str, password: &str, now_ms: i64) -> Option<Client> {
        let pair = self.pair(name, password);
        let until_ms = *self.pairs.lock().get(&pair)?;
        let held = self.clients.get(name)?;
        (now_ms < until_ms).then(|| held.client.clone())
    }

    /// Whose password that is.
    pub(super) async fn check(&self, name: &str, password: &str, now_ms: i64) -> Result<Client, Refused> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Refused::Busy)?;
        let held = self.clients.get(name);
        let (hash, given) = (held.map_or(&self.nobody, |held| &held.hash).clone(), password.to_owned());
        let is_right = tokio::task::spawn_blocking(move || {
            // The turn is over when the work is, also when nobody waits for it any longer.
            let _turn = turn;
            PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(given.as_bytes(), &hash).is_ok())
        });
        let is_right = is_right.await.unwrap_or(false);
        let held = held.filter(|_| is_right).ok_or(Refused::Wrong)?;
        self.remember(self.pair(name, password), now_ms);
        Ok(held.client.clone())
    }

    fn remember(&self, pair: [u8; 32], now_ms: i64) {
        let mut pairs = self.pairs.lock();
        if pairs.len() >= PAIRS_MAX {
            pairs.retain(|_, until_ms| now_ms < *until_ms);
        }
        if pairs.len() < PAIRS_MAX {
            pairs.insert(pair, now_ms + REMEMBERED_MS);
        }
    }

    fn pair(&self, name: &str, password: &str) -> [u8; 32] {
        mac(&self.key, [&(name.len() as u64).to_be_bytes()[..], name.as_bytes(), password.as_bytes()])
    }

    /// Whether a name has a verifier of SCRAM-SHA-256; none where it has no password.
    pub(super) fn speaks_scram(&self, name: &str) -> Option<bool> {
        let held = self.clients.get(name)?;
        Some(held.scram.iter().any(|verifier| verifier.hash == ScramHash::Sha256))
    }

    /// One of two answers for a name that there is none of, where some have verifiers.
    pub(super) fn flips(&self, name: &str) -> bool {
        let has_some = self.clients.values().any(|held| !held.scram.is_empty());
        has_some && mac(&self.made_up, [b"asks", name.as_bytes()]).first().is_some_and(|byte| byte % 2 == 0)
    }

    /// What a name's exchange of SCRAM is checked with, and whose it is; made up where there is no such name.
    pub(super) fn scram(&self, name: &str, hash: ScramHash) -> (Verifier, Option<Client>) {
        let held = self.clients.get(name);
        let verifier = held.and_then(|held| held.scram.iter().find(|verifier| verifier.hash == hash));
        match (held, verifier) {
            (Some(held), Some(verifier)) => (verifier.clone(), Some(held.client.clone())),
            _ => (Verifier::made_up(hash, &mac(&self.made_up, [name.as_bytes()])), None),
        }
    }
}

/// Whether all hashes of passwords that stand in a project's file can be used; what stands behind a variable is seen at
/// start.
///
/// # Errors
/// The first that cannot.
pub fn check_hashes(access: &Access) -> Result<(), WrongHash> {
    let mut written = access.clone();
    written.clients.retain(|_, client| client.password.iter().all(|hash| !hash.expose().contains("${")));
    read(&written).map(|_| ())
}

/// The clients that have a password, and the cost of the dearest hash.
fn read(access: &Access) -> Result<(BTreeMap<String, Held>, Params), WrongHash> {
    let (mut clients, mut cost) = (BTreeMap::new(), Params::default());
    for (name, client) in access.clients.iter().filter(|(_, client)| !client.password.is_empty()) {
        let wrong = |reason| WrongHash { name: name.clone(), reason };
        let (mut hash, mut scram) = (Arc::from(""), Vec::new());
        for text in client.password.iter().map(|text| text.expose()) {
            if text.starts_with(PASSWORD_HASH_PREFIX) {
                let params = params_of(text).map_err(wrong)?;
                cost = if params.m_cost() > cost.m_cost() || clients.is_empty() { params } else { cost };
                hash = Arc::from(text);
            } else {
                scram.push(Verifier::parse(text).map_err(wrong)?);
            }
        }
        clients.insert(name.clone(), Held { client: Names::client_of(name, client), hash, scram });
    }
    Ok((clients, cost))
}

/// How costly a hash is, where it is one that can be computed here.
fn params_of(text: &str) -> Result<Params, &'static str> {
    let hash = PasswordHash::new(text).map_err(|_| "it is not a whole hash of argon2id")?;
    let params = Params::try_from(&hash).map_err(|_| "its parameters cannot be used")?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err("it is not a whole hash of argon2id");
    }
    let fits = params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX && params.p_cost() <= LANES_MAX;
    if fits { Ok(params) } else { Err("it asks for more than 256 MiB, 16 passes or 8 lanes") }
}

fn mac<const N: usize>(key: &[u8], parts: [&[u8]; N]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
