//! Rules about sets: what is counted, a rule on rows as one about a set, what validate says, and when a table is looked at.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, RecordBatch, StringViewArray};
use datafusion::datasource::MemTable;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rstest::rstest;
use vitalake_contract::check::violations;
use vitalake_contract::{Contract, DatasetName, Layer, compile};
use vitalake_lake::planned::table_schemas;
use vitalake_lake::{Catalogue, Lake, LakeOptions, TableSpec};
use vitalake_process::quality::check::problem;
use vitalake_process::quality::{RuleScope, ScheduledRules, SetOutcome, evaluate};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::{Event, Events};

use crate::support::{longs, times};

fn contract(layer: Layer, properties: &str, quality: &str) -> Contract {
    let head = "apiVersion: v3.1.0\nkind: DataContract\nid: a\nname: t\nversion: 1.0.0\nstatus: active\n";
    let text = format!("{head}schema:\n  - name: t\n    properties: [{properties}]\n    quality: [{quality}]\n");
    let compiled = compile::compile("t.yaml", text.as_bytes(), layer, &DatasetName::new("t").unwrap());
    compiled.contract.unwrap_or_else(|| panic!("{:?}\n{text}", compiled.diagnostics))
}

fn column(name: &str, kind: &str, rest: &str) -> String {
    format!("{{name: {name}, logicalType: {kind}{rest}}}")
}

/// One row for each corner that a check has; every column has a null and a value twice.
fn rows(contract: &Contract) -> RecordBatch {
    let texts = [Some("ab"), Some("ab"), Some("häß"), Some(""), Some("it's"), Some("x\\1"), None];
    let numbers = [Some(1.0), Some(1.0), Some(0.3), Some(-2.5), Some(9.0), Some(0.7), None];
    let all: [(&str, ArrayRef); 6] = [
        ("Text", Arc::new(texts.into_iter().collect::<StringViewArray>())),
        ("n", longs(&[Some(1), Some(1), Some(5), Some(-3), Some(0), Some(6), None])),
        ("x", Arc::new(numbers.into_iter().collect::<Float64Array>())),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None, None, None, None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(0), Some(0), Some(10), Some(-10), Some(19_000), Some(11), None]))),
        ("at", times(&[Some(0), Some(0), Some(1), Some(-1), Some(1_700_000_000), Some(2), None])),
    ];
    let columns = contract.columns.iter().map(|c| all.iter().find(|(name, _)| **name == *c.name).unwrap().1.clone());
    RecordBatch::try_new(contract.schema(), columns.collect()).unwrap()
}

const COLUMNS: &str = "{name: Text, logicalType: string}, {name: n, logicalType: integer}, \
                       {name: x, logicalType: number}, {name: b, logicalType: boolean}, \
                       {name: day, logicalType: date}, {name: at, logicalType: timestamp}";

/// What each set rule of a contract gives over the rows.
async fn measured(contract: &Contract) -> Vec<(SetOutcome, Option<f64>)> {
    let rows = Arc::new(MemTable::try_new(contract.schema(), vec![vec![rows(contract)]]).unwrap());
    let (others, store) = (Arc::new(Catalogue::default()), Arc::new(InMemory::new()));
    let scope = RuleScope { contract, rows, others, store };
    evaluate(&contract.set_rules, &scope).await.into_iter().map(|r| (r.outcome, r.got)).collect()
}

#[rstest]
#[case("metric: nullValues, arguments: {properties: [n]}, mustBe: 1", 1.0)]
#[case("metric: nullValues, arguments: {properties: [Text]}, unit: percent, mustBeBetween: [14, 15]", 100.0 / 7.0)]
#[case("metric: missingValues, arguments: {properties: [Text]}, mustBe: 1", 1.0)]
#[case("metric: missingValues, arguments: {properties: [Text], missingValues: ['', \"it's\", 'x\\1']}, mustBe: 4", 4.0)]
#[case("metric: missingValues, arguments: {properties: [n], missingValues: [0, '-3', none]}, mustBe: 3", 3.0)]
#[case("metric: missingValues, arguments: {properties: [x], missingValues: [1]}, mustBe: 3", 3.0)]
#[case("metric: missingValues, arguments: {properties: [b], missingValues: [false]}, mustBe: 5", 5.0)]
#[case("metric: missingValues, arguments: {properties: [day], missingValues: ['1970-01-01']}, mustBe: 3", 3.0)]
#[case("metric: invalidValues, arguments: {properties: [Text], validValues: [ab, '']}, mustBe: 3", 3.0)]
#[case("metric: invalidValues, arguments: {properties: [x], validValues: [1, 9]}, mustBe: 3", 3.0)]
#[case("metric: invalidValues, arguments: {properties: [Text], pattern: '^\\w+$'}, mustBe: 4", 4.0)]
#[case(
    "metric: invalidValues, arguments: {properties: [Text], pattern: '^x\\\\\\d$', validValues: ['x\\1']}, mustBe: 5",
    5.0
)]
#[case("metric: duplicateValues, arguments: {properties: [n]}, mustBe: 2", 2.0)]
#[case("metric: duplicateValues, arguments: {properties: [b]}, mustBe: 2", 2.0)]
#[case("metric: duplicateValues, arguments: {properties: [Text, n]}, mustBe: 2", 2.0)]
#[case("metric: duplicateValues, arguments: {properties: [n]}, unit: percent, mustBeGreaterThan: 28", 200.0 / 7.0)]
#[case("metric: rowCount, mustBeBetween: [7, 9]", 7.0)]
#[case("metric: rowCount, mustBeBetween: [1, 7]", 7.0)]
#[case("type: sql, mustBe: 2, query: SELECT COUNT(*) FROM {object} WHERE n = 1", 2.0)]
#[tokio::test]
async fn what_is_counted(#[case] rule: &str, #[case] want: f64) {
    let quality = rule.split_once("query: ").map(|(head, query)| format!("{head}query: '{query}'"));
    let contract = contract(Layer::Serving, COLUMNS, &format!("{{{}}}", quality.as_deref().unwrap_or(rule)));
    assert_eq!(measured(&contract).await, [(SetOutcome::Passed, Some(want))]);
}

#[rstest]
#[case("mustNotBeBetween: [7, 9]")]
#[case("mustNotBeBetween: [1, 7]")]
#[case("mustBeBetween: [8, 9]")]
#[case("mustBeGreaterThan: 7")]
#[case("mustBeLessThan: 7")]
#[case("mustNotBe: 7")]
#[tokio::test]
async fn comparisons_that_seven_does_not_keep(#[case] must: &str) {
    let contract = contract(Layer::Serving, COLUMNS, &format!("{{metric: rowCount, {must}}}"));
    assert_eq!(measured(&contract).await, [(SetOutcome::Broken, Some(7.0))]);
}

#[tokio::test]
async fn shares_of_no_rows_are_nothing() {
    let rule = |metric: &str| {
        format!("{{metric: {metric}, arguments: {{properties: [n]}}, unit: percent, mustBeLessThan: 1}}")
    };
    let quality = format!("{}, {}", rule("nullValues"), rule("duplicateValues"));
    let contract = contract(Layer::Serving, COLUMNS, &quality);
    let rows = Arc::new(MemTable::try_new(contract.schema(), vec![vec![]]).unwrap());
    let (others, store) = (Arc::new(Catalogue::default()), Arc::new(InMemory::new()));
    let found = evaluate(&contract.set_rules, &RuleScope { contract: &contract, rows, others, store }).await;
    let found: Vec<Option<f64>> = found.into_iter().map(|result| result.got).collect();
    assert_eq!(found, [Some(0.0), Some(0.0)]);
}

#[rstest]
#[case("Text", "string", ", required: true", 1)]
#[case("Text", "string", ", logicalTypeOptions: {minLength: 3}", 3)]
#[case("Text", "string", ", logicalTypeOptions: {maxLength: 3}", 1)]
#[case("Text", "string", ", logicalTypeOptions: {pattern: '^[a-z]+$'}", 4)]
#[case("Text", "string", ", logicalTypeOptions: {pattern: 'x\\\\\\d'}", 5)]
#[case("n", "integer", ", logicalTypeOptions: {minimum: 1}", 2)]
#[case("n", "integer", ", logicalTypeOptions: {exclusiveMinimum: 1}", 4)]
#[case("n", "integer", ", logicalTypeOptions: {maximum: 5}", 1)]
#[case("n", "integer", ", logicalTypeOptions: {exclusiveMaximum: 5}", 2)]
#[case("n", "integer", ", logicalTypeOptions: {multipleOf: 3}", 3)]
#[case("x", "number", ", logicalTypeOptions: {minimum: 0.5}", 2)]
#[case("x", "number", ", logicalTypeOptions: {multipleOf: 0.1}", 0)]
#[case("x", "number", ", logicalTypeOptions: {multipleOf: 0.5}", 2)]
#[case("day", "date", ", logicalTypeOptions: {minimum: '1970-01-11'}", 3)]
#[case("day", "date", ", logicalTypeOptions: {exclusiveMaximum: '1970-01-01'}", 5)]
#[case("at", "timestamp", ", logicalTypeOptions: {maximum: '1970-01-01T00:00:01Z'}", 2)]
#[case(
    "Text",
    "string",
    ", quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [ab, \"it's\"]}}]",
    3
)]
#[case("n", "integer", ", quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [1, '5']}}]", 3)]
#[case("b", "boolean", ", quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [true]}}]", 1)]
#[tokio::test]
async fn a_rule_on_rows_counts_the_same_rows_as_a_rule_about_the_set(
    #[case] name: &str,
    #[case] kind: &str,
    #[case] rule: &str,
    #[case] broken: usize,
) {
    let contract = contract(Layer::Serving, &column(name, kind, rule), "");
    assert_eq!(violations(&contract.row_rules, &rows(&contract)).unwrap().len(), broken);
    let of_set = contract.with_rules_about_sets();
    assert!(of_set.row_rules.is_empty());
    let outcome = if broken == 0 { SetOutcome::Passed } else { SetOutcome::Broken };
    assert_eq!(measured(&of_set).await, [(outcome, Some(broken as f64))]);
}

#[rstest]
#[case("SELECT SUM(n) FROM {object}", None)]
#[case("SELECT COUNT(*) FROM {object} AS a LEFT ANTI JOIN curated.other AS b ON a.n = b.n", None)]
#[case("SELECT COUNT(*) FROM quarantine.t", None)]
#[case("SELECT MAX(m) FROM {object}", Some("m"))]
#[case("SELECT COUNT(*) FROM raw.nobody", Some("nobody"))]
#[case("SELECT MAX(text) FROM {object}", Some("does not give a number"))]
#[case("SELECT MIN(n), MAX(n) FROM {object}", Some("does not give one column"))]
#[case("SELECT no_function(n) FROM {object}", Some("no_function"))]
#[case("DROP TABLE t", Some("not one SELECT"))]
#[test]
fn what_validate_says_of_a_query(#[case] query: &str, #[case] want: Option<&str>) {
    let rule = format!("{{type: sql, mustBe: 1, query: '{query}'}}");
    let contract = Arc::new(contract(Layer::Raw, COLUMNS, &rule));
    let other = Arc::new(crate::support::contract(Layer::Curated, "other", "n long", false));
    let tables = Arc::new(table_schemas(&[TableSpec::of(Arc::clone(&contract)), TableSpec::of(other)]));
    let found = problem(&contract, &contract.set_rules[0], &tables);
    match want {
        None => assert_eq!(found, None),
        Some(want) => assert!(found.as_deref().is_some_and(|found| found.contains(want)), "{found:?}"),
    }
}

/// A lake with the one table of a contract, at 1970-01-01.
async fn lake(contract: Contract, clock: &Clock) -> Arc<Lake> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let cpu = Cpu::with_workers(2).unwrap();
    let specs = vec![TableSpec::of(Arc::new(contract))];
    Arc::new(Lake::open(store, specs, LakeOptions::default(), clock.clone(), cpu).await.unwrap())
}

#[rstest]
#[case::default(Layer::Curated, "", 15 * 60)]
#[case::own(Layer::Curated, ", schedule: '0 20 * * *'", 20 * 3600)]
#[case::delivered(Layer::Raw, "", 0)]
#[case::delivered_with_a_schedule(Layer::Raw, ", schedule: '5 * * * *'", 300)]
#[case::gated(Layer::Serving, "", 0)]
#[case::recorded(Layer::Serving, ", severity: info", 15 * 60)]
#[tokio::test]
async fn a_table_is_looked_at_when_its_rule_says(#[case] layer: Layer, #[case] rest: &str, #[case] after_s: u64) {
    let mut contract = contract(layer, COLUMNS, &format!("{{id: some, metric: rowCount, mustBeGreaterThan: 0{rest}}}"));
    contract.source = (layer == Layer::Raw).then_some(vitalake_contract::Source::Feed);
    let clock = Clock::manual(0);
    let lake = lake(contract, &clock).await;
    let (events, mut told) = Events::channel();
    let mut rules = ScheduledRules::new(&lake, &clock, &events);
    assert_eq!(rules.look().await, 0);
    if after_s == 0 {
        clock.advance(Duration::from_secs(7 * 86_400));
        assert_eq!(rules.look().await, 0);
        return;
    }
    clock.advance(Duration::from_secs(after_s - 1));
    assert_eq!(rules.look().await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!((rules.look().await, rules.look().await), (1, 0));
    let Some(Event::Measured { dataset, rule, scope, got, want, passed, .. }) = told.recv().await else { panic!() };
    assert_eq!((&*dataset, &*rule, &*scope, &*want), ("t", "some", "table", "more than 0"));
    assert_eq!((got, passed), (Some(0.0), Some(false)));
}
