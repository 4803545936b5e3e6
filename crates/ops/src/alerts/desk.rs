//! Where alerts are evaluated, kept and acted on by people: the one place that changes the book.
//!
//! `tick` takes in what is known, writes the book down and wakes the senders (`courier`); requests come in beside it.
//! Invariant: the book is in the lake before a receiver is told of a change in it, where the lake can be reached at all.

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
use super::book::{Awaited, Book, Identity, Instance, Moment, Observed, Outcome};
use super::keep::{KeepError, Keeper};
use super::lineage::Lineage;
use super::machine::Change;
use super::rates::{Brought, Drift, Rates};
use super::rule::{PLATFORM_TEAM, Rule};
use super::send::Sender;
use super::signal::{Facts, look};
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

    fn with_volumes(&self, mut facts: Facts) -> Facts {
        let counted = self.volumes.lock();
        for facts in &mut facts.datasets {
            facts.volume = counted.get(&facts.dataset).map(|(_, volume)| volume.clone());
        }
        facts
    }

    /// What is seen now, and the names of the alerts that were evaluated.
    fn observations(&self, facts: &Facts, now: Moment) -> (Vec<Observed>, BTreeSet<String>) {
        let (mut observed, mut evaluated) = (Vec::new(), BTreeSet::new());
        let mut rates = self.rates.lock();
        rates.keep(facts, now.steady_ms);
        let mut asked = std::mem::take(&mut *self.asked.lock());
        let all_ready = !facts.datasets.is_empty() && facts.datasets.iter().all(|dataset| dataset.ready);
        for rule in &self.setup.rules {
            let name = &rule.alert.name;
            if let Some(signal) = rule.signal() {
                // A dataset that is not among those that are there has left the project, and its alert with it.
                if all_ready {
                    evaluated.insert(name.clone());
                }
                let seen = look(rule, signal, facts, &rates, now.wall_ms).into_iter();
                observed.extend(seen.map(|seen| {
                    let dataset = seen.dataset.map(|dataset| dataset.to_string());
                    let labels = dataset.iter().map(|dataset| ("dataset".to_owned(), dataset.clone())).collect();
                    let identity = self.identity(rule, dataset, labels);
                    Observed { identity, observation: seen.observation, timing: rule.timing(), young: seen.young }
                }));
            } else if let Some((at_ms, rows)) = asked.remove(name) {
                self.seen.lock().insert(name.clone(), at_ms);
                let failed = rows.iter().any(|row| matches!(row.observation, super::machine::Observation::Unknown(_)));
                if failed {
                    observed.extend(self.all_unknown(rule, &rows));
                } else {
                    evaluated.insert(name.clone());
                    observed.extend(rows.into_iter().map(|row| self.observed_row(rule, row)));
                }
            }
        }
        (observed, evaluated)
    }

    /// The alerts in SQL about one dataset, and up to when what they ask for was seen.
    fn awaited(&self) -> Vec<Awaited> {
        let seen = self.seen.lock();
        let of = |rule: &Rule| {
            let dataset = rule.alert.dataset.as_ref().filter(|_| rule.signal().is_none())?.name.to_string();
            let (receivers, seen_ms) = (rule.receivers.clone(), seen.get(&rule.alert.name).copied());
            Some(Awaited { dataset, receivers, seen_ms })
        };
        self.setup.rules.iter().filter_map(of).collect()
    }

    /// A query that failed leaves every alert of it as it is, unseen.
    fn all_unknown(&self, rule: &Rule, rows: &[Row]) -> Vec<Observed> {
        let book = self.book.lock();
        let known = book.instances.values().filter(|instance| instance.identity.alert == rule.alert.name);
        let mut identities: Vec<Identity> = known.map(|instance| instance.identity.clone()).collect();
        if identities.is_empty() {
            identities.push(self.identity(rule, rule.alert.dataset.as_ref().map(ToString::to_string), BTreeMap::new()));
        }
        let why = rows.first().map(|row| row.observation.clone());
        let observation = why.unwrap_or(super::machine::Observation::Unknown(String::new()));
        let one =
            |identity| Observed { identity, observation: observation.clone(), timing: rule.timing(), young: false };
        identities.into_iter().map(one).collect()
    }

    fn observed_row(&self, rule: &Rule, row: Row) -> Observed {
        let dataset = row.dataset.or_else(|| rule.alert.dataset.as_ref().map(ToString::to_string));
        let identity = self.identity(rule, dataset, row.labels);
        Observed { identity, observation: row.observation, timing: rule.timing(), young: false }
    }

    fn identity(&self, rule: &Rule, dataset: Option<String>, labels: BTreeMap<String, String>) -> Identity {
        Identity {
            alert: rule.alert.name.clone(),
            owner: self.owner(rule, dataset.as_deref()),
            dataset,
            labels,
            severity: rule.alert.severity.as_str().to_owned(),
            runbook: rule.alert.runbook.clone(),
            group: rule.alert.group.clone(),
            receivers: rule.receivers.clone(),
        }
    }

    /// Whom an alert goes to: as it says, else the team of its dataset.
    pub(super) fn owner(&self, rule: &Rule, dataset: Option<&str>) -> String {
        let team = || dataset.and_then(|dataset| self.setup.teams.get(dataset)).map_or(PLATFORM_TEAM, String::as_str);
        if rule.alert.owner.is_empty() { team().to_owned() } else { rule.alert.owner.clone() }
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
