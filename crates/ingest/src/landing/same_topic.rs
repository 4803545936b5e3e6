//! Whether the topic that an epoch was read from is still the one that the broker has under this name.
//!
//! A topic that was deleted and made again has the old one's name and new offsets: what of it is committed under the old
//! id is landed once more under its own. Invariant: an epoch is committed only when the topic was seen under its id after
//! the epoch's last record was read, or nobody answered; and then that is said, in the log and in the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{SourceCheck, TxnId, TxnKind};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::health::LogThrottle;

use crate::log::TopicId;
use crate::source::{RecordSource, TopicCheck};

#[derive(Debug)]
pub(super) struct SameTopic {
    source: Arc<dyn RecordSource>,
    topic: String,
    id: TopicId,
    /// The last offsets, by transaction, up to which the topic was seen under its id.
    seen: Mutex<BTreeMap<TxnId, i64>>,
    made_anew: AtomicBool,
    /// Why nobody answered the last time.
    unasked: Arc<Mutex<Option<String>>>,
    said: Mutex<LogThrottle<String>>,
}

impl SameTopic {
    pub(super) fn new(
        source: Arc<dyn RecordSource>,
        topic: String,
        id: TopicId,
        unasked: Arc<Mutex<Option<String>>>,
        clock: Clock,
    ) -> Self {
        let said = Mutex::new(LogThrottle::new(clock));
        Self { source, topic, id, seen: Mutex::default(), made_anew: AtomicBool::new(false), unasked, said }
    }

    /// Whether the topic may be taken for the same. A broker that is away serves no new topic either; one that is read
    /// from and cannot be asked is a person's to mend.
    async fn is_same(&self) -> bool {
        let (is_same, reason) = match self.source.check_topic(self.id).await {
            TopicCheck::Same => (true, None),
            TopicCheck::Replaced => (false, None),
            TopicCheck::Unanswered(reason) => (true, Some(reason)),
        };
        let sentence = reason.map(|reason| {
            format!(
                "no broker says whether topic {} is still the one that was read ({reason}); commits go on, and if it is \
                 deleted and made again meanwhile its first records may land twice: let one of the brokers of \
                 kafka.bootstrap be reached",
                self.topic
            )
        });
        if let Some(sentence) = &sentence
            && self.said.lock().is_news(sentence.clone())
        {
            tracing::warn!("{sentence}");
        }
        *self.unasked.lock() = sentence;
        is_same
    }
}

impl SourceCheck for SameTopic {
    fn may_commit<'a>(&'a self, head: &'a Snapshot, txns: &'a BTreeMap<TxnId, i64>) -> BoxFuture<'a, bool> {
        let ours = self.id.0;
        let is_ours = move |id: &TxnId| matches!(id.kind(), TxnKind::Landing { topic, .. } if topic == ours);
        let news = txns.iter().filter(|(id, last)| is_ours(id) && head.txn(id) != Some(**last));
        let news: BTreeMap<TxnId, i64> = news.map(|(id, last)| (id.clone(), *last)).collect();
        Box::pin(async move {
            if self.made_anew.load(Ordering::Acquire) {
                return false;
            }
            // A commit that is tried again was asked for before.
            let is_seen = |(id, last): (&TxnId, &i64)| self.seen.lock().get(id).is_some_and(|seen| last <= seen);
            if news.iter().all(is_seen) {
                return true;
            }
            if self.is_same().await {
                self.seen.lock().extend(news);
                return true;
            }
            self.made_anew.store(true, Ordering::Release);
            for (id, last) in &news {
                if let TxnKind::Landing { partition, .. } = id.kind() {
                    say_not_kept(&self.topic, partition, head.txn(id).map_or(0, |committed| committed + 1), *last);
                }
            }
            false
        })
    }
}

/// What was read and will not be in the table: it may be the old topic's or the new one's.
pub(super) fn say_not_kept(topic: &str, partition: i32, first: i64, last: i64) {
    tracing::warn!(
        topic,
        partition,
        first,
        last,
        "the topic was made anew: these offsets are not kept under its old id; it is read from its beginning under the new one"
    );
}
