//! One connection: frames in, answers out in the same order, several requests in work at a time.
//!
//! The reading side queues a produce's batches in the log before it reads on, so their order is the client's; the
//! writing side waits for each answer in turn. Bytes in work are bounded per connection and over all of them, produces
//! apart from all else: while a disk stands still its batches fill their budget, and reads go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures::future::BoxFuture;
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::KafkaOptions;
use super::api::{Context, Outcome, begin};
use super::frame::{FrameHead, FrameReader};
use super::guard::{Rights, Secured, Session};
use super::memory::{Budget, Reserved};
use super::newcomers::Newcomer;
use crate::log::Log;

const NO_REQUEST: &str = "no whole request came in time";

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    pub(super) options: Arc<KafkaOptions>,
    /// Bytes of produces in work.
    produces: Budget,
    /// Bytes of other requests in work.
    requests: Budget,
    /// Bytes of records in answers to fetches.
    pub(super) fetches: Budget,
    /// Turns at checking large compressed batches, so many as there are cores.
    pub(super) checks: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(log: Arc<Log>, options: Arc<KafkaOptions>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            log,
            produces: Budget::new(options.total_bytes_max),
            requests: Budget::new(options.requests_bytes_max),
            fetches: Budget::new(options.fetch_total_bytes_max),
            checks: Arc::new(Semaphore::new(cores)),
            options,
        }
    }

    /// Waits for the memory of a request.
    async fn reserve(&self, own: &Budget, head: FrameHead) -> Reserved {
        let mut reserved = Reserved::default();
        own.reserve(head.length, &mut reserved).await;
        let all = if is_produce(head) { &self.produces } else { &self.requests };
        all.reserve(head.length, &mut reserved).await;
        reserved
    }
}

/// What a connection needs.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) peer: SocketAddr,
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
    let Some(tls) = connection.shared.options.tls.clone() else {
        let (reading, writing) = stream.into_split();
        return answer(reading, writing, (connection, local, None), newcomer).await;
    };
    // A client that does not agree is gone: nothing is answered in the clear in its place.
    let agreed = timeout(connection.shared.options.first_request_time, tls.accept(stream)).await;
    match agreed {
        Ok(Ok(Secured { stream, rights })) => {
            let (reading, writing) = tokio::io::split(stream);
            answer(reading, writing, (connection, local, rights), newcomer).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, kind = ?error.kind(), "a client did not agree on TLS"),
        Err(_) => tracing::debug!(%peer, "a client did not agree on TLS in time"),
    }
}

/// Answers what is asked on a connection, of whom its certificate may have said who it is.
async fn answer(
    reading: impl AsyncRead + Unpin,
    writing: impl AsyncWrite + Unpin + Send + 'static,
    (connection, local, rights): (Connection, SocketAddr, Option<Arc<dyn Rights>>),
    newcomer: Newcomer,
) {
    let (peer, options) = (connection.peer, Arc::clone(&connection.shared.options));
    let context = Arc::new(Context {
        shared: Arc::clone(&connection.shared),
        advertised: options.advertised.clone().unwrap_or_else(|| (local.ip().to_string(), local.port())),
        peer,
        told_of_groups: AtomicBool::new(false),
        session: Session::of(rights),
    });
    let (queue, pending) = mpsc::channel(options.pipelined_max.max(1));
    let writer = tokio::spawn(write_answers(writing, pending, options));
    if let Err(reason) = read_requests(reading, connection, newcomer, context, queue).await {
        tracing::debug!(%peer, %reason, "connection closed");
    }
    let _ = writer.await;
}

/// A request in work. Its bytes are kept until it is answered, for what was made of them is kept too.
struct Pending {
    answer: BoxFuture<'static, Outcome>,
    _frame: Bytes,
}

async fn read_requests(
    reading: impl AsyncRead + Unpin,
    mut connection: Connection,
    newcomer: Newcomer,
    context: Arc<Context>,
    queue: mpsc::Sender<Pending>,
) -> Result<(), String> {
    let shared = Arc::clone(&connection.shared);
    let options = &shared.options;
    let own = Budget::new(options.connection_bytes_max);
    let mut frames = FrameReader::new(reading, options.frame_bytes_max, options.frame_time, options.idle_time);
    let (mut newcomer, first_due) = (Some(newcomer), Instant::now() + options.first_request_time);
    loop {
        let head = tokio::select! {
            head = frames.head() => head.map_err(|error| error.to_string())?,
            () = sleep_until(first_due), if newcomer.is_some() => return Err(NO_REQUEST.to_owned()),
            _ = connection.stopping.wait_for(|stopping| *stopping) => return Ok(()),
            () = queue.closed() => return Ok(()),
        };
        let Some(head) = head else { return Ok(()) };
        if !is_produce(head) && head.length > options.request_bytes_max {
            return Err(format!("a request of {} bytes that produces nothing", head.length));
        }
        let reserved = tokio::select! {
            reserved = shared.reserve(&own, head) => reserved,
            () = sleep_until(first_due), if newcomer.is_some() => return Err(NO_REQUEST.to_owned()),
            _ = connection.stopping.wait_for(|stopping| *stopping) => return Ok(()),
            () = queue.closed() => return Ok(()),
        };
        let frame = tokio::select! {
            frame = frames.body(head.length) => frame.map_err(|error| error.to_string())?,
            () = sleep_until(first_due), if newcomer.is_some() => return Err(NO_REQUEST.to_owned()),
        };
        newcomer = None;
        let frame = reserved.hold(frame);
        let answer = begin(&context, frame.clone()).await.map_err(|refusal| refusal.to_string())?;
        if queue.send(Pending { answer, _frame: frame }).await.is_err() {
            return Ok(());
        }
    }
}

fn is_produce(head: FrameHead) -> bool {
    head.api_key == ApiKey::Produce as i16
}

/// Sends the answers in their order. A client that does not read one in time is left: its answer holds memory.
async fn write_answers(
    mut writing: impl AsyncWrite + Unpin,
    mut pending: mpsc::Receiver<Pending>,
    options: Arc<KafkaOptions>,
) {
    while let Some(request) = pending.recv().await {
        let answer: Bytes = match request.answer.await {
            Outcome::Answer(answer) => answer,
            Outcome::Silence => continue,
            Outcome::Close => return,
        };
        if !matches!(timeout(options.answer_time, writing.write_all(&answer)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = writing.shutdown().await;
}
