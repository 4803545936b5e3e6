//! A sample, read to its end: how many records it holds, and what was seen of each of their fields.
//!
//! Invariant: one record is in memory at a time, and none is kept.

use std::io::Read;

use serde_json::Value as Json;
use vitalake_ingest::decode::{DeliveryError, DeliveryFormat, Sampled, read_sample};

use super::guess::Value;
use super::name::is_like_a_value;
use super::tree::Node;

/// What a sample showed.
#[derive(Debug)]
pub(super) struct Sample {
    /// Records that could be read.
    pub(super) records: u64,
    /// Records that a delivery would send to quarantine.
    pub(super) unreadable: u64,
    /// Their fields, below the record.
    pub(super) root: Node,
    /// Whether a field's name may hold dots, as a CSV's may.
    pub(super) csv: bool,
}

/// Why no contract can be drafted.
#[derive(Debug, thiserror::Error)]
pub(super) enum SampleError {
    /// A delivery of the sample would be refused.
    #[error("{}", .0.to_string().replace("delivery of", "sample for"))]
    Refused(#[from] DeliveryError),
    /// The first line of a CSV holds values.
    #[error(
        "the first line of the sample looks like values and not like the names of columns: write their names there"
    )]
    NoHeader,
}

/// Reads a sample.
pub(super) fn read<R: Read>(dataset: &str, format: DeliveryFormat, reader: R) -> Result<Sample, SampleError> {
    let csv = format == DeliveryFormat::Csv;
    let mut sample = Sample { records: 0, unreadable: 0, root: Node::default(), csv };
    let mut is_header = true;
    read_sample(dataset, format, reader, &mut |sampled| match sampled {
        Sampled::Header(names) => {
            is_header = looks_like_a_header(&names);
            sample.root.fields = names.iter().map(|name| Node::named(name)).collect();
        }
        Sampled::Cells(cells) => {
            sample.records += 1;
            for (field, cell) in sample.root.fields.iter_mut().zip(&cells).filter(|(_, cell)| !cell.is_empty()) {
                field.seen.see(Value::Cell(cell));
                field.seen.see_again(cell);
            }
        }
        Sampled::Json(text) => match serde_json::from_str(text) {
            Ok(Json::Object(record)) => {
                sample.records += 1;
                sample.root.see_record(&record);
            }
            _ => sample.unreadable += 1,
        },
        Sampled::Unreadable => sample.unreadable += 1,
    })?;
    if is_header { Ok(sample) } else { Err(SampleError::NoHeader) }
}

/// Whether most of the cells of a first line are names.
fn looks_like_a_header(cells: &[String]) -> bool {
    let values = cells.iter().filter(|cell| is_like_a_value(cell)).count();
    cells.iter().any(|cell| !cell.is_empty()) && values * 2 < cells.len().max(1)
}
