//! Delivered CSV (RFC 4180) by a contract: the header once, then each record's cells into the columns of their names.
//!
//! A cell is text, read by its column's type; an empty one is null. An integer in a spreadsheet's exponent form has
//! lost digits and is refused. Cells of names that the contract does not know are rescued as text. Invariant: a record
//! whose quotes or number of cells are wrong is a reject with its bytes, and the next line is read as if it were not there.

use memchr::{memchr, memchr2};
use vitalake_contract::time_format::is_time;
use vitalake_contract::{ColumnType, Contract};

use super::columns::{Span, Values};
use super::plan::{Plan, quote};
use super::rows::{RowBuffer, push};
use super::scan::Cursor;
use super::{DecodeError, Decoded, DeliveryError, RULE_CSV, RecordMeta};

/// A cell within its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    start: usize,
    end: usize,
    /// Whether quotes stand doubled in it.
    doubled: bool,
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
            let stop = match memchr2(b',', b'\n', rest) {
                Some(offset) => at + offset,
                None if last => bytes.len(),
                None => return Scan::Unfinished,
            };
            let ends_line = bytes.get(stop) != Some(&b',');
            let carriage = ends_line && stop > at && bytes.get(stop - 1) == Some(&b'\r');
            let stop = stop - usize::from(carriage);
            (stop, Cell { start: at, end: stop, doubled: false })
        };
        cells.push(cell);
        match bytes.get(stop..).unwrap_or(&[]) {
            [b',', ..] => at = stop + 1,
            [b'\n', ..] => return Scan::Record { length: stop, taken: stop + 1 },
            [b'\r', b'\n', ..] => return Scan::Record { length: stop, taken: stop + 2 },
            [] | [b'\r'] if last => return Scan::Record { length: stop, taken: bytes.len() },
            [] | [b'\r'] => return Scan::Unfinished,
            _ => return malformed(bytes, last),
        }
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
    match memchr(b'\n', bytes) {
        Some(end) => {
            Scan::Malformed { length: end - usize::from(end > 0 && bytes.get(end - 1) == Some(&b'\r')), taken: end + 1 }
        }
        None if last => Scan::Malformed { length: bytes.len(), taken: bytes.len() },
        None => Scan::Unfinished,
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
    /// A decoder for a file with that header.
    pub(super) fn new(plan: Plan, header: &[String]) -> Result<Self, DeliveryError> {
        let mut cells: Vec<(Vec<u16>, String)> = Vec::with_capacity(header.len());
        for name in header {
            let mut quoted = String::new();
            quote(name, &mut quoted);
            cells.push((Vec::new(), quoted));
        }
        place(&plan.contract, header, &mut cells)?;
        Ok(Self { rows: RowBuffer::new(&plan), plan, header: cells })
    }

    /// Takes a record with its cells.
    pub(super) fn append(&mut self, record: &[u8], cells: &[Cell], meta: RecordMeta) {
        let text = match std::str::from_utf8(record) {
            Ok(text) => text,
            Err(error) => return self.refuse(record, meta, format!("not UTF-8 at byte {}", error.valid_up_to())),
        };
        if cells.len() != self.header.len() {
            let reason = format!("the line has {} cells and the header {}", cells.len(), self.header.len());
            return self.refuse(record, meta, reason);
        }
        let base = self.rows.records.len();
        for (&cell, (columns, name)) in cells.iter().zip(&self.header) {
            if cell.start == cell.end {
                continue;
            }
            let raw = text.get(cell.start..cell.end).unwrap_or("");
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

/// Finds each column's cell by its name in the header.
fn place(contract: &Contract, header: &[String], cells: &mut [(Vec<u16>, String)]) -> Result<(), DeliveryError> {
    for (index, column) in contract.columns.iter().enumerate() {
        let name = column.path.join(".");
        let mut found = header.iter().enumerate().filter(|(_, n)| **n == name).map(|(position, _)| position);
        match (found.next(), found.next()) {
            (_, Some(_)) => return Err(DeliveryError::ColumnTwice { dataset: contract.dataset.to_string(), name }),
            (Some(position), None) => {
                if let (Some((columns, _)), Ok(index)) = (cells.get_mut(position), u16::try_from(index)) {
                    columns.push(index);
                }
            }
            (None, _) if column.required => {
                let alike = |found: &&String| found.trim().eq_ignore_ascii_case(&name);
                if let Some(found) = header.iter().find(alike).cloned() {
                    return Err(DeliveryError::ColumnSpelling { dataset: contract.dataset.to_string(), name, found });
                }
                // A first line without any of the contract's names may be data, which no error shows.
                if !contract.columns.iter().any(|column| header.contains(&column.path.join("."))) {
                    return Err(DeliveryError::NoHeader { dataset: contract.dataset.to_string() });
                }
                return Err(DeliveryError::ColumnMissing {
                    dataset: contract.dataset.to_string(),
                    column: column.name.to_string(),
                    name,
                    header: if header.iter().any(|name| name.contains(char::is_control)) {
                        "(one line with control characters: are the line ends right?)".to_owned()
                    } else {
                        header.join(", ")
                    },
                });
            }
            (None, _) => {}
        }
    }
    Ok(())
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

fn is_json(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    matches!(cursor.peek(), b'{' | b'[') && cursor.skip_value(0).is_ok() && {
        cursor.skip_space();
        cursor.is_at_end()
    }
}

/// What separates the columns of a header that has no commas, when it names a column of the contract so.
pub(super) fn other_separator(contract: &Contract, header: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(header).ok().filter(|text| !text.contains(','))?;
    let names = |separator: char| {
        let mut cells = text.split(separator).map(|cell| cell.trim().trim_matches('"'));
        text.contains(separator)
            && cells.any(|cell| contract.columns.iter().any(|c| c.path.join(".").eq_ignore_ascii_case(cell)))
    };
    [(';', "semicolons"), ('\t', "tabs"), ('|', "vertical bars")]
        .into_iter()
        .find(|(c, _)| names(*c))
        .map(|(_, said)| said)
}

/// The texts of a header's cells.
pub(super) fn header_names(record: &[u8], cells: &[Cell]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(record).ok()?;
    cells.iter().map(|cell| Some(text.get(cell.start..cell.end)?.replace("\"\"", "\""))).collect()
}
