//! A batch while it is filled: columns, positions, rescued fields and rejects; and the step that makes it [`Decoded`].
//!
//! Decoders begin a record, push its values and then keep it or abandon it; the rules are checked once for all rows.
//! Invariant: every record that was begun is one row or one reject, and a reject has the record's bytes.

use std::ops::Range;

use vitalake_contract::ColumnType;
use vitalake_contract::quarantine::BrokenRule;
use vitalake_contract::time_format::{TimeFormat, is_time, parse_iso_date, parse_rfc3339};

use super::RecordMeta;
use super::columns::{ColumnBuffer, Span, Values};
use super::envelope::{self, Envelopes};
use super::plan::Plan;
use super::rescue::Rescued;

/// A record that became no row.
#[derive(Debug)]
pub(super) struct Reject {
    /// How many rows were kept before it.
    pub(super) row: usize,
    /// Its bytes in `reject_bytes`; none where the record had no value.
    pub(super) raw: Option<Range<usize>>,
    /// Its key and headers.
    pub(super) envelope: envelope::Span,
    /// Its position.
    pub(super) meta: RecordMeta,
    /// The rules that it breaks, at least one.
    pub(super) broken: Vec<BrokenRule>,
}

/// The rows and rejects since the last finish.
#[derive(Debug)]
pub(super) struct RowBuffer {
    /// The contract's columns.
    pub(super) columns: Vec<ColumnBuffer>,
    /// How many values the record that was begun has so far.
    pub(super) pushed: usize,
    /// The rows' positions.
    pub(super) metas: Vec<RecordMeta>,
    /// The rows' records, one after the other, or the part of a file that they stand in.
    pub(super) records: String,
    /// Where each row's record stands in `records`.
    pub(super) places: Vec<Range<usize>>,
    /// Texts whose escapes were undone.
    pub(super) beside: String,
    /// What the records carry beside their values.
    pub(super) envelopes: Envelopes,
    /// What the contract does not name or could not read.
    pub(super) rescued: Rescued,
    /// Row and column of every value of the wrong type, in order.
    pub(super) wrong: Vec<(usize, u16)>,
    /// Whether any row ever had a field of the contract.
    pub(super) met_fields: bool,
    /// What became no row.
    pub(super) rejects: Vec<Reject>,
    /// The rejects' bytes.
    pub(super) reject_bytes: Vec<u8>,
    beside_kept: usize,
    /// What stands in `_headers` of every reject: of a CSV the line that says how its lines are read.
    pub(super) reject_headers: Option<String>,
    /// Whether records are rows of a typed file, written as JSON: their texts are in the standard's forms, whatever the
    /// contract's, and a text column takes a number as it stands.
    pub(super) was_typed: bool,
}

impl RowBuffer {
    /// An empty batch.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            columns: plan.contract.columns.iter().map(|c| ColumnBuffer::new(&c.kind)).collect(),
            pushed: 0,
            metas: Vec::new(),
            records: String::new(),
            places: Vec::new(),
            beside: String::new(),
            envelopes: Envelopes::default(),
            rescued: Rescued::default(),
            wrong: Vec::new(),
            met_fields: false,
            rejects: Vec::new(),
            reject_bytes: Vec::new(),
            beside_kept: 0,
            reject_headers: None,
            was_typed: false,
        }
    }

    /// The row that is being filled.
    #[inline(always)]
    pub(super) fn row(&self) -> usize {
        self.metas.len()
    }

    /// How many records were kept or rejected.
    pub(super) fn taken(&self) -> usize {
        self.metas.len() + self.rejects.len()
    }

    /// How many bytes of records are held.
    pub(super) fn bytes(&self) -> usize {
        self.records.len() + self.beside.len() + self.rescued.bytes() + self.envelopes.bytes() + self.reject_bytes.len()
    }

    /// Keeps the record that was begun: columns without a value are null.
    #[inline]
    pub(super) fn keep(&mut self, record: &str, meta: RecordMeta) {
        let start = self.records.len();
        self.records.push_str(record);
        self.keep_at(start..self.records.len(), meta);
    }

    /// Keeps the record that was begun, whose bytes are those of `records`.
    #[inline]
    pub(super) fn keep_at(&mut self, place: Range<usize>, meta: RecordMeta) {
        let row = self.row();
        if self.pushed < self.columns.len() {
            for column in self.columns.iter_mut().filter(|c| c.len() == row) {
                column.push_null();
            }
        }
        self.met_fields |= self.pushed > 0;
        self.pushed = 0;
        self.rescued.keep(row);
        self.envelopes.keep(row);
        self.places.push(place);
        self.beside_kept = self.beside.len();
        self.metas.push(meta);
    }

    /// Takes back what the record that was begun has pushed, and rejects it.
    #[cold]
    pub(super) fn abandon(&mut self, value: Option<&[u8]>, meta: RecordMeta, rule: &str, reason: String) {
        let row = self.row();
        self.columns.iter_mut().filter(|c| c.len() > row).for_each(|c| c.truncate(row));
        self.pushed = 0;
        self.rescued.abandon();
        self.beside.truncate(self.beside_kept);
        while self.wrong.last().is_some_and(|&(wrong, _)| wrong >= row) {
            self.wrong.pop();
        }
        let (raw, envelope) = (value.map(|value| self.keep_raw(value)), self.envelopes.take_open());
        self.rejects.push(Reject { row, raw, envelope, meta, broken: vec![BrokenRule::new(rule, reason)] });
    }

    /// Rejects a row that was kept, with its bytes as it came or as somebody else has them.
    pub(super) fn reject_kept(&mut self, row: usize, meta: RecordMeta, broken: Vec<BrokenRule>, raw: Option<String>) {
        let record = raw.unwrap_or_else(|| self.record(row).to_owned());
        let (raw, envelope) = (Some(self.keep_raw(record.as_bytes())), self.envelopes.of(row));
        self.rejects.push(Reject { row, raw, envelope, meta, broken });
    }

    fn keep_raw(&mut self, value: &[u8]) -> Range<usize> {
        let start = self.reject_bytes.len();
        self.reject_bytes.extend_from_slice(value);
        start..self.reject_bytes.len()
    }

    /// Notes that a column's value has the wrong type; the value is null.
    #[cold]
    pub(super) fn push_wrong(&mut self, column: u16) {
        self.wrong.push((self.row(), column));
        if let Some(buffer) = self.columns.get_mut(usize::from(column)) {
            buffer.push_null();
            self.pushed += 1;
        }
    }

    /// Begins the texts beside the records anew.
    pub(super) fn forget_beside(&mut self) {
        self.beside.clear();
        self.beside_kept = 0;
        self.pushed = 0;
    }

    /// The bytes of a kept row's record.
    pub(super) fn record(&self, row: usize) -> &str {
        self.places.get(row).and_then(|place| self.records.get(place.clone())).unwrap_or("")
    }

    /// Pushes a date or an instant from its text; false where it has another form or the column another type.
    #[inline]
    pub(super) fn push_temporal(&mut self, column: u16, kind: &ColumnType, text: &[u8]) -> bool {
        let was_typed = self.was_typed;
        let Some(buffer) = self.columns.get_mut(usize::from(column)) else { return false };
        match (kind, &mut buffer.values) {
            (ColumnType::Timestamp(format), Values::Long(values)) => {
                let instant = match format {
                    Some(format) if was_typed => format.parse_timestamp(text).or_else(|| typed_instant(format, text)),
                    Some(format) => format.parse_timestamp(text),
                    None => parse_rfc3339(text),
                };
                push(values, instant)
            }
            (ColumnType::Date(format), Values::Int(values)) => {
                let day = match format {
                    Some(format) if was_typed => format.parse_date(text).or_else(|| parse_iso_date(text)),
                    Some(format) => format.parse_date(text),
                    None => parse_iso_date(text),
                };
                push(values, day)
            }
            _ => false,
        }
    }

    /// Pushes what was written beside the records from `start` on, as text or as a time of day.
    pub(super) fn push_beside(&mut self, column: u16, kind: &ColumnType, start: usize) -> bool {
        let text = self.beside.get(start..).unwrap_or("");
        let right = match kind {
            ColumnType::Time(format) => is_time(format.as_ref(), text.as_bytes()),
            _ => true,
        };
        let (Ok(length), true) = (u32::try_from(text.len()), right) else { return false };
        match self.columns.get_mut(usize::from(column)).map(|buffer| &mut buffer.values) {
            Some(Values::Text(values)) => push(values, Some(Span { start, length, beside: true })),
            _ => false,
        }
    }
}

/// An instant of a typed file: RFC 3339, or a local time in the format's zone.
fn typed_instant(format: &TimeFormat, text: &[u8]) -> Option<i64> {
    parse_rfc3339(text).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        let local = text.parse::<chrono::NaiveDateTime>().ok();
        let local = local.or_else(|| text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0))?;
        format.instant_of_local(local.and_utc().timestamp_micros())
    })
}

/// Pushes a value where there is one, and says so.
#[inline(always)]
pub(super) fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    values.push(value);
    true
}
