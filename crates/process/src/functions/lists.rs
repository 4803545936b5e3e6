//! More of arrays: one made of a range, of several, of the entries of a map; and whether two have a member in common.
//!
//! A part of the table of functions, beside `arrays`. Invariant: no call makes more elements than the limit; it fails.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use crate::functions::arrays::{ELEMENTS_MAX, elements, holds, list_value};
use crate::functions::bind::{Bound, Refusal, Typed, no_common};
use crate::functions::call::{flags, too_large, values};
use crate::functions::kinds::{element_of, is_integer, list_of, wider};
use crate::functions::math::order;
use crate::functions::table::{Calling, Function, function};

const I: DataType = DataType::Int32;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("array_insert", 3, 3, insert),
    function("array_sort", 1, 1, sort),
    function("arrays_overlap", 2, 2, overlap),
    function("flatten", 1, 1, flatten),
    function("sequence", 2, 3, sequence),
];

/// Nulls stand at the end, unlike those of `sort_array`.
fn sort(c: Calling) -> Bound {
    let element = element_of(&c.kind(0)).ok_or_else(|| c.wrong(0, "an ARRAY"))?;
    let kind = c.kind(0);
    let made = values(move |args, row| {
        let Some(mut list) = elements(args, 0, row)? else { return Ok(ScalarValue::Null) };
        list.sort_by(|a, b| match (a.is_null(), b.is_null()) {
            (false, false) => order(a, b).unwrap_or(Ordering::Equal),
            (a, b) => a.cmp(&b),
        });
        Ok(list_value(&list, &element))
    });
    c.make(kind.clone(), &[kind], made)
}

fn flatten(c: Calling) -> Bound {
    let inner = element_of(&c.kind(0)).filter(|inner| element_of(inner).is_some());
    let inner = inner.ok_or_else(|| c.wrong(0, "an ARRAY of ARRAYs"))?;
    let element = element_of(&inner).unwrap_or(DataType::Null);
    let kind = c.kind(0);
    let made = values(move |args, row| {
        let Some(lists) = elements(args, 0, row)? else { return Ok(ScalarValue::Null) };
        let mut made = Vec::new();
        for list in lists {
            let ScalarValue::List(list) = list else { return Ok(ScalarValue::Null) };
            if arrow::array::Array::is_null(list.as_ref(), 0) {
                return Ok(ScalarValue::Null);
            }
            let inner = list.value(0);
            for row in 0..inner.len() {
                made.push(ScalarValue::try_from_array(&inner, row)?);
            }
        }
        if made.len() > ELEMENTS_MAX { Err(too_large()) } else { Ok(list_value(&made, &element)) }
    });
    c.make(inner, &[kind], made)
}

/// Null where nothing is in common and a null is among the members.
fn overlap(c: Calling) -> Bound {
    let kind = wider(&c.kind(0), &c.kind(1)).filter(|k| element_of(k).is_some());
    let kind = kind.ok_or_else(|| no_common(c.name, &c.args))?;
    let made = flags(|args, row| {
        let (a, b) = (elements(args, 0, row).ok()??, elements(args, 1, row).ok()??);
        if a.iter().any(|v| !v.is_null() && holds(&b, v)) {
            return Some(true);
        }
        let null = |list: &[ScalarValue]| list.iter().any(ScalarValue::is_null);
        let unknown = !a.is_empty() && !b.is_empty() && (null(&a) || null(&b));
        (!unknown).then_some(false)
    });
    c.make(DataType::Boolean, &[kind.clone(), kind], made)
}

/// Before a place from the start, after one from the end; past the ends nulls fill the gap.
fn insert(c: Calling) -> Bound {
    let element = element_of(&c.kind(0)).ok_or_else(|| c.wrong(0, "an ARRAY"))?;
    let element = wider(&element, &c.kind(2)).ok_or_else(|| no_common(c.name, &c.args))?;
    if matches!(c.arg(1)?.literal(), Some(ScalarValue::Int32(Some(0)))) {
        return Err(Refusal::new("array_insert counts from 1", "write 1 for the first place"));
    }
    let kind = list_of(element.clone());
    let inner = element.clone();
    let made = values(move |args, row| {
        let (Some(mut list), Some(place)) = (elements(args, 0, row)?, args.int(1, row)) else {
            return Ok(ScalarValue::Null);
        };
        let value = args.value(2, row)?;
        let null = ScalarValue::try_from(&inner)?;
        let size = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
        if place == 0 {
            return Ok(ScalarValue::Null);
        }
        if size > ELEMENTS_MAX {
            return Err(too_large());
        }
        if place > 0 {
            while list.len() < size - 1 {
                list.push(null.clone());
            }
            list.insert(size - 1, value);
        } else if size <= list.len() + 1 {
            list.insert(list.len() + 1 - size, value);
        } else {
            while list.len() < size - 1 {
                list.insert(0, null.clone());
            }
            list.insert(0, value);
        }
        Ok(list_value(&list, &inner))
    });
    c.make(kind.clone(), &[kind, I, element], made)
}

/// Integers from one to another, both with.
fn sequence(c: Calling) -> Bound {
    let kind = wider(&c.kind(0), &c.kind(1)).filter(is_integer);
    let Some(kind) = kind else {
        return Err(Refusal::new("sequence is of integers here", "use date_add(d, n) for dates"));
    };
    if c.args.len() == 3 && !is_integer(&c.kind(2)) {
        return Err(c.wrong(2, "an integer"));
    }
    let long = DataType::Int64;
    let made = values(|args, row| {
        let (Some(from), Some(to)) = (args.long(0, row), args.long(1, row)) else { return Ok(ScalarValue::Null) };
        let step = if args.args.len() > 2 { args.long(2, row) } else { Some(if from <= to { 1 } else { -1 }) };
        let Some(step) = step else { return Ok(ScalarValue::Null) };
        let away = (to > from && step < 0) || (to < from && step > 0) || (step == 0 && from != to);
        let count = if step == 0 { 0 } else { (i128::from(to) - i128::from(from)) / i128::from(step) };
        if away {
            return Ok(ScalarValue::Null);
        }
        if !usize::try_from(count).is_ok_and(|count| count < ELEMENTS_MAX) {
            return Err(too_large());
        }
        let count = i64::try_from(count).unwrap_or(0);
        let all: Vec<ScalarValue> = (0..=count).map(|i| ScalarValue::Int64(Some(from + i * step))).collect();
        Ok(list_value(&all, &DataType::Int64))
    });
    let made = c.make(list_of(long.clone()), &[long.clone(), long.clone(), long], made)?;
    let list = list_of(kind);
    Ok(Typed::new(made.to(&list)?, list))
}
