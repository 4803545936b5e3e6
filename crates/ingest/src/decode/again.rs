//! Rejects of a raw dataset through the decoders once more, under the contract as it is now.
//!
//! `_raw` has a record's bytes as they came: JSON, or a line of a CSV, whose header line stands in `_headers`. What else
//! came with the record goes from the reject to the row as it is. Invariant: each reject becomes one row or one reject, and
//! one that fails again keeps everything but its rules, and counts the attempt.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Int32Array, RecordBatch, StringViewArray, UInt64Array, new_null_array,
};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use vitalake_contract::quarantine::{BrokenRule, rules_text};

use super::csv::{CsvDecoder, Dialect, Scan, scan};
use super::json::JsonDecoder;
use super::plan::Plan;
use super::{
    DecodeError, Decoded, RULE_BATCH, RULE_CSV, RULE_FHIR, RULE_JSON, RULE_RETENTION, RecordMeta, Rules, header,
};
use crate::headers;

/// The header under which a reject of a CSV keeps its file's first line.
const CSV_HEADER: &str = "vitalake-csv-header";
/// The header under which a reject of a typed file says so.
const TYPED: &str = "vitalake-typed-row";
/// So many files' header lines are kept ready.
const FORMS_MAX: usize = 64;

/// The header line of a file as `_headers` of its rejects has it.
pub(super) fn marked(line: &str) -> String {
    let (mut text, header) =
        (String::new(), headers::Header { key: Some(CSV_HEADER.as_bytes()), value: Some(line.as_bytes()) });
    headers::as_json([header], &mut text);
    text
}

/// What `_headers` of the rejects of a typed file has.
pub(super) fn marked_typed() -> String {
    let (mut text, header) = (String::new(), headers::Header { key: Some(TYPED.as_bytes()), value: Some(b"json") });
    headers::as_json([header], &mut text);
    text
}

/// The header line that `_headers` of a reject has.
fn header_line(headers: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Header {
        key: Option<String>,
        value: Option<String>,
    }
    let headers: Vec<Header> = serde_json::from_str(headers).ok()?;
    headers.into_iter().find(|header| header.key.as_deref() == Some(CSV_HEADER))?.value
}

/// Decodes rejects again.
#[derive(Debug)]
pub struct Redecoder {
    rules: Rules,
    json: JsonDecoder,
    /// For rows of typed files.
    typed: JsonDecoder,
    /// What says that a reject is one.
    typed_mark: String,
    /// By what `_headers` says.
    csv: HashMap<String, Form>,
}

/// What lines under one header are read by.
#[derive(Debug)]
enum Form {
    Lines(Box<CsvDecoder>),
    /// Its header does not fit the contract.
    Unfit(String),
    /// No header line.
    None,
}

/// What rejects became.
#[derive(Debug, Default)]
pub struct Redecoded {
    /// Rows of the dataset.
    pub rows: Vec<RecordBatch>,
    /// Those that stay rejects.
    pub rejects: Vec<RecordBatch>,
}

impl Redecoder {
    /// Under a contract with its rules in SQL.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            json: JsonDecoder::new(rules.clone()),
            typed: JsonDecoder::of_typed(rules.clone()),
            typed_mark: marked_typed(),
            rules,
            csv: HashMap::new(),
        }
    }

    /// Decodes a batch of quarantine.
    ///
    /// # Errors
    /// When a batch cannot be made.
    pub fn redecode(&mut self, rejects: &RecordBatch) -> Result<Redecoded, DecodeError> {
        let failed = |source| DecodeError::Build { dataset: self.rules.contract.dataset.to_string(), source };
        let columns = Columns::of(rejects).ok_or_else(|| failed(no_columns()))?;
        if self.csv.len() > FORMS_MAX {
            self.csv.clear();
        }
        let mut told: Vec<(usize, Option<BrokenRule>)> = Vec::new();
        for row in 0..rejects.num_rows() {
            if let Some(stays) = self.give(&columns, row) {
                told.push((row, stays));
            }
        }
        let mut all = Redecoded::default();
        let csv = self.csv.values_mut().filter_map(|form| match form {
            Form::Lines(csv) if csv.held().0 > 0 => Some(csv.finish()),
            _ => None,
        });
        let json = [&mut self.json, &mut self.typed].into_iter().filter(|json| json.records() > 0);
        let json = json.map(JsonDecoder::finish);
        let decoded: Vec<Decoded> = json.chain(csv).collect::<Result<_, _>>()?;
        let failed = |source| DecodeError::Build { dataset: self.rules.contract.dataset.to_string(), source };
        for decoded in decoded {
            all.rows.push(come_back(&decoded.rows, rejects).map_err(failed)?);
            all.rejects.push(failed_again(&decoded.rejects, rejects).map_err(failed)?);
        }
        all.rejects.push(self.untried(rejects, &told).map_err(failed)?);
        all.rows.retain(|batch| batch.num_rows() > 0);
        all.rejects.retain(|batch| batch.num_rows() > 0);
        Ok(all)
    }

    /// Gives a record to its decoder; one that has none stays, with another reason where there is one.
    fn give(&mut self, columns: &Columns<'_>, row: usize) -> Option<Option<BrokenRule>> {
        let meta = RecordMeta { partition: 0, offset: row as i64, timestamp_ms: None, ingested_at_ms: 0 };
        let rule = columns.rule.value(row);
        // The bytes of these are no record's; a resource becomes rows in a delivery alone.
        if rule == RULE_BATCH || rule == RULE_RETENTION || rule == RULE_FHIR {
            return Some(None);
        }
        let raw = columns.raw.is_valid(row).then(|| columns.raw.value(row));
        let headers = columns.headers.is_valid(row).then(|| columns.headers.value(row));
        if headers == Some(self.typed_mark.as_str()) {
            self.typed.append(raw, meta);
            return None;
        }
        if columns.topic.is_valid(row) && columns.topic.value(row).starts_with("feed/") {
            match (headers, raw) {
                (Some(headers), Some(line)) => match self.form(headers) {
                    Form::Lines(csv) => {
                        append_line(csv, line, meta);
                        return None;
                    }
                    Form::Unfit(reason) => return Some(Some(BrokenRule::new(RULE_CSV, reason.clone()))),
                    Form::None => {}
                },
                (None, Some(line)) if rule != RULE_JSON && !line.trim_ascii_start().starts_with(b"{") => {
                    let reason = "the header line of its file was not kept by the version that rejected it: deliver the file again";
                    return Some(Some(BrokenRule::new(RULE_CSV, reason)));
                }
                _ => {}
            }
        }
        self.json.append(raw, meta);
        None
    }

    fn form(&mut self, headers: &str) -> &mut Form {
        if !self.csv.contains_key(headers) {
            self.csv.insert(headers.to_owned(), self.form_of(headers));
        }
        self.csv.entry(headers.to_owned()).or_insert(Form::None)
    }

    fn form_of(&self, headers: &str) -> Form {
        let Some(line) = header_line(headers) else { return Form::None };
        let contract = &self.rules.contract;
        let mut cells = Vec::new();
        scan(Dialect::of(&contract.files.csv), line.as_bytes(), true, &mut cells);
        let names = header::names(contract, line.as_bytes(), &cells);
        let placed =
            names.and_then(|names| header::place(contract, &names, line.as_bytes()).map(|places| (names, places)));
        match placed {
            Ok((names, places)) => {
                let plan = Plan::new(self.rules.clone(), Plan::feed_of(contract));
                Form::Lines(Box::new(CsvDecoder::new(plan, &line, &names, places)))
            }
            Err(error) => Form::Unfit(error.to_string()),
        }
    }

    /// Rejects that no decoder was given.
    fn untried(&self, rejects: &RecordBatch, told: &[(usize, Option<BrokenRule>)]) -> Result<RecordBatch, ArrowError> {
        let rows: UInt64Array = told.iter().map(|(row, _)| *row as u64).collect();
        let before = take_record_batch(rejects, &rows)?;
        let text = |name: &str, pick: &dyn Fn(&BrokenRule) -> String| -> ArrayRef {
            let was = before.column_by_name(name).and_then(|column| column.as_string_view_opt());
            let now = told.iter().enumerate().map(|(at, (_, broken))| match (broken, was) {
                (Some(broken), _) => Some(pick(broken)),
                (None, Some(was)) => was.is_valid(at).then(|| was.value(at).to_owned()),
                (None, None) => None,
            });
            Arc::new(now.collect::<StringViewArray>())
        };
        let fingerprint = &self.rules.contract.fingerprint;
        let columns = [
            ("_rule", text("_rule", &|broken| broken.rule.clone())),
            ("_reason", text("_reason", &|broken| broken.reason.clone())),
            ("_rules", text("_rules", &|broken| rules_text(std::slice::from_ref(broken), fingerprint))),
        ];
        counted(&before, |name| columns.iter().find(|(column, _)| *column == name).map(|(_, array)| Arc::clone(array)))
    }
}

fn append_line(csv: &mut CsvDecoder, line: &[u8], meta: RecordMeta) {
    let mut cells = Vec::new();
    match scan(csv.dialect(), line, true, &mut cells) {
        Scan::Record { length, .. } if length == line.len() => csv.append(line, &cells, meta),
        Scan::Unclosed => csv.refuse(line, meta, "the line opens a quote that never closes".to_owned()),
        _ => csv.refuse(line, meta, "something follows a closing quote in the line".to_owned()),
    }
}

/// The columns that say how a record is read.
struct Columns<'a> {
    raw: &'a BinaryViewArray,
    topic: &'a StringViewArray,
    headers: &'a StringViewArray,
    rule: &'a StringViewArray,
}

impl<'a> Columns<'a> {
    fn of(rejects: &'a RecordBatch) -> Option<Self> {
        let text = |name| rejects.column_by_name(name)?.as_string_view_opt();
        let raw = rejects.column_by_name("_raw")?.as_binary_view_opt()?;
        Some(Self { raw, topic: text("_topic")?, headers: text("_headers")?, rule: text("_rule")? })
    }
}

fn no_columns() -> ArrowError {
    ArrowError::SchemaError("the batch has not the columns of a quarantine".to_owned())
}

/// Where in the rejects each row of a decoded batch was: its decoder was told that as its offset.
fn places(decoded: &RecordBatch) -> Result<UInt64Array, ArrowError> {
    let offsets = decoded.column_by_name("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let offsets = offsets.ok_or_else(no_columns)?;
    offsets.values().iter().map(|offset| u64::try_from(*offset).map_err(|_| no_columns()).map(Some)).collect()
}

/// Decoded rows with what came with their records.
fn come_back(rows: &RecordBatch, rejects: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let places = places(rows)?;
    let from = |name: &str| take(rejects.column_by_name(name).ok_or_else(no_columns)?, &places, None);
    let mut columns = Vec::with_capacity(rows.num_columns());
    for (field, decoded) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        columns.push(match field.name().as_str() {
            name @ ("_topic" | "_partition" | "_offset" | "_timestamp" | "_key") => from(name)?,
            "_headers" => own_headers(&from("_topic")?, &from("_headers")?),
            "_ingested_at" => from("_quarantined_at")?,
            _ => Arc::clone(decoded),
        });
    }
    RecordBatch::try_new(rows.schema(), columns)
}

/// The headers that a record came with: a delivered line has none.
fn own_headers(topics: &ArrayRef, headers: &ArrayRef) -> ArrayRef {
    let (Some(topics), Some(texts)) = (topics.as_string_view_opt(), headers.as_string_view_opt()) else {
        return new_null_array(&DataType::Utf8View, headers.len());
    };
    if texts.null_count() == texts.len() {
        return Arc::clone(headers);
    }
    let delivered = |row: usize| topics.is_valid(row) && topics.value(row).starts_with("feed/");
    let own = texts.iter().enumerate().map(|(row, text)| text.filter(|_| !delivered(row)));
    Arc::new(own.collect::<StringViewArray>())
}

/// Rejects that failed again: as they were, with the rules that they break now.
fn failed_again(decoded: &RecordBatch, rejects: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let before = take_record_batch(rejects, &places(decoded)?)?;
    counted(&before, |name| match name {
        "_rule" | "_reason" | "_rules" => decoded.column_by_name(name).cloned(),
        _ => None,
    })
}

/// Rejects with one attempt more, and the columns that are given.
fn counted(before: &RecordBatch, given: impl Fn(&str) -> Option<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    let schema = before.schema();
    let columns = schema.fields().iter().zip(before.columns()).map(|(field, column)| match field.name().as_str() {
        "_attempts" => {
            let attempts = column.as_primitive_opt::<Int32Type>();
            let more = attempts.map(|attempts| attempts.iter().map(|n| n.unwrap_or(0).saturating_add(1)));
            more.map_or_else(|| Arc::clone(column), |more| Arc::new(Int32Array::from_iter_values(more)) as ArrayRef)
        }
        name => given(name).unwrap_or_else(|| Arc::clone(column)),
    });
    RecordBatch::try_new(before.schema(), columns.collect())
}
