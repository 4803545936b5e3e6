//! One feed of a life: its source, its times, and what its looks found.
//!
//! Invariant: one look of a feed is under way at a time, and deliveries are taken in the order that it gives.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use vitalake_contract::feed::{Feed, FeedSource, FeedTrigger};
use vitalake_ingest::feed::{Files, FolderFiles, Looks};
use vitalake_ingest::postgres::PostgresSource;
use vitalake_lake::control::ControlStore;
use vitalake_lake::storage::{Cache, StorageError, StorageUrl};
use vitalake_ops::feeds::FeedReport;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::Event;
use vitalake_runtime::health::Health;

use super::super::outside::instant;
use super::super::{Life, Setup};
use super::keeper::Keeper;
use super::lateness::late_since_ms;
use super::plan::of_table;
use super::rows;
use super::standing::{NowOf, Standing};
use super::times::Times;

/// The rule under which a late delivery is told of in ops.checks.
const LATE_RULE: &str = "feed_late";

/// A feed of a life.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) feed: Feed,
    pub(super) source: Result<Source, String>,
    pub(super) clock: Clock,
    pub(super) times: Mutex<Times>,
    pub(super) standing: Mutex<Standing>,
    pub(super) looks: Arc<tokio::sync::Mutex<Looks>>,
    pub(super) keeper: Keeper,
    /// One claim of its lease at a time, with the plan that follows it.
    pub(super) claiming: tokio::sync::Mutex<()>,
}

/// Where deliveries come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Files of a folder or a store.
    Files(Files),
    /// Rows of a database.
    Rows(PostgresSource),
}

/// The right to look, with what earlier looks found.
pub(super) type Turn = OwnedMutexGuard<Looks>;

impl Desk {
    /// A feed that was not looked at yet.
    pub(super) async fn open(setup: &Setup, feed: &Feed, control: &ControlStore) -> Self {
        let clock = setup.clock.clone();
        let mut standing = Standing::default();
        standing.came.watched_since_ms = clock.now_ms();
        let source = source(setup, feed).await;
        if let Err(reason) = &source {
            standing.failed(reason.clone(), clock.now_ms());
        }
        let (standing, times) = (Mutex::new(standing), Mutex::default());
        let (keeper, looks) = (Keeper::new(control.clone(), feed.name.as_str()), Arc::default());
        Self { feed: feed.clone(), source, clock, times, standing, looks, keeper, claiming: Default::default() }
    }

    /// What its file says.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether this process runs it.
    pub(crate) fn is_run_here(&self) -> bool {
        self.keeper.lease().is_some()
    }

    /// Whether this process runs it now; takes it over where nobody does.
    pub(super) async fn holds(&self, life: &Life) -> bool {
        let _one = self.claiming.lock().await;
        match self.keeper.claim().await {
            Ok(true) => {
                self.keeper.tell_cut_short().await;
                self.plan(life).await;
                true
            }
            Ok(false) => self.is_run_here(),
            // The control store's own part of the status says that it is away; feeds wait for it.
            Err(_) => false,
        }
    }

    /// Lets another process run it, unless it is run just now.
    pub(super) async fn hand_over(&self) {
        let Some(_turn) = self.take_turn() else { return };
        let _one = self.claiming.lock().await;
        self.keeper.release().await;
    }

    /// Takes note of what the process has written that runs it: whether a delivery is late is known here too.
    pub(super) async fn note_of_another(&self) {
        if let Some(kept) = self.keeper.read_of_another().await
            && !self.is_run_here()
        {
            let mut standing = self.standing.lock();
            let table = kept.table.clone();
            standing.remember(kept, table);
            if self.source.is_ok() {
                // Who runs it knows whether its source answers.
                standing.away = None;
            }
        }
    }

    /// Takes note of deliveries that others brought, such as an upload by hand.
    pub(super) fn note_deliveries(&self, life: &Life) {
        let Ok(table) = life.lake.table(&self.feed.dataset) else { return };
        let version = table.head().version().0;
        let mut standing = self.standing.lock();
        if standing.table_version != Some(version) {
            standing.table_version = Some(version);
            let (last_ms, newest_date) = of_table(life, &self.feed);
            standing.came.last_ms = standing.came.last_ms.max(last_ms);
            standing.came.newest_date = standing.came.newest_date.max(newest_date);
        }
    }

    /// Keeps where it stands, if that has changed.
    pub(super) async fn keep(&self) {
        let is_scheduled = matches!(self.feed.trigger, FeedTrigger::Schedule { .. });
        let changed = self.standing.lock().changed(is_scheduled);
        if let Some(kept) = changed {
            self.keeper.keep(&kept).await;
        }
    }

    /// Whether it is to be looked now.
    pub(super) fn is_due(&self) -> bool {
        self.source.is_ok() && self.times.lock().is_due(&self.feed, self.clock.now_ms(), self.clock.monotonic())
    }

    /// The right to look, unless somebody has it.
    pub(super) fn take_turn(&self) -> Option<Turn> {
        Arc::clone(&self.looks).try_lock_owned().ok()
    }

    /// When the delivery was due that is late.
    pub(crate) fn late_since_ms(&self) -> Option<i64> {
        let came = self.standing.lock().came;
        late_since_ms(self.feed.due.as_ref()?, came, self.clock.now_ms())
    }

    /// When a delivery is due next.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.feed.due.as_ref()?.calendar.next_after_ms(self.clock.now_ms())
    }

    /// When a delivery last came.
    pub(crate) fn last_delivery_ms(&self) -> Option<i64> {
        self.standing.lock().came.last_ms
    }

    /// Why its source cannot be read, and since when.
    pub(crate) fn is_away(&self) -> Option<(String, i64)> {
        self.standing.lock().away.clone()
    }

    /// Tells of a delivery that has become late, or that a late one is here, by whatever way it came.
    pub(super) fn note_lateness(&self, life: &Life) {
        let (Some(due), events) = (&self.feed.due, &life.setup.events) else { return };
        self.note_deliveries(life);
        let late_ms = self.late_since_ms();
        let before_ms = std::mem::replace(&mut self.standing.lock().told_late_ms, late_ms);
        if late_ms == before_ms {
            return;
        }
        let (feed, due_ms) = (self.feed.name.as_str(), late_ms.or(before_ms).unwrap_or_default());
        let due_at = instant(due_ms).unwrap_or_default();
        match late_ms {
            Some(_) => tracing::warn!(feed, due_at, "the delivery that was due is not here"),
            None => tracing::info!(feed, "the delivery that was late is here"),
        }
        events.send(Event::Measured {
            dataset: self.feed.dataset.as_str().into(),
            rule: LATE_RULE.into(),
            severity: "error",
            scope: format!("delivery due at {due_at}").into(),
            got: Some((self.clock.now_ms() - due_ms).max(0) as f64 / 1000.0),
            want: format!("at most {} s", due.late_by.as_secs()).into(),
            passed: Some(late_ms.is_none()),
        });
    }

    /// Where it stands.
    pub(super) fn report(&self, life: &Life) -> FeedReport {
        let elsewhere = (!self.is_run_here()).then(|| self.keeper.waits_for());
        let elsewhere = elsewhere.as_deref();
        let times = self.times.lock().clone();
        let feed = FeedReport {
            feed: self.feed.name.to_string(),
            dataset: self.feed.dataset.to_string(),
            source: shown(&self.feed.source),
            runs: match &self.feed.trigger {
                FeedTrigger::Arrival => "on arrival".to_owned(),
                FeedTrigger::Schedule { calendar, .. } => format!("{} {}", calendar.pattern(), calendar.zone()),
            },
            next_run_at: times.next_run_ms.and_then(instant),
            next_due_at: self.next_due_ms().and_then(instant),
            missed_runs: times.missed,
            ..FeedReport::default()
        };
        let held = life.deliveries.get(&self.feed.dataset).map(|desk| desk.held().known(self.feed.dataset.as_str()));
        let now = NowOf {
            running: self.looks.try_lock().is_err(),
            late_since_ms: self.late_since_ms().filter(|_| elsewhere.is_none()),
            held: held.unwrap_or_default().len(),
            elsewhere,
        };
        self.standing.lock().report(feed, &now)
    }
}

/// Where deliveries come from.
async fn source(setup: &Setup, feed: &Feed) -> Result<Source, String> {
    match &feed.source {
        FeedSource::Folder(files) => {
            let folder = setup.checked.project.root.join(&files.place);
            Ok(Source::Files(Files::Folder(FolderFiles::new(folder))))
        }
        FeedSource::Store(files) => store(setup, &files.place).await.map(Source::Files),
        FeedSource::Postgres(rows) => rows::source(rows).map(Source::Rows),
    }
}

/// The store that a URL names; nothing is asked of it yet.
async fn store(setup: &Setup, url: &str) -> Result<Files, String> {
    let place = match StorageUrl::parse(Some(url), &setup.config.data).map_err(|error| in_words(&error))? {
        StorageUrl::Folder { root, .. } => return Ok(Files::Folder(FolderFiles::new(root))),
        place @ StorageUrl::Azure(_) => place,
    };
    // What a feed reads is read once: nothing of it is kept on this machine.
    let cache = Cache { folder: setup.config.data.join("cache-of-feeds"), bytes_max: 0 };
    let health = Health::new("a feed's store", setup.clock.clone());
    let opened = place.open(&setup.disk, &cache, health).await.map_err(|error| in_words(&error))?;
    Ok(Files::store(opened.store, url.to_owned()))
}

fn in_words(error: &StorageError) -> String {
    match error {
        StorageError::Wrong { reason, .. } => reason.clone(),
        error => error.to_string(),
    }
}

fn shown(source: &FeedSource) -> String {
    match source {
        FeedSource::Folder(files) => format!("folder {}", files.place),
        FeedSource::Store(files) => files.place.clone(),
        FeedSource::Postgres(_) => "postgres".to_owned(),
    }
}
