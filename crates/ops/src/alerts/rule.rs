//! The alerts that are evaluated: the project's, and the platform's own where no alert of the project takes their place.
//!
//! Invariant: two rules never have the same name, and no dataset has two rules of one signal of which one is built in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vitalake_contract::alert::{AlertDataset, AlertRule, AlertSeverity, AlertSource, Signal};
use vitalake_runtime::config::notify::{DEFAULT_RECEIVER, Receiver};

use super::machine::Timing;

/// The team that the platform's own alerts go to where the dataset has none.
pub const PLATFORM_TEAM: &str = "platform";

/// An alert that is evaluated.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it says.
    pub alert: AlertRule,
    /// Whether it is the platform's own.
    pub built_in: bool,
    /// Datasets that it leaves to an alert of the project.
    pub leaves: BTreeSet<AlertDataset>,
    /// Where it is sent.
    pub receivers: BTreeSet<String>,
}

impl Rule {
    /// Its times.
    #[must_use]
    pub fn timing(&self) -> Timing {
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Timing { hold_for_ms: ms(self.alert.hold_for), keep_firing_for_ms: ms(self.alert.keep_firing_for) }
    }

    /// Its signal; none where it asks in SQL.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.alert.source {
            AlertSource::Signal(signal) => Some(signal),
            AlertSource::Sql(_) => None,
        }
    }

    /// Whether it is about this dataset.
    #[must_use]
    pub fn is_about(&self, dataset: &AlertDataset) -> bool {
        self.alert.dataset.as_ref().is_none_or(|named| named == dataset) && !self.leaves.contains(dataset)
    }
}

/// The platform's own alerts: name, signal, severity, and how long each must hold.
const BUILT_IN: [(&str, Signal, AlertSeverity, u64); 12] = [
    ("source_silent", Signal::Freshness, AlertSeverity::Error, 5 * 60),
    ("schema_drift", Signal::SchemaDrift, AlertSeverity::Warning, 0),
    ("gate_held", Signal::GateHeld, AlertSeverity::Warning, 5 * 60),
    ("landing_lag", Signal::Lag, AlertSeverity::Warning, 5 * 60),
    ("disk_full", Signal::Disk, AlertSeverity::Critical, 60),
    ("poison_records", Signal::QuarantineRate, AlertSeverity::Error, 60),
    ("store_unreachable", Signal::ComponentAway, AlertSeverity::Error, 60),
    ("compaction_behind", Signal::CompactionBehind, AlertSeverity::Warning, 30 * 60),
    ("feed_late", Signal::FeedLate, AlertSeverity::Error, 5 * 60),
    ("delivery_held", Signal::DeliveryHeld, AlertSeverity::Error, 0),
    ("conservation_broken", Signal::Conservation, AlertSeverity::Critical, 0),
    ("druid_behind", Signal::DruidBehind, AlertSeverity::Error, 60),
];

/// The names of the platform's own alerts, which are those of their runbooks.
#[must_use]
pub fn built_in_names() -> [&'static str; 12] {
    BUILT_IN.map(|(name, ..)| name)
}

/// How long the platform's own alerts go on firing: a signal at its bound would ring and stop by turns.
const KEEP_FIRING_FOR: Duration = Duration::from_secs(60);

fn built_in(name: &str, signal: Signal, severity: AlertSeverity, hold_s: u64) -> AlertRule {
    AlertRule {
        name: name.to_owned(),
        source: AlertSource::Signal(signal),
        dataset: None,
        threshold: None,
        window: Duration::from_secs(15 * 60),
        schedule: None,
        hold_for: Duration::from_secs(hold_s),
        keep_firing_for: KEEP_FIRING_FOR,
        severity,
        owner: String::new(),
        runbook: name.to_owned(),
        notify: None,
        group: None,
    }
}

/// All alerts of a project with the receivers that it has.
#[must_use]
pub fn rules(project: &[AlertRule], receivers: &BTreeMap<String, Receiver>) -> Vec<Rule> {
    let sent_to = |alert: &AlertRule| match &alert.notify {
        Some(names) => names.iter().cloned().collect(),
        None => receivers.keys().filter(|name| *name == DEFAULT_RECEIVER).cloned().collect(),
    };
    let own = project.iter().map(|alert| Rule {
        alert: alert.clone(),
        built_in: false,
        leaves: BTreeSet::new(),
        receivers: sent_to(alert),
    });
    let shipped = BUILT_IN.into_iter().filter_map(|(name, signal, severity, hold_s)| {
        let same = || project.iter().filter(|alert| alert.source == AlertSource::Signal(signal));
        // One of the same name, or of the same signal about everything, takes its place.
        if project.iter().any(|alert| alert.name == name) || same().any(|alert| alert.dataset.is_none()) {
            return None;
        }
        let leaves = same().filter_map(|alert| alert.dataset.clone()).collect();
        let alert = built_in(name, signal, severity, hold_s);
        Some(Rule { receivers: sent_to(&alert), alert, built_in: true, leaves })
    });
    own.chain(shipped).collect()
}
