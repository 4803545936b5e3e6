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
#[case::whole_part_of_a_double(
    "SELECT subject_id, hour, CAST(steps AS DOUBLE) div 2 AS steps FROM raw.hourly_steps",
    "DOUBLE DIV INT is not known here"
)]
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

fn of_keyed(header: &str, select: &str, history: bool) -> Vec<String> {
    let mut all = steps();
    let mut newest = contract(Layer::Curated, "newest", "*subject_id string, *rate double, steps long", false);
    if !header.contains("rate") {
        newest = contract(Layer::Curated, "newest", "*subject_id string, steps long", false);
    }
    newest.history = history;
    all.extend(contracts(vec![newest]));
    let text = format!("{header}\nSELECT {select} FROM raw.hourly_steps");
    validate_model(&model(Layer::Curated, "newest", &text), &all).into_iter().map(|problem| problem.message).collect()
}

#[rstest]
#[case::no_such_key(
    "-- key: subject",
    "subject_id, steps, hour",
    false,
    "no column \"subject\", which `-- key:` names"
)]
#[case::another_key(
    "-- key: steps",
    "subject_id, steps, hour",
    false,
    "primary key is subject_id, `-- key:` says steps"
)]
#[case::fraction("-- key: subject_id, rate", "subject_id, 1.5D AS rate, steps, hour", false, "\"rate\" is DOUBLE")]
#[case::no_such_sequence(
    "-- key: subject_id",
    "subject_id, steps",
    false,
    "no column \"hour\", which `-- sequence:` names"
)]
#[case::no_order(
    "-- key: subject_id",
    "subject_id, steps, steps > 1 AS hour",
    false,
    "cannot be ordered by \"hour\", which is BOOLEAN"
)]
#[case::no_time("-- key: subject_id", "subject_id, steps, steps AS hour", true, "\"hour\" is BIGINT and no time")]
#[case::no_mark(
    "-- key: subject_id\n-- deleted: gone",
    "subject_id, steps, hour",
    false,
    "no column \"gone\", which `-- deleted:` names"
)]
#[case::mark(
    "-- key: subject_id\n-- deleted: gone",
    "subject_id, steps, hour, 1 AS gone",
    false,
    "\"gone\", which marks deletes, is INT"
)]
#[case::aggregate(
    "-- key: subject_id",
    "max(subject_id) AS subject_id, max(steps) AS steps, max(hour) AS hour",
    false,
    "an upsert model cannot aggregate"
)]
#[case::extra(
    "-- key: subject_id",
    "subject_id, steps, hour, 1 AS more",
    false,
    "a column \"more\" (INT) that its contract does not have"
)]
fn an_upsert_that_cannot_be_kept_is_refused(
    #[case] header: &str,
    #[case] select: &str,
    #[case] history: bool,
    #[case] message: &str,
) {
    let found = of_keyed(&format!("-- kind: upsert\n{header}\n-- sequence: hour"), select, history);
    assert!(found.iter().any(|found| found.contains(message)), "{found:#?}");
}

#[rstest]
#[case::plain("-- key: subject_id", "subject_id, steps, hour", true)]
#[case::marked("-- key: SUBJECT_ID\n-- deleted: gone", "subject_id, steps, hour, steps < 0 AS gone", true)]
#[case::by_day("-- key: subject_id", "subject_id, steps, CAST(hour AS DATE) AS hour", true)]
#[case::by_number("-- key: subject_id", "subject_id, steps, steps AS hour", false)]
fn an_upsert_may_name_columns_that_its_contract_lacks(
    #[case] header: &str,
    #[case] select: &str,
    #[case] history: bool,
) {
    let found = of_keyed(&format!("-- kind: upsert\n{header}\n-- sequence: hour"), select, history);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn history_is_for_upserts_alone() {
    for kind in ["append", "full"] {
        let found = of_keyed(&format!("-- kind: {kind}"), "subject_id, steps", true);
        assert!(found.iter().any(|found| found.contains("the contract asks for history")), "{found:#?}");
    }
}
