//! Classes along models: what a column is computed from, joined with or made of decides it, and what is not known is restricted.
#![allow(clippy::unwrap_used, clippy::panic)]

use vitalake_contract::{Column, ColumnType, Layer, Source};

use super::*;

const RESTRICTED: Classification = Classification::Restricted;
const CONFIDENTIAL: Classification = Classification::Confidential;
const INTERNAL: Classification = Classification::Internal;
const PUBLIC: Classification = Classification::Public;

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

fn contract(dataset: &str, layer: Layer, columns: &[(&str, ColumnType, Option<Classification>)]) -> Contract {
    let mut contract = Contract::new(name(dataset), layer);
    contract.source = (layer == Layer::Raw).then_some(Source::Feed);
    contract.columns = columns
        .iter()
        .map(|(name, kind, classification)| Column {
            classification: *classification,
            ..Column::new(name, kind.clone())
        })
        .collect();
    contract
}

fn contracts(all: Vec<Contract>) -> Contracts {
    all.into_iter().map(|contract| (contract.dataset.clone(), Arc::new(contract))).collect()
}

fn inputs() -> Vec<Contract> {
    let people = [
        ("id", ColumnType::String, Some(RESTRICTED)),
        ("born", ColumnType::Date(None), Some(CONFIDENTIAL)),
        ("ward", ColumnType::String, None),
        ("at", ColumnType::Timestamp(None), Some(PUBLIC)),
    ];
    let wards = [("ward", ColumnType::String, Some(PUBLIC)), ("head", ColumnType::String, Some(CONFIDENTIAL))];
    vec![contract("people", Layer::Raw, &people), contract("wards", Layer::Raw, &wards)]
}

fn class(contracts: &Contracts, dataset: &str, column: &str) -> Classification {
    let found = contracts[&name(dataset)].columns.iter().find(|found| &*found.name == column);
    found.unwrap().classification.unwrap_or_default()
}

#[test]
fn a_derived_column_is_as_strict_as_the_strictest_that_it_is_computed_from() {
    let stays = [
        ("who", ColumnType::String, Some(INTERNAL)),
        ("told", ColumnType::String, None),
        ("ward", ColumnType::String, Some(CONFIDENTIAL)),
        ("head", ColumnType::String, None),
        ("kind", ColumnType::String, Some(PUBLIC)),
    ];
    let text = "-- kind: append\nSELECT p.id AS who, CASE WHEN p.born > DATE '2000-01-01' THEN 'young' ELSE 'old' END AS told, \
                w.ward AS ward, concat(w.head, '!') AS head, 'x' AS kind FROM raw.people p LEFT JOIN raw.wards w ON p.ward = w.ward";
    let mut all = inputs();
    all.push(contract("stays", Layer::Curated, &stays));
    let model = Model::parse(name("stays"), Layer::Curated, text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let classed = with_inherited_classes(&[model], &contracts(all));
    assert_eq!(class(&classed, "stays", "who"), RESTRICTED);
    assert_eq!(class(&classed, "stays", "told"), CONFIDENTIAL);
    assert_eq!(class(&classed, "stays", "ward"), CONFIDENTIAL, "its own contract is stricter");
    assert_eq!(class(&classed, "stays", "head"), CONFIDENTIAL);
    assert_eq!(class(&classed, "stays", "kind"), PUBLIC);
    assert_eq!(class(&classed, "people", "ward"), INTERNAL);
}

#[test]
fn classes_go_through_models_over_models_until_a_contract_declassifies_by_name() {
    let seen = [
        ("id", ColumnType::String, None),
        ("ward", ColumnType::String, None),
        ("at", ColumnType::Timestamp(None), None),
    ];
    let daily = [
        ("at", ColumnType::Timestamp(None), None),
        ("ward", ColumnType::String, None),
        ("visits", ColumnType::Long, Some(INTERNAL)),
        ("last", ColumnType::String, Some(INTERNAL)),
        ("people", ColumnType::Long, Some(INTERNAL)),
    ];
    let mut all = inputs();
    all.push(contract("seen", Layer::Curated, &seen));
    let mut counts = contract("daily", Layer::Serving, &daily);
    for column in counts.columns.iter_mut().filter(|column| &*column.name == "people") {
        column.declassified = Some("a number of people names nobody".to_owned());
    }
    all.push(counts);
    let models = [
        Model::parse(
            name("daily"),
            Layer::Serving,
            "-- kind: rollup\n-- time: at\nSELECT date_trunc('hour', at) AS at, ward, count(*) AS visits, max(id) AS last, count(DISTINCT id) AS people \
             FROM curated.seen GROUP BY date_trunc('hour', at), ward",
        ),
        Model::parse(name("seen"), Layer::Curated, "-- kind: append\nSELECT id, ward, at FROM raw.people"),
    ];
    let models = models.map(|model| model.unwrap_or_else(|problems| panic!("{problems:?}")));
    let classed = with_inherited_classes(&models, &contracts(all));
    assert_eq!(class(&classed, "seen", "id"), RESTRICTED);
    assert_eq!(class(&classed, "daily", "last"), RESTRICTED);
    assert_eq!(class(&classed, "daily", "people"), INTERNAL, "declassified");
    assert_eq!(class(&classed, "daily", "visits"), INTERNAL, "a count of rows comes from no column");
    assert_eq!(class(&classed, "daily", "at"), INTERNAL);
}

#[test]
fn what_is_not_known_is_restricted() {
    let mut all = inputs();
    all.push(contract("seen", Layer::Curated, &[("id", ColumnType::String, Some(PUBLIC))]));
    // The model reads a dataset that is not there.
    let model = Model::parse(name("seen"), Layer::Curated, "-- kind: append\nSELECT id FROM raw.nobody").unwrap();
    assert_eq!(class(&with_inherited_classes(&[model], &contracts(all.clone())), "seen", "id"), RESTRICTED);
    let model =
        Model::parse(name("seen"), Layer::Curated, "-- kind: append\nSELECT _rescued AS id FROM raw.people").unwrap();
    assert_eq!(class(&with_inherited_classes(&[model], &contracts(all)), "seen", "id"), RESTRICTED);
}

#[test]
fn columns_that_a_join_holds_equal_say_the_same() {
    for (join, column) in [
        ("JOIN raw.secret s USING (ward)", "ward"),
        ("JOIN raw.secret s ON p.ward = s.ward", "p.ward"),
        ("JOIN raw.secret s ON s.ward <=> p.ward", "p.ward"),
    ] {
        let mut all = inputs();
        all.push(contract("secret", Layer::Raw, &[("ward", ColumnType::String, Some(RESTRICTED))]));
        all.push(contract("seen", Layer::Curated, &[("ward", ColumnType::String, None)]));
        let text = format!("-- kind: append\nSELECT {column} AS ward FROM raw.people p {join}");
        let model = Model::parse(name("seen"), Layer::Curated, &text).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(class(&with_inherited_classes(&[model], &contracts(all)), "seen", "ward"), RESTRICTED, "{join}");
    }
}

#[test]
fn times_of_versions_are_as_strict_as_the_strictest_column() {
    let mut all = inputs();
    let mut kept = contract(
        "kept",
        Layer::Curated,
        &[("ward", ColumnType::String, None), ("at", ColumnType::Timestamp(None), Some(RESTRICTED))],
    );
    kept.history = true;
    all.push(kept);
    all.push(contract("seen", Layer::Serving, &[("since", ColumnType::Timestamp(None), None)]));
    let text = "-- kind: full\nSELECT _valid_from AS since FROM curated.kept";
    let model = Model::parse(name("seen"), Layer::Serving, text).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(class(&with_inherited_classes(&[model], &contracts(all)), "seen", "since"), RESTRICTED);
}

#[test]
fn a_column_is_carried_where_it_stands_as_it_is() {
    let all = contracts(inputs());
    let carried = |select: &str| {
        let text =
            format!("-- kind: append\nSELECT {select} FROM raw.people p LEFT JOIN raw.wards w ON p.ward = w.ward");
        let model = Model::parse(name("seen"), Layer::Curated, &text).unwrap_or_else(|problems| panic!("{problems:?}"));
        super::carried(&model, &all)
            .into_iter()
            .map(|(own, from)| format!("{own}={}.{}", from.0, from.1))
            .collect::<Vec<_>>()
    };
    assert_eq!(carried("p.ward AS x, w.ward AS y"), ["x=people.ward", "y=wards.ward"]);
    assert!(carried("CASE WHEN p.ward = 'a' THEN 'b' ELSE p.ward END AS x, upper(p.ward) AS y, 'c' AS z").is_empty());
}
