//! Which of several processes evaluates and sends alerts: the one that holds a lease of the control store that they share.
//!
//! Without a lake and a control store in common there is nobody to share the turn with, and it is always this process's.
//! Invariant: while the store answers, one process has the turn; while it does not, who had it last goes on, since a message
//! twice is better than none.

use std::time::Duration;

use vitalake_lake::control::Lease;

use super::Life;

/// The lease's name.
const LEASE: &str = "alerts";
/// For how long it is held after each renewal: who is killed has it no longer.
const LEASE_TIME: Duration = Duration::from_secs(6);
/// How long a control store that did not answer is left.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often a process that stands by looks whether somebody has the turn.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// How often in a row nobody must have it, so that a process that begins anew keeps it.
const FREE_LOOKS: u32 = 2;

/// The turn.
pub(super) struct AlertTurn {
    /// None where it is not shared, or not known whose it is.
    lease: Option<Lease>,
    is_shared: bool,
}

/// Whether other processes may evaluate the same alerts.
fn is_shared(life: &Life) -> bool {
    life.setup.config.storage.url.is_some() && life.control().place().kind() == "postgres"
}

impl AlertTurn {
    /// Takes the turn; `None` while another process has it. `anothers` is what was known last.
    pub(super) async fn take(life: &Life, anothers: &mut bool) -> Option<Self> {
        if !is_shared(life) {
            return Some(Self { lease: None, is_shared: false });
        }
        match life.control().claim(LEASE, LEASE_TIME).await {
            Ok(lease) => {
                *anothers = lease.is_none();
                lease.map(|lease| Self { lease: Some(lease), is_shared: true })
            }
            Err(_) if *anothers => None,
            Err(_) => Some(Self { lease: None, is_shared: true }),
        }
    }

    /// Waits until another process has it.
    pub(super) async fn over(&mut self, life: &Life) {
        if !self.is_shared {
            return std::future::pending().await;
        }
        loop {
            if let Some(lease) = &self.lease {
                lease.lost().await;
                self.lease = None;
            }
            match life.control().claim(LEASE, LEASE_TIME).await {
                Ok(Some(lease)) => self.lease = Some(lease),
                Ok(None) => return,
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Lets another process have it at once.
    pub(super) async fn give_back(self) {
        if let Some(lease) = self.lease {
            // Where that fails it is free when its time is over.
            let _given = lease.release().await;
        }
    }
}

/// Waits until nobody has had the turn for some time: the process that had it is gone. For ever where it is not shared.
pub(super) async fn nobody_has_it(life: &Life) {
    if !is_shared(life) {
        return std::future::pending().await;
    }
    let mut free = 0;
    while free < FREE_LOOKS {
        tokio::time::sleep(LOOK_INTERVAL).await;
        free = match life.control().claim(LEASE, LEASE_TIME).await {
            Ok(Some(lease)) => {
                let _given = lease.release().await;
                free + 1
            }
            Ok(None) | Err(_) => 0,
        };
    }
}
