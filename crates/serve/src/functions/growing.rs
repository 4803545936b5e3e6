//! Functions whose result may be larger than their arguments: their results count as memory of the query.
//!
//! The engine counts what its operators keep, not what a function makes, and a text that is doubled thirty times is a
//! gigabyte. Invariant: the memory is reserved for as long as such a result is held.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, ListArray, OffsetSizeTrait, StringViewArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};
use bytes::Bytes;
use datafusion::common::utils::list_ndims;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::QueryError;

/// Bytes of a value that is computed once for a whole query, such as a constant.
pub const CONSTANT_BYTES_MAX: usize = 64 << 10;

/// How large a result may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// As all arguments together.
    Sum,
}

/// The engine's own functions that can make much of little. Those that only make as much again of their one argument
/// are not here.
const GROWING: [(&str, Growth); 6] = [
    ("make_array", Growth::Sum),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Sum),
    ("regexp_replace", Growth::Sum),
    ("overlay", Growth::Sum),
    ("array_to_string", Growth::Sum),
];

/// The same functions, with those that grow reserving their memory in `memory`.
pub fn counted(functions: &[Arc<ScalarUDF>], memory: &Arc<dyn MemoryPool>) -> Vec<Arc<ScalarUDF>> {
    let count = |function: &Arc<ScalarUDF>| match GROWING.iter().find(|(name, _)| *name == function.name()) {
        Some((_, growth)) => Arc::new(ScalarUDF::from(Growing {
            inner: Arc::clone(function),
            growth: *growth,
            memory: Arc::clone(memory),
        })),
        None => Arc::clone(function),
    };
    functions.iter().map(count).collect()
}

/// A function that reserves memory for its result.
#[derive(Debug)]
struct Growing {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    memory: Arc<dyn MemoryPool>,
}

impl PartialEq for Growing {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Growing {}

impl Hash for Growing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Growing {
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
        let bytes = self.growth.bytes_max(&args.args, args.number_rows);
        reserved(&self.memory, bytes, || self.inner.invoke_with_args(args))
    }
}

impl Growth {
    fn bytes_max(self, arguments: &[ColumnarValue], rows: usize) -> usize {
        let rows = if arguments.iter().all(|value| matches!(value, ColumnarValue::Scalar(_))) { 1 } else { rows };
        let bytes = |value: &ColumnarValue| match value {
            ColumnarValue::Array(array) => array_bytes(array),
            ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows),
        };
        let sum = arguments.iter().map(bytes).fold(0, usize::saturating_add);
        match self {
            Self::Sum => sum,
        }
    }
}

/// Runs a function whose result has at most so many bytes; they count as the query's for as long as the result is held.
fn reserved(
    memory: &Arc<dyn MemoryPool>,
    bytes_max: usize,
    function: impl FnOnce() -> Result<ColumnarValue>,
) -> Result<ColumnarValue> {
    let reservation = MemoryConsumer::new("result of a function").register(memory);
    reservation.try_grow(bytes_max)?;
    match function()? {
        ColumnarValue::Scalar(scalar) if scalar_bytes(&scalar) > CONSTANT_BYTES_MAX => Err(too_large()),
        ColumnarValue::Array(array) => {
            reservation.try_resize(array.get_array_memory_size())?;
            hold(&array, reservation).map(ColumnarValue::Array)
        }
        scalar @ ColumnarValue::Scalar(_) => Ok(scalar),
    }
}

fn too_large() -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::ResourceLimit(format!(
        "a constant of the query is larger than {CONSTANT_BYTES_MAX} bytes; use a shorter text or list"
    ))))
}

/// The bytes of the values that an array shows, not of the buffers that it shares.
pub(crate) fn array_bytes(array: &ArrayRef) -> usize {
    let all = |lengths: &mut dyn Iterator<Item = u32>| lengths.map(|length| length as usize).sum();
    match array.data_type() {
        DataType::Utf8View => all(&mut array.as_string_view().lengths()),
        DataType::BinaryView => all(&mut array.as_binary_view().lengths()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.offsets();
            let at = |offset: Option<&i32>| offset.and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
            let (first, last) = (at(offsets.first()), at(offsets.last()));
            size_of_val(&**offsets) + array_bytes(&list.values().slice(first, last - first))
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

fn scalar_bytes(scalar: &ScalarValue) -> usize {
    match scalar {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_ref().map_or(0, String::len)
        }
        ScalarValue::List(list) => array_bytes(list.values()),
        other => other.size(),
    }
}

/// A result that counts as the query's memory for as long as it is held.
///
/// # Errors
/// When the query has no memory left for it.
pub fn keep(memory: &Arc<dyn MemoryPool>, array: &ArrayRef) -> Result<ArrayRef> {
    let reservation = MemoryConsumer::new("result of a function").register(memory);
    reservation.try_grow(array.get_array_memory_size())?;
    hold(array, reservation)
}

/// A buffer that gives its memory back when nobody holds it any longer.
struct Held {
    buffer: Buffer,
    _reservation: MemoryReservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

fn held(buffer: &Buffer, reservation: MemoryReservation) -> Buffer {
    Buffer::from(Bytes::from_owner(Held { buffer: buffer.clone(), _reservation: reservation }))
}

/// The same array, with the reservation in its keeping; arrays of other kinds give it back at once.
fn hold(array: &ArrayRef, reservation: MemoryReservation) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8 => Arc::new(hold_text::<i32>(array.as_string(), reservation)?),
        DataType::LargeUtf8 => Arc::new(hold_text::<i64>(array.as_string(), reservation)?),
        DataType::Utf8View => {
            let (views, buffers, nulls) = array.as_string_view().clone().into_parts();
            let count = views.len();
            let views = ScalarBuffer::new(held(views.inner(), reservation), 0, count);
            Arc::new(StringViewArray::try_new(views, buffers, nulls)?)
        }
        DataType::List(_) => {
            let (field, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Arc::new(ListArray::try_new(field, hold_offsets(&offsets, reservation), values, nulls)?)
        }
        _ => Arc::clone(array),
    })
}

fn hold_text<O: OffsetSizeTrait>(
    array: &GenericStringArray<O>,
    reservation: MemoryReservation,
) -> Result<GenericStringArray<O>> {
    let (offsets, values, nulls) = array.clone().into_parts();
    Ok(GenericStringArray::try_new(hold_offsets(&offsets, reservation), values, nulls)?)
}

fn hold_offsets<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, reservation: MemoryReservation) -> OffsetBuffer<O> {
    let count = offsets.len();
    OffsetBuffer::new(ScalarBuffer::new(held(offsets.inner().inner(), reservation), 0, count))
}

/// Plans arithmetic, `||` and `ARRAY[…]` as Druid means them; asked before the engine's own planners.
#[derive(Debug)]
pub struct DruidPlanner {
    functions: Vec<Arc<ScalarUDF>>,
}

impl DruidPlanner {
    /// A planner that calls these functions.
    pub fn new(functions: &[Arc<ScalarUDF>]) -> Self {
        Self { functions: functions.to_vec() }
    }

    fn call(&self, name: &str, arguments: Vec<Expr>) -> Result<Expr> {
        let function = self.functions.iter().find(|function| function.name() == name);
        let function = function.ok_or_else(|| DataFusionError::Plan(format!("{name} not found")))?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments)))
    }

    fn concatenation(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<Expr> {
        let levels = |expr: &Expr| expr.get_type(schema).map(|kind| list_ndims(&kind));
        let (left, right) = (levels(&expr.left)?, levels(&expr.right)?);
        let arguments = vec![expr.left, expr.right];
        match left.cmp(&right) {
            Ordering::Equal if left == 0 => self.call("__concat", arguments),
            Ordering::Equal => self.call("array_concat", arguments),
            Ordering::Greater => self.call("array_append", arguments),
            Ordering::Less => self.call("array_prepend", arguments),
        }
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    matches!(op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq)
}

impl DruidPlanner {
    /// A truth compared with a number or a text, which the engine would refuse.
    fn comparison(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
        let other = |kind: &DataType| kind.is_string() || kind.is_numeric();
        if left == DataType::Boolean && other(&right) {
            expr.right = self.call("__boolean", vec![expr.right])?;
        } else if right == DataType::Boolean && other(&left) {
            expr.left = self.call("__boolean", vec![expr.left])?;
        }
        Ok(PlannerResult::Original(expr))
    }
}

impl ExprPlanner for DruidPlanner {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op == BinaryOperator::StringConcat {
            return self.concatenation(expr, schema).map(PlannerResult::Planned);
        }
        if is_comparison(&expr.op) {
            return self.comparison(expr, schema);
        }
        if !matches!(expr.op, BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply) {
            return Ok(PlannerResult::Original(expr));
        }
        let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
        let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
        if is_time(&left) || is_time(&right) {
            return Err(super::time::refuse(
                "Cannot apply an operator to a TIMESTAMP; use TIMESTAMPADD, TIMESTAMPDIFF or an INTERVAL".to_owned(),
            ));
        }
        // Text counts as the number that it shows; beside a whole number as its whole part.
        let shown = |other: &DataType| if other.is_integer() { "__as_bigint" } else { "__as_double" };
        if left.is_string() {
            expr.left = self.call(shown(&right), vec![expr.left])?;
        }
        if right.is_string() {
            expr.right = self.call(shown(&left), vec![expr.right])?;
        }
        Ok(PlannerResult::Original(expr))
    }

    fn plan_array_literal(&self, values: Vec<Expr>, schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        let kinds = values.iter().map(|value| value.get_type(schema)).collect::<Result<Vec<_>>>()?;
        let texts = kinds.iter().any(DataType::is_string);
        if texts && kinds.iter().any(DataType::is_numeric) {
            return Err(super::time::refuse(
                "Parameters must be of the same type: an ARRAY has texts and numbers".to_owned(),
            ));
        }
        self.call("make_array", values).map(PlannerResult::Planned)
    }
}
