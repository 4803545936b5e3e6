//! A message in the form that its receiver reads.
//!
//! Pure. Invariant: every form says the alert, its state, its dataset, its severity and where its runbook is.

mod chat;
mod pagerduty;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use vitalake_runtime::config::notify::Receiver;

use super::notice::{Kind, Message};

pub use pagerduty::change_address;

/// A message with what all forms need beside it.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// What is said.
    pub message: &'a Message,
    /// Where people reach the platform: `http://127.0.0.1:8888`.
    pub address: &'a str,
    /// The project's name.
    pub project: &'a str,
}

impl Letter<'_> {
    /// The runbook's page; none of a digest.
    #[must_use]
    pub fn runbook(&self) -> Option<String> {
        let name = &self.message.runbook;
        (!name.is_empty()).then(|| format!("{}/runbooks/{name}", self.address))
    }

    /// `firing` or `resolved`: what is not open is resolved.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.message.kind {
            Kind::Firing | Kind::Acknowledged | Kind::Test => "firing",
            Kind::Resolved | Kind::Digest => "resolved",
        }
    }

    /// Since when, as RFC 3339.
    #[must_use]
    pub fn since(&self) -> String {
        instant(self.message.since_ms)
    }

    /// One line: what happened to what.
    #[must_use]
    pub fn headline(&self) -> String {
        let Message { alert, dataset, severity, kind, .. } = self.message;
        let of = dataset.as_deref().map(|dataset| format!(" ({dataset})")).unwrap_or_default();
        match kind {
            Kind::Firing => format!("[{}] {alert}{of} is firing", severity.as_str()),
            Kind::Acknowledged => format!("{alert}{of} is acknowledged"),
            Kind::Resolved => format!("{alert}{of} is resolved"),
            Kind::Digest => format!("{}: alerts that came and went", self.project),
            Kind::Test => format!("TEST: {alert}{of}, nothing is wrong"),
        }
    }

    /// What was found.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.message.kind {
            Kind::Test => "TEST: somebody tries whether alerts arrive here; nothing is wrong".to_owned(),
            _ => self.message.summary.clone(),
        }
    }

    /// The body for a receiver that takes JSON; none of mail, which is [`Letter::text`].
    #[must_use]
    pub fn body(&self, receiver: &Receiver) -> Option<Value> {
        match receiver {
            Receiver::Webhook { .. } => Some(self.generic()),
            Receiver::Slack { .. } => Some(chat::slack(self)),
            Receiver::Teams { .. } => Some(chat::teams(self)),
            Receiver::PagerDuty { routing_key, .. } => Some(pagerduty::event(self, routing_key.expose())),
            Receiver::Email { .. } => None,
        }
    }

    /// Our own form.
    fn generic(&self) -> Value {
        let Message { fingerprint, alert, dataset, severity, owner, .. } = self.message;
        json!({
            "fingerprint": fingerprint,
            "alert": alert,
            "state": self.state(),
            "dataset": dataset,
            "severity": severity.as_str(),
            "owner": owner,
            "since": self.since(),
            "summary": self.summary(),
            "runbook": self.runbook(),
        })
    }

    /// Plain text, as mail has it.
    #[must_use]
    pub fn text(&self) -> String {
        let Message { alert, dataset, severity, owner, fingerprint, .. } = self.message;
        let mut lines = vec![self.summary(), String::new()];
        let mut add = |name: &str, value: &str| lines.push(format!("{name:<12}{value}"));
        add("alert", alert);
        add("state", self.state());
        if let Some(dataset) = dataset {
            add("dataset", dataset);
        }
        add("severity", severity.as_str());
        if !owner.is_empty() {
            add("owner", owner);
        }
        add("since", &self.since());
        if let Some(runbook) = self.runbook() {
            add("runbook", &runbook);
        }
        add("fingerprint", fingerprint);
        lines.join("\n") + "\n"
    }
}

/// Milliseconds since 1970 as RFC 3339.
#[must_use]
pub fn instant(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use vitalake_contract::alert::AlertSeverity;

    pub fn message(kind: Kind) -> Message {
        Message {
            kind,
            fingerprint: "0011223344556677".to_owned(),
            alert: "steps_held".to_owned(),
            dataset: Some("serving.steps".to_owned()),
            severity: AlertSeverity::Error,
            owner: "data-platform".to_owned(),
            since_ms: 1_700_000_000_123,
            summary: "its gate holds a version back: month_is_there: 3 <rows> & more".to_owned(),
            runbook: "steps_held".to_owned(),
        }
    }

    pub fn form(receiver: &Receiver, kind: Kind) -> Value {
        let message = message(kind);
        let letter = Letter { message: &message, address: "http://127.0.0.1:8888", project: "care" };
        letter.body(receiver).unwrap()
    }

    #[test]
    fn our_own_form_has_exactly_its_fields() {
        let webhook = Receiver::Webhook { url: "http://x".into(), headers: Default::default() };
        let body = form(&webhook, Kind::Firing);
        let names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["fingerprint", "alert", "state", "dataset", "severity", "owner", "since", "summary", "runbook"]
        );
        assert_eq!(body["since"], "2023-11-14T22:13:20.123Z");
        assert_eq!(body["runbook"], "http://127.0.0.1:8888/runbooks/steps_held");
        assert_eq!((&body["state"], &form(&webhook, Kind::Resolved)["state"]), (&json!("firing"), &json!("resolved")));
        assert!(form(&webhook, Kind::Test)["summary"].as_str().unwrap().starts_with("TEST"));
    }

    #[test]
    fn mail_says_the_same_in_lines() {
        let message = message(Kind::Resolved);
        let letter = Letter { message: &message, address: "http://h", project: "care" };
        assert_eq!(letter.headline(), "steps_held (serving.steps) is resolved");
        for part in ["state       resolved", "runbook     http://h/runbooks/steps_held", "severity    error"] {
            assert!(letter.text().contains(part), "{}", letter.text());
        }
    }
}
