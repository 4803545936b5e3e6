//! The task of a publication, as it is sent.

#![allow(clippy::unwrap_used)]

use vitalake_contract::compile::compile;
use vitalake_contract::{DatasetName, Layer};

use super::*;

const CONTRACT: &str = "
apiVersion: v3.1.0
kind: DataContract
id: 0b321436-ecdd-5620-a041-be02992e21b9
name: hourly
version: 1.0.0
status: active
schema:
  - name: hourly
    physicalType: table
    properties:
      - {name: patient_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: hour, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: born, logicalType: date}
      - {name: readings, logicalType: integer}
      - {name: bpm_avg, logicalType: number}
      - {name: worn, logicalType: boolean}
";

fn contract(text: &str) -> Contract {
    compile("x.yaml", text.as_bytes(), Layer::Serving, &DatasetName::new("hourly").unwrap()).contract.unwrap()
}

fn publication<'a>(columns: &'a [PublishedColumn], files: &'a [String], intervals: &'a [Interval]) -> Publication<'a> {
    Publication {
        id: "vl_hourly_0b321436_v12_0",
        datasource: "hourly",
        dataset: "hourly",
        version: 12,
        columns,
        time: Some("hour"),
        granularity: Granularity::Day,
        intervals,
        files,
        subtasks: 1,
    }
}

fn march() -> Vec<Interval> {
    vec![Interval::parse("2024-03-01T00:00:00.000Z/2024-03-04T00:00:00.000Z").unwrap()]
}

#[test]
fn a_task_is_made_of_the_contract() {
    let contract = contract(CONTRACT);
    assert_eq!(time_of(&contract), Some(("hour".to_owned(), false)));
    let files = ["http://127.0.0.1:8888/api/v1/published/hourly/12/a.parquet?sig=1-ff".to_owned()];
    let task = publication(&columns(&contract), &files, &march()).task();
    insta::assert_snapshot!(serde_json::to_string_pretty(&task).unwrap());
}

#[test]
fn where_no_row_is_left_the_intervals_are_emptied_all_the_same() {
    let contract = contract(CONTRACT);
    let task = publication(&columns(&contract), &[], &march()).task();
    let io = task.pointer("/spec/ioConfig").unwrap();
    assert_eq!(io.get("dropExisting").unwrap(), true);
    let row: Value = serde_json::from_str(io.pointer("/inputSource/data").unwrap().as_str().unwrap()).unwrap();
    let at = row.get(NO_TIME).unwrap().as_i64().unwrap();
    assert!(march().iter().all(|interval| !interval.holds(at)), "the row that Druid wants lies outside");
}

#[test]
fn a_dataset_without_a_timestamp_has_its_required_date_for_a_time_or_none() {
    let text = CONTRACT.replace(
        "{name: hour, logicalType: timestamp, required: true,",
        "{name: hour, logicalType: date, required: true,",
    );
    assert_eq!(time_of(&contract(&text)), Some(("hour".to_owned(), true)));
    let text = CONTRACT.replace("logicalType: timestamp", "logicalType: string");
    let contract = contract(&text);
    assert_eq!(time_of(&contract), None);
    let columns = columns(&contract);
    let task = Publication { time: None, ..publication(&columns, &["http://x/a".to_owned()], &march()) }.task();
    assert!(task.pointer("/spec/dataSchema/timestampSpec/missingValue").is_some());
}
