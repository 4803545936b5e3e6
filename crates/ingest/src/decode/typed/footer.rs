//! A look at a Parquet file's footer before the library reads it: a list there may claim more elements than there are
//! bytes, and room for them would be asked of memory.
//!
//! The footer is Thrift in its compact form. Invariant: what passes here holds no list longer than the bytes after it, and
//! is nested no deeper than [`DEPTH_MAX`].

use crate::decode::spool::Spool;

/// The footer's length and the mark stand at the end.
const TAIL_BYTES: u64 = 8;
/// How large a footer may be.
const FOOTER_BYTES_MAX: u64 = 256 << 20;
const DEPTH_MAX: usize = 64;

/// Checks the end of a file.
pub(super) fn check(file: &Spool) -> Result<(), &'static str> {
    let unread = |_| "it could not be read again";
    let length = file.len();
    if length < 2 * TAIL_BYTES {
        return Err("there is none: the file is cut off or empty");
    }
    let tail = file.bytes(length - TAIL_BYTES, 8).map_err(unread)?;
    let (size, mark) = tail.split_at_checked(4).unwrap_or_default();
    match mark {
        b"PAR1" => {}
        b"PARE" => return Err("it is encrypted: write it in the clear"),
        _ => return Err("there is none: the file is cut off, write it to its end and deliver it again"),
    }
    let size = size.first_chunk().map_or(0, |size| u64::from(u32::from_le_bytes(*size)));
    if size > length - TAIL_BYTES - 4 {
        return Err("it is said to be larger than the file");
    }
    if size > FOOTER_BYTES_MAX {
        return Err("it is larger than 256 MiB: write larger row groups, fewer of them");
    }
    let footer = file.bytes(length - TAIL_BYTES - size, usize::try_from(size).unwrap_or(0)).map_err(unread)?;
    Thrift { bytes: &footer, at: 0 }.structure(0).ok_or("it is no footer of Parquet, or lies about its lists")
}

/// Steps over values of Thrift's compact protocol.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn structure(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            // The field's number is a difference in the upper half, or follows.
            if head >> 4 == 0 {
                self.varint()?;
            }
            self.value(head & 0x0f, depth, false)?;
        }
    }

    fn value(&mut self, kind: u8, depth: usize, in_list: bool) -> Option<()> {
        match kind {
            // A field's truth stands in its type; an element's is a byte.
            1 | 2 if in_list => self.skip(1),
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(usize::try_from(length).ok()?)
            }
            9 | 10 => self.list(depth + 1),
            11 => self.map(depth + 1),
            12 => self.structure(depth + 1),
            13 => self.skip(16),
            _ => None,
        }
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        let head = self.byte()?;
        let count = if head >> 4 == 0x0f { self.varint()? } else { u64::from(head >> 4) };
        self.elements(count, &[head & 0x0f], depth)
    }

    fn map(&mut self, depth: usize) -> Option<()> {
        let count = self.varint()?;
        if count == 0 {
            return Some(());
        }
        let kinds = self.byte()?;
        self.elements(count, &[kinds >> 4, kinds & 0x0f], depth)
    }

    fn elements(&mut self, count: u64, kinds: &[u8], depth: usize) -> Option<()> {
        if depth > DEPTH_MAX || count > self.bytes.len().saturating_sub(self.at) as u64 {
            return None;
        }
        for _ in 0..count {
            for kind in kinds {
                self.value(*kind, depth, true)?;
            }
        }
        Some(())
    }
}
