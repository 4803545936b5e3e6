//! The ledger of deliveries, read back from the rows of `ops.deliveries`.
//!
//! Who asks for it, and who begins and enters what is missing. Invariant: nothing is changed, and what cannot be read is an
//! error, never an empty answer.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, SecondsFormat};

use super::known::column;
use super::{RecordError, Recorder};
use crate::deliveries::{LedgerEntry, LedgerQuery};
use crate::tables::OpsTable;

/// What is read of an entry.
const COLUMNS: [&str; 17] = [
    "at",
    "dataset",
    "outcome",
    "state",
    "held_id",
    "feed",
    "business_date",
    "delivery",
    "corrects",
    "sha256",
    "offered",
    "accepted",
    "quarantined",
    "duplicate",
    "since",
    "reason",
    "actor",
];

/// What the ledger knows of a dataset's deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// Numbers of those that have been loaded or released, and when one was last, in milliseconds since 1970: a table that
    /// was made again gives its numbers again.
    pub numbers: BTreeMap<u64, i64>,
    /// What was held.
    pub held: BTreeSet<String>,
}

impl Recorder {
    /// Entries of the ledger, newest first; `datasets` are names in SQL that `query.of` may mean.
    ///
    /// # Errors
    /// When there is no lake, or its rows cannot be read.
    pub async fn ledger(&self, query: &LedgerQuery, limit: usize) -> Result<Vec<LedgerEntry>, RecordError> {
        let mut found = Vec::new();
        for batch in self.read(OpsTable::Deliveries, &COLUMNS, None).await? {
            found.extend(entries(&batch).filter(|(_, entry)| is_asked(entry, query)));
        }
        // Those of one moment stay in the order in which they were entered.
        found.reverse();
        found.sort_by_key(|(at_us, _)| std::cmp::Reverse(*at_us));
        Ok(found.into_iter().take(limit).map(|(_, entry)| entry).collect())
    }

    /// What the ledger has of each dataset, by its name in SQL.
    ///
    /// # Errors
    /// As [`Recorder::ledger`].
    pub async fn entered(&self) -> Result<BTreeMap<String, Entered>, RecordError> {
        let mut known: BTreeMap<String, Entered> = BTreeMap::new();
        for batch in self.read(OpsTable::Deliveries, &COLUMNS, None).await? {
            for (at_us, entry) in entries(&batch) {
                let of = known.entry(entry.dataset).or_default();
                match (entry.state.as_str(), entry.delivery) {
                    ("held", _) => of.held.extend(entry.id),
                    ("known" | "refused", _) | (_, None) => {}
                    (_, Some(number)) => {
                        let at_ms = of.numbers.entry(number).or_insert(i64::MIN);
                        *at_ms = (*at_ms).max(at_us / 1_000);
                    }
                }
            }
        }
        Ok(known)
    }
}

fn is_asked(entry: &LedgerEntry, query: &LedgerQuery) -> bool {
    let bare = entry.dataset.rsplit('.').next().unwrap_or_default();
    let is_of = |of: &String| *of == entry.dataset || of == bare || entry.feed.as_ref() == Some(of);
    query.of.as_ref().is_none_or(is_of) && query.state.as_ref().is_none_or(|state| *state == entry.state)
}

fn entries(batch: &RecordBatch) -> impl Iterator<Item = (i64, LedgerEntry)> + '_ {
    let read = Columns(batch);
    (0..batch.num_rows()).map(move |row| {
        let at_us = read.time("at", row).unwrap_or_default();
        let outcome = read.text("outcome", row).unwrap_or_default();
        // Rows of earlier versions say the outcome alone.
        let before = if outcome == "done" { "loaded" } else { "refused" };
        let entry = LedgerEntry {
            at: instant(at_us).unwrap_or_default(),
            dataset: read.text("dataset", row).unwrap_or_default(),
            state: read.text("state", row).unwrap_or_else(|| before.to_owned()),
            id: read.text("held_id", row),
            feed: read.text("feed", row),
            business_date: read.day("business_date", row),
            delivery: read.count("delivery", row),
            corrects: read.count("corrects", row),
            sha256: read.text("sha256", row),
            offered: read.count("offered", row),
            accepted: read.count("accepted", row).unwrap_or_default(),
            quarantined: read.count("quarantined", row).unwrap_or_default(),
            duplicate: read.count("duplicate", row).unwrap_or_default(),
            since: read.time("since", row).and_then(instant),
            reason: read.text("reason", row),
            actor: read.text("actor", row),
            open: false,
            gone: false,
        };
        (at_us, entry)
    })
}

fn instant(us: i64) -> Option<String> {
    DateTime::from_timestamp_micros(us).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn text(&self, name: &str, row: usize) -> Option<String> {
        let texts = column(self.0, name)?.as_string_view_opt()?;
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    }

    fn count(&self, name: &str, row: usize) -> Option<u64> {
        let counts = column(self.0, name)?.as_primitive_opt::<Int64Type>()?;
        counts.is_valid(row).then(|| counts.value(row)).and_then(|count| u64::try_from(count).ok())
    }

    fn time(&self, name: &str, row: usize) -> Option<i64> {
        let times = column(self.0, name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        times.is_valid(row).then(|| times.value(row))
    }

    fn day(&self, name: &str, row: usize) -> Option<String> {
        let days = column(self.0, name)?.as_primitive_opt::<Date32Type>()?;
        let day = days.is_valid(row).then(|| days.value(row))?;
        Date32Type::to_naive_date_opt(day).map(|day| day.to_string())
    }
}
