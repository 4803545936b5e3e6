//! A person's rows out of the newest version of a table, in one commit that takes whole files away and adds them again.
//!
//! Models see it as they see a correction: files that are gone and files that came. Invariant: a file without a row of the
//! person's is not touched, and to erase again what is erased commits nothing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::TryStreamExt;

use super::cells::{Judged, Rows, Who, without};
use crate::books::signed;
use crate::delta::action::Add;
use crate::delta::{Change, DataFile, DeltaError, DeltaLog, Snapshot};
use crate::parquet::{FileWriter, ParquetOptions, read_file};
use crate::txn::TxnId;

/// Rows that are read as one batch.
const BATCH_ROWS: usize = 8192;
/// The operation's name in a table's history.
const OPERATION: &str = "ERASE";

/// What is to be erased from one log, and how.
#[derive(Clone, Debug)]
pub struct HeadErasure<'a> {
    /// Who.
    pub who: Who<'a>,
    /// What the rows are.
    pub rows: Rows<'a>,
    /// The counter of rows that go.
    pub counter: Option<TxnId>,
    /// A transaction that says that it was done, with its number; without one a commit that takes rows away counts on.
    pub done: Option<(TxnId, Option<i64>)>,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// Whether it is only counted what would go.
    pub dry_run: bool,
}

/// What went, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows that are gone.
    pub rows: u64,
    /// Other rows of which a cell named the person.
    pub cells: u64,
    /// Files that were written again, or that are gone.
    pub files: u64,
    /// The version that has it.
    pub version: Option<u64>,
}

/// Takes a person's rows out of the newest version of a log; nothing where there is no table.
///
/// # Errors
/// When a file cannot be read or written, or the commit's outcome is not known: call again.
pub async fn erase_head(log: &DeltaLog, erasure: &HeadErasure<'_>) -> Result<Erased, DeltaError> {
    let Some(head) = log.load().await? else { return Ok(Erased::default()) };
    let (mut erased, mut change) = (Erased::default(), Change::new(OPERATION, erasure.now_ms));
    for file in head.files() {
        let (rows, cells) = counted(log, &head, file, erasure).await?;
        if rows + cells == 0 {
            continue;
        }
        (erased.rows, erased.cells, erased.files) = (erased.rows + rows, erased.cells + cells, erased.files + 1);
        if !erasure.dry_run {
            change.removes.push(file.to_remove(erasure.now_ms, true));
            change.adds.extend(written_again(log, &head, file, erasure).await?);
        }
    }
    if erasure.dry_run {
        return Ok(erased);
    }
    if let Some(counter) = erasure.counter.as_ref().filter(|_| erased.rows > 0) {
        let before = head.txn(counter).unwrap_or(0);
        change = change.with_txn(counter.as_str(), before + signed(erased.rows));
    }
    let next = |done: &TxnId| (!change.removes.is_empty()).then(|| head.txn(done).unwrap_or(0) + 1);
    let said = erasure.done.as_ref().and_then(|(done, number)| Some((done, number.or_else(|| next(done))?)));
    if let Some((done, number)) = said.filter(|(done, number)| head.txn(done) < Some(*number)) {
        change = change.with_txn(done.as_str(), number);
    }
    if !change.removes.is_empty() || !change.txns.is_empty() {
        erased.version = Some(log.append(&head, change).await?.version().0);
    }
    Ok(erased)
}

/// How many rows of a file go, and how many others name the person.
async fn counted(
    log: &DeltaLog,
    head: &Snapshot,
    file: &DataFile,
    erasure: &HeadErasure<'_>,
) -> Result<(u64, u64), DeltaError> {
    let location = file.location(log.root());
    let schema = looked_at(head.schema());
    let mut batches = read_file(log.store(), &location, file.size_bytes(), &schema, BATCH_ROWS).await?;
    let (mut rows, mut cells) = (0, 0);
    while let Some(batch) = batches.try_next().await? {
        let Judged { gone, changed, .. } =
            without(erasure.who, erasure.rows, &batch).map_err(|source| DeltaError::arrow(location.clone(), source))?;
        (rows, cells) = (rows + gone as u64, cells + changed as u64);
    }
    Ok((rows, cells))
}

/// The columns that may name a person.
fn looked_at(schema: &SchemaRef) -> SchemaRef {
    let may = |kind: &DataType| !matches!(kind, DataType::Float32 | DataType::Float64 | DataType::Boolean);
    let fields: Vec<_> = schema.fields().iter().filter(|field| may(field.data_type())).cloned().collect();
    if fields.is_empty() { Arc::clone(schema) } else { Arc::new(Schema::new(fields)) }
}

/// A file's other rows as a file; none where there are none.
async fn written_again(
    log: &DeltaLog,
    head: &Snapshot,
    file: &DataFile,
    erasure: &HeadErasure<'_>,
) -> Result<Option<Add>, DeltaError> {
    let location = file.location(log.root());
    let schema = head.schema();
    let mut batches = read_file(log.store(), &location, file.size_bytes(), schema, BATCH_ROWS).await?;
    let mut writer = FileWriter::try_new(log.store(), log.root(), schema, &ParquetOptions::default())?;
    while let Some(batch) = batches.try_next().await? {
        let judged =
            without(erasure.who, erasure.rows, &batch).map_err(|source| DeltaError::arrow(location.clone(), source))?;
        if judged.stays.num_rows() > 0 {
            writer.write(&judged.stays).await?;
        }
    }
    let written = writer.finish(erasure.now_ms).await?;
    Ok(written.map(|written| Add { tags: file.add.tags.clone(), ..written.to_add(true) }))
}
