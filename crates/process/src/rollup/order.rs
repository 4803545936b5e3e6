//! Numbers in the order of Spark as whole numbers: minima and maxima of floating point are taken over these, since the
//! engine's own depend on where a NaN stands among the rows.
//!
//! Invariant: keys compare as Spark sorts (NaN above all numbers and equal to itself), and a key gives its number back.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// A DOUBLE as a whole number that compares as it does.
pub(crate) fn order_key(number: Expr) -> Expr {
    static FUNCTION: OnceLock<Arc<ScalarUDF>> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| Arc::new(ScalarUDF::from(Ordered::new(Direction::ToKey))));
    function.call(vec![number])
}

/// The DOUBLE that such a number stands for.
pub(crate) fn of_order_key(key: Expr) -> Expr {
    static FUNCTION: OnceLock<Arc<ScalarUDF>> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| Arc::new(ScalarUDF::from(Ordered::new(Direction::ToNumber))));
    function.call(vec![key])
}

/// The same number, with one NaN for all.
pub(super) fn one_nan(number: f64) -> f64 {
    if number.is_nan() { f64::NAN } else { number }
}

/// The same array, with one NaN for all and one nought: as Spark groups.
pub(super) fn grouped(column: &ArrayRef) -> ArrayRef {
    let one_zero = |number: f64| if number == 0.0 { 0.0 } else { one_nan(number) };
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return Arc::new(numbers.unary::<_, Float64Type>(one_zero));
    }
    match column.as_primitive_opt::<arrow::datatypes::Float32Type>() {
        Some(numbers) => Arc::new(numbers.unary::<_, arrow::datatypes::Float32Type>(|number| {
            if number == 0.0 {
                0.0
            } else if number.is_nan() {
                f32::NAN
            } else {
                number
            }
        })),
        None => Arc::clone(column),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    ToKey,
    ToNumber,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ordered {
    direction: Direction,
    signature: Signature,
}

impl Ordered {
    fn new(direction: Direction) -> Self {
        let from = match direction {
            Direction::ToKey => DataType::Float64,
            Direction::ToNumber => DataType::Int64,
        };
        Self { direction, signature: Signature::exact(vec![from], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Ordered {
    fn name(&self) -> &str {
        match self.direction {
            Direction::ToKey => "order_key",
            Direction::ToNumber => "of_order_key",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.direction {
            Direction::ToKey => DataType::Int64,
            Direction::ToNumber => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let column = columns.first();
        let made: Option<ArrayRef> = match self.direction {
            Direction::ToKey => column.and_then(|column| column.as_primitive_opt::<Float64Type>()).map(|numbers| {
                let keys: Int64Array = numbers.unary(|number| key(one_nan(number).to_bits().cast_signed()));
                Arc::new(keys) as ArrayRef
            }),
            Direction::ToNumber => column.and_then(|column| column.as_primitive_opt::<Int64Type>()).map(|keys| {
                let numbers: Float64Array = keys.unary(|of| f64::from_bits(key(of).cast_unsigned()));
                Arc::new(numbers) as ArrayRef
            }),
        };
        match made {
            Some(made) => Ok(ColumnarValue::Array(made)),
            None => exec_err!("{} takes one number", self.name()),
        }
    }
}

/// Turns the bits of a number into a whole number of the same order, and back.
fn key(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_the_numbers_and_give_them_back() {
        let sorted = [f64::NEG_INFINITY, -1e300, -1.5, -5e-324, -0.0, 0.0, 5e-324, 1.0, f64::INFINITY, f64::NAN];
        let keys = sorted.map(|number| key(one_nan(number).to_bits().cast_signed()));
        assert!(keys.is_sorted() && keys[8] < keys[9]);
        assert_eq!(
            key((-f64::NAN).to_bits().cast_signed()) < keys[0],
            key(one_nan(-f64::NAN).to_bits().cast_signed()) == keys[9]
        );
        for (number, of) in sorted.iter().zip(keys) {
            assert_eq!(f64::from_bits(key(of).cast_unsigned()).to_bits(), number.to_bits());
        }
    }
}
