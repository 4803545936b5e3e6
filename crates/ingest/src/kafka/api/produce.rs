//! Produce: batches into the log, as received. Answered when they are durable.
//!
//! The work per request is a walk of the batches' lengths and their checksums; nothing is copied and nothing is made
//! per record. Compressed batches are decompressed for that walk, beside the network's threads when they are large.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, timeout_at};

use vitalake_lake::TxnId;
use vitalake_runtime::events::{Event, Events};
use vitalake_runtime::steps::Step;

use super::{Call, Context, Outcome, RequestError};
use crate::kafka::error::{
    INVALID_RECORD, INVALID_REQUIRED_ACKS, MESSAGE_TOO_LARGE, REQUEST_TIMED_OUT, Refusal,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNSUPPORTED_VERSION,
};
use crate::kafka::wire::Reader;
use crate::log::{AppendTicket, CheckedBatch, TopicPartition};

/// The first version whose batches have the format that the log takes.
const FIRST_VERSION: i16 = 3;
/// A client's own limit is taken within these.
const WAIT_MS: std::ops::RangeInclusive<u64> = 1_000..=120_000;

struct Sent {
    topic: String,
    partitions: Vec<(i32, Option<Bytes>)>,
}

type Verdict = Result<(TopicPartition, CheckedBatch), Refusal>;

struct Checked {
    topic: String,
    partitions: Vec<(i32, Verdict)>,
}

/// What is on its way into the log, and where.
type Waiting = (TopicPartition, AppendTicket);

struct Queued {
    topic: String,
    partitions: Vec<(i32, Result<Waiting, Refusal>)>,
}

pub(super) async fn begin(
    context: &Arc<Context>,
    call: Call,
    reader: &mut Reader,
) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let transactional = call.version >= FIRST_VERSION && reader.string()?.is_some();
    let (acks, timeout_ms) = (reader.i16()?, reader.i32()?);
    let topics = reader.required_list(5, |reader| {
        let topic = reader.required_string()?;
        let partitions = reader.required_list(5, |reader| {
            let sent = (reader.i32()?, reader.bytes()?);
            reader.tags()?;
            Ok(sent)
        })?;
        reader.tags()?;
        Ok(Sent { topic, partitions })
    })?;
    if call.version < FIRST_VERSION {
        return Ok(std::future::ready(too_old(call, acks, &topics)).boxed());
    }
    let refusal = if !(-1..=1).contains(&acks) {
        Some(Refusal::new(INVALID_REQUIRED_ACKS, "acks is 0, 1 or all"))
    } else if transactional {
        Some(Refusal::new(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not supported"))
    } else {
        None
    };
    let trace = Trace::begin(context);
    let throttle_ms = context.log().admit().await;
    let checked = match refusal {
        Some(refusal) => topics.into_iter().map(|sent| refuse(sent, &refusal)).collect(),
        None => check_all(context, topics).await?,
    };
    let queued: Vec<Queued> = checked.into_iter().map(|checked| queue(context, checked)).collect();
    let wait_ms = u64::try_from(timeout_ms).unwrap_or(0).clamp(*WAIT_MS.start(), *WAIT_MS.end());
    Ok(finish(call, acks, queued, Instant::now() + Duration::from_millis(wait_ms), (throttle_ms, trace)).boxed())
}

/// A request whose first durable batch is followed on its way.
struct Trace {
    events: Events,
    arrived: SystemTime,
    began: Instant,
}

impl Trace {
    fn begin(context: &Context) -> Option<Self> {
        let events = &context.options().events;
        let begins = events.following().begins();
        begins.then(|| Self { events: events.clone(), arrived: SystemTime::now(), began: Instant::now() })
    }

    fn produced(self, id: TopicPartition, topic: &str, offset: i64) {
        self.events.send(Event::Step(Step::Produced {
            partition: TxnId::landing(id.topic.0, id.partition).as_str().into(),
            topic: topic.into(),
            number: id.partition,
            offset,
            arrived: self.arrived,
            took: self.began.elapsed(),
        }));
    }
}

fn refuse(sent: Sent, refusal: &Refusal) -> Checked {
    let partitions = sent.partitions.into_iter().map(|(partition, _)| (partition, Err(refusal.clone()))).collect();
    Checked { topic: sent.topic, partitions }
}

/// Checks the batches of a request, beside the network's threads when that takes long. So many requests at a time are
/// checked there as there are cores: that bounds what they decompress to.
async fn check_all(context: &Arc<Context>, topics: Vec<Sent>) -> Result<Vec<Checked>, RequestError> {
    let check =
        |context: &Context, topics: Vec<Sent>| topics.into_iter().map(|sent| check_topic(context, sent)).collect();
    let mut batches = topics.iter().flat_map(|sent| &sent.partitions).filter_map(|(_, records)| records.as_ref());
    if batches.all(|records| CheckedBatch::is_quick(records)) {
        return Ok(check(context, topics));
    }
    let turn = Arc::clone(&context.shared.checks).acquire_owned().await;
    let context = Arc::clone(context);
    let work = move || {
        // The turn ends with the work, also when nobody waits for it any longer.
        let _turn = turn;
        check(&context, topics)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| RequestError::Interrupted)
}

fn check_topic(context: &Context, sent: Sent) -> Checked {
    if !context.sends(&sent.topic) {
        let refusal = Refusal::not_allowed(&sent.topic, "produce to");
        return refuse(sent, &refusal);
    }
    let info = context.log().topic(&sent.topic).filter(|info| info.active);
    let checked = sent.partitions.into_iter().map(|(partition, records)| {
        let known = info.as_ref().filter(|info| u32::try_from(partition).is_ok_and(|number| number < info.partitions));
        let batch = match known {
            None => Err(Refusal::unknown_topic(&sent.topic)),
            Some(info) => check(context, records).map(|batch| (TopicPartition::new(info.id, partition), batch)),
        };
        (partition, batch)
    });
    let partitions = checked.collect();
    Checked { topic: sent.topic, partitions }
}

/// Every batch is queued here, before the next request is read: the order in the log is the client's.
fn queue(context: &Context, checked: Checked) -> Queued {
    let append = |(id, batch)| (id, context.log().append(id, batch));
    let partitions = checked.partitions.into_iter().map(|(number, batch)| (number, batch.map(append))).collect();
    Queued { topic: checked.topic, partitions }
}

fn check(context: &Context, records: Option<Bytes>) -> Result<CheckedBatch, Refusal> {
    let records = records
        .filter(|records| !records.is_empty())
        .ok_or_else(|| Refusal::new(INVALID_RECORD, "there is no batch"))?;
    let limit = context.options().message_bytes_max;
    if records.len() > limit {
        return Err(Refusal::new(
            MESSAGE_TOO_LARGE,
            format!("the batch has {} bytes, the limit is {limit}", records.len()),
        ));
    }
    CheckedBatch::new(records).map_err(Refusal::from)
}

async fn finish(
    call: Call,
    acks: i16,
    queued: Vec<Queued>,
    deadline: Instant,
    (throttle_ms, mut trace): (u32, Option<Trace>),
) -> Outcome {
    let mut refused = false;
    let mut responses = Vec::with_capacity(queued.len());
    for topic in queued {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (partition, ticket) in topic.partitions {
            let (id, ticket) =
                ticket.map_or_else(|refusal| (None, Err(refusal)), |(id, ticket)| (Some(id), Ok(ticket)));
            let answer = answer(call, partition, ticket, deadline).await;
            if let Some(id) = id.filter(|_| answer.error_code == 0)
                && let Some(trace) = trace.take()
            {
                trace.produced(id, &topic.topic, answer.base_offset);
            }
            refused |= answer.error_code != 0;
            partitions.push(answer);
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(StrBytes::from_string(topic.topic).into())
                .with_partition_responses(partitions),
        );
    }
    if acks == 0 {
        // Nobody listens for an answer: as in Kafka, a closed connection says that something was refused.
        return if refused { Outcome::Close } else { Outcome::Silence };
    }
    call.answer_or_close(
        &ProduceResponse::default()
            .with_responses(responses)
            .with_throttle_time_ms(i32::try_from(throttle_ms).unwrap_or(0)),
    )
}

async fn answer(
    call: Call,
    partition: i32,
    ticket: Result<AppendTicket, Refusal>,
    deadline: Instant,
) -> PartitionProduceResponse {
    let outcome = match ticket {
        Err(refusal) => Err(refusal),
        Ok(ticket) => match timeout_at(deadline, ticket).await {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(error)) => Err(Refusal::from(&error)),
            Err(_) => Err(Refusal::new(REQUEST_TIMED_OUT, "the disk did not answer in time")),
        },
    };
    let answer = PartitionProduceResponse::default().with_index(partition).with_log_append_time_ms(-1);
    match outcome {
        Ok(appended) => {
            let answer = answer.with_base_offset(appended.base_offset);
            if call.version >= 5 { answer.with_log_start_offset(appended.start_offset) } else { answer }
        }
        Err(refusal) => {
            let answer = answer.with_error_code(refusal.code).with_base_offset(-1);
            if call.version >= 8 {
                answer.with_error_message(Some(StrBytes::from_string(refusal.message)))
            } else {
                answer
            }
        }
    }
}

/// Versions 0 to 2, which the codec does not know any more: every partition is refused in their own shape.
fn too_old(call: Call, acks: i16, topics: &[Sent]) -> Outcome {
    if acks == 0 {
        return Outcome::Close;
    }
    let mut body = BytesMut::new();
    let length = |count: usize| i32::try_from(count).unwrap_or(0);
    body.put_i32(call.correlation_id);
    body.put_i32(length(topics.len()));
    for sent in topics {
        body.put_i16(i16::try_from(sent.topic.len()).unwrap_or(0));
        body.put_slice(sent.topic.as_bytes());
        body.put_i32(length(sent.partitions.len()));
        for (partition, _) in &sent.partitions {
            body.put_i32(*partition);
            body.put_i16(UNSUPPORTED_VERSION);
            body.put_i64(-1);
            if call.version >= 2 {
                body.put_i64(-1);
            }
        }
    }
    if call.version >= 1 {
        body.put_i32(0);
    }
    let mut frame = BytesMut::with_capacity(body.len() + 4);
    frame.put_i32(length(body.len()));
    frame.put_slice(&body);
    Outcome::Answer(frame.freeze())
}
