//! What comes of an erased person is refused at the way into a raw table, and counted.
//!
//! Invariant: whoever offers rows counts them before they are refused, so that the books say how many were.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::cells::{Rows, refused};
use crate::books::signed;
use crate::delta::DeltaError;
use crate::error::LakeError;
use crate::table::Table;

impl Table {
    /// Rows and rejects without those of erased persons, whose number is added to `erased`.
    ///
    /// # Errors
    /// When the batches are not of the table's columns.
    pub fn refuse(
        &self,
        mut rows: Vec<RecordBatch>,
        mut rejects: Vec<RecordBatch>,
        erased: &mut i64,
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), LakeError> {
        let (persons, contract) = (&self.shared.options.refused, &self.contract);
        if persons.is_empty() || contract.source.is_none() {
            return Ok((rows, rejects));
        }
        let mut refuse = |batches: &mut Vec<RecordBatch>, of: Rows<'_>| -> Result<(), ArrowError> {
            for batch in batches {
                let (stays, gone) = refused(persons, of, batch.clone())?;
                *erased += signed(gone as u64);
                *batch = stays;
            }
            Ok(())
        };
        let outcome =
            refuse(&mut rows, Rows::Of(contract)).and_then(|()| refuse(&mut rejects, Rows::Rejects(contract)));
        let failed = |source| LakeError::Parquet {
            attempt: "refusing rows of an erased person",
            table: self.id(),
            source: DeltaError::arrow(self.id().root(), source),
        };
        outcome.map_err(failed)?;
        Ok((rows, rejects))
    }
}
