//! OffsetForLeaderEpoch: there is one leader and one epoch, 0, so its end is the partition's.

use std::sync::Arc;

use futures::future::BoxFuture;
use kafka_protocol::messages::OffsetForLeaderEpochResponse;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::protocol::StrBytes;

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::UNKNOWN_TOPIC_OR_PARTITION;
use crate::kafka::wire::Reader;

pub(super) fn begin(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    if call.version >= 3 {
        reader.i32()?;
    }
    let topics = reader.required_list(5, |reader| {
        let topic = reader.required_string()?;
        let partitions = reader.required_list(12, |reader| {
            let (partition, _current, epoch) = (reader.i32()?, reader.i32()?, reader.i32()?);
            reader.tags()?;
            let end = context.partition(&topic, partition).and_then(|id| context.log().durable_end(id).ok());
            Ok(match end {
                Some(end) if epoch == 0 => {
                    EpochEndOffset::default().with_partition(partition).with_leader_epoch(0).with_end_offset(end)
                }
                Some(_) => {
                    EpochEndOffset::default().with_partition(partition).with_leader_epoch(-1).with_end_offset(-1)
                }
                None => EpochEndOffset::default().with_partition(partition).with_error_code(UNKNOWN_TOPIC_OR_PARTITION),
            })
        })?;
        reader.tags()?;
        Ok(OffsetForLeaderTopicResult::default()
            .with_topic(StrBytes::from_string(topic).into())
            .with_partitions(partitions))
    })?;
    call.ready(&OffsetForLeaderEpochResponse::default().with_topics(topics))
}
