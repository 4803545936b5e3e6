//! Delivered CSV (RFC 4180) by a contract: the header once, then each record's cells into the columns of their names.
//!
//! A cell is text, read by its column's type; an empty one is null. An integer in a spreadsheet's exponent form has
//! lost digits and is refused. Cells of names that the contract does not know are rescued as text. A line ends with LF,
//! CR LF or CR, whichever comes, unless a quote is open. Invariant: a record
//! whose quotes or number of cells are wrong is a reject with its bytes, and the next line is read as if it were not there.

use memchr::{memchr, memchr2, memchr3};
use vitalake_contract::ColumnType;
use vitalake_contract::time_format::is_time;

use super::again::marked;
use super::columns::{Span, Values};
use super::header::{CELLS_MAX, Places};
use super::plan::{Plan, quote};
use super::rows::{RowBuffer, push};
use super::scan::Cursor;
use super::{DecodeError, Decoded, RULE_CSV, RecordMeta};

/// How many columns that the contract does not name are told.
const UNNAMED_SHOWN_MAX: usize = 20;

/// A cell within its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    start: usize,
    end: usize,
    /// Whether quotes stand doubled in it.
    doubled: bool,
}

impl Cell {
    /// Its text within its record, quotes still doubled.
    pub(super) fn text<'a>(&self, record: &'a str) -> &'a str {
        record.get(self.start..self.end).unwrap_or("")
    }
}

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// A record of so many bytes, and with its line end so many.
    Record { length: usize, taken: usize },
    /// A line whose quotes are wrong.
    Malformed { length: usize, taken: usize },
    /// The record does not end within the bytes.
    Unfinished,
    /// The last quote is never closed.
    Unclosed,
}

/// Finds the cells of the record at the beginning of `bytes`; `last` says that nothing follows them.
pub(super) fn scan(bytes: &[u8], last: bool, cells: &mut Vec<Cell>) -> Scan {
    cells.clear();
    let mut at = 0;
    loop {
        let (stop, cell) = if bytes.get(at) == Some(&b'"') {
            match quoted_end(bytes, at + 1) {
                Some((close, doubled)) => (close + 1, Cell { start: at + 1, end: close, doubled }),
                None if last => return Scan::Unclosed,
                None => return Scan::Unfinished,
            }
        } else {
            let rest = bytes.get(at..).unwrap_or(&[]);
            let stop = match memchr3(b',', b'\n', b'\r', rest) {
                Some(offset) => at + offset,
                None if last => bytes.len(),
                None => return Scan::Unfinished,
            };
            (stop, Cell { start: at, end: stop, doubled: false })
        };
        // One more than a line may have says that it has too many.
        if cells.len() <= CELLS_MAX {
            cells.push(cell);
        }
        match bytes.get(stop..).unwrap_or(&[]) {
            [b',', ..] => at = stop + 1,
            rest => match line_end(rest, last) {
                Some(Some(end)) => return Scan::Record { length: stop, taken: stop + end },
                Some(None) => return malformed(bytes, last),
                None => return Scan::Unfinished,
            },
        }
    }
}

/// How many bytes the line end at the beginning of the bytes has; `Some(None)` where none stands there, and none where
/// that is not known yet.
fn line_end(rest: &[u8], last: bool) -> Option<Option<usize>> {
    match rest {
        [b'\n', ..] => Some(Some(1)),
        [b'\r', b'\n', ..] => Some(Some(2)),
        [] | [b'\r'] if !last => None,
        [] => Some(Some(0)),
        [b'\r', ..] => Some(Some(1)),
        _ => Some(None),
    }
}

/// The line at the beginning of the bytes, whatever stands in it.
pub(super) fn line(bytes: &[u8], last: bool) -> Scan {
    let length = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
    match line_end(bytes.get(length..).unwrap_or(&[]), last).flatten() {
        Some(end) => Scan::Record { length, taken: length + end },
        None => Scan::Unfinished,
    }
}

/// The closing quote, and whether doubled ones stand before it. A quote at the end of the bytes counts as closing: the
/// caller sees that nothing follows it and asks for more.
fn quoted_end(bytes: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        let close = at + memchr(b'"', bytes.get(at..)?)?;
        if bytes.get(close + 1) != Some(&b'"') {
            return Some((close, doubled));
        }
        doubled = true;
        at = close + 2;
    }
}

fn malformed(bytes: &[u8], last: bool) -> Scan {
    match line(bytes, last) {
        Scan::Record { length, taken } => Scan::Malformed { length, taken },
        other => other,
    }
}

/// Decodes the records of one file.
#[derive(Debug)]
pub(super) struct CsvDecoder {
    plan: Plan,
    rows: RowBuffer,
    /// For each cell of a record the columns that it fills, and its name as JSON.
    header: Vec<(Vec<u16>, String)>,
}

impl CsvDecoder {
    /// A decoder for a file with that first line and the names in it, whose cells have those places.
    pub(super) fn new(plan: Plan, line: &str, header: &[String], places: Places) -> Self {
        let quoted = |name: &String| {
            let mut quoted = String::new();
            quote(name, &mut quoted);
            quoted
        };
        let mut rows = RowBuffer::new(&plan);
        rows.reject_headers = Some(marked(line));
        Self { rows, plan, header: places.into_iter().zip(header.iter().map(quoted)).collect() }
    }

    /// The file's columns that the contract does not name, as JSON strings, the first few of them.
    pub(super) fn unnamed(&self) -> Vec<String> {
        let unnamed = self.header.iter().filter(|(columns, name)| columns.is_empty() && name.len() > 2);
        unnamed.take(UNNAMED_SHOWN_MAX).map(|(_, name)| name.trim_matches('"').to_owned()).collect()
    }

    /// Takes a record with its cells.
    pub(super) fn append(&mut self, record: &[u8], cells: &[Cell], meta: RecordMeta) {
        let text = match std::str::from_utf8(record) {
            Ok(text) => text,
            Err(error) => return self.refuse(record, meta, format!("not UTF-8 at byte {}", error.valid_up_to())),
        };
        if let Some(zero) = memchr(0, record) {
            return self.refuse(record, meta, format!("a zero byte at byte {zero}: is the file whole?"));
        }
        if cells.len() != self.header.len() {
            let reason = format!("the line has {} cells and the header {}", cells.len(), self.header.len());
            return self.refuse(record, meta, reason);
        }
        let base = self.rows.records.len();
        for (&cell, (columns, name)) in cells.iter().zip(&self.header) {
            if cell.start == cell.end {
                continue;
            }
            let raw = cell.text(text);
            let undoubled = if cell.doubled { raw.replace("\"\"", "\"") } else { String::new() };
            let value = if cell.doubled { &undoubled } else { raw };
            let mut right = !columns.is_empty();
            for &column in columns {
                let place = (!cell.doubled).then_some(base + cell.start);
                if push_cell(&mut self.rows, column, self.plan.kind(column), value, place) {
                    self.rows.pushed += 1;
                } else {
                    right = false;
                    self.rows.push_wrong(column);
                }
            }
            if !right {
                let mut json = String::with_capacity(value.len() + 2);
                quote(value, &mut json);
                self.rows.rescued.field(&self.plan, &[], name, &json);
            }
        }
        self.rows.keep(text, meta);
    }

    /// Rejects a line.
    pub(super) fn refuse(&mut self, record: &[u8], meta: RecordMeta, reason: String) {
        self.rows.abandon(Some(record), meta, RULE_CSV, reason);
    }

    /// How many records and bytes are held.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.rows.taken(), self.rows.bytes())
    }

    /// The rows and rejects so far.
    pub(super) fn finish(&mut self) -> Result<Decoded, DecodeError> {
        self.rows.finish(&self.plan)
    }
}

/// Reads a cell by the column's type; `place` is where its text will stand in the batch's records, if it stands there as it is.
fn push_cell(rows: &mut RowBuffer, column: u16, kind: &ColumnType, text: &str, place: Option<usize>) -> bool {
    if matches!(kind, ColumnType::Date(_) | ColumnType::Timestamp(_)) {
        return rows.push_temporal(column, kind, text.as_bytes());
    }
    let right = match kind {
        ColumnType::Time(format) => is_time(format.as_ref(), text.as_bytes()),
        ColumnType::Json => is_json(text),
        _ => true,
    };
    if !right {
        return false;
    }
    let (start, beside) = match place {
        Some(start) => (start, false),
        None => (rows.beside.len(), true),
    };
    let Some(buffer) = rows.columns.get_mut(usize::from(column)) else { return false };
    let number = text.trim_ascii();
    match &mut buffer.values {
        Values::Long(values) => push(values, integer(number)),
        Values::Int(values) => push(values, integer(number).and_then(|value| i32::try_from(value).ok())),
        Values::Double(values) => push(values, number.parse().ok().filter(|value: &f64| value.is_finite())),
        Values::Float(values) => push(values, number.parse().ok().filter(|value: &f32| value.is_finite())),
        Values::Boolean(values) => push(values, truth(number)),
        Values::Text(values) => {
            if beside {
                rows.beside.push_str(text);
            }
            push(values, u32::try_from(text.len()).ok().map(|length| Span { start, length, beside }))
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let (whole, zeros) = text.split_once('.')?;
    zeros.bytes().all(|byte| byte == b'0').then_some(())?;
    whole.parse().ok()
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

/// Whether a text is one object or array.
pub(super) fn is_json(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    matches!(cursor.peek(), b'{' | b'[') && cursor.skip_value(0).is_ok() && {
        cursor.skip_space();
        cursor.is_at_end()
    }
}
