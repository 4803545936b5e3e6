//! What `validate` says of access: roles that contracts name, classes that a model inherits, and rows of others that a
//! model would show.
//!
//! Invariant: what passes here is what the platform starts with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vitalake_contract::access::Predicate;
use vitalake_contract::{Contract, ContractSource, Diagnostic, Project};
use vitalake_process::{ColumnName, Contracts, Graph, Model, carried, with_inherited_classes};
use vitalake_runtime::config::Config;
use vitalake_runtime::config::access::Access as Settings;
use vitalake_serve::names::check_hashes;
use vitalake_serve::policy::Access;

use super::validate::{CheckedProject, contracts_of};
use super::validate_consent::check_consent;
use crate::failure::Failure;

/// Who may see what of a project, with the classes that its models inherit. Nothing is planned where nothing is said of it.
///
/// # Errors
/// When what is said cannot be kept.
pub fn access_of(checked: &CheckedProject, settings: &Settings) -> anyhow::Result<Arc<Access>> {
    if !settings.is_given() {
        return Ok(Arc::default());
    }
    let classed = with_inherited_classes(&checked.models, &contracts_of(&checked.project));
    let access = Access::new(settings, classed.values().map(AsRef::as_ref));
    Ok(Arc::new(access.map_err(|problem| Failure::input(problem.to_string(), ""))?))
}

/// Finds what is wrong with who may see what, where anything is said of it.
pub(super) fn check_access(project: &Project, models: &[Model], config: Option<&Config>, found: &mut Vec<Diagnostic>) {
    let contracts = contracts_of(project);
    check_consent(project, models, &contracts, found);
    let Some(settings) = config.map(|config| &config.access).filter(|access| access.is_given()) else { return };
    if let Err(problem) = Access::new(settings, contracts.values().map(AsRef::as_ref)) {
        let file = problem.dataset().and_then(|dataset| project.contract_source(dataset));
        found.push(match file {
            Some(source) => at_contract(source, Diagnostic::error(&source.path, "access", problem.to_string())),
            None => Diagnostic::error("vitalake.yaml", "access", problem.to_string()),
        });
    }
    if let Err(wrong) = check_hashes(settings) {
        found.push(Diagnostic::error("vitalake.yaml", "access", wrong.to_string()));
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
    found.extend(rows_of_others(models, &contracts, settings, project));
    if !settings.is_required() {
        let message = "access.roles are written, and no client or issuer is listed: whoever reaches the loopback address sees everything";
        let finding = Diagnostic::warning("vitalake.yaml", "nobody-listed", message);
        found.push(finding.help("list clients under access.clients; `vitalake token` makes the lines"));
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

/// What a role must not see of a dataset: rows that a filter hides, of it or of what it is made of.
#[derive(Clone, Debug)]
struct Hidden {
    /// The filter over this dataset's columns; none where its columns cannot tell the rows apart.
    rows: Option<Predicate>,
    /// Whose filter it is.
    of: String,
}

/// A role that sees some rows of a dataset must not see what models make of the others, however far: a dataset that it reads
/// has to filter it by the same condition, over columns that carry those of the filter unchanged.
fn rows_of_others(models: &[Model], contracts: &Contracts, settings: &Settings, project: &Project) -> Vec<Diagnostic> {
    let mut hidden: BTreeMap<(&str, String), Vec<Hidden>> = BTreeMap::new();
    for contract in contracts.values() {
        let of = format!("{}.{}", contract.layer, contract.dataset);
        for reader in contract.readers.iter().filter(|reader| reader.rows.is_some()) {
            let own = Hidden { rows: reader.rows.clone(), of: of.clone() };
            hidden.entry((&reader.role, contract.dataset.to_string())).or_default().push(own);
        }
    }
    let roles: BTreeSet<&str> = hidden.keys().map(|(role, _)| *role).collect();
    let Ok(graph) = Graph::build(models, contracts) else { return Vec::new() };
    let mut found = Vec::new();
    for model in graph.order().iter().filter_map(|index| models.get(*index)) {
        let (Some(contract), Some(source)) =
            (contracts.get(&model.dataset), project.contract_source(model.dataset.as_str()))
        else {
            continue;
        };
        let carried = carried(model, contracts);
        for role in &roles {
            let inherited = inherited(model, contract, role, &hidden, contracts, &carried);
            let own = filter_of(contract, role);
            let keeps = |hidden: &&Hidden| {
                let pair = own.zip(hidden.rows.as_ref());
                pair.is_some_and(|(own, rows)| own.is_within(rows))
            };
            if reads(role, contract, settings)
                && let Some(open) = inherited.iter().find(|hidden| !keeps(hidden))
            {
                let message = format!(
                    "the role `{role}` sees some rows of {} and would see what {}.{} makes of all of them",
                    open.of, contract.layer, contract.dataset
                );
                let help = format!(
                    "keep the columns of its rowFilter in the model as they are, and filter `{role}` by the same condition under `roles` here; or list roles without `{role}`"
                );
                let finding = Diagnostic::error(&source.path, "rows-of-others", message).help(help);
                found.push(at_contract(source, finding));
            }
            hidden.entry((role, contract.dataset.to_string())).or_default().extend(inherited);
        }
    }
    found
}

fn filter_of<'c>(contract: &'c Contract, role: &str) -> Option<&'c Predicate> {
    contract.readers.iter().find(|reader| reader.role == role).and_then(|reader| reader.rows.as_ref())
}

/// What is hidden from a role in a model's inputs, over the columns of what it makes.
fn inherited(
    model: &Model,
    contract: &Contract,
    role: &str,
    hidden: &BTreeMap<(&str, String), Vec<Hidden>>,
    contracts: &Contracts,
    carried: &BTreeMap<String, ColumnName>,
) -> Vec<Hidden> {
    let mut inherited = Vec::new();
    for table in &model.tables {
        let Some(input) = contracts.values().find(|input| input.dataset.as_str() == table.table) else { continue };
        // The column here that is a column of the input as it stands.
        let here = |index: usize| {
            let name = input.columns.get(index)?.name.to_lowercase();
            let is_it = |from: &ColumnName| from.0 == input.dataset && from.1 == name;
            contract.columns.iter().position(|column| carried.get(&column.name.to_lowercase()).is_some_and(is_it))
        };
        for of_input in hidden.get(&(role, table.table.clone())).into_iter().flatten() {
            let rows = of_input.rows.as_ref().and_then(|rows| rows.about(&here));
            inherited.push(Hidden { rows, of: of_input.of.clone() });
        }
    }
    inherited
}

/// Whether a role reads a dataset.
fn reads(role: &str, contract: &Contract, settings: &Settings) -> bool {
    if !contract.lists_roles() {
        return settings.roles.get(role).is_some_and(|role| role.layers.contains(contract.layer.as_str()));
    }
    contract.readers.iter().any(|reader| reader.role == role)
}
