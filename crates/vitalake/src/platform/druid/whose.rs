//! Whose a datasource is: ours to replace, or somebody else's.
//!
//! Invariant: nothing is sent before this has said that what is there is ours, and as we left it, or that nothing is there.

use std::time::{Duration, Instant};

use serde_json::Value;
use vitalake_serve::druid_engine::{DruidError, Segment};

use super::Dataset;
use super::failure::PublishError;
use super::known::Known;
use super::publish::Desk;

/// How long what is there may have another number of rows: it may be loading.
const SETTLES_MAX: Duration = Duration::from_secs(90);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long nothing of a datasource has to be there until it counts as gone: whoever has just begun may not know it yet.
const GONE_AFTER: Duration = Duration::from_secs(3);

impl Desk<'_> {
    /// The segments that are there, where they are ours to replace. Where all that was published is gone, as in a Druid
    /// that was set up anew, it is known no longer, so that all of it is published.
    pub(super) async fn whose(&self, dataset: &Dataset, known: &mut Known) -> Result<Vec<Segment>, PublishError> {
        let datasource = &dataset.datasource;
        let there = self.cluster.segments(datasource).await?;
        if !known.ours && (there.iter().any(|segment| segment.active) || self.cluster.is_used(datasource).await?) {
            let beginning = dataset.task_ids(&dataset.table.published_head().metadata().id);
            if !self.cluster.has_run(datasource, &beginning).await? {
                return Err(PublishError::Foreign(format!(
                    "Druid has a datasource {datasource} that vitalake did not make, and nothing of it is touched: give ours other names by engines.druid.prefix, drop it there, or let vitalake replace all of it by `vitalake druid adopt {}`",
                    dataset.name()
                )));
            }
        }
        if let Some(version) = known.version {
            self.untouched(dataset, known, version).await?;
        }
        Ok(there)
    }

    /// Whether what is there is what we left there. A datasource that is being loaded is waited for.
    async fn untouched(&self, dataset: &Dataset, known: &mut Known, version: u64) -> Result<(), PublishError> {
        let datasource = &dataset.datasource;
        let began = Instant::now();
        loop {
            let rows = self.rows(datasource).await?;
            // A task that failed may have done its work before.
            if rows == known.rows || known.rows_tried == Some(rows) {
                return Ok(());
            }
            if rows == 0 && began.elapsed() >= GONE_AFTER && self.is_gone(datasource).await? {
                tracing::warn!(dataset = %dataset.table.id(), "Druid has lost all of it: all of it is published again");
                known.version = None;
                return Ok(());
            }
            if began.elapsed() > SETTLES_MAX {
                return Err(PublishError::Foreign(format!(
                    "Druid's {datasource} has {rows} rows where version {version} has {}: somebody else has written to it, or a part of it is not loaded; nothing of it is touched; let vitalake replace all of it by `vitalake druid adopt {}`",
                    known.rows,
                    dataset.name()
                )));
            }
            dataset.note_waiting("what is there has another number of rows than was left there", self.clock.now_ms());
            tokio::select! {
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = dataset.taken.notified() => return Err(PublishError::Adopted),
            }
        }
    }

    /// Whether neither broker nor coordinator knows of a segment that anybody's rows could be in.
    async fn is_gone(&self, datasource: &str) -> Result<bool, DruidError> {
        let there = self.cluster.segments(datasource).await?;
        Ok(!there.iter().any(|segment| segment.active) && !self.cluster.is_used(datasource).await?)
    }

    async fn rows(&self, datasource: &str) -> Result<u64, DruidError> {
        let answer = self.cluster.query(&format!("SELECT COUNT(*) FROM \"{datasource}\"")).await?;
        Ok(answer.first().and_then(|row| row.first()).and_then(Value::as_u64).unwrap_or(0))
    }
}
