//! SQL over `tiny` where no recorded answer says it all: names, parameters, functions, errors.

use rstest::rstest;
use serde_json::json;

use crate::client::{failure, post, rows};
use crate::server::Server;

#[rstest]
#[case::unnamed_columns("SELECT 1, 2 AS x", "[[1,2]]")]
#[case::functions_in_any_case(
    "SELECT Count(*), sum(l), MAX(\"l\") FROM tiny",
    "[[5,9007199254740989,9007199254740993]]"
)]
#[case::schemas_are_two_names("SELECT COUNT(*) FROM druid.tiny t JOIN serving.tiny u ON t.l = u.l", "[[4]]")]
#[case::quoted_as_sqlalchemy(
    "SELECT \"druid\".\"tiny\".\"l\" FROM \"druid\".\"tiny\" WHERE \"druid\".\"tiny\".\"s\" = 'a'",
    "[[1]]"
)]
#[case::nulls_first("SELECT l FROM tiny ORDER BY l", "[[null],[-5],[0],[1],[9007199254740993]]")]
#[case::nulls_last_when_descending("SELECT l FROM tiny ORDER BY l DESC LIMIT 2", "[[9007199254740993],[1]]")]
#[case::floor_of_a_number("SELECT SAFE_DIVIDE(l, 0), NVL(l, 7) FROM tiny WHERE s = 'a'", "[[null,1]]")]
#[case::quarter(
    "SELECT FLOOR(__time TO QUARTER) t, CEIL(__time TO MONTH) u FROM tiny LIMIT 1",
    r#"[["2024-01-01T00:00:00.000Z","2024-04-01T00:00:00.000Z"]]"#
)]
#[case::five_minutes(
    "SELECT TIME_FLOOR(CAST(__time AS TIMESTAMP), 'PT5M') t FROM tiny WHERE l IS NULL",
    r#"[["2024-03-10T06:55:00.000Z"]]"#
)]
#[case::week("SELECT TIME_FLOOR(__time, 'P1W') t FROM tiny LIMIT 1", r#"[["2024-03-04T00:00:00.000Z"]]"#)]
#[case::superset_time_range(
    "SELECT COUNT(*) FROM tiny WHERE __time >= CAST(TIME_PARSE('2024-03-10') AS DATE) AND __time < TIME_PARSE('2024-03-11T00:00:00')",
    "[[3]]"
)]
#[case::shift(
    "SELECT TIME_SHIFT(TIMESTAMP '2024-01-31 00:00:00', 'P1M', 1) t, TIMESTAMPADD(DAY, -1, TIMESTAMP '2024-03-01 00:00:00') u",
    r#"[["2024-02-29T00:00:00.000Z","2024-02-29T00:00:00.000Z"]]"#
)]
#[case::millis("SELECT MILLIS_TO_TIMESTAMP(1 * 1000) t", r#"[["1970-01-01T00:00:01.000Z"]]"#)]
#[case::approximate(
    "SELECT APPROX_COUNT_DISTINCT(s) a, APPROX_COUNT_DISTINCT_DS_HLL(s) b, COUNT(DISTINCT s) c FROM tiny",
    "[[4,4,4]]"
)]
#[case::latest("SELECT LATEST(l) a, EARLIEST(s, 10) b, LATEST_BY(l, __time) c FROM tiny", r#"[[0,"a",0]]"#)]
#[case::filtered("SELECT COUNT(*) FILTER (WHERE l > 0) c FROM tiny", "[[2]]")]
#[case::explained(
    "SELECT COUNT(*) > 0 AS exists_ FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'tiny'",
    "[[true]]"
)]
#[case::subquery("SELECT COUNT(*) FROM (SELECT s, COUNT(*) FROM tiny GROUP BY 1)", "[[5]]")]
#[case::with("WITH a AS (SELECT l FROM tiny WHERE l > 0) SELECT COUNT(*) FROM a", "[[2]]")]
#[case::text_compared_with_a_whole_number(
    "SELECT COUNT(*) FROM (VALUES ('12'), ('12.7'), ('abc'), (NULL)) AS v(s) WHERE s = 12",
    "[[2]]"
)]
#[case::time_columns_of_any_zone(
    "SELECT TIME_EXTRACT(TIMESTAMP '2024-03-31 10:00:00', 'HOUR', z) h FROM (VALUES ('Europe/Berlin'), ('UTC')) AS v(z)",
    "[[12],[10]]"
)]
#[case::union(
    "SELECT s FROM tiny WHERE s = 'a' UNION ALL SELECT s FROM raw.readings WHERE s = 'a'",
    r#"[["a"],["a"]]"#
)]
fn answers(#[case] sql: &str, #[case] expected: &str) {
    let server = Server::start();
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    assert_eq!(rows(&server, sql), expected, "{sql}");
}

#[test]
fn unnamed_columns_have_druids_names_and_a_name_may_come_twice() {
    let server = Server::start();
    let reply = post(&server, &json!({"query": "SELECT COUNT(*), s, UPPER(s) FROM tiny WHERE s = 'a' GROUP BY s"}));
    assert_eq!(reply.body, "[{\"EXPR$0\":1,\"s\":\"a\",\"EXPR$2\":\"A\"}]\n");
    let reply = post(&server, &json!({"query": "SELECT COUNT(*) a, SUM(l) a FROM tiny"}));
    assert_eq!(reply.body, "[{\"a\":5,\"a\":9007199254740989}]\n");
}

#[test]
fn a_backslash_is_written_so_that_pydruid_keeps_the_row() {
    let server = Server::start();
    let reply = post(&server, &json!({"query": "SELECT 'a\\' AS x"}));
    assert_eq!(reply.body, "[{\"x\":\"a\\u005c\"}]\n");
}

#[rstest]
#[case::select_of_nothing("SELECT FROM tiny", "near 'FROM' at line 1, column 8")]
#[case::unknown_table("SELECT * FROM tyni", "Object 'tyni' not found; did you mean 'tiny'? (line [1], column [15])")]
#[case::unknown_table_of_a_schema(
    "SELECT * FROM sys.nosuch",
    "Object 'nosuch' not found within 'sys' (line [1], column [15])"
)]
#[case::unknown_schema("SELECT * FROM nosuch.tiny", "Object 'nosuch' not found (line [1], column [15])")]
#[case::unknown_column("SELECT nocol\nFROM tiny", "Column 'nocol' not found in any table (line [1], column [8])")]
#[case::case_matters("SELECT S FROM tiny", "Column 'S' not found in any table (line [1], column [8])")]
#[case::unknown_function(
    "SELECT NOSUCHFN(s) FROM tiny",
    "No match found for function signature NOSUCHFN; docs/druid-functions.md lists the functions (line [1], column [8])"
)]
#[case::number_of_arguments("SELECT SUM(s, l) FROM tiny", "arguments")]
#[case::not_grouped("SELECT s FROM tiny GROUP BY l", "not being grouped")]
#[case::types("SELECT COUNT(*) FROM tiny WHERE l = TIMESTAMP '2024-01-01 00:00:00'", "types")]
#[case::period("SELECT TIME_FLOOR(__time,'nope') t FROM tiny", "Invalid period")]
#[case::semicolon("SELECT 1;", "unexpected token [;] (line [1], column [9])")]
#[case::two_statements("SELECT 1; SELECT 2", "unexpected token [;]")]
#[case::empty("", "unexpected token [<EOF>]")]
#[case::garbage("SELEC 1", "Non-query expression")]
#[case::insert("INSERT INTO tiny SELECT 1", "Unsupported SQL statement [INSERT]")]
#[case::delete("DELETE FROM tiny", "Unsupported SQL statement [DELETE]")]
#[case::copy("COPY tiny TO '/tmp/x.csv'", "Unsupported SQL statement [COPY]")]
#[case::create("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "Unsupported SQL statement [CREATE]")]
#[case::set("SET datafusion.execution.batch_size = 1", "Unsupported SQL statement [SET]")]
#[case::show("SHOW ALL", "Unsupported SQL statement [SHOW]")]
#[case::file("SELECT * FROM '/etc/passwd'", "not found")]
#[case::table_function("SELECT * FROM generate_series(1, 10)", "FROM")]
#[case::extern_function("SELECT * FROM TABLE(EXTERN('{}','{}','[]'))", "FROM")]
#[case::into("SELECT * INTO x FROM tiny", "not supported")]
#[case::with_insert("WITH a AS (SELECT 1) INSERT INTO tiny SELECT * FROM a", "not supported")]
#[case::recursive(
    "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM a) SELECT * FROM a",
    "WITH RECURSIVE"
)]
#[case::large_result_of_a_small_call("SELECT REPEAT('x', 1000000000)", "memory")]
#[case::large_result_of_padding("SELECT LPAD('x', 2000000000, 'y')", "memory")]
#[case::large_result_of_a_format("SELECT STRING_FORMAT('%2000000000d', 1)", "memory")]
#[case::settings("SELECT * FROM INFORMATION_SCHEMA.DF_SETTINGS", "not found within")]
#[case::constant_cast("SELECT COUNT(*) c FROM tiny WHERE __time >= 'rubbish'", "cast")]
fn refusals(#[case] sql: &str, #[case] expected: &str) {
    let server = Server::start();
    let (status, message) = failure(&server, sql);
    assert_eq!(status, 400, "{message}");
    assert!(message.contains(expected), "{message}");
}

#[rstest]
#[case("SELECT CAST(s AS BIGINT) FROM tiny WHERE s = 'ü\"q'")]
#[case("SELECT CAST(s AS DOUBLE) FROM tiny WHERE s = 'ü\"q'")]
#[case("SELECT CAST(s AS TIMESTAMP) FROM tiny WHERE s = 'ü\"q'")]
#[case("SELECT CAST(s AS BOOLEAN) FROM tiny WHERE s = 'ü\"q'")]
#[case("SELECT l + s FROM tiny WHERE s = 'ü\"q'")]
#[case("SELECT COUNT(*) FROM tiny WHERE s > __time")]
#[case("SELECT l / 0 FROM tiny")]
#[case("SELECT l * l FROM tiny")]
#[case("SELECT SUBSTRING(s, 1, -7) FROM tiny")]
#[case("SELECT to_timestamp(s, '%Y') FROM tiny")]
#[case("SELECT CAST(d AS DECIMAL(5, 2)) + l FROM tiny")]
fn no_value_of_a_row_is_in_an_error(#[case] sql: &str) {
    let server = Server::start();
    let reply = post(&server, &json!({"query": sql}));
    if reply.status != 200 {
        let message = reply.message();
        for value in ["ü", "9007199254740993", "1e300", "1710"] {
            assert!(!message.contains(value), "{message}");
        }
    }
}

#[test]
fn explain_gives_druids_three_columns() {
    let server = Server::start();
    let reply = post(&server, &json!({"query": "EXPLAIN PLAN FOR SELECT s, COUNT(*) c FROM tiny GROUP BY 1"}));
    let body = reply.json();
    let row = body[0].as_object().unwrap();
    assert_eq!(row.keys().collect::<Vec<_>>(), ["PLAN", "RESOURCES", "ATTRIBUTES"]);
    assert_eq!(row["RESOURCES"], json!("[{\"name\":\"tiny\",\"type\":\"DATASOURCE\"}]"));
    for cell in row.values() {
        let _: serde_json::Value = serde_json::from_str(cell.as_str().unwrap()).unwrap();
    }
}
