//! How far each feed has come: its state, the files that it has taken, the deliveries that are in flight.
//!
//! All of it can be made again from the ledger and the commits of the tables; a feed that finds nothing here does so.
//! Invariant: it is written under the feed's lease alone, so that a former holder does not undo what its successor wrote.

use std::collections::BTreeMap;

use super::database::Statement;
use super::lease::IS_HELD;
use super::{ControlError, ControlStore, Epoch, Lease};

const STATE: &str = "SELECT state FROM feed_state WHERE project = $1 AND feed = $2";
const SET_STATE: &str = "INSERT INTO feed_state (project, feed, epoch, state, changed_us) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (project, feed) DO UPDATE SET epoch = excluded.epoch, state = excluded.state, \
     changed_us = excluded.changed_us RETURNING epoch";
const TAKEN: &str = "SELECT name, mark FROM feed_taken WHERE project = $1 AND feed = $2";
const TAKE: &str = "INSERT INTO feed_taken (project, feed, name, mark, taken_us) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (project, feed, name) DO UPDATE SET mark = excluded.mark, taken_us = excluded.taken_us RETURNING name";
const FORGET_TAKEN: &str = "DELETE FROM feed_taken WHERE project = $1 AND feed = $2 AND taken_us < $3 RETURNING name";
const BEGIN_DELIVERY: &str = "INSERT INTO delivery_in_flight (project, feed, name, epoch, since_us) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project, feed, name) DO UPDATE SET epoch = excluded.epoch, \
     since_us = excluded.since_us RETURNING name";
const END_DELIVERY: &str =
    "DELETE FROM delivery_in_flight WHERE project = $1 AND feed = $2 AND name = $3 RETURNING name";
const IN_FLIGHT: &str =
    "SELECT feed, name, epoch, since_us FROM delivery_in_flight WHERE project = $1 ORDER BY since_us, feed, name";

/// Files that are written in one transaction: one statement each, within the time of a call.
pub const FILES_AT_ONCE: usize = 2_000;

/// A delivery that has begun and of which no end is written: it goes on, or a crash cut it short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The feed.
    pub feed: String,
    /// Its name: the file's, or the run's.
    pub name: String,
    /// Under which claim of the feed's lease it began.
    pub epoch: Epoch,
    /// When, microseconds since 1970.
    pub since_us: i64,
}

impl ControlStore {
    /// What a feed last wrote of itself. `None` when it never did, or the store was lost since: it is then to be made
    /// again from the tables.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn feed_state(&self, feed: &str) -> Result<Option<String>, ControlError> {
        let values = vec![self.project().into(), feed.into()];
        let rows = self.rows("the state of a feed", (STATE, values)).await?;
        rows.first().map(|row| row.text(0)).transpose().map_err(|error| self.unread(&error))
    }

    /// Writes a feed's state, a JSON text of its own. `false`, and nothing is written, when the lease is not held any
    /// longer.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_feed_state(&self, feed: &str, state: &str, lease: &Lease) -> Result<bool, ControlError> {
        let values =
            vec![self.project().into(), feed.into(), lease.epoch().0.into(), state.into(), self.now_us().into()];
        self.under(lease, "the state of a feed", vec![(SET_STATE, values)]).await
    }

    /// The files that a feed has taken, each with the mark (size, time, tag) that it had.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn taken(&self, feed: &str) -> Result<BTreeMap<String, String>, ControlError> {
        let values = vec![self.project().into(), feed.into()];
        let rows = self.rows("the files of a feed", (TAKEN, values)).await?;
        let read = |row: &super::Row| Ok((row.text(0)?, row.text(1)?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.unread(&error))
    }

    /// Writes down that a feed has taken these files, each with its mark. `false` when the lease is not held any longer;
    /// of more than [`FILES_AT_ONCE`] the first may be written then.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn take(&self, feed: &str, files: &[(String, String)], lease: &Lease) -> Result<bool, ControlError> {
        let now_us = self.now_us();
        let take = |(name, mark): &(String, String)| -> Statement {
            (TAKE, vec![self.project().into(), feed.into(), name.as_str().into(), mark.as_str().into(), now_us.into()])
        };
        for files in files.chunks(FILES_AT_ONCE) {
            if !self.under(lease, "the files of a feed", files.iter().map(take).collect()).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets files that were taken before a moment, microseconds since 1970. `false` when the lease is not held any
    /// longer.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_taken(&self, feed: &str, before_us: i64, lease: &Lease) -> Result<bool, ControlError> {
        let values = vec![self.project().into(), feed.into(), before_us.into()];
        self.under(lease, "the files of a feed", vec![(FORGET_TAKEN, values)]).await
    }

    /// Writes down that a delivery has begun. `false`, and nothing is written, when the lease is not held any longer.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_delivery(&self, feed: &str, name: &str, lease: &Lease) -> Result<bool, ControlError> {
        let values =
            vec![self.project().into(), feed.into(), name.into(), lease.epoch().0.into(), self.now_us().into()];
        self.under(lease, "a delivery's begin", vec![(BEGIN_DELIVERY, values)]).await
    }

    /// Writes down that a delivery has ended, however. `false` when the lease is not held any longer.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_delivery(&self, feed: &str, name: &str, lease: &Lease) -> Result<bool, ControlError> {
        let values = vec![self.project().into(), feed.into(), name.into()];
        self.under(lease, "a delivery's end", vec![(END_DELIVERY, values)]).await
    }

    /// The deliveries of the project that have begun and have no end, the oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn in_flight(&self) -> Result<Vec<InFlight>, ControlError> {
        let values = vec![self.project().into()];
        let rows = self.rows("deliveries in flight", (IN_FLIGHT, values)).await?;
        let read = |row: &super::Row| {
            Ok(InFlight { feed: row.text(0)?, name: row.text(1)?, epoch: Epoch(row.long(2)?), since_us: row.long(3)? })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.unread(&error))
    }

    /// Runs statements in one transaction while a lease is held; whether it was. The lease's row is locked meanwhile, so
    /// that nobody claims it between the check and the end.
    async fn under(
        &self,
        lease: &Lease,
        attempt: &'static str,
        statements: Vec<Statement>,
    ) -> Result<bool, ControlError> {
        if !lease.is_held() {
            return Ok(false);
        }
        let all: Vec<_> = std::iter::once((IS_HELD, lease.values())).chain(statements).collect();
        Ok(!self.all(attempt, &all).await?.is_empty())
    }
}
