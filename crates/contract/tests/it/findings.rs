//! One case for each finding beyond the standard: what is written, the code it gets, and the text that it points at.

use rstest::rstest;
use vitalake_contract::compile::{Compiled, compile};
use vitalake_contract::{DatasetName, Diagnostic, Layer};

use crate::shared::contract;

pub fn compile_as(layer: Layer, text: &str) -> Compiled {
    compile("contracts/readings.yaml", text.as_bytes(), layer, &DatasetName::new("readings").unwrap())
}

/// What the finding underlines.
fn underlined(found: &Diagnostic) -> String {
    let line = found.source_line.clone().unwrap_or_default();
    line.chars().skip(found.column - 1).take(found.length).collect()
}

pub fn check(layer: Layer, text: &str, code: &str, at: &str) {
    let Compiled { contract, diagnostics, .. } = compile_as(layer, text);
    let seen: Vec<(&str, String, &str)> =
        diagnostics.iter().map(|d| (d.code, underlined(d), d.message.as_str())).collect();
    assert_eq!(diagnostics.len(), 1, "{seen:#?}");
    assert_eq!((seen[0].0, seen[0].1.as_str()), (code, at), "{seen:#?}");
    assert!(diagnostics[0].help.is_some(), "no help: {seen:#?}");
    assert_eq!(contract.is_none(), diagnostics[0].is_error());
}

#[rstest]
#[case::unknown_key("colour: red", "unknown-key", "colour")]
#[case::misspelt_key("domian: x", "unknown-key", "domian")]
#[case::wrong_type("domain: 7", "wrong-type", "7")]
#[case::team_of_no_kind("team: 5", "wrong-type", "5")]
#[case::duplicate_key("domain: a\ndomain: b", "duplicate-key", "domain")]
#[case::bad_partitions("customProperties: [{property: partitions, value: 0}]", "not-allowed", "0")]
#[case::too_many_partitions("customProperties: [{property: partitions, value: 1025}]", "not-allowed", "1025")]
#[case::text_partitions("customProperties: [{property: partitions, value: '4'}]", "not-allowed", "'4'")]
#[case::bad_topic("customProperties: [{property: topic, value: a/b}]", "bad-name", "a/b")]
#[case::internal_topic("customProperties: [{property: topic, value: __consumer}]", "bad-name", "__consumer")]
#[case::topic_not_text("customProperties: [{property: topic, value: 4}]", "wrong-type", "4")]
#[case::bad_source("customProperties: [{property: source, value: queue}]", "not-allowed", "queue")]
#[case::topic_of_a_feed(
    "customProperties: [{property: source, value: feed}, {property: topic, value: t}]",
    "no-topic",
    "t"
)]
#[case::csv_no_mapping("customProperties: [{property: csv, value: ';'}]", "wrong-type", "';'")]
#[case::csv_unknown("customProperties: [{property: csv, value: {delimitter: ';'}}]", "unknown-key", "delimitter")]
#[case::csv_two_signs("customProperties: [{property: csv, value: {delimiter: ';;'}}]", "not-allowed", "';;'")]
#[case::csv_header("customProperties: [{property: csv, value: {header: false}}]", "not-allowed", "false")]
#[case::csv_encoding("customProperties: [{property: csv, value: {encoding: ebcdic}}]", "unknown-encoding", "ebcdic")]
#[case::csv_decimal("customProperties: [{property: csv, value: {decimal: ';'}}]", "not-allowed", "';'")]
#[case::csv_words("customProperties: [{property: csv, value: {nullWords: n/a}}]", "wrong-type", "n/a")]
#[case::csv_lines("customProperties: [{property: csv, value: {skipTop: -1}}]", "not-allowed", "-1")]
#[case::rows_path("customProperties: [{property: rowsPath, value: $.entry}]", "bad-path", "$.entry")]
#[case::evolve("customProperties: [{property: onNewColumn, value: evolve}]", "not-allowed", "evolve")]
#[case::bad_delivery("customProperties: [{property: delivery, value: merge}]", "not-allowed", "merge")]
#[case::custom_twice(
    "customProperties: [{property: topic, value: t}, {property: topic, value: u}]",
    "duplicate-name",
    "topic"
)]
#[case::custom_slip("customProperties: [{property: partitons, value: 4}]", "unknown-custom-property", "partitons")]
#[case::custom_of_others("customProperties: [{property: sodaCheck, value: 4}]", "unknown-custom-property", "sodaCheck")]
#[case::custom_level("customProperties: [{property: path, value: $.a}]", "misplaced-custom-property", "path")]
#[case::sorted_twice("customProperties: [{property: sortBy, value: [device, device]}]", "not-allowed", "device")]
#[case::sorted_by_nothing("customProperties: [{property: sortBy, value: []}]", "wrong-type", "[")]
#[case::custom_layer("customProperties: [{property: gateWindow, value: a}]", "misplaced-custom-property", "gateWindow")]
#[case::sla_unit("slaProperties: [{property: retention, value: 5, unit: m}]", "bad-duration", "m")]
#[case::sla_no_unit("slaProperties: [{property: latency, value: 5}]", "bad-duration", "5")]
#[case::sla_words("slaProperties: [{property: retention, value: long}]", "bad-duration", "long")]
#[case::sla_negative("slaProperties: [{property: retention, value: -1, unit: d}]", "bad-duration", "-1")]
#[case::sla_twice(
    "slaProperties: [{property: latency, value: PT1M}, {property: latency, value: PT2M}]",
    "duplicate-name",
    "latency"
)]
#[case::sla_element(
    "slaProperties: [{property: freshness, value: 1, unit: d, element: readings.devise}]",
    "unknown-column",
    "readings.devise"
)]
fn of_the_contract(#[case] top: &str, #[case] code: &str, #[case] at: &str) {
    check(Layer::Raw, &contract(top, "", ""), code, at);
}

#[rstest]
#[case::duplicate("name: device, logicalType: string", "duplicate-name", "device")]
#[case::duplicate_but_for_case("name: DEVICE, logicalType: string", "duplicate-name", "DEVICE")]
#[case::reserved("name: _offset, logicalType: string", "reserved-name", "_offset")]
#[case::space("name: a b, logicalType: string", "bad-name", "a b")]
#[case::digit("name: 1a, logicalType: string", "bad-name", "1a")]
#[case::no_type("name: a", "no-type", "a")]
#[case::unknown_type("name: a, logicalType: strnig", "not-allowed", "strnig")]
#[case::physical_slip("name: a, logicalType: string, phisicalType: text", "unknown-key", "phisicalType")]
#[case::option_of_another_type(
    "name: a, logicalType: integer, logicalTypeOptions: {maxLength: 3}",
    "unknown-key",
    "maxLength"
)]
#[case::wide("name: a, logicalType: integer, logicalTypeOptions: {format: u64}", "unsupported-type", "u64")]
#[case::unknown_integer("name: a, logicalType: integer, logicalTypeOptions: {format: i31}", "not-allowed", "i31")]
#[case::pattern("name: a, logicalType: string, logicalTypeOptions: {pattern: '(a'}", "bad-pattern", "'(a'")]
#[case::look_ahead("name: a, logicalType: string, logicalTypeOptions: {pattern: '(?=a)b'}", "bad-pattern", "'(?=a)b'")]
#[case::range("name: a, logicalType: integer, logicalTypeOptions: {minimum: 5, maximum: 4}", "empty-range", "5")]
#[case::open_range(
    "name: a, logicalType: number, logicalTypeOptions: {minimum: 5, exclusiveMaximum: 5}",
    "empty-range",
    "5"
)]
#[case::lengths("name: a, logicalType: string, logicalTypeOptions: {minLength: 5, maxLength: 4}", "empty-range", "5")]
#[case::dates(
    "name: a, logicalType: date, logicalTypeOptions: {minimum: '2024-02-01', maximum: '2024-01-01'}",
    "empty-range",
    "'2024-02-01'"
)]
#[case::no_date("name: a, logicalType: date, logicalTypeOptions: {minimum: soon}", "bad-bound", "soon")]
#[case::no_instant(
    "name: a, logicalType: timestamp, logicalTypeOptions: {maximum: '2024-13-01'}",
    "bad-bound",
    "'2024-13-01'"
)]
#[case::time_bound(
    "name: a, logicalType: time, logicalTypeOptions: {minimum: '10:00'}",
    "unsupported-option",
    "'10:00'"
)]
#[case::zoneless(
    "name: a, logicalType: timestamp, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss'}",
    "no-zone",
    "'yyyy-MM-dd HH:mm:ss'"
)]
#[case::zoneless_without_format(
    "name: a, logicalType: timestamp, logicalTypeOptions: {timezone: false}",
    "no-zone",
    "false"
)]
#[case::zone_alone(
    "name: a, logicalType: timestamp, logicalTypeOptions: {defaultTimezone: Etc/UTC}",
    "no-effect",
    "Etc/UTC"
)]
#[case::no_such_zone(
    "name: a, logicalType: timestamp, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss', defaultTimezone: Mars}",
    "unknown-zone",
    "Mars"
)]
#[case::path(
    "name: a, logicalType: string, customProperties: [{property: path, value: vitals.hr}]",
    "bad-path",
    "vitals.hr"
)]
#[case::path_gap(
    "name: a, logicalType: string, customProperties: [{property: path, value: $.a..b}]",
    "bad-path",
    "$.a..b"
)]
#[case::path_index(
    "name: a, logicalType: string, customProperties: [{property: path, value: '$.a[0]'}]",
    "bad-path",
    "'$.a[0]'"
)]
#[case::key_gap("name: a, logicalType: string, primaryKey: true, primaryKeyPosition: 2", "bad-key", "2")]
#[case::key_without_key("name: a, logicalType: string, primaryKeyPosition: 1", "bad-key", "1")]
#[case::capitals("name: heartRate, logicalType: string", "capitals", "heartRate")]
#[case::metric_slip(
    "name: a, logicalType: string, quality: [{metric: nullValue, mustBe: 0}]",
    "not-allowed",
    "nullValue"
)]
#[case::no_comparison("name: a, logicalType: string, quality: [{metric: nullValues}]", "no-form", "{")]
#[case::severity(
    "name: a, logicalType: string, quality: [{metric: nullValues, mustBe: 0, severity: bad}]",
    "not-allowed",
    "bad"
)]
#[case::unit(
    "name: a, logicalType: string, quality: [{metric: nullValues, mustBe: 0, unit: bytes}]",
    "not-allowed",
    "bytes"
)]
#[case::must_be_text(
    "name: a, logicalType: string, quality: [{metric: nullValues, mustBe: none}]",
    "wrong-type",
    "none"
)]
#[case::invalid_of_what(
    "name: a, logicalType: string, quality: [{metric: invalidValues, mustBe: 0}]",
    "no-arguments",
    "invalidValues"
)]
#[case::custom_rule(
    "name: a, logicalType: string, quality: [{type: custom, engine: soda, implementation: x}]",
    "not-checked",
    "custom"
)]
#[case::same_id(
    "name: a, logicalType: string, quality: [{id: r, metric: nullValues, mustBe: 0}, {id: r, metric: nullValues, mustBe: 0}]",
    "duplicate-name",
    "r"
)]
fn of_a_column(#[case] property: &str, #[case] code: &str, #[case] at: &str) {
    check(Layer::Raw, &contract("", &format!("      - {{{property}}}"), ""), code, at);
}

#[rstest]
#[case::unknown_column(
    "metric: duplicateValues, mustBe: 0, arguments: {properties: [devise]}",
    "unknown-column",
    "devise"
)]
#[case::which_column("metric: nullValues, mustBe: 0", "no-arguments", "nullValues")]
#[case::placeholder(
    "type: sql, mustBe: 0, query: 'SELECT COUNT(*) FROM {object} WHERE {property} < 0'",
    "bad-sql",
    "'SELECT COUNT(*) FROM {object} WHERE {property} < 0'"
)]
#[case::percent_of_rows("metric: rowCount, mustBe: 0, unit: percent", "not-allowed", "rowCount")]
#[case::between("metric: rowCount, mustBeBetween: [10, 1]", "wrong-type", "[")]
fn of_the_dataset(#[case] rule: &str, #[case] code: &str, #[case] at: &str) {
    check(Layer::Raw, &contract("", "", &format!("    quality: [{{{rule}}}]")), code, at);
}

#[rstest]
#[case::other_name("    name: x", "name: readings", "name: other", "name-mismatch", "other")]
fn of_the_file(#[case] _unused: &str, #[case] from: &str, #[case] to: &str, #[case] code: &str, #[case] at: &str) {
    check(Layer::Raw, &contract("", "", "").replace(from, to), code, at);
}

#[test]
fn a_second_dataset_in_a_file() {
    let text = contract("", "", "  - name: second\n    properties: [{name: a, logicalType: string}]");
    check(Layer::Raw, &text, "several-objects", "name");
}

#[test]
fn an_older_version_in_a_project() {
    check(Layer::Raw, &contract("", "", "").replace("v3.1.0", "v2.2.2"), "old-version", "v2.2.2");
}

#[test]
fn a_gate_window_that_is_no_column() {
    let text = contract("customProperties: [{property: gateWindow, value: day}]", "", "");
    check(Layer::Serving, &text, "unknown-column", "day");
}

#[test]
fn a_time_column_that_is_no_timestamp() {
    let text = contract("customProperties: [{property: timeColumn, value: day}]", "", "");
    check(Layer::Serving, &text, "unknown-column", "day");
    let text = contract("customProperties: [{property: timeColumn, value: device}]", "", "");
    check(Layer::Raw, &text, "wrong-type", "device");
}

#[test]
fn a_horizon_that_is_no_duration() {
    let text = contract("customProperties: [{property: dedupHorizon, value: 1 day}]", "", "");
    check(Layer::Curated, &text, "bad-duration", "1 day");
}

#[test]
fn several_findings_come_at_once_and_in_order() {
    let text = contract(
        "colour: red\ndomain: 7",
        "      - {name: device, logicalType: strnig}",
        "    quality: [{metric: rowCount, mustBe: x}]",
    );
    let codes: Vec<&str> = compile_as(Layer::Raw, &text).diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["unknown-key", "wrong-type", "duplicate-name", "not-allowed", "wrong-type"]);
}
