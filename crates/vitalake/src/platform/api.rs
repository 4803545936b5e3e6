//! What one life answers: the pinned value, readiness, status, flush. `front` asks it.
//!
//! Invariant: an error that leaves here holds names and counts, never a record's value.

use std::collections::BTreeMap;
use std::sync::Arc;

use vitalake_ingest::landing::{RuleCount, TopicLanding};
use vitalake_lake::{Catalogue, Space, TableId, TableView, Unopened};
use vitalake_ops::status::{
    BrokenRule, DatasetStatus, FAILED, FlushReport, FlushedTable, OK, PartitionStatus, RECOVERING, Readiness,
    RunningReport, STALLED, StatusReport, Trouble,
};
use vitalake_process::{ModelStatus, RunningStatement};
use vitalake_serve::pinned::{Pinned, PinnedLake};
use vitalake_serve::platform::ApiError;

use super::gates;
use super::outside::instant;
use super::{Life, Role};

/// What is said of a table whose tail is full.
const FULL: &str =
    "memory holds as many rows as storage.tail_bytes_max allows: no more are taken until a commit has these";

/// A life as the server sees it.
#[derive(Clone, Debug)]
pub(super) struct Api(pub(super) Arc<Life>);

impl Api {
    /// The newest value, of which the tables that are being recovered are not read.
    pub(super) fn pin(&self) -> Arc<dyn Pinned> {
        let recovering = if self.0.is_ready() { BTreeMap::new() } else { self.recovering() };
        let standings = gates::standings(&self.0);
        Arc::new(PinnedLake::of(&self.0.lake, Arc::new(recovering)).with_standings(standings))
    }

    fn recovering(&self) -> BTreeMap<String, String> {
        self.0.recovery.reasons(&self.0.intake.landings, &self.models())
    }

    fn models(&self) -> Vec<ModelStatus> {
        let models = self.0.models.lock().clone();
        models.map(|models| models.statuses()).unwrap_or_default()
    }

    pub(super) fn readiness(&self) -> Readiness {
        if self.0.is_ready() {
            return Readiness { ready: true, ..Readiness::default() };
        }
        let ready = self.0.recovery.is_over_but_for_stalled(&self.models());
        let waiting_for = if ready { Vec::new() } else { self.recovering().into_values().collect() };
        Readiness { ready, waiting_for, ..Readiness::default() }
    }

    /// What is known of every dataset and partition.
    pub(super) fn report(&self, troubles: &[Trouble]) -> StatusReport {
        let catalogue = self.0.lake.pin();
        let models = self.models();
        let mut datasets: Vec<DatasetStatus> = catalogue
            .tables()
            .filter(|view| view.id.space.is_of_project())
            .map(|view| self.dataset(&catalogue, view, &models, troubles))
            .chain(self.0.lake.unopened().map(|unopened| self.unopened(unopened, &models, troubles)))
            .collect();
        datasets.sort_by_key(|d| (["raw", "curated", "serving"].iter().position(|l| *l == d.layer), d.dataset.clone()));
        StatusReport { datasets, partitions: self.partitions(), ..StatusReport::default() }
    }

    pub(super) async fn flush(&self) -> Result<FlushReport, ApiError> {
        if let role @ (Role::Serve | Role::Spare) = self.0.role {
            return Err(ApiError::Invalid(format!(
                "a process with the role {} commits nothing; flush one with the role ingest, then one with the role process",
                role.as_str()
            )));
        }
        let before = self.0.lake.pin();
        let behind = self.0.commit_everything().await.map_err(|error| {
            ApiError::Unavailable(format!("{error}; what is not committed stays in the log and is tried again"))
        })?;
        let after = self.0.lake.pin();
        let mut tables = Vec::new();
        for view in after.tables().filter(|v| v.id.space.is_of_project()) {
            let Some(old) = before.table(&view.id).filter(|old| old.published().version() < view.published().version())
            else {
                continue;
            };
            let rows = view.published().rows().unwrap_or(0).saturating_sub(old.published().rows().unwrap_or(0));
            tables.push(FlushedTable {
                dataset: view.id.dataset.to_string(),
                layer: view.id.space.as_str().to_owned(),
                version: view.published().version().0,
                rows,
            });
        }
        Ok(FlushReport { tables, behind })
    }
}

impl Api {
    fn dataset(
        &self,
        catalogue: &Catalogue,
        view: &TableView,
        models: &[ModelStatus],
        troubles: &[Trouble],
    ) -> DatasetStatus {
        let name = &view.id.dataset;
        let landing = self.0.intake.landings.iter().find(|l| l.table().contract().dataset == *name);
        let model = models.iter().find(|model| model.dataset == *name);
        let hidden: u64 = view.tail.hidden.iter().filter_map(|path| view.head.file(path)).filter_map(|f| f.rows).sum();
        let tail_rows = view.tail.row_count();
        let committed = view.published().files().map(|f| f.add.modification_time).max();
        let quarantined = catalogue
            .table(&TableId::new(Space::Quarantine, name.clone()))
            .map_or(0, |q| q.head.rows().unwrap_or(0) + q.tail.row_count());
        let newest = self.0.lake.table(name).ok().and_then(|table| table.newest_row_ms());
        let (state, error) = self.state(name.as_str(), landing, troubles);
        DatasetStatus {
            dataset: name.to_string(),
            layer: view.id.space.as_str().to_owned(),
            rows: view.head.rows().unwrap_or(0).saturating_sub(hidden) + tail_rows,
            tail_rows,
            version: Some(view.published().version().0),
            last_commit: committed.and_then(instant),
            newest_row_at: newest.and_then(instant),
            freshness_seconds: newest.map(|at| (self.0.setup.clock.now_ms() - at).max(0) as f64 / 1000.0),
            lag_records: landing.map(|l| l.lag_records()).or(model.map(|m| m.changes_behind)),
            quarantined,
            state: state.to_owned(),
            error,
            broken_rules: landing.map(broken_rules).unwrap_or_default(),
            model: model.map(|model| format!("{:?}", model.kind).to_lowercase()),
            engine: model.map(|model| model.engine.as_str().to_owned()),
            running: model.and_then(|model| model.running).map(running),
            gate: self.0.gates.status(name.as_str()).filter(|_| view.id.space == Space::Serving).map(gates::report),
        }
    }

    /// A dataset whose table is not open: nothing is known of its rows.
    fn unopened(&self, unopened: &Unopened, models: &[ModelStatus], troubles: &[Trouble]) -> DatasetStatus {
        let id = unopened.id();
        let model = models.iter().find(|model| model.dataset == id.dataset);
        let (state, error) = self.state(id.dataset.as_str(), None, troubles);
        DatasetStatus {
            dataset: id.dataset.to_string(),
            layer: id.space.as_str().to_owned(),
            state: state.to_owned(),
            error,
            model: model.map(|model| format!("{:?}", model.kind).to_lowercase()),
            engine: model.map(|model| model.engine.as_str().to_owned()),
            gate: self.0.gates.status(id.dataset.as_str()).map(gates::report),
            ..DatasetStatus::default()
        }
    }

    /// A dataset's state, and why it is not `ok`. Troubles come with the worst first.
    fn state(
        &self,
        name: &str,
        landing: Option<&Arc<TopicLanding>>,
        troubles: &[Trouble],
    ) -> (&'static str, Option<String>) {
        if let Some(trouble) = troubles.iter().find(|trouble| trouble.dataset.as_deref() == Some(name)) {
            let state = if trouble.state == STALLED { STALLED } else { FAILED };
            return (state, Some(trouble.message.clone()));
        }
        let full = |landing: &TopicLanding| landing.table().is_full().then(|| FULL.to_owned());
        let no_room = || self.0.log()?.room().err().map(|error| error.to_string());
        match landing.and_then(|landing| landing.trouble().or_else(no_room).or_else(|| full(landing))) {
            Some(error) => (STALLED, Some(error)),
            None if self.0.recovery.waits(name) => (RECOVERING, None),
            None => (OK, None),
        }
    }

    fn partitions(&self) -> Vec<PartitionStatus> {
        let of = |landing: &Arc<TopicLanding>| {
            let topic = landing.topic().to_owned();
            landing.positions().into_iter().map(move |position| PartitionStatus {
                topic: topic.clone(),
                partition: position.partition,
                log_start_offset: position.start_offset,
                high_watermark: position.end_offset,
                committed_offset: position.committed_offset,
            })
        };
        self.0.intake.landings.iter().flat_map(of).collect()
    }
}

fn broken_rules(landing: &Arc<TopicLanding>) -> Vec<BrokenRule> {
    let rule =
        |count: RuleCount| BrokenRule { rule: count.rule, severity: count.severity.to_string(), rows: count.records };
    landing.counters().broken_rules().into_iter().map(rule).collect()
}

/// A statement on Spark as status has it.
fn running(statement: RunningStatement) -> RunningReport {
    let RunningStatement { took, progress } = statement;
    RunningReport {
        seconds: took.as_secs_f64(),
        stages: progress.stages,
        tasks: progress.tasks,
        tasks_done: progress.tasks_done,
        bytes_read: progress.bytes_read,
    }
}
