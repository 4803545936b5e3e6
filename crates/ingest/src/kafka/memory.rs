//! Budgets of bytes: what requests and answers hold, and that it is given back when the last of their bytes is freed.
//!
//! A frame's bytes own what was reserved for them. A batch that lies in the log's queue is a slice of its frame, so what
//! is reserved goes where the batch goes: a request that timed out is answered, and still holds its budget until its
//! batches are written or dropped. Invariant: nobody gives bytes back by hand.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A budget of bytes, shared by its clones.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    limit: usize,
}

/// Bytes taken from budgets.
#[derive(Debug, Default)]
pub(super) struct Reserved(Vec<OwnedSemaphorePermit>);

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { free: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Waits for so many bytes; what is larger than the whole budget takes all of it.
    pub(super) async fn reserve(&self, bytes: usize, into: &mut Reserved) {
        let permits = u32::try_from(bytes.min(self.limit)).unwrap_or(u32::MAX);
        // A budget is never closed.
        into.0.extend(Arc::clone(&self.free).acquire_many_owned(permits).await.ok());
    }
}

impl Reserved {
    /// Gives back what is beyond so many bytes of the last budget.
    pub(super) fn shrink(&mut self, bytes: usize) {
        if let Some(permit) = self.0.last_mut() {
            let beyond = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(beyond));
        }
    }

    /// The bytes, with what is reserved for them: it is given back with the last of their slices.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _reserved: self })
    }
}

struct Held {
    bytes: Bytes,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_reserved_is_given_back_with_the_last_slice() {
        let (budget, mut reserved) = (Budget::new(100), Reserved::default());
        budget.reserve(80, &mut reserved).await;
        reserved.shrink(60);
        assert_eq!(budget.free.available_permits(), 40);
        let bytes = reserved.hold(Bytes::from_static(b"a frame"));
        let slice = bytes.slice(2..3);
        drop(bytes);
        assert_eq!(budget.free.available_permits(), 40);
        drop(slice);
        assert_eq!(budget.free.available_permits(), 100);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_budget_takes_all_of_it() {
        let (budget, mut reserved) = (Budget::new(100), Reserved::default());
        budget.reserve(1_000, &mut reserved).await;
        assert_eq!(budget.free.available_permits(), 0);
    }
}
