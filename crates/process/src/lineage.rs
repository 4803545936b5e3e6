//! A set of rows by where they come from: topic, partition and offset of the record that made them.
//!
//! What is to be made again is named by it, and found in files by their statistics. Rows that follow one another are one
//! span, so that a whole delivery costs as much as one row. Invariant: a set has a row if and only if it was added.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use vitalake_lake::DataFile;

use crate::error::{Error, Result};

/// Spans that are held before they are joined.
const LOOSE_MAX: usize = 1 << 16;

/// The columns that say where a row comes from.
pub(crate) const PLACE: [&str; 3] = ["_topic", "_partition", "_offset"];

/// First and last offsets.
type Spans = Vec<(i64, i64)>;

/// Rows by where they come from. Null is a place of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineages {
    topics: Vec<Option<String>>,
    /// First and last offset, in order and apart, of each topic (by its number) and partition.
    spans: BTreeMap<(usize, Option<i32>), Spans>,
    /// Not joined yet.
    loose: Vec<(usize, Option<i32>, i64)>,
}

/// An offset that no record has stands for none.
const NO_OFFSET: i64 = i64::MIN;

impl Lineages {
    /// Adds the rows of a batch.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let places = Places::of(rows)?;
        let mut last: Option<(Option<&str>, usize)> = None;
        for row in 0..rows.num_rows() {
            let (topic, partition, offset) = places.at(row);
            let number = match last {
                Some((known, number)) if known == topic => number,
                _ => self.number(topic),
            };
            last = Some((topic, number));
            self.loose.push((number, partition, offset));
        }
        if self.loose.len() >= LOOSE_MAX {
            self.settle();
        }
        Ok(())
    }

    fn number(&mut self, topic: Option<&str>) -> usize {
        self.topics.iter().position(|known| known.as_deref() == topic).unwrap_or_else(|| {
            self.topics.push(topic.map(str::to_owned));
            self.topics.len() - 1
        })
    }

    /// Joins what follows one another; to be called before the set is asked.
    pub(crate) fn settle(&mut self) {
        let mut by_partition: BTreeMap<_, Vec<(i64, i64)>> = BTreeMap::new();
        for (topic, partition, offset) in self.loose.drain(..) {
            by_partition.entry((topic, partition)).or_default().push((offset, offset));
        }
        for (place, loose) in by_partition {
            let spans = self.spans.entry(place).or_default();
            spans.extend(loose);
            join(spans);
        }
    }

    /// Adds another set, which may count topics in another order.
    pub(crate) fn extend(&mut self, other: &Self) {
        for ((topic, partition), spans) in &other.spans {
            let topic = self.number(other.topics.get(*topic).and_then(Option::as_deref));
            self.spans.entry((topic, *partition)).or_default().extend(spans);
        }
        self.spans.values_mut().for_each(join);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.loose.is_empty()
    }

    /// How many spans are held: what the set costs.
    pub(crate) fn spans(&self) -> usize {
        self.spans.values().map(Vec::len).sum::<usize>() + self.loose.len()
    }

    /// Which rows of a batch are in the set.
    pub(crate) fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let places = Places::of(rows)?;
        let number = |topic: Option<&str>| self.topics.iter().position(|known| known.as_deref() == topic);
        let mut last: Option<(Option<&str>, Option<usize>)> = None;
        let is_in = |row: usize| {
            let (topic, partition, offset) = places.at(row);
            let found = match last {
                Some((known, found)) if known == topic => found,
                _ => number(topic),
            };
            last = Some((topic, found));
            let spans = found.and_then(|topic| self.spans.get(&(topic, partition)));
            Some(spans.is_some_and(|spans| holds(spans, offset, offset)))
        };
        Ok((0..rows.num_rows()).map(is_in).collect())
    }

    /// Whether a file may hold rows of the set, by its statistics.
    pub(crate) fn may_be_in(&self, file: &DataFile) -> bool {
        let Some(stats) = file.stats() else { return true };
        let bounds = |name: &str, kind: &DataType| {
            let known = stats.null_count(name) == Some(0);
            known.then(|| stats.min(name, kind).zip(stats.max(name, kind))).flatten()
        };
        let partitions = match bounds("_partition", &DataType::Int32) {
            Some((ScalarValue::Int32(Some(first)), ScalarValue::Int32(Some(last)))) => (first, last),
            _ => return true,
        };
        let offsets = match bounds("_offset", &DataType::Int64) {
            Some((ScalarValue::Int64(Some(first)), ScalarValue::Int64(Some(last)))) => (first, last),
            _ => return true,
        };
        let of_partition = |partition: &Option<i32>| {
            partition.is_some_and(|partition| partition >= partitions.0 && partition <= partitions.1)
        };
        let mut spans = self.spans.iter().filter(|((_, partition), _)| of_partition(partition));
        spans.any(|(_, spans)| holds(spans, offsets.0, offsets.1))
    }

    /// The set in pieces of so many rows at most.
    pub(crate) fn pieces(self, rows_max: i64) -> Vec<Self> {
        let Self { topics, spans, .. } = self;
        let empty = || Self { topics: topics.clone(), ..Self::default() };
        let (mut pieces, mut open, mut room) = (Vec::new(), empty(), rows_max);
        for (place, spans) in spans {
            for (mut from, to) in spans {
                loop {
                    let end = to.min(from.saturating_add(room - 1));
                    open.spans.entry(place).or_default().push((from, end));
                    room -= end.saturating_sub(from).saturating_add(1);
                    if room <= 0 {
                        pieces.push(std::mem::replace(&mut open, empty()));
                        room = rows_max;
                    }
                    if end == to {
                        break;
                    }
                    from = end + 1;
                }
            }
        }
        if !open.is_empty() {
            pieces.push(open);
        }
        pieces
    }
}

/// Puts spans in order, and makes one of those that meet.
fn join(spans: &mut Spans) {
    spans.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
    for (from, to) in spans.drain(..) {
        match joined.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = (*end).max(to),
            _ => joined.push((from, to)),
        }
    }
    *spans = joined;
}

/// Whether spans hold any offset from one to another.
fn holds(spans: &[(i64, i64)], from: i64, to: i64) -> bool {
    let next = spans.partition_point(|(_, end)| *end < from);
    spans.get(next).is_some_and(|(start, _)| *start <= to)
}

/// The columns of a batch that say where its rows come from.
struct Places<'a> {
    topics: &'a arrow::array::StringViewArray,
    partitions: &'a arrow::array::Int32Array,
    offsets: &'a arrow::array::Int64Array,
}

impl<'a> Places<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self> {
        let missing = |name: &str| Error::Columns {
            what: "rows to find again".to_owned(),
            detail: format!("there is no {name}"),
        };
        let [topic, partition, offset] = PLACE;
        Ok(Self {
            topics: rows.column_by_name(topic).and_then(|c| c.as_string_view_opt()).ok_or_else(|| missing(topic))?,
            partitions: rows
                .column_by_name(partition)
                .and_then(|c| c.as_primitive_opt::<Int32Type>())
                .ok_or_else(|| missing(partition))?,
            offsets: rows
                .column_by_name(offset)
                .and_then(|c| c.as_primitive_opt::<Int64Type>())
                .ok_or_else(|| missing(offset))?,
        })
    }

    fn at(&self, row: usize) -> (Option<&'a str>, Option<i32>, i64) {
        let topic = self.topics.is_valid(row).then(|| self.topics.value(row));
        let partition = self.partitions.is_valid(row).then(|| self.partitions.value(row));
        let offset = if self.offsets.is_valid(row) { self.offsets.value(row) } else { NO_OFFSET };
        (topic, partition, offset)
    }
}
