//! A place in the journal from which it is read on, entry by entry, as they become durable.
//!
//! Invariant: each entry is given once and in order; one that is not durable yet is not given.

use std::io;
use std::path::PathBuf;

use super::chain::{Found, Recorded};
use super::files::{lines, segments};
use super::{Audit, Inner};

/// Bytes that are read at once.
const BYTES_MAX: u64 = 4 << 20;

/// Where to read on.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The number of the entry that comes next.
    next: u64,
    /// The file in which it is looked for, and from where.
    place: Option<(PathBuf, u64, u64)>,
}

impl Cursor {
    /// Before the entry of a number.
    #[must_use]
    pub fn at(next: u64) -> Self {
        Self { next, place: None }
    }
}

impl Audit {
    /// The next entries, as many as are durable, at most those of a few megabytes. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_on(&self, cursor: &mut Cursor) -> io::Result<Vec<Recorded>> {
        let Some(inner) = &self.inner else { return Ok(Vec::new()) };
        let last = self.tail().sequence;
        while cursor.next <= last {
            let Some((path, first, from)) = inner.place(cursor)? else { return Ok(Vec::new()) };
            let file = inner.disk.open(&path, false)?;
            let left = file.len()?.saturating_sub(from).min(BYTES_MAX);
            let mut bytes = vec![0; usize::try_from(left).unwrap_or_default()];
            file.read_exact_at(&mut bytes, from)?;
            let (mut found, mut read, mut is_over) = (Vec::new(), 0, false);
            for (line, end) in lines(&bytes).filter(|(_, end)| bytes.get(end - 1) == Some(&b'\n')) {
                let Some(line) = Found::read(line) else {
                    read = end;
                    continue;
                };
                if line.recorded.sequence > last {
                    is_over = true;
                    break;
                }
                read = end;
                if line.recorded.sequence >= cursor.next {
                    cursor.next = line.recorded.sequence + 1;
                    found.push(line.recorded);
                }
            }
            if read == 0 && !is_over {
                // The file has no more: what comes next lies in the one after it.
                cursor.place = inner.after(first)?;
                if cursor.place.is_none() {
                    cursor.next = last + 1;
                }
                continue;
            }
            cursor.place = Some((path, first, from + read as u64));
            if is_over || !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }
}

impl Inner {
    /// The file in which the next entry is, and from where to look.
    fn place(&self, cursor: &Cursor) -> io::Result<Option<(PathBuf, u64, u64)>> {
        if cursor.place.is_some() {
            return Ok(cursor.place.clone());
        }
        let all = segments(&self.disk, &self.folder)?;
        let holding = all.iter().rev().find(|segment| segment.first <= cursor.next).or(all.first());
        Ok(holding.map(|segment| (segment.path.clone(), segment.first, 0)))
    }

    /// The file after the one whose name has this number.
    fn after(&self, first: u64) -> io::Result<Option<(PathBuf, u64, u64)>> {
        let all = segments(&self.disk, &self.folder)?;
        let next = all.into_iter().find(|segment| segment.first > first);
        Ok(next.map(|segment| (segment.path, segment.first, 0)))
    }
}
