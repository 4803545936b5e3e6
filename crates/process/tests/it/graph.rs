//! Order, cycles, and what may follow what.

use vitalake_contract::{Delivery, Layer};
use vitalake_process::{Contracts, Graph, Model};

use crate::support::{STEPS, STEPS_DAILY, contract, contracts, model, steps};

fn problems(models: &[Model], contracts: &Contracts) -> Vec<String> {
    Graph::build(models, contracts).unwrap_err().iter().map(|p| format!("{}: {}", p.model, p.problem)).collect()
}

#[test]
fn inputs_come_first() {
    let models = [model(Layer::Serving, "steps_daily", STEPS_DAILY), model(Layer::Curated, "steps", STEPS)];
    let graph = Graph::build(&models, &steps()).unwrap();
    assert_eq!(graph.order(), [1, 0]);
    assert_eq!(graph.inputs(0)[0].as_str(), "steps");
}

#[test]
fn an_unknown_table_is_named_with_its_neighbour() {
    let text = "-- kind: append\nSELECT subject_id FROM raw.hourly_step";
    let found = problems(&[model(Layer::Curated, "steps", text)], &steps());
    assert_eq!(found, ["steps: 2:24: there is no raw.hourly_step (help: did you mean raw.hourly_steps?)"]);
}

#[test]
fn a_table_of_another_layer_is_named_with_its_layer() {
    let text = "-- kind: append\nSELECT subject_id FROM curated.hourly_steps";
    let found = problems(&[model(Layer::Curated, "steps", text)], &steps());
    assert!(found[0].contains("did you mean raw.hourly_steps?"), "{found:?}");
}

#[test]
fn a_circle_is_named_in_order() {
    let all =
        contracts(vec![contract(Layer::Curated, "a", "n long", false), contract(Layer::Curated, "b", "n long", false)]);
    let models = [
        model(Layer::Curated, "a", "-- kind: append\nSELECT n FROM curated.b"),
        model(Layer::Curated, "b", "-- kind: append\nSELECT n FROM curated.a"),
    ];
    let found = problems(&models, &all);
    assert!(found.iter().any(|p| p.contains("curated.a → curated.b → curated.a")), "{found:?}");
}

#[test]
fn a_stream_joins_delivered_tables_only() {
    let joined = "-- kind: append\nSELECT s.subject_id, s.hour, s.steps FROM raw.hourly_steps s JOIN raw.patients p ON s.subject_id = p.patient_id";
    assert!(Graph::build(&[model(Layer::Curated, "steps", joined)], &steps()).is_ok());
    let mut all = steps();
    all.extend(contracts(vec![contract(Layer::Raw, "events", "subject_id string", false)]));
    let streams = joined.replace("raw.patients p", "raw.events p").replace("p.patient_id", "p.subject_id");
    let found = problems(&[model(Layer::Curated, "steps", &streams)], &all);
    assert!(found[0].contains("raw.events is a stream"), "{found:?}");
}

#[test]
fn a_table_that_is_replaced_drives_a_model() {
    let mut replaced = contract(Layer::Raw, "hourly_steps", "subject_id string, hour timestamp, steps long", true);
    replaced.delivery = Delivery::Replace;
    let mut all = steps();
    all.extend(contracts(vec![replaced]));
    assert!(Graph::build(&[model(Layer::Curated, "steps", STEPS)], &all).is_ok());
}

#[test]
fn a_rollup_is_no_input_and_serving_is_none_either() {
    let all = contracts(vec![
        contract(Layer::Raw, "r", "t timestamp", false),
        contract(Layer::Curated, "a", "t timestamp, n long", false),
        contract(Layer::Curated, "b", "t timestamp", false),
        contract(Layer::Serving, "c", "t timestamp", false),
    ]);
    let models = [
        model(Layer::Curated, "a", "-- kind: rollup\n-- time: t\nSELECT t, count(*) AS n FROM raw.r GROUP BY t"),
        model(Layer::Curated, "b", "-- kind: append\nSELECT t FROM curated.a"),
        model(Layer::Serving, "c", "-- kind: append\nSELECT t FROM serving.c"),
    ];
    let found = problems(&models, &all).join("\n");
    assert!(found.contains("curated.a is a rollup"), "{found}");
    assert!(found.contains("cannot read serving.c"), "{found}");
}

#[test]
fn a_model_without_its_contract_is_named() {
    let found = problems(&[model(Layer::Curated, "stepz", STEPS)], &steps());
    assert!(found[0].contains("stepz has no contract") && found[0].contains("did you mean \"steps\"?"), "{found:?}");
}

const UPSERT: &str =
    "-- kind: upsert\n-- key: subject_id\n-- sequence: hour\nSELECT subject_id, hour, steps FROM raw.hourly_steps";

/// A stream with an upsert of it, and a dataset for a model that reads that.
fn keyed() -> Contracts {
    let mut all = steps();
    all.extend(contracts(vec![
        contract(Layer::Curated, "newest", "*subject_id string, hour timestamp, steps long", false),
        contract(Layer::Curated, "read", "subject_id string, hour timestamp, steps long", false),
    ]));
    all
}

#[test]
fn an_upsert_of_a_stream_is_joined_read_whole_and_followed() {
    let newest = model(Layer::Curated, "newest", UPSERT);
    let joined = "-- kind: append\nSELECT s.subject_id, s.hour, n.steps FROM raw.hourly_steps s JOIN curated.newest n ON s.subject_id = n.subject_id";
    let whole = "-- kind: full\nSELECT subject_id, hour, steps FROM curated.newest";
    let append = "-- kind: append\nSELECT subject_id, hour, steps FROM curated.newest";
    let upsert =
        "-- kind: upsert\n-- key: subject_id\n-- sequence: hour\nSELECT subject_id, hour, steps FROM curated.newest";
    for text in [joined, whole, append, upsert] {
        let models = [newest.clone(), model(Layer::Curated, "read", text)];
        assert!(Graph::build(&models, &keyed()).is_ok(), "{text}");
    }
}

#[test]
fn an_upsert_says_its_sequence_but_where_deliveries_are_the_order() {
    let without = UPSERT.replace("-- sequence: hour\n", "");
    let found = problems(&[model(Layer::Curated, "newest", &without)], &keyed());
    assert!(found[0].contains("does not say which of several rows"), "{found:?}");
    let mut all = keyed();
    let mut replaced = contract(Layer::Raw, "hourly_steps", "subject_id string, hour timestamp, steps long", true);
    replaced.delivery = Delivery::Replace;
    all.extend(contracts(vec![replaced]));
    assert!(Graph::build(&[model(Layer::Curated, "newest", &without)], &all).is_ok());
    let found = problems(&[model(Layer::Curated, "newest", UPSERT)], &all);
    assert!(found[0].contains("its deliveries are the order"), "{found:?}");
}
