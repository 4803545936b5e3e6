//! Functions that can make much of little are asked how much before they run: a text that is padded to a length from a
//! column can be gigabytes, and an allocation that fails ends the process.
//!
//! Put into a plan before it is optimised, since constants are computed then. Invariant: no call of such a function
//! makes more than `RESULT_BYTES_MAX` bytes; where a batch would, it fails, and its rows are run apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Bytes that one call may make for one batch.
const RESULT_BYTES_MAX: u64 = 64 << 20;

/// How much a function makes of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// A number of characters, the second argument.
    Padded,
    /// The first argument as often as the second says.
    Repeated,
    /// As many characters as the argument says.
    Spaces,
    /// As many values as lie between the first argument and the second.
    Range,
    /// The first argument with another in the place of each of its bytes.
    Product,
    /// As many characters as the numbers in the first argument say, and the others.
    Formatted,
}

const GROWING: [(&str, Growth); 16] = [
    ("lpad", Growth::Padded),
    ("rpad", Growth::Padded),
    ("repeat", Growth::Repeated),
    ("array_repeat", Growth::Repeated),
    ("array_resize", Growth::Padded),
    ("space", Growth::Spaces),
    ("sequence", Growth::Range),
    ("generate_series", Growth::Range),
    ("range", Growth::Range),
    ("replace", Growth::Product),
    ("regexp_replace", Growth::Product),
    ("translate", Growth::Product),
    ("array_to_string", Growth::Product),
    ("array_join", Growth::Product),
    ("format_string", Growth::Formatted),
    ("printf", Growth::Formatted),
];

/// A result that was not made.
#[derive(Debug)]
pub(crate) struct TooLarge {
    function: String,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} would make more than {RESULT_BYTES_MAX} bytes of one batch", self.function)
    }
}

impl std::error::Error for TooLarge {}

/// The same plan with its growing functions bounded.
///
/// # Errors
/// When the plan cannot be put together again.
pub(crate) fn bounded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let bound = |part: Expr| {
        let Expr::ScalarFunction(call) = &part else { return Ok(Transformed::no(part)) };
        let Some((_, growth)) = GROWING.iter().find(|(name, _)| *name == call.func.name()) else {
            return Ok(Transformed::no(part));
        };
        let function = Bounded { inner: Arc::clone(&call.func), growth: *growth };
        let call = ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), call.args.clone());
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    };
    plan.transform_up(|node| node.map_expressions(|expr| expr.transform_up(bound))).data()
}

/// A function that is asked first.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let by_row = self.growth.bytes_by_row(&args.args, args.number_rows)?;
        if total(&by_row) <= RESULT_BYTES_MAX {
            return self.inner.invoke_with_args(args);
        }
        if by_row.iter().any(|bytes| *bytes > RESULT_BYTES_MAX) {
            return Err(self.too_large());
        }
        self.in_pieces(args, &by_row)
    }
}

impl Bounded {
    fn too_large(&self) -> DataFusionError {
        DataFusionError::External(Box::new(TooLarge { function: self.inner.name().to_owned() }))
    }

    /// What could be too much and seldom is: some rows at a time, for as long as it is not.
    fn in_pieces(&self, args: ScalarFunctionArgs, by_row: &[u64]) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let (mut made, mut bytes, mut from): (Vec<ArrayRef>, u64, usize) = (Vec::new(), 0, 0);
        while from < by_row.len() {
            let rest = by_row.get(from..).unwrap_or_default();
            let mut sum = 0_u64;
            let rows = rest.iter().take_while(|row| {
                sum = sum.saturating_add(**row);
                sum <= RESULT_BYTES_MAX
            });
            let rows = rows.count().max(1);
            let piece = ScalarFunctionArgs {
                args: columns.iter().map(|column| ColumnarValue::Array(column.slice(from, rows))).collect(),
                arg_fields: args.arg_fields.clone(),
                number_rows: rows,
                return_field: Arc::clone(&args.return_field),
                config_options: Arc::clone(&args.config_options),
            };
            let result = self.inner.invoke_with_args(piece)?.into_array(rows)?;
            bytes = bytes.saturating_add(u64::try_from(result.get_array_memory_size()).unwrap_or(u64::MAX));
            if bytes > RESULT_BYTES_MAX {
                return Err(self.too_large());
            }
            made.push(result);
            from += rows;
        }
        let parts: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

fn total(by_row: &[u64]) -> u64 {
    by_row.iter().copied().fold(0, u64::saturating_add)
}

impl Growth {
    /// At most so many bytes come of each row of these arguments.
    fn bytes_by_row(self, arguments: &[ColumnarValue], rows: usize) -> Result<Vec<u64>> {
        let constant = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { rows };
        let columns = arguments.iter().map(|value| value.clone().into_array(rows)).collect::<Result<Vec<_>>>()?;
        let numbers = columns.iter().take(2).map(numbers).collect::<Result<Vec<_>>>()?;
        let bytes = |row: usize| {
            let row = Row { row, columns: &columns, numbers: &numbers };
            match self {
                // A character is four bytes at most.
                Self::Padded => row.width(0).max(row.number(1).saturating_mul(4)),
                Self::Repeated => row.width(0).saturating_mul(row.number(1)),
                Self::Spaces => row.number(0),
                Self::Range => row.distance().saturating_mul(8),
                Self::Product => {
                    let widest = (1..columns.len()).map(|index| row.width(index)).max().unwrap_or(0);
                    (row.width(0) + 1).saturating_mul(widest + 1)
                }
                Self::Formatted => {
                    let format = columns.first().and_then(|format| text(format, row.row)).map_or(0, numbers_in);
                    (0..columns.len()).map(|index| row.width(index)).fold(format, u64::saturating_add)
                }
            }
        };
        Ok((0..rows).map(bytes).collect())
    }
}

/// A row of the arguments, the first two also as numbers where they are some.
struct Row<'a> {
    row: usize,
    columns: &'a [ArrayRef],
    numbers: &'a [Option<Int64Array>],
}

impl Row<'_> {
    fn value(&self, index: usize) -> Option<i64> {
        let numbers = self.numbers.get(index)?.as_ref()?;
        numbers.is_valid(self.row).then(|| numbers.value(self.row))
    }

    /// The number; nought where there is none or it is below.
    fn number(&self, index: usize) -> u64 {
        self.value(index).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
    }

    fn distance(&self) -> u64 {
        match (self.value(0), self.value(1)) {
            (Some(from), Some(to)) => from.abs_diff(to),
            // One argument is the end of a range from nought.
            (from, to) => from.or(to).map_or(0, i64::unsigned_abs),
        }
    }

    /// The bytes of a value.
    fn width(&self, index: usize) -> u64 {
        let Some(column) = self.columns.get(index) else { return 0 };
        let bytes = match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text(column, self.row).map_or(0, str::len),
            _ => column.slice(self.row, 1).to_data().get_slice_memory_size().unwrap_or(0),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

fn numbers(column: &ArrayRef) -> Result<Option<Int64Array>> {
    if !column.data_type().is_numeric() {
        return Ok(None);
    }
    Ok(cast(column, &DataType::Int64)?.as_primitive_opt::<Int64Type>().cloned())
}

fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row),
        DataType::Utf8View => column.as_string_view().value(row),
        _ => return None,
    })
}

/// The numbers that stand behind signs of per cent in a text, added.
fn numbers_in(text: &str) -> u64 {
    let asked = text.split('%').skip(1).flat_map(|behind| {
        let said = |c: char| c.is_ascii_digit() || "-#+ ,(<$.".contains(c);
        let end = behind.find(|c| !said(c)).unwrap_or(behind.len());
        behind.get(..end).unwrap_or_default().split(|c: char| !c.is_ascii_digit())
    });
    let numbers = asked.filter(|digits| !digits.is_empty());
    numbers.map(|digits| digits.parse().unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
}
