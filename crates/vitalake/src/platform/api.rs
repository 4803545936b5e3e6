//! What the HTTP server may ask of the platform: the pinned value, readiness, status, flush, deliveries.
//!
//! Invariant: an error that leaves here holds names and counts, never a record's value.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use vitalake_contract::DatasetName;
use vitalake_ingest::decode::DeliveryFormat as FileFormat;
use vitalake_ingest::delivery::{self, DeliverError, Delivered};
use vitalake_ingest::landing::TopicLanding;
use vitalake_lake::{Catalogue, Space, TableId, TableView};
use vitalake_ops::status::{
    AwayPart, DatasetStatus, DeliveryReport, DeliveryState, FlushReport, FlushedTable, PartitionStatus, Readiness,
    StatusReport, Trouble,
};
use vitalake_process::sql_rules;
use vitalake_runtime::error::{Classified, Retry, in_full};
use vitalake_serve::pinned::{Pinned, PinnedLake};
use vitalake_serve::platform::{ApiError, ByteStream, Datasets, Deliveries, DeliveryFormat, Flush, Status};

use super::outside::{instant, parts};
use super::{Platform, Role};

/// What is said of a table whose tail is full.
const FULL: &str =
    "memory holds as many rows as storage.tail_bytes_max allows: no more are taken until a commit has these";

/// The platform as the server sees it.
#[derive(Clone, Debug)]
pub struct Api(pub Arc<Platform>);

impl Datasets for Api {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        let Readiness { ready, waiting_for, .. } = self.readiness();
        if !ready {
            return Err(waiting_for);
        }
        Ok(Arc::new(PinnedLake::of(&self.0.lake, Arc::default())))
    }
}

#[async_trait]
impl Status for Api {
    fn readiness(&self) -> Readiness {
        let ready = self.0.is_ready();
        let mut waiting_for = Vec::new();
        if !ready {
            for landing in self.0.intake.landings.iter().filter(|l| !l.is_caught_up()) {
                waiting_for.push(format!("topic {}: {} records to take up", landing.topic(), landing.lag_records()));
            }
            if waiting_for.is_empty() {
                waiting_for.push("models to catch up with their inputs".to_owned());
            }
        }
        Readiness { ready, waiting_for, away: self.away(), troubles: Vec::new() }
    }

    fn troubles(&self) -> Vec<Trouble> {
        self.0.troubles()
    }

    async fn status(&self) -> StatusReport {
        let Readiness { ready, waiting_for, away, .. } = self.readiness();
        let troubles = self.0.troubles();
        let catalogue = self.0.lake.pin();
        let mut datasets: Vec<DatasetStatus> = catalogue
            .tables()
            .filter(|view| view.id.space != Space::Quarantine)
            .map(|view| self.dataset(&catalogue, view, &troubles))
            .collect();
        datasets.sort_by_key(|d| (["raw", "curated", "serving"].iter().position(|l| *l == d.layer), d.dataset.clone()));
        StatusReport {
            ready,
            role: self.0.role.as_str().to_owned(),
            waiting_for,
            away,
            datasets,
            partitions: self.partitions(),
            troubles,
        }
    }
}

#[async_trait]
impl Flush for Api {
    async fn flush(&self) -> Result<FlushReport, ApiError> {
        self.check_ready()?;
        if let role @ (Role::Serve | Role::Spare) = self.0.role {
            return Err(ApiError::Invalid(format!(
                "a process with the role {} commits nothing; flush one with the role ingest, then one with the role process",
                role.as_str()
            )));
        }
        let before = self.0.lake.pin();
        self.0.commit_everything().await.map_err(|error| {
            ApiError::Unavailable(format!("{error}; what is not committed stays in the log and is tried again"))
        })?;
        let after = self.0.lake.pin();
        let mut tables = Vec::new();
        for view in after.tables().filter(|v| v.id.space != Space::Quarantine) {
            let Some(old) = before.table(&view.id).filter(|old| old.head.version() < view.head.version()) else {
                continue;
            };
            let rows = view.head.rows().unwrap_or(0).saturating_sub(old.head.rows().unwrap_or(0));
            tables.push(FlushedTable {
                dataset: view.id.dataset.to_string(),
                layer: view.id.space.as_str().to_owned(),
                version: view.head.version().0,
                rows,
            });
        }
        Ok(FlushReport { tables })
    }
}

#[async_trait]
impl Deliveries for Api {
    async fn deliver(
        &self,
        dataset: &str,
        name: &str,
        format: DeliveryFormat,
        body: ByteStream,
    ) -> Result<DeliveryReport, ApiError> {
        self.check_ready()?;
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
        let lock = Arc::clone(self.0.deliveries.get(&id).ok_or_else(unknown)?);
        let table = Arc::clone(self.0.lake.table(&id).map_err(|_| unknown())?);
        let sql = sql_rules(table.contract()).map_err(|error| ApiError::Internal(error.to_string()))?;
        let format = match format {
            DeliveryFormat::Csv => FileFormat::Csv,
            DeliveryFormat::Ndjson => FileFormat::Ndjson,
        };
        let (name, now_ms) = (name.to_owned(), self.0.clock.now_ms());
        let (sender, chunks) = mpsc::channel(4);
        let feeding = async move {
            let mut body = body;
            while let Some(chunk) = body.next().await {
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
        };
        // The commit outlives a client that hangs up: models wait at the delivery's place.
        let delivering = tokio::spawn(async move {
            let _one_at_a_time = lock.lock_owned().await;
            delivery::deliver(&table, sql, &name, format, chunks, now_ms).await
        });
        feeding.await;
        let outcome = delivering
            .await
            .map_err(|error| ApiError::internal("the delivery was interrupted; deliver the file again", &error))?;
        outcome.map(|delivered| report(dataset, delivered)).map_err(|error| refusal(&error))
    }
}

impl Api {
    fn check_ready(&self) -> Result<(), ApiError> {
        let Readiness { ready, waiting_for, .. } = self.readiness();
        if ready {
            return Ok(());
        }
        Err(ApiError::Unavailable(format!("vitalake is not ready: waiting for {}; try again", waiting_for.join(", "))))
    }

    fn dataset(&self, catalogue: &Catalogue, view: &TableView, troubles: &[Trouble]) -> DatasetStatus {
        let name = &view.id.dataset;
        let landing = self.0.intake.landings.iter().find(|l| l.table().contract().dataset == *name);
        let models = self.0.models.lock().clone();
        let model = models.and_then(|models| models.statuses().into_iter().find(|m| m.dataset == *name));
        let hidden: u64 = view.tail.hidden.iter().filter_map(|path| view.head.file(path)).filter_map(|f| f.rows).sum();
        let tail_rows = view.tail.row_count();
        let committed = view.head.files().map(|f| f.add.modification_time).max();
        let quarantined = catalogue
            .table(&TableId::new(Space::Quarantine, name.clone()))
            .map_or(0, |q| q.head.rows().unwrap_or(0) + q.tail.row_count());
        let newest = self.0.lake.table(name).ok().and_then(|table| table.newest_row_ms());
        let landing_error =
            landing.and_then(|l| l.trouble().or_else(|| self.0.log()?.room().err().map(|error| error.to_string())));
        let full = landing.filter(|landing| landing.table().is_full());
        let landing_error = landing_error.or_else(|| full.map(|_| FULL.to_owned()));
        let trouble = troubles.iter().find(|trouble| trouble.dataset.as_deref() == Some(name.as_str()));
        let error = trouble.map(|trouble| trouble.message.clone());
        let error = error.or_else(|| model.as_ref().and_then(|m| m.error.clone())).or(landing_error);
        DatasetStatus {
            dataset: name.to_string(),
            layer: view.id.space.as_str().to_owned(),
            rows: view.head.rows().unwrap_or(0).saturating_sub(hidden) + tail_rows,
            tail_rows,
            version: Some(view.head.version().0),
            last_commit: committed.and_then(instant),
            newest_row_at: newest.and_then(instant),
            freshness_seconds: newest.map(|at| (self.0.clock.now_ms() - at).max(0) as f64 / 1000.0),
            lag_records: landing.map(|l| l.lag_records()).or(model.as_ref().map(|m| m.changes_behind)),
            quarantined,
            state: match (&error, landing.is_some_and(|l| !l.is_caught_up())) {
                _ if trouble.is_some() => "failed".to_owned(),
                (Some(_), _) => "stalled".to_owned(),
                (None, true) => "recovering".to_owned(),
                (None, false) => "ok".to_owned(),
            },
            error,
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

    fn away(&self) -> Vec<AwayPart> {
        parts(self.0.away(), self.0.clock.now_ms())
    }
}

fn report(dataset: &str, delivered: Delivered) -> DeliveryReport {
    DeliveryReport {
        dataset: dataset.to_owned(),
        delivery: u64::try_from(delivered.number).unwrap_or(0),
        sha256: delivered.sha256,
        state: if delivered.known { DeliveryState::AlreadyLoaded } else { DeliveryState::Loaded },
        accepted: delivered.totals.rows,
        quarantined: delivered.totals.rejects,
        version: u64::try_from(delivered.version).unwrap_or(0),
    }
}

fn refusal(error: &DeliverError) -> ApiError {
    match error {
        DeliverError::File(_) | DeliverError::Fatal { .. } | DeliverError::Empty { .. } => {
            ApiError::Invalid(in_full(error))
        }
        DeliverError::Lake(cause) if cause.retry() == Retry::Later => {
            ApiError::Unavailable(format!("{error}; deliver the file again when the cause is gone"))
        }
        DeliverError::Lake(_) => ApiError::internal("the delivery failed", error),
        DeliverError::Stopped(_) => ApiError::Unavailable(error.to_string()),
    }
}
