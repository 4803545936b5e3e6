//! Where the records lie that rows of a person's were made of, when the records themselves do not name them.
//!
//! A reading names a device; who wears it stands in another table, and only the row that a model made of both names the
//! person. Such a row says the place of its record (docs/decisions/0012), and the record goes too. Invariant: places are read
//! before anything is erased, and kept until the erasure is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, Schema};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use vitalake_contract::Contract;

use super::cells::{Rows, texts, theirs};
use super::subject::Subject;
use crate::delta::{DeltaError, DeltaLog};
use crate::parquet::read_file;

/// Rows that are read as one batch.
const BATCH_ROWS: usize = 8192;
/// The columns that say where a row's record lies.
const PLACE: [&str; 3] = ["_topic", "_partition", "_offset"];

/// Places of records: topic, partition, offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places(BTreeMap<String, BTreeMap<i32, BTreeSet<i64>>>);

impl Places {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        for (topic, partitions) in others.0 {
            let mine = self.0.entry(topic).or_default();
            for (partition, offsets) in partitions {
                mine.entry(partition).or_default().extend(offsets);
            }
        }
    }

    /// Whether a place is one of them.
    #[must_use]
    pub fn has(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let partitions = self.0.get(topic);
        partitions.and_then(|partitions| partitions.get(&partition)).is_some_and(|offsets| offsets.contains(&offset))
    }

    /// Takes note of each row of a batch that says its place.
    pub(super) fn each(batch: &RecordBatch, mut visit: impl FnMut(usize, &str, i32, i64)) {
        let [topics, partitions, offsets] = PLACE.map(|name| batch.column_by_name(name));
        let partitions = partitions.and_then(|column| column.as_primitive_opt::<Int32Type>());
        let offsets = offsets.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(topics), Some(partitions), Some(offsets)) = (topics, partitions, offsets) else { return };
        for (row, ((topic, partition), offset)) in texts(topics).into_iter().zip(partitions).zip(offsets).enumerate() {
            let topic = topic.and_then(|topic| std::str::from_utf8(topic).ok());
            if let (Some(topic), Some(partition), Some(offset)) = (topic, partition, offset) {
                visit(row, topic, partition, offset);
            }
        }
    }
}

/// The places of the records that a table's rows of a person's were made of; none of a table that says no places.
///
/// # Errors
/// When the table cannot be read.
pub async fn places_of(log: &DeltaLog, subject: &Subject, contract: &Contract) -> Result<Places, DeltaError> {
    let mut places = Places::default();
    let Some(head) = log.load().await? else { return Ok(places) };
    let is_read = |name: &str| PLACE.contains(&name) || contract.subjects().any(|column| &*column.name == name);
    let fields = head.schema().fields().iter().filter(|field| is_read(field.name()));
    let schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
    if !PLACE.iter().all(|name| schema.field_with_name(name).is_ok()) {
        return Ok(places);
    }
    for file in head.files() {
        let location = file.location(log.root());
        let mut batches = read_file(log.store(), &location, file.size_bytes(), &schema, BATCH_ROWS).await?;
        while let Some(batch) = batches.try_next().await? {
            let theirs = theirs(std::slice::from_ref(subject), Rows::Of(contract), &batch);
            Places::each(&batch, |row, topic, partition, offset| {
                if theirs.get(row) == Some(&true) {
                    let partitions = places.0.entry(topic.to_owned()).or_default();
                    partitions.entry(partition).or_default().insert(offset);
                }
            });
        }
    }
    Ok(places)
}
