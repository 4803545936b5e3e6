//! How far each table has been sent, and whose turn it is to send: kept in the control store.
//!
//! A store that is lost costs that the last day is sent again, with the same ids. Invariant: a place is written under the
//! lease alone, after what it says was taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vitalake_lake::control::{ControlError, ControlStore, Lease};

/// How long a process may be silent until another sends.
const LEASE_TIME: Duration = Duration::from_secs(15);

/// How far a table has been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    /// The id of the table: one that was made anew begins anew.
    pub(super) table: String,
    /// Versions up to this one are sent.
    pub(super) through: u64,
    /// A later version that has begun, and how many of its rows are sent.
    pub(super) begun: Option<(u64, usize)>,
}

/// The control store's part of sending.
#[derive(Debug)]
pub(super) struct Keeper {
    store: ControlStore,
    lease: Option<Lease>,
}

impl Keeper {
    pub(super) fn new(store: ControlStore) -> Self {
        Self { store, lease: None }
    }

    /// Whether this process sends now what is in a lake, by the id of one of its tables: it does where nobody else does. A
    /// store that is away says so itself.
    pub(super) async fn holds(&mut self, lake: &str) -> bool {
        if self.is_held() {
            return true;
        }
        self.lease = self.store.claim(&key(lake), LEASE_TIME).await.ok().flatten();
        self.is_held()
    }

    pub(super) fn is_held(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_held)
    }

    /// Gives the turn back, so that another need not wait.
    pub(super) async fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            let _free_when_its_time_is_over = lease.release().await;
        }
    }

    /// The place of a table; the beginning where none is known.
    pub(super) async fn read(&self, table: &str) -> Result<Place, ControlError> {
        let state = self.store.feed_state(&key(table)).await?;
        let known: Option<Place> = state.and_then(|state| serde_json::from_str(&state).ok());
        Ok(known.unwrap_or_else(|| Place { table: table.to_owned(), ..Place::default() }))
    }

    /// Writes a place down. `false` where another process has the turn by now.
    pub(super) async fn keep(&self, place: &Place) -> Result<bool, ControlError> {
        let (Some(lease), Ok(state)) = (&self.lease, serde_json::to_string(place)) else { return Ok(false) };
        self.store.set_feed_state(&key(&place.table), &state, lease).await
    }
}

/// What a table, or a lake, is known by; no feed has such a name.
fn key(table: &str) -> String {
    format!("monitor/{table}")
}
