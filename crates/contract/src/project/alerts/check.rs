//! What only the rest of the project shows of alerts: their datasets, and what the contracts of these say.
//!
//! Invariant: without a finding every alert has an owner.

use super::{ALERTS_MAX, AlertFile};
use crate::alert::{AlertSource, Signal};
use crate::contract::{Contract, Layer, Source};
use crate::diagnostic::Diagnostic;
use crate::project::feeds::FeedFile;
use crate::verdict::nearest;

/// What only the project shows: a dataset that is not there, a threshold that neither alert nor contract gives, too
/// many alerts.
pub(in crate::project) fn check(
    alerts: &mut [AlertFile],
    contracts: &[&Contract],
    feeds: &[FeedFile],
    found: &mut Vec<Diagnostic>,
) {
    if let Some(first) = alerts.get(ALERTS_MAX) {
        let message = format!("the project has {} alerts, and at most {ALERTS_MAX} are evaluated", alerts.len());
        found.push(
            first
                .error_at("name", "too-many-alerts", message)
                .help("let one alert be about many datasets, or one query give many rows"),
        );
    }
    for alert in alerts {
        let Some(named) = &alert.rule.dataset else { continue };
        let contract = contracts.iter().find(|c| c.layer == named.layer && c.dataset == named.name);
        let Some(contract) = contract else {
            let names: Vec<String> = contracts.iter().map(|c| format!("{}.{}", c.layer, c.dataset)).collect();
            let help = match nearest(&named.to_string(), names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a dataset that has a contract".to_owned(),
            };
            found.push(alert.error_at("dataset", "unknown-dataset", format!("there is no dataset {named}")).help(help));
            continue;
        };
        if alert.rule.owner.is_empty() {
            match &contract.team {
                Some(team) => alert.rule.owner.clone_from(team),
                None => {
                    let message = "the alert has no `owner`, and the contract of its dataset no team with a name";
                    let help = "name the team that it goes to, here or as `team: {name: …}` in the contract";
                    found.push(alert.error_at("dataset", "missing-key", message).help(help));
                }
            }
        }
        if let AlertSource::Signal(signal) = alert.rule.source {
            found.extend(unfit(alert, signal, contract, feeds));
        }
    }
}

fn unfit(alert: &AlertFile, signal: Signal, contract: &Contract, feeds: &[FeedFile]) -> Option<Diagnostic> {
    let (unbound, feed) = (alert.rule.threshold.is_none(), matches!(contract.source, Some(Source::Feed)));
    match signal {
        Signal::FeedLate if !feed => {
            let message = format!("{} is no feed: records come into it all day", contract.dataset);
            Some(alert.error_at("dataset", "bad-dataset", message).help("use the signal freshness"))
        }
        Signal::FeedLate
            if feeds.iter().any(|file| file.feed.dataset == contract.dataset && file.feed.due.is_some()) =>
        {
            None
        }
        Signal::Freshness | Signal::FeedLate
            if unbound && alert.rule.schedule.is_none() && contract.sla.freshness.is_none() =>
        {
            let message = format!("nothing says how old {} may be", contract.dataset);
            Some(
                alert
                    .error_at("signal", "missing-key", message)
                    .help("give a `threshold`, a freshness SLA in the contract, or `due` in its feed"),
            )
        }
        Signal::Volume if contract.layer != Layer::Raw && contract.time_column.is_none() => {
            let message = format!("{} has no time to count its rows by", contract.dataset);
            Some(alert.error_at("dataset", "bad-dataset", message).help("give its contract a `timeColumn`"))
        }
        _ => None,
    }
}
