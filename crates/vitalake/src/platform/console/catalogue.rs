//! The project as its files have it: datasets with what they are made of and their rules in words, and dashboards.
//!
//! Made once. Invariant: everything here follows from the project's files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vitalake_contract::check::reason;
use vitalake_contract::rule::{RowRule, SetRule};
use vitalake_contract::{Contract, DatasetName, Delivery, Diagnostic};
use vitalake_ops::openlineage::event::From;
use vitalake_process::quality::wanted;
use vitalake_process::{EngineName, Graph, Model};
use vitalake_runtime::config::Config;
use vitalake_serve::console::facts::{Catalogue, DashboardTold, Described, ModelTold, Origin, RuleTold};

use super::super::{Setup, lineage};
use crate::command::validate::contracts_of;

/// What the console is told of a project.
pub(super) fn of(setup: &Setup) -> Catalogue {
    let project = &setup.checked.project;
    let lineage = lineage::told(setup);
    let order = made_in_order(setup);
    let mut contracts: Vec<&Arc<Contract>> = project.contracts.iter().collect();
    contracts.sort_by_key(|contract| {
        (contract.layer, order.get(&contract.dataset).copied().unwrap_or(0), contract.dataset.clone())
    });
    let inputs: BTreeMap<&str, BTreeSet<&str>> =
        lineage.iter().map(|(name, told)| (name.as_str(), told.inputs.iter().map(String::as_str).collect())).collect();
    let described = |contract: &Arc<Contract>| {
        let name = format!("{}.{}", contract.layer, contract.dataset);
        let told = lineage.get(&name);
        let upstream = inputs.get(name.as_str()).into_iter().flatten().map(|input| (*input).to_owned());
        let made_of_it = inputs.iter().filter(|(_, inputs)| inputs.contains(name.as_str()));
        let model = setup.checked.models.iter().find(|model| model.dataset == contract.dataset);
        let columns = told.into_iter().flat_map(|told| &told.columns);
        Described {
            model: model.map(|model| model_told(model, &setup.config)),
            upstream: upstream.collect(),
            downstream: made_of_it.map(|(other, _)| (*other).to_owned()).collect(),
            origins: columns.map(|(column, from)| (column.clone(), from.iter().map(origin).collect())).collect(),
            conditions: told.into_iter().flat_map(|told| &told.conditions).map(origin).collect(),
            rules: rules(contract),
            tags: Vec::new(),
            delivery: if contract.delivery == Delivery::Replace { "replace" } else { "append" },
            contract: Arc::clone(contract),
        }
    };
    Catalogue {
        datasets: contracts.into_iter().map(described).collect(),
        dashboards: dashboards(setup),
        measures: project.measures.iter().map(|file| file.measures.clone()).collect(),
    }
}

fn origin(from: &From) -> Origin {
    Origin { dataset: from.dataset.clone(), column: from.field.clone(), how: from.how }
}

/// Where a model's dataset stands among those that models make.
fn made_in_order(setup: &Setup) -> BTreeMap<DatasetName, usize> {
    let models = &setup.checked.models;
    let Ok(graph) = Graph::build(models, &contracts_of(&setup.checked.project)) else { return BTreeMap::new() };
    let made = graph.order().iter().filter_map(|at| models.get(*at));
    made.enumerate().map(|(at, model)| (model.dataset.clone(), at)).collect()
}

fn model_told(model: &Model, config: &Config) -> ModelTold {
    let otherwise = if config.engines.transforms_on_spark() { EngineName::Spark } else { EngineName::DataFusion };
    let kind = format!("{:?}", model.kind).to_lowercase();
    ModelTold { sql: model.text.clone(), kind, engine: model.engine.unwrap_or(otherwise).as_str() }
}

/// The rules of a contract: those of rows by what breaks them, those of sets by what they want.
fn rules(contract: &Contract) -> Vec<RuleTold> {
    let column = |index: usize| contract.columns.get(index).map(|column| column.name.to_string());
    let of_row = |rule: &RowRule| RuleTold {
        name: rule.name.clone(),
        column: rule.column.and_then(column),
        text: format!("refuses a row where {}", reason(rule, contract)),
        severity: rule.severity.as_str(),
        scope: "row",
    };
    let of_set = |rule: &SetRule| RuleTold {
        name: rule.name.clone(),
        column: None,
        text: format!("{} is {}", rule.measure.query(&contract.columns).unwrap_or_default(), wanted(&rule.must)),
        severity: rule.severity.as_str(),
        scope: "set",
    };
    contract.row_rules.iter().map(of_row).chain(contract.set_rules.iter().map(of_set)).collect()
}

/// The dashboards, those among them whose files could not be read.
fn dashboards(setup: &Setup) -> Vec<DashboardTold> {
    let (project, found) = (&setup.checked.project, &setup.checked.diagnostics);
    let of = |path: &str| found.iter().filter(|found| found.file == path).cloned().collect::<Vec<Diagnostic>>();
    let read = project.dashboards.iter().map(|file| DashboardTold {
        name: file.dashboard.name.clone(),
        dashboard: Some(file.dashboard.clone()),
        problems: of(&file.path),
    });
    let is_read = |path: &str| project.dashboards.iter().any(|file| file.path == path);
    let unread: BTreeSet<&str> = found.iter().map(|found| found.file.as_str()).filter(|path| !is_read(path)).collect();
    let unread = unread.into_iter().filter_map(|path| {
        let name = path.strip_prefix("dashboards/")?.strip_suffix(".yaml")?;
        Some(DashboardTold { name: name.to_owned(), dashboard: None, problems: of(path) })
    });
    let mut all: Vec<DashboardTold> = read.chain(unread).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}
