//! Leases: one holder of a name at a time, over all processes that share a control store.
//!
//! A lease is claimed by compare and set for a time, renewed while it is held, and lost when it could not be renewed in
//! that time. Its epoch grows with every claim, so that what a former holder writes late is known. Invariant: a holder
//! takes its lease for over before anybody else can claim it, as far as clocks agree.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::database::Value;
use super::{ControlError, ControlStore};

/// Claims a name that nobody holds, or that its holder has not renewed in time. The first epoch is the time of the claim,
/// so that epochs also grow over the loss of the store.
const CLAIM: &str = "INSERT INTO lease (project, name, owner, epoch, until_us) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (project, name) DO UPDATE SET owner = excluded.owner, epoch = lease.epoch + 1, until_us = excluded.until_us \
     WHERE lease.until_us < $4 RETURNING epoch";
/// Holds on to what nobody else has claimed since.
const RENEW: &str =
    "UPDATE lease SET until_us = $5 WHERE project = $1 AND name = $2 AND owner = $3 AND epoch = $4 RETURNING epoch";
/// Gives it back; the row stays for its epoch.
const RELEASE: &str =
    "UPDATE lease SET until_us = 0 WHERE project = $1 AND name = $2 AND owner = $3 AND epoch = $4 RETURNING epoch";
/// One row while a lease is held.
pub(super) const IS_HELD: &str =
    "UPDATE lease SET epoch = epoch WHERE project = $1 AND name = $2 AND owner = $3 AND epoch = $4 RETURNING epoch";
/// Says that its holder is there, until a time.
const ATTEND: &str = "INSERT INTO lease (project, name, owner, epoch, until_us) VALUES ($1, $2, $3, 0, $4) \
     ON CONFLICT (project, name) DO UPDATE SET until_us = excluded.until_us RETURNING epoch";
/// Those of a group that are there.
const ATTENDING: &str = "SELECT owner FROM lease WHERE project = $1 AND name LIKE $2 AND until_us >= $3";
/// Those of a group that have been gone for long.
const FORGET_ABSENT: &str = "DELETE FROM lease WHERE project = $1 AND name LIKE $2 AND until_us < $3 RETURNING name";
/// How often a lease is renewed in its time.
const RENEWALS: u32 = 3;

/// Which claim of a name this is; a later claim has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease that this process has claimed. It is renewed until it is dropped or released; a dropped one is free for others
/// when its time is over.
#[derive(Debug)]
pub struct Lease {
    name: String,
    epoch: Epoch,
    ttl: Duration,
    store: ControlStore,
    /// Until when it is held, on the monotonic clock; none once it is lost.
    held_until: Arc<watch::Sender<Option<Duration>>>,
    renewing: AbortHandle,
}

impl ControlStore {
    /// Claims a name for `ttl`, renewed in the background. `None` while another holds it, this process included.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, ControlError> {
        let began = self.0.clock.monotonic();
        let now_us = self.now_us();
        let values =
            vec![self.project().into(), name.into(), self.owner().into(), now_us.into(), after(now_us, ttl).into()];
        let rows = self.rows("a claim of a lease", (CLAIM, values)).await?;
        let Some(epoch) = rows.first().map(|row| row.long(0)).transpose().map_err(|e| self.unread(&e))? else {
            return Ok(None);
        };
        let held_until = Arc::new(watch::channel(Some(began + ttl)).0);
        let renewal = Renewal {
            store: self.clone(),
            name: name.to_owned(),
            epoch: Epoch(epoch),
            ttl,
            held_until: Arc::clone(&held_until),
        };
        let renewing = tokio::spawn(renewal.go_on()).abort_handle();
        Ok(Some(Lease { name: name.to_owned(), epoch: Epoch(epoch), ttl, store: self.clone(), held_until, renewing }))
    }

    /// Says that this process is one of a group for `ttl`, and gives how many are, itself among them: between them its
    /// members divide what each does alone under a lease. The group's name has no sign that a pattern of SQL has.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn attend(&self, group: &str, ttl: Duration) -> Result<usize, ControlError> {
        let now_us = self.now_us();
        let all = format!("{group}/%");
        let within = |until_us: i64| vec![self.project().into(), all.as_str().into(), Value::Long(until_us)];
        let own = format!("{group}/{}", self.owner());
        let here = vec![self.project().into(), own.as_str().into(), self.owner().into(), after(now_us, ttl).into()];
        let long_gone_us = now_us.saturating_sub(after(0, ttl));
        let statements = [(ATTEND, here), (FORGET_ABSENT, within(long_gone_us))];
        self.all("who is there", &statements).await?;
        Ok(self.rows("who is there", (ATTENDING, within(now_us))).await?.len().max(1))
    }

    /// Says that this process leaves a group.
    ///
    /// # Errors
    /// When the store does not answer; it is not counted any longer when its time is over then.
    pub async fn leave(&self, group: &str) -> Result<(), ControlError> {
        let own = format!("{group}/{}", self.owner());
        let gone = vec![self.project().into(), own.as_str().into(), self.owner().into(), Value::Long(0)];
        self.rows("who is there", (ATTEND, gone)).await.map(drop)
    }

    pub(super) fn unread(&self, error: &sqlx::Error) -> ControlError {
        ControlError::away(&self.0.place.to_string(), "reading an answer", error)
    }
}

impl Lease {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which claim it is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// For how long it is held after each renewal.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether it is still held, as far as can be known without asking: ask before everything that cannot be undone.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_until.borrow().is_some_and(|until| self.store.0.clock.monotonic() < until)
    }

    /// Waits until it is lost: select on it beside what is done under the lease.
    pub async fn lost(&self) {
        let mut held = self.held_until.subscribe();
        let _ = held.wait_for(Option::is_none).await;
    }

    /// Gives it back, so that another need not wait for its time to be over.
    ///
    /// # Errors
    /// When the store does not answer; it is free when its time is over then.
    pub async fn release(self) -> Result<(), ControlError> {
        self.renewing.abort();
        self.store.rows("the release of a lease", (RELEASE, self.values())).await.map(drop)
    }

    /// The parameters that name it in a statement, `$1` to `$4`.
    pub(super) fn values(&self) -> Vec<Value> {
        let store = &self.store;
        vec![store.project().into(), self.name.as_str().into(), store.owner().into(), self.epoch.0.into()]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

struct Renewal {
    store: ControlStore,
    name: String,
    epoch: Epoch,
    ttl: Duration,
    held_until: Arc<watch::Sender<Option<Duration>>>,
}

impl Renewal {
    /// Renews until somebody else has it, or its time is over without an answer of the store.
    async fn go_on(self) {
        let mut pause = self.ttl / RENEWALS;
        loop {
            tokio::time::sleep(pause).await;
            let clock = &self.store.0.clock;
            let began = clock.monotonic();
            let until = (*self.held_until.borrow()).unwrap_or_default();
            let left = until.saturating_sub(began);
            if left.is_zero() {
                // Who held it takes it for over: it does not come back.
                break;
            }
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(true)) => {
                    self.held_until.send_replace(Some(began + self.ttl));
                    pause = self.ttl / RENEWALS;
                }
                Ok(Err(_)) if clock.monotonic() < until => pause = (self.ttl / RENEWALS).min(left) / 2,
                _ => break,
            }
        }
        tracing::warn!(lease = self.name, "a lease is lost: what was done under it stops here");
        self.held_until.send_replace(None);
    }

    async fn renew(&self) -> Result<bool, ControlError> {
        let store = &self.store;
        let values = vec![
            store.project().into(),
            self.name.as_str().into(),
            store.owner().into(),
            self.epoch.0.into(),
            Value::Long(after(store.now_us(), self.ttl)),
        ];
        Ok(!store.rows("the renewal of a lease", (RENEW, values)).await?.is_empty())
    }
}

fn after(now_us: i64, ttl: Duration) -> i64 {
    now_us.saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX))
}
