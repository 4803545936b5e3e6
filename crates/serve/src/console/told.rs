//! Facts as somebody is told them: cut to the datasets, rows and columns that he sees.
//!
//! Pure. Invariant: a column that somebody cannot name in a query is named in no answer, nor is a dataset that is not there
//! for him; words that may hold what a rule has found are for those who watch the platform.

use serde::Serialize;
use serde_json::json;

use super::facts::{DatasetNow, Today};
use crate::policy::Seen;

/// An answer's bytes; what cannot be written as JSON is nothing.
pub(super) fn written(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_else(|_| b"null".to_vec())
}

/// Whether a dataset is there, by its name with its layer.
pub(crate) fn sees(seen: &Seen, dataset: &str) -> bool {
    dataset.split_once('.').is_some_and(|(layer, name)| seen.table(layer, name))
}

/// How everything is.
pub(super) fn today(today: &Today, seen: &Seen) -> Vec<u8> {
    let watches = seen.watches();
    let datasets = today.datasets.iter().filter_map(|now| dataset_now(now, seen));
    let held = today.gates.iter().filter(|gate| gate.state == "held" && sees(seen, &gate.dataset)).map(|gate| {
        let reasons = if watches { json!(gate.reasons) } else { json!([]) };
        json!({"dataset": gate.dataset, "since": gate.since, "reasons": reasons, "by": gate.by.as_ref().filter(|_| watches)})
    });
    let series = today
        .came_in
        .series
        .iter()
        .filter(|series| series.dataset.split_once('.').is_some_and(|(layer, name)| seen.all_rows(layer, name)));
    let alerts = today.alerts.iter().filter(|_| watches);
    let alerts = alerts.map(|alert| {
        json!({
            "fingerprint": alert.fingerprint, "alert": alert.alert, "state": alert.state, "open": alert.open,
            "dataset": alert.dataset, "severity": alert.severity, "since": alert.since, "summary": alert.summary,
            "runbook": alert.runbook, "owner": alert.owner, "acknowledged_by": alert.acknowledged_by,
            "silenced_until": alert.silenced_until, "inhibited_by": alert.inhibited_by,
        })
    });
    let feeds = today.feeds.iter().filter(|_| watches).map(|feed| {
        json!({
            "name": feed.feed, "dataset": feed.dataset, "state": feed.state, "due": feed.next_due_at,
            "late_since": feed.late_since, "late_by_ms": late_by_ms(feed.late_since.as_deref(), &today.at),
            "last": feed.last_delivery_at, "message": feed.message,
        })
    });
    written(&json!({
        "at": today.at,
        "ready": today.waiting_for.is_empty(),
        "waiting_for": if watches { today.waiting_for.clone() } else { Vec::new() },
        "datasets": datasets.collect::<Vec<_>>(),
        "held": held.collect::<Vec<_>>(),
        "alerts": alerts.collect::<Vec<_>>(),
        "feeds": feeds.collect::<Vec<_>>(),
        "came_in": {
            "from": today.came_in.from,
            "step_ms": today.came_in.step_ms,
            "series": series.collect::<Vec<_>>(),
        },
        "deliveries": today.deliveries.iter().filter(|_| watches).collect::<Vec<_>>(),
    }))
}

/// How a dataset is; none where it is not there.
pub(super) fn dataset_now(now: &DatasetNow, seen: &Seen) -> Option<DatasetNow> {
    let (layer, name) = (now.layer.as_str(), now.name.as_str());
    if !seen.table(layer, name) {
        return None;
    }
    let (watches, whole) = (seen.watches(), seen.all_rows(layer, name));
    let rejects = watches || seen.table("quarantine", name);
    Some(DatasetNow {
        freshness_ms: now.freshness_ms.filter(|_| whole),
        rows: now.rows.filter(|_| whole),
        rows_last_hour: now.rows_last_hour.filter(|_| whole),
        quarantined: now.quarantined.filter(|_| rejects),
        quarantined_last_hour: now.quarantined_last_hour.filter(|_| rejects),
        reason: now.reason.clone().filter(|_| watches),
        ..now.clone()
    })
}

/// For how long a delivery is late.
fn late_by_ms(since: Option<&str>, at: &str) -> Option<i64> {
    let moment = |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis());
    Some((moment(at)? - moment(since?)?).max(0))
}
