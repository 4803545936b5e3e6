//! What a feed goes on from when a process takes it over: what was kept of it, and what its table says.
//!
//! Invariant: what was kept of a table that is gone counts for nothing.

use chrono::NaiveDate;
use vitalake_contract::feed::Feed;
use vitalake_ingest::delivery::WATERMARK;
use vitalake_ingest::feed::Looks;
use vitalake_ingest::postgres::Watermark;
use vitalake_lake::{TxnId, TxnKind};

use super::super::Life;
use super::desk::{Desk, Source};
use super::keeper::Kept;
use super::times::Times;

impl Desk {
    /// Plans its times, from what was kept of it; where nothing was, from the table.
    pub(super) async fn plan(&self, life: &Life) {
        let (name, now_ms) = (self.feed.name.as_str(), self.clock.now_ms());
        let mut looks = self.looks.lock().await;
        let forgotten_ms = self.keeper.forget_old(now_ms).await;
        let (kept, mut taken) = self.keeper.read().await;
        let table = table_of(life, &self.feed);
        let of_another = |kept: &Kept| table.is_some() && kept.table.is_some() && kept.table != table;
        let kept = match kept {
            Some(kept) if of_another(&kept) => {
                tracing::warn!(
                    feed = name,
                    "the table of this feed was made again: everything that it finds is delivered again"
                );
                self.keeper.forget_all().await;
                taken.clear();
                Some(Kept { last_run_ms: kept.last_run_ms, ..Kept::default() })
            }
            kept => kept,
        };
        *looks = Looks::remembering(taken);
        let mut kept = kept.unwrap_or_else(|| {
            // Of a table that has deliveries it is forgotten which files they were.
            let (last_ms, newest_date) = of_table(life, &self.feed);
            let remembers_since_ms = if last_ms.is_some() || newest_date.is_some() { now_ms } else { 0 };
            Kept { last_run_ms: last_ms, last_delivery_ms: last_ms, remembers_since_ms, ..Kept::default() }
        });
        kept.remembers_since_ms = kept.remembers_since_ms.max(forgotten_ms);
        if matches!(self.source, Ok(Source::Rows(_))) {
            // A stop may have come between a commit and what is kept of it.
            let of = |text: String| Watermark::from_json(&text);
            let (committed, kept_of) = (watermark_of(life, &self.feed).await, kept.watermark.take());
            let later = Watermark::later(kept_of.and_then(of), committed.and_then(of));
            kept.watermark = later.map(|watermark| watermark.to_json());
        }
        let times = Times::plan(&self.feed, now_ms, kept.last_run_ms);
        self.standing.lock().remember(kept, table);
        // Which table it is has to be known before the first file is.
        self.keep().await;
        self.note_deliveries(life);
        if times.missed > 0 {
            let runs = times.missed;
            tracing::warn!(feed = name, runs, "runs of this feed fell into a stop: they are made up for by one, now");
        }
        *self.times.lock() = times;
    }
}

/// What the table says: when a delivery last came, and the newest business date.
pub(super) fn of_table(life: &Life, feed: &Feed) -> (Option<i64>, Option<NaiveDate>) {
    let Ok(table) = life.lake.table(&feed.dataset) else { return (None, None) };
    let head = table.head();
    let dates = head.txns().filter_map(|txn| match TxnId::parse(&txn.app_id).kind() {
        TxnKind::DeliveredContent { date, .. } => date,
        _ => None,
    });
    (table.newest_row_ms(), dates.max())
}

/// Which table its deliveries go to: one that was removed and made again is another.
fn table_of(life: &Life, feed: &Feed) -> Option<String> {
    Some(life.lake.table(&feed.dataset).ok()?.head().metadata().id.clone())
}

/// How far a database was read, as the newest delivery's commit says.
async fn watermark_of(life: &Life, feed: &Feed) -> Option<String> {
    let table = life.lake.table(&feed.dataset).ok()?;
    table.last_said(WATERMARK).await.ok()?
}
