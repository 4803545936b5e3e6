//! Fetch: durable batches, whole ones, also where an offset lies within one. Waits for data when there is too little.
//!
//! Batches are served as they are stored. One that does not decompress can only be from before such batches were refused
//! at produce; it is served too, for its bytes are what was acknowledged: the consumer has to seek past it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::{FETCH_SESSION_ID_NOT_FOUND, Refusal, UNKNOWN_LEADER_EPOCH};
use crate::kafka::wire::{Reader, WireError};

struct Asked {
    partition: i32,
    leader_epoch: i32,
    offset: i64,
    bytes_max: usize,
}

struct Request {
    max_wait: Duration,
    bytes_min: usize,
    bytes_max: usize,
    read_committed: bool,
    in_session: bool,
    topics: Vec<(String, Vec<Asked>)>,
}

pub(super) fn begin(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let request = decode(context, call.version, reader)?;
    if request.in_session {
        return call.ready(&FetchResponse::default().with_error_code(FETCH_SESSION_ID_NOT_FOUND));
    }
    Ok(answer(Arc::clone(context), call, request).boxed())
}

fn decode(context: &Context, version: i16, reader: &mut Reader) -> Result<Request, WireError> {
    reader.i32()?;
    let max_wait = Duration::from_millis(u64::try_from(reader.i32()?).unwrap_or(0)).min(context.options.fetch_wait_max);
    let bytes_min = usize::try_from(reader.i32()?).unwrap_or(0);
    let bytes_max = usize::try_from(reader.i32()?).unwrap_or(0).min(context.options.fetch_bytes_max);
    let read_committed = reader.i8()? == 1;
    let mut in_session = false;
    if version >= 7 {
        let (id, epoch) = (reader.i32()?, reader.i32()?);
        in_session = id != 0 && epoch > 0;
    }
    let topics = reader.required_list(5, |reader| {
        let topic = reader.required_string()?;
        let partitions = reader.required_list(16, |reader| asked(reader, version))?;
        reader.tags()?;
        Ok((topic, partitions))
    })?;
    Ok(Request { max_wait, bytes_min, bytes_max, read_committed, in_session, topics })
}

fn asked(reader: &mut Reader, version: i16) -> Result<Asked, WireError> {
    let partition = reader.i32()?;
    let leader_epoch = if version >= 9 { reader.i32()? } else { -1 };
    let offset = reader.i64()?;
    if version >= 12 {
        reader.i32()?;
    }
    if version >= 5 {
        reader.i64()?;
    }
    let bytes_max = usize::try_from(reader.i32()?).unwrap_or(0);
    reader.tags()?;
    Ok(Asked { partition, leader_epoch, offset, bytes_max })
}

async fn answer(context: Arc<Context>, call: Call, request: Request) -> Outcome {
    let deadline = Instant::now() + request.max_wait;
    let request = Arc::new(request);
    let mut news = watch_topics(&context, &request);
    loop {
        for receiver in &mut news {
            receiver.borrow_and_update();
        }
        let (context, request) = (Arc::clone(&context), Arc::clone(&request));
        let enough = request.bytes_min;
        let Ok(gathered) = tokio::task::spawn_blocking(move || gather(&context, &request)).await else {
            return Outcome::Close;
        };
        let due = gathered.failed || gathered.bytes >= enough || Instant::now() >= deadline;
        if due || news.is_empty() && timeout_at(deadline, std::future::pending::<()>()).await.is_err() {
            return call.answer_or_close(&FetchResponse::default().with_responses(gathered.topics));
        }
        let _ = timeout_at(deadline, select_all(news.iter_mut().map(|receiver| receiver.changed().boxed()))).await;
    }
}

fn watch_topics(context: &Context, request: &Request) -> Vec<watch::Receiver<u64>> {
    request
        .topics
        .iter()
        .filter_map(|(topic, _)| context.log.topic(topic))
        .filter_map(|info| context.log.watch(info.id))
        .collect()
}

struct Gathered {
    topics: Vec<FetchableTopicResponse>,
    bytes: usize,
    failed: bool,
}

fn gather(context: &Context, request: &Request) -> Gathered {
    let mut gathered = Gathered { topics: Vec::with_capacity(request.topics.len()), bytes: 0, failed: false };
    for (topic, partitions) in &request.topics {
        let mut data = Vec::with_capacity(partitions.len());
        for asked in partitions {
            let left = request.bytes_max.saturating_sub(gathered.bytes);
            let answer = read(context, topic, asked, left, gathered.bytes == 0).unwrap_or_else(|refusal| {
                gathered.failed = true;
                PartitionData::default()
                    .with_partition_index(asked.partition)
                    .with_error_code(refusal.code)
                    .with_high_watermark(-1)
                    .with_records(Some(Bytes::new()))
            });
            gathered.bytes += answer.records.as_ref().map_or(0, Bytes::len);
            data.push(if request.read_committed {
                answer.with_aborted_transactions(Some(Vec::new()))
            } else {
                answer.with_aborted_transactions(None)
            });
        }
        gathered.topics.push(
            FetchableTopicResponse::default()
                .with_topic(StrBytes::from_string(topic.clone()).into())
                .with_partitions(data),
        );
    }
    gathered
}

fn read(context: &Context, topic: &str, asked: &Asked, left: usize, first: bool) -> Result<PartitionData, Refusal> {
    let log = &context.log;
    let id = context.partition(topic, asked.partition).ok_or_else(|| Refusal::unknown_topic(topic))?;
    if asked.leader_epoch > 0 {
        return Err(Refusal::new(UNKNOWN_LEADER_EPOCH, "there is only epoch 0"));
    }
    // The first batch is given even when it is larger than the limits, so that a consumer never stands still.
    let batches = if left == 0 && !first {
        Vec::new()
    } else {
        log.read(id, asked.offset, asked.bytes_max.min(left)).map_err(|error| Refusal::from(&error))?
    };
    let (end, start) = (log.durable_end(id), log.start_offset(id));
    let (end, start) = (end.map_err(|error| Refusal::from(&error))?, start.map_err(|error| Refusal::from(&error))?);
    let records = match batches.as_slice() {
        [one] => one.batch.clone(),
        several => {
            let mut out = BytesMut::with_capacity(several.iter().map(|stored| stored.batch.len()).sum());
            several.iter().for_each(|stored| out.extend_from_slice(&stored.batch));
            out.freeze()
        }
    };
    Ok(PartitionData::default()
        .with_partition_index(asked.partition)
        .with_high_watermark(end)
        .with_last_stable_offset(end)
        .with_log_start_offset(start)
        .with_records(Some(records)))
}
