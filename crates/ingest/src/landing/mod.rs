//! Landing: a source of records (the durable log or a broker) → rows and rejects → the raw table's tail, and epoch by
//! epoch into Delta.
//!
//! One `TopicLanding` per stream reads its partitions from where the table's transactions say, decodes them on the CPU
//! runtime and appends what they hold (`run`). A second loop ends the epochs, commits them and tells the log what may be
//! trimmed (`epochs`). `step` is what happens to the records themselves, `partitions` who is read and how far.
//! Invariant: a record's rows and rejects enter the table together with the transaction that says so; nothing else
//! remembers what has landed.

mod counters;
mod epochs;
mod offered;
mod partitions;
mod rejects;
mod run;
mod same_topic;
mod step;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use vitalake_contract::check::SqlRules;
use vitalake_lake::{LakeError, Table};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::error::in_full;

use crate::decode::{DecodeError, Rules};
use crate::log::TopicId;
use crate::source::{RecordSource, SourceError};

pub use counters::{LandingCounters, RuleCount};
pub use epochs::EpochOptions;
pub use partitions::{Position, Stop};
pub use transaction::transaction_id;

use partitions::Progress;
use same_topic::SameTopic;
use step::PartitionState;

/// A failure of landing.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// Records could not be read.
    #[error("topic {topic} could not be read")]
    Source {
        /// The topic's name.
        topic: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// Records could not be made into columns.
    #[error("records of topic {topic} could not be decoded")]
    Decode {
        /// The topic's name.
        topic: String,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The table refused.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The CPU runtime ended first.
    #[error("landing of topic {0} was stopped")]
    Stopped(String),
}

/// Whether this process commits what it lands, or another does and this one only shows it sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Rows and rejects are committed here.
    Owner,
    /// Rows are shown until their owner has committed them.
    Follower,
}

/// What a topic's landing is made of.
#[derive(Debug)]
pub struct LandingSpec {
    /// Where the records come from.
    pub source: Arc<dyn RecordSource>,
    /// Where they go.
    pub table: Arc<Table>,
    /// The contract's rules in SQL.
    pub sql: Option<Arc<dyn SqlRules>>,
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub topic_id: TopicId,
    /// Who commits.
    pub landing: Landing,
    /// Where records are decoded.
    pub cpu: Cpu,
    /// The time.
    pub clock: Clock,
}

/// Lands one topic in its table.
#[derive(Debug)]
pub struct TopicLanding {
    source: Arc<dyn RecordSource>,
    table: Arc<Table>,
    topic: String,
    topic_id: TopicId,
    landing: Landing,
    rules: Rules,
    clock: Clock,
    partitions: Mutex<Vec<PartitionState>>,
    progress: Mutex<BTreeMap<i32, Progress>>,
    /// The last offsets that the source has been told of.
    told: Mutex<Vec<(i32, i64)>>,
    /// Held for the length of a step, so that partitions come and go between steps.
    stepping: tokio::sync::Mutex<()>,
    cpu: Cpu,
    epoch_bytes: AtomicU64,
    caught_up: AtomicBool,
    counters: LandingCounters,
    troubles: Mutex<[Option<String>; 3]>,
    /// Why nothing is committed until a person has looked: the books do not balance.
    unbalanced: Mutex<Option<String>>,
    /// Why it could not be asked before the last commit whether the topic is still the same.
    unasked: Arc<Mutex<Option<String>>>,
}

/// What may be in trouble, each with a place of its own.
#[derive(Clone, Copy)]
enum Doing {
    Landing,
    WritingEarly,
    Committing,
}

impl TopicLanding {
    /// Landing of a topic, without partitions yet.
    #[must_use]
    pub fn new(spec: LandingSpec) -> Self {
        let rules = Rules::new(Arc::clone(spec.table.contract()), spec.sql);
        Self {
            counters: LandingCounters::new(&spec.table.contract().row_rules),
            source: spec.source,
            table: spec.table,
            topic: spec.topic,
            topic_id: spec.topic_id,
            landing: spec.landing,
            rules,
            clock: spec.clock,
            partitions: Mutex::default(),
            progress: Mutex::default(),
            told: Mutex::default(),
            stepping: tokio::sync::Mutex::new(()),
            cpu: spec.cpu,
            epoch_bytes: AtomicU64::new(0),
            caught_up: AtomicBool::new(false),
            troubles: Mutex::default(),
            unbalanced: Mutex::default(),
            unasked: Arc::default(),
        }
    }

    /// Has each commit wait for the source to say that the topic is still the one of this id.
    pub fn ask_before_commits(&self) {
        let check = SameTopic::new(
            Arc::clone(&self.source),
            self.topic.clone(),
            self.topic_id,
            Arc::clone(&self.unasked),
            self.clock.clone(),
        );
        self.table.check_source(Arc::new(check));
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The table that it lands in.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> &LandingCounters {
        &self.counters
    }

    /// What fails now and is tried again, with its cause; `None` when all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let troubles = self.troubles.lock();
        [Doing::Landing, Doing::Committing, Doing::WritingEarly]
            .iter()
            .find_map(|doing| troubles.get(*doing as usize)?.clone())
    }

    /// Why nothing is committed until a person has looked; `None` as a rule.
    #[must_use]
    pub fn unbalanced(&self) -> Option<String> {
        self.unbalanced.lock().clone()
    }

    /// Why it could not be asked before the last commit whether the topic is still the same; `None` as a rule.
    #[must_use]
    pub fn unanswered(&self) -> Option<String> {
        self.unasked.lock().clone()
    }

    fn note(&self, doing: Doing, error: Option<&(dyn std::error::Error + 'static)>) {
        let cause = error.map(in_full);
        if let Some(place) = self.troubles.lock().get_mut(doing as usize) {
            *place = cause;
        }
    }

    /// Whether everything that was durable at start has been taken over.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }
}
