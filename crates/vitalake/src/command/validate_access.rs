//! What `validate` says of access: roles that contracts name, classes that a model inherits, and rows of others that a
//! model would show.
//!
//! Invariant: what passes here is what the platform starts with.

use std::collections::BTreeSet;

use vitalake_contract::access::Predicate;
use vitalake_contract::{Contract, ContractSource, Diagnostic, Project};
use vitalake_process::{Contracts, Model, Origins, origins, with_inherited_classes};
use vitalake_runtime::config::Config;
use vitalake_runtime::config::access::Access as Settings;
use vitalake_serve::policy::Access;

/// Finds what is wrong with who may see what, where anything is said of it.
pub(super) fn check_access(project: &Project, models: &[Model], config: Option<&Config>, found: &mut Vec<Diagnostic>) {
    let Some(settings) = config.map(|config| &config.access).filter(|access| access.is_given()) else { return };
    let contracts: Contracts = project.contracts.iter().map(|c| (c.dataset.clone(), c.clone())).collect();
    if let Err(problem) = Access::new(settings, contracts.values().map(AsRef::as_ref)) {
        let file = problem.dataset().and_then(|dataset| project.contract_source(dataset));
        found.push(match file {
            Some(source) => at_contract(source, Diagnostic::error(&source.path, "access", problem.to_string())),
            None => Diagnostic::error("vitalake.yaml", "access", problem.to_string()),
        });
    }
    let classed = with_inherited_classes(models, &contracts);
    for contract in contracts.values() {
        let (Some(inherited), Some(source)) =
            (classed.get(&contract.dataset), project.contract_source(contract.dataset.as_str()))
        else {
            continue;
        };
        found.extend(raised(contract, inherited, source));
    }
    for model in models {
        found.extend(rows_of_others(model, &contracts, settings, project));
    }
}

fn at_contract(source: &ContractSource, finding: Diagnostic) -> Diagnostic {
    finding.at(&source.text, source.name.line, source.name.column, source.name.length)
}

/// Columns whose contract says less than what they are computed from.
fn raised<'c>(
    contract: &'c Contract,
    inherited: &'c Contract,
    source: &'c ContractSource,
) -> impl Iterator<Item = Diagnostic> + 'c {
    let columns = contract.columns.iter().zip(&inherited.columns).enumerate();
    columns.filter_map(|(index, (said, held))| {
        let (class, held) = (said.classification?, held.classification?);
        if class >= held {
            return None;
        }
        let message = format!(
            "the column `{}` says {} and is computed from what is {}: it is held as that",
            said.name,
            class.as_str(),
            held.as_str()
        );
        let place = source.places.columns.get(index).copied().unwrap_or(source.name);
        let finding = Diagnostic::warning(&source.path, "stricter-origin", message);
        let help = format!(
            "write `classification: {}`, or say why not: the customProperty `declassified` with the reason",
            held.as_str()
        );
        Some(finding.at(&source.text, place.line, place.column, place.length).help(help))
    })
}

/// A role that sees some rows of an input must not see what a model makes of the others: what it reads of the model's
/// dataset has to be filtered by columns that come from those of the input's filter.
fn rows_of_others(model: &Model, contracts: &Contracts, settings: &Settings, project: &Project) -> Vec<Diagnostic> {
    let (Some(contract), Some(source)) =
        (contracts.get(&model.dataset), project.contract_source(model.dataset.as_str()))
    else {
        return Vec::new();
    };
    let origins = origins(model, contracts).unwrap_or_default();
    let inputs = model.tables.iter().filter_map(|table| {
        contracts.iter().find(|(name, _)| name.as_str() == table.table).map(|(_, contract)| contract)
    });
    let mut found = Vec::new();
    for input in inputs {
        let filtered = input.readers.iter().filter_map(|reader| Some((&reader.role, reader.rows.as_ref()?)));
        for (role, rows) in filtered.filter(|(role, _)| reads(role, contract, settings)) {
            let own =
                contract.readers.iter().find(|reader| reader.role == *role).and_then(|reader| reader.rows.as_ref());
            if own.is_some_and(|own| covers(own, rows, (contract, input), &origins)) {
                continue;
            }
            let message = format!(
                "the role `{role}` sees some rows of {}.{} and would see what {}.{} makes of all of them",
                input.layer, input.dataset, contract.layer, contract.dataset
            );
            let help = format!(
                "keep the columns of its rowFilter in the model and filter `{role}` by them under `roles` here, or list roles without `{role}`"
            );
            let finding = Diagnostic::error(&source.path, "rows-of-others", message).help(help);
            found.push(at_contract(source, finding));
        }
    }
    found
}

/// Whether a role reads a dataset.
fn reads(role: &str, contract: &Contract, settings: &Settings) -> bool {
    if contract.readers.is_empty() {
        return settings.roles.get(role).is_some_and(|role| role.layers.contains(contract.layer.as_str()));
    }
    contract.readers.iter().any(|reader| reader.role == role)
}

/// Whether a filter asks for columns that carry each column of another, unchanged in name and number.
fn covers(
    own: &Predicate,
    rows: &Predicate,
    (contract, input): (&Contract, &Contract),
    origins: &std::collections::BTreeMap<String, Origins>,
) -> bool {
    let name = |contract: &Contract, index: usize| contract.columns.get(index).map(|c| c.name.to_lowercase());
    let asked: BTreeSet<String> = own.columns().into_iter().filter_map(|index| name(contract, index)).collect();
    rows.columns().into_iter().filter_map(|index| name(input, index)).all(|column| {
        let from = (input.dataset.clone(), column);
        asked.iter().any(|own| origins.get(own).is_some_and(|all| all.len() == 1 && all.contains(&from)))
    })
}
