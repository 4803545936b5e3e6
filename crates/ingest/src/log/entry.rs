//! An entry of a segment: our header, then a RecordBatch v2 as received with its base offset and leader epoch patched.
//!
//! The header's checksum covers the header and the batch's first 21 bytes, the batch's own checksum (which is among
//! them) covers the rest: every byte is covered and none is summed twice. `synced_through` says how far the file was
//! synced when the entry was written, which is how recovery tells rot (a later entry vouches for the damaged bytes)
//! from a torn tail (none does).

/// Bytes of our header.
pub(super) const ENTRY_HEADER_BYTES: usize = 32;
/// The part of the batch that our checksum covers.
pub(super) const BATCH_PREFIX_BYTES: usize = 21;
/// Header and the batch's first bytes, written as one piece before the rest of the batch.
pub(super) const ENTRY_PREFIX_BYTES: usize = ENTRY_HEADER_BYTES + BATCH_PREFIX_BYTES;
/// The first bytes of every entry.
pub(super) const MAGIC: [u8; 4] = *b"VLE1";

/// What our header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHeader {
    /// Bytes of the batch that follows.
    pub batch_bytes: u32,
    /// When the log took it, milliseconds since 1970, UTC.
    pub append_time_ms: i64,
    /// Position in this file up to which everything was synced when this entry was written.
    pub synced_through: u64,
}

/// Makes the header and the patched first bytes of the batch.
pub(super) fn encode_prefix(
    header: EntryHeader,
    base_offset: i64,
    batch: &[u8; BATCH_PREFIX_BYTES],
) -> [u8; ENTRY_PREFIX_BYTES] {
    let mut out = [0u8; ENTRY_PREFIX_BYTES];
    put(&mut out, 0, &MAGIC);
    put(&mut out, 4, &header.batch_bytes.to_be_bytes());
    put(&mut out, 8, &header.append_time_ms.to_be_bytes());
    put(&mut out, 16, &header.synced_through.to_be_bytes());
    put(&mut out, ENTRY_HEADER_BYTES, batch);
    put(&mut out, ENTRY_HEADER_BYTES, &base_offset.to_be_bytes());
    put(&mut out, ENTRY_HEADER_BYTES + 12, &0i32.to_be_bytes());
    let sum = checksum(&out);
    put(&mut out, 28, &sum.to_be_bytes());
    out
}

/// Reads the header; `None` when the bytes are not an intact entry's beginning.
pub(super) fn decode_prefix(bytes: &[u8]) -> Option<EntryHeader> {
    let prefix: &[u8; ENTRY_PREFIX_BYTES] = bytes.first_chunk()?;
    if !prefix.starts_with(&MAGIC) || read(prefix, 28).map(u32::from_be_bytes)? != checksum(prefix) {
        return None;
    }
    Some(EntryHeader {
        batch_bytes: u32::from_be_bytes(read(prefix, 4)?),
        append_time_ms: i64::from_be_bytes(read(prefix, 8)?),
        synced_through: u64::from_be_bytes(read(prefix, 16)?),
    })
}

fn checksum(prefix: &[u8; ENTRY_PREFIX_BYTES]) -> u32 {
    let (head, rest) = prefix.split_at(28);
    crc32c::crc32c_append(crc32c::crc32c(head), rest.get(4..).unwrap_or_default())
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = out.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied()
}
