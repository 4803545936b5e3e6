//! The HTTP server: routes, and connections with limits on time, size and number.
//!
//! It accepts before the platform is open, so that health can be asked for; what cannot be answered yet is 503, with what
//! it waits for. Invariant: every address passes the same guard, at any time.

mod alerts;
mod api;
mod audit;
mod books;
mod console;
mod deliveries;
mod doors;
mod erasures;
mod explained;
mod feeds;
mod gates;
mod guard;
mod ingest;
mod openapi;
mod openapi_table;
mod page;
mod problem;
mod published;
mod quarantine;
mod query;
mod query_format;
mod query_request;
mod runbook;
mod sql;
mod told;
mod upload;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use vitalake_ops::metrics::Metrics;

use crate::console::Console;
use crate::ingest::Ingest;
use crate::names::{Names, Peer, Shown};
use crate::platform::{Alerts, Deliveries, Erasures, Feeds, Flush, Gates, Publishing, Runbooks, Status};
use crate::quarantine::Quarantine;
use crate::session::Sessions;
use crate::tls::Certificate;

/// Bytes of a body that is a request and nothing else: a decision, a question.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Limits of connections and bodies.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// Time for a request's headers.
    pub header_timeout: Duration,
    /// Time for the body of a query.
    pub body_timeout: Duration,
    /// Bytes of the body of a query.
    pub query_body_bytes_max: usize,
    /// Bytes of a delivered file.
    pub delivery_bytes_max: usize,
    /// Files that come in at once; more wait.
    pub deliveries_max: usize,
    /// How long they wait.
    pub delivery_wait_max: Duration,
    /// Time in which the sender of a file may send nothing.
    pub pause_max: Duration,
    /// Time that answers have to finish when the server stops.
    pub stop_timeout: Duration,
    /// Whether a proxy in front of this server says where a request comes from, as the last of `X-Forwarded-For`.
    pub behind_proxy: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            query_body_bytes_max: 4 << 20,
            delivery_bytes_max: 8 << 30,
            deliveries_max: 8,
            delivery_wait_max: Duration::from_secs(60),
            pause_max: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
            behind_proxy: false,
        }
    }
}

/// What every handler knows.
#[derive(Clone)]
pub struct App {
    /// Answers queries in Druid's SQL.
    pub sessions: Sessions,
    /// Says what the process knows of itself.
    pub status: Arc<dyn Status>,
    /// Takes files.
    pub deliveries: Arc<dyn Deliveries>,
    /// Takes records.
    pub ingest: Arc<dyn Ingest>,
    /// Says where feeds stand, and runs one.
    pub feeds: Arc<dyn Feeds>,
    /// Erases persons.
    pub erasures: Arc<dyn Erasures>,
    /// Commits what waits.
    pub flush: Arc<dyn Flush>,
    /// Shows quarantine, and empties it.
    pub quarantine: Arc<dyn Quarantine>,
    /// Shows alerts and does what people ask of them.
    pub alerts: Arc<dyn Alerts>,
    /// Says what gates hold, and takes what people decide for them.
    pub gates: Arc<dyn Gates>,
    /// Publishes to Druid, and gives it the files.
    pub publishing: Arc<dyn Publishing>,
    /// Opens runbooks.
    pub runbooks: Arc<dyn Runbooks>,
    /// Tells the console.
    pub console: Console,
    /// The process's numbers.
    pub metrics: Arc<Metrics>,
    /// Says who comes in.
    pub names: Arc<Names>,
    /// Limits of bodies.
    pub limits: HttpLimits,
}

/// The routes. `local_only` refuses requests that name another host than this machine, or that another site's page sends.
pub fn router(app: App, local_only: bool) -> Router {
    let sql = || post(sql::query);
    let places = Arc::new(Semaphore::new(app.limits.deliveries_max));
    let (is_locked, entering) = (app.names.is_locked(), app.clone());
    let router = Router::new()
        .route("/druid/v2/sql", sql())
        .route("/druid/v2/sql/", sql())
        .route("/druid/v2/sql/{id}", delete(sql::cancel))
        .route("/", get(page::page))
        .route("/status/health", get(api::druid_health))
        .route("/health/live", get(api::live))
        .route("/health/ready", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/datasets", get(api::datasets))
        .route("/api/v1/flush", post(api::flush))
        .merge(audit::routes())
        .merge(books::routes())
        .merge(console::routes())
        .merge(erasures::routes())
        .merge(feeds::routes())
        .merge(gates::routes())
        .merge(published::routes())
        .merge(runbook::routes())
        .merge(quarantine::routes())
        .merge(deliveries::routes())
        .merge(alerts::routes())
        .merge(ingest::routes())
        .merge(query::routes())
        .merge(openapi::routes())
        .route("/api/v1/deliveries/{dataset}", post(upload::deliver).layer(Extension(places)))
        .fallback(console::files::page)
        // What takes more (files, records, queries) reads its body by itself, under a limit of its own.
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(entering, doors::enter))
        .with_state(app);
    // A router tells which methods an address has only after its own layers, so this one is around the whole of it.
    let router = Router::new()
        .fallback_service(router)
        .layer(from_fn(explained::explain_refusals))
        .layer(map_response(as_it_is));
    // Who has to say his name may come by any name of this machine, and no page of another site may use what he said.
    match (is_locked, local_only) {
        (true, _) => router.layer(from_fn(guard::own_pages_only)),
        (false, true) => router.layer(from_fn(guard::local_only)),
        (false, false) => router,
    }
}

/// Says that an answer is what its type says: a browser takes no JSON for a page, whatever is in it.
async fn as_it_is(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Serves until `stop` completes, then lets open answers finish.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send) {
    serve_under(listener, app, None, stop).await;
}

/// The same under a certificate, where there is one.
pub async fn serve_under(
    listener: TcpListener,
    app: App,
    certificate: Option<Arc<Certificate>>,
    stop: impl Future<Output = ()> + Send,
) {
    let limits = app.limits;
    let local_only = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = router(app, local_only);
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let (stopping, stopped) = watch::channel(false);
    let router = router.layer(Extension(console::Stopping(stopped.clone())));
    let router = if certificate.is_some() { router.layer(Extension(console::Encrypted)) } else { router };
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        if let Some((stream, peer, slot)) = accepted {
            let (router, stopped) = (router.clone().layer(Extension(Peer(Some(peer.ip())))), stopped.clone());
            let acceptor = certificate.as_ref().map(|certificate| certificate.acceptor());
            connections.spawn(async move {
                match acceptor {
                    None => connection(stream, router, limits, stopped).await,
                    // A client that does not agree is gone: what went wrong is in its own log.
                    Some(acceptor) => {
                        let agreed = tokio::time::timeout(limits.header_timeout, acceptor.accept(stream)).await;
                        if let Ok(Ok(stream)) = agreed {
                            let shown = Shown::of(stream.get_ref().1.peer_certificates()).map(Arc::new);
                            let router = shown.map_or(router.clone(), |shown| router.layer(Extension(shown)));
                            connection(stream, router, limits, stopped).await;
                        }
                    }
                }
                drop(slot);
            });
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_timeout, finish).await.is_err() {
        connections.shutdown().await;
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<Accepted> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, slot))
        }
        Err(error) => {
            tracing::warn!(kind = ?error.kind(), "a connection could not be accepted");
            // Out of descriptors: the next try would fail at once.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    limits: HttpLimits,
    mut stopped: watch::Receiver<bool>,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(served);
    let stopping = tokio::select! {
        _ = served.as_mut() => false,
        _ = stopped.wait_for(|stopped| *stopped) => true,
    };
    if stopping {
        served.as_mut().graceful_shutdown();
        // What went wrong on a connection is the client's to see; there is nobody else to tell.
        let _ = served.await;
    }
}
