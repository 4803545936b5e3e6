//! One serving dataset on its way to Druid: what it is there, and where it stands.
//!
//! Invariant: one publication of a dataset is under way at a time, and the files of what Druid reads stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vitalake_lake::{PinnedVersion, Table};
use vitalake_ops::druid::{DruidReport, FAILED, PUBLISHED, PUBLISHING, REFUSED, WAITING};
use vitalake_runtime::health::Health;
use vitalake_serve::druid_engine::{PublishedColumn, columns, time_of};

use super::super::outside::instant;
use super::failure::PublishError;
use super::known::Known;
use super::prepare::Source;

/// How long a publication may wait for something of Druid's until that is told.
const WAITS_MAX_MS: i64 = 5 * 60_000;
/// Digits of a table's id in a task's.
const ID_CHARS: usize = 8;

/// A dataset that is published.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) table: Arc<Table>,
    pub(super) datasource: String,
    pub(super) columns: Vec<PublishedColumn>,
    time: Option<(String, bool)>,
    pub(super) standing: Mutex<Standing>,
    /// The versions that Druid reads now.
    pub(super) read: Mutex<BTreeMap<u64, PinnedVersion>>,
    pub(super) publishing: tokio::sync::Mutex<()>,
    pub(super) health: Health,
    /// Told when a person has taken the datasource over: whoever waits to try again looks at once.
    pub(super) adopted: tokio::sync::Notify,
    /// Told before that: whoever waits for what is there to be ours leaves off.
    pub(super) taken: tokio::sync::Notify,
}

/// Where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) state: &'static str,
    pub(super) since_ms: i64,
    pub(super) task: Option<String>,
    pub(super) message: String,
    pub(super) known: Known,
    /// Since when something of Druid's is waited for.
    waits_since_ms: Option<i64>,
    /// Why the last publication failed, until one arrives; and whether a person has to decide.
    failure: Option<(bool, String)>,
}

impl Dataset {
    pub(super) fn new(table: Arc<Table>, prefix: &str, health: Health, now_ms: i64) -> Self {
        let contract = table.contract();
        let (datasource, columns, time) =
            (format!("{prefix}{}", contract.dataset), columns(contract), time_of(contract));
        let standing = Mutex::new(Standing { state: WAITING, since_ms: now_ms, ..Standing::default() });
        let (read, publishing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self {
            table,
            datasource,
            columns,
            time,
            standing,
            read,
            publishing,
            health,
            adopted: tokio::sync::Notify::new(),
            taken: tokio::sync::Notify::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.table.contract().dataset.as_str()
    }

    pub(super) fn source(&self) -> Source<'_> {
        let time = self.time.as_ref().map(|(time, by_day)| (time.as_str(), *by_day));
        Source { table: &self.table, columns: &self.columns, time }
    }

    /// What the ids of all of its tasks begin with.
    pub(super) fn task_ids(&self, table: &str) -> String {
        let id: String = table.chars().filter(char::is_ascii_alphanumeric).take(ID_CHARS).collect();
        format!("vl_{}_{id}", self.datasource)
    }

    pub(super) fn note_working(&self, version: u64, task: Option<&str>, now_ms: i64) {
        let mut standing = self.standing.lock();
        if standing.state != PUBLISHING {
            standing.since_ms = now_ms;
        }
        (standing.state, standing.message) = (PUBLISHING, format!("version {version} is on its way"));
        standing.task = task.map(str::to_owned).or_else(|| standing.task.take());
        standing.waits_since_ms = None;
    }

    /// What a publication under way waits for; nothing while it runs.
    pub(super) fn note_waiting(&self, what: &str, now_ms: i64) {
        let mut standing = self.standing.lock();
        what.clone_into(&mut standing.message);
        let since_ms = standing.waits_since_ms.unwrap_or(now_ms);
        standing.waits_since_ms = (!what.is_empty()).then_some(since_ms);
    }

    /// A person has taken the datasource over.
    pub(super) fn note_adopted(&self, now_ms: i64) {
        let mut standing = self.standing.lock();
        let known = std::mem::take(&mut standing.known);
        let message = "it is taken over: all of it is replaced with the next publication".to_owned();
        let task = standing.task.take();
        *standing = Standing { state: WAITING, since_ms: now_ms, message, task, known, ..Standing::default() };
    }

    pub(super) fn note_published(&self, known: &Known, now_ms: i64) {
        let mut standing = self.standing.lock();
        if standing.state != PUBLISHED || standing.known.version != known.version {
            standing.since_ms = now_ms;
        }
        (standing.state, standing.message, standing.known) = (PUBLISHED, String::new(), known.clone());
        (standing.waits_since_ms, standing.failure) = (None, None);
    }

    pub(super) fn note_failed(&self, error: &PublishError, now_ms: i64) {
        let (state, words) = (if error.needs_a_person() { REFUSED } else { FAILED }, error.to_string());
        let mut standing = self.standing.lock();
        if !matches!(standing.state, FAILED | REFUSED) || standing.message != words {
            standing.since_ms = now_ms;
            tracing::warn!(dataset = %self.table.id(), "not published to Druid: {words}");
        }
        standing.failure = Some((state == REFUSED, words.clone()));
        (standing.state, standing.message, standing.waits_since_ms) = (state, words, None);
    }

    /// Why it is not in Druid as it should be, and whether a person has to decide: what went wrong last, until a
    /// publication arrives, or what has been waited for too long. `None` where all is well, or on its way.
    pub(super) fn trouble(&self, now_ms: i64) -> Option<(bool, String)> {
        let standing = self.standing.lock();
        let waits = || {
            let since_ms = standing.waits_since_ms?;
            (now_ms.saturating_sub(since_ms) >= WAITS_MAX_MS).then(|| (false, standing.message.clone()))
        };
        standing.failure.clone().or_else(waits)
    }

    pub(super) fn report(&self) -> DruidReport {
        let standing = self.standing.lock().clone();
        let known = standing.known;
        DruidReport {
            dataset: self.table.id().to_string(),
            datasource: self.datasource.clone(),
            state: standing.state.to_owned(),
            version: self.table.published_head().version().0,
            published_version: known.version,
            rows: known.version.map(|_| known.rows),
            since: instant(standing.since_ms).unwrap_or_default(),
            task: standing.task,
            took_seconds: known.took_seconds,
            lag_records: None,
            message: standing.message,
        }
    }
}
