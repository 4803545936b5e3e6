//! One connection: Produce version 7 with acks=all, several on their way, answers taken in order.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Options;
use crate::payload::Batch;
use crate::report::Report;

/// Event numbers of one connection.
const SEQUENCES: u64 = 1_000_000_000;

struct Sent {
    at: Instant,
    events: u64,
    bytes: u64,
}

/// Produces until the deadline or the connection's share of the events.
pub(crate) async fn run(
    options: Options,
    number: usize,
    batches: Vec<Batch>,
    deadline: Instant,
) -> anyhow::Result<Report> {
    let stream =
        TcpStream::connect(&options.bootstrap).await.with_context(|| format!("connect to {}", options.bootstrap))?;
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    let (sent, answers) = mpsc::channel(options.in_flight.max(1));
    let answered = tokio::spawn(take_answers(reading, answers));
    let sending = send_all(&options, number, batches, deadline, writing, sent).await;
    let report = answered.await.context("the answers' task ended")?;
    sending?;
    report
}

async fn send_all(
    options: &Options,
    number: usize,
    mut batches: Vec<Batch>,
    deadline: Instant,
    mut writing: OwnedWriteHalf,
    sent: mpsc::Sender<Sent>,
) -> anyhow::Result<()> {
    let share = options.connections.max(1) as u64;
    let events_max = options.events.map_or(u64::MAX, |events| events / share);
    let rate = options.rate.map(|rate| rate / share as f64);
    let began = Instant::now();
    let (mut events, mut at) = (0u64, 0usize);
    let step = options.connections.max(1);
    while events < events_max && Instant::now() < deadline {
        if let Some(rate) = rate {
            tokio::time::sleep_until(began + Duration::from_secs_f64(events as f64 / rate)).await;
        }
        let partition =
            i32::try_from((number + at * step) % usize::try_from(options.partitions.max(1)).unwrap_or(1)).unwrap_or(0);
        let count = batches.len().max(1);
        let Some(batch) = batches.get_mut(at % count) else { bail!("no batches") };
        // A place among those on their way; the answer's time counts from when the request is written.
        let place = sent.reserve().await.context("the answers ended first")?;
        batch.patch(now_ms(), options.sequence_from + number as u64 * SEQUENCES + events);
        let head = head(&options.topic, partition, i32::try_from(at & 0x7fff_ffff).unwrap_or(0), batch.bytes.len());
        let begun = Instant::now();
        writing.write_all(&head).await.context("send")?;
        writing.write_all(&batch.bytes).await.context("send")?;
        place.send(Sent { at: begun, events: batch.events, bytes: batch.bytes.len() as u64 });
        events += batch.events;
        at += 1;
    }
    Ok(())
}

/// The request up to the batch.
fn head(topic: &str, partition: i32, correlation_id: i32, batch_bytes: usize) -> BytesMut {
    let mut body = BytesMut::with_capacity(128);
    body.put_i16(0);
    body.put_i16(7);
    body.put_i32(correlation_id);
    body.put_i16(7);
    body.put_slice(b"loadgen");
    body.put_i16(-1);
    body.put_i16(-1);
    body.put_i32(30_000);
    body.put_i32(1);
    body.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
    body.put_slice(topic.as_bytes());
    body.put_i32(1);
    body.put_i32(partition);
    body.put_i32(i32::try_from(batch_bytes).unwrap_or(i32::MAX));
    let mut frame = BytesMut::with_capacity(body.len() + 4);
    frame.put_i32(i32::try_from(body.len() + batch_bytes).unwrap_or(i32::MAX));
    frame.put_slice(&body);
    frame
}

async fn take_answers(mut reading: OwnedReadHalf, mut answers: mpsc::Receiver<Sent>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut waiting = VecDeque::new();
    let mut answer = Vec::new();
    loop {
        if waiting.is_empty() {
            let Some(sent) = answers.recv().await else {
                return Ok(report);
            };
            waiting.push_back(sent);
        }
        let length =
            usize::try_from(reading.read_i32().await.context("read an answer")?).context("an answer's length")?;
        answer.resize(length, 0);
        reading.read_exact(&mut answer).await.context("read an answer")?;
        let Some(sent) = waiting.pop_front() else { bail!("an answer that nobody asked for") };
        match error_code(&answer) {
            Some(0) => {
                report.events += sent.events;
                report.bytes += sent.bytes;
                report.latencies_us.push(u64::try_from(sent.at.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Some(code) => {
                report.refused += sent.events;
                report.last_error = Some(code);
            }
            None => bail!("an answer that is too short"),
        }
    }
}

/// Answer: correlation id, count, topic, count, partition, error code.
fn error_code(answer: &[u8]) -> Option<i16> {
    let topic_bytes = i16::from_be_bytes(answer.get(8..)?.first_chunk().copied()?);
    let at = 10 + usize::try_from(topic_bytes).ok()? + 8;
    answer.get(at..)?.first_chunk().copied().map(i16::from_be_bytes)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
