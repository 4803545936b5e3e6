//! What a project's alert says: a rule over a built-in signal or over SQL, whom it is for, and its runbook.
//!
//! Read from alerts/*.yaml by `project`; evaluated by the crate that watches. Invariant: a threshold is in its signal's
//! unit, and an alert about datasets names only such as its signal is about.

use std::time::Duration;

use crate::contract::{DatasetName, Layer};

/// How bad an alert is, in the words of PagerDuty's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertSeverity {
    /// For the record.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// Something does not work.
    Error,
    /// Somebody gets up at night.
    Critical,
}

/// The words that stand for a severity, each row's first the one that is sent.
pub const SEVERITY_WORDS: [(AlertSeverity, &[&str]); 4] = [
    (AlertSeverity::Critical, &["critical", "fatal", "emergency", "p1", "sev1"]),
    (AlertSeverity::Error, &["error", "high", "major", "p2", "sev2"]),
    (AlertSeverity::Warning, &["warning", "warn", "medium", "minor", "p3", "sev3"]),
    (AlertSeverity::Info, &["info", "low", "notice", "p4", "sev4"]),
];

impl AlertSeverity {
    /// Its word in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// The severity that a word of [`SEVERITY_WORDS`] stands for, in any case.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        SEVERITY_WORDS.iter().find(|(_, words)| words.contains(&word.as_str())).map(|(severity, _)| *severity)
    }
}

/// What a built-in signal measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Records that are durable and not yet in the dataset.
    Lag,
    /// The age of the newest row.
    Freshness,
    /// The gate holds a version back.
    GateHeld,
    /// The share of records that went to quarantine within the window.
    QuarantineRate,
    /// Rows of the last full hour against the same hour of the last four weeks.
    Volume,
    /// A feed has not delivered when it should have.
    FeedLate,
    /// A delivery is held until somebody decides.
    DeliveryHeld,
    /// The books of a dataset do not balance.
    Conservation,
    /// Free bytes of the data folder's disk.
    Disk,
    /// Bytes of memory that the process has.
    Memory,
    /// A part outside the process does not answer.
    ComponentAway,
    /// Values that do not fit their column, or fields that no contract names, within the window.
    SchemaDrift,
    /// Small files that compaction has not come to.
    CompactionBehind,
    /// A real Druid does not have what it should have of a dataset.
    DruidBehind,
}

/// The unit of a signal's threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// It takes no threshold.
    None,
    /// A whole number of things.
    Count,
    /// Seconds, written as a length of time.
    Seconds,
    /// A share from 0 to 1, also written in per cent.
    Share,
    /// Robust standard deviations.
    Deviations,
    /// Bytes, also written with KiB, MiB, GiB or TiB.
    Bytes,
}

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The process or what it stands on, no dataset.
    Platform,
    /// Datasets of any layer.
    Datasets,
    /// Serving datasets.
    Serving,
    /// Raw datasets.
    Raw,
}

impl Signal {
    /// All signals, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Lag,
        Self::Freshness,
        Self::GateHeld,
        Self::QuarantineRate,
        Self::Volume,
        Self::FeedLate,
        Self::DeliveryHeld,
        Self::Conservation,
        Self::Disk,
        Self::Memory,
        Self::ComponentAway,
        Self::SchemaDrift,
        Self::CompactionBehind,
        Self::DruidBehind,
    ];

    /// Its name in an alert's file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Freshness => "freshness",
            Self::GateHeld => "gate_held",
            Self::QuarantineRate => "quarantine_rate",
            Self::Volume => "volume",
            Self::FeedLate => "feed_late",
            Self::DeliveryHeld => "delivery_held",
            Self::Conservation => "conservation",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::ComponentAway => "component_away",
            Self::SchemaDrift => "schema_drift",
            Self::CompactionBehind => "compaction_behind",
            Self::DruidBehind => "druid_behind",
        }
    }

    /// The unit of its threshold.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Lag | Self::SchemaDrift | Self::CompactionBehind => Unit::Count,
            Self::Freshness | Self::FeedLate => Unit::Seconds,
            Self::QuarantineRate => Unit::Share,
            Self::Volume => Unit::Deviations,
            Self::Disk | Self::Memory => Unit::Bytes,
            Self::GateHeld | Self::DeliveryHeld | Self::Conservation | Self::ComponentAway | Self::DruidBehind => {
                Unit::None
            }
        }
    }

    /// The threshold where an alert gives none; none where it has to, or the contract's SLA says it.
    #[must_use]
    pub fn default_threshold(self) -> Option<f64> {
        match self {
            Self::Lag => Some(100_000.0),
            Self::QuarantineRate => Some(0.05),
            Self::Volume => Some(5.0),
            Self::SchemaDrift => Some(0.0),
            Self::CompactionBehind => Some(1_000.0),
            _ => None,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn about(self) -> About {
        match self {
            Self::GateHeld => About::Serving,
            Self::FeedLate | Self::DeliveryHeld | Self::SchemaDrift => About::Raw,
            Self::Disk | Self::Memory | Self::ComponentAway => About::Platform,
            _ => About::Datasets,
        }
    }
}

/// A dataset with its layer, as `layer.dataset`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertDataset {
    /// Its layer.
    pub layer: Layer,
    /// Its name.
    pub name: DatasetName,
}

impl std::fmt::Display for AlertDataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.layer, self.name)
    }
}

/// What makes an alert fire.
#[derive(Clone, Debug, PartialEq)]
pub enum AlertSource {
    /// A built-in signal beyond its threshold.
    Signal(Signal),
    /// A query that gives rows.
    Sql(String),
}

/// When a feed is expected: a cron expression and the zone in which it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSchedule {
    /// Five fields: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// The zone.
    pub zone: chrono_tz::Tz,
}

/// An alert as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    /// Its name: the file's.
    pub name: String,
    /// What makes it fire.
    pub source: AlertSource,
    /// The dataset that it is about; every one that its signal is about when none.
    pub dataset: Option<AlertDataset>,
    /// The threshold in the signal's unit.
    pub threshold: Option<f64>,
    /// The stretch of time that a rate is taken over.
    pub window: Duration,
    /// When a feed is expected.
    pub schedule: Option<AlertSchedule>,
    /// How long it must hold before it fires.
    pub hold_for: Duration,
    /// How long it goes on firing after it holds no longer.
    pub keep_firing_for: Duration,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The team that it goes to.
    pub owner: String,
    /// The runbook's name.
    pub runbook: String,
    /// The receivers; the one named `default` when nothing is said, nobody when the list is empty.
    pub notify: Option<Vec<String>>,
    /// Alerts of one group that fire together are one message.
    pub group: Option<String>,
}
