//! PostgreSQL's wire protocol over the same sessions as HTTP: for psql, drivers and dashboard tools.
//!
//! A connection begins in `startup`, its messages are read by `frame` and answered by `connection`; a query is read by
//! `dialect`, runs through `session` as everybody's, and leaves by `encode`. Invariant: a connection has a state of its
//! own, proves one name once, and shares nothing that says who asks.

mod cancels;
mod catalogue;
mod connection;
pub mod dialect;
mod emptiness;
mod encode;
mod extended;
mod form;
mod frame;
mod from;
mod function;
mod label;
mod numeric;
mod parameter;
mod parse;
mod portal;
mod recursion;
mod refusal;
mod reply;
mod rewrite;
mod settings;
mod startup;
mod statement;
mod template;
mod time;
mod types;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::error::QueryError;
use crate::names::Names;
use crate::session::Sessions;
use crate::sql::parse::TextLimits;
use crate::tls::Certificate;
use cancels::Cancels;

pub(crate) use parameter::{constant, placeholder};
pub(crate) use settings::{DATABASE, Settings};

/// How many parameters a query has.
///
/// # Errors
/// When the text is no query.
pub(crate) fn parameters(sql: &str, limits: &TextLimits) -> Result<usize, QueryError> {
    parse::parse(sql, limits).map(|parsed| parsed.placeholders)
}

/// Limits of connections and messages.
#[derive(Debug, Clone, Copy)]
pub struct PostgresLimits {
    /// Connections at once; one more is told so.
    pub connections_max: usize,
    /// Time until a name has been proved.
    pub startup_timeout: Duration,
    /// Bytes of a message before that.
    pub startup_bytes_max: usize,
    /// Bytes of a message after that.
    pub message_bytes_max: usize,
    /// Prepared statements of a connection.
    pub statements_max: usize,
    /// Portals and cursors of a connection that are open: each may hold a place among the queries that run.
    pub portals_max: usize,
    /// Time in which a client takes what it is sent.
    pub write_timeout: Duration,
    /// Time that connections have to end when the server stops.
    pub stop_timeout: Duration,
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            connections_max: 128,
            startup_timeout: Duration::from_secs(10),
            startup_bytes_max: 4 << 10,
            message_bytes_max: 16 << 20,
            statements_max: 1_000,
            portals_max: 16,
            write_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(2),
        }
    }
}

/// What every connection knows.
#[derive(Clone)]
pub struct Postgres {
    /// Answers queries; connections speak PostgreSQL's dialect with it.
    pub sessions: Sessions,
    /// Says who comes in.
    pub names: Arc<Names>,
    /// What connections are encrypted under.
    pub certificate: Option<Arc<Certificate>>,
    /// Limits.
    pub limits: PostgresLimits,
}

/// A listener and what it serves.
pub struct PostgresServer {
    listener: TcpListener,
    postgres: Postgres,
}

impl PostgresServer {
    /// A server that has not begun.
    #[must_use]
    pub fn new(listener: TcpListener, postgres: Postgres) -> Self {
        Self { listener, postgres }
    }

    /// Serves until `stop` completes.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        serve(self.listener, self.postgres, stop).await;
    }
}

/// Serves until `stop` completes, then ends the connections.
pub async fn serve(listener: TcpListener, postgres: Postgres, stop: impl Future<Output = ()> + Send) {
    let limits = postgres.limits;
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let cancels = Arc::new(Cancels::default());
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer): (TcpStream, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "a connection could not be accepted");
                // Out of descriptors: the next try would fail at once.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // One that comes in vain may still cancel what another does, so a few more are let in as far as that.
        let slot = Arc::clone(&slots).try_acquire_owned().ok();
        if slot.is_none() && connections.len() >= limits.connections_max * 2 {
            continue;
        }
        let (postgres, cancels, stopped) = (postgres.clone(), Arc::clone(&cancels), stopped.clone());
        connections.spawn(async move {
            let begun = startup::begin(stream, peer, postgres, cancels, slot.is_some());
            let begun = tokio::time::timeout(limits.startup_timeout, begun).await;
            if let Ok(Some(connection)) = begun {
                connection.run(stopped).await;
            }
            drop(slot);
        });
    }
    drop(listener);
    stopping.send_replace(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_timeout, finish).await.is_err() {
        connections.shutdown().await;
    }
}
