//! A delivered file, CSV with a header or JSON, as a stream of decoded batches with bounded memory.
//!
//! `records` finds the records, the decoders of CSV and JSON take them. Invariant: a delivery is taken whole or not at all; after an error nothing more comes.

use std::io::Read;

use arrow::array::AsArray as _;

use super::csv::{Cell, CsvDecoder};
use super::fhir::{FhirDecoder, ResourceTotals};
use super::json::JsonDecoder;
use super::plan::{Plan, expected};
use super::records::{DeliveryFormat, FileRecords, Found};
use super::refused::DeliveryError;
use super::typed::TypedFile;
use super::{Decoded, RULE_CSV, RULE_FHIR, RULE_JSON, RecordMeta, Rules, header};

/// How many records a batch has at most.
pub const BATCH_RECORDS_MAX: usize = 65_536;
/// At about how many bytes a batch is full.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Values of a column that did not fit it: they are null, and kept in `_rescued`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The column.
    pub column: String,
    /// What it takes, in words.
    pub expected: String,
    /// How many values of rows that were taken did not fit.
    pub values: u64,
}

/// What a delivery held, so far or in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryTotals {
    /// Records read.
    pub records: u64,
    /// Rows that keep the contract.
    pub rows: u64,
    /// Records that do not.
    pub rejects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What did not fit, by column in the contract's order.
    pub misfits: Vec<Misfit>,
    /// Columns of a CSV that the contract does not name, kept in `_rescued`.
    pub unnamed: Vec<String>,
    /// Of a dataset that is read through a view: what its resources were.
    pub resources: Option<ResourceTotals>,
}

impl DeliveryTotals {
    /// Adds what another file of the same delivery held.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.rows += other.rows;
        self.rejects += other.rejects;
        self.bytes += other.bytes;
        for misfit in other.misfits {
            match self.misfits.iter_mut().find(|known| known.column == misfit.column) {
                Some(known) => known.values += misfit.values,
                None => self.misfits.push(misfit),
            }
        }
        for name in other.unnamed {
            if !self.unnamed.contains(&name) {
                self.unnamed.push(name);
            }
        }
    }
}

/// The batches of one delivery.
#[derive(Debug)]
pub struct DeliveryDecoder<R> {
    rules: Rules,
    body: Body<R>,
    meta: RecordMeta,
    totals: DeliveryTotals,
    /// Values that did not fit, by column.
    misfits: Vec<u64>,
    /// Records that were no line of the header, or no JSON object, and what was said of the first.
    unread: (u64, Option<String>),
    over: bool,
}

/// How the file is read.
#[derive(Debug)]
enum Body<R> {
    Text(FileRecords<R>, Form),
    Typed(Box<TypedFile<R>>),
}

#[derive(Debug)]
enum Form {
    /// CSV whose header was not read yet.
    Header,
    Csv(Box<CsvDecoder>),
    Json(Box<JsonDecoder>),
    Fhir(Box<FhirDecoder>),
}

/// Decodes a delivered file in batches of at most 65,536 records. `_topic` is `feed/{dataset}`, `_partition` the
/// delivery's number, `_offset` the row's number from 0 (rejects count, blank lines do not), `_timestamp` null. After
/// an error nothing more comes: a delivery is taken whole or not at all.
pub fn decode_delivery<R: Read>(
    rules: impl Into<Rules>,
    format: DeliveryFormat,
    reader: R,
    delivery_number: i32,
    ingested_at_ms: i64,
) -> DeliveryDecoder<R> {
    let rules = rules.into();
    let meta = RecordMeta { partition: delivery_number, offset: 0, timestamp_ms: None, ingested_at_ms };
    let body = match TypedFile::new(&rules, format, reader) {
        Ok(typed) => Body::Typed(Box::new(typed)),
        Err(reader) => {
            Body::Text(FileRecords::new(rules.contract.dataset.to_string(), format, reader), Form::of(&rules, format))
        }
    };
    let misfits = vec![0; rules.contract.columns.len()];
    let totals = DeliveryTotals::default();
    DeliveryDecoder { rules, body, meta, totals, misfits, unread: (0, None), over: false }
}

impl Form {
    fn of(rules: &Rules, format: DeliveryFormat) -> Self {
        if format == DeliveryFormat::Csv {
            return Self::Header;
        }
        if let Some(view) = rules.contract.view.clone() {
            return Self::Fhir(Box::new(FhirDecoder::new(rules.clone(), view)));
        }
        let topic = Plan::feed_of(&rules.contract);
        Self::Json(Box::new(JsonDecoder::with_topic(rules.clone(), topic)))
    }

    /// How many records and bytes wait to be finished.
    fn held(&self) -> (usize, usize) {
        match self {
            Self::Header => (0, 0),
            Self::Csv(csv) => csv.held(),
            Self::Json(json) => (json.records(), json.bytes()),
            Self::Fhir(fhir) => fhir.held(),
        }
    }
}

impl<R: Read> DeliveryDecoder<R> {
    /// Numbers its rows from this one on: so many came in files before this one of the same delivery.
    #[must_use]
    pub fn numbered_from(mut self, rows: u64) -> Self {
        self.meta.offset = i64::try_from(rows).unwrap_or(i64::MAX);
        self
    }

    /// What was decoded so far; after the last batch, in all.
    #[must_use]
    pub fn totals(&self) -> DeliveryTotals {
        let columns = self.rules.contract.columns.iter().zip(&self.misfits).filter(|(_, values)| **values > 0);
        let misfit = |(column, values): (&vitalake_contract::Column, &u64)| Misfit {
            column: column.name.to_string(),
            expected: expected(&column.kind),
            values: *values,
        };
        let resources = self.fhir().map(FhirDecoder::totals);
        DeliveryTotals { misfits: columns.map(misfit).collect(), resources, ..self.totals.clone() }
    }

    fn dataset(&self) -> String {
        self.rules.contract.dataset.to_string()
    }

    /// The decoder of resources, where a view reads the dataset.
    fn fhir(&self) -> Option<&FhirDecoder> {
        if let Body::Text(_, Form::Fhir(fhir)) = &self.body { Some(fhir) } else { None }
    }

    /// Reads records until a batch is full or the file is over; none when there was nothing left.
    fn batch(&mut self) -> Result<Option<Decoded>, DeliveryError> {
        if let (Some(view), None) = (&self.rules.contract.view, self.fhir()) {
            return Err(DeliveryError::NotFhir { dataset: self.dataset(), view: view.name.clone() });
        }
        let (records, decoded) = match &mut self.body {
            Body::Typed(file) => {
                let next = file.next(self.meta)?;
                self.totals.unnamed = file.unnamed();
                self.totals.bytes = file.consumed();
                let Some((records, decoded)) = next else { return Ok(None) };
                self.meta.offset += records as i64;
                (records, decoded)
            }
            Body::Text(records, form) => {
                while let Some(found) = records.find()? {
                    self.meta.offset += take(&self.rules, form, records, found, self.meta)?;
                    let (held, bytes) = form.held();
                    if held >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
                        break;
                    }
                }
                self.totals.bytes = records.consumed();
                let (held, _) = form.held();
                let decoded = match form {
                    Form::Header => return Err(header::no_header(&self.rules.contract, b"")),
                    Form::Csv(csv) => {
                        self.totals.unnamed = csv.unnamed();
                        (held > 0).then(|| csv.finish())
                    }
                    Form::Json(json) => (held > 0).then(|| json.finish()),
                    Form::Fhir(fhir) => (held > 0).then(|| fhir.finish()),
                };
                let Some(decoded) = decoded else { return Ok(None) };
                (held, decoded?)
            }
        };
        self.count(records as u64, &decoded);
        Ok(Some(decoded))
    }

    fn count(&mut self, records: u64, decoded: &Decoded) {
        self.totals.records += records;
        self.totals.rows += decoded.rows.num_rows() as u64;
        self.totals.rejects += decoded.rejects.num_rows() as u64;
        for (column, values) in &decoded.misfits {
            if let Some(count) = self.misfits.get_mut(*column) {
                *count += values;
            }
        }
        let texts = |name| decoded.rejects.column_by_name(name).and_then(|column| column.as_string_view_opt());
        let (Some(rules), Some(reasons)) = (texts("_rule"), texts("_reason")) else { return };
        for (_, reason) in
            rules.iter().zip(reasons).filter(|(rule, _)| matches!(rule, Some(RULE_CSV | RULE_JSON | RULE_FHIR)))
        {
            self.unread.0 += 1;
            if self.unread.1.is_none() {
                self.unread.1 = reason.map(str::to_owned);
            }
        }
    }

    /// Refuses a file that was read to its end and of which nothing is what the contract speaks of.
    fn check_whole(&self) -> Result<(), DeliveryError> {
        let (unread, reason) = &self.unread;
        let has_resources = self.fhir().is_some_and(|fhir| fhir.totals().read > 0);
        if *unread > 0 && *unread == self.totals.records && !has_resources {
            let form = match &self.body {
                Body::Text(_, Form::Header | Form::Csv(_)) => "lines of its header",
                Body::Text(_, Form::Fhir(_)) => "FHIR resources",
                _ => "JSON objects",
            };
            let reason = reason.clone().unwrap_or_default();
            return Err(DeliveryError::NothingReadable { dataset: self.dataset(), records: *unread, form, reason });
        }
        let named = match &self.body {
            Body::Text(_, Form::Json(json)) => json.has_met_fields(),
            _ => true,
        };
        if self.totals.rows > 0 && !named {
            let names = self.rules.contract.columns.iter().map(|column| column.path.join(".")).collect::<Vec<_>>();
            return Err(DeliveryError::NothingNamed { dataset: self.dataset(), names: header::shown(&names) });
        }
        Ok(())
    }
}

/// Decodes the record that was found; how many rows and rejects it became.
fn take<R: Read>(
    rules: &Rules,
    form: &mut Form,
    records: &mut FileRecords<R>,
    found: Found,
    meta: RecordMeta,
) -> Result<i64, DeliveryError> {
    let (record, cells) = records.record(found);
    let mut counts = 1;
    match form {
        Form::Header => {
            *form = Form::Csv(Box::new(read_header(rules, record, cells, found.malformed)?));
            counts = 0;
        }
        Form::Csv(csv) if found.malformed => {
            csv.refuse(record, meta, "something follows a closing quote in the line".to_owned());
        }
        Form::Csv(_) if record.is_empty() => counts = 0,
        Form::Csv(csv) => csv.append(record, cells, meta),
        Form::Json(_) | Form::Fhir(_) if record.trim_ascii().is_empty() => counts = 0,
        Form::Json(json) => json.append(Some(record), meta),
        Form::Fhir(fhir) => counts = fhir.append(record, meta),
    }
    records.consume(found);
    Ok(counts)
}

/// The decoder for a file that begins with this line.
fn read_header(rules: &Rules, line: &[u8], cells: &[Cell], malformed: bool) -> Result<CsvDecoder, DeliveryError> {
    let contract = &rules.contract;
    if malformed || line.is_empty() {
        return Err(header::no_header(contract, line));
    }
    let names = header::names(contract, line, cells)?;
    let places = header::place(contract, &names, line)?;
    let text = std::str::from_utf8(line).unwrap_or_default();
    Ok(CsvDecoder::new(Plan::new(rules.clone(), Plan::feed_of(contract)), text, &names, places))
}

impl<R: Read> Iterator for DeliveryDecoder<R> {
    type Item = Result<Decoded, DeliveryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let batch = match self.batch() {
            Ok(None) => self.check_whole().err().map(Err),
            batch => batch.transpose(),
        };
        self.over = !matches!(batch, Some(Ok(_)));
        batch
    }
}
