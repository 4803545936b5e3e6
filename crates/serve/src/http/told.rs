//! What requests are to the journal: which action, on which dataset. Queries tell it by themselves.
//!
//! Invariant: what changes something, or shows rows in another way than by SQL, is written down before it is done.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use vitalake_ops::audit::{Accessed, Action, Begun, Entry, Outcome, Surface, Who};

use super::App;
use super::api::error_response;

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub(super) action: Action,
    surface: Surface,
    /// Its schema and name.
    dataset: Option<(&'static str, &'a str)>,
    /// Which of several decisions, as the last word of its address.
    what: Option<&'static str>,
}

/// Words of addresses that say what is decided.
const DECISIONS: [&str; 14] = [
    "flush",
    "run",
    "release",
    "reject",
    "hold",
    "replay",
    "discard",
    "ack",
    "acknowledge",
    "silence",
    "silences",
    "test",
    "adopt",
    "kill",
];

/// What a request is to the journal; nothing where it shows no rows and changes nothing, or is a query.
pub(super) fn told<'a>(method: &Method, path: &'a str) -> Option<Told<'a>> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let read = |surface, schema, dataset: &'a str| Told {
        action: Action::Read,
        surface,
        dataset: Some((schema, dataset)),
        what: None,
    };
    Some(match parts.as_slice() {
        // A log-in is an entry of its own.
        ["druid", "v2", "sql", ..] | ["api", "v1", "query" | "session", ..] => return None,
        ["ingest", dataset] if !reads => {
            Told { action: Action::Deliver, surface: Surface::Http, dataset: Some(("raw", *dataset)), what: None }
        }
        ["api", "v1", "audit", ..] => {
            let what = if reads { "journal" } else { "disclosures" };
            Told { action: Action::Read, surface: Surface::Http, dataset: Some(("ops", "audit")), what: Some(what) }
        }
        ["api", "v1", "published", dataset, ..] if reads => read(Surface::Http, "serving", dataset),
        ["api", "v1", "quarantine", dataset] if reads => read(Surface::Http, "quarantine", dataset),
        ["runbooks", _name, ..] if reads => {
            Told { action: Action::Read, surface: Surface::Console, dataset: None, what: Some("runbook") }
        }
        ["api", "v1", "runbooks", _name, ..] if reads => {
            Told { action: Action::Read, surface: Surface::Http, dataset: None, what: Some("runbook") }
        }
        ["api", "v1", "deliveries", dataset] if *method == Method::POST => {
            Told { action: Action::Deliver, surface: Surface::Http, dataset: Some(("raw", *dataset)), what: None }
        }
        _ if reads => return None,
        ["api", "v1", "erase"] => Told { action: Action::Erase, ..decided(&parts) },
        ["api", "v1", "quarantine", dataset, ..] => Told { dataset: Some(("quarantine", *dataset)), ..decided(&parts) },
        ["api", "v1", "gates", dataset, ..] | ["api", "v1", "druid", dataset, ..] => {
            Told { dataset: Some(("serving", *dataset)), ..decided(&parts) }
        }
        _ => decided(&parts),
    })
}

fn decided<'a>(parts: &[&str]) -> Told<'a> {
    let last = parts.last().copied().unwrap_or_default();
    let what = DECISIONS.iter().find(|word| **word == last).copied();
    Told { action: Action::Decide, surface: Surface::Http, dataset: None, what }
}

impl App {
    /// The entry of a request of somebody.
    pub(super) fn entry(&self, told: Told<'_>, who: Who) -> Entry {
        let ledger = self.sessions.ledger();
        let named = |(schema, said): (&str, &str)| {
            let name = said.strip_prefix(schema).and_then(|rest| rest.strip_prefix('.')).unwrap_or(said);
            // An address may hold anything: only a name of ours is one.
            Some(Accessed { dataset: format!("{schema}.{}", ledger.name(name)?), ..Accessed::default() })
        };
        let datasets = told.dataset.and_then(named).into_iter().collect();
        let reason = told.what.map(ToOwned::to_owned);
        Entry { datasets, reason, ..Entry::new(who, told.surface, told.action) }
    }

    /// Writes down that somebody was let in nowhere.
    pub(super) fn note_refused(&self, told: Option<Told<'_>>, who: Who, reason: &'static str) {
        let entry = match told {
            Some(told) => self.entry(told, who),
            None => Entry::new(who, Surface::Http, Action::Read),
        };
        self.sessions.audit().note(entry.ended(Outcome::Refused, Some(reason)));
    }

    /// Writes down that somebody begins to do something; the answer where that cannot be written.
    pub(super) async fn begin(&self, told: Told<'_>, who: Who) -> Result<Begun, Response> {
        let unwritten =
            |message: String| error_response(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).into_response();
        let begun = self.sessions.audit().begin(self.entry(told, who)).await;
        let mut begun = begun.map_err(|error| unwritten(error.to_string()))?;
        begun.kept().await.map_err(|error| unwritten(error.to_string()))?;
        Ok(begun)
    }
}

/// How a request ended.
pub(super) fn end(mut begun: Begun, status: StatusCode) {
    let outcome = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Refused,
        status if status.is_success() || status.is_redirection() => Outcome::Done,
        _ => Outcome::Failed,
    };
    begun.end(outcome, None);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/quarantine/steps", Some((Action::Read, Some("steps"), None)))]
    #[case("GET", "/api/v1/published/vitals/3/part.parquet", Some((Action::Read, Some("vitals"), None)))]
    #[case("GET", "/runbooks/disk_full", Some((Action::Read, None, Some("runbook"))))]
    #[case("POST", "/api/v1/deliveries/patients", Some((Action::Deliver, Some("patients"), None)))]
    #[case("POST", "/api/v1/deliveries/held/release", Some((Action::Decide, None, Some("release"))))]
    #[case("POST", "/api/v1/quarantine/steps/discard", Some((Action::Decide, Some("steps"), Some("discard"))))]
    #[case("POST", "/something/new", Some((Action::Decide, None, None)))]
    #[case("DELETE", "/api/v1/anything", Some((Action::Decide, None, None)))]
    #[case("GET", "/api/v1/status", None)]
    #[case("GET", "/metrics", None)]
    #[case("POST", "/druid/v2/sql", None)]
    #[case("POST", "/api/v1/query", None)]
    #[case("POST", "/ingest/steps", Some((Action::Deliver, Some("steps"), None)))]
    fn whatever_changes_something_or_shows_rows_is_told(
        #[case] method: Method,
        #[case] path: &str,
        #[case] want: Option<(Action, Option<&str>, Option<&str>)>,
    ) {
        let found = told(&method, path).map(|told| (told.action, told.dataset.map(|(_, name)| name), told.what));
        assert_eq!(found, want, "{method} {path}");
    }
}
