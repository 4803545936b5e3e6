//! The way to a Druid: its overlord takes tasks, its coordinator says what is loaded, its broker answers in SQL.
//!
//! Each call is one request under a time limit, in a thread that may wait. Redirects are not followed. Invariant: an error
//! names what was asked and what kind of answer came, never Druid's own words nor the password.

mod error;
mod login;
mod segments;
mod supervisors;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use vitalake_runtime::config::notify::Hidden;
use vitalake_runtime::http;

use error::{away, reason};

pub use error::DruidError;
pub use segments::Segment;
pub use supervisors::{StreamState, Supervised};
pub use tasks::{SubmitOutcome, TaskState};

/// How long one request may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Where the parts of a cluster are: a router that passes everything on, or each by itself.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Takes tasks.
    pub overlord: String,
    /// Knows segments.
    pub coordinator: String,
    /// Answers questions.
    pub broker: String,
    /// User and password, where the cluster asks for them.
    pub login: Option<(String, Hidden)>,
}

/// A cluster that is asked. Clones are the same.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    addresses: Addresses,
    authorization: Option<Hidden>,
    agent: Agent,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("addresses", &self.0.addresses).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Part {
    Overlord,
    Coordinator,
    Broker,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Overlord => "overlord",
            Self::Coordinator => "coordinator",
            Self::Broker => "broker",
        }
    }
}

/// A request: whom it asks, what for, and where that lies.
struct Ask {
    part: Part,
    attempt: &'static str,
    path: String,
    body: Option<Value>,
}

impl Ask {
    fn get(part: Part, attempt: &'static str, path: impl Into<String>) -> Self {
        Self { part, attempt, path: path.into(), body: None }
    }

    fn post(part: Part, attempt: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { part, attempt, path: path.into(), body: Some(body) }
    }
}

impl Cluster {
    /// A cluster of which nothing was asked yet.
    #[must_use]
    pub fn new(addresses: Addresses) -> Self {
        let config = http::client().proxy(None).timeout_global(Some(ANSWER_MAX)).timeout_connect(Some(CONNECT_MAX));
        let agent = config.build().new_agent();
        let authorization = addresses.login.as_ref().map(|(user, password)| login::basic(user, password));
        Self(Arc::new(Inner { addresses, authorization, agent }))
    }

    async fn done(&self, ask: Ask) -> Result<Value, DruidError> {
        let (part, attempt) = (ask.part, ask.attempt);
        match self.send(ask).await? {
            (200..=299, answer) => Ok(answer),
            (status, _) if status >= 500 => Err(away(part, format!("it answers {status}"))),
            (status, _) => Err(DruidError::Rejected { part: part.name(), attempt, status }),
        }
    }

    /// Sends a request; gives status and answer, which is null where it is no JSON.
    async fn send(&self, ask: Ask) -> Result<(u16, Value), DruidError> {
        let (cluster, part) = (Arc::clone(&self.0), ask.part);
        let sent = tokio::task::spawn_blocking(move || cluster.send(&ask)).await;
        let (status, answer) = sent.unwrap_or_else(|_| Err(away(part, "the attempt broke off".to_owned())))?;
        match status {
            401 | 403 => Err(DruidError::Refused { part: part.name(), status }),
            300..=399 => Err(away(part, format!("it answers {status}, a redirect, which is not followed"))),
            502..=504 => Err(away(part, format!("it answers {status}"))),
            status => Ok((status, answer)),
        }
    }
}

impl Inner {
    fn send(&self, ask: &Ask) -> Result<(u16, Value), DruidError> {
        let base = match ask.part {
            Part::Overlord => &self.addresses.overlord,
            Part::Coordinator => &self.addresses.coordinator,
            Part::Broker => &self.addresses.broker,
        };
        let url = format!("{base}{}", ask.path);
        let login = self.authorization.as_ref().map(Hidden::expose);
        let sent = match &ask.body {
            Some(body) => {
                let request = self.agent.post(&url);
                let request = login.iter().fold(request, |request, login| request.header("authorization", *login));
                request.send_json(body)
            }
            None => {
                let request = self.agent.get(&url);
                login.iter().fold(request, |request, login| request.header("authorization", *login)).call()
            }
        };
        let response = sent.map_err(|error| away(ask.part, reason(&error)))?;
        let status = response.status().as_u16();
        let text = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| away(ask.part, reason(&error)))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}
