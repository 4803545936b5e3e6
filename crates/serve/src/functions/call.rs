//! A function of Druid's as the engine sees it: what it takes, what it gives, and one computation over whole columns.
//!
//! Arguments are brought to their types by Druid's casts, in the session's time zone, so a value that has another form
//! is null in its row. Invariant: no value of a row makes a call fail; only constants and sizes do.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::cast;
use super::growing::keep;
use super::time::{refuse, time_type};
use super::zone::Zone;
use crate::druid::types::{is_json, json_field};

/// What an argument is brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// VARCHAR, also of numbers and times.
    Text,
    /// VARCHAR that must be one.
    StrictText,
    /// BIGINT
    Integer,
    /// BIGINT that must be a whole number.
    StrictInteger,
    /// DOUBLE
    Double,
    /// TIMESTAMP, also of days
    Time,
    /// TIMESTAMP, not a day
    StrictTime,
    /// As it comes.
    Any,
}

/// What a function gives.
#[derive(Debug, Clone, Copy)]
pub enum Returns {
    /// VARCHAR
    Text,
    /// BIGINT
    Integer,
    /// INTEGER
    Small,
    /// DOUBLE
    Double,
    /// BOOLEAN
    Boolean,
    /// TIMESTAMP
    Time,
    /// VARCHAR ARRAY
    Texts,
    /// JSON, as text that is marked as such
    Json,
    /// What depends on the arguments.
    Of(fn(&[DataType]) -> Result<DataType>),
}

/// One function.
pub struct Definition {
    /// The name, in lower case.
    pub name: &'static str,
    arguments: &'static [Argument],
    needed: usize,
    repeats: bool,
    grows: bool,
    returns: Returns,
    compute: fn(&Call<'_>) -> Result<ArrayRef>,
}

impl Definition {
    /// A function whose arguments must all be given.
    pub const fn new(
        name: &'static str,
        arguments: &'static [Argument],
        returns: Returns,
        compute: fn(&Call<'_>) -> Result<ArrayRef>,
    ) -> Self {
        Self { name, arguments, needed: arguments.len(), repeats: false, grows: false, returns, compute }
    }

    /// Only so many arguments must be given.
    pub const fn needs(mut self, needed: usize) -> Self {
        self.needed = needed;
        self
    }

    /// The last argument may come any number of times.
    pub const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// The result may be larger than the arguments: it counts as memory of the query.
    pub const fn grows(mut self) -> Self {
        self.grows = true;
        self
    }

    fn argument(&self, index: usize) -> Argument {
        self.arguments.get(index).or(self.arguments.last()).copied().unwrap_or(Argument::Any)
    }

    fn check(&self, types: &[DataType]) -> Result<()> {
        let most = if self.repeats { usize::MAX } else { self.arguments.len() };
        if types.len() < self.needed || types.len() > most {
            return Err(refuse(format!(
                "Invalid number of arguments to function '{}'. Was expecting {} arguments",
                self.shown(),
                self.needed
            )));
        }
        for (index, given) in types.iter().enumerate() {
            let wanted = self.argument(index);
            if !wanted.takes(given) {
                return Err(refuse(format!(
                    "Cannot apply '{}' to these arguments: argument {} must be {}; CAST it",
                    self.shown(),
                    index + 1,
                    wanted.name()
                )));
            }
        }
        Ok(())
    }

    fn shown(&self) -> String {
        self.name.trim_start_matches('_').to_ascii_uppercase()
    }

    fn data_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.returns {
            Returns::Text | Returns::Json => DataType::Utf8,
            Returns::Integer => DataType::Int64,
            Returns::Small => DataType::Int32,
            Returns::Double => DataType::Float64,
            Returns::Boolean => DataType::Boolean,
            Returns::Time => time_type(),
            Returns::Texts => list_of(DataType::Utf8),
            Returns::Of(compute) => compute(types)?,
        })
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Argument {
    fn takes(self, given: &DataType) -> bool {
        let time = matches!(given, DataType::Timestamp(..));
        let day = matches!(given, DataType::Date32 | DataType::Date64);
        given.is_null()
            || match self {
                Self::Any => true,
                Self::Text => !given.is_nested(),
                Self::StrictText => given.is_string(),
                Self::Integer | Self::Double => {
                    given.is_numeric() || given.is_string() || given == &DataType::Boolean || time
                }
                Self::StrictInteger => given.is_integer(),
                Self::Time => time || day,
                Self::StrictTime => time,
            }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text | Self::StrictText => "a VARCHAR",
            Self::Integer | Self::StrictInteger => "a BIGINT",
            Self::Double => "a DOUBLE",
            Self::Time | Self::StrictTime => "a TIMESTAMP",
            Self::Any => "a value",
        }
    }
}

/// The type of a list of nullable values.
pub fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// A function in one session.
#[derive(Debug)]
pub struct Function {
    definition: &'static Definition,
    zone: Zone,
    memory: Arc<dyn MemoryPool>,
    signature: Signature,
}

impl Function {
    /// The function in a session with that time zone and memory.
    pub fn new(definition: &'static Definition, zone: Zone, memory: Arc<dyn MemoryPool>) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { definition, zone, memory, signature }
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name && self.zone == other.zone
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.definition.data_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let data_type = self.definition.data_type(&types)?;
        let field = Field::new(self.definition.name, data_type, true);
        Ok(Arc::new(if matches!(self.definition.returns, Returns::Json) { json_field(field) } else { field }))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.definition.check(types)?;
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let mut arrays = Vec::with_capacity(args.args.len());
        let mut constants = Vec::with_capacity(args.args.len());
        for (index, value) in args.args.iter().enumerate() {
            constants.push(matches!(value, ColumnarValue::Scalar(_)));
            let array = value.to_array(rows)?;
            arrays.push(self.bring(self.definition.argument(index), &array)?);
        }
        let call = Call {
            arrays: &arrays,
            constants: &constants,
            json: args.arg_fields.iter().map(|field| is_json(field)).collect(),
            rows,
            zone: self.zone,
            returns: args.return_field.data_type(),
        };
        let result = (self.definition.compute)(&call)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(if self.definition.grows { keep(&self.memory, &result)? } else { result }))
    }
}

impl Function {
    fn bring(&self, argument: Argument, array: &ArrayRef) -> Result<ArrayRef> {
        Ok(match argument {
            Argument::Text | Argument::StrictText => Arc::new(cast::texts(array, self.zone)?),
            Argument::Integer | Argument::StrictInteger => Arc::new(cast::integers(array, self.zone)?),
            Argument::Double => Arc::new(cast::doubles(array, self.zone)?),
            Argument::Time | Argument::StrictTime => Arc::new(cast::times(array, self.zone)?),
            Argument::Any => Arc::clone(array),
        })
    }
}

/// One call over a batch.
pub struct Call<'a> {
    arrays: &'a [ArrayRef],
    constants: &'a [bool],
    json: Vec<bool>,
    /// Rows of the result.
    pub rows: usize,
    /// The session's time zone.
    pub zone: Zone,
    /// The type of the result.
    pub returns: &'a DataType,
}

impl<'a> Call<'a> {
    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.arrays.len()
    }

    /// Whether an argument is a constant of the query.
    pub fn is_constant(&self, index: usize) -> bool {
        self.constants.get(index).copied().unwrap_or(true)
    }

    /// Whether an argument is JSON.
    pub fn is_json(&self, index: usize) -> bool {
        self.json.get(index).copied().unwrap_or(false)
    }

    /// An argument as it came.
    pub fn any(&self, index: usize) -> Result<&'a ArrayRef> {
        self.arrays.get(index).ok_or_else(wrong)
    }

    /// All arguments as they came.
    pub fn all(&self) -> &'a [ArrayRef] {
        self.arrays
    }

    /// An argument that is text.
    pub fn text(&self, index: usize) -> Result<&'a StringArray> {
        self.any(index)?.as_string_opt::<i32>().ok_or_else(wrong)
    }

    /// An argument that is a whole number.
    pub fn integer(&self, index: usize) -> Result<&'a Int64Array> {
        self.any(index)?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)
    }

    /// An argument that is a double.
    pub fn double(&self, index: usize) -> Result<&'a Float64Array> {
        self.any(index)?.as_primitive_opt::<Float64Type>().ok_or_else(wrong)
    }

    /// An argument that is a time.
    pub fn time(&self, index: usize) -> Result<&'a TimestampMicrosecondArray> {
        self.any(index)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)
    }

    /// The value of an optional text in a row.
    pub fn text_at(&self, index: usize, row: usize) -> Option<&'a str> {
        let array = self.arrays.get(index)?.as_string_opt::<i32>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// The value of an optional whole number in a row.
    pub fn integer_at(&self, index: usize, row: usize) -> Option<i64> {
        let array = self.arrays.get(index)?.as_primitive_opt::<Int64Type>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// The value of an optional time in a row.
    pub fn time_at(&self, index: usize, row: usize) -> Option<i64> {
        let array = self.arrays.get(index)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// The value of an optional double in a row.
    pub fn double_at(&self, index: usize, row: usize) -> Option<f64> {
        let array = self.arrays.get(index)?.as_primitive_opt::<Float64Type>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    /// A whole number for each row.
    pub fn integers(&self, value: impl FnMut(usize) -> Option<i64>) -> Result<ArrayRef> {
        let values: Int64Array = (0..self.rows).map(value).collect();
        Ok(Arc::new(values))
    }

    /// A double for each row.
    pub fn doubles(&self, value: impl FnMut(usize) -> Option<f64>) -> Result<ArrayRef> {
        let values: Float64Array = (0..self.rows).map(value).collect();
        Ok(Arc::new(values))
    }

    /// A truth for each row.
    pub fn booleans(&self, value: impl FnMut(usize) -> Option<bool>) -> Result<ArrayRef> {
        let values: BooleanArray = (0..self.rows).map(value).collect();
        Ok(Arc::new(values))
    }

    /// A time for each row.
    pub fn times(&self, value: impl FnMut(usize) -> Option<i64>) -> Result<ArrayRef> {
        let values: TimestampMicrosecondArray = (0..self.rows).map(value).collect();
        Ok(Arc::new(values.with_timezone("UTC")))
    }

    /// A day for each row.
    pub fn days(&self, value: impl FnMut(usize) -> Option<i32>) -> Result<ArrayRef> {
        let values: Date32Array = (0..self.rows).map(value).collect::<arrow::array::PrimitiveArray<Date32Type>>();
        Ok(Arc::new(values))
    }

    /// A text for each row, within the size that a batch may have.
    ///
    /// # Errors
    /// When the texts together are too large.
    pub fn texts<T: AsRef<str>>(&self, mut value: impl FnMut(usize) -> Option<T>) -> Result<ArrayRef> {
        let mut out = Texts::new(self.rows);
        for row in 0..self.rows {
            out.push(value(row))?;
        }
        Ok(out.finish())
    }

    /// A text for each row from a computation that a constant or a size can make fail.
    ///
    /// # Errors
    /// What the computation says, and when the texts together are too large.
    pub fn try_texts<T: AsRef<str>>(&self, mut value: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
        let mut out = Texts::new(self.rows);
        for row in 0..self.rows {
            out.push(value(row)?)?;
        }
        Ok(out.finish())
    }
}

/// Bytes of the texts that one call makes of a batch.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Texts that are being made.
struct Texts {
    builder: arrow::array::StringBuilder,
    bytes: usize,
}

impl Texts {
    fn new(rows: usize) -> Self {
        Self { builder: arrow::array::StringBuilder::with_capacity(rows, rows * 8), bytes: 0 }
    }

    fn push<T: AsRef<str>>(&mut self, value: Option<T>) -> Result<()> {
        match value {
            Some(value) => {
                self.bytes = self.bytes.saturating_add(value.as_ref().len());
                if self.bytes > BATCH_BYTES_MAX {
                    return Err(too_large());
                }
                self.builder.append_value(value);
            }
            None => self.builder.append_null(),
        }
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// The refusal of a result that is too large.
pub fn too_large() -> DataFusionError {
    DataFusionError::External(Box::new(crate::error::QueryError::ResourceLimit(
        "a function makes more memory of a few rows than a query may use; make its result shorter".to_owned(),
    )))
}

/// Keeps what was computed of the last text: a constant is computed once, and a column whenever it changes.
#[derive(Debug)]
pub struct Memo<T>(Option<(String, T)>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Memo<T> {
    /// What `compute` makes of a text.
    ///
    /// # Errors
    /// What `compute` says.
    pub fn get<E>(&mut self, text: &str, compute: impl FnOnce(&str) -> Result<T, E>) -> Result<&T, E> {
        let pair = match self.0.take() {
            Some(pair) if pair.0 == text => pair,
            _ => (text.to_owned(), compute(text)?),
        };
        Ok(&self.0.insert(pair).1)
    }
}

fn wrong() -> DataFusionError {
    DataFusionError::Internal("a function was called with other types than it asked for".to_owned())
}

/// A list argument, whatever kind of list it came as.
///
/// # Errors
/// When it is not a list.
pub fn list(array: &ArrayRef) -> Result<ListArray> {
    match array.data_type() {
        DataType::List(_) => Ok(array.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let plain = list_of(item.data_type().clone());
            Ok(arrow::compute::cast(array, &plain)?.as_list::<i32>().clone())
        }
        _ => Err(wrong()),
    }
}
