//! Whether a candidate may be published: its contract's rules on sets of rows, and how old its newest rows are.
//!
//! Reads pinned values alone, beside commits and queries. Invariant: whatever cannot be evaluated is a reason to hold.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use vitalake_contract::Contract;
use vitalake_contract::contract::OnStale;
use vitalake_lake::{Candidate, Catalogue, Lake, TableId, TxnId};

use crate::gate::record::GateReason;
use crate::plan::INGESTED_AT;
use crate::quality::{RuleScope, SetResult, evaluate, newest_us};

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Judgement {
    /// Rules that do not pass.
    pub(super) reasons: Vec<GateReason>,
    /// Windows that are held back, and the rules that they do not pass.
    pub(super) held_windows: BTreeSet<String>,
    pub(super) window_reasons: Vec<GateReason>,
    /// How each rule came out, and over what.
    pub(super) results: Vec<(String, SetResult)>,
    /// Rules on freshness that do not pass, where such a candidate is published all the same.
    pub(super) stale: Vec<GateReason>,
    /// Inputs that are fresh.
    pub(super) fresh: BTreeSet<String>,
    /// The time of its newest row, milliseconds since 1970.
    pub(super) newest_ms: Option<i64>,
}

/// What was measured of inputs, by the version of theirs: a candidate is judged by what it has consumed.
#[derive(Debug, Default)]
pub(super) struct Measured(BTreeMap<TableId, OfInput>);

/// The newest times of an input, milliseconds since 1970.
#[derive(Debug, Default)]
struct OfInput {
    by_version: BTreeMap<u64, Option<i64>>,
    /// What a candidate was last judged by.
    last: Option<i64>,
}

/// Windows whose reasons are named.
const REASONS_MAX: usize = 20;
/// Versions of an input that are remembered.
const REMEMBERED_MAX: usize = 64;

/// Whose candidates are judged.
pub(super) struct Judge<'a> {
    pub(super) lake: &'a Lake,
    pub(super) contract: &'a Contract,
    pub(super) now_ms: i64,
    /// Inputs that were fresh since the last publication: each was there in time, whatever it is now.
    pub(super) fresh_before: &'a BTreeSet<String>,
}

impl Judge<'_> {
    /// Judges a candidate by all of its contract.
    pub(super) async fn judge(&self, candidate: &Candidate, measured: &mut Measured) -> Judgement {
        let others = self.lake.pin();
        let mut found = self.freshness(candidate, &others, measured).await;
        let windows = candidate.changed_windows();
        if windows.is_empty() {
            for result in evaluate(self.contract.gate_rules(), &self.scope(candidate.rows(), &others)).await {
                found.reasons.extend(broken(&result, ""));
                found.results.push(("table".to_owned(), result));
            }
        }
        for window in windows {
            let scope = self.scope(candidate.rows_of(&window), &others);
            for result in evaluate(self.contract.gate_rules(), &scope).await {
                if let Some(reason) = broken(&result, &format!(" in window {window}")) {
                    found.window_reasons.push(reason);
                    found.held_windows.insert(window.clone());
                }
                found.results.push((format!("window {window}"), result));
            }
        }
        found.window_reasons.truncate(REASONS_MAX);
        found
    }

    fn scope(&self, rows: Arc<dyn TableProvider>, others: &Arc<Catalogue>) -> RuleScope<'_> {
        let (others, store) = (Arc::clone(others), Arc::clone(self.lake.store()));
        RuleScope { contract: self.contract, rows, others, store }
    }

    /// Judges how old a candidate is.
    pub(super) async fn freshness(
        &self,
        candidate: &Candidate,
        others: &Arc<Catalogue>,
        measured: &mut Measured,
    ) -> Judgement {
        let Some(limit) = self.contract.sla.freshness else { return self.without_a_limit() };
        let mut found = Judgement::default();
        let mut late = Vec::new();
        if self.contract.gate_inputs.is_empty() {
            match self.newest_row(candidate, others).await {
                Ok(newest) => {
                    found.newest_ms = newest;
                    late.extend(self.late("freshness".to_owned(), newest, limit));
                }
                Err(why) => found.reasons.push(not_evaluated("freshness".to_owned(), &why, limit)),
            }
        }
        for input in &self.contract.gate_inputs {
            let rule = format!("freshness of {input}");
            match self.newest_of_input(input, candidate, others, measured).await {
                Ok(newest) => match self.late(rule, newest, limit) {
                    None => drop(found.fresh.insert(input.to_string())),
                    Some(reason) => late.push(reason),
                },
                Err(why) => found.reasons.push(not_evaluated(rule, &why, limit)),
            }
        }
        let was_fresh = |reason: &GateReason| {
            reason.rule.strip_prefix("freshness of ").is_some_and(|input| self.fresh_before.contains(input))
        };
        match self.contract.on_stale {
            OnStale::Publish => found.stale = late,
            OnStale::Hold => {
                (found.stale, found.reasons) = {
                    let (stale, held): (Vec<_>, Vec<_>) = late.into_iter().partition(was_fresh);
                    (stale, held.into_iter().chain(found.reasons).collect())
                }
            }
        }
        found
    }

    /// Inputs to look at, and nothing that says how old they may be.
    fn without_a_limit(&self) -> Judgement {
        let mut found = Judgement::default();
        if !self.contract.gate_inputs.is_empty() {
            let (rule, got) = ("freshness".to_owned(), "could not be evaluated: the contract has no SLA of freshness");
            let want = "slaProperties with a `freshness`, or no `gateInputs`".to_owned();
            found.reasons.push(GateReason { rule, got: got.to_owned(), want });
        }
        found
    }

    async fn newest_row(&self, candidate: &Candidate, others: &Arc<Catalogue>) -> Result<Option<i64>, String> {
        let column = self.contract.time_column.and_then(|index| self.contract.columns.get(index));
        let column = column.ok_or_else(|| "the contract has no timestamp that says how old a row is".to_owned())?;
        let scope = self.scope(candidate.rows(), others);
        let newest = newest_us(&scope, &column.name, self.now_ms.saturating_mul(1000)).await?;
        Ok(newest.map(|newest| newest.div_euclid(1000)))
    }

    /// The newest row of an input among those that the candidate has consumed.
    async fn newest_of_input(
        &self,
        input: &vitalake_contract::DatasetName,
        candidate: &Candidate,
        others: &Arc<Catalogue>,
        measured: &mut Measured,
    ) -> Result<Option<i64>, String> {
        let table = self.lake.table(input).map_err(|error| error.to_string())?;
        let (id, contract) = (table.id(), table.contract());
        let view = others.table(&id).ok_or_else(|| "it is not open yet".to_owned())?;
        let version = view.published().version().0;
        let known = measured.0.entry(id.clone()).or_default();
        if let Entry::Vacant(place) = known.by_version.entry(version) {
            let column = contract.time_column.and_then(|index| contract.columns.get(index));
            let column = column.map_or(INGESTED_AT, |column| &column.name);
            let rows = others.committed(&id).ok_or_else(|| "it is not open yet".to_owned())?;
            let scope = RuleScope { contract, rows, others: Arc::clone(others), store: Arc::clone(self.lake.store()) };
            let newest = newest_us(&scope, column, self.now_ms.saturating_mul(1000)).await?;
            place.insert(newest.map(|newest| newest.div_euclid(1000)));
        }
        if known.by_version.len() > REMEMBERED_MAX {
            known.by_version.pop_first();
        }
        let consumed = match consumed(candidate, others, &id) {
            Some(consumed) => consumed,
            // A table on the way is ahead of what it has committed: the candidate has not changed in what is known of it.
            None if is_upstream(others, &id) => return Ok(known.last),
            None => version,
        };
        known.last = known.by_version.range(..=consumed).next_back().and_then(|(_, newest)| *newest);
        Ok(known.last)
    }

    /// The reason when a newest row is too old, or is not there.
    fn late(&self, rule: String, newest_ms: Option<i64>, limit: Duration) -> Option<GateReason> {
        let want = format!("at most {} s old", limit.as_secs());
        let Some(newest_ms) = newest_ms else { return Some(GateReason { rule, got: "no row".to_owned(), want }) };
        let age_ms = self.now_ms.saturating_sub(newest_ms);
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        (age_ms > limit_ms).then(|| GateReason { rule, got: format!("{} s old", age_ms / 1000), want })
    }
}

fn broken(result: &SetResult, place: &str) -> Option<GateReason> {
    let got = || format!("{}{place}", result.found());
    (!result.passed()).then(|| GateReason { rule: result.rule.clone(), got: got(), want: result.want.clone() })
}

fn not_evaluated(rule: String, why: &str, limit: Duration) -> GateReason {
    let (got, want) = (format!("could not be evaluated: {why}"), format!("at most {} s old", limit.as_secs()));
    GateReason { rule, got, want }
}

/// The version of a dataset that a candidate holds, as far as every table on the way has not come further since.
fn consumed(candidate: &Candidate, others: &Catalogue, input: &TableId) -> Option<u64> {
    let wanted = others.table(input)?.head.metadata().id.clone();
    let mut open: Vec<(String, i64)> = candidate.consumed();
    let mut seen = BTreeSet::new();
    while let Some((table_id, version)) = open.pop() {
        if table_id == wanted {
            return u64::try_from(version).ok();
        }
        if !seen.insert(table_id.clone()) {
            continue;
        }
        let Some(view) = others.tables().find(|view| view.head.metadata().id == table_id) else { continue };
        if u64::try_from(version).ok() == Some(view.head.version().0) {
            open.extend(view.head.txns().filter_map(|txn| TxnId::parse(&txn.app_id).consumed(txn.version)));
        }
    }
    None
}

/// Whether any model reads a dataset.
fn is_upstream(others: &Catalogue, input: &TableId) -> bool {
    let Some(wanted) = others.table(input).map(|view| view.head.metadata().id.clone()) else { return false };
    let reads = |txn: &vitalake_lake::delta::action::Txn| {
        TxnId::parse(&txn.app_id).consumed(txn.version).is_some_and(|(table_id, _)| table_id == wanted)
    };
    others.tables().any(|view| view.head.txns().any(reads))
}
