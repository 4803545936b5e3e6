//! What a feed brought → the same deliveries as uploads.
//!
//! Invariant: a delivery that a life's end cut short has no end, so that nothing of it is loaded.

use std::sync::Arc;

use chrono::NaiveDate;
use tokio::sync::mpsc;
use vitalake_contract::feed::Feed;
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::delivery::{DeliverError, Expected, Incoming, OnRefusal, Piece, Pieces};
use vitalake_ingest::postgres::OutcomeOfReading;
use vitalake_lake::control::Lease;
use vitalake_ops::status::DeliveryReport;
use vitalake_runtime::error::{Classified, Retry};

use super::super::Life;
use super::super::deliveries::{Door, refusal, report};

/// Pieces that may wait on their way: of many small files several are passed on at once.
const PIECES_AHEAD_MAX: usize = 16;

/// Why a delivery was not loaded.
#[derive(Clone, Debug)]
pub(super) struct NotLoaded {
    /// In words.
    pub(super) message: String,
    /// Whether the same bytes may be loaded later.
    pub(super) again: bool,
    /// The file of several that is wrong.
    pub(super) file: Option<String>,
}

impl NotLoaded {
    /// For what it is: the same bytes are not read again.
    pub(super) fn for_good(message: String) -> Self {
        Self { message, again: false, file: None }
    }

    /// For now.
    pub(super) fn for_now(message: String) -> Self {
        Self { message, again: true, file: None }
    }

    /// Why, with the file's name where there are several.
    pub(super) fn shown(&self) -> String {
        self.file.as_ref().map_or_else(|| self.message.clone(), |file| format!("{file}: {}", self.message))
    }
}

/// What is delivered.
pub(super) struct Brought {
    pub(super) name: String,
    pub(super) date: Option<NaiveDate>,
    pub(super) format: DeliveryFormat,
    pub(super) pieces: Pieces,
    /// The names of the files, where there are several.
    pub(super) files: Vec<String>,
    /// Whether it may have been taken before, which is not remembered.
    pub(super) maybe_again: bool,
    /// Whether its bytes are kept where a rule refuses it whole.
    pub(super) may_be_held: bool,
    /// What its sender says that it holds.
    pub(super) expected: Option<Expected>,
    /// How far a database was read.
    pub(super) watermark: Option<OutcomeOfReading>,
    /// The right to run the feed.
    pub(super) lease: Option<Arc<Lease>>,
}

/// Delivers, and tells of it.
pub(super) async fn deliver(life: &Arc<Life>, feed: &Feed, brought: Brought) -> Result<DeliveryReport, NotLoaded> {
    let door = Door::of(life, feed.dataset.as_str()).map_err(|error| NotLoaded::for_now(error.to_string()))?;
    let Brought { name, date, format, pieces, files, maybe_again, may_be_held, expected, watermark, lease } = brought;
    let hold = life.ending.watch().hold();
    let incoming = Incoming {
        several: !files.is_empty(),
        maybe_again,
        lease,
        business_date: date,
        feed: Some(feed.name.to_string()),
        on_refusal: if may_be_held { OnRefusal::Hold } else { OnRefusal::Refuse },
        expected,
        watermark,
        ..Incoming::new(name, format, until_ended(pieces, Arc::clone(life)), life.setup.clock.now_ms())
    };
    // Goes to its end whatever becomes of the run: a commit that is on its way is not cut.
    let delivering = tokio::spawn(async move {
        let _hold = hold;
        let delivered = door.take(incoming).await.map_err(|error| not_loaded(&error, &files))?;
        Ok(report(door.dataset(), delivered))
    });
    let stopped = |_| NotLoaded::for_now("the delivery was interrupted; it is tried again".to_owned());
    delivering.await.map_err(stopped)?
}

fn not_loaded(error: &DeliverError, files: &[String]) -> NotLoaded {
    let file = error.file().and_then(|number| files.get(number.checked_sub(1)?).cloned());
    NotLoaded { message: refusal(error).to_string(), again: error.retry() == Retry::Later, file }
}

/// Enters into the ledger that a file was refused before it was read.
pub(super) async fn refused_unread(life: &Arc<Life>, feed: &Feed, date: Option<NaiveDate>, reason: &str) {
    if let Ok(door) = Door::of(life, feed.dataset.as_str()) {
        door.refused_unread(feed.name.as_str(), date, reason).await;
    }
}

/// Pieces that break off when the life ends.
fn until_ended(mut pieces: Pieces, life: Arc<Life>) -> Pieces {
    let (sender, cut) = mpsc::channel(PIECES_AHEAD_MAX);
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
