//! Where the rows to group come from: the plan's input, or the files under it with the key texts as dictionaries.
//!
//! Invariant: the rows are those of the plan's input; a column that is not a key alone has the type that was planned.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::{CooperativeExec, make_cooperative};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::StreamExt as _;
use vitalake_lake::encoded::EncodedFiles;

/// Some partitions of the input.
#[derive(Debug)]
struct Part {
    plan: Arc<dyn ExecutionPlan>,
    files: Option<Arc<EncodedFiles>>,
}

/// The input, part after part.
#[derive(Debug)]
pub(super) struct Source(Vec<Part>);

impl Source {
    pub(super) fn of(aggregate: &AggregateExec) -> Self {
        let input = aggregate.input();
        let texts = key_texts(aggregate);
        let schema = input.schema();
        let names: Vec<&str> =
            texts.iter().filter_map(|index| schema.fields().get(*index)).map(|f| f.name().as_str()).collect();
        let parts = parts(input).into_iter().map(|plan| {
            let scan = plan.downcast_ref::<DataSourceExec>().filter(|_| !names.is_empty());
            let files = scan.filter(|scan| scan.schema() == schema).and_then(|scan| EncodedFiles::of(scan, &names));
            Part { plan: Arc::clone(plan), files: files.map(Arc::new) }
        });
        Self(parts.collect())
    }

    /// A partition's rows; of files, those that no other partition takes.
    pub(super) fn execute(&self, partition: usize, context: &Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut partition = partition;
        for Part { plan, files } in &self.0 {
            let count = plan.output_partitioning().partition_count();
            if partition < count {
                return match files {
                    Some(files) => {
                        let rows = files.read(context)?;
                        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(plan.schema(), rows))))
                    }
                    None => plan.execute(partition, Arc::clone(context)),
                };
            }
            partition -= count;
        }
        datafusion::common::internal_err!("the input has no such partition")
    }
}

/// The plans whose partitions follow one another in the input's.
fn parts(input: &Arc<dyn ExecutionPlan>) -> Vec<&Arc<dyn ExecutionPlan>> {
    let union = match input.downcast_ref::<CooperativeExec>() {
        Some(paused) => paused.children().first().copied().unwrap_or(input),
        None => input,
    };
    match union.downcast_ref::<UnionExec>() {
        Some(union) => union.children(),
        None => vec![input],
    }
}

/// Columns of text that are keys and nothing else.
fn key_texts(aggregate: &AggregateExec) -> BTreeSet<usize> {
    let schema = aggregate.input().schema();
    let keys: Vec<&Arc<dyn PhysicalExpr>> = aggregate.group_expr().expr().iter().map(|(expr, _)| expr).collect();
    let is_text = |column: &&Column| {
        schema.fields().get(column.index()).is_some_and(|field| *field.data_type() == DataType::Utf8View)
    };
    let texts = keys.iter().filter_map(|key| key.downcast_ref::<Column>()).filter(is_text).map(Column::index);
    let computed = keys.iter().filter(|key| !key.is::<Column>()).map(|key| Arc::clone(key));
    let arguments = aggregate.aggr_expr().iter().flat_map(|aggregate| aggregate.expressions());
    let filters = aggregate.filter_expr().iter().flatten().map(Arc::clone);
    let read: BTreeSet<usize> = (computed.chain(arguments).chain(filters))
        .flat_map(|expr| collect_columns(&expr).into_iter().map(|column| column.index()).collect::<Vec<_>>())
        .collect();
    texts.filter(|index| !read.contains(index)).collect()
}

/// The same rows with the types that were planned.
pub(super) fn as_planned(rows: SendableRecordBatchStream, schema: SchemaRef) -> SendableRecordBatchStream {
    let planned = Arc::clone(&schema);
    let rows = rows.map(move |batch| {
        let batch = batch?;
        if batch.schema().fields() == planned.fields() {
            return Ok(batch);
        }
        let columns = batch.columns().iter().zip(planned.fields());
        let columns: Vec<ArrayRef> =
            columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&planned), columns, &options)?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
