//! COPY's binary form as rows: each the bytes of its fields, found without copying them.
//!
//! Invariant: a row is given only when all of it is here, and the end only when the server has written its mark.

use std::ops::Range;

/// What a stream of COPY begins with, before its flags.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of an extension.
const HEAD_BYTES: usize = 19;
/// The mark of the end, in place of a number of fields.
const END: i16 = -1;
/// How much of what was given is kept before it is thrown away.
const SPENT_BYTES_MAX: usize = 1 << 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A row; its fields are in [`CopyRows::field`].
    Row,
    /// More bytes are needed.
    More,
    /// The last row was given.
    End,
}

/// The stream is not what COPY writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A stream of rows.
#[derive(Debug, Default)]
pub(super) struct CopyRows {
    bytes: Vec<u8>,
    at: usize,
    is_begun: bool,
    fields: Vec<Option<Range<usize>>>,
    row: Range<usize>,
}

impl CopyRows {
    /// Takes in more of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at == self.bytes.len() || self.at > SPENT_BYTES_MAX {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Finds the next row of so many fields.
    pub(super) fn next(&mut self, fields: usize) -> Result<Next, Malformed> {
        if !self.is_begun {
            let Some(head) = self.bytes.get(self.at..self.at + HEAD_BYTES) else { return Ok(Next::More) };
            let extension = head.last_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
            if !head.starts_with(SIGNATURE) || extension > SPENT_BYTES_MAX {
                return Err(Malformed);
            }
            if self.bytes.len() < self.at + HEAD_BYTES + extension {
                return Ok(Next::More);
            }
            self.at += HEAD_BYTES + extension;
            self.is_begun = true;
        }
        let Some(count) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<2>) else { return Ok(Next::More) };
        match i16::from_be_bytes(*count) {
            END => return Ok(Next::End),
            count if usize::try_from(count) == Ok(fields) => {}
            _ => return Err(Malformed),
        }
        self.fields.clear();
        let begin = self.at;
        let mut at = begin + 2;
        for _ in 0..fields {
            let Some(length) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(Next::More) };
            at += 4;
            let field = match i32::from_be_bytes(*length) {
                -1 => None,
                length => {
                    let length = usize::try_from(length).map_err(|_| Malformed)?;
                    let field = at..at + length;
                    at += length;
                    Some(field)
                }
            };
            self.fields.push(field);
        }
        if at > self.bytes.len() {
            return Ok(Next::More);
        }
        (self.at, self.row) = (at, begin..at);
        Ok(Next::Row)
    }

    /// A field of the row that was found; `None` where it is null.
    pub(super) fn field(&self, at: usize) -> Option<&[u8]> {
        let field = self.fields.get(at)?.clone()?;
        self.bytes.get(field)
    }

    /// The bytes of the first fields of the row, with their lengths.
    pub(super) fn first_fields(&self, count: usize) -> &[u8] {
        let after = self.fields.get(count..).unwrap_or_default();
        // What comes after them: a length of four bytes each, and their bytes.
        let rest: usize = after.iter().map(|field| 4 + field.as_ref().map_or(0, Range::len)).sum();
        self.bytes.get(self.row.start..self.row.end.saturating_sub(rest)).unwrap_or_default()
    }

    /// How many bytes the row has.
    pub(super) fn row_bytes(&self) -> usize {
        self.row.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stream(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
        let mut bytes = [SIGNATURE, &[0; 8]].concat();
        for row in rows {
            bytes.extend(i16::try_from(row.len()).unwrap().to_be_bytes());
            for field in *row {
                let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap());
                bytes.extend(length.to_be_bytes());
                bytes.extend(field.unwrap_or_default());
            }
        }
        bytes.extend(END.to_be_bytes());
        bytes
    }

    #[test]
    fn rows_are_the_same_however_the_stream_is_cut() {
        let bytes = stream(&[&[Some(b"ab"), None, Some(b"")], &[Some(b"c"), Some(b"defg"), None]]);
        for piece in [1, 2, 7, bytes.len()] {
            let (mut rows, mut found, mut ended) = (CopyRows::default(), Vec::new(), false);
            for piece in bytes.chunks(piece) {
                rows.push(piece);
                loop {
                    match rows.next(3).unwrap() {
                        Next::Row => {
                            found.push((0..3).map(|at| rows.field(at).map(<[u8]>::to_vec)).collect::<Vec<_>>())
                        }
                        Next::More => break,
                        Next::End => {
                            ended = true;
                            break;
                        }
                    }
                }
            }
            let field = |bytes: &[u8]| Some(bytes.to_vec());
            let want = [vec![field(b"ab"), None, field(b"")], vec![field(b"c"), field(b"defg"), None]];
            assert!(ended && found == want, "{piece}: {found:?}");
        }
    }

    #[test]
    fn the_first_fields_are_equal_where_only_the_others_differ() {
        let first = |last: &[u8]| {
            let mut rows = CopyRows::default();
            rows.push(&stream(&[&[Some(b"ab"), None, Some(last)]]));
            assert_eq!(rows.next(3), Ok(Next::Row));
            rows.first_fields(2).to_vec()
        };
        assert_eq!(first(b"x"), first(b"yz"));
        assert!(!first(b"x").is_empty());
    }

    #[test]
    fn what_is_no_copy_is_refused_and_what_is_cut_off_has_no_end() {
        let mut rows = CopyRows::default();
        rows.push(&[b'x'; 64]);
        assert_eq!(rows.next(1), Err(Malformed));
        let bytes = stream(&[&[Some(b"ab")]]);
        let mut other = CopyRows::default();
        other.push(&bytes);
        assert_eq!(other.next(2), Err(Malformed), "another number of fields");
        let mut cut = CopyRows::default();
        cut.push(&bytes[..bytes.len() - 1]);
        assert_eq!((cut.next(1), cut.next(1)), (Ok(Next::Row), Ok(Next::More)));
    }
}
