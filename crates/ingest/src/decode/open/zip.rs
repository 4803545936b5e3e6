//! A ZIP archive, put aside whole since its index is at its end: each file in it a part of the delivery, in the index's order.
//!
//! Names are looked at and never used as paths: one that climbs out of its folder is a sign that the archive is no
//! export, and refuses it. Invariant: a part ends only where size and checksum of the index have come out.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::unpack::is_bomb;
use super::{Opened, Part, Spoilt};
use crate::decode::refused::DeliveryError;
use crate::decode::spool::{Spool, SpoolError};
use vitalake_contract::DeliveryFormat;

/// How many files an archive may have.
const ENTRIES_MAX: usize = 1_000;
/// So many bytes may stand in an index for each file.
const INDEX_ENTRY_BYTES: u64 = 46;
const FORM: &str = "ZIP";

/// What is at the end of an archive: its number of files, and how large its index is.
const END_BYTES: usize = 22;

/// The files of an archive.
pub(super) fn parts<R: Read, F: Read>(
    dataset: &str,
    format: DeliveryFormat,
    mut file: F,
) -> Result<VecDeque<Part<R>>, DeliveryError> {
    let mut consumed = 0;
    let spool = Spool::of(&mut file, &mut consumed).map_err(|error| match error {
        SpoolError::Read(source) => DeliveryError::unread(dataset, consumed, source),
        SpoolError::Write(source) => DeliveryError::NoRoom { dataset: dataset.to_owned(), source },
    })?;
    let refuse = |what: &'static str| DeliveryError::Archive { dataset: dataset.to_owned(), what };
    let spool = Arc::new(spool);
    check_count(&spool).map_err(refuse)?;
    let mut archive = ZipArchive::new(BufReader::new(SpoolReader { spool: Arc::clone(&spool), at: 0 }))
        .map_err(|_| refuse("its index cannot be read: it is cut off or damaged, pack it again"))?;
    if archive.len() > ENTRIES_MAX {
        return Err(refuse(TOO_MANY));
    }
    let mut found: Vec<(String, Entry)> = Vec::new();
    for index in 0..archive.len() {
        let file =
            archive.by_index_raw(index).map_err(|_| refuse("its index and its files do not agree: pack it again"))?;
        let name = file.name().map_err(|_| refuse("a name in it cannot be read"))?.into_owned();
        if file.is_dir() || is_beside(&name) {
            continue;
        }
        if file.enclosed_name().is_none() || name.starts_with('/') || file.is_symlink() {
            return Err(refuse("a file in it has a name that leads out of its folder: look who made it"));
        }
        if file.encrypted() {
            return Err(refuse("it is encrypted: pack it without a password"));
        }
        if name == "[Content_Types].xml" {
            return Err(refuse("it is a workbook or a document: save the sheet as CSV in UTF-8"));
        }
        let deflated = match file.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            _ => return Err(refuse("it is packed by another method than deflate: pack it in the usual way")),
        };
        let start = file.data_start().ok_or_else(|| refuse("its index and its files do not agree: pack it again"))?;
        let range =
            Range { reader: SpoolReader { spool: Arc::clone(&spool), at: start }, left: file.compressed_size() };
        let packed = match deflated {
            true => Packed::Deflated(Box::new(flate2::bufread::DeflateDecoder::new(BufReader::new(range)))),
            false => Packed::Stored(range),
        };
        let (size, checksum, came) = (file.size(), file.crc32(), file.compressed_size());
        found.push((name, Entry { packed, size, checksum, came, unpacked: 0, sum: flate2::Crc::new() }));
    }
    drop(archive);
    if found.is_empty() {
        return Err(refuse("there is no file in it"));
    }
    let mut parts = VecDeque::with_capacity(found.len());
    for (name, entry) in found {
        let format = match format {
            DeliveryFormat::Zip => DeliveryFormat::of_name(&name).filter(|form| *form != DeliveryFormat::Zip),
            format => Some(format),
        };
        let Some(format) = format else {
            return Err(refuse(
                "the form of a file in it cannot be told from its name: say --format, or leave the file out",
            ));
        };
        parts.push_back(Part { name: Some(name), format, file: Opened::Entry(Box::new(entry)) });
    }
    Ok(parts)
}

const TOO_MANY: &str = "it has more than 1000 files: deliver them in several archives";

/// Looks at the number of files before an index of millions is taken into memory.
fn check_count(spool: &Spool) -> Result<(), &'static str> {
    // A comment of up to 64 KiB may follow.
    let length = spool.len();
    let looked = length.min(END_BYTES as u64 + u64::from(u16::MAX));
    let tail = spool.bytes(length - looked, usize::try_from(looked).unwrap_or(0));
    let tail = tail.map_err(|_| "it could not be read again")?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    let end = end.ok_or("its index is not there: it is cut off, deliver it whole")?;
    let number = |at: usize| {
        let bytes = tail.get(end + at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let (files, index_bytes) = ((number(8) >> 16) as usize, u64::from(number(12)));
    // A name has at most 64 KiB, and few are long.
    if files > ENTRIES_MAX || index_bytes > (ENTRIES_MAX as u64) * (INDEX_ENTRY_BYTES + 4_096) {
        return Err(TOO_MANY);
    }
    Ok(())
}

/// What systems leave in an archive beside its files.
fn is_beside(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    name.starts_with("__MACOSX/") || matches!(last, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}

/// A part of a file that was put aside.
#[derive(Debug)]
struct Range {
    reader: SpoolReader,
    left: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads what was put aside from a place of its own.
#[derive(Debug)]
struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.spool.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for SpoolReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.spool.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[derive(Debug)]
enum Packed {
    Stored(Range),
    Deflated(Box<flate2::bufread::DeflateDecoder<BufReader<Range>>>),
}

/// One file of an archive.
#[derive(Debug)]
pub(in crate::decode) struct Entry {
    packed: Packed,
    size: u64,
    checksum: u32,
    came: u64,
    unpacked: u64,
    sum: flate2::Crc,
}

impl Read for Entry {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let unpacked = self.unpacked;
        let spoilt = |what| io::Error::from(Spoilt::Packing { form: FORM, what, unpacked });
        let read = match &mut self.packed {
            Packed::Stored(range) => range.read(buffer),
            Packed::Deflated(unpacker) => unpacker.read(buffer),
        };
        let count = read.map_err(|_| spoilt("it is damaged: pack it again"))?;
        self.unpacked += count as u64;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        if self.unpacked > self.size {
            return Err(spoilt("it is larger than its archive says: pack it again"));
        }
        if is_bomb(self.unpacked, self.came) {
            return Err(spoilt("it becomes more than 400 times as large: deliver it unpacked if it is meant so"));
        }
        if count == 0 && (self.unpacked != self.size || self.sum.sum() != self.checksum) {
            return Err(spoilt("its checksum does not come out: pack it again"));
        }
        Ok(count)
    }
}
