//! Whether the decisions that contracts bind their rows to are there, with the columns that are asked for.
//!
//! Needs the whole project. Invariant: a project whose consent cannot be looked up does not start.

use std::collections::BTreeMap;

use super::ContractSource;
use crate::compile::consent::is_id;
use crate::consent::Consent;
use crate::contract::{ColumnType, Contract, DatasetName};
use crate::diagnostic::Diagnostic;

/// Looks at each.
pub(super) fn check(compiled: &[(Option<Contract>, ContractSource)], found: &mut Vec<Diagnostic>) {
    let datasets: BTreeMap<&DatasetName, Option<&Contract>> =
        compiled.iter().map(|(contract, source)| (&source.dataset, contract.as_ref())).collect();
    for (contract, source) in compiled {
        let Some(consent) = contract.as_ref().and_then(|contract| contract.consent.as_ref()) else { continue };
        let place = source.places.consent.unwrap_or(source.name);
        let message = match datasets.get(&consent.dataset) {
            None => Some(format!(
                "there is no dataset {} in the project, whose decisions this one is bound to",
                consent.dataset
            )),
            // Its own contract has errors, which are said there.
            Some(None) => None,
            Some(Some(decisions)) => contract.as_ref().and_then(|contract| misfit(contract, consent, decisions)),
        };
        if let Some(message) = message {
            let help = "name a dataset with the columns subject, purpose, decision (boolean or text) and time (a timestamp or date)";
            found.push(source.error_in(place, "bad-consent", message).help(help));
        }
    }
}

/// Whether a column of a type can be what a consent needs.
type Fits = fn(&ColumnType) -> bool;

fn misfit(contract: &Contract, consent: &Consent, decisions: &Contract) -> Option<String> {
    let kind = |name: &str| decisions.columns.iter().find(|column| *column.name == *name).map(|column| &column.kind);
    let own = contract.columns.get(consent.own).map(|column| &column.kind);
    let same = |of: &ColumnType| own.is_some_and(|own| own.arrow() == of.arrow());
    let wants: [(&str, Fits); 4] = [
        (&consent.subject, is_id),
        (&consent.purpose, |kind| matches!(kind, ColumnType::String)),
        (&consent.decision, |kind| matches!(kind, ColumnType::String | ColumnType::Boolean)),
        (&consent.time, |kind| matches!(kind, ColumnType::Timestamp(_) | ColumnType::Date(_))),
    ];
    for (name, fits) in wants {
        match kind(name) {
            None => return Some(format!("{} has no column `{name}`", consent.dataset)),
            Some(kind) if !fits(kind) => {
                return Some(format!(
                    "the column `{name}` of {} has another type than a consent needs",
                    consent.dataset
                ));
            }
            Some(_) => {}
        }
    }
    if !kind(&consent.subject).is_some_and(same) {
        return Some(format!("the ids of this dataset and of {} have different types", consent.dataset));
    }
    if contract.dataset == consent.dataset {
        return Some("a dataset of decisions cannot be bound to itself".to_owned());
    }
    None
}
