//! Every function with extreme values of every type, alone and among good rows: no panic, no failure, the same value.
//!
//! Only a division of whole numbers by zero and a result that is too large may end a call, as docs/sql.md says.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, ListArray, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use chrono_tz::Tz;
use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use vitalake_serve::error::QueryError;
use vitalake_serve::functions::all;

/// Columns of as many rows: extremes between values that are good for most functions.
fn columns() -> Vec<ArrayRef> {
    let texts = [
        Some("2024-03-10"),
        Some(""),
        None,
        Some("PT1H"),
        Some("("),
        Some("\\"),
        Some("$"),
        Some("$9"),
        Some("%"),
        Some("日本😀"),
        Some("-9223372036854775808"),
        Some("1e999"),
        Some("{\"a\":[1"),
        Some("$.a[99999999999999999999]"),
        Some("P9223372036854775807Y"),
        Some("yyyyyyyyyyyyyyyyyyyyyyyyy"),
        Some("'"),
        Some("999999999-12-31T23:59:59Z"),
        Some("America/New_York"),
        Some("%s %999999999999d"),
        Some("\u{0}"),
        Some("a.c"),
    ];
    let rows = texts.len();
    let longs = [Some(1), Some(i64::MIN), None, Some(i64::MAX), Some(0), Some(-1), Some(63), Some(1 << 40)];
    let doubles = [
        Some(1.5),
        Some(f64::NAN),
        None,
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
        Some(-0.0),
        Some(f64::MAX),
        Some(5e-324),
    ];
    let cycle = |index: usize, count: usize| index % count;
    let long = |row: usize| longs[cycle(row, longs.len())];
    let double = |row: usize| doubles[cycle(row, doubles.len())];
    let lists = (0..rows).map(|row| match row % 5 {
        0 => Some(vec![Some(1), Some(2)]),
        1 => None,
        2 => Some(vec![]),
        3 => Some(vec![None, Some(i64::MAX)]),
        _ => Some(vec![Some(i64::MIN); 50]),
    });
    vec![
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new((0..rows).map(long).collect::<Int64Array>()),
        Arc::new((0..rows).map(double).collect::<Float64Array>()),
        Arc::new((0..rows).map(|row| double(row).map(|value| value as f32)).collect::<Float32Array>()),
        Arc::new((0..rows).map(|row| [Some(true), None, Some(false)][row % 3]).collect::<BooleanArray>()),
        Arc::new((0..rows).map(long).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new((0..rows).map(|row| long(row).map(|value| value as i32)).collect::<Date32Array>()),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
    ]
}

fn call(function: &ScalarUDF, arguments: &[ArrayRef]) -> Option<Result<ArrayRef, DataFusionError>> {
    let types: Vec<DataType> = arguments.iter().map(|array| array.data_type().clone()).collect();
    function.inner().coerce_types(&types).ok()?;
    let fields: Vec<_> = types.iter().map(|kind| Arc::new(Field::new("x", kind.clone(), true))).collect();
    let none = vec![None; fields.len()];
    let return_field = function
        .inner()
        .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &none })
        .ok()?;
    let rows = arguments.first().map_or(1, |array| array.len());
    let result = function.inner().invoke_with_args(ScalarFunctionArgs {
        args: arguments.iter().map(|array| ColumnarValue::Array(Arc::clone(array))).collect(),
        arg_fields: fields,
        number_rows: rows,
        return_field,
        config_options: Arc::new(ConfigOptions::new()),
    });
    Some(result.and_then(|value| value.into_array(rows)))
}

/// What may end a call: a limit, a division by zero, and types that do not go together.
fn is_allowed(error: &DataFusionError) -> bool {
    let DataFusionError::External(error) = error else { return false };
    match error.downcast_ref::<QueryError>() {
        Some(QueryError::ResourceLimit(_)) => true,
        Some(QueryError::Runtime(text)) => text == "/ by zero",
        Some(QueryError::Invalid { message, .. }) => {
            ["types", "cannot convert", "JSON", "one value", "unit of time", "STRUCT", "literal"]
                .iter()
                .any(|part| message.contains(part))
        }
        _ => false,
    }
}

fn check(function: &ScalarUDF, arguments: &[ArrayRef]) {
    let kinds: Vec<String> = arguments.iter().map(|array| array.data_type().to_string()).collect();
    let shown = format!("{}({})", function.name(), kinds.join(", "));
    let Some(together) = call(function, arguments) else { return };
    let together = match together {
        Ok(together) => Some(together),
        Err(error) => {
            assert!(is_allowed(&error), "{shown}: {error}");
            None
        }
    };
    if arguments.len() > 2 {
        return;
    }
    for row in 0..arguments.first().map_or(0, |array| array.len()) {
        let alone: Vec<ArrayRef> = arguments.iter().map(|array| array.slice(row, 1)).collect();
        match (call(function, &alone), &together) {
            (Some(Ok(alone)), Some(together)) => {
                assert_eq!(
                    format!("{:?}", alone.slice(0, 1)),
                    format!("{:?}", together.slice(row, 1)),
                    "{shown} in row {row}"
                );
            }
            (Some(Err(error)), together) => {
                assert!(is_allowed(&error) && together.is_none(), "{shown} alone in row {row}: {error}");
            }
            _ => {}
        }
    }
}

#[test]
fn no_value_ends_a_call_or_changes_another_row() {
    let memory: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let columns = columns();
    let mut random = 11_u64;
    let mut pick = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Arc::clone(&columns[usize::try_from(random >> 33).unwrap() % columns.len()])
    };
    for function in all(Tz::America__New_York.into(), &memory) {
        for first in &columns {
            check(&function, std::slice::from_ref(first));
            for second in &columns {
                check(&function, &[Arc::clone(first), Arc::clone(second)]);
                check(&function, &[Arc::clone(first), Arc::clone(second), pick()]);
                check(&function, &[Arc::clone(first), Arc::clone(second), pick(), pick()]);
            }
        }
    }
}
