//! What is remembered of each publication: the lease of whoever publishes, and how far Druid is.
//!
//! It lies in the control store, whose loss costs no more than another publication of the whole. Invariant: it is written
//! under the lease alone, and what is under way is written before it is sent.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vitalake_lake::control::{ControlStore, Lease};
use vitalake_runtime::error::in_full;
use vitalake_serve::druid_engine::{Granularity, Interval};

/// The name of the lease.
const LEASE: &str = "druid";
/// How long a process may be silent until another publishes.
const LEASE_TIME: Duration = Duration::from_secs(10);

/// What is remembered of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// The id of the table that was published.
    pub(super) table: String,
    /// The version that Druid was seen to answer from.
    pub(super) version: Option<u64>,
    /// Its rows.
    pub(super) rows: u64,
    /// The rows that it would have by the last publication that was sent and not seen to arrive.
    pub(super) rows_tried: Option<u64>,
    /// The stretch of time of a segment, which stays.
    pub(super) granularity: Option<Granularity>,
    /// Whether the datasource is ours whatever is in it: we made it, or a person has said so.
    pub(super) ours: bool,
    /// The publication that is under way.
    pub(super) sent: Option<Sent>,
    /// How long the last publication took, in seconds.
    pub(super) took_seconds: Option<f64>,
}

/// A publication that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The task's id.
    pub(super) id: String,
    /// The version that it publishes.
    pub(super) version: u64,
    /// The version that it builds on; none where it replaces everything.
    pub(super) from: Option<u64>,
    /// The stretch of time of a segment.
    pub(super) granularity: Granularity,
    /// What it replaces.
    pub(super) intervals: Vec<Interval>,
    /// When the publication began, milliseconds since 1970.
    pub(super) began_ms: i64,
}

/// The lease, and the control store's part of it.
#[derive(Debug)]
pub(super) struct Keeper {
    store: ControlStore,
    lease: Mutex<Option<Arc<Lease>>>,
    claiming: tokio::sync::Mutex<()>,
}

impl Keeper {
    pub(super) fn new(store: ControlStore) -> Self {
        Self { store, lease: Mutex::default(), claiming: tokio::sync::Mutex::default() }
    }

    /// Whether this process publishes now; it does where nobody else does.
    pub(super) async fn holds(&self) -> bool {
        let _one = self.claiming.lock().await;
        if self.lease().is_some() {
            return true;
        }
        drop(self.lease.lock().take());
        // A store that is away says so itself; what is published waits for it.
        let claimed = self.store.claim(LEASE, LEASE_TIME).await.ok().flatten();
        *self.lease.lock() = claimed.map(Arc::new);
        self.lease().is_some()
    }

    fn lease(&self) -> Option<Arc<Lease>> {
        self.lease.lock().clone().filter(|lease| lease.is_held())
    }

    /// Gives the lease back, so that another need not wait.
    pub(super) async fn release(&self) {
        let lease = self.lease.lock().take();
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            let _free_when_its_time_is_over = lease.release().await;
        }
    }

    /// What is remembered of a datasource: nothing where the store was lost. `None` where the store does not answer.
    pub(super) async fn read<T: Default + DeserializeOwned>(&self, datasource: &str) -> Option<T> {
        let state = self.store.feed_state(&key(datasource)).await.ok()?;
        Some(state.and_then(|state| serde_json::from_str(&state).ok()).unwrap_or_default())
    }

    /// Remembers it. `false` where this process does not publish any longer, or the store does not answer: then nothing
    /// is to be sent.
    pub(super) async fn keep<T: Serialize>(&self, datasource: &str, known: &T) -> bool {
        let (Some(lease), Ok(state)) = (self.lease(), serde_json::to_string(known)) else { return false };
        match self.store.set_feed_state(&key(datasource), &state, &lease).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(datasource, error = in_full(&error), "what is published is not remembered");
                false
            }
        }
    }
}

/// No feed has such a name.
fn key(datasource: &str) -> String {
    format!("druid/{datasource}")
}
