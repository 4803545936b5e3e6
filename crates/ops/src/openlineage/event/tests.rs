//! Events have what the specification asks of them, and name no more than names, counts and classes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn datasets() -> BTreeMap<String, DatasetTold> {
    let field = |name: &str| FieldTold { name: name.to_owned(), kind: "Float64".to_owned(), description: None };
    let from = |field: &str, how| From { dataset: "raw.readings".to_owned(), field: field.to_owned(), how };
    let raw = DatasetTold {
        fields: vec![field("hr")],
        topic: Some(("127.0.0.1:9092".to_owned(), "readings".to_owned())),
        ..DatasetTold::default()
    };
    let made = DatasetTold {
        fields: vec![field("hr_avg")],
        inputs: vec!["raw.readings".to_owned()],
        columns: BTreeMap::from([("hr_avg".to_owned(), vec![from("hr", "AGGREGATION")])]),
        conditions: vec![from("hr", "FILTER")],
        topic: None,
    };
    BTreeMap::from([("raw.readings".to_owned(), raw), ("serving.hourly".to_owned(), made)])
}

fn run(dataset: &str, outcome: Ended) -> RunTold {
    RunTold {
        id: "0197a9d0-0000-7000-8000-000000000001".to_owned(),
        dataset: dataset.to_owned(),
        began: "2026-11-28T10:00:00.000Z".to_owned(),
        ended: "2026-11-28T10:00:01.000Z".to_owned(),
        outcome,
    }
}

/// Every facet says who produced it and after which schema.
fn check_facets(event: &Value) {
    let facets = ["run", "job"].map(|part| event[part]["facets"].clone());
    let sides = ["inputs", "outputs"].iter().flat_map(|side| event[side].as_array().unwrap().clone());
    let of_sides = sides.flat_map(|dataset| [dataset["facets"].clone(), dataset["outputFacets"].clone()]);
    for all in facets.into_iter().chain(of_sides) {
        for facet in all.as_object().into_iter().flat_map(|all| all.values()) {
            assert!(
                facet["_producer"].is_string()
                    && facet["_schemaURL"].as_str().unwrap().starts_with("https://openlineage.io/")
            );
        }
    }
}

#[test]
fn a_run_is_a_start_and_an_end_with_one_id_and_says_what_its_columns_are_made_of() {
    let events = events("lake", &datasets(), &run("serving.hourly", Ended::Complete { rows: 24, version: Some(3) }));
    let [start, end] = &events;
    assert_eq!((&start["eventType"], &end["eventType"]), (&json!("START"), &json!("COMPLETE")));
    assert_eq!(start["run"]["runId"], end["run"]["runId"]);
    assert_eq!(end["job"]["name"], "model.serving.hourly");
    assert_eq!(end["inputs"][0]["name"], "raw.readings");
    let output = &end["outputs"][0];
    assert_eq!(output["outputFacets"]["outputStatistics"]["rowCount"], 24);
    let lineage = &output["facets"]["columnLineage"];
    let made = &lineage["fields"]["hr_avg"]["inputFields"][0];
    assert_eq!((&made["field"], &made["transformations"][0]["subtype"]), (&json!("hr"), &json!("AGGREGATION")));
    assert_eq!(lineage["dataset"][0]["transformations"][0]["type"], "INDIRECT");
    events.iter().for_each(check_facets);
}

#[test]
fn landing_comes_from_its_topic_and_a_failure_is_told_by_its_class_alone() {
    let [_, landed] = events("lake", &datasets(), &run("raw.readings", Ended::Complete { rows: 5, version: None }));
    assert_eq!(
        (&landed["inputs"][0]["namespace"], &landed["inputs"][0]["name"]),
        (&json!("kafka://127.0.0.1:9092"), &json!("readings"))
    );
    let [start, failed] = events("lake", &datasets(), &run("serving.hourly", Ended::Fail("external")));
    assert_eq!((&failed["eventType"], failed["outputs"].as_array().unwrap().len()), (&json!("FAIL"), 1));
    assert!(failed["run"]["facets"]["errorMessage"]["message"].as_str().unwrap().contains("external"));
    [&landed, &start, &failed].into_iter().for_each(check_facets);
}
