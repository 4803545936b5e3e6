//! Windows of a gated table: the rows with one value of the column that its contract names as `gateWindow`.
//!
//! Each file of such a table holds one window, so that a window can be published and its neighbour held back without a row
//! being copied. Which window a file holds is read from its statistics. Invariant: a file whose statistics do not say that
//! it holds one window belongs to one that is published only with all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use vitalake_contract::Contract;

use crate::delta::DataFile;

/// The name of rows without a window.
const NONE: &str = "null";
/// The name of what holds several windows in one file, or does not say.
const MIXED: &str = "(several)";

/// The column by whose values a table is published in parts.
#[derive(Clone, Debug)]
pub(crate) struct WindowColumn {
    name: Arc<str>,
    kind: DataType,
}

impl WindowColumn {
    pub(crate) fn of(contract: &Contract) -> Option<Self> {
        let column = contract.columns.get(contract.gate_window?)?;
        Some(Self { name: Arc::clone(&column.name), kind: column.kind.arrow() })
    }

    /// Rows by their window.
    pub(crate) fn split(&self, batches: Vec<RecordBatch>) -> Result<Vec<Vec<RecordBatch>>, ArrowError> {
        let mut parts: BTreeMap<Option<String>, Vec<RecordBatch>> = BTreeMap::new();
        for batch in batches {
            let Some(column) = batch.column_by_name(&self.name) else { return Ok(vec![vec![batch]]) };
            let texts = cast(column, &DataType::Utf8)?;
            let mut rows: BTreeMap<Option<String>, Vec<u32>> = BTreeMap::new();
            for (row, text) in texts.as_string::<i32>().iter().enumerate() {
                let row = u32::try_from(row).unwrap_or(u32::MAX);
                rows.entry(text.map(str::to_owned)).or_default().push(row);
            }
            for (window, rows) in rows {
                let part = take_record_batch(&batch, &UInt32Array::from(rows))?;
                parts.entry(window).or_default().push(part);
            }
        }
        Ok(parts.into_values().collect())
    }

    /// The window that a file holds.
    pub(crate) fn of_file(&self, file: &DataFile) -> String {
        let Some(stats) = file.stats() else { return MIXED.to_owned() };
        let nulls = stats.null_count(&self.name);
        if nulls.is_some() && nulls == file.rows {
            return NONE.to_owned();
        }
        match (stats.min(&self.name, &self.kind), stats.max(&self.name, &self.kind)) {
            (Some(min), Some(max)) if min == max && nulls == Some(0) => {
                let text = min.to_array().ok().and_then(|value| cast(&value, &DataType::Utf8).ok());
                let text = text.filter(|text| text.len() == 1 && text.is_valid(0));
                text.map_or_else(|| MIXED.to_owned(), |text| text.as_string::<i32>().value(0).to_owned())
            }
            _ => MIXED.to_owned(),
        }
    }
}

/// Whether some windows may be published without the others: none where a file holds several.
pub(crate) fn may_be_parted(windows: &BTreeSet<String>) -> bool {
    !windows.contains(MIXED)
}
