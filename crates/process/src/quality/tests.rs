#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use datafusion::datasource::MemTable;
use object_store::memory::InMemory;
use vitalake_contract::{DatasetName, Layer, compile};

const CONTRACT: &str = r"
apiVersion: v3.1.0
kind: DataContract
id: a
name: t
version: 1.0.0
status: active
schema:
  - name: t
    properties:
      - {name: who, logicalType: string}
      - {name: Steps, logicalType: integer}
    quality:
";

/// A contract with these rules.
fn contract(rules: &str) -> Contract {
    let text = format!("{CONTRACT}{}", rules.lines().map(|line| format!("      {line}\n")).collect::<String>());
    let compiled = compile::compile("t.yaml", text.as_bytes(), Layer::Serving, &DatasetName::new("t").unwrap());
    compiled.contract.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics))
}

async fn results(rules: &str) -> Vec<(String, SetOutcome, Option<f64>)> {
    let contract = contract(rules);
    let who = StringViewArray::from(vec![Some("a"), Some("a"), Some("b"), None]);
    let steps = Int64Array::from(vec![1, 1, 5, 9]);
    let rows = RecordBatch::try_new(contract.schema(), vec![Arc::new(who), Arc::new(steps)]).unwrap();
    let rows = Arc::new(MemTable::try_new(contract.schema(), vec![vec![rows]]).unwrap());
    let (others, store) = (Arc::new(Catalogue::default()), Arc::new(InMemory::new()));
    let scope = RuleScope { contract: &contract, rows, others, store };
    let results = evaluate(&contract.set_rules, &scope).await;
    results.into_iter().map(|r| (r.rule, r.outcome, r.got)).collect()
}

async fn one(rule: &str) -> (SetOutcome, Option<f64>) {
    let (_, outcome, got) = results(&format!("- {{id: r, {rule}}}")).await.remove(0);
    (outcome, got)
}

#[tokio::test]
async fn the_metrics_count_what_the_contract_says() {
    use SetOutcome::{Broken, Passed};
    assert_eq!(one("metric: rowCount, mustBeGreaterOrEqualTo: 4").await, (Passed, Some(4.0)));
    assert_eq!(one("metric: rowCount, mustBeGreaterThan: 4").await, (Broken, Some(4.0)));
    assert_eq!(one("metric: rowCount, mustBeBetween: [4, 5]").await, (Passed, Some(4.0)));
    let duplicates = "metric: duplicateValues, arguments: {properties: [who, Steps]}";
    assert_eq!(one(&format!("{duplicates}, mustBe: 0")).await, (Broken, Some(2.0)));
    assert_eq!(one("metric: duplicateValues, arguments: {properties: [Steps]}, mustBe: 2").await, (Passed, Some(2.0)));
}

#[tokio::test]
async fn sql_is_read_as_spark_reads_it() {
    use SetOutcome::Passed;
    // Names without regard to case, a fraction of whole numbers, a subquery.
    let share = "type: sql, mustBe: 0.75, query: 'SELECT COUNT(WHO) / COUNT(*) FROM {object}'";
    assert_eq!(one(share).await, (Passed, Some(0.75)));
    let largest = "type: sql, mustBe: 1, query: \"SELECT COUNT(*) FROM (SELECT steps FROM serving.t WHERE steps = (SELECT MAX(Steps) FROM {object})) AS x WHERE 'a' = \\\"a\\\"\"";
    assert_eq!(one(largest).await, (Passed, Some(1.0)));
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_says_why_without_a_value_and_stops_no_other() {
    let of = |query: &str| format!("type: sql, mustBe: 1, query: \"{query}\"");
    let cases = [
        (of("SELECT nothing FROM {object}"), "nothing"),
        (of("SELECT COUNT(*) FROM raw.gone"), "raw.gone"),
        (of("SELECT who FROM {object} WHERE steps = 5"), "its query does not give a number"),
        (of("SELECT steps FROM {object}"), "its query does not give one number"),
        (of("SELECT SUM(steps) FROM {object} WHERE steps > 99"), "its query gives NULL"),
        (of("SELECT 1 / (COUNT(*) - 4) FROM {object}"), "its query gives NULL"),
        (of("DROP TABLE serving.t"), "it is not one SELECT"),
        (of("SELECT 1; SELECT 2"), "it is not one SELECT"),
    ];
    for (rule, want) in cases {
        let (outcome, got) = one(&rule).await;
        let SetOutcome::NotEvaluated(why) = outcome else { panic!("{rule}: {outcome:?} {got:?}") };
        assert!(why.contains(want), "{rule}: {why}");
    }
    let both = results(
        "- {id: a, type: sql, mustBe: 1, query: 'SELECT x FROM {object}'}\n- {id: b, metric: rowCount, mustBe: 4}",
    )
    .await;
    assert_eq!(both[1].1, SetOutcome::Passed);
}
