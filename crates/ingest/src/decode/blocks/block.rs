//! One block of lines → batches of rows and rejects, each numbered from 0.
//!
//! A block in which all is text is what its rows' records point into; of another each line is looked at. Invariant: a
//! record is decoded when it ends within the block, and what is left begins with a quote that does not close in it.

use std::ops::Range;

use memchr::memchr;

use crate::decode::csv::{Cell, CsvDecoder, Dialect, Scan, line, scan};
use crate::decode::delivery::BATCH_RECORDS_MAX;
use crate::decode::input::line_ends;
use crate::decode::records::RECORD_BYTES_MAX;
use crate::decode::{DecodeError, Decoded, RecordMeta};

/// What a block became.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The block.
    pub(super) bytes: Vec<u8>,
    /// How many of its bytes were decoded; the others are the beginning of a record.
    pub(super) done: usize,
    /// Batches, and how many records each was.
    pub(super) parts: Vec<(usize, Decoded)>,
    /// How many lines end in what was decoded.
    pub(super) lines: u64,
    /// Why what follows was not decoded.
    pub(super) broken: Option<Broken>,
}

/// Why a block ends early.
#[derive(Debug)]
pub(super) enum Broken {
    /// A record has too many bytes.
    TooLarge,
    /// A batch could not be made.
    Decode(DecodeError),
}

/// The bytes of a block.
enum Content {
    /// Text without zeros.
    Text(String),
    Bytes(Vec<u8>),
}

impl Content {
    fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) if memchr(0, text.as_bytes()).is_none() => Self::Text(text),
            Ok(text) => Self::Bytes(text.into_bytes()),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Decodes a block that begins with a record; the positions of its records are `meta` with numbers that begin anew in
/// each batch.
pub(super) fn decode(csv: &mut CsvDecoder, bytes: Vec<u8>, meta: RecordMeta) -> Outcome {
    let mut content = Content::of(bytes);
    let (mut cells, mut parts, mut broken) = (Vec::new(), Vec::new(), None);
    let (mut at, mut meta) = (0, RecordMeta { offset: 0, ..meta });
    let (dialect, comment) = (csv.dialect(), csv.comment());
    loop {
        let step = next(content.bytes(), at, (dialect, comment), &mut cells);
        match step {
            Step::Over => break,
            Step::TooLarge => {
                broken = Some(Broken::TooLarge);
                break;
            }
            Step::Passed(taken) => at += taken,
            Step::Record { length, taken, malformed } => {
                if length > 0 {
                    append(csv, &content, at..at + length, (!malformed).then_some(&cells), meta);
                    meta.offset += 1;
                }
                at += taken;
            }
        }
        if csv.held().0 >= BATCH_RECORDS_MAX {
            broken = finish(csv, &mut content, &mut parts).err().map(Broken::Decode);
            meta.offset = 0;
            if broken.is_some() {
                break;
            }
        }
    }
    if csv.held().0 > 0
        && let Err(error) = finish(csv, &mut content, &mut parts)
    {
        broken = Some(Broken::Decode(error));
    }
    let lines = line_ends(content.bytes().get(..at).unwrap_or(&[]));
    Outcome { bytes: content.into_bytes(), done: at, parts, lines, broken }
}

enum Step {
    Record { length: usize, taken: usize, malformed: bool },
    Passed(usize),
    Over,
    TooLarge,
}

/// What stands at a place of a block, which ends with a line or with its file.
fn next(bytes: &[u8], at: usize, (dialect, comment): (Dialect, Option<u8>), cells: &mut Vec<Cell>) -> Step {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let Some(first) = rest.first() else { return Step::Over };
    if comment == Some(*first)
        && let Scan::Record { taken, .. } = line(rest, true)
    {
        return Step::Passed(taken);
    }
    match scan(dialect, rest, true, cells) {
        Scan::Record { length, .. } | Scan::Malformed { length, .. } if length > RECORD_BYTES_MAX => Step::TooLarge,
        Scan::Record { length, taken } => Step::Record { length, taken, malformed: false },
        Scan::Malformed { length, taken } => Step::Record { length, taken, malformed: true },
        Scan::Unclosed | Scan::Unfinished => Step::Over,
    }
}

/// Takes a record in; without cells it is none.
fn append(csv: &mut CsvDecoder, content: &Content, place: Range<usize>, cells: Option<&Vec<Cell>>, meta: RecordMeta) {
    let record = content.bytes().get(place.clone()).unwrap_or(&[]);
    match (cells, content) {
        (None, _) => csv.refuse_quotes(record, meta),
        (Some(cells), Content::Text(text)) => csv.append_within(text, place, cells, meta),
        (Some(cells), Content::Bytes(_)) => csv.append(record, cells, meta),
    }
}

fn finish(csv: &mut CsvDecoder, content: &mut Content, parts: &mut Vec<(usize, Decoded)>) -> Result<(), DecodeError> {
    let (records, _) = csv.held();
    let decoded = match content {
        Content::Text(text) => csv.finish_within(text)?,
        Content::Bytes(_) => csv.finish()?,
    };
    parts.push((records, decoded));
    Ok(())
}
