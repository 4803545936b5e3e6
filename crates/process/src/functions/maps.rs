//! Maps and structs: made, looked into.
//!
//! A part of the table of functions. Invariant: a key that a map does not have is null.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::Expr;

use crate::functions::arrays::elements;
use crate::functions::bind::{Bound, Refusal, Typed, no_common};
use crate::functions::call::{Args, call, flags, values};
use crate::functions::java_regex::Pattern;
use crate::functions::kinds::{TEXT, common_of, element_of, entry_of, list_of, map_of};
use crate::functions::math::order;
use crate::functions::table::{Calling, Function, MANY, function};

pub(crate) const FUNCTIONS: &[Function] = &[
    function("map", 0, MANY, map),
    function("map_contains_key", 2, 2, contains_key),
    function("map_entries", 1, 1, map_entries),
    function("map_from_arrays", 2, 2, from_arrays),
    function("map_keys", 1, 1, |c| side(c, true)),
    function("map_values", 1, 1, |c| side(c, false)),
    function("named_struct", 2, MANY, named_struct),
    function("str_to_map", 1, 3, str_to_map),
    function("struct", 1, MANY, plain_struct),
];

type Entries = Vec<(ScalarValue, ScalarValue)>;

/// A map as a value; of two entries with one key there is none.
fn map_value(entries: &Entries, key: &DataType, value: &DataType) -> Result<ScalarValue, DataFusionError> {
    let column = |values: Vec<ScalarValue>, kind: &DataType| -> Result<ArrayRef, DataFusionError> {
        if values.is_empty() { Ok(arrow::array::new_empty_array(kind)) } else { ScalarValue::iter_to_array(values) }
    };
    let keys = column(entries.iter().map(|(k, _)| k.clone()).collect(), key)?;
    let values = column(entries.iter().map(|(_, v)| v.clone()).collect(), value)?;
    let DataType::Map(field, _) = map_of(key.clone(), value.clone()) else { return Ok(ScalarValue::Null) };
    let DataType::Struct(fields) = field.data_type().clone() else { return Ok(ScalarValue::Null) };
    let rows = StructArray::try_new(fields, vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths([entries.len()]);
    Ok(ScalarValue::Map(Arc::new(MapArray::try_new(field, offsets, rows, None, false)?)))
}

fn entries(args: &Args<'_>, index: usize, row: usize) -> Result<Option<Entries>, DataFusionError> {
    let ScalarValue::Map(map) = args.value(index, row)? else { return Ok(None) };
    if map.is_null(0) {
        return Ok(None);
    }
    let rows = map.value(0);
    let pair = |row| {
        Ok((ScalarValue::try_from_array(rows.column(0), row)?, ScalarValue::try_from_array(rows.column(1), row)?))
    };
    (0..rows.len()).map(pair).collect::<Result<_, DataFusionError>>().map(Some)
}

/// What Spark refuses at run time: a null key, or one that stands twice. Here the map is null.
fn sound(entries: &Entries) -> bool {
    let same = |a: &ScalarValue, b: &ScalarValue| order(a, b) == Some(Ordering::Equal);
    entries.iter().enumerate().all(|(i, (key, _))| !key.is_null() && !entries.iter().take(i).any(|(k, _)| same(k, key)))
}

fn map(c: Calling) -> Bound {
    if c.args.is_empty() || c.args.len() % 2 == 1 {
        return Err(Refusal::new("map takes pairs of a key and a value", "write map('a', 1, 'b', 2)"));
    }
    let pick = |odd: usize| c.args.iter().skip(odd).step_by(2).map(|a| &a.kind).collect::<Vec<_>>();
    let key = common_of(pick(0)).ok_or_else(|| no_common("the keys", &c.args))?;
    let value = common_of(pick(1)).ok_or_else(|| no_common("the values", &c.args))?;
    if key.is_null() {
        return Err(Refusal::new("a map has no key that is null", "write another key"));
    }
    let kind = map_of(key.clone(), value.clone());
    let mut args = Vec::new();
    for (index, arg) in c.args.into_iter().enumerate() {
        args.push(arg.to(if index % 2 == 0 { &key } else { &value })?);
    }
    let made = values(move |args, row| {
        let all = (0..args.args.len()).map(|i| args.value(i, row)).collect::<Result<Vec<_>, _>>()?;
        let pairs: Entries =
            all.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.last()?.clone()))).collect();
        if sound(&pairs) { map_value(&pairs, &key, &value) } else { Ok(ScalarValue::Null) }
    });
    Ok(Typed::new(call("map", kind.clone(), args, made), kind))
}

fn from_arrays(c: Calling) -> Bound {
    let (Some(key), Some(value)) = (element_of(&c.kind(0)), element_of(&c.kind(1))) else {
        return Err(c.wrong(0, "an ARRAY, as the other argument"));
    };
    let kind = map_of(key.clone(), value.clone());
    c.make(
        kind,
        &[c.kind(0), c.kind(1)],
        values(move |args, row| {
            let (Some(keys), Some(found)) = (elements(args, 0, row)?, elements(args, 1, row)?) else {
                return Ok(ScalarValue::Null);
            };
            let same_length = keys.len() == found.len();
            let pairs: Entries = keys.into_iter().zip(found).collect();
            if same_length && sound(&pairs) { map_value(&pairs, &key, &value) } else { Ok(ScalarValue::Null) }
        }),
    )
}

fn entry(c: &Calling) -> Result<(DataType, DataType), Refusal> {
    entry_of(&c.kind(0)).ok_or_else(|| c.wrong(0, "a MAP"))
}

fn side(c: Calling, keys: bool) -> Bound {
    let (key, value) = entry(&c)?;
    let element = if keys { key } else { value };
    let map = c.kind(0);
    c.make(
        list_of(element.clone()),
        &[map],
        values(move |args, row| {
            let Some(entries) = entries(args, 0, row)? else { return Ok(ScalarValue::Null) };
            let taken: Vec<ScalarValue> = entries.into_iter().map(|(k, v)| if keys { k } else { v }).collect();
            Ok(ScalarValue::List(ScalarValue::new_list(&taken, &element, true)))
        }),
    )
}

fn map_entries(c: Calling) -> Bound {
    let (key, value) = entry(&c)?;
    let fields = Fields::from(vec![Field::new("key", key, true), Field::new("value", value, true)]);
    let element = DataType::Struct(fields.clone());
    let map = c.kind(0);
    let made = values(move |args, row| {
        let Some(entries) = entries(args, 0, row)? else { return Ok(ScalarValue::Null) };
        let pair = |(k, v): (ScalarValue, ScalarValue)| -> Result<ScalarValue, DataFusionError> {
            let columns = vec![k.to_array_of_size(1)?, v.to_array_of_size(1)?];
            Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields.clone(), columns, None)?)))
        };
        let all = entries.into_iter().map(pair).collect::<Result<Vec<_>, _>>()?;
        Ok(ScalarValue::List(ScalarValue::new_list(&all, &DataType::Struct(fields.clone()), true)))
    });
    c.make(list_of(element), &[map], made)
}

fn contains_key(c: Calling) -> Bound {
    let (key, _) = entry(&c)?;
    let map = c.kind(0);
    c.make(
        DataType::Boolean,
        &[map, key],
        flags(|args, row| {
            let entries = entries(args, 0, row).ok()??;
            let key = args.value(1, row).ok().filter(|k| !k.is_null())?;
            Some(entries.iter().any(|(k, _)| order(k, &key) == Some(Ordering::Equal)))
        }),
    )
}

/// `element_at(map, key)` and `map[key]`.
pub(crate) fn value(c: Calling) -> Bound {
    let (key, value) = entry(&c)?;
    let map = c.kind(0);
    c.make(
        value,
        &[map, key],
        values(|args, row| {
            let key = args.value(1, row)?;
            let entries = entries(args, 0, row)?.unwrap_or_default();
            let found = entries.into_iter().find(|(k, _)| !key.is_null() && order(k, &key) == Some(Ordering::Equal));
            Ok(found.map_or(ScalarValue::Null, |(_, v)| v))
        }),
    )
}

/// `str_to_map(text, ',', ':')`: the separators are patterns; a piece without one has no value.
fn str_to_map(c: Calling) -> Bound {
    let text = |t: &str| ScalarValue::Utf8View(Some(t.to_owned()));
    let c = c.or(1, text(",")).or(2, text(":"));
    let pattern = |index| -> Result<Pattern, Refusal> {
        let text = c.constant_text(index, "a separator")?.unwrap_or_default();
        if text.is_empty() {
            return Err(Refusal::new("a separator of str_to_map is a text", "write ',' or ':'"));
        }
        Pattern::new(&text)
    };
    let (pairs, parts) = (pattern(1)?, pattern(2)?);
    c.make(
        map_of(TEXT, TEXT),
        &[TEXT, TEXT, TEXT],
        values(move |args, row| {
            let Some(text) = args.text(0, row) else { return Ok(ScalarValue::Null) };
            let mut made: Entries = Vec::new();
            let mut last = 0;
            let mut pieces = Vec::new();
            pairs.find_all(text, |found| {
                pieces.push(text.get(last..found.start).unwrap_or_default());
                last = found.end;
                true
            });
            pieces.push(text.get(last..).unwrap_or_default());
            for piece in pieces {
                let (key, value) = match parts.find_at(piece, 0) {
                    Some(found) => (piece.get(..found.start), piece.get(found.end..)),
                    None => (Some(piece), None),
                };
                made.push((
                    ScalarValue::Utf8View(key.map(str::to_owned)),
                    ScalarValue::Utf8View(value.map(str::to_owned)),
                ));
            }
            if sound(&made) { map_value(&made, &TEXT, &TEXT) } else { Ok(ScalarValue::Null) }
        }),
    )
}

fn struct_of(fields: Fields, args: Vec<Expr>) -> Typed {
    let kind = DataType::Struct(fields.clone());
    let made = values(move |args, row| {
        let columns = (0..args.args.len())
            .map(|i| args.value(i, row)?.to_array_of_size(1))
            .collect::<Result<Vec<ArrayRef>, DataFusionError>>()?;
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields.clone(), columns, None)?)))
    });
    Typed::new(call("struct", kind.clone(), args, made), kind)
}

fn named_struct(c: Calling) -> Bound {
    if c.args.len() % 2 == 1 {
        return Err(Refusal::new("named_struct takes pairs of a name and a value", "write named_struct('a', 1)"));
    }
    let mut fields = Vec::new();
    let mut args = Vec::new();
    for index in (0..c.args.len()).step_by(2) {
        let name = c.constant_text(index, "a name")?.unwrap_or_default();
        let value = c.arg(index + 1)?;
        fields.push(Field::new(name, value.kind.clone(), true));
        args.push(value.expr);
    }
    Ok(struct_of(fields.into(), args))
}

/// A column gives its field the name; what has none is `col` with its place.
fn plain_struct(c: Calling) -> Bound {
    let name = |index: usize, arg: &Typed| match &arg.expr {
        Expr::Column(column) => column.name.clone(),
        _ => format!("col{}", index + 1),
    };
    let field = |(index, arg): (usize, &Typed)| Field::new(name(index, arg), arg.kind.clone(), true);
    let fields: Vec<Field> = c.args.iter().enumerate().map(field).collect();
    Ok(struct_of(fields.into(), c.args.into_iter().map(|a| a.expr).collect()))
}
