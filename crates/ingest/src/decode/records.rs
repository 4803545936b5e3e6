//! The records of a delivered file, found one after the other in a buffer: lines of a CSV, JSON in whatever shape.
//!
//! The first bytes say what the file is. What is found is decoded by `delivery`, and drafted into a contract by
//! `sample`. Invariant: a record that was found is consumed with [`FileRecords::consume`] before the next is asked for.

use std::io::Read;

use vitalake_contract::DeliveryFormat;
use vitalake_contract::file_options::{CsvOptions, FileOptions};

use super::csv::{Cell, Dialect, Scan, line, scan};
use super::document::{self, Broken, Document, Next, Shape};
use super::file_form;
use super::input::Input;
use super::path::{self, Walk};
use super::refused::DeliveryError;

/// How large one record may be.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

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

/// The records of one file.
#[derive(Debug)]
pub(super) struct FileRecords<R> {
    dataset: String,
    input: Input<R>,
    form: Form,
    cells: Vec<Cell>,
    csv: CsvOptions,
    dialect: Dialect,
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
        Self { dataset, input: Input::new(reader), form, cells: Vec::new(), csv: options.csv.clone(), dialect }
    }

    /// The way to the rows, where it led to none in all of the file.
    pub(super) fn lost_way(&self) -> Option<&str> {
        match &self.form {
            Form::Within(walk) if !walk.has_arrived() => Some(&walk.path().text),
            _ => None,
        }
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
            if bytes.is_empty() && last && !matches!(self.form, Form::Document(_) | Form::Within(_)) {
                return Ok(None);
            }
            let too_large = bytes.len() > RECORD_BYTES_MAX;
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
                Form::Within(walk) => match walk.next(bytes, last) {
                    Ok(Next::End) => return Ok(None),
                    Ok(Next::Unfinished) => Scan::Unfinished,
                    Ok(Next::Passed(count)) => {
                        self.input.consume(count);
                        continue;
                    }
                    Ok(Next::Element(start, end)) if end - start <= RECORD_BYTES_MAX => {
                        let element = bytes.get(start..end).unwrap_or(&[]);
                        let row = path::within(element, &walk.path().row);
                        let malformed = row.is_none();
                        let row = row.unwrap_or(0..element.len());
                        let found = Found { skip: start + row.start, length: row.len(), taken: end, malformed };
                        return Ok(Some(found));
                    }
                    Ok(Next::Element(..)) => return Err(self.too_large()),
                    Err(broken) => return Err(self.broken(broken)),
                },
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
            let bottom = self.csv.skip_bottom as usize;
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
