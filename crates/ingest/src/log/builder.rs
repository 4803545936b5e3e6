//! Makes a RecordBatch v2, for what enters the log by other ways than the Kafka endpoint, for load and for tests.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::HEADER_BYTES;

/// A batch being made, not compressed.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    body: BytesMut,
    records: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    scratch: BytesMut,
    /// Whether the base timestamp was given, and is not the first record's.
    based: bool,
}

/// An idempotent producer's place in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerSequence {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of the batch's first record.
    pub sequence: i32,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch whose records' times are counted from a moment.
    pub(super) fn beginning_at(base_timestamp_ms: i64) -> Self {
        Self { base_timestamp_ms, max_timestamp_ms: i64::MIN, based: true, ..Self::default() }
    }

    /// Adds a record.
    pub fn push(&mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> &mut Self {
        self.push_with(timestamp_ms, key, value, &[])
    }

    /// Adds a record with headers.
    pub fn push_with(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> &mut Self {
        if self.records == 0 && !self.based {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.scratch.clear();
        self.scratch.put_i8(0);
        put_varlong(&mut self.scratch, timestamp_ms.wrapping_sub(self.base_timestamp_ms));
        put_varlong(&mut self.scratch, i64::from(self.records));
        put_nullable(&mut self.scratch, key);
        put_nullable(&mut self.scratch, value);
        put_varlong(&mut self.scratch, i64::try_from(headers.len()).unwrap_or(i64::MAX));
        for (key, value) in headers {
            put_nullable(&mut self.scratch, Some(key));
            put_nullable(&mut self.scratch, *value);
        }
        put_varlong(&mut self.body, length(&self.scratch));
        self.body.extend_from_slice(&self.scratch);
        self.records += 1;
        self
    }

    /// Bytes of the batch so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The batch. `codec` and `body` of a compressed one are the caller's: see [`BatchBuilder::build_compressed`].
    #[must_use]
    pub fn build(&self, producer: Option<ProducerSequence>) -> Bytes {
        self.build_compressed(producer, 0, &self.body)
    }

    /// The records as they would be compressed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The batch with a body that the caller has compressed with the codec of this number.
    #[must_use]
    pub fn build_compressed(&self, producer: Option<ProducerSequence>, codec: i16, body: &[u8]) -> Bytes {
        let producer = producer.unwrap_or(ProducerSequence { id: -1, epoch: -1, sequence: -1 });
        let mut after = BytesMut::with_capacity(HEADER_BYTES + body.len());
        after.put_i16(codec);
        after.put_i32(self.records - 1);
        after.put_i64(self.base_timestamp_ms);
        after.put_i64(self.max_timestamp_ms);
        after.put_i64(producer.id);
        after.put_i16(producer.epoch);
        after.put_i32(producer.sequence);
        after.put_i32(self.records);
        after.put_slice(body);
        let mut out = BytesMut::with_capacity(after.len() + 21);
        out.put_i64(0);
        out.put_i32(i32::try_from(after.len() + 9).unwrap_or(i32::MAX));
        out.put_i32(-1);
        out.put_i8(2);
        out.put_u32(crc32c::crc32c(&after));
        out.put_slice(&after);
        out.freeze()
    }
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, length(bytes));
            out.extend_from_slice(bytes);
        }
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn put_varlong(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).unwrap_or(0));
}
