//! A file on its way in, and what is asked of it beside its contract.
//!
//! Made by whoever brings it: an upload, a feed, the release of what was held. Invariant: nothing here knows where the bytes
//! come from.

use std::sync::Arc;

use chrono::NaiveDate;
use uuid::Uuid;
use vitalake_lake::control::Lease;

use super::Pieces;
use super::expected::Expected;
use super::held::Held;
use crate::decode::DeliveryFormat;
use crate::postgres::OutcomeOfReading;

/// A file on its way in.
#[derive(Debug)]
pub struct Incoming {
    /// Its name, for the table's history.
    pub name: String,
    /// Its form.
    pub format: DeliveryFormat,
    /// Its bytes.
    pub pieces: Pieces,
    /// Whether they are those of more than one file.
    pub several: bool,
    /// Whether its source may have given it before: then a content that its day, or its dataset, has had is no new one,
    /// also where another has taken its place.
    pub maybe_again: bool,
    /// When it began to come, milliseconds since 1970.
    pub now_ms: i64,
    /// The day that it stands for. Another content for the same day corrects it.
    pub business_date: Option<NaiveDate>,
    /// The feed that brings it, for the ledger.
    pub feed: Option<String>,
    /// What becomes of it when a rule refuses it whole.
    pub on_refusal: OnRefusal,
    /// What its sender says that it holds.
    pub expected: Option<Expected>,
    /// How far the database was read that it comes from: its commit says so.
    pub watermark: Option<OutcomeOfReading>,
    /// The right to run its feed: who has lost it brings nothing more, since another may have brought what is newer.
    pub lease: Option<Arc<Lease>>,
}

impl Incoming {
    /// A file without a business date, that is refused when a rule refuses it.
    #[must_use]
    pub fn new(name: impl Into<String>, format: DeliveryFormat, pieces: Pieces, now_ms: i64) -> Self {
        let (name, several, maybe_again) = (name.into(), false, false);
        let (business_date, feed, on_refusal, expected, watermark, lease) = Default::default();
        Self {
            name,
            format,
            pieces,
            several,
            maybe_again,
            now_ms,
            business_date,
            feed,
            on_refusal,
            expected,
            watermark,
            lease,
        }
    }
}

/// What becomes of a delivery that a rule refuses whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnRefusal {
    /// Its sender hears why; nothing of it is kept.
    #[default]
    Refuse,
    /// Its bytes are kept until somebody decides. A rule about the set of its rows holds it from severity error on.
    Hold,
    /// It was held, and somebody has decided that it comes in: rows that break a fatal rule go to quarantine.
    Overrule(Overruled),
}

impl Held {
    /// Its delivery, as somebody has decided. What came with it beside its bytes is as it was.
    #[must_use]
    pub fn released(&self, pieces: Pieces, overruled: Overruled) -> Incoming {
        Incoming {
            business_date: self.business_date,
            feed: self.feed.clone(),
            on_refusal: OnRefusal::Overrule(overruled),
            expected: self.expected.clone(),
            ..Incoming::new(self.name.clone(), self.format, pieces, self.since_ms)
        }
    }
}

/// Who lets a held delivery in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overruled {
    /// The id of what was held.
    pub held: Uuid,
    /// The delivery that was in its place when it came.
    pub instead_of: Option<i64>,
    /// Whether it takes the place of one that has come since.
    pub replaces_newer: bool,
    /// Who decides.
    pub actor: String,
    /// Why.
    pub reason: String,
}
