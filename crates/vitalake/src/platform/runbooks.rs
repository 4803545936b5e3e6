//! Opens runbooks: puts what an alert brings into their queries, runs these, and puts the answers where they belong.
//!
//! What the queries find when an alert fires is kept in `ops.evidence`, and shown beside what they find now. Invariant: an
//! opened runbook is whole whatever fails; each query that gave no answer says why in its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use vitalake_contract::alert::AlertRule;
use vitalake_ops::record::{EvidenceRow, Recorder};
use vitalake_ops::runbooks::{
    AlertContext, Block, EvidenceKeeper, Found, Library, Part, Piece, Runbook, RunbookEntry, RunbookReport, bind,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::in_full;
use vitalake_serve::error::QueryError;
use vitalake_serve::evidence;
use vitalake_serve::platform::{ApiError, Runbooks};
use vitalake_serve::session::Sessions;

use super::outside::instant;

/// Queries of one runbook that run at once.
const AT_ONCE: usize = 3;
/// Alerts whose evidence is gathered at once.
const GATHERED_AT_ONCE: usize = 1;
/// How long all queries of one runbook may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of one query's evidence that are kept.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Characters of a fingerprint.
const FINGERPRINT_CHARACTERS_MAX: usize = 100;
/// The state of an alert from which its evidence is.
const FIRING: &str = "firing";

/// Where runbooks are opened.
#[derive(Clone)]
pub struct RunbookDesk {
    library: Arc<Library>,
    /// The alerts that name a runbook.
    alerts: Arc<[AlertRule]>,
    sessions: Sessions,
    recorder: Recorder,
    clock: Clock,
    /// Alerts whose evidence is gathered at once; the others wait.
    gathering: Arc<Semaphore>,
}

impl RunbookDesk {
    /// A desk with these runbooks, which these alerts name; their queries run in these sessions.
    #[must_use]
    pub fn new(
        library: Arc<Library>,
        alerts: Arc<[AlertRule]>,
        sessions: Sessions,
        recorder: Recorder,
        clock: Clock,
    ) -> Self {
        Self { library, alerts, sessions, recorder, clock, gathering: Arc::new(Semaphore::new(GATHERED_AT_ONCE)) }
    }

    /// What the queries of a runbook find now, in their order.
    async fn gather(&self, runbook: &Runbook, alert: Option<&AlertContext>) -> Vec<(String, Found)> {
        let deadline = Instant::now() + TIME_MAX;
        let asked: Vec<_> = runbook.blocks().cloned().map(|block| self.ask(block, alert, deadline)).collect();
        stream::iter(asked).buffered(AT_ONCE).collect().await
    }

    async fn ask(&self, block: Block, alert: Option<&AlertContext>, deadline: Instant) -> (String, Found) {
        let at = instant(self.clock.now_ms()).unwrap_or_default();
        let failed = |error: String| Found { at: at.clone(), error: Some(error), ..Found::default() };
        let sql = match bind(&block, alert) {
            Ok(statement) => statement.sql,
            Err(problem) => return (block.sql, failed(format!("{}; {}", problem.message, problem.help))),
        };
        let found = tokio::time::timeout_at(deadline, evidence::find(&self.sessions, sql.clone(), at.clone())).await;
        let late = || failed(format!("the runbook's queries took longer than {} seconds together", TIME_MAX.as_secs()));
        (sql, found.unwrap_or_else(|_| late()))
    }

    /// What the ops datasets say of an alert; none where they know none of that fingerprint.
    async fn alert(&self, fingerprint: &str) -> Result<Option<AlertContext>, QueryError> {
        let sql = format!(
            "SELECT alert, dataset, state, summary, owner, TIMESTAMP_TO_MILLIS(at) FROM ops.alerts \
             WHERE fingerprint = {} ORDER BY at DESC LIMIT 100",
            quoted(fingerprint)
        );
        let rows = evidence::answer(&self.sessions, sql).await?.rows;
        let firing = rows.iter().find(|row| row.get(2).and_then(Value::as_str) == Some(FIRING));
        let Some(newest) = rows.first() else { return Ok(None) };
        let text = |at: usize| newest.get(at).and_then(Value::as_str).map(ToOwned::to_owned);
        Ok(Some(AlertContext {
            fingerprint: fingerprint.to_owned(),
            alert: text(0).unwrap_or_default(),
            dataset: text(1),
            state: text(2).unwrap_or_default(),
            summary: text(3).unwrap_or_default(),
            owner: text(4).unwrap_or_default(),
            since_ms: firing.and_then(|row| row.get(5)).and_then(Value::as_i64),
        }))
    }

    /// What was kept when the alert last fired, by the number of the query.
    async fn kept(&self, runbook: &str, fingerprint: &str) -> BTreeMap<u64, Found> {
        let sql = format!(
            "SELECT block, found FROM ops.evidence WHERE fingerprint = {} AND runbook = {} ORDER BY at DESC LIMIT 100",
            quoted(fingerprint),
            quoted(runbook)
        );
        let rows = evidence::answer(&self.sessions, sql).await.map(|found| found.rows).unwrap_or_default();
        let mut kept = BTreeMap::new();
        for row in rows {
            let found = row.get(1).and_then(Value::as_str).and_then(|found| serde_json::from_str(found).ok());
            if let (Some(block), Some(found)) = (row.first().and_then(Value::as_u64), found) {
                kept.entry(block).or_insert(found);
            }
        }
        kept
    }

    fn entry(&self, runbook: &Runbook) -> RunbookEntry {
        let naming = || self.alerts.iter().filter(|alert| alert.runbook == runbook.name);
        let mut owners: Vec<String> = naming().map(|alert| alert.owner.clone()).collect();
        owners.sort();
        owners.dedup();
        RunbookEntry {
            name: runbook.name.clone(),
            title: runbook.title.clone(),
            origin: runbook.origin,
            alerts: naming().map(|alert| alert.name.clone()).collect(),
            owners,
        }
    }
}

#[async_trait]
impl EvidenceKeeper for RunbookDesk {
    async fn keep(&self, runbook: &str, alert: &AlertContext) {
        let Some(runbook) = self.library.get(runbook) else { return };
        // Alerts that fire together must not take every turn from those who ask.
        let _turn = self.gathering.acquire().await;
        let found = self.gather(runbook, Some(alert)).await;
        let row = |(block, (query, found)): (u64, (String, Found))| EvidenceRow {
            fingerprint: alert.fingerprint.clone(),
            alert: alert.alert.clone(),
            dataset: alert.dataset.clone(),
            runbook: runbook.name.clone(),
            block,
            query,
            found: within(found, KEPT_BYTES_MAX),
        };
        let rows: Vec<EvidenceRow> = (1..).zip(found).map(row).collect();
        if let Err(error) = self.recorder.record_evidence(&rows).await {
            tracing::warn!(alert = alert.alert, error = in_full(&error), "the evidence of an alert is not kept yet");
        }
    }
}

#[async_trait]
impl Runbooks for RunbookDesk {
    async fn list(&self, owner: Option<&str>) -> Vec<RunbookEntry> {
        let mut entries: Vec<RunbookEntry> = self.library.all().map(|runbook| self.entry(runbook)).collect();
        let is_theirs = |entry: &RunbookEntry| owner.is_some_and(|owner| entry.owners.iter().any(|name| name == owner));
        entries.sort_by_key(|entry| !is_theirs(entry));
        entries
    }

    async fn open(&self, name: &str, fingerprint: Option<&str>) -> Result<RunbookReport, ApiError> {
        let unknown = || ApiError::NotFound(format!("there is no runbook {name}; `vitalake runbook` lists them"));
        let runbook = self.library.get(name).ok_or_else(unknown)?;
        let (mut alert, mut kept) = (None, BTreeMap::new());
        if let Some(fingerprint) = fingerprint {
            if fingerprint.chars().count() > FINGERPRINT_CHARACTERS_MAX {
                return Err(ApiError::Invalid("that is too long for an alert's fingerprint".to_owned()));
            }
            let known = self.alert(fingerprint).await.map_err(|error| ApiError::Unavailable(error.to_string()))?;
            let unknown = || ApiError::NotFound("ops.alerts knows no alert of that fingerprint".to_owned());
            alert = Some(known.ok_or_else(unknown)?);
            kept = self.kept(name, fingerprint).await;
        }
        let mut found = (1..).zip(self.gather(runbook, alert.as_ref()).await);
        let part = |piece: &Piece| match piece {
            Piece::Prose(markdown) => Some(Part::Prose { markdown: markdown.clone() }),
            Piece::Sql(_) => {
                found.next().map(|(block, (sql, now))| Part::Evidence { sql, now, then: kept.remove(&block) })
            }
        };
        Ok(RunbookReport {
            parts: runbook.pieces.iter().filter_map(part).collect(),
            name: runbook.name.clone(),
            title: runbook.title.clone(),
            origin: runbook.origin,
            at: instant(self.clock.now_ms()).unwrap_or_default(),
            alert,
        })
    }
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Evidence as JSON of at most so many bytes: rows are left out at the end until it fits.
fn within(mut found: Found, bytes_max: usize) -> String {
    loop {
        let text = serde_json::to_string(&found).unwrap_or_default();
        if text.len() <= bytes_max || found.rows.is_empty() {
            return text;
        }
        found.rows.truncate(found.rows.len() / 2);
        found.more = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn evidence_that_is_kept_is_bounded_and_says_that_it_was_cut() {
        let found = Found { rows: vec![vec!["x".repeat(1000).into()]; 100], ..Found::default() };
        let kept: Found = serde_json::from_str(&within(found.clone(), 20_000)).unwrap();
        assert!(kept.more && (1..20).contains(&kept.rows.len()), "{}", kept.rows.len());
        let whole: Found = serde_json::from_str(&within(found, 1 << 20)).unwrap();
        assert_eq!((whole.more, whole.rows.len()), (false, 100));
    }

    #[test]
    fn a_fingerprint_is_a_text_whatever_it_holds() {
        assert_eq!(quoted("a' OR '1'='1"), "'a'' OR ''1''=''1'");
    }
}
