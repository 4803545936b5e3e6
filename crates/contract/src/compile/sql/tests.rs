//! Queries of rules in their many spellings.
#![allow(clippy::unwrap_used)]

use rstest::rstest;

use super::*;

#[rstest]
#[case("SELECT COUNT(*) FROM {object} WHERE a < b", Some("a < b"))]
#[case("select count( * )\nfrom {object}\nwhere a IS NULL", Some("a IS NULL"))]
#[case("SELECT COUNT(1) FROM {object} WHERE a < b", Some("a < b"))]
#[case("SELECT COUNT(a) FROM {object} WHERE a < b", Some("(a < b) AND `a` IS NOT NULL"))]
#[case("SELECT COUNT(*) AS n FROM {object} WHERE a < b", Some("a < b"))]
#[case("SELECT COUNT(*) n FROM {object} AS t WHERE t.a < b", Some("a < b"))]
#[case("SELECT COUNT(*) FROM {object} t WHERE T.a < `t`.b AND x = 't.a'", Some("a < b AND x = 't.a'"))]
#[case("SELECT COUNT(*) FROM {object} WHERE {object}.a < 0", Some("a < 0"))]
#[case("SELECT COUNT(*) FROM {object} WHERE readings.a < 0", Some("a < 0"))]
#[case("SELECT COUNT(*) FROM {object} WHERE note = 'group by; --'", Some("note = 'group by; --'"))]
#[case("SELECT COUNT(*) FROM {object} WHERE note = 'it\\'s' AND a = 1", Some("note = 'it\\'s' AND a = 1"))]
#[case("SELECT COUNT(*) FROM {object} WHERE a = 1 -- always", Some("a = 1"))]
#[case("SELECT COUNT(*) FROM {object} WHERE a/* b */= 1", Some("a = 1"))]
#[case("SELECT COUNT(*) FROM {object} WHERE `order` = 1", Some("`order` = 1"))]
#[case("SELECT COUNT(*) FROM {object}", None)]
#[case("SELECT COUNT(*) FROM {object} WHERE", None)]
#[case("SELECT COUNT(*) FROM {object} WHERE a > (SELECT AVG(a) FROM {object})", None)]
#[case("SELECT COUNT(*) FROM {object} WHERE a = 1 GROUP BY b", None)]
#[case("SELECT COUNT(*) FROM {object} WHERE a = 1; SELECT 2", None)]
#[case("SELECT COUNT(*) FROM {object} WHERE a = 'open", None)]
#[case("SELECT COUNT(DISTINCT a) FROM {object} WHERE a = 1", None)]
#[case("SELECT COUNT(*) FROM other WHERE a = 1", None)]
#[case("SELECT COUNT(*) FROM {object}, other WHERE a = 1", None)]
#[case("SELECT COUNT(*) FROM {object} JOIN other ON x WHERE a = 1", None)]
fn the_form_that_is_a_row_rule(#[case] query: &str, #[case] predicate: Option<&str>) {
    assert_eq!(row_predicate(query, "readings").as_deref(), predicate);
}

#[rstest]
#[case("FROM {object} {model} {table} {schema}", "FROM {object} {object} {object} {object}")]
#[case("FROM ${object} ${model} ${table}", "FROM {object} {object} {object}")]
#[case("{property} {column} {field} ${column}", "`A b` `A b` `A b` `A b`")]
#[case("`${table}` \"{column}\"", "{object} `A b`")]
#[case("FROM t JOIN raw.t x JOIN other", "FROM {object} JOIN {object} x JOIN other")]
#[case("FROM `t` JOIN `raw`.`t`", "FROM {object} JOIN {object}")]
#[case("FROM t.u JOIN curated.t", "FROM t.u JOIN curated.t")]
#[case("t = 't' AND x RLIKE '\\\\d{3}' AND '{who}'", "t = 't' AND x RLIKE '\\\\d{3}' AND '{who}'")]
fn placeholders_and_the_own_name(#[case] query: &str, #[case] want: &str) {
    assert_eq!(filled(query, ("raw", "t"), Some("`A b`")).as_deref(), Ok(want));
}

#[rstest]
#[case("SELECT {who}", "who")]
#[case("SELECT ${project}.x", "project")]
#[case("SELECT {column}", "column")]
fn placeholders_that_mean_nothing(#[case] query: &str, #[case] name: &str) {
    assert_eq!(filled(query, ("raw", "t"), None), Err(name.to_owned()));
}

#[rstest]
#[case("a > now()", Some("now"))]
#[case("a > NOW ( )", Some("now"))]
#[case("a > CURRENT_TIMESTAMP - INTERVAL 1 DAY", Some("current_timestamp"))]
#[case("a > current_date()", Some("current_date"))]
#[case("rand() < 0.5", Some("rand"))]
#[case("id = uuid()", Some("uuid"))]
#[case("a > timestamp 'now'", Some("now"))]
#[case("a > unix_timestamp()", Some("unix_timestamp"))]
#[case("a > unix_timestamp(b)", None)]
#[case("t.current_date < a AND now = 1 AND note = 'now()'", None)]
#[case("localtime < 3", None)]
#[case("uuid = 'today' -- rand()", None)]
fn what_gives_another_result_each_time(#[case] query: &str, #[case] want: Option<&str>) {
    let found = changing(query, &["localtime"]);
    assert_eq!(found.as_deref().map(|text| text.trim_matches('\'')), want);
}
