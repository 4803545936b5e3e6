//! One bound call of a function: its name, the type of its result, and the code that makes a column of it.
//!
//! Between the binder, which has made every argument the type that the code wants, and the engine, which runs it over
//! batches. Invariant: a call gives one value for each row from that row alone, and fails on none.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewBuilder, BooleanArray, PrimitiveArray, StringViewBuilder,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The longest text or binary that one call may make; a longer one fails, and its row goes to quarantine.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 26;
/// What one call may make for a batch. Beyond it the batch fails, and its rows are computed in smaller batches.
const BATCH_BYTES_MAX: usize = 1 << 28;

/// The code of a call.
pub(crate) type Kernel = Arc<dyn Fn(&Args<'_>) -> Result<ArrayRef, DataFusionError> + Send + Sync>;

/// An argument: a column, or one value for all rows.
pub(crate) struct Arg {
    pub(crate) array: ArrayRef,
    one: bool,
}

/// The arguments of a call for a batch.
pub(crate) struct Args<'a> {
    pub(crate) args: &'a [Arg],
    pub(crate) rows: usize,
    pub(crate) kind: &'a DataType,
}

impl Args<'_> {
    /// The row of an argument that stands for a row of the batch.
    fn row(arg: &Arg, row: usize) -> usize {
        if arg.one { 0 } else { row }
    }

    fn number<T: ArrowPrimitiveType>(&self, index: usize, row: usize) -> Option<T::Native> {
        let arg = self.args.get(index)?;
        let row = Self::row(arg, row);
        let array = arg.array.as_primitive_opt::<T>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    pub(crate) fn int(&self, index: usize, row: usize) -> Option<i32> {
        self.number::<Int32Type>(index, row)
    }

    pub(crate) fn long(&self, index: usize, row: usize) -> Option<i64> {
        self.number::<Int64Type>(index, row)
    }

    pub(crate) fn double(&self, index: usize, row: usize) -> Option<f64> {
        self.number::<Float64Type>(index, row)
    }

    pub(crate) fn float(&self, index: usize, row: usize) -> Option<f32> {
        self.number::<Float32Type>(index, row)
    }

    /// Days since 1970.
    pub(crate) fn day(&self, index: usize, row: usize) -> Option<i32> {
        self.number::<Date32Type>(index, row)
    }

    /// Microseconds since 1970.
    pub(crate) fn instant(&self, index: usize, row: usize) -> Option<i64> {
        self.number::<TimestampMicrosecondType>(index, row)
    }

    /// A decimal's unscaled value.
    pub(crate) fn decimal(&self, index: usize, row: usize) -> Option<i128> {
        self.number::<Decimal128Type>(index, row)
    }

    pub(crate) fn flag(&self, index: usize, row: usize) -> Option<bool> {
        let arg = self.args.get(index)?;
        let row = Self::row(arg, row);
        let array = arg.array.as_boolean_opt()?;
        array.is_valid(row).then(|| array.value(row))
    }

    pub(crate) fn text(&self, index: usize, row: usize) -> Option<&str> {
        let arg = self.args.get(index)?;
        let row = Self::row(arg, row);
        let array = arg.array.as_string_view_opt()?;
        array.is_valid(row).then(|| array.value(row))
    }

    pub(crate) fn bytes(&self, index: usize, row: usize) -> Option<&[u8]> {
        let arg = self.args.get(index)?;
        let row = Self::row(arg, row);
        let array = arg.array.as_binary_view_opt()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// Whether an argument is null.
    pub(crate) fn null(&self, index: usize, row: usize) -> bool {
        self.args.get(index).is_none_or(|arg| arg.array.is_null(Self::row(arg, row)) || arg.array.data_type().is_null())
    }

    /// A value of any type; for functions that are rarely called.
    pub(crate) fn value(&self, index: usize, row: usize) -> Result<ScalarValue, DataFusionError> {
        match self.args.get(index) {
            Some(arg) => ScalarValue::try_from_array(&arg.array, Self::row(arg, row)),
            None => Ok(ScalarValue::Null),
        }
    }

    /// An argument as a column of the batch's length.
    pub(crate) fn column(&self, index: usize) -> Result<ArrayRef, DataFusionError> {
        match self.args.get(index) {
            Some(arg) if arg.one && self.rows != 1 => {
                ScalarValue::try_from_array(&arg.array, 0)?.to_array_of_size(self.rows)
            }
            Some(arg) => Ok(Arc::clone(&arg.array)),
            None => exec_err!("a call lacks an argument"),
        }
    }
}

/// A kernel that makes a number, date, instant or decimal for each row.
pub(crate) fn numbers<T, F>(make: F) -> Kernel
where
    T: ArrowPrimitiveType,
    F: Fn(&Args<'_>, usize) -> Option<T::Native> + Send + Sync + 'static,
{
    Arc::new(move |args| {
        let made: PrimitiveArray<T> = (0..args.rows).map(|row| make(args, row)).collect();
        Ok(Arc::new(made.with_data_type(args.kind.clone())))
    })
}

/// A kernel that makes a truth value for each row.
pub(crate) fn flags<F>(make: F) -> Kernel
where
    F: Fn(&Args<'_>, usize) -> Option<bool> + Send + Sync + 'static,
{
    Arc::new(move |args| {
        let made: BooleanArray = (0..args.rows).map(|row| make(args, row)).collect();
        Ok(Arc::new(made))
    })
}

/// A kernel that makes a text for each row, within the limits.
pub(crate) fn texts<F>(make: F) -> Kernel
where
    F: Fn(&Args<'_>, usize) -> Option<String> + Send + Sync + 'static,
{
    try_texts(move |args, row| Ok(make(args, row)))
}

/// The same, of what may fail on a row, which then goes to quarantine.
pub(crate) fn try_texts<F>(make: F) -> Kernel
where
    F: Fn(&Args<'_>, usize) -> Result<Option<String>, DataFusionError> + Send + Sync + 'static,
{
    Arc::new(move |args| {
        let mut made = StringViewBuilder::with_capacity(args.rows);
        let mut total = 0;
        for row in 0..args.rows {
            let value = make(args, row)?;
            total = within(total, value.as_ref().map_or(0, String::len))?;
            made.append_option(value);
        }
        Ok(Arc::new(made.finish()))
    })
}

/// The same, of a part of an argument: nothing is copied before it is known to fit.
pub(crate) fn parts<F>(make: F) -> Kernel
where
    F: for<'a> Fn(&'a Args<'a>, usize) -> Option<&'a str> + Send + Sync + 'static,
{
    Arc::new(move |args| {
        let mut made = StringViewBuilder::with_capacity(args.rows);
        for row in 0..args.rows {
            made.append_option(make(args, row));
        }
        Ok(Arc::new(made.finish()))
    })
}

/// A kernel that makes bytes for each row, within the limits.
pub(crate) fn binaries<F>(make: F) -> Kernel
where
    F: Fn(&Args<'_>, usize) -> Option<Vec<u8>> + Send + Sync + 'static,
{
    Arc::new(move |args| {
        let mut made = BinaryViewBuilder::with_capacity(args.rows);
        let mut total = 0;
        for row in 0..args.rows {
            let value = make(args, row);
            total = within(total, value.as_ref().map_or(0, Vec::len))?;
            made.append_option(value);
        }
        Ok(Arc::new(made.finish()))
    })
}

/// A kernel that makes a value of any type for each row.
pub(crate) fn values<F>(make: F) -> Kernel
where
    F: Fn(&Args<'_>, usize) -> Result<ScalarValue, DataFusionError> + Send + Sync + 'static,
{
    Arc::new(move |args| {
        let mut made = Vec::with_capacity(args.rows);
        let mut total = 0;
        for row in 0..args.rows {
            let value = make(args, row)?;
            let value = if value.is_null() { ScalarValue::try_from(args.kind)? } else { value };
            total = within(total, value.size())?;
            made.push(value);
        }
        if made.is_empty() {
            return Ok(arrow::array::new_empty_array(args.kind));
        }
        ScalarValue::iter_to_array(made)
    })
}

fn within(total: usize, more: usize) -> Result<usize, DataFusionError> {
    let total = total.saturating_add(more);
    if more > VALUE_BYTES_MAX || total > BATCH_BYTES_MAX {
        return Err(too_large());
    }
    Ok(total)
}

/// What is said of a value that is not made.
pub(crate) fn too_large() -> DataFusionError {
    DataFusionError::Execution("an expression would make a value that is larger than the limit".to_owned())
}

/// A call as the engine knows it. Two calls are the same when name, type and arguments are; what a kernel keeps of a
/// literal argument is therefore passed as an argument too.
struct Call {
    name: String,
    kind: DataType,
    kernel: Kernel,
    signature: Signature,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.kind.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        run(&self.kernel, &self.kind, &call.args, call.number_rows)
    }
}

fn run(
    kernel: &Kernel,
    kind: &DataType,
    given: &[ColumnarValue],
    number_rows: usize,
) -> Result<ColumnarValue, DataFusionError> {
    let one = given.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if one { 1 } else { number_rows };
    let args: Vec<Arg> = given
        .iter()
        .map(|arg| match arg {
            ColumnarValue::Array(array) => Ok(Arg { array: Arc::clone(array), one: false }),
            ColumnarValue::Scalar(value) => value.to_array_of_size(1).map(|array| Arg { array, one: true }),
        })
        .collect::<Result<_, DataFusionError>>()?;
    let made = kernel(&Args { args: &args, rows, kind })?;
    if one {
        return ScalarValue::try_from_array(&made, 0).map(ColumnarValue::Scalar);
    }
    Ok(ColumnarValue::Array(made))
}

/// A call of a kernel as an expression; one over literals alone is a literal.
pub(crate) fn call(name: &str, kind: DataType, args: Vec<Expr>, kernel: Kernel) -> Expr {
    let literals: Option<Vec<ColumnarValue>> = args
        .iter()
        .map(|arg| match arg {
            Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
            _ => None,
        })
        .collect();
    if let Some(literals) = literals
        && let Ok(ColumnarValue::Scalar(value)) = run(&kernel, &kind, &literals, 1)
    {
        return Expr::Literal(value, None);
    }
    let signature = Signature::variadic_any(Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(Call { name: name.to_owned(), kind, kernel, signature });
    function.call(args)
}

/// A kernel over one column, outside of a plan.
pub(crate) fn over(kernel: &Kernel, kind: &DataType, values: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    let args = [Arg { array: Arc::clone(values), one: false }];
    kernel(&Args { args: &args, rows: values.len(), kind })
}
