//! The records of a delivered file, found one after the other in a buffer: lines of a CSV, JSON in whatever shape.
//!
//! The first bytes say what the file is. What is found is decoded by `delivery`, and drafted into a contract by
//! `sample`. Invariant: a record that was found is consumed with [`FileRecords::consume`] before the next is asked for.

use std::io::Read;

use vitalake_contract::DeliveryFormat;
use vitalake_contract::file_options::{CsvOptions, FileOptions};

use super::bundle;
use super::csv::{Cell, Dialect, Scan, line, scan};
use super::document::{self, Broken, Document, Next, Shape};
use super::file_form;
use super::input::Input;
use super::path::{self, Walk};
use super::refused::DeliveryError;

/// How large one record may be.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A record at the beginning of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// So many bytes stand before it.
    pub(super) skip: usize,
    /// Its bytes.
    pub(super) length: usize,
    /// With what stands before it, and its line end.
    pub(super) taken: usize,
    /// Whether it is no record: its quotes are wrong, or no row is where the contract's path leads.
    pub(super) malformed: bool,
}

impl Found {
    fn whole(length: usize, taken: usize, malformed: bool) -> Self {
        Self { skip: 0, length, taken, malformed }
    }
}

#[derive(Debug)]
enum Form {
    Csv,
    /// JSON whose shape is not known yet.
    Json,
    Lines,
    Document(Document),
    /// Rows within documents.
    Within(Walk),
    /// The entries of a Bundle of FHIR that is larger than a record may be.
    Bundle(Walk),
}

impl Form {
    /// The form of JSON whose shape is known.
    fn of(shape: Shape) -> Self {
        match shape {
            Shape::Lines => Self::Lines,
            Shape::Array => Self::Document(Document::Array),
            Shape::Objects => Self::Document(Document::Objects),
        }
    }
}

/// What stands next within a document.
enum Row {
    /// A row, or what is none in its place.
    Found(Found),
    /// Nothing that is a record.
    Passed,
    /// Nothing more in the file.
    Over,
}

/// The records of one file.
#[derive(Debug)]
pub(super) struct FileRecords<R> {
    dataset: String,
    input: Input<R>,
    form: Form,
    cells: Vec<Cell>,
    csv: CsvOptions,
    dialect: Dialect,
    /// Whether the entries of a Bundle are records, where it is too large to be one.
    takes_bundles_apart: bool,
}

impl<R: Read> FileRecords<R> {
    /// Of a file that is delivered to a dataset.
    pub(super) fn new(dataset: String, format: DeliveryFormat, reader: R, options: &FileOptions) -> Self {
        let form = match (format, &options.rows_path) {
            (DeliveryFormat::Csv, _) => Form::Csv,
            (_, Some(path)) => Form::Within(Walk::new(path.clone())),
            (_, None) => Form::Json,
        };
        let dialect = Dialect::of(&options.csv);
        let (input, cells, csv) = (Input::new(reader), Vec::new(), options.csv.clone());
        Self { dataset, input, form, cells, csv, dialect, takes_bundles_apart: false }
    }

    /// Whose Bundles may be taken apart: those of which a view reads the entries.
    pub(super) fn taking_bundles_apart(self, takes_bundles_apart: bool) -> Self {
        Self { takes_bundles_apart, ..self }
    }

    /// The way to the rows, where it led to none in all of the file.
    pub(super) fn lost_way(&self) -> Option<&str> {
        match &self.form {
            Form::Within(walk) if !walk.has_arrived() => Some(&walk.path().text),
            _ => None,
        }
    }

    /// How many lines at the end are no records.
    fn lines_at_the_end(&self) -> usize {
        if self.csv.trailer.is_some() { 1 } else { self.csv.skip_bottom as usize }
    }

    /// How many records a file says that it has whose last line is a trailer; to be asked once no record is left.
    pub(super) fn trailer(&self) -> Result<Option<u64>, DeliveryError> {
        let Some(trailer) = self.csv.trailer.as_ref().filter(|_| matches!(self.form, Form::Csv)) else {
            return Ok(None);
        };
        let rest = std::str::from_utf8(self.input.bytes().0).unwrap_or("");
        trailer.rows(rest).map(Some).ok_or_else(|| DeliveryError::NoTrailer {
            dataset: self.dataset.clone(),
            line: self.input.line,
            trailer: trailer.text.clone(),
        })
    }

    /// How many bytes were consumed.
    pub(super) fn consumed(&self) -> u64 {
        self.input.consumed
    }

    /// The line, from 1, in which the next byte stands.
    pub(super) fn line(&self) -> u64 {
        self.input.line
    }

    /// The bytes of what was found, and its cells where it is a line of a CSV.
    pub(super) fn record(&self, found: Found) -> (&[u8], &[Cell]) {
        (self.input.bytes().0.get(found.skip..found.skip + found.length).unwrap_or(&[]), &self.cells)
    }

    /// Leaves what was found behind.
    pub(super) fn consume(&mut self, found: Found) {
        self.input.consume(found.taken);
    }

    /// Whether lines of a CSV can be told from what is none by what stands in them alone: what follows the last record is
    /// known by the file's end.
    pub(super) fn may_be_split(&self) -> bool {
        matches!(self.form, Form::Csv) && self.lines_at_the_end() == 0
    }

    /// Comes to the first record of a CSV.
    pub(super) fn begin(&mut self) -> Result<(), DeliveryError> {
        if self.input.consumed == 0 {
            self.look_at_the_beginning()?;
        }
        self.at_a_record().map(|_| ())
    }

    /// The next lines of a CSV, about so many bytes; nothing at the end. A record may go on in those after them.
    pub(super) fn block(&mut self, about: usize, into: Vec<u8>) -> Result<Vec<u8>, DeliveryError> {
        let block = self.input.block(about, RECORD_BYTES_MAX, into);
        block.map_err(|source| DeliveryError::unread(&self.dataset, self.input.consumed, source))
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        let (bytes, last) = self.input.bytes();
        bytes.is_empty() && last
    }

    /// Finds the next record in the input, reading more of it as it needs; none at the end. Blank lines are records too.
    pub(super) fn find(&mut self) -> Result<Option<Found>, DeliveryError> {
        if self.input.consumed == 0 {
            self.look_at_the_beginning()?;
        }
        loop {
            if matches!(self.form, Form::Csv) && !self.at_a_record()? {
                return Ok(None);
            }
            let (bytes, last) = self.input.bytes();
            if bytes.is_empty() && last && !matches!(self.form, Form::Document(_) | Form::Within(_) | Form::Bundle(_)) {
                return Ok(None);
            }
            let too_large = bytes.len() > RECORD_BYTES_MAX;
            if too_large && self.takes_bundles_apart && self.is_among_resources() && bundle::begins(bytes) {
                self.form = Form::Bundle(Walk::new(bundle::entries()));
            }
            if matches!(self.form, Form::Within(_) | Form::Bundle(_)) {
                match self.row_within()? {
                    Row::Found(found) => return Ok(Some(found)),
                    Row::Over => return Ok(None),
                    Row::Passed => continue,
                }
            }
            let (bytes, last) = self.input.bytes();
            let scanned = match &mut self.form {
                Form::Lines => line(bytes, last),
                Form::Csv => scan(self.dialect, bytes, last, &mut self.cells),
                Form::Json => {
                    match document::shape(bytes, last).or(too_large.then_some(Shape::Lines)) {
                        Some(shape) => self.form = Form::of(shape),
                        None => self.fill()?,
                    }
                    continue;
                }
                Form::Document(document) => match document.next(bytes, last) {
                    Ok(Next::End) => return Ok(None),
                    Ok(Next::Unfinished) => Scan::Unfinished,
                    Ok(Next::Passed(count)) => {
                        self.input.consume(count);
                        continue;
                    }
                    Ok(Next::Element(start, end)) => {
                        self.input.consume(start);
                        Scan::Record { length: end - start, taken: end - start }
                    }
                    Err(broken) => return Err(self.broken(broken)),
                },
                Form::Within(_) | Form::Bundle(_) => continue,
            };
            match scanned {
                Scan::Unclosed => {
                    return Err(DeliveryError::QuoteUnclosed { dataset: self.dataset.clone(), line: self.input.line });
                }
                Scan::Unfinished if too_large => return Err(self.too_large()),
                Scan::Unfinished => self.fill()?,
                Scan::Record { length, .. } | Scan::Malformed { length, .. } if length > RECORD_BYTES_MAX => {
                    return Err(self.too_large());
                }
                Scan::Record { length, taken } => return Ok(Some(Found::whole(length, taken, false))),
                Scan::Malformed { length, taken } => return Ok(Some(Found::whole(length, taken, true))),
            }
        }
    }

    /// Steps over what is no record of a CSV: the lines before its header, and comments; false where only the lines at
    /// its end are left, which are none either.
    fn at_a_record(&mut self) -> Result<bool, DeliveryError> {
        loop {
            let (bytes, last) = self.input.bytes();
            let is_comment = self.csv.comment.is_some() && bytes.first().copied() == self.csv.comment;
            if self.csv.skip_top > 0 || is_comment {
                match line(bytes, last) {
                    Scan::Record { taken, .. } if taken > 0 => {
                        self.input.consume(taken);
                        self.csv.skip_top =
                            if is_comment && self.csv.skip_top == 0 { 0 } else { self.csv.skip_top - 1 };
                    }
                    _ if last => return Ok(false),
                    _ if bytes.len() > RECORD_BYTES_MAX => return Err(self.too_large()),
                    _ => self.fill()?,
                }
                continue;
            }
            let bottom = self.lines_at_the_end();
            if bottom == 0 || has_more_lines(bytes, bottom) {
                return Ok(true);
            }
            if last {
                return Ok(false);
            }
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(self.too_large());
            }
            self.fill()?;
        }
    }

    /// What stands next on the way through a document, or through a Bundle that is taken apart.
    fn row_within(&mut self) -> Result<Row, DeliveryError> {
        let (bytes, last) = self.input.bytes();
        let is_bundle = matches!(self.form, Form::Bundle(_));
        let (Form::Within(walk) | Form::Bundle(walk)) = &mut self.form else { return Ok(Row::Passed) };
        let passed = match walk.next(bytes, last) {
            Ok(Next::End) => return Ok(Row::Over),
            Ok(Next::Unfinished) if bytes.len() > RECORD_BYTES_MAX => return Err(self.too_large()),
            Ok(Next::Unfinished) => return self.fill().map(|()| Row::Passed),
            Ok(Next::Passed(count)) => count,
            Ok(Next::Element(start, end)) if end - start > RECORD_BYTES_MAX => return Err(self.too_large()),
            Ok(Next::Element(start, end)) => {
                let element = bytes.get(start..end).unwrap_or(&[]);
                let row = if is_bundle { bundle::resource(element) } else { path::within(element, &walk.path().row) };
                let malformed = row.is_none();
                if !malformed || !is_bundle {
                    let row = row.unwrap_or(0..element.len());
                    return Ok(Row::Found(Found { skip: start + row.start, length: row.len(), taken: end, malformed }));
                }
                end
            }
            Err(broken) => return Err(self.broken(broken)),
        };
        if is_bundle && walk.is_between_documents() {
            // What follows may have any shape.
            self.form = Form::Json;
        }
        self.input.consume(passed);
        Ok(Row::Passed)
    }

    /// Whether it stands where a resource begins, or a Bundle.
    fn is_among_resources(&self) -> bool {
        matches!(self.form, Form::Json | Form::Lines | Form::Document(Document::Objects))
    }

    fn broken(&self, broken: Broken) -> DeliveryError {
        let (line, byte) = (self.input.line_at(broken.at), self.input.consumed + broken.at as u64);
        DeliveryError::Document { dataset: self.dataset.clone(), line, byte, what: broken.what }
    }

    fn too_large(&self) -> DeliveryError {
        let (dataset, line) = (self.dataset.clone(), self.input.line);
        DeliveryError::RecordTooLarge { dataset, line, bytes_max: RECORD_BYTES_MAX }
    }

    /// Refuses what is no text that is read here, and steps over a byte order mark.
    fn look_at_the_beginning(&mut self) -> Result<(), DeliveryError> {
        loop {
            let (bytes, last) = self.input.bytes();
            if last || bytes.len() >= file_form::LOOKED_AT {
                break;
            }
            self.fill()?;
        }
        if let Some(what) = file_form::refusal(self.input.bytes().0) {
            return Err(DeliveryError::OtherForm { dataset: self.dataset.clone(), what });
        }
        self.input.skip_mark();
        Ok(())
    }

    fn fill(&mut self) -> Result<(), DeliveryError> {
        let position = self.input.consumed;
        self.input.fill().map_err(|source| DeliveryError::unread(&self.dataset, position, source))
    }
}

/// Whether more than so many lines that are not blank begin in the bytes.
fn has_more_lines(bytes: &[u8], count: usize) -> bool {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter(|line| !line.trim_ascii().is_empty()).take(count + 1).count() > count
}
