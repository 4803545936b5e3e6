//! The records of a sample, for whoever drafts a contract from it: found as those of a delivery are, and not decoded.
//!
//! Invariant: what is given here is what a delivery of the same file would be decoded from.

use std::io::Read;

use vitalake_contract::file_options::FileOptions;

use super::DeliveryFormat;
use super::csv::Dialect;
use super::header::CELLS_MAX;
use super::records::FileRecords;
use super::refused::DeliveryError;

/// One thing of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sampled<'a> {
    /// The names in a CSV's first line.
    Header(Vec<String>),
    /// The cells of a line with as many of them as the header has.
    Cells(Vec<String>),
    /// A JSON value, as it stands in the file.
    Json(&'a str),
    /// A line or a value that a delivery would send to quarantine.
    Unreadable,
}

/// Reads a sample from its beginning to its end, one record in memory at a time.
///
/// # Errors
/// Where a delivery of the file would be refused as a whole.
pub fn read_sample<R: Read>(
    dataset: &str,
    format: DeliveryFormat,
    reader: R,
    sink: &mut dyn FnMut(Sampled<'_>),
) -> Result<(), DeliveryError> {
    let options = FileOptions::default();
    let dialect = Dialect::of(&options.csv);
    let mut records = FileRecords::new(dataset.to_owned(), format, reader, &options);
    let mut header = None;
    while let Some(found) = records.find()? {
        let (bytes, cells) = records.record(found);
        let text = std::str::from_utf8(bytes).ok().filter(|_| !found.malformed);
        match (format, text) {
            (_, Some(text)) if text.trim_ascii().is_empty() => {}
            (DeliveryFormat::Csv, Some(text)) => {
                let texts: Vec<String> = cells.iter().map(|cell| cell.text(text, dialect).into_owned()).collect();
                match header {
                    None if texts.len() > CELLS_MAX => {
                        return Err(DeliveryError::TooManyColumns {
                            dataset: dataset.to_owned(),
                            columns_max: CELLS_MAX,
                        });
                    }
                    None => {
                        header = Some(texts.len());
                        sink(Sampled::Header(texts));
                    }
                    Some(columns) if columns == texts.len() && !text.contains('\0') => sink(Sampled::Cells(texts)),
                    Some(_) => sink(Sampled::Unreadable),
                }
            }
            (_, Some(text)) => sink(Sampled::Json(text)),
            (_, None) => sink(Sampled::Unreadable),
        }
        records.consume(found);
    }
    Ok(())
}
