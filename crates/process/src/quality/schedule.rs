//! Rules about whole tables, looked at when their schedules say: over a pinned value, beside commits and queries.
//!
//! Run by the process that owns the models. What a delivery or a gate decides on is looked at there, and here only where its
//! rule has a schedule of its own. Invariant: no commit waits for a rule, and one rule runs at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use vitalake_contract::rule::{SetRule, Severity};
use vitalake_contract::schedule::{SCHEDULE_DEFAULT, Schedule};
use vitalake_contract::{Contract, DatasetName, Layer, Source};
use vitalake_lake::Lake;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::{Event, Events};

use crate::quality::{RuleScope, SetOutcome, SetResult, evaluate};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(500);

/// The rules of a lake's tables that have their times.
#[derive(Debug)]
pub struct ScheduledRules {
    lake: Arc<Lake>,
    clock: Clock,
    events: Events,
    timed: Vec<Timed>,
    /// How each rule came out last, so that only a change is said in the log.
    last: BTreeMap<(DatasetName, String), SetOutcome>,
}

#[derive(Debug)]
struct Timed {
    contract: Arc<Contract>,
    rule: SetRule,
    schedule: Schedule,
    /// Its next time; none once there is none left.
    next_ms: Option<i64>,
}

/// When a rule of a contract is looked at over the whole table; none where a delivery or a gate alone asks it.
#[must_use]
pub fn schedule_of(contract: &Contract, rule: &SetRule) -> Option<Schedule> {
    static DEFAULT: LazyLock<Option<Schedule>> = LazyLock::new(|| SCHEDULE_DEFAULT.parse().ok());
    let is_asked_elsewhere = match (contract.layer, &contract.source) {
        (Layer::Serving, _) => rule.severity != Severity::Warning,
        (Layer::Raw, Some(Source::Feed)) => true,
        _ => false,
    };
    let default = || DEFAULT.clone().filter(|_| !is_asked_elsewhere);
    rule.schedule.clone().or_else(default)
}

impl ScheduledRules {
    /// The rules of all tables; their first time is the next one from now.
    #[must_use]
    pub fn new(lake: &Arc<Lake>, clock: &Clock, events: &Events) -> Self {
        let now_ms = clock.now_ms();
        let mut timed = Vec::new();
        for contract in lake.tables().map(|table| table.contract()) {
            for rule in &contract.set_rules {
                let Some(schedule) = schedule_of(contract, rule) else { continue };
                let next_ms = schedule.next_after_ms(now_ms);
                timed.push(Timed { contract: Arc::clone(contract), rule: rule.clone(), schedule, next_ms });
            }
        }
        Self { lake: Arc::clone(lake), clock: clock.clone(), events: events.clone(), timed, last: BTreeMap::new() }
    }

    /// Looks at rules when it is time, until dropped.
    pub async fn run(mut self) {
        if self.timed.is_empty() {
            return;
        }
        loop {
            self.look().await;
            tokio::time::sleep(TICK).await;
        }
    }

    /// Looks at the rules whose time has come, each once however often that was, and says how many those were.
    pub async fn look(&mut self) -> usize {
        let mut looked = 0;
        for index in 0..self.timed.len() {
            let now_ms = self.clock.now_ms();
            let Some(timed) = self.timed.get_mut(index) else { break };
            if timed.next_ms.is_none_or(|next_ms| next_ms > now_ms) {
                // The clock was set back: what was to come soon would come late.
                let soonest = timed.schedule.next_after_ms(now_ms);
                timed.next_ms = timed.next_ms.min(soonest).or(soonest);
                continue;
            }
            timed.next_ms = timed.schedule.next_after_ms(now_ms);
            let (contract, rule) = (Arc::clone(&timed.contract), timed.rule.clone());
            self.measure(&contract, &rule).await;
            looked += 1;
        }
        looked
    }

    async fn measure(&mut self, contract: &Contract, rule: &SetRule) {
        let pinned = self.lake.pin();
        let (layer, dataset) = (contract.layer.as_str(), contract.dataset.as_str());
        let Some(rows) = pinned.provider(layer, dataset) else { return };
        let store = Arc::clone(self.lake.store());
        let scope = RuleScope { contract, rows, others: pinned, store };
        for result in evaluate([rule], &scope).await {
            self.events.send(measured(contract, "table", &result));
            let key = (contract.dataset.clone(), result.rule.clone());
            let before = self.last.insert(key, result.outcome.clone());
            if before.as_ref() == Some(&result.outcome) {
                continue;
            }
            let (rule, got, want) = (&result.rule, result.found(), &result.want);
            match &result.outcome {
                SetOutcome::Passed if before.is_none() => {}
                SetOutcome::Passed => tracing::info!(dataset, rule, got, want, "a rule about the table holds again"),
                _ => tracing::warn!(dataset, rule, got, want, "a rule about the table does not hold"),
            }
        }
    }
}

/// A result as it is told.
#[must_use]
pub fn measured(contract: &Contract, scope: &str, result: &SetResult) -> Event {
    Event::Measured {
        dataset: contract.dataset.as_str().into(),
        rule: result.rule.as_str().into(),
        severity: result.severity.as_str(),
        scope: scope.into(),
        got: result.got,
        want: result.want.as_str().into(),
        passed: match result.outcome {
            SetOutcome::Passed => Some(true),
            SetOutcome::Broken => Some(false),
            SetOutcome::NotEvaluated(_) => None,
        },
    }
}
