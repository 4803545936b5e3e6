//! Fetch: durable batches, whole ones, also where an offset lies within one. Waits for data when there is too little.
//! What an answer holds is bounded over its partitions and over all connections, but for its first batch (KIP-74).
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
use tokio::time::{Instant, timeout, timeout_at};

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::{FETCH_SESSION_ID_NOT_FOUND, Refusal, UNKNOWN_LEADER_EPOCH};
use crate::kafka::memory::Reserved;
use crate::kafka::wire::{Reader, WireError};
use crate::log::LogError;

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
    let max_wait =
        Duration::from_millis(u64::try_from(reader.i32()?).unwrap_or(0)).min(context.options().fetch_wait_max);
    let bytes_min = usize::try_from(reader.i32()?).unwrap_or(0);
    let bytes_max = usize::try_from(reader.i32()?).unwrap_or(0).min(context.options().fetch_bytes_max);
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
        let Some(gathered) = gather_in_turn(&context, &request).await else { return Outcome::Close };
        let due = gathered.failed || gathered.bytes >= request.bytes_min || Instant::now() >= deadline;
        if due || news.is_empty() && timeout_at(deadline, std::future::pending::<()>()).await.is_err() {
            return gathered.answer(call);
        }
        // What was gathered is freed meanwhile.
        drop(gathered);
        let _ = timeout_at(deadline, select_all(news.iter_mut().map(|receiver| receiver.changed().boxed()))).await;
    }
}

/// Gathers within the budget of all connections: what is read is reserved before, and given back when it is sent.
async fn gather_in_turn(context: &Arc<Context>, request: &Arc<Request>) -> Option<Gathered> {
    let (mut reserved, mut bytes_max) = (Reserved::default(), None);
    if has_records(context, request) {
        let most = request.bytes_max.max(context.options().message_bytes_max);
        let turn = context.shared.fetches.reserve(most, &mut reserved);
        bytes_max = timeout(context.options().fetch_turn_max, turn).await.is_ok().then_some(request.bytes_max);
    }
    let (context, request) = (Arc::clone(context), Arc::clone(request));
    let work = move || {
        let mut gathered = gather(&context, &request, bytes_max);
        reserved.shrink(gathered.bytes);
        gathered.reserved = reserved;
        gathered
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Whether there is anything to read, as far as offsets tell.
fn has_records(context: &Context, request: &Request) -> bool {
    request.topics.iter().flat_map(|(topic, asked)| asked.iter().map(move |asked| (topic, asked))).any(
        |(topic, asked)| {
            let id = context.partition(topic, asked.partition);
            id.and_then(|id| context.log().durable_end(id).ok()).is_some_and(|end| asked.offset < end)
        },
    )
}

fn watch_topics(context: &Context, request: &Request) -> Vec<watch::Receiver<u64>> {
    request
        .topics
        .iter()
        .filter_map(|(topic, _)| context.log().topic(topic))
        .filter_map(|info| context.log().watch(info.id))
        .collect()
}

struct Gathered {
    topics: Vec<FetchableTopicResponse>,
    bytes: usize,
    failed: bool,
    reserved: Reserved,
}

impl Gathered {
    fn answer(self, call: Call) -> Outcome {
        match call.answer_or_close(&FetchResponse::default().with_responses(self.topics)) {
            Outcome::Answer(bytes) => Outcome::Answer(self.reserved.hold(bytes)),
            other => other,
        }
    }
}

/// Reads what the partitions have, in their order, until so many bytes; no records at all without a limit.
fn gather(context: &Context, request: &Request, bytes_max: Option<usize>) -> Gathered {
    let topics = Vec::with_capacity(request.topics.len());
    let mut gathered = Gathered { topics, bytes: 0, failed: false, reserved: Reserved::default() };
    for (topic, partitions) in &request.topics {
        let mut data = Vec::with_capacity(partitions.len());
        for asked in partitions {
            let left = bytes_max.map(|bytes_max| bytes_max.saturating_sub(gathered.bytes));
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

fn read(
    context: &Context,
    topic: &str,
    asked: &Asked,
    left: Option<usize>,
    first: bool,
) -> Result<PartitionData, Refusal> {
    let log = context.log();
    if !context.asks(topic) {
        return Err(Refusal::not_allowed(topic, "read"));
    }
    let id = context.partition(topic, asked.partition).ok_or_else(|| Refusal::unknown_topic(topic))?;
    if asked.leader_epoch > 0 {
        return Err(Refusal::new(UNKNOWN_LEADER_EPOCH, "there is only epoch 0"));
    }
    let refused = |error: LogError| Refusal::from(&error);
    let batches = match left {
        // The first batch is given even when it is larger than the limits, so that a consumer never stands still.
        Some(left) if first => log.read(id, asked.offset, asked.bytes_max.min(left)).map_err(refused)?,
        Some(left) => log.read_at_most(id, asked.offset, asked.bytes_max.min(left)).map_err(refused)?,
        // Nothing but whether the offset is one.
        None => log.read_at_most(id, asked.offset, 0).map_err(refused)?,
    };
    let (end, start) = (log.durable_end(id), log.start_offset(id));
    let (end, start) = (end.map_err(refused)?, start.map_err(refused)?);
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
