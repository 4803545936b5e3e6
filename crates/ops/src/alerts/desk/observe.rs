//! What the desk makes of facts and of answers: observations of each alert, and whose an alert is.
//!
//! Asked for by `tick`, which gives them to the book. Invariant: what could not be evaluated is observed as unknown, never
//! as well.

use std::collections::{BTreeMap, BTreeSet};

use super::Desk;
use crate::alerts::ask::Row;
use crate::alerts::book::{Awaited, Identity, Moment, Observed};
use crate::alerts::machine::Observation;
use crate::alerts::rule::{PLATFORM_TEAM, Rule};
use crate::alerts::signal::{Facts, look};

impl Desk {
    pub(super) fn with_volumes(&self, mut facts: Facts) -> Facts {
        let counted = self.volumes.lock();
        for facts in &mut facts.datasets {
            facts.volume = counted.get(&facts.dataset).map(|(_, volume)| volume.clone());
        }
        facts
    }

    /// What is seen now, and the names of the alerts that were evaluated.
    pub(super) fn observations(&self, facts: &Facts, now: Moment) -> (Vec<Observed>, BTreeSet<String>) {
        let (mut observed, mut evaluated) = (Vec::new(), BTreeSet::new());
        let mut rates = self.rates.lock();
        rates.keep(facts, now.steady_ms);
        let mut asked = std::mem::take(&mut *self.asked.lock());
        let all_ready = !facts.datasets.is_empty() && facts.datasets.iter().all(|dataset| dataset.ready);
        for rule in &self.setup.rules {
            let name = &rule.alert.name;
            if let Some(signal) = rule.signal() {
                // A dataset that is not among those that are there has left the project, and its alert with it.
                if all_ready {
                    evaluated.insert(name.clone());
                }
                let seen = look(rule, signal, facts, &rates, now.wall_ms).into_iter();
                observed.extend(seen.map(|seen| {
                    let dataset = seen.dataset.map(|dataset| dataset.to_string());
                    let labels = dataset.iter().map(|dataset| ("dataset".to_owned(), dataset.clone())).collect();
                    let identity = self.identity(rule, dataset, labels);
                    Observed { identity, observation: seen.observation, timing: rule.timing(), young: seen.young }
                }));
            } else if let Some((at_ms, rows)) = asked.remove(name) {
                self.seen.lock().insert(name.clone(), at_ms);
                let failed = rows.iter().any(|row| matches!(row.observation, Observation::Unknown(_)));
                if failed {
                    observed.extend(self.all_unknown(rule, &rows));
                } else {
                    evaluated.insert(name.clone());
                    observed.extend(rows.into_iter().map(|row| self.observed_row(rule, row)));
                }
            }
        }
        (observed, evaluated)
    }

    /// The alerts in SQL about one dataset, and up to when what they ask for was seen.
    pub(super) fn awaited(&self) -> Vec<Awaited> {
        let seen = self.seen.lock();
        let of = |rule: &Rule| {
            let dataset = rule.alert.dataset.as_ref().filter(|_| rule.signal().is_none())?.name.to_string();
            let (receivers, seen_ms) = (rule.receivers.clone(), seen.get(&rule.alert.name).copied());
            Some(Awaited { dataset, receivers, seen_ms })
        };
        self.setup.rules.iter().filter_map(of).collect()
    }

    /// A query that failed leaves every alert of it as it is, unseen.
    fn all_unknown(&self, rule: &Rule, rows: &[Row]) -> Vec<Observed> {
        let book = self.book.lock();
        let known = book.instances.values().filter(|instance| instance.identity.alert == rule.alert.name);
        let mut identities: Vec<Identity> = known.map(|instance| instance.identity.clone()).collect();
        if identities.is_empty() {
            identities.push(self.identity(rule, rule.alert.dataset.as_ref().map(ToString::to_string), BTreeMap::new()));
        }
        let why = rows.first().map(|row| row.observation.clone());
        let observation = why.unwrap_or(Observation::Unknown(String::new()));
        let one =
            |identity| Observed { identity, observation: observation.clone(), timing: rule.timing(), young: false };
        identities.into_iter().map(one).collect()
    }

    fn observed_row(&self, rule: &Rule, row: Row) -> Observed {
        let dataset = row.dataset.or_else(|| rule.alert.dataset.as_ref().map(ToString::to_string));
        let identity = self.identity(rule, dataset, row.labels);
        Observed { identity, observation: row.observation, timing: rule.timing(), young: false }
    }

    fn identity(&self, rule: &Rule, dataset: Option<String>, labels: BTreeMap<String, String>) -> Identity {
        Identity {
            alert: rule.alert.name.clone(),
            owner: self.owner(rule, dataset.as_deref()),
            dataset,
            labels,
            severity: rule.alert.severity.as_str().to_owned(),
            runbook: rule.alert.runbook.clone(),
            group: rule.alert.group.clone(),
            receivers: rule.receivers.clone(),
        }
    }

    /// Whom an alert goes to: as it says, else the team of its dataset.
    pub(in crate::alerts) fn owner(&self, rule: &Rule, dataset: Option<&str>) -> String {
        let team = || dataset.and_then(|dataset| self.setup.teams.get(dataset)).map_or(PLATFORM_TEAM, String::as_str);
        if rule.alert.owner.is_empty() { team().to_owned() } else { rule.alert.owner.clone() }
    }
}
