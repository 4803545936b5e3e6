//! A bounded queue with a thread that sends what is in it, in batches.
//!
//! Invariant: offering never waits. An item that finds no room, and a batch that the receiver does not take after several
//! tries, are dropped and counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use vitalake_runtime::telemetry::metric;

use crate::metrics::Metrics;

/// Items that wait.
const WAITING_MAX: usize = 2048;
/// Items of one request.
const BATCH_MAX: usize = 512;
/// How often a batch is sent before it is given up.
const TRIES_MAX: u32 = 3;
/// How long it waits after the first failure; then twice that.
const BEFORE_AGAIN: Duration = Duration::from_secs(1);

/// What became of items.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    sent: Counter,
    dropped: Counter,
}

impl Counts {
    pub(crate) fn of(metrics: &Arc<Metrics>, signal: &str) -> Self {
        let labels = vec![("signal", signal.to_owned())];
        Self {
            sent: metrics.counter(metric::TELEMETRY_SENT, &labels),
            dropped: metrics.counter(metric::TELEMETRY_DROPPED, &labels),
        }
    }
}

/// How the sending of a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Items that were taken, in all tries.
    pub(crate) taken: u64,
    /// Whether nothing of it is to be sent again.
    pub(crate) is_over: bool,
}

impl Sent {
    /// The whole of a batch, or nothing yet.
    pub(crate) fn whole<T>(batch: &[T], was_taken: bool) -> Self {
        Self { taken: if was_taken { batch.len() as u64 } else { 0 }, is_over: was_taken }
    }
}

enum Message<T> {
    Item(Box<T>),
    /// Send what is there, and say so.
    Flush(SyncSender<()>),
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Backlog<T> {
    sender: SyncSender<Message<T>>,
    dropped: Counter,
}

impl<T: Clone + Send + 'static> Backlog<T> {
    /// A queue whose thread sends at least every `interval`; `send` is given a batch and how often it was tried before.
    pub(crate) fn start(
        name: &str,
        counts: Counts,
        interval: Duration,
        send: impl FnMut(&[T], u32) -> Sent + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let dropped = counts.dropped.clone();
        let thread = Thread { receiver, counts, interval, send, batch: Vec::new() };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || thread.run())?;
        Ok(Self { sender, dropped })
    }

    /// Puts an item in, if there is room.
    pub(crate) fn offer(&self, item: T) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.sender.try_send(Message::Item(Box::new(item)))
        {
            self.dropped.inc();
        }
    }

    /// Has sent what is in it, or waits no longer than this.
    pub(crate) fn flush(&self, longest: Duration) {
        let (done, finished) = sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = finished.recv_timeout(longest);
        }
    }
}

struct Thread<T, S> {
    receiver: Receiver<Message<T>>,
    counts: Counts,
    interval: Duration,
    send: S,
    batch: Vec<T>,
}

impl<T, S: FnMut(&[T], u32) -> Sent> Thread<T, S> {
    /// Until the queue is dropped.
    fn run(mut self) {
        let mut due = Instant::now() + self.interval;
        loop {
            match self.receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Message::Item(item)) => {
                    self.batch.push(*item);
                    if self.batch.len() < BATCH_MAX {
                        continue;
                    }
                    self.send(TRIES_MAX);
                }
                Ok(Message::Flush(done)) => {
                    self.send(1);
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.send(TRIES_MAX),
                Err(RecvTimeoutError::Disconnected) => return self.send(1),
            }
            due = Instant::now() + self.interval;
        }
    }

    fn send(&mut self, tries: u32) {
        let count = self.batch.len() as u64;
        if count == 0 {
            return;
        }
        let mut taken = 0;
        for tried in 0..tries {
            if tried > 0 {
                std::thread::sleep(BEFORE_AGAIN * tried);
            }
            let sent = (self.send)(&self.batch, tried);
            taken = sent.taken.min(count);
            if sent.is_over {
                break;
            }
        }
        self.counts.sent.inc_by(taken);
        self.counts.dropped.inc_by(count - taken);
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    fn counts() -> Counts {
        Counts { sent: Counter::default(), dropped: Counter::default() }
    }

    #[test]
    fn items_are_sent_in_order_and_a_flush_waits_for_them() {
        let (counts, taken) = (counts(), Arc::new(Mutex::new(Vec::new())));
        let into = Arc::clone(&taken);
        let send = move |batch: &[u64], _: u32| {
            into.lock().unwrap().extend_from_slice(batch);
            Sent::whole(batch, true)
        };
        let backlog = Backlog::start("test", counts.clone(), Duration::from_secs(600), send).unwrap();
        (0..600).for_each(|number| backlog.offer(number));
        backlog.flush(Duration::from_secs(60));
        assert_eq!(*taken.lock().unwrap(), (0..600).collect::<Vec<u64>>());
        assert_eq!((counts.sent.get(), counts.dropped.get()), (600, 0));
    }

    #[test]
    fn a_receiver_that_hangs_holds_nobody_up_and_what_finds_no_room_is_counted() {
        let counts = counts();
        let (release, hang) = channel::<()>();
        let hang = Mutex::new(hang);
        let send = move |batch: &[u64], _: u32| {
            let _ = hang.lock().unwrap().recv();
            Sent::whole(batch, true)
        };
        let backlog = Backlog::start("test", counts.clone(), Duration::from_secs(600), send).unwrap();
        let offered = (WAITING_MAX + BATCH_MAX + 1000) as u64;
        (0..offered).for_each(|number| backlog.offer(number));
        assert!(counts.dropped.get() >= 1000, "{}", counts.dropped.get());
        drop(release);
        drop(backlog);
    }

    #[test]
    fn a_batch_that_is_not_taken_is_given_up_and_counted() {
        let counts = counts();
        let backlog = Backlog::start("test", counts.clone(), Duration::from_secs(600), |batch: &[u64], _| {
            Sent::whole(batch, false)
        })
        .unwrap();
        (0..10).for_each(|number| backlog.offer(number));
        backlog.flush(Duration::from_secs(60));
        assert_eq!((counts.sent.get(), counts.dropped.get()), (0, 10));
    }
}
