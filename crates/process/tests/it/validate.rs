//! Models against contracts: columns, types, and what Spark would do otherwise.

use rstest::rstest;
use vitalake_contract::Layer;
use vitalake_process::{stored_schema, validate_model};

use crate::support::{STEPS, STEPS_DAILY, contract, contracts, model, steps};

#[test]
fn the_acceptance_models_are_valid() {
    assert_eq!(validate_model(&model(Layer::Curated, "steps", STEPS), &steps()), []);
    assert_eq!(validate_model(&model(Layer::Serving, "steps_daily", STEPS_DAILY), &steps()), []);
}

#[rstest]
#[case::missing("SELECT subject_id, hour FROM raw.hourly_steps", "gives no column \"steps\"")]
#[case::renamed("SELECT subject_id, hour, steps AS step FROM raw.hourly_steps", "gives no column \"steps\"")]
#[case::extra("SELECT subject_id, hour, steps, steps + 1 AS more FROM raw.hourly_steps", "a column \"more\" (BIGINT)")]
#[case::type_(
    "SELECT subject_id, hour, CAST(steps AS STRING) AS steps FROM raw.hourly_steps",
    "is STRING in the model and BIGINT"
)]
#[case::division(
    "SELECT subject_id, hour, steps / 2 AS steps FROM raw.hourly_steps",
    "is DOUBLE in the model and BIGINT"
)]
#[case::unknown("SELECT subject_id, hour, stepz AS steps FROM raw.hourly_steps", "stepz")]
#[case::star("SELECT * FROM raw.hourly_steps", "cannot SELECT *")]
#[case::now("SELECT subject_id, now() AS hour, steps FROM raw.hourly_steps", "cannot call now")]
#[case::random("SELECT subject_id, hour, CAST(rand() * 6 AS BIGINT) AS steps FROM raw.hourly_steps", "rand")]
#[case::cast(
    "SELECT subject_id, hour, CAST(CAST(hour AS DATE) AS BIGINT) AS steps FROM raw.hourly_steps",
    "cannot be cast"
)]
#[case::try_cast("SELECT subject_id, hour, TRY_CAST(subject_id AS BIGINT) AS steps FROM raw.hourly_steps", "TRY_CAST")]
#[case::function(
    "SELECT levenstein(subject_id, 'a') AS subject_id, hour, steps FROM raw.hourly_steps",
    "not in the table"
)]
#[case::pattern(
    "SELECT subject_id, hour, regexp_instr(subject_id, '(?=a)') AS steps FROM raw.hourly_steps",
    "looks ahead"
)]
#[case::timestamp(
    "SELECT subject_id, to_timestamp_ntz(subject_id) AS hour, steps FROM raw.hourly_steps",
    "to_timestamp_ntz"
)]
#[case::aggregate(
    "SELECT max(subject_id) AS subject_id, max(hour) AS hour, max(steps) AS steps FROM raw.hourly_steps",
    "cannot aggregate"
)]
#[case::window("SELECT subject_id, hour, sum(steps) OVER () AS steps FROM raw.hourly_steps", "window")]
fn a_model_that_differs_from_its_contract_is_refused(#[case] select: &str, #[case] message: &str) {
    let model = model(Layer::Curated, "steps", &format!("-- kind: append\n{select}"));
    let problems = validate_model(&model, &steps());
    assert!(problems.iter().any(|p| p.message.contains(message) && p.line == 2), "{problems:#?}");
}

#[rstest]
#[case::widening("SELECT subject_id, hour, CAST(steps AS INT) AS steps FROM raw.hourly_steps")]
#[case::order("SELECT steps, hour, subject_id FROM raw.hourly_steps")]
#[case::div("SELECT subject_id, hour, steps div 2 AS steps FROM raw.hourly_steps WHERE steps % 2 == 0")]
#[case::lineage("SELECT _topic AS subject_id, _ingested_at AS hour, _offset AS steps FROM raw.hourly_steps")]
#[case::strings("SELECT concat(\"p-\", subject_id) AS subject_id, hour, steps FROM raw.hourly_steps")]
#[case::trunc(
    "SELECT upper(subject_id) AS subject_id, date_trunc('HOUR', hour) AS hour, coalesce(steps, 0) AS steps FROM raw.hourly_steps"
)]
fn what_is_the_same_or_wider_is_accepted(#[case] select: &str) {
    let model = model(Layer::Curated, "steps", &format!("-- kind: append\n{select}"));
    assert_eq!(validate_model(&model, &steps()), []);
}

#[rstest]
#[case::distinct(
    "SELECT subject_id, CAST(hour AS DATE) AS day, COUNT(DISTINCT hour) AS hours, SUM(steps) AS steps",
    "cannot merge count(DISTINCT"
)]
#[case::stddev(
    "SELECT subject_id, CAST(hour AS DATE) AS day, COUNT(*) AS hours, CAST(stddev(steps) AS BIGINT) AS steps",
    "cannot merge stddev"
)]
#[case::group_lost(
    "SELECT 'x' AS subject_id, CAST(hour AS DATE) AS day, COUNT(*) AS hours, SUM(steps) AS steps",
    "groups by"
)]
fn a_rollup_that_cannot_be_merged_is_refused(#[case] select: &str, #[case] message: &str) {
    let text =
        format!("-- kind: rollup\n-- time: day\n{select} FROM curated.steps GROUP BY subject_id, CAST(hour AS DATE)");
    let problems = validate_model(&model(Layer::Serving, "steps_daily", &text), &steps());
    assert!(problems.iter().any(|p| p.message.contains(message)), "{problems:#?}");
}

#[test]
fn a_time_column_must_be_a_group_in_time() {
    for (time, message) in [("hours", "not one of the groups"), ("subject_id", "is STRING"), ("month", "has no column")]
    {
        let text = STEPS_DAILY.replace("time: day", &format!("time: {time}"));
        let problems = validate_model(&model(Layer::Serving, "steps_daily", &text), &steps());
        assert!(problems.iter().any(|p| p.message.contains(message)), "{problems:#?}");
    }
}

#[test]
fn what_a_merge_needs_is_stored_and_no_more() {
    let mut all = steps();
    all.extend(contracts(vec![contract(
        Layer::Serving,
        "rates",
        "*day date, average double, readings long, per_reading double",
        false,
    )]));
    let text = "-- kind: rollup\n-- time: day\nSELECT CAST(hour AS DATE) AS day, avg(steps) AS average, count(steps) AS readings, sum(steps) / count(*) AS per_reading\nFROM curated.steps GROUP BY 1";
    let model = model(Layer::Serving, "rates", text);
    assert_eq!(validate_model(&model, &all), []);
    let schema = stored_schema(&model, &all).unwrap();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(
        names,
        ["day", "average", "readings", "per_reading", "_average_sum", "_per_reading_sum", "_per_reading_count"]
    );
}
