//! Spark's types as Arrow's, as Spark itself writes them into Arrow.
//!
//! One invariant: a schema that is made here is the one that the batches of the same answer have, but for what Arrow leaves
//! open; `rows` holds each batch against it.

use std::sync::Arc;

use arrow_schema::{DataType as Arrow, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};

use crate::proto::DataType;
use crate::proto::data_type::{Kind, Struct};
use crate::{Error, Result};

const DECIMAL_PRECISION: i32 = 10;

/// The Arrow schema of a row of Spark's. `zone` is the session's time zone, which its timestamps carry.
pub(crate) fn schema(row: &DataType, zone: &str) -> Result<SchemaRef> {
    match row.kind.as_ref() {
        Some(Kind::Struct(row)) => Ok(Arc::new(Schema::new(fields(row, zone)?))),
        _ => Err(unknown("its schema is not of rows")),
    }
}

fn fields(row: &Struct, zone: &str) -> Result<Fields> {
    row.fields.iter().map(|field| named(&field.name, field.data_type.as_ref(), field.nullable, zone)).collect()
}

fn named(name: &str, kind: Option<&DataType>, nullable: bool, zone: &str) -> Result<Field> {
    let kind = kind.and_then(|kind| kind.kind.as_ref()).ok_or_else(|| unknown("a column has no type"))?;
    Ok(Field::new(name, arrow(kind, zone)?, nullable))
}

fn arrow(kind: &Kind, zone: &str) -> Result<Arrow> {
    Ok(match kind {
        Kind::Null(_) => Arrow::Null,
        Kind::Binary(_) => Arrow::Binary,
        Kind::Boolean(_) => Arrow::Boolean,
        Kind::Byte(_) => Arrow::Int8,
        Kind::Short(_) => Arrow::Int16,
        Kind::Integer(_) => Arrow::Int32,
        Kind::Long(_) => Arrow::Int64,
        Kind::Float(_) => Arrow::Float32,
        Kind::Double(_) => Arrow::Float64,
        Kind::Decimal(kind) => {
            let wrong = |_| unknown("a decimal has no such precision or scale");
            Arrow::Decimal128(
                u8::try_from(kind.precision.unwrap_or(DECIMAL_PRECISION)).map_err(wrong)?,
                i8::try_from(kind.scale.unwrap_or(0)).map_err(wrong)?,
            )
        }
        Kind::String(_) | Kind::Char(_) | Kind::VarChar(_) => Arrow::Utf8,
        Kind::Date(_) => Arrow::Date32,
        Kind::Timestamp(_) => Arrow::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
        Kind::TimestampNtz(_) => Arrow::Timestamp(TimeUnit::Microsecond, None),
        Kind::YearMonthInterval(_) => Arrow::Interval(IntervalUnit::YearMonth),
        Kind::DayTimeInterval(_) => Arrow::Duration(TimeUnit::Microsecond),
        Kind::CalendarInterval(_) => Arrow::Interval(IntervalUnit::MonthDayNano),
        Kind::Time(_) => Arrow::Time64(TimeUnit::Nanosecond),
        Kind::Array(kind) => {
            Arrow::List(Arc::new(named("element", kind.element_type.as_deref(), kind.contains_null, zone)?))
        }
        Kind::Struct(row) => Arrow::Struct(fields(row, zone)?),
        Kind::Map(kind) => {
            let key = named("key", kind.key_type.as_deref(), false, zone)?;
            let value = named("value", kind.value_type.as_deref(), kind.value_contains_null, zone)?;
            Arrow::Map(Arc::new(Field::new("entries", Arrow::Struct(vec![key, value].into()), false)), false)
        }
        _ => return Err(unknown("a column has a type that has no place in Arrow")),
    })
}

fn unknown(reason: &str) -> Error {
    Error::Answer { reason: reason.to_owned() }
}
