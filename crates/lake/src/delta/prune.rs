//! Which files a predicate may find rows in, by their statistics.
//!
//! Values are compared as SQL does: null matches nothing, NaN is above all numbers. Invariant: a file is left out only
//! when its bounds prove that no row of it matches; without statistics it stays.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::{DataFile, FileStats};
use crate::parquet::is_ours;

/// The files that may hold rows for which the predicate is true. `schema` is the table's.
pub fn prune(files: &[Arc<DataFile>], schema: &SchemaRef, predicate: &Arc<dyn PhysicalExpr>) -> Vec<Arc<DataFile>> {
    let statistics = Statistics { files, schema };
    let kept = PruningPredicateBuilder::new()
        .with_file_schema(schema.clone())
        .try_build(predicate.clone())
        .and_then(|pruning| pruning.prune(&statistics));
    match kept {
        Ok(kept) => files.iter().zip(kept).filter(|(_, keep)| *keep).map(|(file, _)| file.clone()).collect(),
        // A predicate that cannot be turned into bounds prunes nothing.
        Err(_) => files.to_vec(),
    }
}

struct Statistics<'a> {
    files: &'a [Arc<DataFile>],
    schema: &'a SchemaRef,
}

impl Statistics<'_> {
    fn bounds(
        &self,
        column: &Column,
        bound: fn(&FileStats, &str, &DataType) -> Option<ScalarValue>,
    ) -> Option<ArrayRef> {
        let kind = self.schema.field_with_name(column.name()).ok()?.data_type();
        let none = ScalarValue::try_from(kind).ok()?;
        // Other writers leave NaN out of the bounds of a column that has one; SQL orders it above all numbers.
        let is_told = |file: &DataFile| !kind.is_floating() || is_ours(file);
        let values = self.files.iter().map(|file| {
            let stats = file.stats().filter(|_| is_told(file));
            stats.and_then(|stats| bound(stats, column.name(), kind)).unwrap_or_else(|| none.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, FileStats::min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, FileStats::max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.files.iter().map(|file| file.stats().and_then(|stats| stats.null_count(column.name())));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.rows).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
