//! The overlord's supervisors: tasks that stream a topic in for as long as they are wanted.
//!
//! Invariant: what a supervisor says of itself is given as its states and numbers, never as its own words.

use serde_json::{Value, json};

use super::error::{away, lacks};
use super::{Ask, Cluster, DruidError, Part};

const ATTEMPT: &str = "a supervisor";

/// A supervisor that is there, by what its specification says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervised {
    /// What vitalake has written into its context; null where somebody else has made it.
    pub made_of: Value,
    /// Whether it is told to rest.
    pub suspended: bool,
}

/// How a supervisor does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Its state, such as `RUNNING` or `LOST_CONTACT_WITH_STREAM`.
    pub state: String,
    /// Whether it calls itself healthy.
    pub healthy: bool,
    /// Records of the topic that it has not read; none where it does not know.
    pub lag: Option<u64>,
}

impl Cluster {
    /// The supervisor of a datasource; `None` where there is none.
    ///
    /// # Errors
    /// As every call.
    pub async fn supervisor(&self, datasource: &str) -> Result<Option<Supervised>, DruidError> {
        let part = Part::Overlord;
        let path = format!("/druid/indexer/v1/supervisor/{datasource}");
        let found = |specification: &Value| Supervised {
            made_of: specification.pointer("/context/vitalake").cloned().unwrap_or_default(),
            suspended: specification.get("suspended").and_then(Value::as_bool).unwrap_or(false),
        };
        match self.send(Ask::get(part, ATTEMPT, path)).await? {
            (404, _) => Ok(None),
            (200, specification) if specification.is_object() => Ok(Some(found(&specification))),
            (200, _) => Err(DruidError::Unreadable { part: part.name(), attempt: ATTEMPT }),
            (status, _) if status >= 500 => Err(away(part, format!("it answers {status}"))),
            (status, _) => Err(DruidError::Rejected { part: part.name(), attempt: ATTEMPT, status }),
        }
    }

    /// Makes the supervisor of a datasource, or gives the one that is there another specification.
    ///
    /// # Errors
    /// `Lacks` where the cluster cannot read topics.
    pub async fn supervise(&self, specification: Value) -> Result<(), DruidError> {
        let part = Part::Overlord;
        let ask = Ask::post(part, ATTEMPT, "/druid/indexer/v1/supervisor", specification);
        match self.send(ask).await? {
            (200..=299, _) => Ok(()),
            (status, _) if status > 500 => Err(away(part, format!("it answers {status}"))),
            (status, answer) => {
                Err(lacks(&answer).unwrap_or(DruidError::Rejected { part: part.name(), attempt: ATTEMPT, status }))
            }
        }
    }

    /// How a supervisor does; `None` where it is not known yet.
    ///
    /// # Errors
    /// As every call.
    pub async fn stream(&self, datasource: &str) -> Result<Option<StreamState>, DruidError> {
        let path = format!("/druid/indexer/v1/supervisor/{datasource}/status");
        let (status, answer) = self.send(Ask::get(Part::Overlord, "how a supervisor does", path)).await?;
        if status >= 500 {
            return Err(away(Part::Overlord, format!("it answers {status}")));
        }
        let Some(payload) = answer.get("payload") else { return Ok(None) };
        let state = payload.get("detailedState").and_then(Value::as_str).unwrap_or_default();
        let is_plain = state.len() < 60 && state.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        Ok(Some(StreamState {
            state: if is_plain { state.to_owned() } else { String::new() },
            healthy: payload.get("healthy").and_then(Value::as_bool).unwrap_or(false),
            lag: payload.get("aggregateLag").and_then(Value::as_u64),
        }))
    }

    /// Ends a supervisor. What it has streamed in stays.
    ///
    /// # Errors
    /// As every call.
    pub async fn terminate(&self, datasource: &str) -> Result<(), DruidError> {
        let path = format!("/druid/indexer/v1/supervisor/{datasource}/terminate");
        match self.send(Ask::post(Part::Overlord, "the end of a supervisor", path, json!({}))).await? {
            (200..=299 | 404, _) => Ok(()),
            (status, _) if status >= 500 => Err(away(Part::Overlord, format!("it answers {status}"))),
            (status, _) => {
                let (part, attempt) = (Part::Overlord.name(), "the end of a supervisor");
                Err(DruidError::Rejected { part, attempt, status })
            }
        }
    }

    /// Lets rows of a datasource go that are older than some days. Rules of the whole cluster stay as they are.
    ///
    /// # Errors
    /// As every call.
    pub async fn keep_days(&self, datasource: &str, days: u64) -> Result<(), DruidError> {
        let rules = json!([{"type": "dropBeforeByPeriod", "period": format!("P{days}D")}]);
        let path = format!("/druid/coordinator/v1/rules/{datasource}");
        self.done(Ask::post(Part::Coordinator, "how long rows are kept", path, rules)).await.map(|_| ())
    }
}
