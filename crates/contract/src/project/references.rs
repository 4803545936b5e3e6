//! References between datasets become rules about sets: how many rows have a key that the other dataset does not have.
//!
//! Needs the whole project, as a contract names the other dataset without its layer. Invariant: a rule's query names
//! datasets and columns that are there.

use std::collections::BTreeMap;

use super::ContractSource;
use crate::compile::sql::column_name;
use crate::contract::{Column, Contract, DatasetName, Reference};
use crate::diagnostic::Diagnostic;
use crate::rule::{Measure, Must, SetRule};

/// A dataset that others refer to: the layer and the columns; no columns where its own contract has errors.
type Target = (&'static str, Option<Vec<Column>>);

/// Adds a rule for every reference to its contract.
pub(super) fn resolve(compiled: &mut [(Option<Contract>, ContractSource)], found: &mut Vec<Diagnostic>) {
    let targets: BTreeMap<DatasetName, Target> = compiled
        .iter()
        .map(|(contract, source)| {
            let columns = contract.as_ref().map(|contract| contract.columns.clone());
            (source.dataset.clone(), (source.layer.as_str(), columns))
        })
        .collect();
    for (contract, source) in compiled {
        let Some(contract) = contract else { continue };
        let mut rules = Vec::new();
        for (reference, place) in contract.references.iter().zip(&source.places.references) {
            match rule(contract, reference, &targets) {
                Ok(rule) => rules.extend(rule),
                Err((message, help)) => found.push(source.error_in(*place, "bad-reference", message).help(help)),
            }
        }
        contract.set_rules.append(&mut rules);
    }
}

fn rule(
    contract: &Contract,
    reference: &Reference,
    targets: &BTreeMap<DatasetName, Target>,
) -> Result<Option<SetRule>, (String, String)> {
    let Some((layer, columns)) = targets.get(&reference.dataset) else {
        let message = format!("there is no dataset {} in the project", reference.dataset);
        return Err((
            message,
            format!("add its contract, or correct the name: contracts/LAYER/{}.yaml", reference.dataset),
        ));
    };
    let Some(columns) = columns else { return Ok(None) };
    let (mut equal, mut there) = (Vec::new(), Vec::new());
    for (index, key) in reference.columns.iter().zip(&reference.keys) {
        let Some(own) = contract.columns.get(*index) else { continue };
        let Some(other) = columns.iter().find(|column| *column.name == **key) else {
            let message = format!("{layer}.{} has no column `{key}`", reference.dataset);
            return Err((message, "name a column of its contract".to_owned()));
        };
        if own.kind.arrow() != other.kind.arrow() {
            let message = format!("`{}` and {}.{key} have different types", own.name, reference.dataset);
            return Err((message, "give both columns one logicalType".to_owned()));
        }
        let own = column_name(&own.name);
        equal.push(format!("child.{own} = parent.{}", column_name(&other.name)));
        there.push(format!("child.{own} IS NOT NULL"));
    }
    let query = format!(
        "SELECT COUNT(*) FROM {{object}} AS child LEFT ANTI JOIN {layer}.{} AS parent ON {} WHERE {}",
        reference.dataset,
        equal.join(" AND "),
        there.join(" AND ")
    );
    let (measure, must, severity) = (Measure::Sql(query), Must::Be(0.0), reference.severity);
    Ok(Some(SetRule { name: reference.name.clone(), measure, must, severity, schedule: None }))
}
