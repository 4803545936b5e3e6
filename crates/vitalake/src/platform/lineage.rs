//! What a catalogue is told of the project's datasets: columns, types, and what their models make them of.
//!
//! Invariant: everything here follows from the project's files.

use std::collections::BTreeMap;

use vitalake_contract::{Contract, DatasetName, Source};
use vitalake_ops::openlineage::event::{DatasetTold, FieldTold, From};
use vitalake_process::{ColumnLineage, Contracts, Model, column_lineage};

use super::Setup;
use crate::command::validate::contracts_of;

/// The project's datasets, as `layer.name`.
pub(super) fn told(setup: &Setup) -> BTreeMap<String, DatasetTold> {
    let contracts = contracts_of(&setup.checked.project);
    let models = &setup.checked.models;
    let broker = setup.config.kafka.bootstrap.clone().unwrap_or_else(|| setup.config.kafka.listen.to_string());
    let told = |contract: &Contract| {
        let model = models.iter().find(|model| model.dataset == contract.dataset);
        (layered(&contracts, &contract.dataset), dataset(contract, model, &contracts, &broker))
    };
    contracts.values().map(|contract| told(contract)).collect()
}

fn dataset(contract: &Contract, model: Option<&Model>, contracts: &Contracts, broker: &str) -> DatasetTold {
    let field = |column: &vitalake_contract::Column| FieldTold {
        name: column.name.to_string(),
        kind: contract
            .table_schema()
            .field_with_name(&column.name)
            .map(|of| of.data_type().to_string())
            .unwrap_or_default(),
        description: column.description.clone(),
    };
    let topic = match &contract.source {
        Some(Source::Stream { topic, .. }) => Some((broker.to_owned(), topic.clone())),
        _ => None,
    };
    let lineage = model.and_then(|model| column_lineage(model, contracts)).unwrap_or_default();
    let inputs =
        model.into_iter().flat_map(|model| &model.tables).map(|table| format!("{}.{}", table.schema, table.table));
    DatasetTold {
        fields: contract.columns.iter().map(field).collect(),
        inputs: inputs.collect(),
        columns: columns(contract, contracts, &lineage),
        conditions: conditions(contracts, &lineage),
        topic,
    }
}

/// What each column of the contract is made of.
fn columns(contract: &Contract, contracts: &Contracts, lineage: &ColumnLineage) -> BTreeMap<String, Vec<From>> {
    let of = |column: &vitalake_contract::Column| {
        let made = lineage.columns.get(&column.name.to_lowercase())?;
        let from = made.iter().map(|(from, how)| source(contracts, from, how.as_str()));
        Some((column.name.to_string(), from.collect()))
    };
    contract.columns.iter().filter_map(of).collect()
}

fn conditions(contracts: &Contracts, lineage: &ColumnLineage) -> Vec<From> {
    let of = lineage.conditions.iter().flat_map(|(from, how)| how.iter().map(move |how| (from, how.as_str())));
    of.map(|(from, how)| source(contracts, from, how)).collect()
}

/// A column as its own contract writes it.
fn source(contracts: &Contracts, (dataset, column): &(DatasetName, String), how: &'static str) -> From {
    let known = contracts.get(dataset).and_then(|contract| {
        contract
            .columns
            .iter()
            .find(|known| known.name.eq_ignore_ascii_case(column))
            .map(|known| known.name.to_string())
    });
    From { dataset: layered(contracts, dataset), field: known.unwrap_or_else(|| column.clone()), how }
}

fn layered(contracts: &Contracts, dataset: &DatasetName) -> String {
    match contracts.get(dataset) {
        Some(contract) => format!("{}.{dataset}", contract.layer),
        None => dataset.to_string(),
    }
}
