//! Sends signed heads to where they are kept out of reach of who can write the data folder.
//!
//! A head vouches for all entries before its own, so that only the newest has to arrive. Invariant: nothing waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ureq::Agent;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::http::client;

use super::Audit;
use super::chain::Head;
use super::files::HEADS;
use super::writer::append_line;

/// How long one try may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// Where heads go.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A folder: lines of a file.
    Folder(PathBuf),
    /// An address: each by POST.
    Url(String),
}

/// Keeps heads elsewhere.
#[derive(Clone, Debug)]
pub struct Exporter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    destination: Destination,
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number that the last head vouches for that has arrived.
    exported: u64,
    failing: Option<String>,
}

impl Exporter {
    /// One to a destination.
    #[must_use]
    pub fn new(destination: Destination, disk: Arc<dyn Disk>) -> Self {
        Self(Arc::new(Shared { destination, disk, state: Mutex::default() }))
    }

    /// Why the last try failed, if it did.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.0.state.lock().failing.clone()
    }

    /// Sends each new head of a journal, until dropped.
    pub async fn run(self, audit: Audit) {
        let Some(mut heads) = audit.heads() else { return };
        loop {
            let head = heads.borrow_and_update().clone();
            if let Some(head) = head
                && !self.send(head).await
            {
                let _newer = tokio::time::timeout(AGAIN, heads.changed()).await;
                continue;
            }
            if heads.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends the newest head, once more before the process leaves.
    pub async fn last(&self, audit: &Audit, longest: Duration) {
        let head = audit.heads().and_then(|heads| heads.borrow().clone());
        if let Some(head) = head {
            let _sent = tokio::time::timeout(longest, self.send(head)).await;
        }
    }

    async fn send(&self, head: Head) -> bool {
        if self.0.state.lock().exported >= head.sequence {
            return true;
        }
        let (shared, sequence) = (Arc::clone(&self.0), head.sequence);
        let sent = tokio::task::spawn_blocking(move || shared.send(&head)).await;
        let mut state = self.0.state.lock();
        match sent.unwrap_or_else(|_| Err("it broke off".to_owned())) {
            Ok(()) => {
                if state.failing.take().is_some() {
                    tracing::info!("heads of the audit journal are exported again");
                }
                state.exported = state.exported.max(sequence);
                true
            }
            Err(reason) => {
                if state.failing.is_none() {
                    tracing::warn!(reason, "heads of the audit journal are not exported; tried again");
                }
                state.failing = Some(reason);
                false
            }
        }
    }
}

impl Shared {
    fn send(&self, head: &Head) -> Result<(), String> {
        match &self.destination {
            Destination::Folder(folder) => {
                let written = self.disk.create_dir_all(folder);
                let written = written.and_then(|()| append_line(&self.disk, &folder.join(HEADS), head));
                written.map_err(|error: io::Error| format!("the folder cannot be written: {}", error.kind()))
            }
            Destination::Url(url) => post(url, head),
        }
    }
}

fn post(url: &str, head: &Head) -> Result<(), String> {
    let agent: Agent = client().timeout_global(Some(TIME_MAX)).build().new_agent();
    match agent.post(url).send_json(head) {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("the receiver answers {}", response.status().as_u16())),
        Err(_) => Err("the receiver does not answer".to_owned()),
    }
}
