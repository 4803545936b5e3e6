//! What stops the work of a connection from outside: a number and a secret that its client was given.
//!
//! Invariant: whoever does not have the secret stops nothing, and cannot tell whether there is such a connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;

use crate::identity::Identity;
use crate::session::Sessions;

/// The connections of a server.
#[derive(Debug, Default)]
pub struct Cancels {
    next: AtomicI32,
    connections: Mutex<HashMap<i32, Arc<Cancel>>>,
}

/// One connection: what runs on it now.
#[derive(Debug)]
pub struct Cancel {
    secret: [u8; 4],
    runs: Mutex<Option<(Identity, String)>>,
}

impl Cancel {
    /// Says what runs now, or that nothing does.
    pub fn runs(&self, what: Option<(Identity, String)>) {
        *self.runs.lock() = what;
    }
}

/// A connection's place among the others; it is gone with this.
#[derive(Debug)]
pub struct Place {
    cancels: Arc<Cancels>,
    /// The number that the client is given.
    pub process: i32,
    /// What runs on it.
    pub cancel: Arc<Cancel>,
}

impl Place {
    /// What only the client knows.
    pub fn secret(&self) -> &[u8] {
        &self.cancel.secret
    }
}

impl Cancels {
    /// A place for a new connection.
    pub fn enter(self: &Arc<Self>) -> Place {
        let process = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
        let random = uuid::Uuid::new_v4();
        let [a, b, c, d, ..] = *random.as_bytes();
        let cancel = Arc::new(Cancel { secret: [a, b, c, d], runs: Mutex::default() });
        self.connections.lock().insert(process, Arc::clone(&cancel));
        Place { cancels: Arc::clone(self), process, cancel }
    }

    /// Stops what runs on a connection, for whoever has its secret.
    pub fn stop(&self, process: i32, secret: &[u8], sessions: &Sessions) {
        let found = self.connections.lock().get(&process).filter(|cancel| cancel.secret == secret).cloned();
        let runs = found.and_then(|cancel| cancel.runs.lock().clone());
        if let Some((identity, query_id)) = runs {
            sessions.cancel(&identity, &query_id);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.cancels.connections.lock().remove(&self.process);
    }
}
