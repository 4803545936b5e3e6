//! What `validate` says of persons: datasets that derive from rows about persons and no longer say whose they are.
//!
//! Such rows are still erased, as what they are made of is; but nobody finds them by the id alone. Invariant: a project in
//! which no contract names a person hears nothing of it.

use vitalake_contract::{Contract, ContractSource, Diagnostic, Project};
use vitalake_process::{Contracts, Kind, Model, carried};

use super::validate::contracts_of;

/// Finds derived datasets that carry a person's column without saying so, or have lost it.
pub(super) fn check_subjects(project: &Project, models: &[Model], found: &mut Vec<Diagnostic>) {
    let contracts = contracts_of(project);
    if contracts.values().all(|contract| contract.subjects().next().is_none()) {
        return;
    }
    for model in models {
        let Some(contract) = contracts.get(&model.dataset) else { continue };
        let Some(source) = project.contract_source(contract.dataset.as_str()) else { continue };
        found.extend(of_model(model, (contract, source), &contracts));
    }
}

fn of_model(model: &Model, (contract, source): (&Contract, &ContractSource), contracts: &Contracts) -> Vec<Diagnostic> {
    let of_inputs: Vec<(String, String)> = contracts
        .values()
        .filter(|input| model.tables.iter().any(|table| table.table == input.dataset.as_str()))
        .flat_map(|input| input.subjects().map(|column| (input.dataset.to_string(), column.name.to_lowercase())))
        .collect();
    if of_inputs.is_empty() {
        return Vec::new();
    }
    let carried = carried(model, contracts);
    let origin = |name: &str| {
        let from = carried.get(&name.to_lowercase())?;
        of_inputs.iter().find(|(dataset, column)| from.0.as_str() == dataset && from.1 == *column)
    };
    let mut found = Vec::new();
    for (index, column) in contract.columns.iter().enumerate().filter(|(_, column)| !column.subject) {
        let Some((dataset, from)) = origin(&column.name) else { continue };
        let message =
            format!("the column `{}` is {dataset}.{from}, which names a person, and does not say so", column.name);
        let place = source.places.columns.get(index).copied().unwrap_or(source.name);
        let finding = Diagnostic::warning(&source.path, "unmarked-subject", message);
        let help = "write the customProperty `subject: true` under it (docs/erasure.md)";
        found.push(finding.at(&source.text, place.line, place.column, place.length).help(help));
    }
    let names_somebody = contract.subjects().next().is_some() || !found.is_empty();
    if !names_somebody && model.kind != Kind::Rollup {
        let message = format!(
            "the rows of {}.{} are made of rows about persons, and no column says about whom",
            contract.layer, contract.dataset
        );
        let help =
            "an erasure finds them by what they are made of alone; keep the person's column as it is, if you can";
        let finding = Diagnostic::warning(&source.path, "lost-subject", message).help(help);
        found.push(finding.at(&source.text, source.name.line, source.name.column, source.name.length));
    }
    found
}
