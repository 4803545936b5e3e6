//! Rules of `quality` and `relationships` in all their forms: what each becomes, and what is refused.

use std::fs;

use rstest::rstest;
use vitalake_contract::rule::{Check, Measure, Must, SEVERITIES, Severity};
use vitalake_contract::{ColumnType, Contract, Layer, Project};

use crate::findings::{check, compile_as};
use crate::shared::contract;

/// What a rule under the column `n`, an integer, becomes: `row CHECK` or `set QUERY MUST`.
fn made(rule: &str) -> String {
    made_of("integer", rule)
}

fn made_of(kind: &str, rule: &str) -> String {
    let property = format!("      - {{name: n, logicalType: {kind}, quality: [{{{rule}}}]}}");
    let compiled = compile_as(Layer::Raw, &contract("", &property, ""));
    assert_eq!(compiled.diagnostics, [], "{rule}");
    what(&compiled.contract.unwrap())
}

fn what(contract: &Contract) -> String {
    let rows = contract.row_rules.iter().skip(1).map(|rule| match &rule.check {
        Check::NotSql(sql) => format!("row {sql}"),
        Check::Pattern(regex) => format!("row pattern {regex}"),
        check => format!("row {check:?}"),
    });
    let sets = contract.set_rules.iter().map(|rule| {
        let query = rule.measure.query(&contract.columns).unwrap();
        format!("set {query} {:?}", rule.must)
    });
    rows.chain(sets).collect::<Vec<_>>().join("; ")
}

#[rstest]
#[case("mustBe: 0")]
#[case("mustBe: '0'")]
#[case("mustBeLessThan: 1")]
#[case("mustBeLessThan: 0.5")]
#[case("mustBeLessOrEqualTo: 0")]
#[case("mustBeLessOrEqualTo: 0.9")]
#[case("mustBeBetween: [-1, 0]")]
#[case("mustBeBetween: [0, 0.5]")]
#[case("mustBe: 0, unit: rows")]
#[case("mustBe: 0, unit: percent")]
#[case("mustBeLessOrEqualTo: 0, unit: percent")]
fn comparisons_that_no_row_may_break_are_row_rules(#[case] must: &str) {
    assert_eq!(made(&format!("metric: nullValues, {must}")), "row Required");
    assert_eq!(made(&format!("metric: missingValues, {must}")), "row Required");
    let missing = format!("metric: missingValues, arguments: {{missingValues: [-1]}}, {must}");
    assert_eq!(made(&missing), "row n IS NULL OR n IN (-1)");
    let valid = format!("metric: invalidValues, arguments: {{validValues: [1, 2]}}, {must}");
    assert_eq!(made(&valid), "row OneOf([\"1\", \"2\"])");
    let sql = format!("type: sql, query: 'SELECT COUNT(*) FROM {{object}} WHERE n < 0', {must}");
    if !must.contains("percent") || must.starts_with("mustBe: 0") {
        assert_eq!(made(&sql), "row n < 0");
    }
}

#[rstest]
#[case("mustBe: 1", Must::Be(1.0))]
#[case("mustNotBe: 0", Must::NotBe(0.0))]
#[case("mustBeGreaterThan: 0", Must::BeGreaterThan(0.0))]
#[case("mustBeGreaterOrEqualTo: 0", Must::BeGreaterOrEqualTo(0.0))]
#[case("mustBeLessThan: 2", Must::BeLessThan(2.0))]
#[case("mustBeLessOrEqualTo: 1", Must::BeLessOrEqualTo(1.0))]
#[case("mustBeBetween: [0, 1]", Must::BeBetween(0.0, 1.0))]
#[case("mustNotBeBetween: [0, 1]", Must::NotBeBetween(0.0, 1.0))]
fn other_comparisons_are_about_a_set(#[case] must: &str, #[case] want: Must) {
    let query = "SELECT COUNT(*) FROM {object} WHERE n IS NULL";
    assert_eq!(made(&format!("metric: nullValues, {must}")), format!("set {query} {want:?}"));
}

#[rstest]
#[case("nullValues", "n IS NULL")]
#[case("missingValues", "n IS NULL")]
#[case("missingValues, arguments: {missingValues: [null, 0, '-1', n/a]}", "n IS NULL OR n IN (0, -1)")]
#[case("invalidValues, arguments: {validValues: [null, 1, '2', x]}", "n NOT IN (1, 2)")]
fn shares_are_of_all_rows(#[case] metric: &str, #[case] condition: &str) {
    let share = format!(
        "SELECT COALESCE(100.0 * SUM(CASE WHEN {condition} THEN 1 ELSE 0 END) / NULLIF(COUNT(*), 0), 0) FROM {{object}}"
    );
    let rule = format!("metric: {metric}, unit: percent, mustBeLessThan: 1");
    assert_eq!(made(&rule), format!("set {share} BeLessThan(1.0)"));
    let rule = format!("metric: {metric}, mustBeLessThan: 5");
    assert_eq!(made(&rule), format!("set SELECT COUNT(*) FROM {{object}} WHERE {condition} BeLessThan(5.0)"));
}

#[rstest]
#[case("string", "invalidValues, arguments: {pattern: '^a\\d$'}, mustBe: 0", "row pattern ^a[0-9]$")]
#[case(
    "string",
    "invalidValues, arguments: {pattern: '^\\.$', validValues: [x]}, mustBe: 0",
    r"row n NOT IN ('x') OR NOT regexp_like(n, '^\\.$')"
)]
#[case(
    "string",
    "missingValues, arguments: {missingValues: ['', \"it's\", 'a\\b']}, mustBe: 0",
    r"row n IS NULL OR n IN ('', 'it''s', 'a\\b')"
)]
#[case("boolean", "missingValues, arguments: {missingValues: [false]}, mustBe: 0", "row n IS NULL OR n IN (false)")]
#[case(
    "date",
    "missingValues, arguments: {missingValues: ['1900-01-01']}, mustBe: 0",
    "row n IS NULL OR CAST(n AS STRING) IN ('1900-01-01')"
)]
fn values_are_compared_as_their_columns_type(#[case] kind: &str, #[case] metric: &str, #[case] want: &str) {
    assert_eq!(made_of(kind, &format!("metric: {metric}")), want);
}

#[test]
fn duplicates_are_rows_that_share_a_value_that_is_there() {
    let rows = "SELECT COALESCE(SUM(_rows), 0) FROM (SELECT COUNT(*) AS _rows FROM {object} WHERE n IS NOT NULL GROUP BY n \
                HAVING COUNT(*) > 1) AS g";
    assert_eq!(made("metric: duplicateValues, mustBe: 0"), format!("set {rows} Be(0.0)"));
    let unique = compile_as(Layer::Raw, &contract("", "      - {name: n, logicalType: integer, unique: true}", ""));
    assert_eq!(what(&unique.contract.unwrap()), format!("set {rows} Be(0.0)"));
    let share = "SELECT COALESCE(100.0 * SUM(CASE WHEN _rows > 1 AND n IS NOT NULL THEN _rows ELSE 0 END) / NULLIF(SUM(_rows), 0), 0) \
                 FROM (SELECT n, COUNT(*) AS _rows FROM {object} GROUP BY n) AS g";
    assert_eq!(
        made("metric: duplicateValues, unit: percent, mustBeLessThan: 1"),
        format!("set {share} BeLessThan(1.0)")
    );
}

#[rstest]
#[case("SELECT COUNT(*) FROM {object} WHERE {property} < 20")]
#[case("SELECT COUNT(*) FROM {model} WHERE n < 20")]
#[case("SELECT COUNT(*) FROM ${table} WHERE ${column} < 20")]
#[case("SELECT COUNT(*) FROM readings WHERE n < 20")]
#[case("SELECT COUNT(*) FROM raw.readings WHERE n < 20")]
#[case("SELECT COUNT(1) FROM {object} WHERE n < 20")]
#[case("SELECT COUNT(*) AS bad FROM {object} t WHERE t.n < 20")]
#[case("SELECT COUNT(*) FROM {object} WHERE n < 20;")]
#[case("SELECT COUNT(*) FROM {object} WHERE n < 20 ; ")]
#[case("SELECT COUNT(*) FROM readings WHERE readings.n < 20")]
fn queries_that_mean_the_same_are_one_row_rule(#[case] query: &str) {
    assert_eq!(made(&format!("type: sql, mustBe: 0, query: '{query}'")), "row n < 20");
}

#[test]
fn every_word_of_the_table_is_a_severity_and_the_page_lists_it() {
    let docs = include_str!("../../../../docs/contracts.md");
    for (word, severity) in SEVERITIES {
        assert_eq!(Severity::named(&word.to_uppercase()), Some(severity));
        let property = format!(
            "      - {{name: n, logicalType: integer, quality: [{{metric: nullValues, mustBe: 0, severity: {word}}}]}}"
        );
        let compiled = compile_as(Layer::Raw, &contract("", &property, ""));
        assert_eq!(compiled.contract.unwrap().row_rules[1].severity, severity, "{word}");
        assert!(docs.contains(&format!("`{word}`")), "docs/contracts.md does not list the severity {word}");
    }
}

#[rstest]
#[case("nullCheck", "row Required")]
#[case("nullCount, mustBe: 0", "row Required")]
#[case("validValues, validValues: [1, 2]", "row OneOf([\"1\", \"2\"])")]
#[case("nullPercent, mustBe: 0", "row Required")]
#[case("rowCount, mustBeGreaterThan: 5", "set SELECT COUNT(*) FROM {object} BeGreaterThan(5.0)")]
fn rules_of_3_0_are_read(#[case] rule: &str, #[case] want: &str) {
    for version in ["v3.0.0", "v3.0.1", "v3.0.2"] {
        let property = format!("      - {{name: n, logicalType: integer, quality: [{{type: library, rule: {rule}}}]}}");
        let compiled = compile_as(Layer::Raw, &contract("", &property, "").replace("v3.1.0", version));
        assert_eq!(compiled.diagnostics, [], "{version} {rule}");
        assert_eq!(what(&compiled.contract.unwrap()), want);
    }
}

#[test]
fn types_and_bounds_of_3_0_are_read() {
    let properties = "      - {name: at, logicalType: date, physicalType: timestamp(6)}
      - {name: seen, logicalType: date, logicalTypeOptions: {format: \"yyyy-MM-dd'T'HH:mm:ssXXX\"}}
      - {name: day, logicalType: date, physicalType: date}
      - {name: n, logicalType: integer, logicalTypeOptions: {minimum: 5, exclusiveMinimum: true, maximum: 9, exclusiveMaximum: false}}";
    let compiled = compile_as(Layer::Raw, &contract("", properties, "").replace("v3.1.0", "v3.0.2"));
    assert_eq!(compiled.diagnostics, []);
    let contract = compiled.contract.unwrap();
    let instants: Vec<bool> =
        contract.columns[1..4].iter().map(|column| matches!(column.kind, ColumnType::Timestamp(_))).collect();
    assert_eq!(instants, [true, true, false]);
    assert_eq!(what(&contract), "row ExclusiveMinimum(Whole(5)); row Maximum(Whole(9))");
}

#[test]
fn what_3_2_shares_with_3_1_is_read_and_what_it_adds_is_refused() {
    let text = contract("", "      - {name: n, logicalType: integer}", "").replace("v3.1.0", "v3.2.0");
    assert_eq!(compile_as(Layer::Raw, &text).diagnostics, []);
    let text =
        contract("", "      - {name: n, logicalType: integer, enum: [{value: 1}]}", "").replace("v3.1.0", "v3.2.0");
    check(Layer::Raw, &text, "unknown-key", "enum");
}

#[rstest]
#[case("type: custom, engine: soda, implementation: x", "not-checked", "custom")]
#[case("description: a note", "not-checked", "{")]
#[case("metric: nullValues, mustBe: -1", "never-holds", "nullValues")]
#[case("metric: nullValues, mustBe: 0.5", "never-holds", "nullValues")]
#[case("metric: nullValues, mustBeLessThan: 0", "never-holds", "nullValues")]
#[case("metric: nullValues, mustBe: 0, severity: urgent", "not-allowed", "urgent")]
#[case("metric: nullValues, mustBe: 5, schedule: often", "bad-schedule", "often")]
#[case("metric: nullValues, mustBe: 5, scheduler: cron, schedule: 0 25 * * *", "bad-schedule", "0 25 * * *")]
#[case("metric: nullValues, mustBe: 5, scheduler: airflow", "not-ours", "airflow")]
#[case("metric: invalidValues, arguments: {validValues: [x]}, mustBe: 0", "wrong-type", "invalidValues")]
#[case("type: sql, mustBe: 0, query: SELECT COUNT(*) FROM {who}", "bad-sql", "SELECT COUNT(*) FROM {who}")]
#[case("type: sql, mustBe: 0, query: SELECT COUNT(*) FROM `{who}`", "bad-sql", "SELECT COUNT(*) FROM `{who}`")]
#[case("type: sql, mustBe: 0, query: \"SELECT 'open\"", "bad-sql", "\"SELECT 'open\"")]
#[case("type: sql, mustBe: 0, query: ' ; '", "bad-sql", "' ; '")]
#[case(
    "type: sql, mustBe: 0, query: SELECT COUNT(*) FROM t WHERE n > now()",
    "not-repeatable",
    "SELECT COUNT(*) FROM t WHERE n > now()"
)]
#[case("type: sql, mustBe: 5, query: SELECT rand() FROM t", "not-repeatable", "SELECT rand() FROM t")]
fn what_is_refused_or_warned_of(#[case] rule: &str, #[case] code: &str, #[case] at: &str) {
    let property = format!("      - name: n\n        logicalType: integer\n        quality:\n          - {{{rule}}}");
    // A flow mapping would end a query at its first brace or comma.
    let property = match rule.split_once("query: ") {
        Some((head, query)) => {
            let head = head.replace(", ", "\n            ");
            format!("      - name: n\n        logicalType: integer\n        quality:\n          - {head}query: {query}")
        }
        None => property,
    };
    check(Layer::Raw, &contract("", &property, ""), code, at);
}

#[rstest]
#[case("required: true", "required")]
#[case("unique: true", "unique")]
#[case("quality: [{metric: nullValues, mustBe: 0}]", "quality")]
fn a_rule_that_is_nested_in_a_column_is_warned_of(#[case] rule: &str, #[case] at: &str) {
    let inner = format!("{{name: inner, logicalType: string, {rule}}}");
    let object = format!("      - {{name: o, logicalType: object, properties: [{inner}]}}");
    check(Layer::Raw, &contract("", &object, ""), "not-checked", at);
    let array =
        format!("      - {{name: o, logicalType: array, items: {{logicalType: object, properties: [{inner}]}}}}");
    check(Layer::Raw, &contract("", &array, ""), "not-checked", at);
}

#[test]
fn a_schedule_goes_with_a_rule_about_a_set() {
    let property = "      - {name: n, logicalType: integer, quality: [{metric: nullValues, mustBeLessThan: 9, scheduler: cron, schedule: 0 20 * * *}]}";
    let contract = compile_as(Layer::Raw, &contract("", property, "")).contract.unwrap();
    let schedule = contract.set_rules[0].schedule.as_ref().unwrap();
    assert_eq!((schedule.pattern(), schedule.next_after_ms(0)), ("0 20 * * *", Some(20 * 3_600_000)));
}

/// A project of two raw datasets, with these relationships of the second to the first.
fn related(column: &str, object: &str) -> (Project, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("contracts/raw")).unwrap();
    let file = |name: &str, text: String| fs::write(folder.path().join(format!("contracts/raw/{name}.yaml")), text);
    fs::write(folder.path().join("vitalake.yaml"), "name: x\n").unwrap();
    let site = "      - {name: site, logicalType: integer}";
    file("readings", contract("", site, "")).unwrap();
    let child = contract("", &format!("{site}\n      - {{name: who, logicalType: string{column}}}"), object);
    file("visits", child.replace("readings", "visits").replace("TARGET", "readings").replace("4b0d3a3e", "5b0d3a3e"))
        .unwrap();
    let (project, found) = Project::load(folder.path());
    (project, found.into_iter().map(|d| (d.code.to_owned(), d.message)).collect())
}

#[rstest]
#[case(", relationships: [{to: TARGET.device}]", "")]
#[case(", relationships: [{to: /schema/TARGET/properties/device}]", "")]
#[case(", relationships: [{to: 'contracts/raw/TARGET.yaml#/schema/TARGET/properties/device', type: foreignKey}]", "")]
#[case("", "    relationships: [{from: visits.who, to: TARGET.device}]")]
fn a_reference_is_a_rule_about_rows_whose_key_is_missing(#[case] column: &str, #[case] object: &str) {
    let (project, found) = related(column, object);
    assert_eq!(found, []);
    let rule = &project.contract("visits").unwrap().set_rules[0];
    let Measure::Sql(query) = &rule.measure else { panic!("{rule:?}") };
    assert_eq!((rule.name.as_str(), &rule.must, rule.severity), ("who.references", &Must::Be(0.0), Severity::Error));
    assert_eq!(
        query,
        "SELECT COUNT(*) FROM {object} AS child LEFT ANTI JOIN raw.readings AS parent ON child.who = parent.device \
         WHERE child.who IS NOT NULL"
    );
}

#[rstest]
#[case("warning", Severity::Warning)]
#[case("fatal", Severity::Fatal)]
#[case("error", Severity::Error)]
fn a_reference_says_what_a_missing_key_means(#[case] said: &str, #[case] severity: Severity) {
    let column =
        format!(", relationships: [{{to: TARGET.device, customProperties: [{{property: severity, value: {said}}}]}}]");
    let (project, found) = related(&column, "");
    assert_eq!(found, []);
    assert_eq!(project.contract("visits").unwrap().set_rules[0].severity, severity);
    let (_, found) = related(&column.replace(&format!("value: {said}"), "value: sometimes"), "");
    assert_eq!(found[0].1, "the severity `sometimes` is not known");
}

#[test]
fn a_reference_of_several_columns() {
    let object = "    relationships: [{from: [visits.who, visits.site], to: [TARGET.device, TARGET.site]}]";
    let (project, found) = related("", object);
    assert_eq!(found, []);
    let Measure::Sql(query) = &project.contract("visits").unwrap().set_rules[0].measure else { panic!() };
    assert!(query.contains("ON child.who = parent.device AND child.site = parent.site WHERE"), "{query}");
}

#[rstest]
#[case(", relationships: [{to: patients.device}]", "", "there is no dataset patients in the project")]
#[case(", relationships: [{to: TARGET.devise}]", "", "raw.readings has no column `devise`")]
#[case(", relationships: [{to: TARGET.site}]", "", "`who` and readings.site have different types")]
#[case(", relationships: [{to: [TARGET.site, TARGET.device]}]", "", "`to` has not the keys that the columns need")]
#[case("", "    relationships: [{from: TARGET.device, to: TARGET.device}]", "`readings` is not this dataset")]
fn references_that_lead_nowhere(#[case] column: &str, #[case] object: &str, #[case] message: &str) {
    let (_, found) = related(column, object);
    assert_eq!(found, [("bad-reference".to_owned(), message.to_owned())]);
}
