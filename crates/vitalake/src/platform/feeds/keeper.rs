//! Who runs a feed, and what it remembers: its lease and its part of the control store.
//!
//! One process of a project has the lease of a feed; another takes it when it is not renewed. What is written here may
//! be lost: files are then read again and known by their content. Invariant: it is written under the lease alone.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vitalake_ingest::feed::{Arrival, Print, Taken};
use vitalake_lake::control::{ControlError, ControlStore, Lease};
use vitalake_runtime::error::in_full;

/// What the names of leases begin with.
const LEASES: &str = "feed/";
/// How long a process may be silent until another runs its feeds.
pub(super) const LEASE_TIME: Duration = Duration::from_secs(10);
/// How long a file that was taken is remembered.
const REMEMBERED: Duration = Duration::from_secs(400 * 86_400);

/// What a feed writes of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// The table that its deliveries went to; one that was made again has none of them.
    pub(super) table: Option<String>,
    /// When it was last run by its schedule, or looked.
    pub(super) last_run_ms: Option<i64>,
    /// When a delivery last came.
    pub(super) last_delivery_ms: Option<i64>,
    /// Its name.
    pub(super) last_delivery: Option<String>,
    /// The newest business date.
    pub(super) newest_date: Option<String>,
    /// How far a database was read.
    pub(super) watermark: Option<String>,
    /// What was refused and is there as it was.
    pub(super) refused: Vec<Refused>,
    /// From when on every file is known that was taken: what was written before may have been taken and be forgotten.
    pub(super) remembers_since_ms: i64,
}

/// A delivery that was refused for what it is: it is not read again unless it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    /// What it is known by.
    pub(super) key: String,
    /// The file's name.
    pub(super) name: String,
    /// Why.
    pub(super) why: String,
}

/// The lease of a feed, where this process has it.
#[derive(Debug)]
pub(super) struct Keeper {
    store: ControlStore,
    feed: String,
    lease: Mutex<Option<Arc<Lease>>>,
}

impl Keeper {
    pub(super) fn new(store: ControlStore, feed: &str) -> Self {
        Self { store, feed: feed.to_owned(), lease: Mutex::default() }
    }

    /// The lease, while it is held.
    pub(super) fn lease(&self) -> Option<Arc<Lease>> {
        self.lease.lock().clone().filter(|lease| lease.is_held())
    }

    /// Claims the lease where it is not held. Gives whether it has just been claimed.
    ///
    /// # Errors
    /// When the control store does not answer.
    pub(super) async fn claim(&self) -> Result<bool, ControlError> {
        if self.lease().is_some() {
            return Ok(false);
        }
        // A lease that was lost ends its renewal before another is claimed.
        drop(self.lease.lock().take());
        let claimed = self.store.claim(&format!("{LEASES}{}", self.feed), LEASE_TIME).await?;
        let claims = claimed.is_some();
        *self.lease.lock() = claimed.map(Arc::new);
        Ok(claims)
    }

    /// How long it takes at most until the lease of a process that is gone is free.
    pub(super) fn patience() -> Duration {
        LEASE_TIME + Duration::from_secs(2)
    }

    /// Why this process does not run the feed.
    pub(super) fn waits_for(&self) -> String {
        match self.store.away() {
            Some(away) => format!("the control store does not answer, and feeds wait for it: {}", away.reason),
            None => format!(
                "another process runs the feed; ask it, or try again {} s after it has gone",
                LEASE_TIME.as_secs()
            ),
        }
    }

    /// Gives the lease back, so that another need not wait.
    pub(super) async fn release(&self) {
        let lease = self.lease.lock().take();
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            let _free_when_its_time_is_over = lease.release().await;
        }
    }

    /// What it wrote before, and the files that it took; nothing where the store was lost.
    pub(super) async fn read(&self) -> (Option<Kept>, Vec<Taken>) {
        let read = async {
            let state = self.store.feed_state(&self.feed).await?;
            let taken = self.store.taken(&self.feed).await?;
            Ok::<_, ControlError>((state, taken))
        };
        match read.await {
            Ok((state, taken)) => {
                let kept = state.and_then(|state| serde_json::from_str(&state).ok());
                (kept, taken.iter().filter_map(|(name, mark)| unmarked(name, mark)).collect())
            }
            Err(error) => {
                self.unkept(&error);
                (None, Vec::new())
            }
        }
    }

    /// What another process that runs it has written; none where nobody has, or the store does not answer.
    pub(super) async fn read_of_another(&self) -> Option<Kept> {
        serde_json::from_str(&self.store.feed_state(&self.feed).await.ok()??).ok()
    }

    /// Says which deliveries a stop cut short: their files are read again.
    pub(super) async fn tell_cut_short(&self) {
        let in_flight = self.store.in_flight().await.unwrap_or_default();
        for cut in in_flight.into_iter().filter(|cut| cut.feed == self.feed) {
            tracing::warn!(
                feed = cut.feed,
                "a delivery of this feed was under way at a stop; its files are read again, and known where they were loaded"
            );
            if let Some(lease) = self.lease() {
                let _forgotten = self.store.end_delivery(&cut.feed, &cut.name, &lease).await;
            }
        }
    }

    /// Writes that a delivery has begun.
    pub(super) async fn begin(&self, arrival: &Arrival) {
        let Some(lease) = self.lease() else { return };
        if let Err(error) = self.store.begin_delivery(&self.feed, &arrival.name(), &lease).await {
            self.unkept(&error);
        }
    }

    /// Writes that a delivery has ended, and that its files are taken where they are.
    pub(super) async fn end(&self, arrival: &Arrival, taken: bool) {
        let Some(lease) = self.lease() else { return };
        let files = arrival.files.iter().map(|file| (file.name.clone(), mark(&file.print)));
        let files: Vec<_> = if taken { files.collect() } else { Vec::new() };
        let written = async {
            if !files.is_empty() {
                self.store.take(&self.feed, &files, &lease).await?;
            }
            self.store.end_delivery(&self.feed, &arrival.name(), &lease).await
        };
        if let Err(error) = written.await {
            self.unkept(&error);
        }
    }

    /// Writes where it stands.
    pub(super) async fn keep(&self, kept: &Kept) {
        let (Some(lease), Ok(state)) = (self.lease(), serde_json::to_string(kept)) else { return };
        if let Err(error) = self.store.set_feed_state(&self.feed, &state, &lease).await {
            self.unkept(&error);
        }
    }

    /// Forgets files that were taken long ago. Gives from when on all are known.
    pub(super) async fn forget_old(&self, now_ms: i64) -> i64 {
        let age_ms = i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
        let since_ms = now_ms.saturating_sub(age_ms);
        self.forget_before(since_ms.saturating_mul(1_000)).await;
        since_ms
    }

    /// Forgets every file that was taken: nothing of them is there.
    pub(super) async fn forget_all(&self) {
        self.forget_before(i64::MAX).await;
    }

    async fn forget_before(&self, before_us: i64) {
        let Some(lease) = self.lease() else { return };
        let _remembered_for_longer = self.store.forget_taken(&self.feed, before_us, &lease).await;
    }

    fn unkept(&self, error: &ControlError) {
        let (feed, error) = (&self.feed, in_full(error));
        tracing::warn!(feed, error, "what this feed has taken is not remembered: its files may be read again");
    }
}

/// A file's content as far as it is known, as text.
fn mark(print: &Print) -> String {
    format!("{} {} {}", print.bytes, print.modified_us, print.tag.as_deref().unwrap_or(""))
}

fn unmarked(name: &str, mark: &str) -> Option<Taken> {
    let mut parts = mark.splitn(3, ' ');
    let (bytes, modified_us) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let tag = parts.next().filter(|tag| !tag.is_empty()).map(Into::into);
    Some(Taken { name: name.to_owned(), print: Print { bytes, modified_us, tag } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_known_by_its_mark() {
        for tag in [None, Some("\"0x8D 1\"".into())] {
            let print = Print { bytes: 5, modified_us: -7, tag };
            assert_eq!(unmarked("a", &mark(&print)).unwrap(), Taken { name: "a".into(), print });
        }
        assert_eq!(unmarked("a", "of another version"), None);
    }

    fn store(folder: &std::path::Path) -> ControlStore {
        let clock = vitalake_runtime::clock::Clock::system();
        let health = vitalake_runtime::health::Health::new("the control store", clock.clone());
        let place = vitalake_lake::control::ControlPlace::parse(None, folder).unwrap();
        ControlStore::new(place, "project", clock, health)
    }

    #[tokio::test]
    async fn one_of_two_runs_a_feed_and_the_other_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (Keeper::new(store(folder.path()), "f"), Keeper::new(store(folder.path()), "f"));
        assert!(first.claim().await.unwrap() && !first.claim().await.unwrap());
        assert!(!second.claim().await.unwrap() && second.lease().is_none());
        let another = Keeper::new(store(folder.path()), "g");
        assert!(another.claim().await.unwrap(), "each feed has a lease of its own");
        let print = Print { bytes: 1, modified_us: 2, tag: None };
        let file = vitalake_ingest::feed::FoundFile { name: "a.csv".into(), print: print.clone() };
        let arrival = Arrival { date: None, files: vec![file] };
        let kept = Kept { last_run_ms: Some(1), ..Kept::default() };
        first.begin(&arrival).await;
        first.end(&arrival, true).await;
        first.keep(&kept).await;
        // Who has no lease writes nothing.
        second.keep(&Kept::default()).await;
        assert_eq!(second.read_of_another().await, Some(kept.clone()));
        first.release().await;
        assert!(second.claim().await.unwrap());
        let (found, taken) = second.read().await;
        assert_eq!((found, taken), (Some(kept), vec![Taken { name: "a.csv".into(), print }]));
        first.keep(&Kept::default()).await;
        assert!(second.read().await.0.unwrap().last_run_ms.is_some(), "a former holder undoes nothing");
    }
}
