//! The senders: one for each receiver, so that one that hangs holds up nobody else, and none holds up evaluation.
//!
//! A sender works out the next thing to say, says it, and writes down that it was said. What a receiver does not take
//! goes to the end of the line, so that one message that it refuses keeps no other from it. Invariant: what is written
//! down was taken by the receiver; what was taken and not written down is said once more after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use vitalake_runtime::config::notify::Receiver;
use vitalake_runtime::health::LogThrottle;
use vitalake_runtime::retry::Backoff;

use super::book::Fingerprint;
use super::desk::Desk;
use super::form::Letter;

/// How attempts on a receiver that does not take a message are spaced. They end with the process alone.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60), attempts_max: None };

impl Desk {
    /// Sends what is to be sent, until dropped.
    pub async fn deliver_forever(self: Arc<Self>) {
        let mut senders = JoinSet::new();
        for (name, receiver) in self.setup.receivers.clone() {
            senders.spawn(Arc::clone(&self).serve(name, receiver));
        }
        while senders.join_next().await.is_some() {}
        std::future::pending::<()>().await;
    }

    async fn serve(self: Arc<Self>, name: String, receiver: Receiver) {
        let mut news = self.news.subscribe();
        let mut said = LogThrottle::new(self.setup.clock.clone());
        let (mut failures, mut not_taken) = (0, BTreeSet::new());
        loop {
            match self.deliver_one(&name, &receiver, &mut not_taken).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    if news.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    failures += 1;
                    if said.is_news(error.clone()) {
                        tracing::warn!(receiver = name, error, "an alert could not be sent; it is tried again");
                    }
                    let wait = BACKOFF.wait(failures, u64::from(std::process::id()) * u64::from(failures));
                    tokio::time::sleep(wait.unwrap_or(BACKOFF.longest)).await;
                }
            }
        }
    }

    /// Sends the next thing that a receiver is to be told; false where there is none. What it did not take in this round
    /// is in `not_taken`, and comes after everything else.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn deliver_one(
        &self,
        name: &str,
        receiver: &Receiver,
        not_taken: &mut BTreeSet<Fingerprint>,
    ) -> Result<bool, String> {
        let _sending = self.sending.read().await;
        if self.is_quiet.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let acknowledges = matches!(receiver, Receiver::PagerDuty { .. });
        let (swept, mut notices) = {
            let mut book = self.book.lock();
            let swept = book.sweep(name);
            (swept, book.notices(name, acknowledges, &self.setup.lineage, self.setup.clock.now_ms()))
        };
        if swept {
            self.save().await;
        }
        if notices.is_empty() {
            not_taken.clear();
            return Ok(false);
        }
        if notices.iter().all(|notice| not_taken.contains(&notice.message.fingerprint)) {
            not_taken.clear();
        }
        let next = notices.iter().position(|notice| !not_taken.contains(&notice.message.fingerprint));
        let notice = notices.swap_remove(next.unwrap_or_default());
        let letter = Letter { message: &notice.message, address: &self.setup.address, project: &self.setup.project };
        let sent = self.setup.sender.send(receiver, &letter).await;
        if let Err(error) = sent {
            not_taken.insert(notice.message.fingerprint);
            return Err(error.to_string());
        }
        tracing::info!(
            receiver = name,
            alert = notice.message.alert,
            fingerprint = notice.message.fingerprint,
            state = letter.state(),
            "an alert was sent"
        );
        self.book.lock().delivered(name, notice);
        self.save().await;
        Ok(true)
    }
}
