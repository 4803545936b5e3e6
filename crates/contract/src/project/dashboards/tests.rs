#![allow(clippy::unwrap_used)]
use super::{check, read, read_measures};
use crate::contract::{Column, ColumnType, Contract, DatasetName, Layer};
use crate::diagnostic::Diagnostic;

const PAGE: &str = "\
title: Ward
dataset: hourly
rows:
  - [one]
charts:
  one:
    type: number
    measure: steps_total
";

const MEASURES: &str = "\
measures:
  steps_total: SUM(steps)
  heart_rate:
    sql: AVG(bpm)
";

fn contract(name: &str, layer: Layer) -> Contract {
    let column = |name: &str, kind, unit: Option<&str>| Column {
        required: true,
        unit: unit.map(ToOwned::to_owned),
        ..Column::new(name, kind)
    };
    let columns = vec![
        column("hour", ColumnType::Timestamp(None), None),
        column("site", ColumnType::String, None),
        column("steps", ColumnType::Long, None),
        column("bpm", ColumnType::Double, Some("bpm")),
    ];
    Contract { columns, time_column: Some(0), ..Contract::new(DatasetName::new(name).unwrap(), layer) }
}

fn found(page: &str, measures: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut pages: Vec<_> = read("dashboards/ward.yaml", "ward", page.as_bytes(), &mut found).into_iter().collect();
    let set = read_measures("measures/hourly.yaml", "hourly", measures.as_bytes(), &mut found);
    assert!(found.iter().all(|finding| finding.line > 0 && finding.help.is_some()), "{found:?}");
    let mut sets: Vec<_> = set.into_iter().collect();
    let mut timeless = contract("timeless", Layer::Serving);
    timeless.time_column = None;
    let contracts = [contract("hourly", Layer::Serving), contract("vitals", Layer::Curated), timeless];
    let contracts: Vec<&Contract> = contracts.iter().collect();
    check(&mut pages, &mut sets, &contracts, &mut found);
    found
}

fn one(found: &[Diagnostic]) -> (&'static str, usize, String) {
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = found.first().unwrap();
    (finding.code, finding.line, format!("{}; {}", finding.message, finding.help.as_deref().unwrap_or_default()))
}

#[test]
fn what_is_right_has_no_finding() {
    assert_eq!(found(PAGE, MEASURES), []);
}

#[rstest::rstest]
#[case::key("title: Ward", "titel: Ward\ntitle: Ward", "unknown-key", 1, "`title`")]
#[case::chart_key("measure:", "mesure:", "unknown-key", 8, "`measure`")]
#[case::other_types_key("type: number", "type: number\n    y: site", "unknown-key", 8, "it is for heatmap")]
#[case::kind("type: number", "type: numbr", "unknown-type", 7, "`number`")]
#[case::kind_elsewhere("type: number", "type: big number", "unknown-type", 7, "`number`")]
#[case::row("[one]", "[on]", "unknown-chart", 4, "`one`")]
#[case::twice("[one]", "[one, one]", "duplicate-name", 4, "once")]
#[case::dataset("dataset: hourly", "dataset: hourl", "unknown-dataset", 2, "`hourly`")]
#[case::layer("dataset: hourly", "dataset: vitals", "unknown-dataset", 2, "only serving datasets")]
#[case::measure("steps_total", "step_total", "unknown-measure", 8, "`steps_total`")]
#[case::column("type: number", "type: bar\n    x: sit", "unknown-column", 8, "`site`")]
#[case::time("type: number", "type: bar\n    x: hour", "unknown-column", 8, "write `time`")]
#[case::down("type: number", "type: heatmap\n    x: site\n    y: time", "not-allowed", 9, "across")]
#[case::period("title: Ward", "title: Ward\nperiod: last week or so", "bad-period", 2, "last 24 hours")]
#[case::grain("type: number", "type: line\n    grain: hours", "unknown-word", 8, "`hour`")]
#[case::sort("type: number", "type: line\n    sort: steps", "unknown-measure", 8, "steps_total")]
#[case::order("type: number", "type: line\n    sort: steps_total up", "bad-sort", 8, "ascending")]
#[case::filter("title: Ward", "title: Ward\nfilters: [sitee]", "unknown-column", 2, "`site`")]
#[case::width("type: number", "type: number\n    width: 13", "bad-number", 8, "from 1 to 12")]
#[case::refresh("title: Ward", "title: Ward\nrefresh: 1s", "bad-duration", 2, "10s")]
#[case::statement("type: number", "type: number\n    where: steps > 0; DROP", "bad-sql", 8, "no `;`")]
#[case::comment("type: number", "type: number\n    where: steps -- all", "bad-sql", 8, "no comments")]
#[case::escape("type: number", "type: number\n    superset: {viz_type: pie}", "not-allowed", 8, "follows from")]
#[case::list("rows:\n  - [one]", "rows: one", "wrong-type", 3, "list")]
fn a_mistake_in_a_page_is_told_where_it_is(
    #[case] from: &str,
    #[case] to: &str,
    #[case] code: &str,
    #[case] line: usize,
    #[case] words: &str,
) {
    let page = PAGE.replace(from, to);
    assert_ne!(page, PAGE);
    let found = found(&page, MEASURES);
    let first: Vec<Diagnostic> =
        found.into_iter().filter(|finding| finding.code != "missing-key" && finding.code != "unplaced-chart").collect();
    let (found_code, found_line, text) = one(&first);
    assert_eq!((found_code, found_line), (code, line), "{text}");
    assert!(text.contains(words), "{text}");
}

#[rstest::rstest]
#[case::column_name("  steps: SUM(steps)\n", "duplicate-name", "steps_total")]
#[case::key("  a: {sql: SUM(steps), unt: x}\n", "unknown-key", "`unit`")]
#[case::no_sql("  a: {title: A}\n", "missing-key", "sql")]
#[case::two_formats("  a: {sql: SUM(steps), format: ',d', decimals: 2}\n", "not-allowed", "not both")]
#[case::name("  A: SUM(steps)\n", "bad-name", "a letter first")]
#[case::dimension("dimensions:\n  sit: {title: Site}\n", "unknown-column", "`site`")]
#[case::time("dimensions:\n  time: {title: When}\n", "bad-name", "time column")]
fn a_mistake_in_measures_is_told(#[case] lines: &str, #[case] code: &str, #[case] words: &str) {
    let (found_code, line, text) = one(&found(PAGE, &format!("{MEASURES}{lines}")));
    assert_eq!(found_code, code, "{text}");
    assert!(text.contains(words) && line > 4, "{text}");
}

#[test]
fn a_chart_without_time_is_none_along_time() {
    let page = PAGE.replace("hourly", "timeless").replace("type: number", "type: line");
    let found = found(&page, MEASURES);
    assert!(found.iter().any(|finding| finding.code == "unknown-column" && finding.message.contains("has no time")));
}

#[test]
fn units_and_formats_are_the_contracts() {
    let mut found = Vec::new();
    let mut sets = vec![read_measures("measures/hourly.yaml", "hourly", MEASURES.as_bytes(), &mut found).unwrap()];
    check(&mut [], &mut sets, &[&contract("hourly", Layer::Serving)], &mut found);
    let measures = &sets.first().unwrap().measures.measures;
    let said: Vec<(String, &str)> = measures.iter().map(|m| (m.label(), m.format.as_str())).collect();
    assert_eq!(said, [("Steps total".to_owned(), ",d"), ("Heart rate (bpm)".to_owned(), ",.1f")]);
}

#[test]
fn a_file_of_anything_gives_findings_and_no_panic() {
    for text in
        ["", "[]", "a", "charts: 1", "rows: {a: b}", "charts: {a: {type: [1]}}", "measures: [1]", "filters: [[1]]"]
    {
        let mut found = Vec::new();
        assert!(read("dashboards/a.yaml", "a", text.as_bytes(), &mut found).is_none());
        read_measures("measures/a.yaml", "a", text.as_bytes(), &mut found);
        assert!(!found.is_empty(), "{text}");
    }
}
