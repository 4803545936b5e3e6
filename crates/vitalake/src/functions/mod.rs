//! A custom handler of Azure Functions: the host calls it for each timer and each delivery, and it calls the platform.
//!
//! `call` is what the host says and is answered, `platform` the way on. Invariant: it keeps nothing; what it tells the host
//! for its log has names of feeds and datasets, counts and our own words, and no name of a file and nothing of its content.

mod call;
mod platform;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::azure::{DELIVER, feed_of_function};
use call::{Call, Delivered, Request, delivered, run_done};
pub use platform::{Limits, Platform};
use platform::{Problem, Sent};

/// The most bytes of one call: what the host lets through by itself.
const CALL_BYTES_MAX: usize = 100 << 20;

/// The handler's addresses: one for each function, by its name.
pub fn routes(platform: Platform) -> Router {
    Router::new().route("/{function}", post(called)).with_state(Arc::new(platform))
}

async fn called(State(platform): State<Arc<Platform>>, Path(function): Path<String>, body: Body) -> Response {
    if let Some(feed) = feed_of_function(&function) {
        return run(platform, feed.to_owned()).await;
    }
    if function != DELIVER {
        return failed(StatusCode::NOT_FOUND, "there is no such function here: make them with `vitalake azure render`");
    }
    let Ok(bytes) = to_bytes(body, CALL_BYTES_MAX).await else {
        let words = "the delivery is larger than 100 MiB, or broke off: deliver it to the platform itself, by POST /api/v1/deliveries";
        return told(&Delivered::refused(413, words));
    };
    match serde_json::from_slice::<Call>(&bytes).ok().and_then(Call::into_request) {
        Some(request) => told(&deliver(platform, request).await),
        None => failed(StatusCode::BAD_REQUEST, "this is no call of the host with a request in it"),
    }
}

/// Runs a feed; a run that did not come to its end is a failed one to the host, which shows it as such.
async fn run(platform: Arc<Platform>, feed: String) -> Response {
    let name = feed.clone();
    let asked = tokio::task::spawn_blocking(move || platform.run_feed(&name)).await;
    match asked.unwrap_or(Err(Problem::Broken)) {
        Ok(report) => {
            let refused = report.deliveries.iter().filter(|one| one.error.is_some()).count();
            let loaded = report.deliveries.len() - refused;
            let words =
                format!("feed {feed}: {loaded} taken, {refused} refused, {} not complete yet", report.files_waiting);
            if refused > 0 {
                let help = "`vitalake feed list` and `vitalake feed deliveries` have the reasons";
                return failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("{words}; {help}"));
            }
            axum::Json(run_done(&words)).into_response()
        }
        Err(problem) => failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("feed {feed} was not run: {problem}")),
    }
}

async fn deliver(platform: Arc<Platform>, request: Request) -> Delivered {
    let dataset = request.dataset.clone();
    let sent = tokio::task::spawn_blocking(move || platform.deliver(&request)).await;
    match sent.unwrap_or(Err(Problem::Broken)) {
        Ok(Sent { status, body, retry_after }) => Delivered {
            status,
            body,
            retry_after,
            log: format!("delivery to {dataset}: the platform answered {status}"),
        },
        Err(problem) => {
            let mut refused = Delivered::refused(problem.status(), &problem.to_string());
            refused.log = format!("delivery to {dataset} was not passed on: {problem}");
            refused.retry_after = problem.retry_after();
            refused
        }
    }
}

fn told(answer: &Delivered) -> Response {
    axum::Json(delivered(answer)).into_response()
}

/// What fails a run: any status but 200.
fn failed(status: StatusCode, words: &str) -> Response {
    tracing::warn!("{words}");
    (status, words.to_owned()).into_response()
}

#[cfg(test)]
mod tests;
