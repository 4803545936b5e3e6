//! A delivered file, CSV with a header or NDJSON, as a stream of decoded batches with bounded memory.
//!
//! Invariant: a delivery is taken whole or not at all; after an error nothing more comes.

use std::io::Read;

use super::csv::{Cell, CsvDecoder, Scan, header_names, other_separator, scan};
use super::input::Input;
use super::json::JsonDecoder;
use super::plan::Plan;
use super::{DecodeError, Decoded, RecordMeta, Rules};

/// How many records a batch has at most.
pub const BATCH_RECORDS_MAX: usize = 65_536;
/// At about how many bytes a batch is full.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How large one record may be.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The form of a delivered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFormat {
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// What a delivery held, so far or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryTotals {
    /// Records read.
    pub records: u64,
    /// Rows that keep the contract.
    pub rows: u64,
    /// Records that do not.
    pub rejects: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Why a whole delivery is refused. Names of columns are shown, values never.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The file could not be read.
    #[error("the delivery of {dataset} could not be read past byte {position}; deliver it again")]
    Read {
        /// The dataset.
        dataset: String,
        /// How many bytes had been read.
        position: u64,
        /// The reader's error.
        #[source]
        source: std::io::Error,
    },
    /// There is no header.
    #[error(
        "the delivery of {dataset} has no header line with the contract's columns; write their names, in UTF-8 and \
         separated by commas, into its first line"
    )]
    NoHeader {
        /// The dataset.
        dataset: String,
    },
    /// A required column is not in the header.
    #[error(
        "the delivery of {dataset} has no column {name:?}, which the contract requires for {column}; its header is: {header}"
    )]
    ColumnMissing {
        /// The dataset.
        dataset: String,
        /// The contract's column.
        column: String,
        /// The name that the header should have.
        name: String,
        /// The names that it has.
        header: String,
    },
    /// A required column stands in the header with other capitals or spaces.
    #[error(
        "the delivery of {dataset} has the column {found:?} where the contract reads {name:?}: capitals and spaces count; rename it in the file, or name it so in the contract (customProperty path)"
    )]
    ColumnSpelling {
        /// The dataset.
        dataset: String,
        /// The name that the header should have.
        name: String,
        /// The name that it has.
        found: String,
    },
    /// The columns are not separated by commas.
    #[error(
        "the delivery of {dataset} has {separator} between its columns and commas are read: save the file with commas"
    )]
    Separator {
        /// The dataset.
        dataset: String,
        /// What stands there.
        separator: &'static str,
    },
    /// A column that the contract reads stands twice in the header.
    #[error("the delivery of {dataset} has the column {name:?} twice; rename one of them")]
    ColumnTwice {
        /// The dataset.
        dataset: String,
        /// The name.
        name: String,
    },
    /// A quote never closes, so nobody can say where the records after it begin.
    #[error(
        "the delivery of {dataset} opens a quote in the record at line {line} that never closes; close it or double it"
    )]
    QuoteUnclosed {
        /// The dataset.
        dataset: String,
        /// The record's first line, from 1.
        line: u64,
    },
    /// A record is too large.
    #[error(
        "the delivery of {dataset} has a record at line {line} of more than {bytes_max} bytes; check its quotes and line ends"
    )]
    RecordTooLarge {
        /// The dataset.
        dataset: String,
        /// The record's first line, from 1.
        line: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// A batch could not be built.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The batches of one delivery.
#[derive(Debug)]
pub struct DeliveryDecoder<R> {
    rules: Rules,
    input: Input<R>,
    form: Form,
    cells: Vec<Cell>,
    meta: RecordMeta,
    totals: DeliveryTotals,
    over: bool,
}

#[derive(Debug)]
enum Form {
    /// CSV whose header was not read yet.
    Header,
    Csv(Box<CsvDecoder>),
    Ndjson(Box<JsonDecoder>),
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
    let form = match format {
        DeliveryFormat::Csv => Form::Header,
        DeliveryFormat::Ndjson => {
            let topic = Plan::feed_of(&rules.contract);
            Form::Ndjson(Box::new(JsonDecoder::with_topic(rules.clone(), topic)))
        }
    };
    let meta = RecordMeta { partition: delivery_number, offset: 0, timestamp_ms: None, ingested_at_ms };
    let (input, totals) = (Input::new(reader), DeliveryTotals::default());
    DeliveryDecoder { rules, input, form, cells: Vec::new(), meta, totals, over: false }
}

impl<R: Read> DeliveryDecoder<R> {
    /// What was decoded so far; after the last batch, in all.
    #[must_use]
    pub fn totals(&self) -> DeliveryTotals {
        self.totals
    }

    /// Reads records until a batch is full or the file is over; none when there was nothing left.
    fn batch(&mut self) -> Result<Option<Decoded>, DeliveryError> {
        while let Some(found) = self.next_record()? {
            self.take(found)?;
            let (records, bytes) = self.held();
            if records >= BATCH_RECORDS_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
        }
        self.totals.bytes = self.input.consumed;
        let (records, _) = self.held();
        let decoded = match &mut self.form {
            Form::Header => return Err(DeliveryError::NoHeader { dataset: self.rules.contract.dataset.to_string() }),
            _ if records == 0 => return Ok(None),
            Form::Csv(csv) => csv.finish()?,
            Form::Ndjson(json) => json.finish()?,
        };
        self.totals.records += records as u64;
        self.totals.rows += decoded.rows.num_rows() as u64;
        self.totals.rejects += decoded.rejects.num_rows() as u64;
        Ok(Some(decoded))
    }

    fn held(&self) -> (usize, usize) {
        match &self.form {
            Form::Header => (0, 0),
            Form::Csv(csv) => csv.held(),
            Form::Ndjson(json) => (json.records(), json.bytes()),
        }
    }

    /// Finds the next record in the input, reading more of it as it needs; none at the end.
    fn next_record(&mut self) -> Result<Option<Scan>, DeliveryError> {
        let dataset = || self.rules.contract.dataset.to_string();
        loop {
            self.input.skip_mark();
            let (bytes, last) = self.input.bytes();
            if bytes.is_empty() && last {
                return Ok(None);
            }
            let too_large = bytes.len() > RECORD_BYTES_MAX;
            let found = match &self.form {
                _ if bytes.len() < 3 && !last => Scan::Unfinished,
                Form::Ndjson(_) => line(bytes, last),
                _ => scan(bytes, last, &mut self.cells),
            };
            match found {
                Scan::Unclosed => {
                    return Err(DeliveryError::QuoteUnclosed { dataset: dataset(), line: self.input.line });
                }
                Scan::Unfinished if too_large => {
                    return Err(DeliveryError::RecordTooLarge {
                        dataset: dataset(),
                        line: self.input.line,
                        bytes_max: RECORD_BYTES_MAX,
                    });
                }
                Scan::Unfinished => {
                    let position = self.input.consumed;
                    let failed = |source| DeliveryError::Read {
                        dataset: self.rules.contract.dataset.to_string(),
                        position,
                        source,
                    };
                    self.input.fill().map_err(failed)?;
                }
                found => return Ok(Some(found)),
            }
        }
    }

    /// Decodes the record that was found at the beginning of the input.
    fn take(&mut self, found: Scan) -> Result<(), DeliveryError> {
        let (length, taken, malformed) = match found {
            Scan::Record { length, taken } => (length, taken, false),
            Scan::Malformed { length, taken } => (length, taken, true),
            Scan::Unfinished | Scan::Unclosed => return Ok(()),
        };
        let (bytes, _) = self.input.bytes();
        let record = bytes.get(..length).unwrap_or(&[]);
        let no_header = || DeliveryError::NoHeader { dataset: self.rules.contract.dataset.to_string() };
        let mut counts = true;
        match &mut self.form {
            Form::Header if record.is_empty() => return Err(no_header()),
            Form::Header => {
                if let Some(separator) = other_separator(&self.rules.contract, record) {
                    return Err(DeliveryError::Separator {
                        dataset: self.rules.contract.dataset.to_string(),
                        separator,
                    });
                }
                if malformed {
                    return Err(no_header());
                }
                let names = header_names(record, &self.cells).ok_or_else(no_header)?;
                let plan = Plan::new(self.rules.clone(), Plan::feed_of(&self.rules.contract));
                self.form = Form::Csv(Box::new(CsvDecoder::new(plan, &names)?));
                counts = false;
            }
            Form::Csv(csv) if malformed => {
                csv.refuse(record, self.meta, "something follows a closing quote in the line".to_owned());
            }
            Form::Csv(_) if record.is_empty() => counts = false,
            Form::Csv(csv) => csv.append(record, &self.cells, self.meta),
            Form::Ndjson(_) if record.trim_ascii().is_empty() => counts = false,
            Form::Ndjson(json) => json.append(Some(record), self.meta),
        }
        self.meta.offset += i64::from(counts);
        self.input.consume(taken);
        Ok(())
    }
}

/// The line at the beginning of the bytes.
fn line(bytes: &[u8], last: bool) -> Scan {
    let (end, taken) = match memchr::memchr(b'\n', bytes) {
        Some(end) => (end, end + 1),
        None if last => (bytes.len(), bytes.len()),
        None => return Scan::Unfinished,
    };
    let carriage = end > 0 && bytes.get(end - 1) == Some(&b'\r');
    Scan::Record { length: end - usize::from(carriage), taken }
}

impl<R: Read> Iterator for DeliveryDecoder<R> {
    type Item = Result<Decoded, DeliveryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let batch = self.batch().transpose();
        self.over = !matches!(batch, Some(Ok(_)));
        batch
    }
}
