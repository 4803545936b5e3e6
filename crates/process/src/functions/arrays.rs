//! Arrays: made, searched, sorted, joined; value by value, since a model seldom holds them.
//!
//! A part of the table of functions. Invariant: an index outside of an array is null.

use std::cmp::Ordering;

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};

use crate::functions::bind::{Bound, Refusal, Typed, no_common};
use crate::functions::call::{Args, VALUE_BYTES_MAX, call, flags, texts, too_large, values};
use crate::functions::kinds::{TEXT, common, common_of, element_of, entry_of, list_of, wider};
use crate::functions::math::{ints, order};
use crate::functions::show;
use crate::functions::table::{Calling, Function, MANY, function};

const I: DataType = DataType::Int32;
/// The most elements that one call may make.
pub(crate) const ELEMENTS_MAX: usize = 100_000;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("array", 0, MANY, array),
    function("array_append", 2, 2, |c| {
        with_element(c, |mut list, one| {
            list.push(one);
            list
        })
    }),
    function("array_compact", 1, 1, |c| changed(c, |list| list.into_iter().filter(|v| !v.is_null()).collect())),
    function("array_contains", 2, 2, contains),
    function("array_distinct", 1, 1, |c| changed(c, distinct)),
    function("array_except", 2, 2, |c| {
        two_lists(c, |a, b| distinct(a).into_iter().filter(|v| !holds(&b, v)).collect())
    }),
    function("array_intersect", 2, 2, |c| {
        two_lists(c, |a, b| distinct(a).into_iter().filter(|v| holds(&b, v)).collect())
    }),
    function("array_join", 2, 3, join),
    function("array_max", 1, 1, |c| best(c, Ordering::Greater)),
    function("array_min", 1, 1, |c| best(c, Ordering::Less)),
    function("array_position", 2, 2, position),
    function("array_prepend", 2, 2, |c| {
        with_element(c, |mut list, one| {
            list.insert(0, one);
            list
        })
    }),
    function("array_remove", 2, 2, remove),
    function("array_repeat", 2, 2, repeat),
    function("array_size", 1, 1, size),
    function("array_union", 2, 2, |c| {
        two_lists(c, |mut a, b| {
            a.extend(b);
            distinct(a)
        })
    }),
    function("cardinality", 1, 1, size),
    function("element_at", 2, 2, |c| element(c, false)),
    function("get", 2, 2, |c| element(c, true)),
    function("size", 1, 1, size),
    function("slice", 3, 3, slice),
    function("sort_array", 1, 2, sort),
    function("try_element_at", 2, 2, |c| element(c, false)),
];

/// A list of texts as a value.
pub(crate) fn text_array(texts: &[Option<String>]) -> ScalarValue {
    let values: Vec<ScalarValue> = texts.iter().map(|t| ScalarValue::Utf8View(t.clone())).collect();
    list_value(&values, &TEXT)
}

pub(crate) fn list_value(values: &[ScalarValue], element: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list(values, element, true))
}

/// The elements of a list; `None` where it is null.
pub(crate) fn elements(args: &Args<'_>, index: usize, row: usize) -> Result<Option<Vec<ScalarValue>>, DataFusionError> {
    let ScalarValue::List(list) = args.value(index, row)? else { return Ok(None) };
    if list.is_null(0) {
        return Ok(None);
    }
    let values = list.value(0);
    (0..values.len()).map(|row| ScalarValue::try_from_array(&values, row)).collect::<Result<_, _>>().map(Some)
}

fn same(a: &ScalarValue, b: &ScalarValue) -> bool {
    match (a.is_null(), b.is_null()) {
        (false, false) => order(a, b) == Some(Ordering::Equal),
        (a, b) => a && b,
    }
}

pub(crate) fn holds(list: &[ScalarValue], value: &ScalarValue) -> bool {
    list.iter().any(|v| same(v, value))
}

fn distinct(list: Vec<ScalarValue>) -> Vec<ScalarValue> {
    let mut made: Vec<ScalarValue> = Vec::new();
    for value in list {
        if !holds(&made, &value) {
            // Of two noughts there is one, and it has no sign.
            made.push(match value {
                ScalarValue::Float64(Some(0.0)) => ScalarValue::Float64(Some(0.0)),
                ScalarValue::Float32(Some(0.0)) => ScalarValue::Float32(Some(0.0)),
                other => other,
            });
        }
    }
    made
}

fn list_element(c: &Calling, index: usize) -> Result<DataType, Refusal> {
    element_of(&c.kind(index)).ok_or_else(|| c.wrong(index, "an ARRAY"))
}

fn array(c: Calling) -> Bound {
    let element = common_of(c.args.iter().map(|a| &a.kind)).ok_or_else(|| no_common("array", &c.args))?;
    let kind = list_of(element.clone());
    if c.args.is_empty() {
        return Ok(Typed::new(datafusion::logical_expr::lit(list_value(&[], &element)), kind));
    }
    let args = c.args.into_iter().map(|a| a.to(&element)).collect::<Result<Vec<_>, _>>()?;
    let made = values(move |args, row| {
        let values = (0..args.args.len()).map(|i| args.value(i, row)).collect::<Result<Vec<_>, _>>()?;
        Ok(list_value(&values, &element))
    });
    Ok(Typed::new(call("array", kind.clone(), args, made), kind))
}

fn changed(c: Calling, make: fn(Vec<ScalarValue>) -> Vec<ScalarValue>) -> Bound {
    let element = list_element(&c, 0)?;
    let kind = c.kind(0);
    c.make(
        kind.clone(),
        &[kind],
        values(move |args, row| {
            let Some(list) = elements(args, 0, row)? else { return Ok(ScalarValue::Null) };
            Ok(list_value(&make(list), &element))
        }),
    )
}

fn two_lists(c: Calling, make: fn(Vec<ScalarValue>, Vec<ScalarValue>) -> Vec<ScalarValue>) -> Bound {
    let element = common(&list_element(&c, 0)?, &list_element(&c, 1)?).ok_or_else(|| no_common(c.name, &c.args))?;
    let kind = list_of(element.clone());
    c.make(
        kind.clone(),
        &[kind.clone(), kind],
        values(move |args, row| match (elements(args, 0, row)?, elements(args, 1, row)?) {
            (Some(a), Some(b)) => Ok(list_value(&make(a, b), &element)),
            _ => Ok(ScalarValue::Null),
        }),
    )
}

/// The list and one more value in their common type.
fn with_one(c: Calling) -> Result<(Calling, DataType), Refusal> {
    let element = list_element(&c, 0)?;
    let one = c.kind(1);
    let element = wider(&element, &one).ok_or_else(|| no_common(c.name, &c.args))?;
    let kind = list_of(element.clone());
    let list = Typed::new(c.arg(0)?.to(&kind)?, kind);
    let value = Typed::new(c.arg(1)?.to(&element)?, element.clone());
    Ok((Calling::new(c.name, vec![list, value]), element))
}

fn with_element(c: Calling, make: fn(Vec<ScalarValue>, ScalarValue) -> Vec<ScalarValue>) -> Bound {
    let (c, element) = with_one(c)?;
    let kind = list_of(element.clone());
    c.make(
        kind.clone(),
        &[kind, element.clone()],
        values(move |args, row| {
            let Some(list) = elements(args, 0, row)? else { return Ok(ScalarValue::Null) };
            Ok(list_value(&make(list, args.value(1, row)?), &element))
        }),
    )
}

/// Null where it is not found and a null is among the elements.
fn contains(c: Calling) -> Bound {
    if c.kind(1).is_null() {
        return Err(c.wrong(1, "a value"));
    }
    let (c, element) = with_one(c)?;
    c.make(
        DataType::Boolean,
        &[list_of(element.clone()), element],
        flags(|args, row| {
            let list = elements(args, 0, row).ok()??;
            let value = args.value(1, row).ok().filter(|v| !v.is_null())?;
            let found = list.iter().any(|v| !v.is_null() && same(v, &value));
            if !found && list.iter().any(ScalarValue::is_null) { None } else { Some(found) }
        }),
    )
}

fn position(c: Calling) -> Bound {
    let (c, element) = with_one(c)?;
    let made = crate::functions::call::numbers::<arrow::datatypes::Int64Type, _>(|args, row| {
        let list = elements(args, 0, row).ok()??;
        let value = args.value(1, row).ok().filter(|v| !v.is_null())?;
        let at = list.iter().position(|v| !v.is_null() && same(v, &value));
        i64::try_from(at.map_or(0, |at| at + 1)).ok()
    });
    c.make(DataType::Int64, &[list_of(element.clone()), element], made)
}

fn remove(c: Calling) -> Bound {
    let (c, element) = with_one(c)?;
    let kind = list_of(element.clone());
    c.make(
        kind.clone(),
        &[kind, element.clone()],
        values(move |args, row| {
            let Some(list) = elements(args, 0, row)? else { return Ok(ScalarValue::Null) };
            let value = args.value(1, row)?;
            if value.is_null() {
                return Ok(ScalarValue::Null);
            }
            let kept: Vec<ScalarValue> = list.into_iter().filter(|v| v.is_null() || !same(v, &value)).collect();
            Ok(list_value(&kept, &element))
        }),
    )
}

fn repeat(c: Calling) -> Bound {
    let element = c.kind(0);
    let kind = list_of(element.clone());
    c.make(
        kind,
        &[element.clone(), I],
        values(move |args, row| {
            let Some(times) = args.int(1, row) else { return Ok(ScalarValue::Null) };
            let times = usize::try_from(times).unwrap_or(0);
            let value = args.value(0, row)?;
            if times > ELEMENTS_MAX || times.saturating_mul(value.size()) > VALUE_BYTES_MAX {
                return Err(too_large());
            }
            Ok(list_value(&vec![value; times], &element))
        }),
    )
}

fn join(c: Calling) -> Bound {
    list_element(&c, 0)?;
    let list = list_of(TEXT);
    c.make(
        TEXT,
        &[list, TEXT, TEXT],
        texts(|args, row| {
            let list = elements(args, 0, row).ok()??;
            let separator = args.text(1, row)?;
            let missing = if args.args.len() > 2 { Some(args.text(2, row)?) } else { None };
            let pieces: Vec<String> = list
                .iter()
                .filter_map(|v| if v.is_null() { missing.map(str::to_owned) } else { Some(show::text(v)) })
                .collect();
            Some(pieces.join(separator))
        }),
    )
}

fn best(c: Calling, wanted: Ordering) -> Bound {
    let element = list_element(&c, 0)?;
    let kind = c.kind(0);
    c.make(
        element,
        &[kind],
        values(move |args, row| {
            let list = elements(args, 0, row)?.unwrap_or_default();
            let best = list
                .into_iter()
                .filter(|v| !v.is_null())
                .reduce(|best, v| if order(&v, &best) == Some(wanted) { v } else { best });
            Ok(best.unwrap_or(ScalarValue::Null))
        }),
    )
}

fn sort(c: Calling) -> Bound {
    let c = c.or(1, ScalarValue::Boolean(Some(true)));
    let element = list_element(&c, 0)?;
    let kind = c.kind(0);
    c.make(
        kind.clone(),
        &[kind, DataType::Boolean],
        values(move |args, row| {
            let (Some(mut list), Some(rising)) = (elements(args, 0, row)?, args.flag(1, row)) else {
                return Ok(ScalarValue::Null);
            };
            list.sort_by(|a, b| match (a.is_null(), b.is_null()) {
                (false, false) => order(a, b).unwrap_or(Ordering::Equal),
                (a, b) => b.cmp(&a),
            });
            if !rising {
                list.reverse();
            }
            Ok(list_value(&list, &element))
        }),
    )
}

/// The number of elements of an array or a map.
fn size(c: Calling) -> Bound {
    let kind = c.kind(0);
    if element_of(&kind).is_none() && entry_of(&kind).is_none() {
        return Err(c.wrong(0, "an ARRAY or a MAP"));
    }
    // The old `size` of null is -1; with ANSI off it still is.
    let of_null = if c.name == "array_size" { None } else { Some(-1) };
    c.make(
        I,
        &[kind],
        ints(move |args, row| match args.value(0, row).ok()? {
            ScalarValue::List(list) if list.is_valid(0) => i32::try_from(list.value(0).len()).ok(),
            ScalarValue::Map(map) if map.is_valid(0) => i32::try_from(map.value(0).len()).ok(),
            _ => of_null,
        }),
    )
}

/// An element by its place: from nought, or from one and from the end.
fn element(c: Calling, from_zero: bool) -> Bound {
    if entry_of(&c.kind(0)).is_some() && !from_zero {
        return crate::functions::maps::value(c);
    }
    let element = list_element(&c, 0)?;
    if !from_zero && matches!(c.arg(1)?.literal(), Some(ScalarValue::Int32(Some(0)))) {
        return Err(Refusal::new("element_at counts from 1", "write 1 for the first element, or array[0]"));
    }
    let kind = c.kind(0);
    c.make(
        element,
        &[kind, I],
        values(move |args, row| {
            let (Some(list), Some(index)) = (elements(args, 0, row)?, args.int(1, row)) else {
                return Ok(ScalarValue::Null);
            };
            let at = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            let found = match index {
                i if from_zero => usize::try_from(i).ok().and_then(|at| list.get(at)),
                i if i > 0 => list.get(at - 1),
                0 => None,
                _ => list.iter().rev().nth(at - 1),
            };
            Ok(found.cloned().unwrap_or(ScalarValue::Null))
        }),
    )
}

fn slice(c: Calling) -> Bound {
    let element = list_element(&c, 0)?;
    let kind = c.kind(0);
    c.make(
        kind.clone(),
        &[kind, I, I],
        values(move |args, row| {
            let (Some(list), Some(start), Some(length)) = (elements(args, 0, row)?, args.int(1, row), args.int(2, row))
            else {
                return Ok(ScalarValue::Null);
            };
            let size = i64::try_from(list.len()).unwrap_or(i64::MAX);
            if start == 0 || length < 0 {
                return Ok(ScalarValue::Null);
            }
            let from = if start > 0 { i64::from(start) - 1 } else { size + i64::from(start) };
            if from < 0 || from >= size {
                return Ok(list_value(&[], &element));
            }
            let from = usize::try_from(from).unwrap_or(0);
            let taken: Vec<ScalarValue> =
                list.into_iter().skip(from).take(usize::try_from(length).unwrap_or(0)).collect();
            Ok(list_value(&taken, &element))
        }),
    )
}

/// `concat` of arrays.
pub(crate) fn concat(c: Calling) -> Bound {
    let kind = common_of(c.args.iter().map(|a| &a.kind)).ok_or_else(|| no_common("concat", &c.args))?;
    let element = element_of(&kind).ok_or_else(|| no_common("concat", &c.args))?;
    let wants = vec![kind.clone(); c.args.len()];
    c.make(
        kind,
        &wants,
        values(move |args, row| {
            let mut made = Vec::new();
            for index in 0..args.args.len() {
                let Some(list) = elements(args, index, row)? else { return Ok(ScalarValue::Null) };
                made.extend(list);
            }
            Ok(list_value(&made, &element))
        }),
    )
}

/// `reverse` of an array.
pub(crate) fn reverse(c: Calling) -> Bound {
    changed(c, |mut list| {
        list.reverse();
        list
    })
}

/// `array[index]`, from nought.
pub(crate) fn at(list: Typed, index: Typed) -> Bound {
    element(Calling::new("get", vec![list, index]), true)
}
