//! The queries that run now, by their ids, and how each is stopped.
//!
//! Ids are the clients' own, so two of them may choose the same. Invariant: a query is cancelled by the identity that
//! began it and by nobody else, and who asks cannot tell another's query from none.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::QueryError;
use crate::identity::Identity;

type ById = Arc<Mutex<HashMap<String, Vec<Arc<Control>>>>>;

/// All queries that run now.
#[derive(Debug, Default)]
pub(crate) struct Queries(ById);

impl Queries {
    pub(crate) fn register(&self, owner: &Identity, query_id: &str, timeout: Duration) -> Running {
        let control = Arc::new(Control::of(owner));
        let mut queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queries.entry(query_id.to_owned()).or_default().push(Arc::clone(&control));
        Running {
            query_id: query_id.to_owned(),
            control,
            deadline: Instant::now() + timeout,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            task: None,
            queries: Arc::clone(&self.0),
        }
    }

    /// Cancels every query with that id that this identity began. Returns whether there was one.
    pub(crate) fn cancel(&self, owner: &Identity, query_id: &str) -> bool {
        let queries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        for control in queries.get(query_id).into_iter().flatten().filter(|control| control.owner == *owner) {
            control.cancelled.store(true, Ordering::Release);
            control.changed.notify_waiters();
            control.changed.notify_one();
            found = true;
        }
        found
    }
}

#[derive(Debug)]
struct Control {
    owner: Identity,
    /// Nobody waits for the query any longer; its planning looks at this.
    cancelled: Arc<AtomicBool>,
    changed: Notify,
}

impl Control {
    fn of(owner: &Identity) -> Self {
        Self { owner: owner.clone(), cancelled: Arc::default(), changed: Notify::new() }
    }
}

/// A query that runs: it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    query_id: String,
    control: Arc<Control>,
    deadline: Instant,
    timeout_ms: u64,
    task: Option<AbortHandle>,
    queries: ById,
}

impl Running {
    /// The work to stop.
    pub(crate) fn watch(&mut self, task: AbortHandle) {
        self.task = Some(task);
    }

    /// Becomes true when the query was cancelled, ran out of time, or lost its reader.
    pub(crate) fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.control.cancelled)
    }

    /// Waits for something, but no longer than the query may run.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, QueryError> {
        if self.control.cancelled.load(Ordering::Acquire) {
            return Err(QueryError::Cancelled);
        }
        // Where rows are always ready, nothing would look at the clock below.
        if Instant::now() >= self.deadline {
            return Err(QueryError::Timeout { timeout_ms: self.timeout_ms });
        }
        tokio::select! {
            biased;
            () = self.control.changed.notified() => Err(QueryError::Cancelled),
            result = work => Ok(result),
            () = tokio::time::sleep_until(self.deadline) => Err(QueryError::Timeout { timeout_ms: self.timeout_ms }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.cancelled.store(true, Ordering::Release);
        if let Some(task) = &self.task {
            task.abort();
        }
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(controls) = queries.get_mut(&self.query_id) {
            controls.retain(|control| !Arc::ptr_eq(control, &self.control));
            if controls.is_empty() {
                queries.remove(&self.query_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Door;

    #[tokio::test]
    async fn a_query_whose_rows_are_always_ready_has_its_time_too() {
        let running = Queries::default().register(&Identity::local(), "stream", Duration::ZERO);
        let guarded = running.guard(std::future::ready(1)).await;
        assert_eq!(guarded, Err(QueryError::Timeout { timeout_ms: 0 }));
    }

    #[test]
    fn a_query_is_cancelled_by_who_began_it_alone_also_under_an_id_that_another_uses_too() {
        let (queries, minute) = (Queries::default(), Duration::from_secs(60));
        let (mine, theirs) = (Identity::local(), Identity::new(Door::Loopback, "another"));
        let running = queries.register(&mine, "report", minute);
        assert!(!queries.cancel(&theirs, "report"), "to another it is as if there were none");
        assert!(!running.ended().load(Ordering::Acquire));
        let same_id = queries.register(&theirs, "report", minute);
        assert!(queries.cancel(&theirs, "report"));
        assert!(same_id.ended().load(Ordering::Acquire) && !running.ended().load(Ordering::Acquire));
        assert!(queries.cancel(&mine, "report") && running.ended().load(Ordering::Acquire));
        drop((running, same_id));
        assert!(!queries.cancel(&mine, "report"), "one that has ended is not found");
    }
}
