//! Arrays: lengths, places, parts, membership, text from and to them. Elements are brought to the array's type by casts.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ListArray, ListBuilder, MutableArrayData, StringBuilder, UInt32Array, make_array, make_comparator,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use super::call::{BATCH_BYTES_MAX, Call, Memo, list, too_large};
use super::cast;
use super::definition::{Argument, Definition, Returns, list_of};
use super::regexp::compile;
use super::time::refuse;

use Argument::{Any, Integer, Text};

/// The functions of arrays.
pub const FUNCTIONS: &[Definition] = &[
    Definition::new("array_length", &[Any], Returns::Integer, length),
    Definition::new("array_offset", &[Any, Integer], Returns::Of(element), |call| item(call, 0)),
    Definition::new("array_ordinal", &[Any, Integer], Returns::Of(element), |call| item(call, 1)),
    Definition::new("array_offset_of", &[Any, Any], Returns::Integer, |call| place(call, 0)),
    Definition::new("array_ordinal_of", &[Any, Any], Returns::Integer, |call| place(call, 1)),
    Definition::new("array_contains", &[Any, Any], Returns::Boolean, contains),
    Definition::new("array_overlap", &[Any, Any], Returns::Boolean, overlap),
    Definition::new("scalar_in_array", &[Any, Any], Returns::Boolean, is_in),
    Definition::new("array_append", &[Any, Any], Returns::Of(first_list), append).grows(),
    Definition::new("array_prepend", &[Any, Any], Returns::Of(second_list), prepend).grows(),
    Definition::new("array_concat", &[Any, Any], Returns::Of(first_list), concatenate).grows(),
    Definition::new("array_slice", &[Any, Integer, Integer], Returns::Of(first_list), slice).needs(2).grows(),
    Definition::new("array_to_string", &[Any, Text], Returns::Text, to_text).grows(),
    Definition::new("string_to_array", &[Text, Text], Returns::Texts, from_text),
    Definition::new("__cast_list_text", &[Any], Returns::Texts, |call| cast_list(call, &DataType::Utf8)),
    Definition::new("__cast_list_integer", &[Any], Returns::Of(|_| Ok(list_of(DataType::Int64))), |call| {
        cast_list(call, &DataType::Int64)
    }),
    Definition::new("__cast_list_double", &[Any], Returns::Of(|_| Ok(list_of(DataType::Float64))), |call| {
        cast_list(call, &DataType::Float64)
    }),
];

fn item_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type().clone(),
        DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

fn element(types: &[DataType]) -> Result<DataType> {
    Ok(item_type(types.first().unwrap_or(&DataType::Null)))
}

fn first_list(types: &[DataType]) -> Result<DataType> {
    Ok(list_of(element(types)?))
}

fn second_list(types: &[DataType]) -> Result<DataType> {
    Ok(list_of(item_type(types.get(1).unwrap_or(&DataType::Null))))
}

/// An argument as lists: a single value is a list of one, and null stays null.
fn lists(array: &ArrayRef) -> Result<ListArray> {
    if matches!(array.data_type(), DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)) {
        return list(array);
    }
    let kind = item_type(array.data_type());
    let values = if array.data_type().is_null() { new_null_array(&kind, array.len()) } else { Arc::clone(array) };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, array.len()));
    let nulls = values.logical_nulls();
    Ok(ListArray::try_new(Arc::new(Field::new_list_field(kind, true)), offsets, values, nulls)?)
}

/// Values brought to another type as Druid does.
fn cast_values(array: &ArrayRef, to: &DataType, call: &Call<'_>) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    if array.data_type().is_null() {
        return Ok(new_null_array(to, array.len()));
    }
    Ok(match to {
        DataType::Int64 => Arc::new(cast::integers(array, call.zone)?),
        DataType::Float64 => Arc::new(cast::doubles(array, call.zone)?),
        text if text.is_string() => arrow::compute::cast(&cast::texts(array, call.zone)?, text)?,
        DataType::Boolean => Arc::new(cast::booleans(array, call.zone)?),
        DataType::Timestamp(..) => Arc::new(cast::times(array, call.zone)?),
        other if other.is_numeric() => arrow::compute::cast(&cast::doubles(array, call.zone)?, other)?,
        _ => return Err(refuse("the elements of two arrays have types that cannot be compared; CAST one".to_owned())),
    })
}

fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    let at = |index: usize| offsets.get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    at(row)..at(row + 1)
}

fn length(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = lists(call.any(0)?)?;
    call.integers(|row| lists.is_valid(row).then(|| i64::try_from(range(&lists, row).len()).unwrap_or(i64::MAX)))
}

/// The element at a place that is counted from `first`.
fn item(call: &Call<'_>, first: i64) -> Result<ArrayRef> {
    let lists = lists(call.any(0)?)?;
    let places: UInt32Array = (0..call.rows)
        .map(|row| {
            let index = usize::try_from(call.integer_at(1, row)?.checked_sub(first)?).ok()?;
            let range = range(&lists, row);
            let found = range.start.checked_add(index).filter(|place| range.contains(place) && lists.is_valid(row))?;
            u32::try_from(found).ok()
        })
        .collect();
    Ok(take(lists.values(), &places, None)?)
}

/// Compares elements of two arrays: equal ones, and nulls with nulls.
fn equality(left: &ArrayRef, right: &ArrayRef) -> Result<impl Fn(usize, usize) -> bool + use<>> {
    let compare = make_comparator(left, right, SortOptions::default())?;
    Ok(move |left: usize, right: usize| compare(left, right) == Ordering::Equal)
}

fn place(call: &Call<'_>, first: i64) -> Result<ArrayRef> {
    let lists = lists(call.any(0)?)?;
    let wanted = cast_values(call.any(1)?, lists.values().data_type(), call)?;
    let equal = equality(lists.values(), &wanted)?;
    call.integers(|row| {
        if lists.is_null(row) {
            return None;
        }
        let found = range(&lists, row).position(|place| equal(place, row))?;
        i64::try_from(found).ok()?.checked_add(first)
    })
}

/// Whether every one (or any one) of the second lists' elements is in the first.
fn members(call: &Call<'_>, all: bool) -> Result<ArrayRef> {
    let within = lists(call.any(0)?)?;
    let second = call.any(1)?;
    let is_list = second.data_type().is_nested();
    let wanted = lists(second)?;
    let values = cast_values(wanted.values(), within.values().data_type(), call)?;
    let equal = equality(within.values(), &values)?;
    call.booleans(|row| {
        if within.is_null(row) || (is_list && wanted.is_null(row)) {
            return None;
        }
        let has = |wanted: usize| range(&within, row).any(|place| equal(place, wanted));
        let mut wanted = range(&wanted, row);
        Some(if all { wanted.all(has) } else { wanted.any(has) })
    })
}

fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    members(call, true)
}

fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    members(call, false)
}

fn is_in(call: &Call<'_>) -> Result<ArrayRef> {
    let within = lists(call.any(1)?)?;
    let wanted = cast_values(call.any(0)?, within.values().data_type(), call)?;
    let equal = equality(within.values(), &wanted)?;
    call.booleans(|row| {
        if within.is_null(row) || wanted.is_null(row) {
            return None;
        }
        Some(range(&within, row).any(|place| equal(place, row)))
    })
}

/// A piece of a new list: of which column of values, from where and how much; of none, so many nulls.
#[derive(Debug, Clone, Copy)]
struct Piece {
    source: Option<usize>,
    start: usize,
    count: usize,
}

impl Piece {
    fn of(source: usize, range: &std::ops::Range<usize>) -> Self {
        Self { source: Some(source), start: range.start, count: range.len() }
    }
}

/// New lists out of pieces of some columns of values.
struct Builder {
    pieces: Vec<Piece>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
    total: usize,
}

impl Builder {
    fn new(rows: usize) -> Self {
        Self { pieces: vec![], lengths: Vec::with_capacity(rows), valid: Vec::with_capacity(rows), total: 0 }
    }

    fn row<const N: usize>(&mut self, pieces: Option<[Piece; N]>) -> Result<()> {
        self.valid.push(pieces.is_some());
        let mut length = 0_usize;
        for piece in pieces.into_iter().flatten() {
            length = length.saturating_add(piece.count);
            self.pieces.push(piece);
        }
        self.lengths.push(length);
        self.total = self.total.saturating_add(length);
        if self.total > BATCH_BYTES_MAX / 8 { Err(too_large()) } else { Ok(()) }
    }

    fn finish(self, sources: &[&ArrayRef]) -> Result<ArrayRef> {
        let kind = sources.first().map_or(DataType::Null, |source| source.data_type().clone());
        let data: Vec<_> = sources.iter().map(|source| source.to_data()).collect();
        let mut values = MutableArrayData::new(data.iter().collect(), true, self.total);
        for piece in self.pieces {
            match piece.source {
                Some(source) => values.try_extend(source, piece.start, piece.start + piece.count)?,
                None => values.try_extend_nulls(piece.count)?,
            }
        }
        let values = make_array(values.freeze());
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        let field = Arc::new(Field::new_list_field(kind, true));
        Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(NullBuffer::from(self.valid)))?))
    }
}

fn append(call: &Call<'_>) -> Result<ArrayRef> {
    joined(call, 0, false)
}

fn prepend(call: &Call<'_>) -> Result<ArrayRef> {
    joined(call, 1, true)
}

/// The lists of one argument with the single value of the other at an end.
fn joined(call: &Call<'_>, of: usize, first: bool) -> Result<ArrayRef> {
    let lists = lists(call.any(of)?)?;
    let more = cast_values(call.any(1 - of)?, lists.values().data_type(), call)?;
    let mut builder = Builder::new(call.rows);
    for row in 0..call.rows {
        let (many, one) = (Piece::of(0, &range(&lists, row)), Piece { source: Some(1), start: row, count: 1 });
        builder.row(lists.is_valid(row).then_some(if first { [one, many] } else { [many, one] }))?;
    }
    builder.finish(&[lists.values(), &more])
}

fn concatenate(call: &Call<'_>) -> Result<ArrayRef> {
    let left = lists(call.any(0)?)?;
    let right = lists(call.any(1)?)?;
    let more = cast_values(right.values(), left.values().data_type(), call)?;
    let mut builder = Builder::new(call.rows);
    for row in 0..call.rows {
        // A null list adds nothing; two of them are null.
        let piece = |source: usize, lists: &ListArray| {
            let range = range(lists, row);
            Piece { count: if lists.is_valid(row) { range.len() } else { 0 }, ..Piece::of(source, &range) }
        };
        let valid = left.is_valid(row) || right.is_valid(row);
        builder.row(valid.then(|| [piece(0, &left), piece(1, &right)]))?;
    }
    builder.finish(&[left.values(), &more])
}

/// A part between two places counted from zero; what lies past the end is null, and a wrong order gives null.
fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = lists(call.any(0)?)?;
    let mut builder = Builder::new(call.rows);
    for row in 0..call.rows {
        let range = range(&lists, row);
        let start = call.integer_at(1, row).and_then(|start| usize::try_from(start).ok());
        let end = if call.count() > 2 {
            call.integer_at(2, row).and_then(|end| usize::try_from(end).ok())
        } else {
            Some(range.len())
        };
        let part = match (start, end) {
            (Some(start), Some(end)) if lists.is_valid(row) && start <= end && start <= range.len() => {
                let there = end.min(range.len()) - start;
                let kept = Piece { source: Some(0), start: range.start + start, count: there };
                Some([kept, Piece { source: None, start: 0, count: end - start - there }])
            }
            _ => None,
        };
        builder.row(part)?;
    }
    builder.finish(&[lists.values()])
}

fn to_text(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = lists(call.any(0)?)?;
    let texts = cast::texts(lists.values(), call.zone)?;
    call.try_texts(|row| {
        let Some(between) = call.text_at(1, row).filter(|_| lists.is_valid(row)) else { return Ok(None) };
        let mut out = String::new();
        for (index, place) in range(&lists, row).enumerate() {
            if index > 0 {
                out.push_str(between);
            }
            out.push_str(if texts.is_valid(place) { texts.value(place) } else { "null" });
            if out.len() > BATCH_BYTES_MAX {
                return Err(too_large());
            }
        }
        Ok(Some(out))
    })
}

/// STRING_TO_ARRAY: split by a pattern, as Java splits: empty texts at the end are left out.
fn from_text(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Memo::default();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        let Some(text) = call.text_at(0, row) else {
            builder.append(false);
            continue;
        };
        // Without a separator every letter is an element.
        let pattern = match patterns.get(call.text_at(1, row).unwrap_or(""), compile) {
            Ok(pattern) => pattern,
            Err(error) if call.is_constant(1) => return Err(error),
            Err(_) => {
                builder.append(false);
                continue;
            }
        };
        let mut parts: Vec<&str> = pattern.split(text).collect();
        if parts.first() == Some(&"") && text.is_empty() {
            parts.truncate(1);
        } else {
            if pattern.find(text).is_some_and(|found| found.end() == 0) {
                parts.remove(0);
            }
            while parts.last().is_some_and(|last| last.is_empty()) {
                parts.pop();
            }
        }
        for part in parts {
            builder.values().append_value(part);
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

fn cast_list(call: &Call<'_>, to: &DataType) -> Result<ArrayRef> {
    let array = call.any(0)?;
    if !array.data_type().is_nested() && !array.data_type().is_null() {
        return Err(refuse("Cast function cannot convert a single value to an ARRAY; write ARRAY[…]".to_owned()));
    }
    let lists = lists(array)?;
    let values = cast_values(lists.values(), to, call)?;
    let nulls = lists.nulls().cloned();
    let field = Arc::new(Field::new_list_field(to.clone(), true));
    Ok(Arc::new(ListArray::try_new(field, lists.offsets().clone(), values, nulls)?))
}
