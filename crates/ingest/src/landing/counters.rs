//! What landing has done since it began, for status and metrics: records, bytes, and broken rules by severity.
//!
//! Invariant: names of rules and counts, never a value.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vitalake_contract::rule::{RowRule, Severity};

/// How often a rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// The rule's name; of what is no record of the contract at all: `json`, `tombstone`, `batch`, `retention`.
    pub rule: String,
    /// What breaking it means.
    pub severity: Severity,
    /// How many records broke it.
    pub records: u64,
}

/// What landing has done.
#[derive(Debug)]
pub struct LandingCounters {
    /// Records that became rows.
    pub rows: AtomicU64,
    /// Records that became rejects.
    pub rejects: AtomicU64,
    /// Bytes of log that were decoded.
    pub bytes: AtomicU64,
    /// The contract's rules in their order.
    rules: Vec<(String, Severity, AtomicU64)>,
    /// What is broken before the contract's rules are asked.
    unreadable: Mutex<BTreeMap<&'static str, u64>>,
    /// Values of rows that could not be read and are null, by column, since they were last told.
    unread: Mutex<BTreeMap<usize, u64>>,
}

/// Broken rules of one step: of the contract by their index, and of what could not be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken {
    pub(super) rules: Vec<(usize, u64)>,
    pub(super) unreadable: Vec<(&'static str, u64)>,
    /// Values that could not be read, by column.
    pub(super) unread: Vec<(usize, u64)>,
}

impl LandingCounters {
    pub(super) fn new(rules: &[RowRule]) -> Self {
        let rules = rules.iter().map(|rule| (rule.name.clone(), rule.severity, AtomicU64::new(0))).collect();
        let zero = || AtomicU64::new(0);
        Self {
            rows: zero(),
            rejects: zero(),
            bytes: zero(),
            rules,
            unreadable: Mutex::default(),
            unread: Mutex::default(),
        }
    }

    pub(super) fn count(&self, broken: &Broken) {
        for (rule, records) in &broken.rules {
            if let Some((_, _, count)) = self.rules.get(*rule) {
                count.fetch_add(*records, Ordering::Relaxed);
            }
        }
        if !broken.unread.is_empty() {
            let mut unread = self.unread.lock();
            broken.unread.iter().for_each(|(column, values)| *unread.entry(*column).or_default() += values);
        }
        if !broken.unreadable.is_empty() {
            let mut unreadable = self.unreadable.lock();
            broken.unreadable.iter().for_each(|(rule, records)| *unreadable.entry(rule).or_default() += records);
        }
    }

    /// Values that could not be read since this was last asked, by column.
    pub(super) fn take_unread(&self) -> BTreeMap<usize, u64> {
        std::mem::take(&mut *self.unread.lock())
    }

    /// Every rule that was broken, and how often. A record that breaks several counts for each of them.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<RuleCount> {
        let of_contract = self.rules.iter().map(|(rule, severity, count)| RuleCount {
            rule: rule.clone(),
            severity: *severity,
            records: count.load(Ordering::Relaxed),
        });
        let unreadable = self.unreadable.lock();
        let others = unreadable.iter().map(|(rule, records)| RuleCount {
            rule: (*rule).to_owned(),
            severity: Severity::Error,
            records: *records,
        });
        of_contract.chain(others).filter(|count| count.records > 0).collect()
    }
}
