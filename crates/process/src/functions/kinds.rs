//! Spark's types, and the type that two of them have in common: by the rules of `spark.sql.ansi.enabled=false`.
//!
//! Pure; used by the binder for every operator and function. Invariant: a text is `Utf8View`, bytes are `BinaryView`,
//! an instant is microseconds in UTC; no other Arrow type stands for the same Spark type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use crate::session::instant;

pub(crate) const TEXT: DataType = DataType::Utf8View;
pub(crate) const BYTES: DataType = DataType::BinaryView;
const DECIMAL_DIGITS_MAX: i32 = 38;
/// What a decimal keeps of its fraction when its digits do not suffice.
const SCALE_KEPT_MIN: i32 = 6;

/// The one Arrow type for a Spark type; inputs may hold another kind of text.
pub(crate) fn canonical(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => TEXT,
        DataType::Binary | DataType::LargeBinary => BYTES,
        DataType::Timestamp(_, _) => instant(),
        other => other.clone(),
    }
}

pub(crate) fn is_instant(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, _))
}

pub(crate) fn is_text(kind: &DataType) -> bool {
    *kind == TEXT
}

pub(crate) fn is_integer(kind: &DataType) -> bool {
    matches!(kind, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

pub(crate) fn is_real(kind: &DataType) -> bool {
    matches!(kind, DataType::Float32 | DataType::Float64)
}

pub(crate) fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(_, _))
}

pub(crate) fn is_number(kind: &DataType) -> bool {
    is_integer(kind) || is_real(kind) || is_decimal(kind)
}

pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

pub(crate) fn element_of(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::List(field) => Some(field.data_type().clone()),
        _ => None,
    }
}

/// Key and value types of a map.
pub(crate) fn entry_of(kind: &DataType) -> Option<(DataType, DataType)> {
    let DataType::Map(entries, _) = kind else { return None };
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let [key, value] = fields.as_ref() else { return None };
    Some((key.data_type().clone(), value.data_type().clone()))
}

pub(crate) fn map_of(key: DataType, value: DataType) -> DataType {
    let fields = vec![Field::new("keys", key, false), Field::new("values", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), false)
}

/// Digits and scale of a decimal, or of the decimal that holds an integer.
pub(crate) fn digits(kind: &DataType) -> Option<(i32, i32)> {
    match kind {
        DataType::Decimal128(precision, scale) => Some((i32::from(*precision), i32::from(*scale))),
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((20, 0)),
        _ => None,
    }
}

pub(crate) fn decimal(precision: i32, scale: i32) -> DataType {
    let precision = precision.clamp(1, DECIMAL_DIGITS_MAX);
    let scale = scale.clamp(0, precision);
    DataType::Decimal128(u8::try_from(precision).unwrap_or(38), i8::try_from(scale).unwrap_or(0))
}

/// A decimal with as many digits as fit: where they do not, the fraction gives way, but for its first six digits.
pub(crate) fn adjusted(precision: i32, scale: i32) -> DataType {
    if precision <= DECIMAL_DIGITS_MAX {
        return decimal(precision, scale);
    }
    let whole = precision - scale;
    let scale = (DECIMAL_DIGITS_MAX - whole).max(scale.min(SCALE_KEPT_MIN));
    decimal(DECIMAL_DIGITS_MAX, scale)
}

/// The decimal that holds all values of two.
fn wider_decimal((p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> DataType {
    let scale = s1.max(s2);
    let whole = (p1 - s1).max(p2 - s2);
    if whole + scale <= DECIMAL_DIGITS_MAX {
        return decimal(whole + scale, scale);
    }
    decimal(DECIMAL_DIGITS_MAX, (DECIMAL_DIGITS_MAX - whole).max(0))
}

fn rank(kind: &DataType) -> Option<u8> {
    Some(match kind {
        DataType::Int8 => 0,
        DataType::Int16 => 1,
        DataType::Int32 => 2,
        DataType::Int64 => 3,
        DataType::Float32 => 4,
        DataType::Float64 => 5,
        _ => return None,
    })
}

/// The common type without changing a text: numbers, and a date with an instant.
pub(crate) fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (a, b) if a == b => return Some(a.clone()),
        (DataType::Null, other) | (other, DataType::Null) => return Some(other.clone()),
        (DataType::Date32, other) | (other, DataType::Date32) if is_instant(other) => return Some(instant()),
        (DataType::List(x), DataType::List(y)) => return wider(x.data_type(), y.data_type()).map(list_of),
        _ => {}
    }
    if let (Some(x), Some(y)) = (rank(a), rank(b)) {
        return Some(if x >= y { a.clone() } else { b.clone() });
    }
    match (digits(a), digits(b)) {
        (Some(x), Some(y)) => Some(wider_decimal(x, y)),
        (Some(_), None) if is_real(b) => Some(DataType::Float64),
        (None, Some(_)) if is_real(a) => Some(DataType::Float64),
        _ => None,
    }
}

/// The common type of the branches of a CASE, of `coalesce`, of the members of IN or of an array: a text wins.
pub(crate) fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    if let (DataType::List(x), DataType::List(y)) = (a, b) {
        return common(x.data_type(), y.data_type()).map(list_of);
    }
    let promotes = |kind: &DataType| is_number(kind) || is_instant(kind) || *kind == DataType::Date32 || is_text(kind);
    if (is_text(a) && promotes(b)) || (is_text(b) && promotes(a)) { Some(TEXT) } else { wider(a, b) }
}

/// The common type of many.
pub(crate) fn common_of<'a>(kinds: impl IntoIterator<Item = &'a DataType>) -> Option<DataType> {
    // A text among them wins whatever the order.
    let kinds: Vec<&DataType> = kinds.into_iter().collect();
    let texts = kinds.iter().filter(|k| is_text(k)).copied();
    let others = kinds.iter().filter(|k| !is_text(k)).copied();
    texts.chain(others).try_fold(DataType::Null, |found, kind| common(&found, kind))
}

/// The type in which two values are compared: a text becomes the other's type.
pub(crate) fn compared(a: &DataType, b: &DataType) -> Option<DataType> {
    let with_text = |other: &DataType| match other {
        DataType::Decimal128(_, _) => Some(DataType::Float64),
        DataType::Boolean | DataType::Date32 | DataType::BinaryView | DataType::Utf8View => Some(other.clone()),
        other if is_number(other) || is_instant(other) => Some(other.clone()),
        DataType::Null => Some(TEXT),
        _ => None,
    };
    match (is_text(a), is_text(b)) {
        (true, _) => with_text(b),
        (_, true) => with_text(a),
        _ => wider(a, b),
    }
}
