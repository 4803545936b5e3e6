//! What HTTP asks of publishing: files for Druid, where datasets stand, what would be sent, and what people decide.
//!
//! Invariant: a file is given only for a signature of ours, and only where it is of the version that it was signed for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use vitalake_ops::druid::{DruidPlan, DruidReceipt, DruidReport};
use vitalake_runtime::error::{Class, Classified};
use vitalake_runtime::events::Event;
use vitalake_serve::druid_engine::{DruidError, TaskState};
use vitalake_serve::platform::{ApiError, PublishedFile, Publishing};

use super::super::outside::instant;
use super::super::tasks::until_the_end;
use super::super::{Life, Platform};
use super::failure::PublishError;
use super::known::{Known, Sent};
use super::{Dataset, Druid, file_name};

/// How long a task that removes segments is waited for.
const KILL_MAX: Duration = Duration::from_secs(120);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long it is waited until a publication has ended.
const TURN_MAX: Duration = Duration::from_secs(10);

#[async_trait]
impl Publishing for Platform {
    async fn file(&self, dataset: &str, version: u64, file: &str, signature: &str) -> Result<PublishedFile, ApiError> {
        let life = self.living()?;
        let found = life.druid.as_ref().and_then(|druid| Some((druid, druid.named(dataset).ok()?)));
        let gone = || ApiError::NotFound(format!("version {version} of {dataset} has no such file to be fetched"));
        let (druid, known) = found.ok_or_else(gone)?;
        let now_s = life.setup.clock.now_ms() / 1_000;
        if !druid.key.accepts(signature, known.name(), version, file, now_s) {
            return Err(ApiError::Forbidden("this address is not signed, or its time is over".to_owned()));
        }
        let pinned = known.read.lock().get(&version).cloned();
        let pinned = match pinned {
            Some(pinned) => Some(pinned),
            None => known.table.pin_published(Some(version)).await.map_err(|error| unread(&error))?,
        };
        let pinned = pinned.ok_or_else(gone)?;
        let found = pinned.snapshot().files().find(|known| file_name(known.path().as_str()) == file).cloned();
        let found = found.ok_or_else(gone)?;
        let location = found.location(&known.table.id().root());
        Ok(PublishedFile { store: Arc::clone(life.lake.store()), location, bytes: found.size_bytes() })
    }

    async fn druid(&self) -> Result<Vec<DruidReport>, ApiError> {
        let life = self.living()?;
        let Some(druid) = &life.druid else { return Ok(Vec::new()) };
        let mut reports = Vec::new();
        for dataset in &druid.datasets {
            if dataset.standing.lock().known.version.is_none() {
                let known = druid.keeper.read(&dataset.datasource).await;
                dataset.standing.lock().known = known.unwrap_or_default();
            }
            reports.push(dataset.report());
        }
        reports.extend(druid.live.reports());
        Ok(reports)
    }

    async fn druid_plan(&self, dataset: &str) -> Result<DruidPlan, ApiError> {
        let life = self.living()?;
        let (druid, dataset) = published(&life, dataset)?;
        let planned = druid.with_desk(&life, dataset, async |desk| plan(druid, desk, dataset).await);
        until_the_end(&life, planned).await.unwrap_or_else(|| Err(ended())).map_err(|error| refusal(&error))
    }

    async fn druid_adopt(&self, dataset: &str) -> Result<DruidReport, ApiError> {
        let life = self.living()?;
        let (druid, dataset) = published(&life, dataset)?;
        adopt(druid, dataset, life.setup.clock.now_ms()).await.map_err(|error| refusal(&error))?;
        Ok(dataset.report())
    }

    async fn druid_kill(&self, dataset: &str) -> Result<DruidReceipt, ApiError> {
        let life = self.living()?;
        let (druid, dataset) = published(&life, dataset)?;
        let killed = until_the_end(&life, kill(druid, &life, dataset)).await;
        killed.unwrap_or_else(|| Err(ended())).map_err(|error| refusal(&error))
    }
}

fn published<'a>(life: &'a Life, dataset: &str) -> Result<(&'a Druid, &'a Arc<Dataset>), ApiError> {
    let none = || {
        ApiError::NotFound(
            "this process publishes nothing to Druid: `engines.analytics: druid` asks for it, and the process that runs the models does it"
                .to_owned(),
        )
    };
    let druid = life.druid.as_ref().ok_or_else(none)?;
    Ok((druid, druid.named(dataset)?))
}

impl Druid {
    fn named(&self, name: &str) -> Result<&Arc<Dataset>, ApiError> {
        let bare = name.strip_prefix("serving.").unwrap_or(name);
        let found = self.datasets.iter().find(|dataset| dataset.name() == bare);
        found.ok_or_else(|| {
            ApiError::NotFound(format!("there is no serving dataset {bare}; `vitalake druid status` lists them"))
        })
    }
}

/// Nothing of it is sent meanwhile.
///
/// # Errors
/// Where a publication is under way that goes on.
async fn alone(dataset: &Dataset) -> Result<tokio::sync::MutexGuard<'_, ()>, PublishError> {
    tokio::time::timeout(TURN_MAX, dataset.publishing.lock()).await.map_err(|_| {
        let name = dataset.name();
        PublishError::Foreign(format!(
            "a publication of {name} is under way: ask again when it has ended, which `vitalake druid status` tells"
        ))
    })
}

/// Remembers that the datasource is ours, whatever is in it.
async fn adopt(druid: &Druid, dataset: &Dataset, now_ms: i64) -> Result<(), PublishError> {
    dataset.taken.notify_one();
    let _one = alone(dataset).await?;
    let mut known: Known = druid.keeper.read(&dataset.datasource).await.ok_or(PublishError::NotOurs)?;
    (known.ours, known.version) = (true, None);
    if !druid.keeper.holds().await || !druid.keeper.keep(&dataset.datasource, &known).await {
        return Err(PublishError::NotOurs);
    }
    dataset.note_adopted(now_ms);
    dataset.adopted.notify_one();
    Ok(())
}

/// What would be sent now, and what Druid says of its first rows.
async fn plan(druid: &Druid, desk: &super::Desk<'_>, dataset: &Dataset) -> Result<DruidPlan, PublishError> {
    let known = druid.keeper.read(&dataset.datasource).await.ok_or(PublishError::NotOurs)?;
    let there = druid.cluster.segments(&dataset.datasource).await?;
    let gone = || PublishError::Foreign("the version that was to be planned is gone; ask again".to_owned());
    let pin = dataset.table.pin_published(None).await?.ok_or_else(gone)?;
    let prepared = desk.counted(dataset.source().prepare(pin, &known, &there)).await?;
    let sent = Sent {
        id: format!("{}_v{}_0", dataset.task_ids(&prepared.pin.snapshot().metadata().id), prepared.version()),
        version: prepared.version(),
        from: prepared.from,
        granularity: prepared.granularity,
        intervals: prepared.intervals.clone(),
        began_ms: 0,
    };
    let _reading = dataset.reading(&prepared.pin);
    let sample = match prepared.files.is_empty() {
        true => "there is no row to ask about".to_owned(),
        false => {
            let asked = desk.publication(dataset, &sent, &prepared, |publication| publication.sampler());
            match druid.cluster.sample(asked).await {
                Ok((read, indexed)) => format!("Druid read {read} rows of a sample, and can take {indexed} of them"),
                Err(error @ DruidError::Rejected { .. }) => {
                    format!("what Druid makes of the first rows is not known: {error}")
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let mut task = desk.publication(dataset, &sent, &prepared, |publication| publication.task());
    hide_signatures(&mut task);
    Ok(DruidPlan {
        dataset: dataset.table.id().to_string(),
        datasource: dataset.datasource.clone(),
        version: prepared.version(),
        from: prepared.from,
        time: dataset.source().time.map(|(time, _)| time.to_owned()),
        segment_granularity: prepared.granularity.as_str().to_owned(),
        intervals: prepared.intervals.iter().map(ToString::to_string).collect(),
        rows: prepared.expected.rows,
        files: prepared.files.len() as u64,
        sample,
        task,
    })
}

fn hide_signatures(task: &mut Value) {
    let uris = task.pointer_mut("/spec/ioConfig/inputSource/uris").and_then(Value::as_array_mut);
    for uri in uris.into_iter().flatten() {
        let plain = uri.as_str().and_then(|uri| uri.split_once('?')).map(|(plain, _)| format!("{plain}?sig=***"));
        if let Some(plain) = plain {
            *uri = Value::String(plain);
        }
    }
}

/// Removes what a correction left behind: segments that newer ones cover, and those that are out of use.
async fn kill(druid: &Druid, life: &Life, dataset: &Dataset) -> Result<DruidReceipt, PublishError> {
    let _one = alone(dataset).await?;
    let (cluster, datasource) = (&druid.cluster, &dataset.datasource);
    let known: Known = druid.keeper.read(datasource).await.ok_or(PublishError::NotOurs)?;
    if known.version.is_none() {
        return Err(PublishError::Foreign(format!("{datasource} was not published yet: nothing of it is removed")));
    }
    let covered: Vec<String> =
        cluster.segments(datasource).await?.into_iter().filter(|segment| segment.overshadowed).map(|s| s.id).collect();
    if !covered.is_empty() {
        cluster.mark_unused(datasource, &covered).await?;
    }
    let unused = cluster.unused(datasource).await?;
    let mut receipt = DruidReceipt {
        dataset: dataset.table.id().to_string(),
        datasource: datasource.clone(),
        at: instant(life.setup.clock.now_ms()).unwrap_or_default(),
        version: known.version,
        segments: unused.iter().map(|(id, _)| id.clone()).collect(),
        note: "nothing is out of use: deep storage holds what Druid answers from, and nothing else".to_owned(),
        ..DruidReceipt::default()
    };
    let first = unused.iter().map(|(_, interval)| interval.start_ms).min();
    let last = unused.iter().map(|(_, interval)| interval.end_ms).max();
    let Some((start_ms, end_ms)) = first.zip(last) else { return Ok(receipt) };
    let id = format!("vl_kill_{datasource}_{}", life.setup.clock.now_ms());
    cluster.kill(datasource, &id, vitalake_serve::druid_engine::Interval { start_ms, end_ms }).await?;
    let began = Instant::now();
    let state = loop {
        match cluster.task(&id).await? {
            state @ (TaskState::Succeeded | TaskState::Failed(_)) => break state,
            state if began.elapsed() > KILL_MAX => break state,
            _ => tokio::time::sleep(ASK_AGAIN).await,
        }
    };
    if let TaskState::Failed(reason) = state {
        return Err(PublishError::Task { task: id, reason });
    }
    receipt.left = cluster.unused(datasource).await?.len() as u64;
    receipt.note = match receipt.left {
        0 => format!(
            "{} segments are gone from deep storage; task logs and caches of Druid may still name them",
            receipt.segments.len()
        ),
        left => format!("{left} segments are still there: the task may still run; ask again"),
    };
    receipt.task = Some(id);
    life.setup.events.send(Event::Measured {
        dataset: dataset.name().into(),
        rule: "druid_killed".into(),
        severity: "error",
        scope: format!("version {} in Druid", known.version.unwrap_or_default()).into(),
        got: Some(receipt.left as f64),
        want: "0 segments out of use in deep storage".into(),
        passed: Some(receipt.left == 0),
    });
    Ok(receipt)
}

fn ended() -> PublishError {
    PublishError::Foreign("the platform stopped or began anew: ask again".to_owned())
}

fn unread(error: &vitalake_lake::LakeError) -> ApiError {
    ApiError::Unavailable(format!("the table's log cannot be read now: {}", vitalake_runtime::error::in_full(error)))
}

fn refusal(error: &PublishError) -> ApiError {
    match error {
        PublishError::Druid(DruidError::Away { .. }) | PublishError::NotOurs => {
            ApiError::Unavailable(error.to_string())
        }
        PublishError::Lake(lake) if lake.class() == Class::Internal => {
            ApiError::internal("the table could not be read", lake)
        }
        _ => ApiError::Conflict(error.to_string()),
    }
}
