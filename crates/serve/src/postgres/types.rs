//! The types of PostgreSQL that columns have, by their numbers.
//!
//! Invariant: a column is told under a type in which every one of its values can be written.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use super::reply::Column;

pub const BOOL: u32 = 16;
pub const BYTEA: u32 = 17;
pub const CHAR: u32 = 18;
pub const NAME: u32 = 19;
pub const INT8: u32 = 20;
pub const INT2: u32 = 21;
pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;
pub const OID: u32 = 26;
pub const JSON: u32 = 114;
pub const FLOAT4: u32 = 700;
pub const FLOAT8: u32 = 701;
pub const UNKNOWN: u32 = 705;
pub const BPCHAR: u32 = 1042;
pub const VARCHAR: u32 = 1043;
pub const DATE: u32 = 1082;
pub const TIME: u32 = 1083;
pub const TIMESTAMP: u32 = 1114;
pub const TIMESTAMPTZ: u32 = 1184;
pub const INTERVAL: u32 = 1186;
pub const NUMERIC: u32 = 1700;
pub const UUID: u32 = 2950;

/// The key of a field's metadata that names a type of PostgreSQL's, for the catalogue's own tables.
pub const TYPE_KEY: &str = "postgres.type";

/// The type that every value is brought to before it is written.
pub fn written_as(kind: &DataType) -> DataType {
    let micro = TimeUnit::Microsecond;
    match kind {
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) => written_as(value),
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(micro),
        DataType::Timestamp(_, zone) => DataType::Timestamp(micro, zone.clone()),
        DataType::Duration(_) => DataType::Duration(micro),
        DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        other => other.clone(),
    }
}

/// The number of a column's type.
pub fn type_id(field: &Field) -> u32 {
    let named = field.metadata().get(TYPE_KEY).and_then(|number| number.parse().ok());
    named.unwrap_or_else(|| type_of(field.data_type()))
}

/// The number of a type.
pub fn type_of(kind: &DataType) -> u32 {
    match written_as(kind) {
        DataType::Boolean => BOOL,
        DataType::Int16 => INT2,
        DataType::Int32 => INT4,
        DataType::Int64 => INT8,
        DataType::UInt32 => OID,
        DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => NUMERIC,
        DataType::Utf8 => TEXT,
        DataType::Binary => BYTEA,
        DataType::Date32 => DATE,
        DataType::Time64(_) => TIME,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Duration(_) | DataType::Interval(_) => INTERVAL,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            array_of(type_of(item.data_type())).unwrap_or(JSON)
        }
        _ => JSON,
    }
}

/// Types, each with the type of its arrays and its size.
const TYPES: [(u32, u32, i16); 21] = [
    (BOOL, 1000, 1),
    (BYTEA, 1001, -1),
    (CHAR, 1002, 1),
    (NAME, 1003, 64),
    (INT8, 1016, 8),
    (INT2, 1005, 2),
    (INT4, 1007, 4),
    (TEXT, 1009, -1),
    (OID, 1028, 4),
    (FLOAT4, 1021, 4),
    (FLOAT8, 1022, 8),
    (BPCHAR, 1014, -1),
    (VARCHAR, 1015, -1),
    (DATE, 1182, 4),
    (TIME, 1183, 8),
    (TIMESTAMP, 1115, 8),
    (TIMESTAMPTZ, 1185, 8),
    (INTERVAL, 1187, 16),
    (NUMERIC, 1231, -1),
    (UUID, 2951, 16),
    (JSON, 199, -1),
];

/// The type of arrays of a type.
pub fn array_of(item: u32) -> Option<u32> {
    TYPES.iter().find(|(number, ..)| *number == item).map(|(_, array, _)| *array)
}

/// The type of an array's items.
pub fn item_of(array: u32) -> Option<u32> {
    TYPES.iter().find(|(_, number, _)| *number == array).map(|(item, ..)| *item)
}

fn size_of(number: u32) -> i16 {
    TYPES.iter().find(|(known, ..)| *known == number).map_or(-1, |(.., size)| *size)
}

/// A column as a client is told of it.
pub fn column(name: &str, field: &Field) -> Column {
    let type_id = type_id(field);
    Column { name: name.to_owned(), type_id, size: size_of(type_id) }
}
