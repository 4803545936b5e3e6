//! What a contract becomes: types, keys, rules, promises.

use std::time::Duration;

use rstest::rstest;
use vitalake_contract::compile::custom::CUSTOM_PROPERTIES;
use vitalake_contract::file_options::{Header, NewColumns};
use vitalake_contract::rule::{Bound, Check, Measure, Must, RowRule, SetRule, Severity};
use vitalake_contract::{ColumnType, Contract, Delivery, Layer, Source};

use crate::findings::compile_as;
use crate::shared::contract;

fn compiled(layer: Layer, top: &str, properties: &str, object: &str) -> Contract {
    let compiled = compile_as(layer, &contract(top, properties, object));
    assert_eq!(compiled.diagnostics, []);
    compiled.contract.unwrap()
}

#[test]
fn a_fingerprint_is_of_what_is_said_and_not_of_how() {
    let print = |text: &str| compile_as(Layer::Raw, text).contract.unwrap().fingerprint;
    let plain = contract("domain: a\ntenant: b", "", "");
    let other_layout = contract("# a comment\ntenant:   'b'\ndomain: a", "", "");
    let other_rule = contract("domain: a\ntenant: b", "      - {name: n, logicalType: integer}", "");
    assert_eq!((print(&plain), print(&plain).len()), (print(&other_layout), 32));
    assert_ne!(print(&plain), print(&other_rule));
}

fn row_rule(property: &str) -> RowRule {
    compiled(Layer::Raw, "", &format!("      - {{{property}}}"), "").row_rules.remove(1)
}

fn set_rule(property: &str) -> SetRule {
    compiled(Layer::Raw, "", &format!("      - {{{property}}}"), "").set_rules.remove(0)
}

#[rstest]
#[case("logicalType: string", "String")]
#[case("logicalType: integer", "Long")]
#[case("logicalType: integer, logicalTypeOptions: {format: i64}", "Long")]
#[case("logicalType: integer, logicalTypeOptions: {format: i32}", "Int")]
#[case("logicalType: integer, logicalTypeOptions: {format: i8}", "Int")]
#[case("logicalType: integer, logicalTypeOptions: {format: u32}", "Long")]
#[case("logicalType: number", "Double")]
#[case("logicalType: number, logicalTypeOptions: {format: f32}", "Float")]
#[case("logicalType: boolean", "Boolean")]
#[case("logicalType: date", "Date(None)")]
#[case("logicalType: timestamp", "Timestamp(None)")]
#[case("logicalType: time", "Time(None)")]
#[case("logicalType: object", "Json")]
#[case("logicalType: array", "Json")]
fn types(#[case] property: &str, #[case] kind: &str) {
    let contract = compiled(Layer::Raw, "", &format!("      - {{name: a, {property}}}"), "");
    assert_eq!(format!("{:?}", contract.columns[1].kind), kind);
}

#[test]
fn a_format_comes_with_its_zone() {
    let options = "format: 'M/d/yyyy h:mm:ss a', defaultTimezone: Europe/Berlin";
    let contract = compiled(
        Layer::Raw,
        "",
        &format!("      - {{name: a, logicalType: timestamp, logicalTypeOptions: {{{options}}}}}"),
        "",
    );
    let ColumnType::Timestamp(Some(format)) = &contract.columns[1].kind else { panic!("{:?}", contract.columns[1]) };
    assert_eq!(format.pattern, "M/d/yyyy h:mm:ss a");
    assert_eq!(format.default_zone, Some(chrono_tz::Europe::Berlin));
}

#[test]
fn a_zoned_format_needs_no_default_zone() {
    compiled(
        Layer::Raw,
        "",
        "      - {name: a, logicalType: timestamp, logicalTypeOptions: {format: \"yyyy-MM-dd'T'HH:mm:ssXXX\"}}",
        "",
    );
}

#[test]
fn a_zoneless_format_is_no_matter_where_nothing_is_decoded() {
    compiled(
        Layer::Curated,
        "",
        "      - {name: a, logicalType: timestamp, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss'}}",
        "",
    );
}

#[rstest]
#[case("", Source::Stream { topic: "readings".into(), partitions: 4 })]
#[case("customProperties: [{property: topic, value: a.b-c}, {property: partitions, value: 1024}]", Source::Stream { topic: "a.b-c".into(), partitions: 1024 })]
#[case("customProperties: [{property: source, value: feed}]", Source::Feed)]
fn sources(#[case] top: &str, #[case] source: Source) {
    assert_eq!(compiled(Layer::Raw, top, "", "").source, Some(source));
    assert_eq!(compiled(Layer::Curated, "", "", "").source, None);
}

#[test]
fn delivery_horizon_window_and_paths() {
    let raw = compiled(
        Layer::Raw,
        "customProperties: [{property: delivery, value: replace}]",
        "      - {name: hr, logicalType: integer, customProperties: [{property: path, value: $.vitals.Heart Rate}]}",
        "",
    );
    assert_eq!(raw.delivery, Delivery::Replace);
    assert_eq!(raw.columns[0].path, ["device"]);
    assert_eq!(raw.columns[1].path, ["vitals", "Heart Rate"]);
    let curated = compiled(Layer::Curated, "customProperties: [{property: dedupHorizon, value: P7D}]", "", "");
    assert_eq!(curated.dedup_horizon, Duration::from_secs(7 * 86_400));
    assert_eq!(compiled(Layer::Curated, "", "", "").dedup_horizon, Duration::from_secs(86_400));
    let serving = compiled(Layer::Serving, "customProperties: [{property: gateWindow, value: device}]", "", "");
    assert_eq!(serving.gate_window, Some(0));
    let sorted = |value: &str| {
        compiled(Layer::Raw, &format!("customProperties: [{{property: sortBy, value: {value}}}]"), "", "").sort_by
    };
    assert_eq!((sorted("device"), sorted("[device]")), (vec![0], vec![0]));
}

#[test]
fn the_primary_key_is_in_key_order_and_required() {
    let properties = "      - {name: b, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
      - {name: a, logicalType: string, primaryKey: true, primaryKeyPosition: 1}";
    let contract = compiled(Layer::Curated, "", properties, "");
    assert_eq!(contract.primary_key, [2, 1]);
    let names: Vec<&str> = contract.row_rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["device.required", "b.required", "a.required"]);
    assert!(contract.columns.iter().all(|column| column.required));
}

#[rstest]
#[case("name: a, logicalType: integer, logicalTypeOptions: {minimum: 0}", "a.minimum", Check::Minimum(Bound::Whole(0)))]
#[case(
    "name: a, logicalType: integer, logicalTypeOptions: {exclusiveMinimum: 0.5}",
    "a.exclusiveMinimum",
    Check::Minimum(Bound::Whole(1))
)]
#[case(
    "name: a, logicalType: integer, logicalTypeOptions: {exclusiveMaximum: 9}",
    "a.exclusiveMaximum",
    Check::ExclusiveMaximum(Bound::Whole(9))
)]
#[case("name: a, logicalType: number, logicalTypeOptions: {maximum: 1}", "a.maximum", Check::Maximum(Bound::Real(1.0)))]
#[case("name: a, logicalType: number, logicalTypeOptions: {multipleOf: 0.5}", "a.multipleOf", Check::MultipleOf(0.5))]
#[case(
    "name: a, logicalType: date, logicalTypeOptions: {minimum: '1970-01-11'}",
    "a.minimum",
    Check::Minimum(Bound::Whole(10))
)]
#[case(
    "name: a, logicalType: timestamp, logicalTypeOptions: {minimum: '1970-01-01T00:00:01Z'}",
    "a.minimum",
    Check::Minimum(Bound::Whole(1_000_000))
)]
#[case("name: a, logicalType: string, logicalTypeOptions: {minLength: 2}", "a.minLength", Check::MinLength(2))]
#[case("name: a, logicalType: string, logicalTypeOptions: {maxLength: 2}", "a.maxLength", Check::MaxLength(2))]
#[case("name: a, logicalType: integer, logicalTypeOptions: {format: u8}", "a.format", Check::Minimum(Bound::Whole(0)))]
#[case("name: a, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [x, 1]}}]", "a.invalidValues", Check::OneOf(vec!["x".into(), "1".into()]))]
#[case("name: a, logicalType: string, quality: [{metric: missingValues, mustBe: 0, arguments: {missingValues: ['', null, n/a]}}]", "a.missingValues", Check::NotSql("a IS NULL OR a IN ('', 'n/a')".into()))]
#[case("name: a, logicalType: integer, quality: [{type: sql, mustBe: 0, query: 'SELECT COUNT(*) FROM {object} WHERE {property} < 0'}]", "a.sql", Check::NotSql("a < 0".into()))]
#[case("name: a, logicalType: integer, quality: [{type: sql, name: positive, mustBe: 0, query: 'select count(*) from ${table} where ${column} < 0;'}]", "positive", Check::NotSql("a < 0".into()))]
fn row_rules(#[case] property: &str, #[case] name: &str, #[case] check: Check) {
    let rule = row_rule(property);
    assert_eq!((rule.name.as_str(), rule.column, rule.severity), (name, Some(1), Severity::Error));
    assert_eq!(format!("{:?}", rule.check), format!("{check:?}"));
}

#[rstest]
#[case("name: a, logicalType: string, unique: true", "a.unique", Measure::DuplicateValues(vec![1]), Must::Be(0.0))]
#[case(
    "name: a, logicalType: string, quality: [{metric: nullValues, mustBeLessThan: 5}]",
    "a.nullValues",
    Measure::NullValues(1),
    Must::BeLessThan(5.0)
)]
#[case("name: a, logicalType: string, quality: [{metric: duplicateValues, mustBe: '0'}]", "a.duplicateValues", Measure::DuplicateValues(vec![1]), Must::Be(0.0))]
#[case("name: a, logicalType: string, quality: [{metric: invalidValues, mustBeLessThan: 3, arguments: {validValues: [x, \"o'b\"]}}]", "a.invalidValues", Measure::Sql("SELECT COUNT(*) FROM {object} WHERE a NOT IN ('x', 'o''b')".into()), Must::BeLessThan(3.0))]
#[case("name: a, logicalType: string, quality: [{metric: nullValues, unit: percent, mustBeLessOrEqualTo: 5}]", "a.nullValues", Measure::Sql("SELECT COALESCE(100.0 * SUM(CASE WHEN a IS NULL THEN 1 ELSE 0 END) / NULLIF(COUNT(*), 0), 0) FROM {object}".into()), Must::BeLessOrEqualTo(5.0))]
#[case("name: a, logicalType: string, quality: [{type: sql, id: spread, mustBeBetween: [1, 2], query: 'SELECT MAX(${column}) FROM ${table}'}]", "spread", Measure::Sql("SELECT MAX(a) FROM {object}".into()), Must::BeBetween(1.0, 2.0))]
fn set_rules(#[case] property: &str, #[case] name: &str, #[case] measure: Measure, #[case] must: Must) {
    let rule = set_rule(property);
    assert_eq!((rule.name.as_str(), rule.must), (name, must));
    assert_eq!(format!("{:?}", rule.measure), format!("{measure:?}"));
}

#[test]
fn rules_of_the_dataset_with_severities() {
    let quality = "    quality:
      - {id: month_is_there, metric: rowCount, mustBeGreaterOrEqualTo: 900, severity: fatal}
      - {metric: duplicateValues, arguments: {properties: [device]}, mustBe: 0, severity: warning}
      - {type: sql, query: 'SELECT COUNT(*) FROM {object} WHERE device = 1', mustBe: 0, severity: info}
      - {type: sql, query: 'SELECT COUNT(*) FROM {object} WHERE device = 2', mustBe: 0}";
    let contract = compiled(Layer::Serving, "", "", quality);
    let sets: Vec<_> = contract.set_rules.iter().map(|rule| (rule.name.as_str(), rule.severity)).collect();
    assert_eq!(sets, [("month_is_there", Severity::Fatal), ("duplicateValues", Severity::Warning)]);
    let rows: Vec<_> = contract.row_rules.iter().map(|rule| (rule.name.as_str(), rule.column, rule.severity)).collect();
    assert_eq!(
        rows,
        [
            ("device.required", Some(0), Severity::Error),
            ("sql", None, Severity::Warning),
            ("sql_2", None, Severity::Error)
        ]
    );
}

#[test]
fn promises_about_time() {
    let top = "slaProperties:
  - {property: freshness, value: 15, unit: m, element: readings.device}
  - {property: latency, value: PT5M}
  - {property: retention, value: 3, unit: y, element: readings}
  - {property: availability, value: 99.9}";
    let sla = compiled(Layer::Serving, top, "", "").sla;
    assert_eq!(sla.freshness, Some(Duration::from_secs(900)));
    assert_eq!(sla.latency, Some(Duration::from_secs(300)));
    assert_eq!(sla.retention, Some(Duration::from_secs(3 * 365 * 86_400)));
}

#[test]
fn the_documentation_lists_every_custom_property() {
    let docs = include_str!("../../../../docs/contracts.md");
    for known in CUSTOM_PROPERTIES {
        assert!(docs.contains(&format!("| `{}` |", known.name)), "docs/contracts.md does not list {}", known.name);
        assert!(docs.contains(known.about), "docs/contracts.md does not say of {}: {}", known.name, known.about);
    }
}

#[test]
fn a_serving_dataset_with_conditions_or_terms_is_gated() {
    let serving = |top: &str, object: &str| compiled(Layer::Serving, top, "", object).is_gated();
    assert!(!serving("", ""));
    assert!(serving("slaProperties: [{property: freshness, value: PT15M}]", ""));
    for (name, value) in [("gateWindow", "device"), ("gateInputs", "[a]"), ("publishGroup", "nightly")] {
        assert!(serving(&format!("customProperties: [{{property: {name}, value: {value}}}]"), ""), "{name}");
    }
    let rule = |severity: &str| format!("    quality: [{{metric: rowCount, mustBe: 1, severity: {severity}}}]");
    assert!(serving("", &rule("error")));
    assert!(!serving("", &rule("warning")));
    assert!(!compiled(Layer::Curated, "", "", &rule("error")).is_gated());
}

#[test]
fn the_trailer_of_files_is_compiled() {
    let top = "customProperties: [{property: csv, value: {trailer: 'TRL|{rows}'}}]";
    let trailer = compiled(Layer::Raw, top, "", "").files.csv.trailer.unwrap();
    assert_eq!((trailer.text.as_str(), trailer.rows("TRL|7")), ("TRL|{rows}", Some(7)));
}

#[test]
fn the_forms_of_files_are_compiled() {
    let csv = "{delimiter: tab, quote: none, escape: '\\', encoding: iso-8859-1, header: [A, B], nullWords: ['NULL'], decimal: ',', \
               thousands: '.', comment: '#', skipTop: 2, skipBottom: 1}";
    let top = format!(
        "customProperties: [{{property: csv, value: {csv}}}, {{property: rowsPath, value: '$.entry[*].resource'}}, {{property: \
         onNewColumn, value: refuse}}]"
    );
    let files = compiled(Layer::Raw, &top, "", "").files;
    let signs = (files.csv.delimiter, files.csv.quote, files.csv.escape, files.csv.comment);
    assert_eq!(signs, (b'\t', None, Some(b'\\'), Some(b'#')));
    assert_eq!(files.csv.encoding.map(|encoding| encoding.name()), Some("windows-1252"));
    assert_eq!(files.csv.header, Header::Names(vec!["A".to_owned(), "B".to_owned()]));
    assert_eq!(
        (files.csv.null_words, files.csv.decimal, files.csv.thousands),
        (vec!["NULL".to_owned()], ',', Some('.'))
    );
    assert_eq!((files.csv.skip_top, files.csv.skip_bottom), (2, 1));
    let path = files.rows_path.unwrap();
    assert_eq!((path.array, path.row), (vec!["entry".to_owned()], vec!["resource".to_owned()]));
    assert_eq!(files.new_columns, NewColumns::Refuse);
}
