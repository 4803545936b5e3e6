//! ListOffsets: the first, the next, or the first at or after a time.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::ListOffsetsResponse;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::Refusal;
use crate::kafka::wire::Reader;
use crate::log::{LogError, TopicPartition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

struct Asked {
    partition: i32,
    timestamp: i64,
}

pub(super) fn begin(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    reader.i32()?;
    if call.version >= 2 {
        reader.i8()?;
    }
    let topics = reader.required_list(5, |reader| {
        let topic = reader.required_string()?;
        let partitions = reader.required_list(12, |reader| {
            let partition = reader.i32()?;
            if call.version >= 4 {
                reader.i32()?;
            }
            let timestamp = reader.i64()?;
            reader.tags()?;
            Ok(Asked { partition, timestamp })
        })?;
        reader.tags()?;
        Ok((topic, partitions))
    })?;
    let context = Arc::clone(context);
    let work = tokio::task::spawn_blocking(move || {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            let partitions = partitions.iter().map(|asked| look_up(&context, &topic, asked, call.version)).collect();
            ListOffsetsTopicResponse::default()
                .with_name(StrBytes::from_string(topic).into())
                .with_partitions(partitions)
        });
        call.answer_or_close(&ListOffsetsResponse::default().with_topics(topics.collect()))
    });
    Ok(work.map(|outcome| outcome.unwrap_or(Outcome::Close)).boxed())
}

fn look_up(context: &Context, topic: &str, asked: &Asked, version: i16) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition)
        .with_timestamp(-1)
        .with_offset(-1);
    let Some(id) = context.partition(topic, asked.partition) else {
        return answer.with_error_code(Refusal::unknown_topic(topic).code);
    };
    match offset(context, id, asked.timestamp) {
        Ok((timestamp, offset)) => {
            let answer = answer.with_timestamp(timestamp).with_offset(offset);
            if version >= 4 { answer.with_leader_epoch(0) } else { answer }
        }
        Err(error) => answer.with_error_code(Refusal::from(&error).code),
    }
}

fn offset(context: &Context, id: TopicPartition, timestamp: i64) -> Result<(i64, i64), LogError> {
    let log = context.log();
    let by_time = |time| log.offset_for_time(id, time).map(|found| found.unwrap_or((-1, -1)));
    match timestamp {
        LATEST => Ok((-1, log.durable_end(id)?)),
        EARLIEST => Ok((-1, log.start_offset(id)?)),
        MAX_TIMESTAMP => log.max_timestamp_ms(id)?.map_or(Ok((-1, -1)), by_time),
        time => by_time(time),
    }
}
