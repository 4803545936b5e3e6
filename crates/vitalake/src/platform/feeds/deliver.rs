//! What a feed brought → the same deliveries as uploads.
//!
//! Invariant: a delivery that a life's end cut short has no end, so that nothing of it is loaded.

use std::sync::Arc;
use std::time::Instant;

use chrono::NaiveDate;
use tokio::sync::mpsc;
use vitalake_contract::feed::Feed;
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::delivery::{self, DeliverError, DeliveryRules, Incoming, OnRefusal, Piece, Pieces};
use vitalake_ops::status::DeliveryReport;
use vitalake_process::sql_rules;
use vitalake_runtime::error::{Classified, Retry};
use vitalake_runtime::events::{Event, Outcome};

use super::super::Life;
use super::super::api::{refusal, report};
use super::super::delivered_sets::{self, DeliveredSets};

/// Why a delivery was not loaded.
#[derive(Clone, Debug)]
pub(super) struct NotLoaded {
    /// In words.
    pub(super) message: String,
    /// Whether the same bytes may be loaded later.
    pub(super) again: bool,
}

/// What is delivered.
pub(super) struct Brought {
    pub(super) name: String,
    pub(super) date: Option<NaiveDate>,
    /// Whether its bytes are kept where a rule refuses it whole.
    pub(super) may_be_held: bool,
    pub(super) format: DeliveryFormat,
    pub(super) pieces: Pieces,
}

/// Delivers, and tells of it.
pub(super) async fn deliver(life: &Arc<Life>, feed: &Feed, brought: Brought) -> Result<DeliveryReport, NotLoaded> {
    let (dataset, started) = (feed.dataset.clone(), Instant::now());
    let (life, feed) = (Arc::clone(life), feed.clone());
    let (events, hold) = (life.setup.events.clone(), life.ending.watch().hold());
    // Goes to its end whatever becomes of the run: a commit that is on its way is not cut.
    let delivering = tokio::spawn(async move {
        let _hold = hold;
        take(&life, &feed, brought).await
    });
    let stopped = |_| NotLoaded { message: "the delivery was interrupted; it is tried again".to_owned(), again: true };
    let outcome = delivering.await.map_err(stopped)?;
    let told = outcome.as_ref().ok();
    let (accepted, quarantined) = told.map_or((0, 0), |report| (report.accepted, report.quarantined));
    if outcome.as_ref().err().is_none_or(|error| !error.again) {
        events.send(Event::Delivery {
            dataset: dataset.as_str().into(),
            delivery: told.and_then(|report| report.delivery),
            outcome: if outcome.is_ok() { Outcome::Done } else { Outcome::Failed },
            accepted,
            quarantined,
            took: started.elapsed(),
        });
    }
    outcome
}

async fn take(life: &Arc<Life>, feed: &Feed, brought: Brought) -> Result<DeliveryReport, NotLoaded> {
    let (Brought { name, date, may_be_held, format, pieces }, dataset) = (brought, &feed.dataset);
    let closed = |error: &dyn std::fmt::Display| NotLoaded { message: error.to_string(), again: true };
    let table = Arc::clone(life.lake.table(dataset).map_err(|error| closed(&error))?);
    let desk = life.deliveries.get(dataset).ok_or_else(|| closed(&"this process takes no deliveries"))?;
    let sql = sql_rules(table.contract()).map_err(|error| closed(&error))?;
    let rules = DeliveryRules { sql, sets: DeliveredSets::of(&life.lake, &table) };
    let contract = Arc::clone(table.contract());
    let pieces = until_ended(pieces, Arc::clone(life));
    let incoming = Incoming {
        business_date: date,
        feed: Some(feed.name.to_string()),
        on_refusal: if may_be_held { OnRefusal::Hold } else { OnRefusal::Refuse },
        ..Incoming::new(name, format, pieces, life.setup.clock.now_ms())
    };
    let delivered = delivery::deliver(&table, rules, incoming, desk).await.map_err(|error| not_loaded(&error))?;
    delivered_sets::tell(&life.setup.events, &contract, &delivered);
    Ok(report(dataset.as_str(), delivered))
}

fn not_loaded(error: &DeliverError) -> NotLoaded {
    NotLoaded { message: refusal(error).to_string(), again: error.retry() == Retry::Later }
}

/// Pieces that break off when the life ends.
fn until_ended(mut pieces: Pieces, life: Arc<Life>) -> Pieces {
    let (sender, cut) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                biased;
                () = life.ended() => Some(Err(std::io::Error::other(
                    "the platform stopped or began anew before the file was read to its end",
                ))),
                next = pieces.recv() => next,
            };
            let Some(next) = next else { return };
            let last = matches!(next, Ok(Piece::End) | Err(_));
            if sender.send(next).await.is_err() || last {
                return;
            }
        }
    });
    cut
}
