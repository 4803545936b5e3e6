//! What is accepted as a model file, and what is said of what is not.

use rstest::rstest;
use vitalake_contract::Layer;
use vitalake_process::{Kind, Model};

use crate::support::{STEPS, STEPS_DAILY, model, name};

#[test]
fn the_acceptance_models_parse() {
    let steps = model(Layer::Curated, "steps", STEPS);
    assert_eq!((steps.kind, steps.time.as_deref()), (Kind::Append, None));
    assert_eq!((steps.tables[0].schema.as_str(), steps.tables[0].table.as_str()), ("raw", "hourly_steps"));
    assert_eq!((steps.tables[0].place.line, steps.tables[0].place.column), (3, 6));
    let daily = model(Layer::Serving, "steps_daily", STEPS_DAILY);
    assert_eq!((daily.kind, daily.time.as_deref()), (Kind::Rollup, Some("day")));
}

#[test]
fn comments_and_case_are_free() {
    let text = "-- Steps, cleaned.\n--\n-- kind: append\n-- (see the wiki)\n\nselect A.`Subject_Id` from RAW.Hourly_Steps a -- note: late\n";
    assert_eq!(model(Layer::Curated, "steps", text).tables[0].table, "hourly_steps");
}

#[rstest]
#[case::unknown_key("-- kind: append\n-- colour: red\nSELECT 1 FROM raw.x", 2, 4, "\"colour\" is not a key")]
#[case::misspelt_key("-- kind: append\n-- tme: t\nSELECT 1 FROM raw.x", 2, 4, "\"tme\" is not a key")]
#[case::twice("-- kind: append\n-- kind: append\nSELECT 1 FROM raw.x", 2, 4, "twice")]
#[case::no_kind("SELECT 1 FROM raw.x", 1, 1, "does not say its kind")]
#[case::no_key("-- kind: upsert\n-- sequence: t\nSELECT 1 FROM raw.x", 1, 4, "does not say its key")]
#[case::empty_key("-- kind: upsert\n-- key: a,\nSELECT 1 FROM raw.x", 2, 4, "\"key\" is no list of columns")]
#[case::key_twice("-- kind: upsert\n-- key: a, A\nSELECT 1 FROM raw.x", 2, 4, "\"key\" is no list of columns")]
#[case::two_marks("-- kind: upsert\n-- key: a\n-- deleted: b, c\nSELECT 1 FROM raw.x", 3, 4, "several columns")]
#[case::upsert_group("-- kind: upsert\n-- key: a\nSELECT a FROM raw.x GROUP BY a", 3, 1, "upsert model cannot group")]
#[case::upsert_join("-- kind: upsert\n-- key: a\nSELECT a FROM raw.x JOIN raw.y ON x.a = y.a", 3, 1, "reads one table")]
#[case::upsert_time("-- kind: upsert\n-- key: a\n-- time: t\nSELECT a FROM raw.x", 3, 4, "has no time column")]
#[case::full_key("-- kind: full\n-- key: a\nSELECT a FROM raw.x", 2, 4, "belongs to models of kind \"upsert\"")]
#[case::full_having("-- kind: full\nSELECT a FROM raw.x GROUP BY a HAVING count(*) > 1", 2, 1, "cannot have HAVING")]
#[case::other("-- kind: apend\nSELECT 1 FROM raw.x", 1, 4, "\"apend\" is not a kind")]
#[case::no_time("-- kind: rollup\nSELECT a FROM raw.x GROUP BY a", 1, 4, "does not say its time column")]
#[case::time_of_append("-- kind: append\n-- time: t\nSELECT 1 FROM raw.x", 2, 4, "has no time column")]
#[case::key("-- kind: append\n-- key: t\nSELECT 1 FROM raw.x", 2, 4, "belongs to models of kind \"upsert\"")]
#[case::no_select("-- kind: append\n", 1, 1, "has no SELECT")]
#[case::two("-- kind: append\nSELECT 1 FROM raw.x; SELECT 2 FROM raw.x", 2, 1, "one statement")]
#[case::insert("-- kind: append\nDELETE FROM raw.x", 2, 1, "a model is a SELECT")]
#[case::syntax("-- kind: append\nSELECT a b c\nFROM raw.x", 2, 12, "not Spark SQL")]
#[case::union("-- kind: append\nSELECT 1 FROM raw.x UNION ALL SELECT 2 FROM raw.x", 2, 1, "one SELECT, without UNION")]
#[case::with("-- kind: append\nWITH y AS (SELECT 1) SELECT 1 FROM raw.x", 2, 1, "cannot have WITH")]
#[case::order("-- kind: append\nSELECT a FROM raw.x ORDER BY a", 2, 1, "cannot have an order")]
#[case::limit("-- kind: append\nSELECT a FROM raw.x LIMIT 3", 2, 1, "cannot have LIMIT")]
#[case::distinct("-- kind: append\nSELECT DISTINCT a FROM raw.x", 2, 1, "cannot have DISTINCT")]
#[case::group("-- kind: append\nSELECT a FROM raw.x GROUP BY a", 2, 1, "cannot group")]
#[case::inner_select("-- kind: append\nSELECT a FROM (SELECT a FROM raw.x) y", 2, 16, "FROM can only name tables")]
#[case::subquery(
    "-- kind: append\nSELECT a FROM raw.x WHERE a IN (SELECT b FROM raw.y)",
    2,
    0,
    "cannot have a subquery"
)]
#[case::layer("-- kind: append\nSELECT a FROM x", 2, 15, "does not say which layer")]
#[case::right("-- kind: append\nSELECT a FROM raw.x RIGHT JOIN raw.y ON x.a = y.a", 2, 32, "this form of join")]
#[case::comma("-- kind: append\nSELECT a FROM raw.x, raw.y", 2, 1, "selects from one table")]
#[case::rollup_join(
    "-- kind: rollup\n-- time: t\nSELECT t FROM raw.x JOIN raw.y ON x.a = y.a GROUP BY t",
    3,
    1,
    "a rollup reads one table"
)]
#[case::having(
    "-- kind: rollup\n-- time: t\nSELECT t FROM raw.x GROUP BY t HAVING count(*) > 1",
    3,
    1,
    "cannot have HAVING"
)]
#[case::not_grouped("-- kind: rollup\n-- time: t\nSELECT t FROM raw.x", 3, 1, "needs GROUP BY")]
#[case::cube(
    "-- kind: rollup\n-- time: t\nSELECT t FROM raw.x GROUP BY t WITH ROLLUP",
    3,
    1,
    "groups by expressions only"
)]
fn a_wrong_model_is_refused_where_it_is_wrong(
    #[case] text: &str,
    #[case] line: usize,
    #[case] column: usize,
    #[case] message: &str,
) {
    let problems = Model::parse(name("x"), Layer::Curated, text).unwrap_err();
    let found = problems.iter().find(|p| p.message.contains(message)).unwrap_or_else(|| panic!("{problems:#?}"));
    assert_eq!(found.line, line, "{found:?}");
    if column > 0 {
        assert_eq!(found.column, column, "{found:?}");
    }
    assert!(!found.help.is_empty());
}
