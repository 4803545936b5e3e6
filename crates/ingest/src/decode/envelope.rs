//! What a record carries beside its value, for the columns `_key` and `_headers` of raw and quarantine.
//!
//! Most topics have no headers and many no keys, so what is there is kept by its row and a column without any costs
//! nothing per row. Invariant: a record's key and headers go where its row or reject goes, as they came.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, BinaryViewBuilder, StringViewArray, StringViewBuilder};
use arrow::error::ArrowError;

/// A record's key, and its headers as JSON text (see [`crate::headers`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope<'a> {
    /// The key's bytes; `None` where the record has no key.
    pub key: Option<&'a [u8]>,
    /// The headers; `None` where the record has none.
    pub headers: Option<&'a str>,
}

/// Where a record's key and headers lie in the batch's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) key: Option<Range<usize>>,
    pub(super) headers: Option<Range<usize>>,
}

/// The keys and headers of a batch.
#[derive(Debug, Default)]
pub(super) struct Envelopes {
    keys: Vec<u8>,
    headers: String,
    /// Of the record that was begun.
    open: Span,
    key_rows: Vec<(usize, Range<usize>)>,
    header_rows: Vec<(usize, Range<usize>)>,
}

impl Envelopes {
    /// Takes what belongs to the record that is begun next.
    #[inline]
    pub(super) fn begin(&mut self, envelope: Envelope<'_>) {
        if let Some(key) = envelope.key {
            let start = self.keys.len();
            self.keys.extend_from_slice(key);
            self.open.key = Some(start..self.keys.len());
        }
        if let Some(headers) = envelope.headers {
            let start = self.headers.len();
            self.headers.push_str(headers);
            self.open.headers = Some(start..self.headers.len());
        }
    }

    /// The record that was begun becomes a row.
    #[inline]
    pub(super) fn keep(&mut self, row: usize) {
        self.key_rows.extend(self.open.key.take().map(|range| (row, range)));
        self.header_rows.extend(self.open.headers.take().map(|range| (row, range)));
    }

    /// The record that was begun becomes a reject, which takes its span.
    pub(super) fn take_open(&mut self) -> Span {
        std::mem::take(&mut self.open)
    }

    /// What belongs to a row.
    pub(super) fn of(&self, row: usize) -> Span {
        let find = |rows: &[(usize, Range<usize>)]| {
            let at = rows.binary_search_by_key(&row, |(row, _)| *row).ok()?;
            rows.get(at).map(|(_, range)| range.clone())
        };
        Span { key: find(&self.key_rows), headers: find(&self.header_rows) }
    }

    /// How many bytes are held.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + self.headers.len()
    }

    /// The columns `_key` and `_headers` of so many rows.
    pub(super) fn columns(&self, rows: usize) -> Result<[ArrayRef; 2], ArrowError> {
        let keys = self.key_rows.iter().map(|(row, range)| (*row, range.clone()));
        let headers = self.header_rows.iter().map(|(row, range)| (*row, range.clone()));
        Ok([self.key_column(rows, keys)?, self.header_column(rows, headers)?])
    }

    /// The same for spans, one a row.
    pub(super) fn columns_of<'a>(&self, spans: impl Iterator<Item = &'a Span>) -> Result<[ArrayRef; 2], ArrowError> {
        let (mut keys, mut headers, mut rows) = (Vec::new(), Vec::new(), 0);
        for span in spans {
            keys.extend(span.key.clone().map(|range| (rows, range)));
            headers.extend(span.headers.clone().map(|range| (rows, range)));
            rows += 1;
        }
        Ok([self.key_column(rows, keys.into_iter())?, self.header_column(rows, headers.into_iter())?])
    }

    fn key_column(
        &self,
        rows: usize,
        there: impl ExactSizeIterator<Item = (usize, Range<usize>)>,
    ) -> Result<ArrayRef, ArrowError> {
        if there.len() == 0 {
            return Ok(Arc::new(BinaryViewArray::new_null(rows)));
        }
        let (mut builder, mut at) = (BinaryViewBuilder::with_capacity(rows), 0);
        for (row, range) in there {
            (at..row).for_each(|_| builder.append_null());
            builder.try_append_value(self.keys.get(range).unwrap_or_default())?;
            at = row + 1;
        }
        (at..rows).for_each(|_| builder.append_null());
        Ok(Arc::new(builder.finish()))
    }

    fn header_column(
        &self,
        rows: usize,
        there: impl ExactSizeIterator<Item = (usize, Range<usize>)>,
    ) -> Result<ArrayRef, ArrowError> {
        if there.len() == 0 {
            return Ok(Arc::new(StringViewArray::new_null(rows)));
        }
        let (mut builder, mut at) = (StringViewBuilder::with_capacity(rows), 0);
        for (row, range) in there {
            (at..row).for_each(|_| builder.append_null());
            builder.try_append_value(self.headers.get(range).unwrap_or_default())?;
            at = row + 1;
        }
        (at..rows).for_each(|_| builder.append_null());
        Ok(Arc::new(builder.finish()))
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.headers.clear();
        self.open = Span::default();
        self.key_rows.clear();
        self.header_rows.clear();
    }
}
