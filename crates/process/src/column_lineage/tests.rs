//! What columns are made of: as they are, computed, aggregated; and what decides about rows.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};

use super::*;

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

fn contracts() -> Contracts {
    let make = |dataset: &str, columns: &[(&str, ColumnType)]| {
        let mut contract = Contract::new(name(dataset), Layer::Raw);
        contract.source = Some(Source::Feed);
        contract.columns = columns.iter().map(|(name, kind)| Column::new(name, kind.clone())).collect();
        (name(dataset), Arc::new(contract))
    };
    Contracts::from_iter([
        make(
            "people",
            &[
                ("id", ColumnType::String),
                ("ward", ColumnType::String),
                ("hr", ColumnType::Double),
                ("at", ColumnType::Timestamp(None)),
            ],
        ),
        make("wards", &[("ward", ColumnType::String), ("head", ColumnType::String)]),
    ])
}

fn lineage(layer: Layer, text: &str) -> ColumnLineage {
    let model = Model::parse(name("made"), layer, text).unwrap();
    column_lineage(&model, &contracts()).unwrap()
}

fn column(dataset: &str, column: &str) -> ColumnName {
    (name(dataset), column.to_owned())
}

#[test]
fn a_column_is_taken_as_it_is_or_computed_and_joins_and_conditions_are_named() {
    let found = lineage(
        Layer::Curated,
        "-- kind: append\nSELECT p.id AS who, upper(p.ward) AS ward, concat(w.head, p.id) AS told, 'x' AS kind, p.at AS at \
         FROM raw.people p LEFT JOIN raw.wards w ON p.ward = w.ward WHERE p.hr > 0",
    );
    let of = |name: &str| found.columns[name].clone();
    assert_eq!(of("who"), MadeOf::from([(column("people", "id"), Direct::Identity)]));
    assert_eq!(of("ward"), MadeOf::from([(column("people", "ward"), Direct::Transformation)]));
    let both = [column("people", "id"), column("wards", "head")].map(|column| (column, Direct::Transformation));
    assert_eq!(of("told"), MadeOf::from(both));
    assert_eq!(of("kind"), MadeOf::new());
    assert_eq!(found.conditions[&column("people", "hr")], BTreeSet::from([Indirect::Filter]));
    assert_eq!(found.conditions[&column("people", "ward")], BTreeSet::from([Indirect::Join]));
    assert_eq!(found.conditions[&column("wards", "ward")], BTreeSet::from([Indirect::Join]));
    assert!(!found.conditions.contains_key(&column("people", "id")));
}

#[test]
fn an_aggregate_is_made_of_many_rows_and_its_keys_group() {
    let found = lineage(
        Layer::Serving,
        "-- kind: rollup\n-- time: hour\nSELECT date_trunc('HOUR', at) AS hour, ward, avg(hr) AS hr_avg, count(*) AS n \
         FROM raw.people GROUP BY date_trunc('HOUR', at), ward",
    );
    assert_eq!(found.columns["hr_avg"], MadeOf::from([(column("people", "hr"), Direct::Aggregation)]));
    assert_eq!(found.columns["ward"], MadeOf::from([(column("people", "ward"), Direct::Identity)]));
    assert_eq!(found.columns["hour"], MadeOf::from([(column("people", "at"), Direct::Transformation)]));
    assert_eq!(found.columns["n"], MadeOf::new());
    assert_eq!(found.conditions[&column("people", "ward")], BTreeSet::from([Indirect::GroupBy]));
    assert_eq!(found.conditions[&column("people", "at")], BTreeSet::from([Indirect::GroupBy]));
}
