//! One connection: frames in, answers out in the same order, several requests in work at a time.
//!
//! The reading side queues a produce's batches in the log before it reads on, so their order is the client's; the
//! writing side waits for each answer in turn. Bytes in work are bounded per connection and over all of them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::KafkaOptions;
use super::api::{Context, Outcome, begin};
use super::frame::FrameReader;
use super::newcomers::Newcomer;
use crate::log::Log;

const NO_REQUEST: &str = "no whole request came in time";

/// What a connection needs.
pub(super) struct Connection {
    pub log: Arc<Log>,
    pub options: Arc<KafkaOptions>,
    pub memory: Arc<Semaphore>,
    pub checks: Arc<Semaphore>,
    pub stopping: watch::Receiver<bool>,
    pub peer: SocketAddr,
}

/// A request in work.
struct Pending {
    answer: BoxFuture<'static, Outcome>,
    _memory: (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>),
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, connection: Connection, newcomer: Newcomer) {
    let peer = connection.peer;
    let _ = stream.set_nodelay(true);
    let local = match stream.local_addr() {
        Ok(local) => local,
        Err(error) => {
            tracing::debug!(%peer, %error, "the connection was gone before it was served");
            return;
        }
    };
    let advertised = connection.options.advertised.clone().unwrap_or_else(|| (local.ip().to_string(), local.port()));
    let context = Arc::new(Context {
        log: Arc::clone(&connection.log),
        options: Arc::clone(&connection.options),
        advertised,
        checks: Arc::clone(&connection.checks),
    });
    let (reading, writing) = stream.into_split();
    let (queue, pending) = mpsc::channel(connection.options.pipelined_max.max(1));
    let writer = tokio::spawn(write_answers(writing, pending));
    if let Err(reason) = read_requests(reading, connection, newcomer, context, queue).await {
        tracing::debug!(%peer, %reason, "connection closed");
    }
    let _ = writer.await;
}

async fn read_requests(
    reading: impl AsyncRead + Unpin,
    mut connection: Connection,
    newcomer: Newcomer,
    context: Arc<Context>,
    queue: mpsc::Sender<Pending>,
) -> Result<(), String> {
    let options = Arc::clone(&connection.options);
    let own = Arc::new(Semaphore::new(options.connection_bytes_max));
    let mut frames = FrameReader::new(reading, options.frame_bytes_max, options.frame_time, options.idle_time);
    let (mut newcomer, first_due) = (Some(newcomer), Instant::now() + options.first_request_time);
    loop {
        let length = tokio::select! {
            length = frames.length() => length.map_err(|error| error.to_string())?,
            () = sleep_until(first_due), if newcomer.is_some() => return Err(NO_REQUEST.to_owned()),
            _ = connection.stopping.wait_for(|stopping| *stopping) => return Ok(()),
            () = queue.closed() => return Ok(()),
        };
        let Some(length) = length else { return Ok(()) };
        let memory = (
            reserve(&own, length, options.connection_bytes_max).await,
            reserve(&connection.memory, length, options.total_bytes_max).await,
        );
        let frame = tokio::select! {
            frame = frames.body(length) => frame.map_err(|error| error.to_string())?,
            () = sleep_until(first_due), if newcomer.is_some() => return Err(NO_REQUEST.to_owned()),
        };
        newcomer = None;
        let answer = begin(&context, frame).await.map_err(|refusal| refusal.to_string())?;
        if queue.send(Pending { answer, _memory: memory }).await.is_err() {
            return Ok(());
        }
    }
}

/// A frame larger than the limit takes all of it.
async fn reserve(semaphore: &Arc<Semaphore>, length: usize, limit: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(length.min(limit)).unwrap_or(u32::MAX);
    Arc::clone(semaphore).acquire_many_owned(permits).await.ok()
}

async fn write_answers(mut writing: impl AsyncWrite + Unpin, mut pending: mpsc::Receiver<Pending>) {
    while let Some(request) = pending.recv().await {
        let answer: Bytes = match request.answer.await {
            Outcome::Answer(answer) => answer,
            Outcome::Silence => continue,
            Outcome::Close => return,
        };
        if writing.write_all(&answer).await.is_err() {
            return;
        }
    }
    let _ = writing.shutdown().await;
}
