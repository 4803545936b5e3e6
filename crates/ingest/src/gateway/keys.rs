//! Keys of a request: the partition of a record's key, and a producer of the log for an `Idempotency-Key`.
//!
//! The log remembers the sequences of idempotent producers for a day, over restarts and crashes. A key becomes a producer
//! that sends one batch to each partition, and what it sends becomes the sequence: the same again is a duplicate, anything
//! else is out of order. Invariant: the same key and body give the same batches in the same partitions.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::log::{ONE_BATCH_EPOCH, ProducerSequence};

/// What a key and a body are to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Once {
    pub(super) producer: ProducerSequence,
    /// The request's id, the same each time that it is sent.
    pub(super) request: Uuid,
}

impl Once {
    /// Of what one client sends to one dataset under a key.
    pub(super) fn of(client: &str, dataset: &str, key: &str, content: [&[u8]; 3]) -> Self {
        let named = digest([b"vitalake request", client.as_bytes(), dataset.as_bytes(), key.as_bytes()]);
        let [form, partition_key, body] = content;
        let sent = digest([b"vitalake body", form, partition_key, body]);
        let (high, low) = halves(&named);
        let id = i64::try_from(high >> 1).unwrap_or(0);
        let sequence = i32::try_from(halves(&sent).0 >> 33).unwrap_or(0);
        let request = uuid::Builder::from_custom_bytes((u128::from(low) << 64 | u128::from(high)).to_be_bytes());
        Self { producer: ProducerSequence { id, epoch: ONE_BATCH_EPOCH, sequence }, request: request.into_uuid() }
    }
}

/// The digest of texts of any length, each told from the next.
fn digest<const N: usize>(texts: [&[u8]; N]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

fn halves(digest: &[u8; 32]) -> (u64, u64) {
    let part = |at: usize| digest.iter().skip(at).take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    (part(0), part(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_producer_and_another_body_another_sequence() {
        let once = |client: &str, key: &str, body: &[u8]| Once::of(client, "d", key, [b"", b"", body]);
        let first = once("a", "k", b"{}");
        assert_eq!(first, once("a", "k", b"{}"));
        let other = once("a", "k", b"{ }");
        assert_eq!((first.producer.id, first.request), (other.producer.id, other.request));
        assert_ne!(first.producer.sequence, other.producer.sequence);
        for elsewhere in [once("b", "k", b"{}"), once("a", "l", b"{}")] {
            assert_ne!(first.producer.id, elsewhere.producer.id);
        }
    }
}
