//! Reads Kafka's primitive types from a request. No length and no count is believed beyond the bytes that are there.

use bytes::Bytes;
use uuid::Uuid;

/// A request that claims more than it holds, or is not what its version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is malformed at byte {0}")]
pub(super) struct WireError(pub usize);

/// A place in a request's bytes.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    at: usize,
    flexible: bool,
    items_left: usize,
}

/// The most items that the arrays of one request have together: its answer has as many.
const ITEMS_MAX: usize = 100_000;

impl Reader {
    /// Begins to read.
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0, flexible: false, items_left: ITEMS_MAX }
    }

    /// Goes on in the compact encoding of flexible versions, or not.
    pub(super) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(super) fn i8(&mut self) -> Result<i8, WireError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, WireError> {
        self.array().map(Uuid::from_bytes)
    }

    /// A nullable string in the encoding of the version.
    pub(super) fn string(&mut self) -> Result<Option<String>, WireError> {
        let length = if self.flexible { self.compact_length()? } else { self.classic_string_length()? };
        self.text(length)
    }

    /// A nullable string in the classic encoding, which the request header always has.
    pub(super) fn classic_string(&mut self) -> Result<Option<String>, WireError> {
        let length = self.classic_string_length()?;
        self.text(length)
    }

    /// A string that must be there.
    pub(super) fn required_string(&mut self) -> Result<String, WireError> {
        self.string()?.ok_or(WireError(self.at))
    }

    /// Nullable bytes, shared with the frame.
    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        let length = if self.flexible { self.compact_length()? } else { self.classic_length()? };
        length.map(|length| self.take(length)).transpose()
    }

    /// The count of a nullable array whose items take at least so many bytes each.
    pub(super) fn count(&mut self, item_bytes_min: usize) -> Result<Option<usize>, WireError> {
        let count = if self.flexible { self.compact_length()? } else { self.classic_length()? };
        let left = self.bytes.len() - self.at;
        match count {
            Some(count) if count > left / item_bytes_min.max(1) => Err(WireError(self.at)),
            count => {
                let items_left = self.items_left.checked_sub(count.unwrap_or(0));
                self.items_left = items_left.ok_or(WireError(self.at))?;
                Ok(count)
            }
        }
    }

    /// A nullable array.
    pub(super) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let Some(count) = self.count(item_bytes_min)? else {
            return Ok(None);
        };
        (0..count).map(|_| item(self)).collect::<Result<Vec<T>, WireError>>().map(Some)
    }

    /// An array that must be there.
    pub(super) fn required_list<T>(
        &mut self,
        item_bytes_min: usize,
        item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        self.list(item_bytes_min, item)?.ok_or(WireError(self.at))
    }

    /// Passes over the tagged fields of flexible versions.
    pub(super) fn tags(&mut self) -> Result<(), WireError> {
        if self.flexible {
            for _ in 0..self.unsigned()? {
                self.unsigned()?;
                let length = self.unsigned()? as usize;
                self.take(length)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, length: Option<usize>) -> Result<Option<String>, WireError> {
        let Some(length) = length else {
            return Ok(None);
        };
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| WireError(self.at))
    }

    fn classic_string_length(&mut self) -> Result<Option<usize>, WireError> {
        let length = self.i16()?;
        self.nullable(i64::from(length))
    }

    fn classic_length(&mut self) -> Result<Option<usize>, WireError> {
        let length = self.i32()?;
        self.nullable(i64::from(length))
    }

    fn nullable(&self, length: i64) -> Result<Option<usize>, WireError> {
        if length == -1 { Ok(None) } else { usize::try_from(length).map(Some).map_err(|_| WireError(self.at)) }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, WireError> {
        Ok((self.unsigned()? as usize).checked_sub(1))
    }

    fn unsigned(&mut self) -> Result<u32, WireError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| WireError(self.at));
            }
        }
        Err(WireError(self.at))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let found =
            self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(WireError(self.at))?;
        self.at += N;
        Ok(found)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, WireError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(WireError(self.at))?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }
}
