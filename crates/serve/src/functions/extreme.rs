//! MIN and MAX of floating point as Druid has them: over a NaN both are NaN, and -0.0 is below 0.0.
//!
//! The engine's own depend on where a NaN stands among the rows, and columns' bounds in files leave it out. So values go
//! through whole numbers that are ordered as they are, with NaN at the end that is asked for; other types pass through.
//! Invariant: the answer does not depend on how rows are cut.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationNanosecondType, FieldRef, Float32Type, Float64Type, TimeUnit,
};
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::time::refuse;

/// Lengths of time are no type of Druid's: they stand for the keys of a DOUBLE and of a FLOAT and tell them apart.
const OF_DOUBLE: DataType = DataType::Duration(TimeUnit::Nanosecond);
const OF_FLOAT: DataType = DataType::Duration(TimeUnit::Microsecond);

/// The functions to keys and back.
pub fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [Step::Least, Step::Greatest, Step::Back].map(|step| Arc::new(ScalarUDF::from(Extreme::new(step)))).into_iter()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// To a key with NaN below all others.
    Least,
    /// To a key with NaN above all others.
    Greatest,
    /// Back to the number.
    Back,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    step: Step,
    signature: Signature,
}

impl Extreme {
    fn new(step: Step) -> Self {
        Self { step, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn result(&self, kind: &DataType) -> DataType {
        match (self.step, kind) {
            (Step::Back, kind) if *kind == OF_DOUBLE => DataType::Float64,
            (Step::Back, kind) if *kind == OF_FLOAT => DataType::Float32,
            (Step::Back, kind) => kind.clone(),
            (_, DataType::Float64) => OF_DOUBLE,
            (_, DataType::Float32) => OF_FLOAT,
            (_, kind) => kind.clone(),
        }
    }
}

impl ScalarUDFImpl for Extreme {
    fn name(&self) -> &str {
        match self.step {
            Step::Least => "__least_key",
            Step::Greatest => "__greatest_key",
            Step::Back => "__of_key",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        kinds.first().map(|kind| self.result(kind)).ok_or_else(|| refuse("MIN and MAX take one argument".to_owned()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = args.arg_fields.first().ok_or_else(|| refuse("MIN and MAX take one argument".to_owned()))?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(self.result(field.data_type()))))
    }

    /// What passes through is not called, so that the engine still sees a plain column.
    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(arg) = args.pop() else { return Ok(ExprSimplifyResult::Original(args)) };
        let kind = arg.get_type(info.schema().as_ref())?;
        if self.result(&kind) == kind {
            return Ok(ExprSimplifyResult::Simplified(arg));
        }
        Ok(ExprSimplifyResult::Original(vec![arg]))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let array = arrays.first().ok_or_else(|| refuse("MIN and MAX take one argument".to_owned()))?;
        let nan = if self.step == Step::Least { i64::MIN } else { i64::MAX };
        let to_double = |key: i64| {
            if key == i64::MIN || key == i64::MAX { f64::NAN } else { f64::from_bits(turned(key).cast_unsigned()) }
        };
        // A FLOAT is held by a DOUBLE: one order serves both.
        let to_key = |number: f64| if number.is_nan() { nan } else { turned(number.to_bits().cast_signed()) };
        let made = match (self.step, array.data_type()) {
            (Step::Back, kind) if *kind == OF_DOUBLE => mapped::<DurationNanosecondType, Float64Type>(array, to_double),
            #[expect(clippy::cast_possible_truncation, reason = "the key was made of a FLOAT")]
            (Step::Back, kind) if *kind == OF_FLOAT => {
                mapped::<DurationMicrosecondType, Float32Type>(array, |key| to_double(key) as f32)
            }
            (Step::Back, _) => Arc::clone(array),
            (_, DataType::Float64) => mapped::<Float64Type, DurationNanosecondType>(array, to_key),
            (_, DataType::Float32) => {
                mapped::<Float32Type, DurationMicrosecondType>(array, |number| to_key(f64::from(number)))
            }
            _ => Arc::clone(array),
        };
        Ok(ColumnarValue::Array(made))
    }
}

fn mapped<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(
    array: &ArrayRef,
    step: impl Fn(From::Native) -> To::Native,
) -> ArrayRef {
    let numbers: PrimitiveArray<To> = array.as_primitive::<From>().unary(step);
    Arc::new(numbers)
}

/// Turns the bits of a number into a whole number of the same order, and back.
fn turned(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}
