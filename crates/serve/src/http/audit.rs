//! `/api/v1/audit`: what was done lately, and who saw a person.
//!
//! Invariant: a person's id comes in a body, never in an address, and leaves nowhere.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, NaiveDate, TimeDelta};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vitalake_ops::audit::read::{Asked, Holding, LISTED_MAX};
use vitalake_ops::audit::{Action, Audit, AuditError, Outcome};

use super::App;
use super::api::answer;
use crate::druid::request::parameters;
use crate::identity::Identity;
use crate::platform::{ApiError, SubjectTable, Subjects};
use crate::session::{QueryOptions, Session};

/// How many accesses are shown where nobody says.
const LISTED: usize = 50;

/// The addresses of the journal.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/v1/audit", get(list)).route("/api/v1/audit/disclosures", post(disclosures))
}

#[derive(Debug, Default, Deserialize)]
struct Listing {
    who: Option<String>,
    dataset: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    since: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    subject: String,
    from: Option<String>,
    to: Option<String>,
}

async fn list(State(app): State<App>, Query(asked): Query<Listing>) -> Response {
    answer(listed(&app, asked).await)
}

async fn listed(app: &App, asked: Listing) -> Result<Vec<vitalake_ops::audit::read::Listed>, ApiError> {
    let Listing { who, dataset, action, outcome, since, limit } = asked;
    let limit = limit.unwrap_or(LISTED);
    if limit > LISTED_MAX {
        return Err(ApiError::Invalid(format!(
            "at most {LISTED_MAX} accesses are shown at once; ask ops.audit in SQL for more"
        )));
    }
    let asked = Asked {
        who,
        dataset,
        action: word::<Action>("action", action)?,
        outcome: word::<Outcome>("outcome", outcome)?,
        since_ms: since.map(|since| moment("since", &since, false)).transpose()?,
        limit,
    };
    read(app, move |audit| audit.list(&asked)).await
}

async fn disclosures(State(app): State<App>, Json(body): Json<Value>) -> Response {
    let Ok(asked) = serde_json::from_value::<Subject>(body) else {
        return ApiError::Invalid("send {\"subject\": …, \"from\": …, \"to\": …}; only `subject` is needed".to_owned())
            .into_response();
    };
    answer(disclosed(&app, asked).await)
}

async fn disclosed(app: &App, asked: Subject) -> Result<vitalake_ops::audit::read::Disclosures, ApiError> {
    let Subject { subject, from, to } = asked;
    if subject.trim().is_empty() {
        return Err(ApiError::Invalid("`subject` is empty: give the person's id as queries would".to_owned()));
    }
    let from = from.map(|from| moment("from", &from, false)).transpose()?;
    let to = to.map(|to| moment("to", &to, true)).transpose()?;
    let holding = holding(app, &subject).await?;
    read(app, move |audit| audit.disclosures(&subject, (from, to), holding.as_ref())).await
}

/// Where a person is, asked of the datasets that name persons. What cannot be asked now may hold the person.
async fn holding(app: &App, subject: &str) -> Result<Option<Holding>, ApiError> {
    let Some(Subjects { named, unrelated }) = app.erasures.subjects(subject) else { return Ok(None) };
    let mut holding = Holding { never: unrelated, ..Holding::default() };
    let session = app.sessions.open(Identity::local()).map_err(|_| {
        ApiError::Unavailable("the tables are not open yet, and say whom they hold only then; try again".to_owned())
    })?;
    let there: BTreeSet<(String, String)> =
        session.tables().into_iter().map(|(schema, table, _)| (schema, table)).collect();
    for table in named {
        let name = format!("{}.{}", table.schema, table.table);
        let live = format!("{}_live", table.table);
        let asked =
            [&table.table, &live].into_iter().filter(|name| there.contains(&(table.schema.clone(), (*name).clone())));
        let mut found = table.keeps.then_some(false);
        for asked in asked {
            match is_in(&session, (&table, asked), subject).await {
                Some(true) => found = Some(true),
                Some(false) => {}
                None if found == Some(false) => found = None,
                None => {}
            }
        }
        match found {
            Some(true) => holding.now.insert(name),
            Some(false) => holding.never.insert(name),
            None => false,
        };
    }
    Ok(Some(holding))
}

/// Whether a table holds a person; none where it could not be asked.
async fn is_in(session: &Session, (table, asked): (&SubjectTable, &str), subject: &str) -> Option<bool> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let is = table.columns.iter().map(|column| format!("CAST({} AS VARCHAR) = ?", quoted(column)));
    let sql = format!(
        "SELECT 1 FROM {}.{} WHERE {} LIMIT 1",
        quoted(&table.schema),
        quoted(asked),
        is.collect::<Vec<_>>().join(" OR ")
    );
    let subjects: Vec<Value> =
        table.columns.iter().map(|_| serde_json::json!({"type": "VARCHAR", "value": subject})).collect();
    let parameters = parameters(Some(&Value::Array(subjects))).ok()?;
    // Nothing of it is given to anybody, so that it is no access.
    let options = QueryOptions { is_repeated: true, ..QueryOptions::default() };
    let mut answer = session.query(sql, parameters, options).await.ok()?;
    let mut is_there = false;
    while let Some(rows) = answer.next().await.ok()? {
        is_there |= rows.num_rows() > 0;
    }
    Some(is_there)
}

/// Reads the journal where that keeps nobody waiting.
async fn read<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Audit) -> Result<T, AuditError> + Send + 'static,
) -> Result<T, ApiError> {
    let audit = app.sessions.audit().clone();
    let read = tokio::task::spawn_blocking(move || work(&audit)).await;
    let failed =
        |error: &(dyn std::error::Error + 'static)| ApiError::internal("the audit journal could not be read", error);
    read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// A word as the journal writes it.
fn word<T: DeserializeOwned>(what: &str, said: Option<String>) -> Result<Option<T>, ApiError> {
    let known = |said: String| serde_json::from_value(Value::String(said));
    said.map(known)
        .transpose()
        .map_err(|_| ApiError::Invalid(format!("there is no such {what}; docs/audit.md lists them")))
}

/// A moment, or a day: its beginning, or its end.
fn moment(what: &str, said: &str, is_end: bool) -> Result<i64, ApiError> {
    if let Ok(at) = DateTime::parse_from_rfc3339(said) {
        return Ok(at.timestamp_millis());
    }
    let wrong = || ApiError::Invalid(format!("`{what}` is no moment: write 2026-11-28 or 2026-11-28T22:00:00Z"));
    let day = NaiveDate::parse_from_str(said, "%Y-%m-%d").map_err(|_| wrong())?;
    let day = if is_end { day.checked_add_signed(TimeDelta::days(1)).ok_or_else(wrong)? } else { day };
    Ok(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis())
}
