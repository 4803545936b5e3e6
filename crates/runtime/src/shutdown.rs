//! Leaving in order: stop what comes in, flush what is here, close.
//!
//! The process begins a stage, those who work in it see it through their [`Watch`] and hold the stage up with a
//! [`Hold`] until they are done. Invariant: a stage never goes back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No shutdown.
    Running,
    /// Nothing new is accepted; what was accepted is answered.
    StopIntake,
    /// What is only in memory goes to the tables.
    Flush,
    /// Files and sockets are closed.
    Close,
}

/// The side that begins the stages. Clones are the same shutdown.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stage: Arc<watch::Sender<Stage>>,
    holds: Arc<watch::Sender<usize>>,
}

/// The side that waits for a stage.
#[derive(Clone, Debug)]
pub struct Watch {
    stage: watch::Receiver<Stage>,
    holds: Arc<watch::Sender<usize>>,
}

/// Work that the shutdown waits for; dropped when it is done.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<watch::Sender<usize>>,
}

impl Shutdown {
    /// A process that runs.
    pub fn new() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Running)), holds: Arc::new(watch::Sender::new(0)) }
    }

    /// Someone who is told of the stages.
    pub fn watch(&self) -> Watch {
        Watch { stage: self.stage.subscribe(), holds: Arc::clone(&self.holds) }
    }

    /// Begins the shutdown: the first stage, [`Stage::StopIntake`].
    pub fn signal(&self) {
        self.begin(Stage::StopIntake);
    }

    /// Begins a stage; an earlier one than the present has no effect.
    pub fn begin(&self, stage: Stage) {
        self.stage.send_if_modified(|present| {
            let is_later = stage > *present;
            if is_later {
                *present = stage;
            }
            is_later
        });
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until nobody holds the shutdown up, at most this long; whether everyone was done.
    pub async fn settled(&self, longest: Duration) -> bool {
        let mut holds = self.holds.subscribe();
        tokio::time::timeout(longest, holds.wait_for(|held| *held == 0)).await.is_ok()
    }

    /// Waits for SIGTERM or SIGINT, then begins the shutdown. A second signal is left to the caller.
    ///
    /// # Errors
    /// When the process cannot listen for signals.
    pub async fn signal_on_termination(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        self.signal();
        Ok(())
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Waits until the shutdown begins.
    pub async fn wait(&mut self) {
        self.wait_for(Stage::StopIntake).await;
    }

    /// Waits until a stage has begun, or the one who begins them is gone.
    pub async fn wait_for(&mut self, stage: Stage) {
        // The error says that the sender is gone: there is no one left to run for.
        let _ = self.stage.wait_for(|present| *present >= stage).await;
    }

    /// Whether the shutdown has begun.
    pub fn is_stopping(&self) -> bool {
        self.stage() > Stage::Running
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Holds the shutdown up until the value is dropped.
    pub fn hold(&self) -> Hold {
        self.holds.send_modify(|held| *held += 1);
        Hold { holds: Arc::clone(&self.holds) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.send_modify(|held| *held = held.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_are_seen_in_order_and_never_go_back() {
        let shutdown = Shutdown::new();
        let mut watch = shutdown.watch();
        assert!(!watch.is_stopping());
        let waiting = tokio::spawn(async move {
            watch.wait().await;
            let first = watch.stage();
            watch.wait_for(Stage::Flush).await;
            (first >= Stage::StopIntake, watch.stage())
        });
        shutdown.signal();
        shutdown.begin(Stage::Flush);
        shutdown.signal();
        assert_eq!(shutdown.stage(), Stage::Flush);
        assert!(matches!(waiting.await, Ok((true, Stage::Flush))));
    }

    #[tokio::test]
    async fn a_stage_is_settled_when_every_hold_is_gone() {
        let shutdown = Shutdown::new();
        let hold = shutdown.watch().hold();
        assert!(!shutdown.settled(Duration::from_millis(1)).await);
        drop(hold);
        assert!(shutdown.settled(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_watch_whose_shutdown_is_gone_does_not_wait_for_ever() {
        let shutdown = Shutdown::new();
        let mut watch = shutdown.watch();
        drop(shutdown);
        watch.wait().await;
    }
}
