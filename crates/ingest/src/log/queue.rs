//! Where appends wait for their lane's thread.
//!
//! Invariant: what is queued when a lane closes is still taken; what comes after is given back.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::LogError;
use super::batch::CheckedBatch;
use super::partition::{Appended, Partition};

pub(super) type Reply = oneshot::Sender<Result<Appended, LogError>>;
/// A batch and who waits for it.
pub(super) type Waiting = (CheckedBatch, Reply);

/// A batch on its way to the disk.
#[derive(Debug)]
pub(super) struct Append {
    pub partition: Arc<Partition>,
    pub batch: CheckedBatch,
    pub reply: Reply,
}

#[derive(Debug, Default)]
struct Queue {
    appends: Vec<Append>,
    closing: bool,
}

/// Where appends wait for their lane's thread.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl LaneQueue {
    /// Adds an append; gives it back when the lane is closing.
    pub(super) fn push(&self, append: Append) -> Result<(), Append> {
        let mut queue = self.queue.lock();
        if queue.closing {
            return Err(append);
        }
        queue.appends.push(append);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Lets the thread end after what is queued.
    pub(super) fn close(&self) {
        self.queue.lock().closing = true;
        self.filled.notify_one();
    }

    /// Everything that is queued; waits for something, and gives none when the lane is closed.
    pub(super) fn take(&self) -> Option<Vec<Append>> {
        let mut queue = self.queue.lock();
        while queue.appends.is_empty() {
            if queue.closing {
                return None;
            }
            self.filled.wait(&mut queue);
        }
        Some(std::mem::take(&mut queue.appends))
    }
}
