//! Counting and listing rejects, committed or still in memory, of one pinned value.
//!
//! Quarantine is read batch by batch. Invariant: a record's bytes are read only where they were asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt as _;
use vitalake_contract::Contract;
use vitalake_lake::{LakeError, RejectFilter, Space, TableId};
use vitalake_ops::quarantine::{RejectCount, RejectedRow};
use vitalake_serve::platform::ApiError;
use vitalake_serve::quarantine::Shown;

use super::{Life, lake};

/// Rejects with the same first rule and contract.
#[derive(Default)]
struct Group {
    rows: u64,
    first_us: Option<i64>,
    last_us: Option<i64>,
}

/// How many rejects there are, of one dataset or of all.
pub(super) async fn counts(
    life: &Arc<Life>,
    of: Option<&Contract>,
    filter: RejectFilter,
) -> Result<Vec<RejectCount>, ApiError> {
    let contracts = life.setup.checked.project.contracts.iter();
    let contracts: Vec<_> =
        contracts.filter(|contract| of.is_none_or(|of| of.dataset == contract.dataset)).cloned().collect();
    let (counted, life) = (Arc::clone(life), Arc::clone(life));
    let counting = async move {
        let mut all = Vec::new();
        for contract in contracts {
            let groups = groups(&counted, &contract, &filter).await?;
            all.extend(groups.into_iter().map(|((rule, by), group)| RejectCount {
                dataset: format!("{}.{}", contract.layer, contract.dataset),
                rule,
                contract: by,
                rows: group.rows,
                first: group.first_us.and_then(time),
                last: group.last_us.and_then(time),
            }));
        }
        Ok::<_, LakeError>(all)
    };
    let counted = life.lake.cpu().spawn_cpu(counting).await;
    counted.map_err(|error| ApiError::internal("counting was interrupted; try again", &error))?.map_err(|e| lake(&e))
}

async fn groups(
    life: &Life,
    contract: &Contract,
    filter: &RejectFilter,
) -> Result<BTreeMap<(String, Option<String>), Group>, LakeError> {
    let mut groups: BTreeMap<(String, Option<String>), Group> = BTreeMap::new();
    let pinned = life.lake.pin();
    let Some(view) = pinned.table(&TableId::new(Space::Quarantine, contract.dataset.clone())) else {
        return Ok(groups);
    };
    let mut columns = filter.columns();
    columns.extend(["_rule", "_rules"]);
    let mut batches = life.lake.rejects(view, &columns);
    while let Some(batch) = batches.try_next().await? {
        let meant = filter.mask(&batch);
        let read = Columns(&batch);
        for row in (0..batch.num_rows()).filter(|row| meant.value(*row)) {
            let by = read.text("_rules", row).and_then(judged_by).map(str::to_owned);
            let group = groups.entry((read.text("_rule", row).unwrap_or_default().to_owned(), by)).or_default();
            group.rows += 1;
            let at = read.time_us("_quarantined_at", row);
            group.first_us = group.first_us.into_iter().chain(at).min();
            group.last_us = group.last_us.max(at);
        }
    }
    Ok(groups)
}

/// The contract's fingerprint, which stands last in the text of `_rules`.
fn judged_by(rules: &str) -> Option<&str> {
    let (before, fingerprint) = rules.strip_suffix("\"}]")?.rsplit_once('"')?;
    (before.ends_with("\"contract\":") && !fingerprint.is_empty()).then_some(fingerprint)
}

/// Some rejects of a dataset.
pub(super) async fn rows(
    life: &Arc<Life>,
    contract: &Contract,
    filter: RejectFilter,
    shown: Shown,
) -> Result<Vec<RejectedRow>, ApiError> {
    let id = TableId::new(Space::Quarantine, contract.dataset.clone());
    let reading = Arc::clone(life);
    let reading = async move {
        let (mut rows, pinned) = (Vec::new(), reading.lake.pin());
        let Some(view) = pinned.table(&id) else { return Ok(rows) };
        let mut columns = filter.columns();
        columns.extend(["_topic", "_partition", "_offset", "_rule", "_reason", "_rules", "_attempts"]);
        columns.extend(shown.raw.then_some("_raw"));
        let mut batches = reading.lake.rejects(view, &columns);
        while rows.len() < shown.limit
            && let Some(batch) = batches.try_next().await?
        {
            let meant = filter.mask(&batch);
            let left = shown.limit - rows.len();
            rows.extend((0..batch.num_rows()).filter(|row| meant.value(*row)).take(left).map(|at| row(&batch, at)));
        }
        Ok::<_, LakeError>(rows)
    };
    let read = life.lake.cpu().spawn_cpu(reading).await;
    read.map_err(|error| ApiError::internal("reading was interrupted; try again", &error))?
        .map_err(|error| lake(&error))
}

fn row(batch: &RecordBatch, row: usize) -> RejectedRow {
    let read = Columns(batch);
    let text = |name| read.text(name, row).map(str::to_owned);
    let (raw, raw_base64) = match read.bytes("_raw", row) {
        None => (None, None),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(vitalake_ingest::headers::base64_text(bytes))),
        },
    };
    RejectedRow {
        topic: text("_topic"),
        partition: read.number::<Int32Type>("_partition", row),
        offset: read.number::<Int64Type>("_offset", row),
        rule: text("_rule").unwrap_or_default(),
        reason: text("_reason").unwrap_or_default(),
        rules: read.text("_rules", row).and_then(|rules| serde_json::from_str(rules).ok()).unwrap_or_default(),
        attempts: read.number::<Int32Type>("_attempts", row).unwrap_or(0),
        quarantined_at: read.time_us("_quarantined_at", row).and_then(time),
        raw,
        raw_base64,
    }
}

/// Columns of a batch, by their names.
struct Columns<'a>(&'a RecordBatch);

impl<'a> Columns<'a> {
    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        let column = self.0.column_by_name(name)?.as_string_view_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn bytes(&self, name: &str, row: usize) -> Option<&'a [u8]> {
        let column = self.0.column_by_name(name)?.as_binary_view_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn number<T: datafusion::arrow::datatypes::ArrowPrimitiveType>(&self, name: &str, row: usize) -> Option<T::Native> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<T>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn time_us(&self, name: &str, row: usize) -> Option<i64> {
        self.number::<TimestampMicrosecondType>(name, row)
    }
}

fn time(us: i64) -> Option<String> {
    DateTime::<Utc>::from_timestamp_micros(us).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_that_judged_stands_last_and_may_be_absent() {
        let rules = r#"[{"rule":"a","reason":"says \"contract\":\"no\"","contract":"ab12"}]"#;
        assert_eq!(judged_by(rules), Some("ab12"));
        assert_eq!(judged_by(r#"[{"rule":"a","reason":"x","contract":""}]"#), None);
        assert_eq!(judged_by("[]"), None);
        assert_eq!(judged_by(r#"[{"contract":"ab","rule":"a"}]"#), None);
    }
}
