//! A delivered file, whatever its form and packing, as a stream of decoded batches with bounded memory.
//!
//! `open` unpacks it, `records` finds the records of text, the decoders of CSV and JSON take them; `typed` reads the rest. Invariant: a delivery is taken whole or not at all; after an error nothing more comes.

use std::collections::VecDeque;
use std::io::Read;

use arrow::array::AsArray as _;

use super::blocks::Blocks;
use super::csv::{Cell, CsvDecoder, Dialect};
use super::fhir::{FhirDecoder, ResourceTotals};
use super::json::JsonDecoder;
use super::open::{self, Opened, Part, Transcoded};
use super::plan::{Plan, expected};
use super::records::{FileRecords, Found};
use super::refused::DeliveryError;
use super::typed::TypedFile;
use super::{Decoded, RULE_CSV, RULE_FHIR, RULE_JSON, RecordMeta, Rules, header};
use vitalake_contract::DeliveryFormat;

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
    /// Where the trailer of a file says another count than there are: records, and what it says of the first such file.
    pub not_as_trailed: Option<(u64, u64)>,
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
        if let Some(more) = other.resources {
            self.resources.get_or_insert_default().add(more);
        }
        self.not_as_trailed = self.not_as_trailed.or(other.not_as_trailed);
    }
}

/// The batches of one delivery.
#[derive(Debug)]
pub struct DeliveryDecoder<R: Read> {
    rules: Rules,
    body: Body<R>,
    /// Files of the delivery that come after the one that is read.
    parts: VecDeque<Part<R>>,
    meta: RecordMeta,
    totals: DeliveryTotals,
    /// Values that did not fit, by column.
    misfits: Vec<u64>,
    /// Records that were no line of the header, or no JSON object, and what was said of the first.
    unread: (u64, Option<String>),
    /// What the resources were of the files before the one that is read.
    resources: Option<ResourceTotals>,
    /// As what they were read.
    unread_as: &'static str,
    /// Whether a record had a field of the contract.
    named: bool,
    /// How many bytes of the file that is read now are in the totals.
    told: u64,
    /// How many records came in files before the one that is read.
    before: u64,
    over: bool,
}

/// How the file that is read now is read.
#[derive(Debug)]
enum Body<R: Read> {
    /// Nobody has looked at it.
    Closed(DeliveryFormat, R),
    Text(Option<String>, Box<FileRecords<Transcoded<Opened<R>>>>, Form),
    Typed(Option<String>, Box<TypedFile<Opened<R>>>),
    /// There is none.
    Over,
}

impl<R: Read> Body<R> {
    /// The file's name in its archive.
    fn name(&self) -> Option<&String> {
        match self {
            Self::Text(name, ..) | Self::Typed(name, _) => name.as_ref(),
            Self::Closed(..) | Self::Over => None,
        }
    }
}

#[derive(Debug)]
enum Form {
    /// CSV whose header was not read yet.
    Header,
    Csv(Box<CsvDecoder>),
    /// CSV whose records are told apart line by line.
    Blocks(Box<Blocks>),
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
    let misfits = vec![0; rules.contract.columns.len()];
    DeliveryDecoder {
        rules,
        body: Body::Closed(format, reader),
        parts: VecDeque::new(),
        meta,
        totals: DeliveryTotals::default(),
        misfits,
        unread: (0, None),
        resources: None,
        unread_as: "",
        named: false,
        told: 0,
        before: 0,
        over: false,
    }
}

impl Form {
    fn of(rules: &Rules, format: DeliveryFormat) -> Result<Self, DeliveryError> {
        if let Some(view) = rules.contract.view.clone() {
            return Ok(Self::Fhir(Box::new(FhirDecoder::new(rules.clone(), view))));
        }
        let topic = Plan::feed_of(&rules.contract);
        if format != DeliveryFormat::Csv {
            return Ok(Self::Json(Box::new(JsonDecoder::with_topic(rules.clone(), topic))));
        }
        let Some(names) = header::of_contract(&rules.contract) else { return Ok(Self::Header) };
        // A line as the file could have had it: rejects keep it, so that they can be read again.
        let line = Dialect::of(&rules.contract.files.csv).line(&names);
        let places = header::place(&rules.contract, &names, line.as_bytes())?;
        Ok(Self::Csv(Box::new(CsvDecoder::new(Plan::new(rules.clone(), topic), &line, &names, places))))
    }

    /// How many records and bytes wait to be finished.
    fn held(&self) -> (usize, usize) {
        match self {
            Self::Header | Self::Blocks(_) => (0, 0),
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
        let resources = self.resources();
        DeliveryTotals { misfits: columns.map(misfit).collect(), resources, ..self.totals.clone() }
    }

    fn dataset(&self) -> String {
        self.rules.contract.dataset.to_string()
    }

    /// The next batch of whichever file is next; none when there is nothing left.
    fn batch(&mut self) -> Result<Option<Decoded>, DeliveryError> {
        loop {
            let read = match &mut self.body {
                Body::Over => return Ok(None),
                Body::Closed(..) => {
                    self.open()?;
                    continue;
                }
                Body::Text(_, records, form) => read_text(&self.rules, records, form, &mut self.meta),
                Body::Typed(_, file) => file.next(self.meta).inspect(|next| {
                    self.meta.offset += next.as_ref().map_or(0, |(records, _)| *records as i64);
                }),
            };
            let read = read.map_err(|error| self.in_part(error))?;
            self.tell();
            if let Some((records, decoded)) = read {
                self.count(records as u64, &decoded);
                return Ok(Some(decoded));
            }
            self.turn()?;
        }
    }

    /// Looks into the file that came.
    fn open(&mut self) -> Result<(), DeliveryError> {
        if let Body::Closed(format, reader) = std::mem::replace(&mut self.body, Body::Over) {
            self.parts = open::open(&self.dataset(), format, reader)?;
        }
        self.turn()
    }

    /// Goes on with the next file.
    fn turn(&mut self) -> Result<(), DeliveryError> {
        if let Body::Text(_, records, Form::Json(_) | Form::Fhir(_)) = &self.body
            && let Some(path) = records.lost_way()
        {
            let lost = DeliveryError::NoRows { dataset: self.dataset(), path: path.to_owned() };
            return Err(self.in_part(lost));
        }
        if let Body::Text(_, records, _) = &self.body {
            let says = records.trailer().map_err(|error| self.in_part(error))?;
            let came = self.totals.records - self.before;
            self.totals.not_as_trailed =
                self.totals.not_as_trailed.or(says.filter(|rows| *rows != came).map(|rows| (came, rows)));
        }
        self.before = self.totals.records;
        self.resources = self.resources();
        let Some(Part { name, format, file }) = self.parts.pop_front() else {
            self.body = Body::Over;
            return Ok(());
        };
        self.told = 0;
        if let Some(view) = self.rules.contract.view.as_ref().filter(|_| format != DeliveryFormat::Ndjson) {
            return Err(DeliveryError::NotFhir { dataset: self.dataset(), view: view.name.clone() });
        }
        self.body = match TypedFile::new(&self.rules, format, file) {
            Ok(typed) => Body::Typed(name, Box::new(typed)),
            Err(file) => {
                let files = &self.rules.contract.files;
                let said = files.csv.encoding.filter(|_| format == DeliveryFormat::Csv);
                let file =
                    open::of_text(file, said).map_err(|error| DeliveryError::unread(&self.dataset(), 0, error))?;
                let apart = self.rules.contract.view.as_ref().is_some_and(|view| view.resource != "Bundle");
                let records = FileRecords::new(self.dataset(), format, file, files).taking_bundles_apart(apart);
                let records = Box::new(records);
                match Form::of(&self.rules, format) {
                    Ok(form) => Body::Text(name, records, form),
                    Err(error) => {
                        self.body = Body::Text(name, records, Form::Header);
                        return Err(self.in_part(error));
                    }
                }
            }
        };
        Ok(())
    }

    /// What the resources were of the files that were read, where a view reads the dataset.
    fn resources(&self) -> Option<ResourceTotals> {
        let Body::Text(_, _, Form::Fhir(fhir)) = &self.body else { return self.resources };
        let mut all = self.resources.unwrap_or_default();
        all.add(fhir.totals());
        Some(all)
    }

    fn in_part(&self, error: DeliveryError) -> DeliveryError {
        match self.body.name() {
            Some(name) => DeliveryError::Part { name: name.clone(), error: Box::new(error) },
            None => error,
        }
    }

    /// Takes over what the file that is read says of itself.
    fn tell(&mut self) {
        let (unnamed, consumed, named) = match &self.body {
            Body::Text(_, records, Form::Csv(csv)) => (csv.unnamed(), records.consumed(), true),
            Body::Text(_, records, Form::Blocks(blocks)) => (blocks.unnamed(), records.consumed(), true),
            Body::Text(_, records, Form::Json(json)) => (Vec::new(), records.consumed(), json.has_met_fields()),
            Body::Text(_, records, Form::Fhir(_)) => (Vec::new(), records.consumed(), true),
            Body::Typed(_, file) => (file.unnamed(), file.consumed(), true),
            _ => return,
        };
        for name in unnamed {
            if !self.totals.unnamed.contains(&name) {
                self.totals.unnamed.push(name);
            }
        }
        self.named |= named;
        self.totals.bytes += consumed - std::mem::replace(&mut self.told, consumed);
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
            self.unread_as = match &self.body {
                Body::Text(_, _, Form::Csv(_) | Form::Blocks(_)) => "lines of its header",
                Body::Text(_, _, Form::Fhir(_)) => "FHIR resources",
                _ => "JSON objects",
            };
            if self.unread.1.is_none() {
                self.unread.1 = reason.map(str::to_owned);
            }
        }
    }

    /// Refuses a file that was read to its end and of which nothing is what the contract speaks of.
    fn check_whole(&self) -> Result<(), DeliveryError> {
        let (unread, reason) = &self.unread;
        let has_resources = self.resources().is_some_and(|resources| resources.read > 0);
        if *unread > 0 && *unread == self.totals.records && !has_resources {
            let form = self.unread_as;
            let reason = reason.clone().unwrap_or_default();
            return Err(DeliveryError::NothingReadable { dataset: self.dataset(), records: *unread, form, reason });
        }
        if self.totals.rows > 0 && !self.named {
            let names = self.rules.contract.columns.iter().map(|column| column.path.join(".")).collect::<Vec<_>>();
            return Err(DeliveryError::NothingNamed { dataset: self.dataset(), names: header::shown(&names) });
        }
        Ok(())
    }
}

/// Reads records until a batch is full or the file is over; none when there was nothing left.
fn read_text<R: Read>(
    rules: &Rules,
    records: &mut FileRecords<R>,
    form: &mut Form,
    meta: &mut RecordMeta,
) -> Result<Option<(usize, Decoded)>, DeliveryError> {
    loop {
        if let Some(blocks) = in_blocks(records, form)? {
            return blocks.next(records, meta);
        }
        let Some(found) = records.find()? else { break };
        meta.offset += take(rules, form, records, found, *meta)?;
        let (held, bytes) = form.held();
        if held >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
            break;
        }
    }
    let (held, _) = form.held();
    let decoded = match form {
        Form::Header => return Err(header::no_header(&rules.contract, b"")),
        _ if held == 0 => return Ok(None),
        Form::Csv(csv) => csv.finish()?,
        Form::Blocks(_) => return Ok(None),
        Form::Json(json) => json.finish()?,
        Form::Fhir(fhir) => fhir.finish()?,
    };
    Ok(Some((held, decoded)))
}

/// Goes on in blocks where the file is a CSV whose columns are known.
fn in_blocks<'a, R: Read>(
    records: &mut FileRecords<R>,
    form: &'a mut Form,
) -> Result<Option<&'a mut Blocks>, DeliveryError> {
    if let Form::Csv(csv) = form
        && records.may_be_split()
        && !csv.has_rules_about_places()
    {
        records.begin()?;
        let Form::Csv(csv) = std::mem::replace(form, Form::Header) else { return Ok(None) };
        *form = Form::Blocks(Box::new(Blocks::new(*csv, records.line())));
    }
    Ok(match form {
        Form::Blocks(blocks) => Some(blocks),
        _ => None,
    })
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
            *form = Form::Csv(Box::new(
                read_header(rules, record, cells, found.malformed).map_err(|error| error.at_line(records.line()))?,
            ));
            counts = 0;
        }
        Form::Csv(csv) if found.malformed => {
            csv.refuse_quotes(record, meta);
        }
        Form::Csv(_) if record.is_empty() => counts = 0,
        Form::Csv(csv) => csv.append(record, cells, meta),
        Form::Blocks(_) => counts = 0,
        Form::Json(json) if found.malformed => {
            let reason = "nothing in it is where the contract's rowsPath leads".to_owned();
            json.refuse(record, meta, RULE_JSON, reason);
        }
        Form::Json(_) | Form::Fhir(_) if record.trim_ascii().is_empty() => counts = 0,
        Form::Json(json) => json.append(Some(record), meta),
        Form::Fhir(fhir) => counts = fhir.append(record, meta),
    }
    records.consume(found);
    Ok(counts)
}

/// The decoder for a file that begins with this line.
pub(super) fn read_header(
    rules: &Rules,
    line: &[u8],
    cells: &[Cell],
    malformed: bool,
) -> Result<CsvDecoder, DeliveryError> {
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
