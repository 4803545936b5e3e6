//! A delivered file → the same decoders and rules as a stream → one atomic commit, or a place among what is held.
//!
//! The file is decoded while it comes in; its rows are written as files that nothing names, and one commit makes all of
//! them the delivery. It is known by its content for its business date; another content for that date corrects it and
//! takes its rows' place in the same commit. Several files of one dataset come in at once; their turns to commit come one
//! after the other. Invariant: a delivery is taken whole, its end having been said, or not at all, and its rejects are in
//! quarantine before its rows are in the table. What a crash cuts short between the two is finished by the same file, or
//! taken back when another has its number.

mod delivered;
mod error;
mod expected;
mod files;
mod held;
mod incoming;
mod ledger;
mod pieces;
mod place;
mod receiving;
mod sets;
mod text;
mod together;
mod totals;
mod whole;

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate};
use tokio::sync::Mutex;
use vitalake_lake::{LakeError, Table};

pub use delivered::{Delivered, DeliveredState, Verdict};
pub use error::DeliverError;
pub use expected::{Expected, MANIFEST_BYTES_MAX, NoManifest};
pub use held::{Held, HeldDeliveries, HeldError, HeldLimits};
pub use incoming::{Incoming, OnRefusal, Overruled};
pub use ledger::{Span, committed_in};
pub use pieces::{Piece, Pieces};
pub(crate) use place::dates;
/// The field of a commit that says how far a database was read.
pub const WATERMARK: &str = place::WATERMARK;
use receiving::Receiving;
pub use sets::{DeliveryJudge, DeliveryRules, SetFinding};

/// How often a delivery whose number went to another process takes the next one.
const TRIES_MAX: u32 = 100;
/// How far ahead of now a business date may be.
const AHEAD_MAX: Days = Days::new(366);

/// Where the deliveries of one dataset take turns.
#[derive(Debug)]
pub struct DeliveryDesk {
    /// Held for the commit and not while a file comes in, so that a sender who is slow is slow alone.
    turn: Mutex<()>,
    held: Arc<HeldDeliveries>,
}

impl DeliveryDesk {
    /// Of a dataset; what is held goes there.
    #[must_use]
    pub fn new(held: Arc<HeldDeliveries>) -> Self {
        Self { turn: Mutex::default(), held }
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> &Arc<HeldDeliveries> {
        &self.held
    }
}

/// Whether a day is one that nobody delivers for yet, as a mistyped year is.
fn is_far_ahead(date: NaiveDate, now_ms: i64) -> bool {
    let today = DateTime::from_timestamp_millis(now_ms).map(|now| now.date_naive());
    today.and_then(|today| today.checked_add_days(AHEAD_MAX)).is_some_and(|last| date > last)
}

/// Takes one delivery. Run it in a task that outlives the request.
///
/// # Errors
/// When the file, the table or the store refuses; nothing of the delivery is in the table then.
pub async fn deliver(
    table: &Arc<Table>,
    rules: DeliveryRules,
    incoming: Incoming,
    desk: &DeliveryDesk,
) -> Result<Delivered, DeliverError> {
    if let Some(date) = incoming.business_date.filter(|date| is_far_ahead(*date, incoming.now_ms)) {
        return Err(DeliverError::FarAhead { dataset: table.contract().dataset.to_string(), date });
    }
    let lease = incoming.lease.clone();
    let is_lost = || lease.as_ref().is_some_and(|lease| !lease.is_held());
    let lost = || DeliverError::LeaseLost(table.contract().dataset.to_string());
    let mut whole = Receiving::new(table, &desk.held, incoming).all_of(rules.sql).await?;
    if is_lost() {
        whole.give_up().await;
        return Err(lost());
    }
    if let Some(found) = whole.there_already() {
        whole.give_up().await;
        return Ok(found);
    }
    let why = whole.judge(rules.sets.as_deref()).await;
    if !why.is_empty() {
        return whole.hold_or_refuse(&desk.held, why).await;
    }
    let _one_at_a_time = desk.turn.lock().await;
    let mut tries = 1;
    let outcome = loop {
        let committed = if is_lost() { Err(lost()) } else { whole.commit().await };
        match committed {
            Err(DeliverError::Lake(LakeError::Superseded { .. })) if tries < TRIES_MAX => tries += 1,
            outcome => break outcome,
        }
    };
    whole.give_up().await;
    outcome
}
