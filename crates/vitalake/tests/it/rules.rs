//! Rules in SQL: those of a raw dataset at landing and on delivery, and those that no dataset can have.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::folders::{Here, landed, send, tick};

const SQL_RULE: &str = "    quality:
      - id: no_third_tick
        type: sql
        query: SELECT COUNT(*) FROM {object} WHERE n = 3 OR CAST(steps AS STRING) LIKE '7%'
        mustBe: 0
customProperties:
";

#[test]
fn rules_in_sql_of_a_raw_dataset_hold_at_landing_and_on_delivery() {
    let here = Here::new();
    here.raw("customProperties:\n", SQL_RULE);
    let server = here.place.start().ready();
    let values: Vec<String> = (0..6).map(|n| tick(n, "")).chain(["{".to_owned(), tick(3, "")]).collect();
    send(&here.place, "ticks", &values);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[5]);
    let quarantined = "SELECT \"_rule\", \"_partition\", \"_offset\", CAST(\"_raw\" AS VARCHAR) \
                       FROM quarantine.ticks WHERE \"_topic\" = 'ticks' ORDER BY \"_offset\"";
    let rows = here.place.ask(quarantined).unwrap();
    let seen: Vec<(&str, i64, i64)> =
        rows.iter().map(|row| (row[0].as_str().unwrap(), row[1].as_i64().unwrap(), row[2].as_i64().unwrap())).collect();
    assert_eq!(seen, [("no_third_tick", 0, 3), ("json", 0, 6), ("no_third_tick", 0, 7)]);
    assert_eq!(rows[0][3], Value::from(tick(3, "")));

    let file = "n,tick_id,device,at,steps\n1,a,d,2026-01-01T00:00:00Z,70\n2,b,d,2026-01-01T00:00:00Z,17\n";
    let address = format!("http://{}/api/v1/deliveries/ticks?name=ticks.csv", here.place.http);
    let mut said = String::new();
    let mut answer = ureq::post(&address).send(file).unwrap();
    answer.body_mut().as_reader().read_to_string(&mut said).unwrap();
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["accepted"], &report["quarantined"]), (&json!(1), &json!(1)));
    let by_rule = "SELECT COUNT(*) FROM quarantine.ticks WHERE \"_rule\" = 'no_third_tick' AND \"_topic\" <> 'ticks'";
    landed(&here.place, by_rule, &[1]);
    drop(server);
}

#[test]
fn rules_that_could_not_be_kept_are_errors_of_validate() {
    let here = Here::new();
    here.raw("customProperties:\n", &SQL_RULE.replace("n = 3", "nobody = 3"));
    let hourly = here.project("contracts/serving/ticks_hourly.yaml");
    let text = std::fs::read_to_string(&hourly).unwrap();
    let rule = "    quality:\n      - {id: all_there, type: sql, mustBe: 1, query: 'SELECT MAX(gone) FROM {object}'}\n";
    let most = "      - name: most\n        logicalType: integer\n        required: true\n";
    assert!(text.contains(most));
    std::fs::write(&hourly, text.replace(most, &format!("{most}        logicalTypeOptions: {{maximum: 100}}\n{rule}")))
        .unwrap();
    let checked = vitalake::command::validate::check(&here.place.project, &Default::default());
    let errors: Vec<(&str, &str)> =
        checked.diagnostics.iter().filter(|d| d.is_error()).map(|d| (d.file.as_str(), d.message.as_str())).collect();
    let [(raw, sql), (serving, set)] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!((*raw, *serving), ("contracts/raw/ticks.yaml", "contracts/serving/ticks_hourly.yaml"));
    assert!(sql.contains("no_third_tick") && sql.contains("nobody"), "{sql}");
    assert!(set.contains("all_there") && set.contains("gone"), "{set}");
    let found = checked.diagnostics.iter().find(|d| d.message == *set).unwrap();
    assert!(found.source_line.as_deref().is_some_and(|line| line.contains("MAX(gone)")), "{found:?}");
    // A group is never final: what is said of its rows is asked of all groups at once.
    let hourly = checked.project.contract("ticks_hourly").unwrap();
    assert!(hourly.row_rules.is_empty());
    assert!(hourly.set_rules.iter().any(|rule| rule.name == "most.maximum"));
}
