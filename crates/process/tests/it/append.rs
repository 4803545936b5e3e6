//! Append models over rows.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use vitalake_contract::Layer;
use vitalake_process::{AppendPlan, INGESTED_AT};

use crate::support::{batch, contract, contracts, longs, model, printed, steps, strings, times};

fn readings() -> arrow::array::RecordBatch {
    batch(vec![
        ("subject_id", strings(&[Some("a"), Some("b"), None])),
        ("hour", times(&[Some(0), Some(3600), Some(7200)])),
        ("steps", longs(&[Some(7), Some(0), Some(-3)])),
        ("_topic", strings(&[Some("t"), Some("t"), Some("t")])),
        ("_offset", longs(&[Some(10), Some(11), Some(12)])),
        ("_ingested_at", times(&[Some(100), Some(101), Some(102)])),
    ])
}

#[tokio::test]
async fn rows_come_in_the_contracts_order_with_their_lineage() {
    let text = "-- kind: append\nSELECT steps * 2 AS Steps, Hour, upper(SUBJECT_ID) AS subject_id FROM raw.hourly_steps WHERE steps >= 0";
    let plan = AppendPlan::compile(&model(Layer::Curated, "steps", text), &steps()).await.unwrap();
    let names: Vec<String> = plan.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["subject_id", "hour", "steps", INGESTED_AT, "_topic", "_partition", "_offset"]);
    assert!(plan.needed(0).iter().all(|c| c != "_rescued" && c != "_timestamp"), "{:?}", plan.needed(0));
    for _ in 0..3 {
        let rows = plan.run(&[readings()]).await.unwrap();
        assert_eq!(
            printed(&rows),
            [
                "|A|1970-01-01T00:00:00Z|14|1970-01-01T00:01:40Z|t||10|",
                "|B|1970-01-01T01:00:00Z|0|1970-01-01T00:01:41Z|t||11|"
            ]
        );
    }
    assert!(plan.run(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_join_sees_the_rows_that_were_set_last() {
    let mut all = steps();
    all.extend(contracts(vec![contract(
        Layer::Curated,
        "located",
        "subject_id string, country string, steps long",
        false,
    )]));
    let text = "-- kind: append\nSELECT s.subject_id, p.country, s.steps FROM raw.hourly_steps s LEFT JOIN raw.patients p ON s.subject_id = p.patient_id";
    let plan = AppendPlan::compile(&model(Layer::Curated, "located", text), &all).await.unwrap();
    assert_eq!(plan.needed(1), ["patient_id", "country"]);
    let ends = |rows: Vec<arrow::array::RecordBatch>| {
        let mut lines: Vec<String> =
            printed(&rows).iter().map(|r| r.split('|').skip(1).take(3).collect::<Vec<_>>().join(",")).collect();
        lines.sort();
        lines
    };
    assert_eq!(ends(plan.run(&[readings()]).await.unwrap()), [",,-3", "a,,7", "b,,0"]);
    plan.set_joined(1, &[batch(vec![("patient_id", strings(&[Some("a")])), ("country", strings(&[Some("NL")]))])])
        .unwrap();
    assert_eq!(ends(plan.run(&[readings()]).await.unwrap()), [",,-3", "a,NL,7", "b,,0"]);
}

#[tokio::test]
async fn operators_and_casts_mean_what_spark_means() {
    let all = contracts(vec![
        contract(Layer::Raw, "r", "s string, n long, z long", false),
        contract(Layer::Curated, "c", "half double, whole long, none double, left long, cast long, low int", false),
    ]);
    let text = "-- kind: append\nSELECT n / 2 AS half, n div 2 AS whole, n / z AS none, n % z AS left, CAST(s AS BIGINT) AS cast, CAST(n * 1000000000 AS INT) AS low FROM raw.r";
    let plan = AppendPlan::compile(&model(Layer::Curated, "c", text), &all).await.unwrap();
    let row = batch(vec![("s", strings(&[Some("seven")])), ("n", longs(&[Some(7)])), ("z", longs(&[Some(0)]))]);
    let rows = plan.run(&[row]).await.unwrap();
    assert!((rows[0].column(0).as_primitive::<Float64Type>().value(0) - 3.5).abs() < f64::EPSILON);
    assert_eq!(
        printed(&rows)[0].split('|').skip(1).take(6).collect::<Vec<_>>(),
        ["3.5", "3", "", "", "", "-1589934592"]
    );
    assert!(rows[0].column(4).is_null(0));
}

#[tokio::test]
async fn columns_with_capitals_are_found() {
    let all = contracts(vec![
        contract(Layer::Raw, "r", "subjectId string", false),
        contract(Layer::Curated, "c", "personId string", false),
    ]);
    let plan = AppendPlan::compile(
        &model(Layer::Curated, "c", "-- kind: append\nSELECT `subjectId` AS personId FROM raw.r"),
        &all,
    )
    .await
    .unwrap();
    let rows = plan.run(&[batch(vec![("subjectId", strings(&[Some("x")]))])]).await.unwrap();
    assert_eq!(rows[0].schema().field(0).name(), "personId");
    assert_eq!(rows[0].column(0).as_string_view().value(0), "x");
}
