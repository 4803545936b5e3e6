//! The first half of a GROUP BY whose keys repeat much, as devices and hours do: planned in place of the engine's own.
//!
//! Rows are numbered by [`keys`], which is several times cheaper than the engine's hashing of texts, and go into the
//! engine's own accumulators. What comes out is what its first half gives: keys and states, which its second half
//! merges. Where the rows are files' alone, [`source`] has texts come as the files' dictionaries. Invariant: beyond
//! [`GROUPS_MAX`] groups the engine's own takes over with the rows that are left.

mod keys;
mod numbers;
mod source;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, PlanProperties};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use keys::Keys;
use source::{Source, as_planned};

/// So many groups are few; their numbers and states fit in the processor's caches.
const GROUPS_MAX: usize = 64 << 10;

/// Puts this first half in where it can do what the engine's own would.
///
/// # Errors
/// When the plan cannot be put together again.
pub fn with_few_groups(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let changed = plan.transform_up(|plan| {
        Ok(match plan.downcast_ref::<AggregateExec>().filter(|aggregate| fits(aggregate)) {
            Some(aggregate) => Transformed::yes(Arc::new(FewGroupsExec::new(Arc::new(aggregate.clone()))) as _),
            None => Transformed::no(plan),
        })
    })?;
    Ok(changed.data)
}

fn fits(aggregate: &AggregateExec) -> bool {
    *aggregate.mode() == AggregateMode::Partial
        && *aggregate.input_order_mode() == InputOrderMode::Linear
        && aggregate.group_expr().is_single()
        && aggregate.limit_options().is_none()
        && keys_of(aggregate).is_some()
        && aggregate.aggr_expr().iter().all(|expr| expr.groups_accumulator_supported() && expr.order_bys().is_empty())
}

fn keys_of(aggregate: &AggregateExec) -> Option<Keys> {
    let schema = aggregate.schema();
    let fields = schema.fields().iter().take(aggregate.group_expr().expr().len());
    Keys::try_new(fields.map(|field| field.data_type()))
}

/// The engine's first half, done by numbers.
#[derive(Debug)]
struct FewGroupsExec {
    own: Arc<AggregateExec>,
    source: Source,
}

impl FewGroupsExec {
    fn new(own: Arc<AggregateExec>) -> Self {
        Self { source: Source::of(&own), own }
    }
}

impl DisplayAs for FewGroupsExec {
    fn fmt_as(&self, kind: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FewGroups: ")?;
        self.own.fmt_as(kind, formatter)
    }
}

impl ExecutionPlan for FewGroupsExec {
    fn name(&self) -> &str {
        "FewGroupsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.own.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.own.input()]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.own.apply_expressions(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let own: Arc<dyn ExecutionPlan> = Arc::clone(&self.own) as _;
        match own.replace_children(children, options)?.downcast_ref::<AggregateExec>() {
            Some(own) => Ok(Arc::new(Self::new(Arc::new(own.clone())))),
            None => internal_err!("an aggregation became another plan"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.source.execute(partition, &context)?;
        let reservation = MemoryConsumer::new("FewGroups").register(context.memory_pool());
        let groups = Groups::try_new(&self.own, reservation)?;
        let grouped = group(Arc::clone(&self.own), groups, input, context);
        let batches = stream::once(grouped).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// Groups all rows; with more than a few groups, those so far and the engine's stream of the rest.
async fn group(
    own: Arc<AggregateExec>,
    mut groups: Groups,
    mut input: SendableRecordBatchStream,
    context: Arc<TaskContext>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    while let Some(batch) = input.try_next().await? {
        groups.take_in(&batch)?;
        if groups.keys.largest() > GROUPS_MAX {
            let so_far = groups.give_out(&own.schema())?;
            let rest =
                Rest { schema: own.input().schema(), rows: Mutex::new(Some(as_planned(input, own.input().schema()))) };
            let schema = Arc::clone(&rest.schema);
            let rest = StreamingTableExec::try_new(schema, vec![Arc::new(rest)], None, [], false, None)?;
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            let rest = own.replace_children(vec![Arc::new(rest)], recompute)?.execute(0, context)?;
            return Ok(stream::iter(so_far.map(Ok)).chain(rest).boxed());
        }
    }
    Ok(stream::iter(groups.give_out(&own.schema())?.map(Ok)).boxed())
}

/// The rows that are left, as a plan's input, to be read once.
struct Rest {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the rows that are left")
    }
}

impl PartitionStream for Rest {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = self.rows.lock().take();
        rows.unwrap_or_else(|| Box::pin(RecordBatchStreamAdapter::new(schema, stream::empty())))
    }
}

/// One aggregate of the query.
struct Aggregate {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn GroupsAccumulator>,
}

impl Aggregate {
    fn take_in(&mut self, batch: &RecordBatch, groups: &[usize], count: usize) -> Result<()> {
        let rows = batch.num_rows();
        let array = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch).and_then(|value| value.into_array(rows));
        let arguments: Vec<ArrayRef> = self.arguments.iter().map(array).collect::<Result<_>>()?;
        let filter = self.filter.as_ref().map(array).transpose()?;
        let filter = filter.as_ref().and_then(|filter| filter.as_boolean_opt());
        self.accumulator.update_batch(&arguments, groups, filter, count)
    }
}

/// Groups and their states.
struct Groups {
    key_exprs: Vec<Arc<dyn PhysicalExpr>>,
    keys: Keys,
    aggregates: Vec<Aggregate>,
    of_rows: Vec<usize>,
    reservation: MemoryReservation,
}

impl Groups {
    fn try_new(own: &AggregateExec, reservation: MemoryReservation) -> Result<Self> {
        let Some(keys) = keys_of(own) else { return internal_err!("keys of other types than were planned") };
        let aggregates = own.aggr_expr().iter().zip(own.filter_expr()).map(|(expr, filter)| {
            let (arguments, filter) = (expr.expressions(), filter.clone());
            Ok(Aggregate { arguments, filter, accumulator: expr.create_groups_accumulator()? })
        });
        let key_exprs = own.group_expr().expr().iter().map(|(expr, _)| Arc::clone(expr)).collect();
        Ok(Self { key_exprs, keys, aggregates: aggregates.collect::<Result<_>>()?, of_rows: Vec::new(), reservation })
    }

    fn take_in(&mut self, batch: &RecordBatch) -> Result<()> {
        let array =
            |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        let keys: Vec<ArrayRef> = self.key_exprs.iter().map(array).collect::<Result<_>>()?;
        let before = self.keys.len();
        self.keys.number(&keys, &mut self.of_rows)?;
        let count = self.keys.len();
        for aggregate in &mut self.aggregates {
            aggregate.take_in(batch, &self.of_rows, count)?;
        }
        if count > before {
            let states: usize = self.aggregates.iter().map(|aggregate| aggregate.accumulator.size()).sum();
            self.reservation.try_resize(self.keys.bytes() + states)?;
        }
        Ok(())
    }

    /// Keys and states of all groups; `None` when there are none.
    fn give_out(&mut self, schema: &SchemaRef) -> Result<std::option::IntoIter<RecordBatch>> {
        if self.keys.len() == 0 {
            return Ok(None.into_iter());
        }
        let mut columns = self.keys.take()?;
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator.state(EmitTo::All)?);
        }
        let batch = RecordBatch::try_new(Arc::clone(schema), columns)?;
        self.reservation.free();
        Ok(Some(batch).into_iter())
    }
}

#[cfg(test)]
mod tests;
