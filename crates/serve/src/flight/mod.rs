//! Arrow Flight SQL over the same sessions as every other surface: for ADBC drivers and what builds on them.
//!
//! The text of a statement is PostgreSQL's SQL (`postgres::dialect`). A call proves its name by its `authorization`
//! header, as HTTP does. Invariant: a schema that is told of before the rows is the schema of the rows.

mod answer;
mod doors;
mod service;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::names::{Names, Peer, Shown};
use crate::session::Sessions;
use crate::tls::Certificate;
use service::Service;

/// Bytes of a message that a client sends.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Calls at once on one connection.
const STREAMS_MAX: u32 = 64;
/// Time for a client to agree on TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What every call knows.
#[derive(Clone)]
pub struct Flight {
    /// Answers queries.
    pub sessions: Sessions,
    /// Says who comes in.
    pub names: Arc<Names>,
    /// What connections are encrypted under.
    pub certificate: Option<Arc<Certificate>>,
}

/// Serves until `stop` completes.
pub async fn serve(listener: TcpListener, flight: Flight, stop: impl Future<Output = ()> + Send) {
    let service = FlightServiceServer::new(Service::new(flight.sessions, flight.names))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming(listener, flight.certificate), stop)
        .await;
    if served.is_err() {
        tracing::warn!("the Flight SQL endpoint ended before the server did");
    }
}

/// A connection's bytes.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

/// Where a call comes from, and the certificate that its connection has shown.
#[derive(Debug, Clone, Default)]
struct Line {
    peer: Peer,
    shown: Option<Arc<Shown>>,
}

/// A connection, encrypted or not, and where it comes from.
struct Connection(Box<dyn Bytes>, Line);

impl Connected for Connection {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.1.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Connections that have agreed on what they are. Each agrees in a task of its own, so that none waits for another.
fn incoming(
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
) -> impl Stream<Item = io::Result<Connection>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (sender, certificate) = (sender.clone(), certificate.clone());
                    tokio::spawn(async move {
                        if let Some(connection) = agreed(stream, certificate).await {
                            let _ = sender.send(Ok(connection)).await;
                        }
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|connection| (connection, receiver))
    })
}

async fn agreed(stream: TcpStream, certificate: Option<Arc<Certificate>>) -> Option<Connection> {
    let _ = stream.set_nodelay(true);
    let peer = Peer(stream.peer_addr().ok().map(|address| address.ip()));
    let plain = Line { peer, shown: None };
    let Some(certificate) = certificate else { return Some(Connection(Box::new(stream), plain)) };
    let accepted = certificate.acceptor_for(b"h2").0.accept(stream);
    // A client that does not agree is gone: nothing is answered in the clear under a certificate.
    let stream = tokio::time::timeout(HANDSHAKE_MAX, accepted).await.ok()?.ok()?;
    let shown = Shown::of(stream.get_ref().1.peer_certificates()).map(Arc::new);
    Some(Connection(Box::new(stream), Line { peer, shown }))
}
