//! A row filter as the engine's condition: columns against constants of their types, so that no row makes it fail.

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, lit};
use vitalake_contract::access::{Comparison, Constant, Predicate};

use super::rules::Column as Known;

/// The condition over a stored table.
///
/// # Errors
/// When the table has not a column that the filter asks for: then no row may be shown.
pub(super) fn condition(predicate: &Predicate, columns: &[Known], schema: &Schema) -> Result<Expr> {
    let all =
        |parts: &[Predicate]| parts.iter().map(|part| condition(part, columns, schema)).collect::<Result<Vec<_>>>();
    let joined = |parts: Vec<Expr>, join: fn(Expr, Expr) -> Expr, none: bool| {
        parts.into_iter().reduce(join).unwrap_or_else(|| lit(none))
    };
    Ok(match predicate {
        Predicate::All(parts) => joined(all(parts)?, Expr::and, true),
        Predicate::Any(parts) => joined(all(parts)?, Expr::or, false),
        Predicate::Not(part) => Expr::Not(Box::new(condition(part, columns, schema)?)),
        // Of a null neither this nor its opposite is true.
        Predicate::IsTrue(column) => column_of(*column, columns, schema)?.0,
        Predicate::IsNull(column) => column_of(*column, columns, schema)?.0.is_null(),
        Predicate::Compare(column, comparison, constant) => {
            let (column, kind) = column_of(*column, columns, schema)?;
            let value = lit(value(constant, kind)?);
            match comparison {
                Comparison::Equal => column.eq(value),
                Comparison::NotEqual => column.not_eq(value),
                Comparison::Less => column.lt(value),
                Comparison::LessOrEqual => column.lt_eq(value),
                Comparison::Greater => column.gt(value),
                Comparison::GreaterOrEqual => column.gt_eq(value),
            }
        }
        Predicate::OneOf(column, constants) => {
            let (column, kind) = column_of(*column, columns, schema)?;
            let values: Result<Vec<Expr>> = constants.iter().map(|constant| Ok(lit(value(constant, kind)?))).collect();
            column.in_list(values?, false)
        }
    })
}

fn column_of<'s>(index: usize, columns: &[Known], schema: &'s Schema) -> Result<(Expr, &'s DataType)> {
    let name = columns.get(index).map_or("", |column| &column.name);
    match schema.field_with_name(name) {
        Ok(field) => Ok((Expr::Column(Column::new_unqualified(name)), field.data_type())),
        Err(_) => plan_err!("a row filter asks for a column that the table has not"),
    }
}

/// A constant as a value of the column's type.
fn value(constant: &Constant, kind: &DataType) -> Result<ScalarValue> {
    let narrow = |value: i64| i32::try_from(value).ok();
    #[expect(clippy::cast_possible_truncation, reason = "the column is as narrow")]
    let found = match (constant, kind) {
        (Constant::Text(text), DataType::Utf8View) => Some(ScalarValue::Utf8View(Some(text.to_string()))),
        (Constant::Text(text), DataType::Utf8) => Some(ScalarValue::Utf8(Some(text.to_string()))),
        (Constant::Whole(value), DataType::Int64) => Some(ScalarValue::Int64(Some(*value))),
        (Constant::Whole(value), DataType::Int32) => narrow(*value).map(|value| ScalarValue::Int32(Some(value))),
        (Constant::Whole(value), DataType::Date32) => narrow(*value).map(|value| ScalarValue::Date32(Some(value))),
        (Constant::Whole(value), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            Some(ScalarValue::TimestampMicrosecond(Some(*value), zone.clone()))
        }
        (Constant::Real(value), DataType::Float64) => Some(ScalarValue::Float64(Some(*value))),
        (Constant::Real(value), DataType::Float32) => Some(ScalarValue::Float32(Some(*value as f32))),
        (Constant::Boolean(value), DataType::Boolean) => Some(ScalarValue::Boolean(Some(*value))),
        _ => None,
    };
    match found {
        Some(value) => Ok(value),
        None => plan_err!("a row filter compares a column with a value of another type"),
    }
}
