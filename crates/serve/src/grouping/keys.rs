//! From rows to the numbers of their groups, cheaply where few values repeat: texts of up to twelve bytes and numbers are
//! told apart by one multiplication, without a look at any string, and texts in a dictionary by their place in it.
//!
//! Invariant: equal keys have equal numbers and different keys different ones; numbers count up from 0 without a gap.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, PrimitiveArray, StringArray, StringViewArray,
    StringViewBuilder, UInt64Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, internal_err};
use hashbrown::{DefaultHashBuilder, HashMap};

use super::numbers::Numbers;

/// Texts up to so many bytes lie within their view.
const INLINE_BYTES_MAX: u32 = 12;

/// What the column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Time,
}

/// The distinct values of one column.
#[derive(Debug)]
struct Column {
    kind: Kind,
    data_type: DataType,
    /// Numbers, and texts that lie within their view. A long text and NULL have a value that no row can have.
    numbers: Numbers,
    /// Texts that do not.
    long: HashMap<Box<[u8]>, u32, DefaultHashBuilder>,
    known: Option<Known>,
}

/// The numbers of a dictionary's texts, which its batches share; [`UNKNOWN`] until a row has the text.
#[derive(Debug)]
struct Known {
    texts: ArrayRef,
    numbers: Vec<u32>,
}

const UNKNOWN: u32 = u32::MAX;

/// Marks in a value's upper bits, beside a length that no inline text has, what is no value by itself.
const NULL: u128 = u128::MAX;
const LONG: u128 = 0xFFFF_FFFE;

impl Column {
    fn try_new(data_type: &DataType) -> Option<Self> {
        let kind = match data_type {
            DataType::Utf8View => Kind::Text,
            DataType::Int64 => Kind::Integer,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Kind::Time,
            _ => return None,
        };
        let (numbers, long) = (Numbers::new(), HashMap::default());
        Some(Self { kind, data_type: data_type.clone(), numbers, long, known: None })
    }

    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn bytes(&self) -> usize {
        let long: usize = self.long.keys().map(|key| key.len() + 32).sum();
        let known = self.known.as_ref().map_or(0, |known| known.numbers.len() * 4);
        self.numbers.bytes() + long + known
    }

    /// Numbers the rows of an array, into `into`.
    fn number(&mut self, array: &ArrayRef, into: &mut Vec<u32>) -> Result<()> {
        into.clear();
        into.reserve(array.len());
        match self.kind {
            Kind::Text => match (array.as_string_view_opt(), array.as_dictionary_opt::<Int32Type>()) {
                (Some(texts), _) => self.number_texts(texts, into),
                (None, Some(texts)) => return self.number_dictionary(texts, into),
                (None, None) => return wrong_type(array),
            },
            Kind::Integer => {
                let Some(values) = array.as_primitive_opt::<Int64Type>() else { return wrong_type(array) };
                self.number_integers(values, into);
            }
            Kind::Time => {
                let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else {
                    return wrong_type(array);
                };
                self.number_integers(&times.reinterpret_cast::<Int64Type>(), into);
            }
        }
        Ok(())
    }

    fn number_integers(&mut self, values: &Int64Array, into: &mut Vec<u32>) {
        if values.null_count() == 0 {
            let value = |value: i64| u128::from(value.cast_unsigned());
            return self.numbers.number_all(values.values(), value, into);
        }
        let value = |value: Option<i64>| value.map_or(NULL, |value| u128::from(value.cast_unsigned()));
        into.extend(values.iter().map(|row| self.numbers.number(value(row))));
    }

    fn number_texts(&mut self, texts: &StringViewArray, into: &mut Vec<u32>) {
        let short = |view: &u128| *view as u32 <= INLINE_BYTES_MAX;
        if texts.null_count() == 0 && texts.views().iter().all(short) {
            return self.numbers.number_all(texts.views(), |view| view, into);
        }
        for (row, view) in texts.views().iter().enumerate() {
            into.push(match () {
                () if texts.is_null(row) => self.numbers.number(NULL),
                () if short(view) => self.numbers.number(*view),
                () => self.number_long(texts.value(row).as_bytes()),
            });
        }
    }

    fn number_dictionary(&mut self, rows: &DictionaryArray<Int32Type>, into: &mut Vec<u32>) -> Result<()> {
        let Some(texts) = rows.values().as_string_opt::<i32>() else { return wrong_type(rows.values()) };
        let mut known = match self.known.take() {
            Some(known) if known.is_of(texts) => known,
            _ => Known { texts: Arc::clone(rows.values()), numbers: vec![UNKNOWN; texts.len()] },
        };
        let mut number = |key: i32| {
            let number = known.numbers.get_mut(key as usize);
            match number {
                Some(number) if *number != UNKNOWN => *number,
                Some(number) => {
                    *number = self.number_text(texts.value(key as usize));
                    *number
                }
                None => UNKNOWN,
            }
        };
        let keys = rows.keys();
        if keys.null_count() == 0 {
            into.extend(keys.values().iter().map(|key| number(*key)));
        } else {
            let null = rows.keys().iter();
            let mut numbers = Vec::with_capacity(keys.len());
            numbers.extend(null.map(|key| key.map(&mut number)));
            into.extend(numbers.into_iter().map(|known| known.unwrap_or_else(|| self.numbers.number(NULL))));
        }
        self.known = Some(known);
        Ok(())
    }

    fn number_text(&mut self, text: &str) -> u32 {
        match u32::try_from(text.len()) {
            Ok(length) if length <= INLINE_BYTES_MAX => {
                let mut view = [0; 16];
                let (head, tail) = view.split_at_mut(4);
                head.copy_from_slice(&length.to_le_bytes());
                tail.iter_mut().zip(text.as_bytes()).for_each(|(place, byte)| *place = *byte);
                self.numbers.number(u128::from_le_bytes(view))
            }
            _ => self.number_long(text.as_bytes()),
        }
    }

    fn number_long(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.long.get(text) {
            return *number;
        }
        // Lengths of inline texts are in the lowest 32 bits; these are none.
        let number = self.numbers.number((self.long.len() as u128) << 32 | LONG);
        self.long.insert(text.into(), number);
        number
    }

    /// The distinct values in the order of their numbers.
    fn take(&mut self) -> Result<ArrayRef> {
        let values = self.numbers.take();
        let long = std::mem::take(&mut self.long);
        self.known = None;
        if self.kind != Kind::Text {
            let integers: Int64Array = values.iter().map(|value| (*value != NULL).then_some(*value as i64)).collect();
            return Ok(match &self.data_type {
                DataType::Timestamp(_, zone) => {
                    let times: PrimitiveArray<TimestampMicrosecondType> = integers.reinterpret_cast();
                    Arc::new(times.with_timezone_opt(zone.clone()))
                }
                _ => Arc::new(integers),
            });
        }
        let texts: HashMap<u32, &[u8]> = long.iter().map(|(text, number)| (*number, text.as_ref())).collect();
        let mut built = StringViewBuilder::with_capacity(values.len());
        for (number, value) in values.iter().enumerate() {
            let bytes = value.to_le_bytes();
            let text = match texts.get(&(number as u32)) {
                Some(text) => Some(*text),
                None if *value == NULL => None,
                None => bytes.get(4..4 + (*value as u32).min(INLINE_BYTES_MAX) as usize),
            };
            // They came as texts: what is not UTF-8 cannot be here.
            built.append_option(text.map(|text| std::str::from_utf8(text).unwrap_or_default()));
        }
        Ok(Arc::new(built.finish()))
    }
}

impl Known {
    /// Whether these are its texts. It holds them, so that no others can lie where they do.
    fn is_of(&self, texts: &StringArray) -> bool {
        self.texts.as_string_opt::<i32>().is_some_and(|own| {
            own.len() == texts.len()
                && own.value_data().as_ptr() == texts.value_data().as_ptr()
                && own.value_offsets().as_ptr() == texts.value_offsets().as_ptr()
        })
    }
}

fn wrong_type<T>(array: &ArrayRef) -> Result<T> {
    internal_err!("a key of type {} came where another was planned", array.data_type())
}

/// The groups of one or more key columns.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<Column>,
    /// For the second column and each after it: pairs of the number so far and the column's own.
    pairs: Vec<Numbers>,
    numbers: Vec<u32>,
    others: Vec<u32>,
}

impl Keys {
    /// Keys of these types; `None` when there are others among them.
    pub(super) fn try_new<'a>(types: impl Iterator<Item = &'a DataType>) -> Option<Self> {
        let columns: Vec<Column> = types.map(Column::try_new).collect::<Option<_>>()?;
        let pairs = columns.iter().skip(1).map(|_| Numbers::new()).collect();
        (!columns.is_empty()).then_some(Self { columns, pairs, numbers: Vec::new(), others: Vec::new() })
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        match self.pairs.last() {
            Some(pairs) => pairs.len(),
            None => self.columns.first().map_or(0, Column::len),
        }
    }

    /// The largest number of values that any of its parts holds.
    pub(super) fn largest(&self) -> usize {
        let columns = self.columns.iter().map(Column::len);
        columns.chain(self.pairs.iter().map(|pairs| pairs.len())).max().unwrap_or(0)
    }

    /// Memory in use.
    pub(super) fn bytes(&self) -> usize {
        let pairs: usize = self.pairs.iter().map(Numbers::bytes).sum();
        self.columns.iter().map(Column::bytes).sum::<usize>() + pairs
    }

    /// The group of each row, into `groups`.
    pub(super) fn number(&mut self, arrays: &[ArrayRef], groups: &mut Vec<usize>) -> Result<()> {
        let Self { columns, pairs, numbers, others } = self;
        let mut arrays = columns.iter_mut().zip(arrays);
        if let Some((column, array)) = arrays.next() {
            column.number(array, numbers)?;
        }
        for ((column, array), pairs) in arrays.zip(pairs) {
            column.number(array, others)?;
            for (number, other) in numbers.iter_mut().zip(others.iter()) {
                *number = pairs.number(u128::from(*number) << 32 | u128::from(*other));
            }
        }
        groups.clear();
        groups.extend(numbers.iter().map(|number| *number as usize));
        Ok(())
    }

    /// The key columns of all groups, in the order of their numbers; nothing is left.
    pub(super) fn take(&mut self) -> Result<Vec<ArrayRef>> {
        let mut taken = Vec::with_capacity(self.columns.len());
        let Some((first, rest)) = self.columns.split_first_mut() else { return Ok(taken) };
        let pairs: Vec<Vec<u128>> = self.pairs.iter_mut().map(Numbers::take).collect();
        // From the last column to the first: each pair leads to the column's value and to the pair before it.
        let mut groups: Option<Vec<u64>> = None;
        for (column, pairs) in rest.iter_mut().zip(&pairs).rev() {
            let wanted = groups.unwrap_or_else(|| (0..pairs.len() as u64).collect());
            let pair = |group: &u64| pairs.get(*group as usize).copied().unwrap_or_default();
            let own: UInt64Array = wanted.iter().map(|group| u64::from(pair(group) as u32)).collect();
            taken.push(take(&column.take()?, &own, None)?);
            groups = Some(wanted.iter().map(|group| (pair(group) >> 32) as u64).collect());
        }
        let values = first.take()?;
        taken.push(match groups {
            Some(groups) => take(&values, &UInt64Array::from(groups), None)?,
            None => values,
        });
        taken.reverse();
        Ok(taken)
    }
}
