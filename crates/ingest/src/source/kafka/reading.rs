//! The broker's partitions as a source of records for landing.
//!
//! Invariant: what is handed over comes from the queue of its partition alone, and offsets of record stay in the tables.

use futures::future::BoxFuture;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{CHECK_MAX, KafkaSource};
use crate::log::{TopicId, TopicPartition};
use crate::source::{Item, RecordSource, SourceError, TopicCheck};

impl RecordSource for KafkaSource {
    fn start_offset(&self, id: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.watermarks(&self.shared.name(id.topic), id.partition)?.0)
    }

    fn end_offset(&self, id: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.watermarks(&self.shared.name(id.topic), id.partition)?.1)
    }

    fn is_at_end(&self, id: TopicPartition, next_offset: i64) -> bool {
        let partition = self.shared.partitions.read().get(&id).cloned();
        partition.is_some_and(|partition| partition.lock().is_at_end(next_offset))
    }

    fn watch(&self, topic: TopicId) -> Option<watch::Receiver<u64>> {
        self.shared.topics.read().get(&topic).map(|topic| topic.changed.subscribe())
    }

    fn read(
        &self,
        id: TopicPartition,
        from_offset: i64,
        bytes_max: usize,
        sink: &mut dyn FnMut(Item<'_>),
    ) -> Result<i64, SourceError> {
        let Some(partition) = self.shared.partitions.read().get(&id).cloned() else { return Ok(from_offset) };
        partition.lock().read(self, id, (from_offset, bytes_max), sink)
    }

    fn check_topic(&self, topic: TopicId) -> BoxFuture<'_, TopicCheck> {
        Box::pin(async move {
            if !self.asks_ids() || self.shared.id_is_made_up(topic) {
                return TopicCheck::Same;
            }
            let names = [self.shared.name(topic)];
            let ids = match timeout(CHECK_MAX, self.topic_ids(&names)).await {
                Ok(Ok(ids)) => ids.unwrap_or_default(),
                Ok(Err(error)) => return self.unanswered(error.to_string()),
                Err(_) => return self.unanswered(format!("no answer within {} ms", CHECK_MAX.as_millis())),
            };
            if ids.values().all(|id| *id == topic.0) {
                return TopicCheck::Same;
            }
            self.shared.restart.send_replace(true);
            TopicCheck::Replaced
        })
    }

    fn committed(&self, topic: TopicId, last_offsets: &[(i32, i64)]) -> Result<(), SourceError> {
        let name = self.shared.name(topic);
        let mut list = TopicPartitionList::with_capacity(last_offsets.len());
        for (partition, last_offset) in last_offsets {
            if !self.shared.partitions.read().contains_key(&TopicPartition::new(topic, *partition)) {
                continue;
            }
            let refused = |error: KafkaError| self.shared.refused(None, &error);
            list.add_partition_offset(&name, *partition, Offset::Offset(last_offset + 1)).map_err(refused)?;
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group's offsets could not be committed; they are a courtesy");
        }
        Ok(())
    }
}

impl KafkaSource {
    /// Nobody said. Where no broker is known to be up at all, that is said elsewhere, and no topic changes meanwhile.
    fn unanswered(&self, reason: String) -> TopicCheck {
        match self.shared.health.away() {
            Some(_) => TopicCheck::Same,
            None => TopicCheck::Unanswered(reason),
        }
    }
}
