//! How everything is now: the process's status, gates, alerts, feeds, and what came in.
//!
//! Invariant: it waits for nothing that is away; what cannot be had now is left as it last was.

use std::time::Duration;

use tokio::time::timeout;
use vitalake_contract::Layer;
use vitalake_ops::alerts::report::AlertReport;
use vitalake_ops::deliveries::{LedgerEntry, LedgerQuery};
use vitalake_ops::gates::HELD;
use vitalake_ops::status::{DatasetStatus, FAILED, RECOVERING, STALLED};
use vitalake_ops::tables::OpsTable;
use vitalake_runtime::error::in_full;
use vitalake_serve::console::facts::{CameIn, DatasetNow, Series, Today};
use vitalake_serve::platform::{Alerts as _, Deliveries as _, Feeds as _, Status as _};

use super::super::outside::instant;
use super::flow::{Flow, STEP_MS};
use super::{ConsoleDesk, ops_version};

/// How long it is waited for what is not in memory.
const WAITED_MAX: Duration = Duration::from_secs(1);
/// Deliveries that are shown.
const DELIVERIES_SHOWN: usize = 10;

impl ConsoleDesk {
    pub(super) async fn now(&self) -> Today {
        let now_ms = self.setup.clock.now_ms();
        let _late = timeout(WAITED_MAX, self.take_up()).await;
        let status = self.platform.status().await;
        let alerts = self.alerts_now().await;
        Today {
            at: instant(now_ms).unwrap_or_default(),
            waiting_for: status.waiting_for,
            gates: status.datasets.iter().filter_map(|dataset| dataset.gate.clone()).collect(),
            datasets: status.datasets.iter().map(|dataset| self.dataset_now(dataset, now_ms)).collect(),
            alerts: alerts.into_iter().filter(is_told).collect(),
            feeds: self.platform.feeds().await.unwrap_or_default(),
            came_in: self.came_in(&status.datasets, now_ms),
            deliveries: self.last_deliveries().await,
        }
    }

    /// The alerts; as they last were where the lake that has them does not answer.
    async fn alerts_now(&self) -> Vec<AlertReport> {
        match timeout(WAITED_MAX, self.alerts.list()).await {
            Ok(Ok(alerts)) => {
                *self.last_alerts.lock() = alerts.clone();
                alerts
            }
            _ => self.last_alerts.lock().clone(),
        }
    }

    /// Reads what came before the process began, once.
    async fn take_up(&self) {
        let Some(since_ms) = self.flow.missing_since().filter(|_| self.platform.is_ready()) else { return };
        match self.platform.recorder().brought_since(since_ms).await {
            Ok(before) => self.flow.take_up(&before),
            Err(error) => tracing::debug!(error = in_full(&error), "what came within the last hour is not known yet"),
        }
    }

    fn dataset_now(&self, status: &DatasetStatus, now_ms: i64) -> DatasetNow {
        let described = self.known().datasets.iter().find(|known| known.contract.dataset.as_str() == status.dataset);
        let sla_ms = described.and_then(|described| described.contract.sla.freshness);
        let sla_ms = sla_ms.and_then(|sla| i64::try_from(sla.as_millis()).ok());
        let freshness_ms = status.freshness_seconds.map(|seconds| (seconds * 1_000.0) as i64);
        let course = self.flow.course(&format!("{}.{}", status.layer, status.dataset), now_ms);
        let is_counted = described.is_some_and(|described| described.contract.layer != Layer::Serving);
        DatasetNow {
            name: status.dataset.clone(),
            layer: status.layer.clone(),
            state: state(status, freshness_ms, sla_ms),
            freshness_ms,
            sla_ms,
            rows: Some(status.rows),
            rows_last_hour: is_counted.then(|| course.iter().map(|came| came.accepted).sum()),
            quarantined: Some(status.quarantined),
            quarantined_last_hour: is_counted.then(|| course.iter().map(|came| came.quarantined).sum()),
            reason: reason(status, freshness_ms, sla_ms),
        }
    }

    /// What came into raw datasets; rows that no commit holds yet are of now.
    fn came_in(&self, datasets: &[DatasetStatus], now_ms: i64) -> CameIn {
        let raw = datasets.iter().filter(|status| status.layer == Layer::Raw.as_str());
        let series = raw.map(|status| {
            let dataset = format!("{}.{}", status.layer, status.dataset);
            let mut counts: Vec<u64> = self.flow.course(&dataset, now_ms).iter().map(|came| came.accepted).collect();
            if let Some(last) = counts.last_mut() {
                *last += status.tail_rows;
            }
            Series { dataset, counts }
        });
        let from = instant(Flow::from_ms(now_ms)).unwrap_or_default();
        CameIn { from, step_ms: STEP_MS.unsigned_abs(), series: series.collect() }
    }

    /// The last deliveries; their table is read when it has changed.
    async fn last_deliveries(&self) -> Vec<LedgerEntry> {
        let version = self.platform.life().and_then(|life| ops_version(&life, OpsTable::Deliveries));
        {
            let known = self.deliveries.lock();
            if version.is_none() || known.0 == version {
                return known.1.clone();
            }
        }
        let query = LedgerQuery { limit: Some(DELIVERIES_SHOWN), ..LedgerQuery::default() };
        match timeout(WAITED_MAX, self.platform.ledger(query)).await {
            Ok(Ok(entries)) => {
                *self.deliveries.lock() = (version, entries.clone());
                entries
            }
            _ => self.deliveries.lock().1.clone(),
        }
    }
}

/// Whether an alert is one of now.
fn is_told(alert: &AlertReport) -> bool {
    alert.open || alert.state != "resolved"
}

/// A dataset's state in one word, the worst first.
fn state(status: &DatasetStatus, freshness_ms: Option<i64>, sla_ms: Option<i64>) -> &'static str {
    match status.state.as_str() {
        FAILED | STALLED => "trouble",
        RECOVERING => "waiting",
        _ if status.gate.as_ref().is_some_and(|gate| gate.state == HELD) => "held",
        _ if freshness_ms.is_none() && status.rows == 0 => "waiting",
        _ if freshness_ms.zip(sla_ms).is_some_and(|(age, most)| age > most) => "stale",
        _ => "fresh",
    }
}

/// Why a dataset is not well.
fn reason(status: &DatasetStatus, freshness_ms: Option<i64>, sla_ms: Option<i64>) -> Option<String> {
    if status.error.is_some() {
        return status.error.clone();
    }
    let held = status.gate.as_ref().filter(|gate| gate.state == HELD).map(|gate| {
        let reasons = gate.reasons.iter().map(|why| format!("{}: {} in place of {}", why.rule, why.got, why.want));
        reasons.collect::<Vec<_>>().join("; ")
    });
    held.or_else(|| {
        let (age, most) = freshness_ms.zip(sla_ms).filter(|(age, most)| age > most)?;
        let minutes = |ms: i64| ms / 60_000;
        Some(format!("the newest row is {} min old, and may be {} min old", minutes(age), minutes(most)))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use vitalake_ops::gates::GateReport;

    use super::*;

    #[rstest]
    #[case::well("ok", 10, None, Some(1_000), "fresh")]
    #[case::old("ok", 10, None, Some(9_000), "stale")]
    #[case::held_and_old("ok", 10, Some(HELD), Some(9_000), "held")]
    #[case::passed("ok", 10, Some("passed"), Some(1_000), "fresh")]
    #[case::empty("ok", 0, None, None, "waiting")]
    #[case::recovering("recovering", 10, Some(HELD), None, "waiting")]
    #[case::stalled("stalled", 10, Some(HELD), None, "trouble")]
    #[case::failed("failed", 0, None, None, "trouble")]
    fn the_worst_is_told_first(
        #[case] state_of: &str,
        #[case] rows: u64,
        #[case] gate: Option<&str>,
        #[case] age: Option<i64>,
        #[case] want: &str,
    ) {
        let gate = gate.map(|state| GateReport { state: state.to_owned(), ..GateReport::default() });
        let status = DatasetStatus { state: state_of.to_owned(), rows, gate, ..DatasetStatus::default() };
        assert_eq!(state(&status, age, Some(5_000)), want);
    }
}
