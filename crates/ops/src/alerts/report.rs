//! What the alerts' HTTP interface and command line speak in.
//!
//! Plain data, the same for `--json` and HTTP. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::book::{Book, Instance};
use super::form::instant;

/// One alert of `GET /api/v1/alerts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertReport {
    /// Tells it from others, the same over restarts.
    pub fingerprint: String,
    /// The alert's name.
    pub alert: String,
    /// `pending`, `firing`, `acknowledged`, `resolved`, `no_data` or `error`.
    pub state: String,
    /// Whether it fires, also where it cannot be evaluated now.
    pub open: bool,
    /// The dataset that it is about, as `layer.dataset`.
    pub dataset: Option<String>,
    /// What tells it from others of the same name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `critical`, `error`, `warning` or `info`.
    pub severity: String,
    /// The team that it goes to.
    pub owner: String,
    /// Since when it holds; of a resolved one, when that was.
    pub since: String,
    /// What was found.
    pub summary: String,
    /// Why it cannot be evaluated.
    #[serde(default)]
    pub reason: Option<String>,
    /// The runbook's name.
    pub runbook: String,
    /// Where it is sent.
    #[serde(default)]
    pub notify: Vec<String>,
    /// Who has taken it on.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
    /// The upstream alert that speaks for it.
    #[serde(default)]
    pub inhibited_by: Option<String>,
    /// Until when it is not sent.
    #[serde(default)]
    pub silenced_until: Option<String>,
}

/// The body of `POST /api/v1/alerts/{fingerprint}/ack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// Who takes it on.
    pub by: String,
    /// What they say.
    #[serde(default)]
    pub comment: Option<String>,
}

/// The body of `POST /api/v1/silences`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// The alert's name.
    pub alert: String,
    /// Until when; one in the past ends the alert's silence.
    pub until: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// A silence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceReport {
    /// The alert's name.
    pub alert: String,
    /// Until when.
    pub until: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// What one receiver said to a test (`POST /api/v1/alerts/{alert}/test`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// The receiver's name.
    pub receiver: String,
    /// `webhook`, `slack`, `teams`, `pagerduty` or `email`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it took the message.
    pub delivered: bool,
    /// What came back.
    pub said: String,
}

impl Book {
    /// All alerts that are known, open ones first.
    #[must_use]
    pub fn report(&self) -> Vec<AlertReport> {
        let mut reports: Vec<AlertReport> =
            self.instances.iter().map(|(fingerprint, instance)| self.one_report(fingerprint, instance)).collect();
        reports.sort_by_key(|report| (!report.open, report.alert.clone(), report.dataset.clone()));
        reports
    }

    /// One alert as it is reported.
    #[must_use]
    pub fn one_report(&self, fingerprint: &str, instance: &Instance) -> AlertReport {
        let Instance { identity, state, .. } = instance;
        let silence = self.silences.iter().find(|silence| silence.alert == identity.alert);
        AlertReport {
            fingerprint: fingerprint.to_owned(),
            alert: identity.alert.clone(),
            state: state.name().to_owned(),
            open: state.is_open(),
            dataset: identity.dataset.clone(),
            labels: identity.labels.clone(),
            severity: identity.severity.clone(),
            owner: identity.owner.clone(),
            since: instant(state.blind.as_ref().filter(|_| !state.is_open()).map_or(state.since_ms, |b| b.since_ms)),
            summary: state.summary.clone(),
            reason: state.blind.as_ref().map(|blind| blind.reason.clone()),
            runbook: identity.runbook.clone(),
            notify: identity.receivers.iter().cloned().collect(),
            acknowledged_by: state.acknowledged.as_ref().map(|ack| ack.by.clone()),
            inhibited_by: instance.excused_by.clone().filter(|_| state.is_open()),
            silenced_until: silence.map(|silence| instant(silence.until_ms)),
        }
    }
}
