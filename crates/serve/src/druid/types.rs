//! Arrow's types by the names that Druid and JDBC have for them.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};

/// The key of a field's metadata that says what its text is.
const KIND: &str = "druid";
/// The value of that key for JSON.
const JSON: &str = "json";

/// How a type is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeNames {
    /// Druid's own type, such as `LONG`.
    pub native: String,
    /// The SQL type, such as `BIGINT`.
    pub sql: &'static str,
    /// The number in `java.sql.Types`.
    pub jdbc: i64,
}

/// The names of a type.
pub fn names(data_type: &DataType) -> TypeNames {
    use DataType as T;
    let (native, sql, jdbc) = match data_type {
        T::Boolean => ("LONG", "BOOLEAN", 16),
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 => ("LONG", "INTEGER", 4),
        T::Int64 | T::UInt32 | T::UInt64 => ("LONG", "BIGINT", -5),
        T::Float16 | T::Float32 => ("FLOAT", "FLOAT", 6),
        T::Float64 => ("DOUBLE", "DOUBLE", 8),
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => ("DOUBLE", "DECIMAL", 3),
        T::Timestamp(..) => ("LONG", "TIMESTAMP", 93),
        T::Date32 | T::Date64 => ("LONG", "DATE", 91),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => ("STRING", "VARCHAR", 12),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => ("STRING", "VARBINARY", -3),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) => {
            return TypeNames {
                native: format!("ARRAY<{}>", names(item.data_type()).native),
                sql: "ARRAY",
                jdbc: 2003,
            };
        }
        T::Dictionary(_, value) => return names(value),
        _ => ("COMPLEX<json>", "OTHER", 1111),
    };
    TypeNames { native: native.to_owned(), sql, jdbc }
}

/// A field whose text is JSON.
#[must_use]
pub fn json_field(field: Field) -> Field {
    field.with_metadata(HashMap::from([(KIND.to_owned(), JSON.to_owned())]))
}

/// Whether a field's text is JSON.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(KIND).is_some_and(|kind| kind == JSON)
}

/// The names of a field's type.
pub fn field_names(field: &Field) -> TypeNames {
    if is_json(field) {
        return TypeNames { native: "COMPLEX<json>".to_owned(), sql: "OTHER", jdbc: 1111 };
    }
    names(field.data_type())
}
