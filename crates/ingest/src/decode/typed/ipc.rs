//! Arrow IPC, a stream or a file of it: one message after the other, each checked before the library sees it.
//!
//! A message says how long it is before it comes. Its body is read as its bytes arrive, up to a limit, and what its
//! compressed buffers claim to become is held against what they are. Invariant: a stream that ends without its end mark
//! is cut off.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, root_as_message};

use super::guarded;
use crate::decode::refused::DeliveryError;

/// What a file of Arrow IPC begins with; a stream has no such mark.
const FILE_MARK: &[u8] = b"ARROW1\0\0";
/// Up to so many bytes with what fills it up.
const FILE_MARK_BYTES_MAX: u64 = 64;
/// What a message begins with.
const MESSAGE_MARK: &[u8] = b"\xff\xff\xff\xff";
/// How large a message's head may be: a schema of ten thousand columns is far below.
const HEAD_BYTES_MAX: usize = 16 << 20;
/// How large a message's rows may be.
const BODY_BYTES_MAX: usize = 1 << 30;
/// How many times its bytes a compressed buffer may become.
const RATIO_MAX: i64 = 2_000;

/// The batches of one stream.
#[derive(Debug)]
pub(super) struct Messages<R> {
    dataset: String,
    reader: R,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    consumed: u64,
    rows: u64,
    ended: bool,
}

impl<R: Read> Messages<R> {
    pub(super) fn new(dataset: String, reader: R) -> Self {
        Self { dataset, reader, schema: None, dictionaries: HashMap::new(), consumed: 0, rows: 0, ended: false }
    }

    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The schema, once it was read.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.schema.clone()
    }

    /// The next batch; none at the end mark.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, DeliveryError> {
        while !self.ended {
            if let Some(batch) = self.message()? {
                self.rows += batch.num_rows() as u64;
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn message(&mut self) -> Result<Option<RecordBatch>, DeliveryError> {
        let begins = self.consumed == 0;
        let mut length = self.four()?;
        if begins && length == FILE_MARK.get(..4).unwrap_or_default() {
            self.four()?;
            length = self.four()?;
            // Some writers fill the mark up to 64 bytes.
            while length == [0; 4] && self.consumed <= FILE_MARK_BYTES_MAX {
                length = self.four()?;
            }
        }
        if length == MESSAGE_MARK {
            length = self.four()?;
        } else if begins {
            return Err(self.broken("it does not begin as one", None));
        }
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return self.end();
        }
        if length > HEAD_BYTES_MAX {
            return Err(self.broken("a message's head is larger than 16 MiB", None));
        }
        let head = self.bytes(length)?;
        let checked = guarded(|| {
            let message = root_as_message(&head).map_err(|error| io::Error::other(error.to_string()))?;
            usize::try_from(message.bodyLength()).map_err(io::Error::other)
        });
        let body_length = checked.map_err(|error| self.broken("a message's head cannot be read", Some(error)))?;
        if body_length > BODY_BYTES_MAX {
            return Err(self.broken("a batch is larger than 1 GiB: write smaller ones", None));
        }
        let body = self.bytes(body_length)?;
        if !root_as_message(&head).is_ok_and(|message| is_plausible(&message, &body)) {
            return Err(self.broken("what a compressed column says of its size cannot be", None));
        }
        let decoded = guarded(|| {
            let message = root_as_message(&head).map_err(|error| ArrowError::IpcError(error.to_string()))?;
            decode(&message, &Buffer::from(body), &mut self.schema, &mut self.dictionaries)
        });
        decoded.map_err(|error| self.broken("a message cannot be read", Some(error)))
    }

    /// After the end mark only a file's own footer follows.
    fn end(&mut self) -> Result<Option<RecordBatch>, DeliveryError> {
        self.ended = true;
        if self.schema.is_none() {
            return Err(self.broken("it ends before its schema", None));
        }
        let rest = io::copy(&mut self.reader, &mut io::sink());
        self.consumed += rest.map_err(|source| self.failed(source))?;
        Ok(None)
    }

    fn four(&mut self) -> Result<[u8; 4], DeliveryError> {
        let bytes = self.bytes(4)?;
        bytes.first_chunk().copied().ok_or_else(|| self.broken("it is cut off", None))
    }

    /// So many bytes, in memory only as they come.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, DeliveryError> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length as u64).read_to_end(&mut bytes);
        self.consumed += read.map_err(|source| self.failed(source))? as u64;
        if bytes.len() < length {
            return Err(
                self.broken("it is cut off before its end mark: write it to its end and deliver it again", None)
            );
        }
        Ok(bytes)
    }

    fn failed(&self, source: io::Error) -> DeliveryError {
        DeliveryError::unread(&self.dataset, self.consumed, source)
    }

    fn broken(&self, what: &'static str, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> DeliveryError {
        let place = format!("after row {}, byte {} of the file", self.rows, self.consumed);
        DeliveryError::Typed { dataset: self.dataset.clone(), form: "Arrow IPC", place, what, source }
    }
}

/// Takes in a message; a batch where it is one.
fn decode(
    message: &Message<'_>,
    body: &Buffer,
    schema: &mut Option<SchemaRef>,
    dictionaries: &mut HashMap<i64, ArrayRef>,
) -> Result<Option<RecordBatch>, ArrowError> {
    let wrong = |what: &str| ArrowError::IpcError(what.to_owned());
    if let Some(said) = message.header_as_schema() {
        if schema.is_some() {
            return Err(wrong("a second schema"));
        }
        *schema = Some(Arc::new(fb_to_schema(said)));
        return Ok(None);
    }
    let known = schema.as_ref().ok_or_else(|| wrong("rows before their schema"))?;
    if let Some(dictionary) = message.header_as_dictionary_batch() {
        read_dictionary(body, dictionary, known, dictionaries, &message.version())?;
        return Ok(None);
    }
    let batch = message.header_as_record_batch().ok_or_else(|| wrong("a message that holds no rows"))?;
    read_record_batch(body, batch, Arc::clone(known), dictionaries, None, &message.version()).map(Some)
}

/// Whether the buffers of a message become no more than compressed ones can.
fn is_plausible(message: &Message<'_>, body: &[u8]) -> bool {
    let batch = message.header_as_record_batch();
    let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return true };
    batch.buffers().iter().flatten().all(|buffer| {
        let start = usize::try_from(buffer.offset()).ok();
        let claimed = start.and_then(|start| body.get(start..)?.first_chunk::<8>());
        let claimed = claimed.map_or(0, |bytes| i64::from_le_bytes(*bytes));
        buffer.length() == 0 || claimed <= buffer.length().saturating_mul(RATIO_MAX).min(BODY_BYTES_MAX as i64)
    })
}

/// The array with bytes of its own.
pub(super) fn own(array: &ArrayRef) -> ArrayRef {
    if array.data_type() == &DataType::Utf8View {
        return Arc::new(array.as_string_view().gc());
    }
    let data = array.to_data();
    let mut copied = MutableArrayData::new(vec![&data], false, array.len());
    if copied.try_extend(0, 0, array.len()).is_err() {
        return Arc::clone(array);
    }
    make_array(copied.freeze())
}
