//! A delivered file as it is within what packs it: gzip, Zstandard or ZIP by its first bytes, or nothing.
//!
//! What its name says of packing is not asked. Of a ZIP every file is a part of the one delivery. Invariant: the end of a
//! part is told only where the packing's own check has come out, and the file under it is read to its end.

mod transcode;
mod unpack;
mod zip;

use std::collections::VecDeque;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::file_form::LOOKED_AT;
use super::refused::DeliveryError;
pub(super) use transcode::{Transcoded, of_text};
use unpack::{Counted, Unpacked};
use vitalake_contract::DeliveryFormat;
pub(super) use zip::Entry;

/// A file whose first bytes were looked at.
type Begun<R> = Chain<Cursor<Vec<u8>>, R>;

/// A packed file whose bytes are counted.
type Packed<R> = BufReader<Counted<Begun<R>>>;

/// What a file was packed with, where its bytes or its text are wrong; within the error of a reader.
#[derive(Debug, thiserror::Error)]
pub(super) enum Spoilt {
    /// The packing is broken.
    #[error("{form}: {what}, after {unpacked} unpacked bytes")]
    Packing { form: &'static str, what: &'static str, unpacked: u64 },
    /// The text is not in its encoding.
    #[error("not {encoding} at line {line}")]
    Encoding { encoding: &'static str, line: u64, byte: u64 },
}

impl From<Spoilt> for io::Error {
    fn from(spoilt: Spoilt) -> Self {
        Self::new(io::ErrorKind::InvalidData, spoilt)
    }
}

/// A delivered file, unpacked as it is read.
#[derive(Debug)]
pub(super) enum Opened<R: Read> {
    Plain(Begun<R>),
    Gzip(Box<Unpacked<MultiGzDecoder<Packed<R>>>>),
    Zstandard(Box<Unpacked<zstd::Decoder<'static, Packed<R>>>>),
    Entry(Box<Entry>),
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(file) => file.read(buffer),
            Self::Zstandard(file) => file.read(buffer),
            Self::Entry(file) => file.read(buffer),
        }
    }
}

/// One file of a delivery.
#[derive(Debug)]
pub(super) struct Part<R: Read> {
    /// Its name in its archive; none where it is the delivered file itself.
    pub(super) name: Option<String>,
    /// Its form.
    pub(super) format: DeliveryFormat,
    /// Its bytes.
    pub(super) file: Opened<R>,
}

/// Looks at the beginning of a delivered file; gives the files in it.
pub(super) fn open<R: Read>(
    dataset: &str,
    format: DeliveryFormat,
    mut reader: R,
) -> Result<VecDeque<Part<R>>, DeliveryError> {
    let mut begin = Vec::new();
    let read = reader.by_ref().take(LOOKED_AT as u64).read_to_end(&mut begin);
    read.map_err(|source| DeliveryError::unread(dataset, begin.len() as u64, source))?;
    let is_zip = begin.starts_with(b"PK\x03\x04") || begin.starts_with(b"PK\x05\x06");
    let mark = begin.first_chunk::<4>().copied().unwrap_or_default();
    let file = Cursor::new(begin).chain(reader);
    if is_zip {
        return zip::parts(dataset, format, file);
    }
    let failed = |source| DeliveryError::unread(dataset, 0, source);
    let file = match mark {
        [0x1f, 0x8b, ..] => Opened::Gzip(Box::new(unpack::gzip(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Opened::Zstandard(Box::new(unpack::zstandard(file).map_err(failed)?)),
        _ => Opened::Plain(file),
    };
    if format == DeliveryFormat::Zip {
        return Err(DeliveryError::OtherForm {
            dataset: dataset.to_owned(),
            what: "called a ZIP archive and is none: say its form (--format)",
        });
    }
    Ok(VecDeque::from([Part { name: None, format, file }]))
}
