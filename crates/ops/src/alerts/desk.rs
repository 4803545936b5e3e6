//! Where alerts are evaluated, kept and acted on by people: the one place that changes the book.
//!
//! `tick` takes in what is known, writes the book down and wakes the senders (`courier`); requests come in beside it.
//! Invariant: the book is in the lake before a receiver is told of a change in it, where the lake can be reached at all.

mod observe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use vitalake_contract::Layer;
use vitalake_contract::alert::{AlertDataset, AlertSource, Signal};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::notify::Receiver;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::{Event, Events};
use vitalake_runtime::health::LogThrottle;

use super::ask::Row;
use super::book::{Book, Instance, Moment, Outcome};
use super::keep::{KeepError, Keeper};
use super::lineage::Lineage;
use super::machine::Change;
use super::rates::{Brought, Drift, Rates};
use super::rule::Rule;
use super::send::Sender;
use super::signal::Facts;
use super::volume::Volume;
use crate::record::Recorder;
use crate::runbooks::{AlertContext, EvidenceKeeper};

/// How long the lake may take to keep a book before what it says is sent nevertheless.
const SAVE_TIME_MAX: Duration = Duration::from_secs(5);

/// Runbooks whose evidence is collected at once.
const COLLECTED_AT_ONCE: usize = 2;
/// How often drift is counted.
const DRIFT_EVERY_MS: u128 = 60_000;

/// What a desk works with; the same for every life of a process.
pub struct DeskSetup {
    /// The alerts.
    pub rules: Vec<Rule>,
    /// Where they are sent.
    pub receivers: BTreeMap<String, Receiver>,
    /// Which dataset derives from which.
    pub lineage: Lineage,
    /// Names of datasets and rules, which may leave with a message.
    pub names: BTreeSet<String>,
    /// The teams of datasets, by `layer.name`.
    pub teams: BTreeMap<String, String>,
    /// The column by which a dataset's rows are counted.
    pub time_columns: BTreeMap<AlertDataset, String>,
    /// The project's name.
    pub project: String,
    /// Where people reach the platform: `http://127.0.0.1:8888`.
    pub address: String,
    /// The time.
    pub clock: Clock,
    /// Where each change is told.
    pub events: Events,
    /// Where firing, acknowledged and resolved alerts are rows before anybody is told.
    pub recorder: Option<Recorder>,
    /// Who keeps the evidence.
    pub evidence: Option<Arc<dyn EvidenceKeeper>>,
    /// How letters go out.
    pub sender: Sender,
}

/// The desk.
pub struct Desk {
    pub(super) setup: DeskSetup,
    pub(super) book: Mutex<Book>,
    keeper: tokio::sync::Mutex<Option<Keeper>>,
    rates: Mutex<Rates>,
    /// Answers that no tick has seen, with the moments at which they were asked for.
    asked: Mutex<BTreeMap<String, (i64, Vec<Row>)>>,
    /// When the last query of an alert was asked whose answer was seen.
    seen: Mutex<BTreeMap<String, i64>>,
    /// Rows by the hour, with the hour that they are of.
    volumes: Mutex<BTreeMap<AlertDataset, (i64, Volume)>>,
    drifts_counted_ms: Mutex<Option<u128>>,
    said: Mutex<LogThrottle<String>>,
    /// Held by whoever sends, from the attempt to the note that it was sent.
    pub(super) sending: tokio::sync::RwLock<()>,
    /// Nothing more is sent: the book is about to be let go.
    pub(super) is_quiet: AtomicBool,
    /// Runbooks whose evidence is collected at once.
    collecting: Arc<Semaphore>,
    /// Counts up with every change that may be somebody's to be told.
    pub(super) news: watch::Sender<u64>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("rules", &self.setup.rules.len()).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk without a book.
    #[must_use]
    pub fn new(setup: DeskSetup) -> Arc<Self> {
        let said = Mutex::new(LogThrottle::new(setup.clock.clone()));
        Arc::new(Self {
            setup,
            book: Mutex::default(),
            keeper: tokio::sync::Mutex::new(None),
            rates: Mutex::default(),
            asked: Mutex::default(),
            seen: Mutex::default(),
            volumes: Mutex::default(),
            drifts_counted_ms: Mutex::default(),
            said,
            sending: tokio::sync::RwLock::default(),
            is_quiet: AtomicBool::new(false),
            collecting: Arc::new(Semaphore::new(COLLECTED_AT_ONCE)),
            news: watch::channel(0).0,
        })
    }

    /// Takes up the book of a lake: this process evaluates from now on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(&self, store: Arc<dyn ObjectStore>) -> Result<(), KeepError> {
        let mut keeper = self.keeper.lock().await;
        let (opened, mut book) = Keeper::open(store).await?;
        book.resume(self.setup.clock.now_ms());
        // Nobody tells a receiver that is there no longer, so nothing is owed to it.
        book.ledgers.retain(|receiver, _| self.setup.receivers.contains_key(receiver));
        *self.book.lock() = book;
        self.is_quiet.store(false, Ordering::SeqCst);
        *self.rates.lock() = Rates::default();
        self.asked.lock().clear();
        self.seen.lock().clear();
        self.volumes.lock().clear();
        *self.drifts_counted_ms.lock() = None;
        *keeper = Some(opened);
        Ok(())
    }

    /// Begins no further message, and waits until those under way are written down, or so long.
    pub async fn quiesce(&self, longest: Duration) {
        self.is_quiet.store(true, Ordering::SeqCst);
        let _ = tokio::time::timeout(longest, self.sending.write()).await;
    }

    /// Lets the book go: another life, or another process, takes it up.
    pub async fn close(&self) {
        *self.keeper.lock().await = None;
        *self.book.lock() = Book::default();
    }

    /// Whether this desk has the book.
    pub async fn is_open(&self) -> bool {
        self.keeper.lock().await.is_some()
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.setup.rules
    }

    /// Alerts that fire now.
    #[must_use]
    pub fn open_alerts(&self) -> usize {
        self.book.lock().instances.values().filter(|instance| instance.state.is_open()).count()
    }

    /// Takes in the answer to an alert's query that was asked at a moment; the next tick sees it.
    pub fn answered(&self, alert: &str, at_ms: i64, rows: Vec<Row>) {
        self.asked.lock().insert(alert.to_owned(), (at_ms, rows));
    }

    /// Takes in what was committed before the start.
    pub fn take_up(&self, brought: Vec<Brought>) {
        let clock = &self.setup.clock;
        let steady_ms = u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.rates.lock().take_up(brought, clock.now_ms(), steady_ms);
    }

    /// Takes in the rows of an hour; the next tick sees them.
    pub fn counted(&self, dataset: AlertDataset, hour: i64, volume: Volume) {
        self.volumes.lock().insert(dataset, (hour, volume));
    }

    /// What is to be counted for signals of drift; once a minute.
    #[must_use]
    pub fn drifts_to_count(&self) -> Vec<Drift> {
        let steady_ms = self.setup.clock.monotonic().as_millis();
        let mut counted_at = self.drifts_counted_ms.lock();
        if counted_at.is_some_and(|at| steady_ms.saturating_sub(at) < DRIFT_EVERY_MS) {
            return Vec::new();
        }
        *counted_at = Some(steady_ms);
        let rules = self.setup.rules.iter().filter(|rule| rule.signal() == Some(Signal::SchemaDrift));
        let raw = || self.setup.time_columns.keys().filter(|dataset| dataset.layer == Layer::Raw);
        let of = |rule: &'_ Rule| {
            let datasets = raw().filter(|dataset| rule.is_about(dataset)).cloned();
            let (alert, window) = (rule.alert.name.clone(), rule.alert.window);
            datasets.map(move |dataset| Drift { alert: alert.clone(), dataset, window }).collect::<Vec<_>>()
        };
        rules.flat_map(of).collect()
    }

    /// Takes in how many rows do not look like their contract; the next tick sees it.
    pub fn drifted(&self, drift: Drift, rows: u64) {
        self.rates.lock().drifted(drift, rows);
    }

    /// The datasets whose rows of an hour are to be counted, with the column to count them by.
    #[must_use]
    pub fn to_count(&self, hour: i64) -> Vec<(AlertDataset, String)> {
        let rules = || self.setup.rules.iter().filter(|rule| rule.signal() == Some(Signal::Volume));
        let counted = self.volumes.lock();
        let wanted = self.setup.time_columns.iter().filter(|(dataset, _)| rules().any(|rule| rule.is_about(dataset)));
        let new = wanted.filter(|(dataset, _)| counted.get(*dataset).is_none_or(|(of, _)| *of != hour));
        new.map(|(dataset, column)| (dataset.clone(), column.clone())).collect()
    }

    /// Evaluates every alert on what is known now.
    pub async fn tick(&self, facts: &Facts) {
        let facts = &self.with_volumes(facts.clone());
        let clock = &self.setup.clock;
        let steady_ms = u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let now = Moment { wall_ms: clock.now_ms(), steady_ms };
        let (observed, evaluated) = self.observations(facts, now);
        let names = self.setup.rules.iter().map(|rule| rule.alert.name.clone()).collect();
        let (outcome, changed) = {
            let mut book = self.book.lock();
            let mut outcome = book.observe(observed, &evaluated, &names, now);
            outcome.dirty |= book.settle(&self.setup.lineage, &self.awaited(), now.wall_ms);
            let changed = changed(&book, &outcome);
            (outcome, changed)
        };
        if outcome.dirty {
            self.save().await;
        }
        self.record(&changed).await;
        for (change, fingerprint, instance) in changed {
            self.tell(change, &fingerprint, &instance);
        }
        self.news.send_modify(|count| *count += 1);
    }

    /// Writes the book down. Where the lake cannot be reached, what it says is sent all the same.
    pub(super) async fn save(&self) {
        if let Err(error) = self.save_now().await
            && self.said.lock().is_news(error.to_string())
        {
            let error = in_full(&error);
            tracing::warn!(error, "the state of the alerts is not in the lake: after a crash a message may come twice");
        }
    }

    /// Writes the book down. Where another process has, its book is taken up.
    pub(super) async fn save_now(&self) -> Result<(), KeepError> {
        let mut keeper = self.keeper.lock().await;
        let Some(open) = keeper.as_mut() else { return Ok(()) };
        let book = self.book.lock().clone();
        let saved = tokio::time::timeout(SAVE_TIME_MAX, open.save(&book)).await;
        let saved = saved.unwrap_or(Err(KeepError::Slow));
        if matches!(saved, Err(KeepError::Superseded)) {
            let (opened, mut theirs) = Keeper::open(open.store()).await?;
            theirs.resume(self.setup.clock.now_ms());
            *self.book.lock() = theirs;
            *open = opened;
        }
        saved
    }

    /// Makes rows of what fires and what is resolved: a runbook asks for them by the fingerprint of a message.
    async fn record(&self, changed: &[(Change, String, Instance)]) {
        let kept = changed.iter().filter(|(change, ..)| is_kept(*change));
        let recording = kept.map(|(_, fingerprint, instance)| self.keep(event(fingerprint, instance)));
        futures::future::join_all(recording).await;
    }

    /// Makes a row of a change. Where that fails, what follows from it goes on all the same.
    pub(super) async fn keep(&self, event: Event) {
        let Some(recorder) = &self.setup.recorder else { return self.setup.events.send(event) };
        let error = match tokio::time::timeout(SAVE_TIME_MAX, recorder.record_durably(&event)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => in_full(&error),
            Err(_) => format!("it took more than {} s", SAVE_TIME_MAX.as_secs()),
        };
        if self.said.lock().is_news(error.clone()) {
            tracing::warn!(error, "a change of an alert is not in ops.alerts yet");
        }
    }

    fn tell(&self, change: Change, fingerprint: &str, instance: &Instance) {
        let Instance { identity, state, .. } = instance;
        if self.setup.recorder.is_none() || !is_kept(change) {
            self.setup.events.send(event(fingerprint, instance));
        }
        if change != Change::Fired {
            return;
        }
        tracing::warn!(
            alert = identity.alert,
            dataset = identity.dataset,
            fingerprint,
            summary = state.summary,
            "an alert fires"
        );
        let Some(evidence) = self.setup.evidence.clone() else { return };
        let context = AlertContext {
            fingerprint: fingerprint.to_owned(),
            alert: identity.alert.clone(),
            dataset: identity.dataset.clone(),
            since_ms: Some(state.since_ms),
            state: state.name().to_owned(),
            summary: state.summary.clone(),
            owner: identity.owner.clone(),
        };
        let runbook = identity.runbook.clone();
        let collecting = Arc::clone(&self.collecting);
        tokio::spawn(async move {
            let _turn = collecting.acquire().await;
            evidence.keep(&runbook, &context).await;
        });
    }

    /// The queries of alerts in SQL, by the alert's name.
    #[must_use]
    pub fn queries(&self) -> Vec<(String, String)> {
        let query = |rule: &Rule| match &rule.alert.source {
            AlertSource::Sql(sql) => Some((rule.alert.name.clone(), sql.clone())),
            AlertSource::Signal(_) => None,
        };
        self.setup.rules.iter().filter_map(query).collect()
    }
}

/// Whether a change is a row of `ops.alerts` before anybody is told of it.
fn is_kept(change: Change) -> bool {
    matches!(change, Change::Fired | Change::Resolved)
}

/// What changed, with the alerts as they are now.
fn changed(book: &Book, outcome: &Outcome) -> Vec<(Change, String, Instance)> {
    let found = |(fingerprint, change): &(String, Change)| {
        Some((*change, fingerprint.clone(), book.instances.get(fingerprint)?.clone()))
    };
    outcome.changes.iter().filter_map(found).collect()
}

/// A change as the events have it.
pub(super) fn event(fingerprint: &str, instance: &Instance) -> Event {
    let Instance { identity, state, .. } = instance;
    Event::Alert {
        fingerprint: fingerprint.into(),
        alert: identity.alert.as_str().into(),
        dataset: identity.dataset.as_deref().map(Into::into),
        state: state.name(),
        severity: identity.severity.as_str().into(),
        owner: identity.owner.as_str().into(),
        summary: state.summary.as_str().into(),
    }
}
