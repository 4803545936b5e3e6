//! A function of Druid's as the engine sees it: what it takes, what it gives, and one computation over whole columns.
//!
//! Arguments are brought to their types by Druid's casts, in the session's time zone, so a value that has another form
//! is null in its row. Invariant: no value of a row makes a call fail; only constants and sizes do.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::call::Call;
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
