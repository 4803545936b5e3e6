//! The parts outside this process that it may have to wait for, known before any of them has answered.
//!
//! They are made first and handed to whoever speaks to each, so that also a platform that is still being opened can say
//! what it waits for. Invariant: a reason holds no credential.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, SecondsFormat, Utc};
use vitalake_ops::status::AwayPart;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::health::{Away, Health};

/// What is known of each.
#[derive(Clone, Debug)]
pub struct Outside {
    pub(crate) storage: Health,
    pub(crate) kafka: Health,
    /// The control store.
    pub(crate) control: Health,
    /// The Druid that serving datasets are published to.
    pub(crate) druid: Health,
    /// The topics that contracts name, on a broker that answers.
    pub(crate) topics: Health,
    /// The Spark that models run on.
    pub(crate) spark: Health,
    /// The workspace that gets the ops datasets.
    pub(crate) monitor: Health,
    /// Who proves names for others, once it is known who that is.
    pub(crate) issuers: Arc<OnceLock<Vec<Health>>>,
    /// Ids that were made up for topics of which there is another by now.
    #[cfg(feature = "rdkafka")]
    pub(crate) replaced: std::sync::Arc<parking_lot::Mutex<std::collections::BTreeSet<vitalake_ingest::log::TopicId>>>,
}

impl Outside {
    /// All of them, taken to answer.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        let health = |part| Health::new(part, clock.clone());
        Self {
            storage: health("storage"),
            kafka: health("Kafka"),
            control: health("control store"),
            druid: health("Druid"),
            topics: health("a topic"),
            spark: health("Spark"),
            monitor: health("Azure Monitor"),
            issuers: Arc::default(),
            #[cfg(feature = "rdkafka")]
            replaced: std::sync::Arc::default(),
        }
    }

    /// Kafka does not answer, for this reason.
    pub fn note_kafka(&self, reason: &str) {
        self.kafka.note(reason.to_owned());
    }

    /// Those that do not answer now.
    pub(crate) fn away(&self) -> Vec<Away> {
        let others = self.issuers.get().into_iter().flatten().chain([&self.monitor]);
        self.of_data().into_iter().chain(others).filter_map(Health::away).collect()
    }

    /// Whether everything answers that data comes from or goes to.
    pub(crate) fn data_flows(&self) -> bool {
        self.of_data().into_iter().all(|part| part.away().is_none())
    }

    fn of_data(&self) -> [&Health; 6] {
        [&self.storage, &self.kafka, &self.control, &self.druid, &self.topics, &self.spark]
    }
}

/// Parts that are away as status has them.
pub(crate) fn parts(away: Vec<Away>, now_ms: i64) -> Vec<AwayPart> {
    let said = |away: Away| AwayPart {
        part: away.part.to_owned(),
        since: instant(away.since_ms).unwrap_or_default(),
        seconds: (now_ms - away.since_ms).max(0) as f64 / 1000.0,
        reason: away.reason,
    };
    away.into_iter().map(said).collect()
}

/// A moment as status writes it.
pub(crate) fn instant(ms: i64) -> Option<String> {
    DateTime::<Utc>::from_timestamp_millis(ms).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
