//! Whether the bytes of an LZ4 frame are there to their last one. The decoder takes bytes that stop between two blocks for
//! the end; a frame says its end itself.
//!
//! As the LZ4 frame format 1.6 has it. Nothing is decompressed. Invariant: hostile lengths are compared with the bytes
//! that are there, and never followed beyond them.

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;
/// The bit of a block's size that says that it is not compressed.
const UNCOMPRESSED: u32 = 1 << 31;

/// Whether these are one whole frame and nothing else, as every producer writes.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    after_frame(bytes).is_some_and(<[u8]>::is_empty)
}

fn after_frame(bytes: &[u8]) -> Option<&[u8]> {
    let [flags, _descriptor, rest @ ..] = bytes.strip_prefix(&MAGIC)? else { return None };
    let has = |flag: u8, length: usize| if flags & flag == 0 { 0 } else { length };
    let header_checksum = 1;
    let mut rest = rest.get(has(CONTENT_SIZE, 8) + has(DICTIONARY, 4) + header_checksum..)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>()?;
        match u32::from_le_bytes(*size) {
            0 => return after.get(has(CONTENT_CHECKSUM, 4)..),
            size => {
                let block = usize::try_from(size & !UNCOMPRESSED).ok()?;
                rest = after.get(block.checked_add(has(BLOCK_CHECKSUM, 4))?..)?;
            }
        }
    }
}
