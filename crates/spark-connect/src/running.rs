//! What of a session runs in Spark now, so that who ends can wait until it does not.
//!
//! Invariant: a session that is there for one statement is closed however that ends, also when nobody waits for it any more.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::context::Context;

/// How many statements run, or are being stopped.
#[derive(Clone, Debug)]
pub(crate) struct Running(pub(crate) Arc<watch::Sender<usize>>);

impl Default for Running {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Running {
    /// One more, until what is given is dropped.
    pub(crate) fn one_more(&self) -> OneMore {
        self.0.send_modify(|running| *running += 1);
        OneMore(self.clone())
    }
}

/// One that runs.
pub(crate) struct OneMore(Running);

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| *running = running.saturating_sub(1));
    }
}

/// A session that is there for one statement alone, with what was sent for it.
pub(crate) struct OwnSession {
    pub(crate) context: Context,
    pub(crate) running: Running,
}

impl Drop for OwnSession {
    fn drop(&mut self) {
        // Spark closes it by itself when nobody does, after an hour in which it keeps the rows.
        let Ok(runtime) = Handle::try_current() else { return };
        let (context, until_closed) = (self.context.clone(), self.running.one_more());
        runtime.spawn(async move {
            let _ = context.close().await;
            drop(until_closed);
        });
    }
}
