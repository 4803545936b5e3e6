//! Listens, and gives each connection a task.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::KafkaOptions;
use super::connection::{Connection, Shared, serve};
use super::newcomers::{Newcomers, Shortage};
use crate::log::Log;

/// The endpoint, bound and not yet serving.
#[derive(Debug)]
pub struct KafkaServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    log: Arc<Log>,
    options: Arc<KafkaOptions>,
}

impl KafkaServer {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: impl ToSocketAddrs, log: Arc<Log>, options: KafkaOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, log, options: Arc::new(options) })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` resolves; then accepts and reads no more, answers what is in work, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared::new(self.log, Arc::clone(&self.options)));
        let (newcomers, mut shortage) = (Newcomers::default(), Shortage::default());
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, as a rule: let some close before the next try.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            if connections.len() >= self.options.connections_max {
                let gave_way = newcomers.evict_oldest();
                if let Some((refused, gave_way)) = shortage.note(gave_way, Instant::now()) {
                    tracing::warn!(
                        connections_max = self.options.connections_max,
                        refused,
                        gave_way,
                        "too many connections: those that never sent a request give way, else the new one is closed"
                    );
                }
                if !gave_way {
                    continue;
                }
                connections.join_next().await;
            }
            let connection = Connection { shared: Arc::clone(&shared), stopping: stopping.clone(), peer };
            newcomers.admit(|newcomer| connections.spawn(serve(stream, connection, newcomer)));
        }
        drop(self.listener);
        let _ = stop.send(true);
        let rest = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.options.stop_time, rest).await.is_err() {
            tracing::warn!("some connections did not end in time and are dropped");
        }
    }
}
