//! Delivered CSV (RFC 4180) by a contract: the header once, then each record's cells into the columns of their names.
//!
//! A cell is text, read by its column's type; an empty one is null. An integer in a spreadsheet's exponent form has
//! lost digits and is refused. Cells of names that the contract does not know are rescued as text. A line ends with LF,
//! CR LF or CR, whichever comes, unless a quote is open. Invariant: a record
//! whose quotes or number of cells are wrong is a reject with its bytes, and the next line is read as if it were not there.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr2, memchr3};
use vitalake_contract::ColumnType;
use vitalake_contract::file_options::CsvOptions;
use vitalake_contract::rule::Check;
use vitalake_contract::time_format::is_time;

use super::again::marked;
use super::columns::{Span, Values};
use super::header::{CELLS_MAX, Places};
use super::plan::{Plan, quote};
use super::rows::{RowBuffer, push};
use super::scan::Cursor;
use super::{DecodeError, Decoded, RULE_CSV, RecordMeta, Rules};

/// How many columns that the contract does not name are told.
const UNNAMED_SHOWN_MAX: usize = 20;
/// The column that holds a row's place in its file.
pub(super) const OFFSET_COLUMN: &str = "_offset";

/// A cell within its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    start: usize,
    end: usize,
    /// Whether quotes stand doubled in it, or escaped.
    doubled: bool,
}

impl Cell {
    /// Its text within its record as it stands there.
    fn raw<'a>(&self, record: &'a str) -> &'a str {
        record.get(self.start..self.end).unwrap_or("")
    }

    /// Its text.
    pub(super) fn text<'a>(&self, record: &'a str, dialect: Dialect) -> Cow<'a, str> {
        let raw = self.raw(record);
        if self.doubled { Cow::Owned(dialect.undoubled(raw)) } else { Cow::Borrowed(raw) }
    }
}

/// The signs of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
}

impl Dialect {
    pub(super) fn of(options: &CsvOptions) -> Self {
        Self { delimiter: options.delimiter, quote: options.quote, escape: options.escape }
    }

    /// A text that stood in quotes, without what stood before its quotes.
    fn undoubled(self, raw: &str) -> String {
        let Some(quote) = self.quote.map(char::from) else { return raw.to_owned() };
        let Some(escape) = self.escape.map(char::from) else {
            return raw.replace(&[quote, quote].iter().collect::<String>(), quote.encode_utf8(&mut [0; 4]));
        };
        let (mut text, mut signs) = (String::with_capacity(raw.len()), raw.chars());
        while let Some(sign) = signs.next() {
            text.extend(if sign == escape { signs.next().or(Some(sign)) } else { Some(sign) });
        }
        text
    }

    /// Names as a header line.
    pub(super) fn line(self, names: &[String]) -> String {
        let delimiter = char::from(self.delimiter);
        let cell = |name: &String| match self.quote.map(char::from) {
            Some(quote) => {
                let before = self.escape.map_or(quote, char::from);
                format!("{quote}{}{quote}", name.replace(quote, &format!("{before}{quote}")))
            }
            None => name.clone(),
        };
        names.iter().map(cell).collect::<Vec<_>>().join(delimiter.encode_utf8(&mut [0; 4]))
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
pub(super) fn scan(dialect: Dialect, bytes: &[u8], last: bool, cells: &mut Vec<Cell>) -> Scan {
    cells.clear();
    let mut at = 0;
    loop {
        let quote = dialect.quote.filter(|quote| bytes.get(at) == Some(quote));
        let (stop, cell) = if let Some(quote) = quote {
            match quoted_end(bytes, at + 1, quote, dialect.escape) {
                Some((close, doubled)) => (close + 1, Cell { start: at + 1, end: close, doubled }),
                None if last => return Scan::Unclosed,
                None => return Scan::Unfinished,
            }
        } else {
            let rest = bytes.get(at..).unwrap_or(&[]);
            let stop = match memchr3(dialect.delimiter, b'\n', b'\r', rest) {
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
            [next, ..] if *next == dialect.delimiter => at = stop + 1,
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
fn quoted_end(bytes: &[u8], mut at: usize, quote: u8, escape: Option<u8>) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        let close = match escape {
            Some(escape) => {
                let stop = at + memchr2(quote, escape, bytes.get(at..)?)?;
                if bytes.get(stop) == Some(&escape) {
                    doubled = true;
                    at = stop + 2;
                    continue;
                }
                return Some((stop, doubled));
            }
            None => at + memchr(quote, bytes.get(at..)?)?,
        };
        if bytes.get(close + 1) != Some(&quote) {
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
    /// The file's header line.
    header_line: String,
    dialect: Dialect,
    numbers: Numbers,
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
        let options = &plan.contract.files.csv;
        let (dialect, numbers) = (Dialect::of(options), Numbers::of(options));
        let header = places.into_iter().zip(header.iter().map(quoted)).collect();
        Self { rows, plan, header, header_line: line.to_owned(), dialect, numbers }
    }

    /// Another decoder for lines of the same file.
    pub(super) fn another(&self) -> Self {
        let rules = Rules { contract: Arc::clone(&self.plan.contract), sql: self.plan.sql.clone() };
        let plan = Plan::new(rules, self.plan.topic.clone());
        let mut rows = RowBuffer::new(&plan);
        rows.reject_headers.clone_from(&self.rows.reject_headers);
        let (header, header_line) = (self.header.clone(), self.header_line.clone());
        Self { plan, rows, header, header_line, dialect: self.dialect, numbers: self.numbers }
    }

    /// Whether a rule of the contract is about where a row stands in its file.
    pub(super) fn has_rules_about_places(&self) -> bool {
        let about = |check: &Check| matches!(check, Check::NotSql(condition) if condition.contains(OFFSET_COLUMN));
        self.plan.contract.row_rules.iter().any(|rule| about(&rule.check))
    }

    /// What a comment begins with.
    pub(super) fn comment(&self) -> Option<u8> {
        self.plan.contract.files.csv.comment
    }

    /// The dataset.
    pub(super) fn dataset(&self) -> String {
        self.plan.contract.dataset.to_string()
    }

    /// The file's columns that the contract does not name, as JSON strings, the first few of them.
    pub(super) fn unnamed(&self) -> Vec<String> {
        let unnamed = self.header.iter().filter(|(columns, name)| columns.is_empty() && name.len() > 2);
        unnamed.take(UNNAMED_SHOWN_MAX).map(|(_, name)| name.trim_matches('"').to_owned()).collect()
    }

    /// The signs of its file.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Takes a record with its cells.
    pub(super) fn append(&mut self, record: &[u8], cells: &[Cell], meta: RecordMeta) {
        let text = match std::str::from_utf8(record) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                let reason = format!("not UTF-8 at byte {at}: is the file in another encoding than the contract says?");
                return self.refuse(record, meta, reason);
            }
        };
        if let Some(zero) = memchr(0, record) {
            return self.refuse(record, meta, format!("a zero byte at byte {zero}: is the file whole?"));
        }
        if let Some(reason) = self.not_a_row(text, cells) {
            return self.refuse(record, meta, reason);
        }
        self.fill(text, cells, self.rows.records.len());
        self.rows.keep(text, meta);
    }

    /// Takes a record that stands in the text that the batch's records will be, at that place.
    pub(super) fn append_within(&mut self, within: &str, place: Range<usize>, cells: &[Cell], meta: RecordMeta) {
        let text = within.get(place.clone()).unwrap_or("");
        if let Some(reason) = self.not_a_row(text, cells) {
            return self.refuse(text.as_bytes(), meta, reason);
        }
        self.fill(text, cells, place.start);
        self.rows.keep_at(place, meta);
    }

    /// Why a line is none of the header's.
    fn not_a_row(&self, text: &str, cells: &[Cell]) -> Option<String> {
        if cells.len() != self.header.len() {
            return Some(format!("the line has {} cells and the header {}", cells.len(), self.header.len()));
        }
        (text == self.header_line)
            .then(|| "the line is the file's header again: are several files put together?".to_owned())
    }

    /// Pushes a record's cells; the record will begin at `base` in the batch's records.
    fn fill(&mut self, text: &str, cells: &[Cell], base: usize) {
        let null_words = &self.plan.contract.files.csv.null_words;
        for (&cell, (columns, name)) in cells.iter().zip(&self.header) {
            if cell.start == cell.end {
                continue;
            }
            let value = &*cell.text(text, self.dialect);
            if !null_words.is_empty() && null_words.iter().any(|word| word == value) {
                continue;
            }
            let mut right = !columns.is_empty();
            for &column in columns {
                let place = (!cell.doubled).then_some(base + cell.start);
                if push_cell(&mut self.rows, column, self.plan.kind(column), value, (place, self.numbers)) {
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
    }

    /// Rejects a line whose quotes are wrong.
    pub(super) fn refuse_quotes(&mut self, record: &[u8], meta: RecordMeta) {
        self.refuse(record, meta, "something follows a closing quote in the line".to_owned());
    }

    /// Rejects a line.
    pub(super) fn refuse(&mut self, record: &[u8], meta: RecordMeta, reason: String) {
        self.rows.abandon(Some(record), meta, RULE_CSV, reason);
    }

    /// How many records and bytes are held.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.rows.taken(), self.rows.bytes())
    }

    /// The rows and rejects so far, whose records stand in that text.
    pub(super) fn finish_within(&mut self, text: &mut String) -> Result<Decoded, DecodeError> {
        self.rows.records = std::mem::take(text);
        let made = self.rows.finish_within(&self.plan);
        *text = std::mem::take(&mut self.rows.records);
        made
    }

    /// The rows and rejects so far.
    pub(super) fn finish(&mut self) -> Result<Decoded, DecodeError> {
        self.rows.finish(&self.plan)
    }
}

/// How numbers are written.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    decimal: char,
    thousands: Option<char>,
    /// Whether they are written as the languages of programs have them.
    plain: bool,
}

impl Numbers {
    fn of(options: &CsvOptions) -> Self {
        let plain = options.decimal == '.' && options.thousands.is_none();
        Self { decimal: options.decimal, thousands: options.thousands, plain }
    }

    /// The number as programs write it; none where its marks stand in the wrong places.
    fn read(self, text: &str) -> Option<Cow<'_, str>> {
        if self.plain {
            return Some(Cow::Borrowed(text));
        }
        let (whole, rest) = match text.split_once(self.decimal) {
            Some((whole, rest)) => (whole, Some(rest)),
            None => (text, None),
        };
        let mut number = String::with_capacity(text.len());
        match self.thousands.filter(|mark| whole.contains(*mark)) {
            Some(mark) => {
                let mut groups = whole.split(mark);
                let first = groups.next()?;
                (1..=3).contains(&first.trim_start_matches(['+', '-']).len()).then_some(())?;
                number.push_str(first);
                for group in groups {
                    (group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
                    number.push_str(group);
                }
            }
            None => number.push_str(whole),
        }
        // With a comma for the point, a point is none.
        (self.decimal == '.' || !number.contains('.')).then_some(())?;
        if let Some(rest) = rest {
            (!rest.contains(['.', ','])).then_some(())?;
            number.push('.');
            number.push_str(rest);
        }
        Some(Cow::Owned(number))
    }
}

/// Reads a cell by the column's type; `place` is where its text will stand in the batch's records, if it stands there as it is.
fn push_cell(
    rows: &mut RowBuffer,
    column: u16,
    kind: &ColumnType,
    text: &str,
    (place, numbers): (Option<usize>, Numbers),
) -> bool {
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
    let trimmed = text.trim_ascii();
    let number = || numbers.read(trimmed);
    match &mut buffer.values {
        Values::Long(values) => push(values, number().and_then(|number| integer(&number))),
        Values::Int(values) => {
            push(values, number().and_then(|number| integer(&number)).and_then(|value| i32::try_from(value).ok()))
        }
        Values::Double(values) => {
            push(values, number().and_then(|number| number.parse().ok()).filter(|value: &f64| value.is_finite()))
        }
        Values::Float(values) => {
            push(values, number().and_then(|number| number.parse().ok()).filter(|value: &f32| value.is_finite()))
        }
        Values::Boolean(values) => push(values, truth(trimmed)),
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
