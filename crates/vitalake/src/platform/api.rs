//! What one life answers: the pinned value, readiness, status, flush, deliveries. `front` asks it.
//!
//! Invariant: an error that leaves here holds names and counts, never a record's value.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use vitalake_contract::DatasetName;
use vitalake_ingest::decode::{DeliveryError, DeliveryFormat as FileFormat, Misfit};
use vitalake_ingest::delivery::{
    self, DeliverError, Delivered, DeliveredState, DeliveryRules, Incoming, Piece, SetFinding,
};
use vitalake_ingest::landing::{RuleCount, TopicLanding};
use vitalake_lake::delta::DeltaError;
use vitalake_lake::{Catalogue, LakeError, Space, TableId, TableView};
use vitalake_ops::status::{
    BrokenRule, DatasetStatus, DeliveryReport, DeliveryState, DidNotFit, FAILED, FlushReport, FlushedTable, NotKept,
    OK, PartitionStatus, RECOVERING, Readiness, ResourceCounts, STALLED, StatusReport, Trouble,
};
use vitalake_process::{ModelStatus, sql_rules};
use vitalake_runtime::error::{Classified, Retry, in_full};
use vitalake_serve::pinned::{Pinned, PinnedLake};
use vitalake_serve::platform::{ApiError, ByteStream, DeliveryFormat};

use super::delivered_sets::{self, DeliveredSets};
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

    pub(super) async fn deliver(
        &self,
        dataset: &str,
        name: &str,
        format: DeliveryFormat,
        body: ByteStream,
    ) -> Result<DeliveryReport, ApiError> {
        let unknown = || {
            ApiError::NotFound(format!(
                "there is no raw dataset {dataset} to deliver to; `vitalake datasets` lists them"
            ))
        };
        // A name as SQL has it is one too.
        let dataset = dataset.strip_prefix("raw.").unwrap_or(dataset);
        let id = DatasetName::new(dataset).map_err(|_| unknown())?;
        if let role @ (Role::Process | Role::Serve | Role::Spare) = self.0.role {
            return Err(ApiError::Invalid(format!(
                "a process with the role {} takes no deliveries; send the file to one with the role ingest",
                role.as_str()
            )));
        }
        let events = self.0.setup.events.clone();
        let desk = Arc::clone(self.0.deliveries.get(&id).ok_or_else(unknown)?);
        let table = Arc::clone(self.0.lake.table(&id).map_err(|_| unknown())?);
        let sql = sql_rules(table.contract()).map_err(|error| ApiError::Internal(error.to_string()))?;
        let format = match format {
            DeliveryFormat::Csv => FileFormat::Csv,
            DeliveryFormat::Ndjson => FileFormat::Ndjson,
            DeliveryFormat::Arrow => FileFormat::Arrow,
            DeliveryFormat::Parquet => FileFormat::Parquet,
            DeliveryFormat::Zip => FileFormat::Zip,
        };
        let rules = DeliveryRules { sql, sets: DeliveredSets::of(&self.0.lake, &table) };
        let contract = Arc::clone(table.contract());
        let (sender, pieces) = mpsc::channel(4);
        let incoming = Incoming::new(name, format, pieces, self.0.setup.clock.now_ms());
        // Both outlive a client that hangs up: a file that came whole is delivered, and models wait at its place.
        let feeding = tokio::spawn(feed(body, sender));
        let delivering = tokio::spawn(async move { delivery::deliver(&table, rules, incoming, &desk).await });
        let outcome = delivering
            .await
            .map_err(|error| ApiError::internal("the delivery was interrupted; deliver the file again", &error))?;
        // Whoever reads the rest of a refused file reads it alone.
        let _ = feeding.await;
        let delivered = outcome.map_err(|error| refusal(&error))?;
        delivered_sets::tell(&events, &contract, &delivered);
        Ok(report(dataset, delivered))
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
            gate: self.0.gates.status(name.as_str()).filter(|_| view.id.space == Space::Serving).map(gates::report),
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

/// Sends a body on, and its end when the body has said it; a body that fails, or whose reader is gone, has none.
async fn feed(mut body: ByteStream, sender: mpsc::Sender<io::Result<Piece>>) {
    loop {
        let next = tokio::select! {
            biased;
            () = sender.closed() => return,
            next = body.next() => next,
        };
        let Some(bytes) = next else { break };
        let failed = bytes.is_err();
        if sender.send(bytes.map(Piece::Bytes)).await.is_err() || failed {
            return;
        }
    }
    let _ = sender.send(Ok(Piece::End)).await;
}

pub(super) fn report(dataset: &str, delivered: Delivered) -> DeliveryReport {
    let (state, held) = match delivered.state {
        DeliveredState::Loaded => (DeliveryState::Loaded, None),
        DeliveredState::Known => (DeliveryState::AlreadyLoaded, None),
        DeliveredState::Held { id, why } => (DeliveryState::Held, Some((id, why))),
        DeliveredState::Superseded { .. } => (DeliveryState::Superseded, None),
    };
    let misfits = delivered.totals.misfits.into_iter();
    let did_not_fit =
        misfits.map(|Misfit { column, expected, values }| DidNotFit { column, expected, values }).collect();
    let not_kept = delivered.findings.into_iter().filter(|finding| finding.passed != Some(true));
    let not_kept = not_kept.map(|SetFinding { rule, severity, found, want, .. }| NotKept {
        rule,
        severity: severity.to_string(),
        got: found,
        want,
    });
    DeliveryReport {
        not_kept: not_kept.collect(),
        dataset: dataset.to_owned(),
        delivery: delivered.number.and_then(|number| u64::try_from(number).ok()),
        business_date: delivered.business_date.map(|date| date.to_string()),
        corrects: delivered.corrects.and_then(|number| u64::try_from(number).ok()),
        held: held.map(|(id, _)| id.to_string()),
        sha256: delivered.sha256,
        state,
        accepted: delivered.totals.rows,
        quarantined: delivered.totals.rejects,
        version: u64::try_from(delivered.version).unwrap_or(0),
        did_not_fit,
        not_in_contract: delivered.totals.unnamed,
        resources: delivered.totals.resources.map(|totals| ResourceCounts {
            read: totals.read,
            of_another_type: totals.of_another_type,
            without_rows: totals.without_rows,
        }),
    }
}

pub(super) fn refusal(error: &DeliverError) -> ApiError {
    match error {
        DeliverError::File(DeliveryError::Read { source, .. }) => match source.kind() {
            io::ErrorKind::TimedOut => ApiError::TimedOut(in_full(error)),
            io::ErrorKind::FileTooLarge => ApiError::TooLarge(in_full(error)),
            _ => ApiError::Invalid(in_full(error)),
        },
        DeliverError::NewerThere { .. } => ApiError::Conflict(in_full(error)),
        DeliverError::Held(_) => ApiError::Unavailable(in_full(error)),
        DeliverError::File(_)
        | DeliverError::Fatal { .. }
        | DeliverError::FatalSet { .. }
        | DeliverError::NotAsExpected { .. }
        | DeliverError::Empty { .. } => ApiError::Invalid(in_full(error)),
        DeliverError::Lake(cause) if cause.retry() == Retry::Later => {
            ApiError::Unavailable(format!("{error}; deliver the file again when the cause is gone"))
        }
        DeliverError::Lake(LakeError::Superseded { .. } | LakeError::Stopped { .. }) | DeliverError::Stopped(_) => {
            ApiError::Unavailable(error.to_string())
        }
        // Somebody set the table so: the sender cannot mend it, and whoever can must know what it is.
        DeliverError::Lake(LakeError::Delta { source: DeltaError::AppendOnly { .. }, .. }) => {
            ApiError::Conflict(format!("{}; nothing of the delivery was loaded", in_full(error)))
        }
        DeliverError::Lake(_) => ApiError::internal("the delivery failed; nothing of it was loaded", error),
    }
}
