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
use super::known::Known;
use super::prepare::Source;
use super::publish::PublishError;

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
    /// Told when a person has taken the datasource over.
    pub(super) adopted: tokio::sync::Notify,
}

/// Where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) state: &'static str,
    pub(super) since_ms: i64,
    pub(super) task: Option<String>,
    pub(super) message: String,
    pub(super) known: Known,
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
    }

    /// What a publication under way waits for; nothing while it runs.
    pub(super) fn note_waiting(&self, what: &str) {
        self.standing.lock().message = what.to_owned();
    }

    pub(super) fn note_published(&self, known: &Known, now_ms: i64) {
        let mut standing = self.standing.lock();
        if standing.state != PUBLISHED || standing.known.version != known.version {
            standing.since_ms = now_ms;
        }
        (standing.state, standing.message, standing.known) = (PUBLISHED, String::new(), known.clone());
    }

    pub(super) fn note_failed(&self, error: &PublishError, now_ms: i64) {
        let (state, words) = (if error.needs_a_person() { REFUSED } else { FAILED }, error.to_string());
        let mut standing = self.standing.lock();
        if !matches!(standing.state, FAILED | REFUSED) || standing.message != words {
            standing.since_ms = now_ms;
            tracing::warn!(dataset = %self.table.id(), "not published to Druid: {words}");
        }
        (standing.state, standing.message) = (state, words);
    }

    /// Why it is not in Druid as it should be; `None` where it is, or is on its way.
    pub(super) fn trouble(&self) -> Option<(bool, String)> {
        let standing = self.standing.lock();
        matches!(standing.state, FAILED | REFUSED).then(|| (standing.state == REFUSED, standing.message.clone()))
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
            message: standing.message,
        }
    }
}
