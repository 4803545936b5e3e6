//! What the tables say of one dataset: the newest result of each rule, the last versions, and rejects by rule.
//!
//! Results are kept as events tell them, with those of the day before the start from `ops.checks`; what is read of tables is
//! read again only for another version. Invariant: what cannot be read is left out, and nothing is made up for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use vitalake_lake::delta::{DeltaLog, TableVersion, VersionChanges};
use vitalake_lake::{Space, TableView};
use vitalake_ops::quarantine::Which;
use vitalake_ops::record::Checked;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::Event;
use vitalake_serve::console::facts::{DatasetNews, RejectsTold, RuleResult, VersionTold};
use vitalake_serve::quarantine::Quarantine as _;

use super::super::outside::instant;
use super::super::{Life, QuarantineDesk};
use super::{ConsoleDesk, version};

/// Versions that are shown.
const VERSIONS_SHOWN: u64 = 15;
/// How far back results of rules are read that were found before the process began.
const BEFORE_MS: i64 = 86_400_000;

/// The newest results of rules, by dataset and rule.
#[derive(Debug, Default)]
pub(super) struct Results {
    newest: Mutex<BTreeMap<(String, String), RuleResult>>,
    is_whole: Mutex<bool>,
}

/// What was read of tables, each with the version that it was read of.
#[derive(Debug, Default)]
pub(super) struct Read {
    versions: Mutex<HashMap<String, (u64, Vec<VersionTold>)>>,
    rejects: Mutex<HashMap<String, (u64, Vec<RejectsTold>)>>,
}

impl Results {
    /// Keeps what an event says of a rule.
    pub(super) fn note(&self, event: &Event, now_ms: i64) {
        let at = || instant(now_ms).unwrap_or_default();
        let (dataset, rule, result) = match event {
            Event::Check { dataset, rule, rows, .. } => {
                (dataset, rule, RuleResult { at: at(), state: "broken", failed: Some(*rows), ..RuleResult::default() })
            }
            Event::Measured { dataset, rule, got, want, passed, .. } => {
                (dataset, rule, measured(at(), *got, Some(want.to_string()), *passed))
            }
            _ => return,
        };
        self.newest.lock().insert((bare(dataset).to_owned(), rule.to_string()), result);
    }

    /// Takes in what was found before the process began; what was found since is newer.
    fn take_up(&self, before: Vec<Checked>) {
        *self.is_whole.lock() = true;
        let mut newest = self.newest.lock();
        for checked in before {
            let at = instant(checked.at_ms).unwrap_or_default();
            let result = match checked.rows {
                Some(rows) => RuleResult { at, state: "broken", failed: Some(rows), ..RuleResult::default() },
                None => measured(at, checked.got, checked.want, checked.passed),
            };
            newest.entry((bare(&checked.dataset).to_owned(), checked.rule)).or_insert(result);
        }
    }

    fn of(&self, dataset: &str) -> BTreeMap<String, RuleResult> {
        let newest = self.newest.lock();
        let of = newest.iter().filter(|((name, _), _)| name == dataset);
        of.map(|((_, rule), result)| (rule.clone(), result.clone())).collect()
    }
}

fn measured(at: String, got: Option<f64>, want: Option<String>, passed: Option<bool>) -> RuleResult {
    let state = match passed {
        Some(true) => "passed",
        Some(false) => "broken",
        None => "unknown",
    };
    RuleResult { at, state, got: got.map(|got| got.to_string()), want, failed: None }
}

fn bare(dataset: &str) -> &str {
    dataset.rsplit('.').next().unwrap_or(dataset)
}

impl ConsoleDesk {
    pub(super) async fn news(&self, dataset: &str) -> DatasetNews {
        let Some(life) = self.platform.life() else { return DatasetNews::default() };
        self.take_up_results().await;
        let catalogue = life.lake().pin();
        let rows = catalogue.tables().find(|view| view.id.dataset.as_str() == dataset && view.id.space.is_of_project());
        let rejects =
            catalogue.tables().find(|view| view.id.dataset.as_str() == dataset && view.id.space == Space::Quarantine);
        let versions = match rows {
            Some(view) => self.versions_of(&life, view).await,
            None => Vec::new(),
        };
        let quarantine = match rejects {
            Some(view) => self.rejects_of(dataset, view).await,
            None => Vec::new(),
        };
        DatasetNews { results: self.results.of(dataset), versions, quarantine }
    }

    async fn take_up_results(&self) {
        if *self.results.is_whole.lock() || !self.platform.is_ready() {
            return;
        }
        match self.platform.recorder().checked_since(self.setup.clock.now_ms() - BEFORE_MS).await {
            Ok(before) => self.results.take_up(before),
            Err(error) => {
                tracing::debug!(error = in_full(&error), "what rules found before the start is not known yet")
            }
        }
    }

    /// The last versions of what readers see, newest first, as far as the log reaches back.
    async fn versions_of(&self, life: &Life, view: &TableView) -> Vec<VersionTold> {
        let (name, newest) = (view.id.to_string(), view.published().version().0);
        if let Some((known, versions)) = self.read.versions.lock().get(&name)
            && *known == newest
        {
            return versions.clone();
        }
        let log = DeltaLog::new(Arc::clone(life.lake().store()), view.root.clone());
        let mut told = Vec::new();
        for number in (1..=newest).rev().take(VERSIONS_SHOWN as usize) {
            let changes = log.changes(TableVersion(number - 1), TableVersion(number)).await;
            let Some(change) = changes.ok().and_then(|changes| changes.into_iter().next()) else { break };
            told.push(version_told(&change));
        }
        self.read.versions.lock().insert(name, (newest, told.clone()));
        told
    }

    /// Rejects by the first rule that they broke.
    async fn rejects_of(&self, dataset: &str, view: &TableView) -> Vec<RejectsTold> {
        let now = version(view);
        if let Some((known, rejects)) = self.read.rejects.lock().get(dataset)
            && *known == now
        {
            return rejects.clone();
        }
        let desk = QuarantineDesk::new(Arc::clone(&self.platform));
        let Ok(counts) = desk.counts(Some(dataset), &Which::default()).await else { return Vec::new() };
        let mut by_rule: BTreeMap<String, RejectsTold> = BTreeMap::new();
        for count in counts {
            let told =
                by_rule.entry(count.rule.clone()).or_insert(RejectsTold { rule: count.rule, ..RejectsTold::default() });
            told.rows += count.rows;
            told.last = told.last.take().max(count.last);
        }
        let rejects: Vec<RejectsTold> = by_rule.into_values().collect();
        self.read.rejects.lock().insert(dataset.to_owned(), (now, rejects.clone()));
        rejects
    }
}

fn version_told(change: &VersionChanges) -> VersionTold {
    // A file of which it is not known how many rows it holds makes the sum unknown.
    let sum = |files: &[Arc<vitalake_lake::DataFile>]| files.iter().map(|file| file.rows).sum::<Option<u64>>();
    VersionTold {
        version: change.version.0,
        at: change.timestamp_ms.and_then(instant),
        rows_added: sum(&change.added),
        rows_removed: sum(&change.removed),
        operation: change.info.get("operation").and_then(|name| name.as_str()).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_result_of_a_rule_is_kept_whatever_came_before_the_start() {
        let results = Results::default();
        let event = |passed| Event::Measured {
            dataset: "a".into(),
            rule: "rows".into(),
            severity: "error",
            scope: "table".into(),
            got: Some(2.0),
            want: "at least 1".into(),
            passed,
        };
        results.note(&event(Some(false)), 1_000);
        results.note(&event(Some(true)), 2_000);
        results.take_up(vec![
            Checked { dataset: "serving.a".to_owned(), rule: "rows".to_owned(), at_ms: 0, ..Checked::default() },
            Checked {
                dataset: "serving.a".to_owned(),
                rule: "bpm.minimum".to_owned(),
                rows: Some(3),
                ..Checked::default()
            },
        ]);
        let of = results.of("a");
        assert_eq!(of["rows"].state, "passed");
        assert_eq!((of["bpm.minimum"].state, of["bpm.minimum"].failed), ("broken", Some(3)));
        assert!(results.of("b").is_empty());
    }
}
