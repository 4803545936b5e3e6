//! The barrier of a policy in the plan: rows that may not be seen go first, then values that may not are replaced, and
//! only then does anything of the query see them.
//!
//! Below it passes only what can neither fail nor tell: comparisons of columns shown in the clear with constants, which
//! spare files. Nothing that the engine derives (statistics, bounds of a TopN, a join's keys) passes it, because a
//! [`GuardedExec`] supports no such thing. Invariant: an expression of a query is never computed on a row that its
//! client does not see, nor on the value behind a mask.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use futures::StreamExt as _;
use vitalake_contract::access::Mask;

use super::consent::{Agreed, Binding, of_agreed};
use super::mask::{MaskKey, masked};
use super::rows::condition;
use super::rules::{Shown, Sight};

/// A stored table as a client sees it.
#[derive(Debug)]
pub(super) struct GuardedTable {
    stored: Arc<dyn TableProvider>,
    schema: SchemaRef,
    /// For each column that is shown, where it is stored and what masks it.
    columns: Vec<(usize, Option<Mask>)>,
    rows: Option<Expr>,
    binding: Option<Binding>,
    key: Option<MaskKey>,
}

impl GuardedTable {
    /// The table as it is seen; the stored one itself where that is all of it.
    ///
    /// # Errors
    /// When its rules cannot be kept.
    pub(super) fn of(
        stored: Arc<dyn TableProvider>,
        sight: &Sight,
        (binding, key): (Option<Binding>, Option<MaskKey>),
    ) -> Result<Arc<dyn TableProvider>> {
        let all = stored.schema();
        let shown = all.fields().iter().enumerate().filter_map(|(index, field)| match sight.of(field.name()) {
            Shown::Clear => Some((index, None)),
            Shown::Masked(mask) => Some((index, Some(mask))),
            Shown::Not(_) => None,
        });
        let columns: Vec<(usize, Option<Mask>)> = shown.collect();
        let rows = sight.rows.as_ref().map(|rows| condition(rows, &sight.columns, &all)).transpose()?;
        let is_open = rows.is_none() && binding.is_none();
        if is_open && columns.len() == all.fields().len() && columns.iter().all(|(_, mask)| mask.is_none()) {
            return Ok(stored);
        }
        let fields = columns.iter().filter_map(|(index, mask)| {
            let field = all.fields().get(*index)?;
            // A mask may give null where the table says that there is none.
            Some(if mask.is_some() { Arc::new(field.as_ref().clone().with_nullable(true)) } else { Arc::clone(field) })
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Arc::new(Self { stored, schema, columns, rows, binding, key }))
    }

    /// Whether it shows every row.
    fn shows_all_rows(&self) -> bool {
        self.rows.is_none() && self.binding.is_none()
    }

    fn is_clear(&self, name: &str) -> bool {
        let index = self.schema.index_of(name).ok();
        index.and_then(|index| self.columns.get(index)).is_some_and(|(_, mask)| mask.is_none())
    }

    /// Whether a condition of the query may be tried below the barrier.
    fn passes(&self, filter: &Expr) -> bool {
        filter.column_refs().iter().all(|column| self.is_clear(column.name()))
            && (self.shows_all_rows() || tells_nothing(filter))
    }
}

/// Whether a condition compares columns with constants alone, which fails on no row.
fn tells_nothing(filter: &Expr) -> bool {
    let plain = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_logic_operator() => {
            tells_nothing(left) && tells_nothing(right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compares(*op) && plain(left) && plain(right),
        Expr::Not(inner) => tells_nothing(inner),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => plain(inner),
        Expr::Between(between) => plain(&between.expr) && plain(&between.low) && plain(&between.high),
        Expr::InList(list) => plain(&list.expr) && list.list.iter().all(plain),
        _ => false,
    }
}

fn compares(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

#[async_trait]
impl TableProvider for GuardedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |passes: bool| {
            if passes { TableProviderFilterPushDown::Inexact } else { TableProviderFilterPushDown::Unsupported }
        };
        Ok(filters.iter().map(|filter| answer(self.passes(filter))).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asked: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.columns.len()).collect());
        let shown: Vec<(usize, Option<Mask>)> =
            asked.iter().filter_map(|index| self.columns.get(*index).copied()).collect();
        if shown.len() != asked.len() {
            return internal_err!("a column was asked for that is not shown");
        }
        let mut below: Vec<Expr> = filters.iter().filter(|filter| self.passes(filter)).cloned().collect();
        below.extend(self.rows.clone());
        let mut stored: Vec<usize> = shown.iter().map(|(index, _)| *index).collect();
        let all = self.stored.schema();
        let asked_by_rows = self.rows.iter().flat_map(Expr::column_refs).map(|column| column.name().to_owned());
        let own = self.binding.as_ref().map(|binding| binding.own.to_string());
        for name in asked_by_rows.chain(own) {
            let index = all.index_of(&name)?;
            if !stored.contains(&index) {
                stored.push(index);
            }
        }
        let limit = limit.filter(|_| self.shows_all_rows());
        let input = self.stored.scan(state, Some(&stored), &below, limit).await?;
        let masks: Vec<Option<Mask>> = shown.iter().map(|(_, mask)| *mask).collect();
        if self.shows_all_rows() && masks.iter().all(Option::is_none) {
            return Ok(input);
        }
        let agreed = match &self.binding {
            None => None,
            Some(binding) => {
                let own = input.schema().index_of(&binding.own)?;
                Some((own, binding.agreed(state).await?))
            }
        };
        let columns = DFSchema::try_from(input.schema())?;
        let rows = self.rows.clone().map(|rows| state.create_physical_expr(rows, &columns)).transpose()?;
        let schema = Arc::new(self.schema.project(&asked)?);
        Ok(Arc::new(GuardedExec::new(input, Guard { schema, rows, agreed, masks, key: self.key.clone() })))
    }
}

/// What a barrier does with a batch.
#[derive(Debug, Clone)]
struct Guard {
    /// The columns that leave it.
    schema: SchemaRef,
    rows: Option<Arc<dyn PhysicalExpr>>,
    /// The column that says whose row it is, and who has agreed.
    agreed: Option<(usize, Agreed)>,
    /// What masks each of the first columns that come in; the others were asked for by `rows` alone.
    masks: Vec<Option<Mask>>,
    key: Option<MaskKey>,
}

impl Guard {
    async fn let_through(&self, batch: RecordBatch, context: &Arc<TaskContext>) -> Result<RecordBatch> {
        let batch = match &self.agreed {
            None => batch,
            Some((own, agreed)) => {
                let subjects = agreed.subjects(context).await?;
                filter_record_batch(&batch, &of_agreed(batch.column(*own), &subjects)?)?
            }
        };
        self.shown(batch)
    }

    /// What is shown of rows whose subjects have agreed.
    fn shown(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let batch = match &self.rows {
            None => batch,
            Some(rows) => {
                let seen = rows.evaluate(&batch)?.into_array(batch.num_rows())?;
                match seen.as_boolean_opt() {
                    Some(seen) => filter_record_batch(&batch, seen)?,
                    None => return internal_err!("a row filter gave no truth"),
                }
            }
        };
        let shown = batch.columns().iter().zip(&self.masks).map(|(values, mask)| match mask {
            None => Arc::clone(values),
            Some(mask) => masked(values, *mask, self.key.as_ref()),
        });
        let shown: Vec<ArrayRef> = shown.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), shown, &options)?)
    }
}

/// The barrier itself. Of what the engine asks a plan it answers nothing but its columns and partitions.
#[derive(Debug)]
struct GuardedExec {
    input: Arc<dyn ExecutionPlan>,
    guard: Guard,
    properties: Arc<PlanProperties>,
}

impl GuardedExec {
    fn new(input: Arc<dyn ExecutionPlan>, guard: Guard) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&guard.schema)),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, guard, properties: Arc::new(properties) }
    }
}

impl DisplayAs for GuardedExec {
    fn fmt_as(&self, _: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guarded")
    }
}

impl ExecutionPlan for GuardedExec {
    fn name(&self) -> &str {
        "GuardedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// The row filter is nobody's to rewrite.
    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop().filter(|_| children.is_empty()) {
            Some(input) if input.schema() == self.input.schema() => Ok(Arc::new(Self::new(input, self.guard.clone()))),
            _ => internal_err!("a barrier has one input of one form"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let guard = self.guard.clone();
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let rows = input.then(move |batch| {
            let (guard, context) = (guard.clone(), Arc::clone(&context));
            async move { guard.let_through(batch?, &context).await }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.guard.schema), rows)))
    }
}
