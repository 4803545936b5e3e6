//! An engine that breaks down on some rows, from the inside: a function that panics is put into a model's plan.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col, lit,
};
use vitalake_contract::{DatasetName, Layer};

use super::Engine;
use crate::check::broken_rows;
use crate::model::Model;
use crate::plan::{Planned, plan};

/// Gives its argument back, and panics where that is a number which can be divided by seven.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Panics(Signature);

impl ScalarUDFImpl for Panics {
    fn name(&self) -> &str {
        "abs"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let column = args.args[0].clone().into_array(args.number_rows)?;
        assert!(column.as_primitive::<Int64Type>().iter().flatten().all(|n| n % 7 != 0), "seven");
        Ok(ColumnarValue::Array(column))
    }
}

async fn engine() -> Engine {
    let text = "-- kind: append\nSELECT abs(n) AS v FROM raw.r";
    let model = Model::parse(DatasetName::new("c").unwrap(), Layer::Curated, text).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let Planned { state, plan, slots } = plan(&model, model.query.as_ref().clone(), &[schema]).unwrap();
    let function = Arc::new(ScalarUDF::from(Panics(Signature::any(1, Volatility::Volatile))));
    let panicking = |part: Expr| match part {
        Expr::ScalarFunction(call) => {
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&function), call.args))))
        }
        other => Ok(Transformed::no(other)),
    };
    let plan = plan.transform_up(|node| node.map_expressions(|expr| expr.transform_up(panicking))).data().unwrap();
    Engine::compile(&model, Planned { state, plan, slots }, "a test").await.unwrap()
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(numbers)) as _)]).unwrap()
}

fn values(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn a_function_that_panics_fails_its_row_alone() {
    let engine = engine().await;
    assert!(engine.run(&[rows(1..20)]).await.is_err());
    let ran = engine.run_each(&[rows(1..20), rows(20..40)]).await.unwrap();
    assert_eq!(values(&ran.made), (1..40).filter(|n| n % 7 != 0).collect::<Vec<_>>());
    let failed: Vec<RecordBatch> = ran.failed.into_iter().map(|failed| failed.row).collect();
    assert_eq!(values(&failed), [7, 14, 21, 28, 35]);
    assert!(ran.unrunnable.is_none());
    // And the engine goes on.
    assert_eq!(values(&engine.run(&[rows(1..4)]).await.unwrap()), [1, 2, 3]);
}

#[test]
fn a_rule_that_panics_is_broken_by_its_row_alone() {
    let function = ScalarUDF::from(Panics(Signature::any(1, Volatility::Volatile)));
    let rows = rows(1..20);
    let schema = DFSchema::try_from(rows.schema()).unwrap();
    let rule = function.call(vec![col("n")]).gt(lit(15_i64));
    let rule = crate::session::state().create_physical_expr(rule, &schema).unwrap();
    assert_eq!(broken_rows(&rule, &rows), [6, 13, 15, 16, 17, 18]);
}

#[tokio::test]
async fn what_can_be_too_much_is_made_in_pieces_where_it_is_not() {
    let text = "-- kind: append\nSELECT replace(s, 'a', t) AS v FROM raw.r";
    let model = Model::parse(DatasetName::new("c").unwrap(), Layer::Curated, text).unwrap();
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let schema = Arc::new(Schema::new(vec![text("s"), text("t")]));
    let planned = plan(&model, model.query.as_ref().clone(), &[schema]).unwrap();
    let engine = Engine::compile(&model, planned, "a test").await.unwrap();
    let column = |value: &str| Arc::new(arrow::array::StringViewArray::from(vec![value; 20_000])) as _;
    // Twenty thousand times a hundred bytes, of which each could become a hundred.
    let batch = RecordBatch::try_from_iter([("s", column(&"x".repeat(100))), ("t", column(&"y".repeat(100)))]).unwrap();
    let made = engine.run(std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(made.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    assert_eq!(made[0].column(0).len(), made[0].num_rows());
    let all = RecordBatch::try_from_iter([("s", column(&"a".repeat(100))), ("t", column(&"y".repeat(100)))]).unwrap();
    assert!(engine.run(std::slice::from_ref(&all)).await.is_err());
    let ran = engine.run_each(&[all]).await.unwrap();
    assert_eq!((ran.made.iter().map(RecordBatch::num_rows).sum::<usize>(), ran.failed.len()), (20_000, 0));
}
