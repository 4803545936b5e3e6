//! `GET /api/v1/events`: which datasets have changed, as server-sent events.
//!
//! An answer ends after a while, before any proxy cuts it, and the browser comes back. Invariant: a dataset is named to
//! who sees it alone, and a listener is told once a second at most.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::App;
use super::super::problem::Problem;
use crate::console::{self, changes::Listener};
use crate::identity::Identity;
use crate::policy::Seen;

/// How long one answer is: proxies cut those of 45 seconds.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// How often it is said that nothing happened.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// When a client should come back that found no place, in seconds.
const COME_BACK_SECONDS: u32 = 10;

/// Whether the server is about to stop.
#[derive(Clone, Debug)]
pub(in crate::http) struct Stopping(pub(in crate::http) watch::Receiver<bool>);

/// One who listens.
struct Told {
    listener: Listener,
    seen: Seen,
    stopping: Option<watch::Receiver<bool>>,
    ends: Instant,
    is_new: bool,
}

pub(super) async fn listen(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    stopping: Option<Extension<Stopping>>,
) -> Response {
    let Some(listener) = app.console.changes().listen() else {
        let message = "as many browsers listen as may; ask for /api/v1/today now and then, and come back";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "capacity", message)
            .retry_after(COME_BACK_SECONDS)
            .into_response();
    };
    let (seen, ends) = (app.sessions.seen(&identity), Instant::now() + ANSWER_MAX);
    let told = Told { listener, seen, stopping: stopping.map(|Extension(Stopping(stop))| stop), ends, is_new: true };
    let events = stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok::<Bytes, Infallible>(event), told))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy that gathers answers before it sends them would hold these.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

impl Told {
    /// What is sent next; none when the answer is over.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.is_new) {
            return Some(Bytes::from_static(b"retry: 2000\nevent: alive\ndata: {}\n\n"));
        }
        let alive = Instant::now() + ALIVE_EVERY;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.ends) => return None,
                () = stopped(&mut self.stopping) => return None,
                changed = self.listener.changed() => {
                    let names = changed?;
                    let named: Vec<String> = names.into_iter().filter(|name| console::sees(&self.seen, name)).collect();
                    if !named.is_empty() {
                        return Some(format!("event: changed\ndata: {}\n\n", json!({"datasets": named})).into());
                    }
                }
                () = tokio::time::sleep_until(alive) => return Some(Bytes::from_static(b"event: alive\ndata: {}\n\n")),
            }
        }
    }
}

/// Completes when the server is about to stop.
async fn stopped(stopping: &mut Option<watch::Receiver<bool>>) {
    match stopping {
        // A sender that is gone has stopped, too.
        Some(stopping) => drop(stopping.wait_for(|stopped| *stopped).await),
        None => std::future::pending().await,
    }
}
