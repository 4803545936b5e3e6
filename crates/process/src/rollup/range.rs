//! Which files of the input may hold rows of some groups: by the bounds of the column that the time bucket is made of.
//!
//! Invariant: a file is left out only where its bounds prove that no row of it belongs to a group.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use vitalake_lake::DataFile;

use crate::rollup::again::Groups;
use crate::rollup::layout::times;
use crate::rollup::shape::RollupShape;

/// Functions of one column that never go back while it goes forward; their other arguments are constants.
const FORWARD: [&str; 3] = ["date_trunc", "trunc", "to_date"];

/// The time bucket as a function of one column of the input.
#[derive(Debug)]
pub(crate) struct TimeOfInput {
    column: Field,
    schema: SchemaRef,
    bucket: Arc<dyn PhysicalExpr>,
}

impl TimeOfInput {
    /// `None` where the bucket is no such function.
    pub(crate) fn of(state: &SessionState, shape: &RollupShape) -> Option<Self> {
        let aggregate = &shape.aggregate;
        reads_its_table(&aggregate.input).then_some(())?;
        let bucket = aggregate.group_expr.get(shape.time)?;
        let column = forward(bucket)?;
        let schema: &DFSchema = aggregate.input.schema();
        let column = schema.field_from_column(column).ok()?.as_ref().clone();
        matches!(column.data_type(), DataType::Timestamp(..) | DataType::Date32).then_some(())?;
        let bucket = state.create_physical_expr(bucket.clone(), schema).ok()?;
        Some(Self { column, schema: Arc::clone(schema.inner()), bucket })
    }

    /// Whether a file may hold rows of the groups.
    pub(crate) fn may_be_in(&self, file: &DataFile, groups: &Groups) -> bool {
        let Some(stats) = file.stats() else { return true };
        let (name, kind) = (self.column.name(), self.column.data_type());
        let without_time = stats.null_count(name) != Some(0);
        let bounds = stats.min(name, kind).zip(stats.max(name, kind));
        let Some((first, last)) = bounds.and_then(|(min, max)| Some((self.bucket(&min)?, self.bucket(&max)?))) else {
            return true;
        };
        groups.may_lie_in((first, last), without_time)
    }

    /// The bucket of one value, as leaves count time.
    fn bucket(&self, value: &ScalarValue) -> Option<i64> {
        let columns = self.schema.fields().iter().map(|field| -> Option<ArrayRef> {
            match field.name() == self.column.name() {
                true => value.cast_to(field.data_type()).ok()?.to_array().ok(),
                false => Some(new_null_array(field.data_type(), 1)),
            }
        });
        let fields = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let row = RecordBatch::try_new(schema, columns.collect::<Option<_>>()?).ok()?;
        let bucket = self.bucket.evaluate(&row).ok()?.into_array(1).ok()?;
        let bucket = RecordBatch::try_from_iter([("bucket", bucket)]).ok()?;
        times(&bucket, 0).ok()?.first().copied().flatten()
    }
}

/// Whether what is aggregated are the rows of the table, with their own columns.
fn reads_its_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Filter(filter) => reads_its_table(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => reads_its_table(&alias.input),
        _ => false,
    }
}

fn forward(expr: &Expr) -> Option<&datafusion::common::Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => forward(&alias.expr),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..) | DataType::Date32) => {
            forward(&cast.expr)
        }
        Expr::ScalarFunction(call) if FORWARD.contains(&call.func.name()) => {
            let mut others = call.args.iter().filter(|arg| !matches!(arg, Expr::Literal(..)));
            let argument = others.next()?;
            others.next().is_none().then(|| forward(argument)).flatten()
        }
        _ => None,
    }
}
