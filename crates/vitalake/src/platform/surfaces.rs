//! The surfaces of SQL beside HTTP that a project asks for: PostgreSQL's wire protocol and Arrow Flight SQL.
//!
//! They are there from the beginning of the process to its end, as HTTP is, over the same sessions and doors.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use vitalake_runtime::config::Config;
use vitalake_serve::flight::{self, Flight};
use vitalake_serve::http::App;
use vitalake_serve::postgres::{Postgres, PostgresLimits, PostgresServer};
use vitalake_serve::tls::Certificate;

use super::process::listen;

/// Listeners that have not begun to answer.
pub(super) struct Surfaces {
    postgres: Option<PostgresServer>,
    flight: Option<(TcpListener, Flight)>,
    /// Where PostgreSQL's protocol is spoken.
    pub postgres_address: Option<SocketAddr>,
    /// Where Flight SQL is spoken.
    pub flight_address: Option<SocketAddr>,
}

impl Surfaces {
    /// Takes the addresses.
    ///
    /// # Errors
    /// When one of them is taken.
    pub async fn open(config: &Config, app: &App, certificate: Option<&Arc<Certificate>>) -> anyhow::Result<Self> {
        let mut surfaces = Self { postgres: None, flight: None, postgres_address: None, flight_address: None };
        let (sessions, names) = (|| app.sessions.clone(), || Arc::clone(&app.names));
        if let Some(address) = config.postgres.listen {
            let listener = listen(address, "postgres.listen", "VITALAKE_POSTGRES__LISTEN").await?;
            surfaces.postgres_address = Some(listener.local_addr()?);
            let (certificate, limits) = (certificate.cloned(), PostgresLimits::default());
            let postgres = Postgres { sessions: sessions(), names: names(), certificate, limits };
            surfaces.postgres = Some(PostgresServer::new(listener, postgres));
        }
        if let Some(address) = config.flight.listen {
            let listener = listen(address, "flight.listen", "VITALAKE_FLIGHT__LISTEN").await?;
            surfaces.flight_address = Some(listener.local_addr()?);
            let flight = Flight { sessions: sessions(), names: names(), certificate: certificate.cloned() };
            surfaces.flight = Some((listener, flight));
        }
        Ok(surfaces)
    }

    /// Answers until `stop` completes.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let (stopping, stopped) = watch::channel(false);
        let until = || {
            let mut stopped = stopped.clone();
            async move {
                // A sender that is gone has stopped, too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            }
        };
        let postgres = async {
            if let Some(postgres) = self.postgres {
                postgres.serve(until()).await;
            }
        };
        let flight = async {
            if let Some((listener, flight)) = self.flight {
                flight::serve(listener, flight, until()).await;
            }
        };
        let stop = async {
            stop.await;
            stopping.send_replace(true);
        };
        tokio::join!(postgres, flight, stop);
    }
}
