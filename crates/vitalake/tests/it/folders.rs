//! What is found in a data folder at start: another process, tables of another contract, a topic from before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use vitalake::simulate::client::{Outgoing, Producer};

use crate::rehearsal::project;
use crate::rehearsal::server::{Place, Refused};

pub struct Here {
    folder: TempDir,
    pub place: Place,
}

impl Here {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project_folder = folder.path().join("project");
        project::write(&project_folder, "storage:\n  commit_interval_ms: 200\n  reserve_bytes: 0\n");
        let place = Place::new(&project_folder, &folder.path().join("data"), &folder.path().join("log.txt"));
        Self { folder, place }
    }

    pub fn project(&self, file: &str) -> PathBuf {
        self.folder.path().join("project").join(file)
    }

    pub fn raw(&self, from: &str, to: &str) {
        let path = self.project("contracts/raw/ticks.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
}

pub fn send(place: &Place, topic: &str, values: &[String]) {
    let records = values.iter().map(|value| Outgoing {
        key: Bytes::from_static(b"key"),
        value: Bytes::from(value.clone()),
        timestamp_ms: 1_767_225_600_000,
    });
    let batch = BTreeMap::from([((topic.to_owned(), 0), records.collect())]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut producer = Producer::connect(&place.kafka, &[topic]).await.unwrap();
        producer.send(batch).await.unwrap();
    });
}

pub fn tick(n: i64, more: &str) -> String {
    format!(r#"{{"n":{n},"tick_id":"t{n}","device":"d1","at":"2026-01-01T00:00:00Z","steps":1{more}}}"#)
}

pub fn landed(place: &Place, sql: &str, wanted: &[i64]) {
    place.until("landed", || place.ask(sql).is_ok_and(|rows| rows[0][0].as_i64() >= Some(wanted[0])));
    assert_eq!(place.numbers(sql), wanted);
}

#[test]
fn a_data_folder_may_be_named_from_where_one_is() {
    let mut here = Here::new();
    here.place.data = PathBuf::from("data");
    here.place.start().ready().stop();
    assert!(here.folder.path().join("data/lake/raw/ticks/_delta_log").is_dir());
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let here = Here::new();
    let server = here.place.start().ready();
    let second = Place::new(&here.place.project, &here.place.data, &here.place.log);
    let (status, said) = second.refusal();
    assert_eq!(status, Some(1));
    let wanted = format!(
        "the data folder {} is in use by process {}: stop that process, or use another folder with --data",
        here.place.data.display(),
        server.id()
    );
    assert!(said.contains(&wanted), "{said}");
    // The first goes on, and its place is free when it ends.
    send(&here.place, project::TOPIC, &[tick(1, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[1]);
    server.kill();
    second.start().ready().stop();
}

#[test]
fn a_contract_may_gain_a_column_under_existing_data() {
    let here = Here::new();
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(1, ""), tick(2, r#","battery":7"#)]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[2]);
    server.stop();
    let path = here.project("contracts/raw/ticks.yaml");
    std::fs::write(path, project::raw_contract("      - name: battery\n        logicalType: integer\n")).unwrap();
    let server = here.place.start().ready();
    let sql = "SELECT COUNT(*), COUNT(battery), SUM(battery) FROM raw.ticks";
    assert_eq!(here.place.numbers(sql), [2, 0, 0]);
    send(&here.place, project::TOPIC, &[tick(3, r#","battery":55"#), tick(4, "")]);
    landed(&here.place, sql, &[4, 1, 55]);
    server.kill();
    let server = here.place.start().ready();
    landed(&here.place, sql, &[4, 1, 55]);
    landed(&here.place, "SELECT COUNT(*) FROM curated.ticks_once", &[4]);
    server.stop();
}

#[test]
fn a_topic_whose_contract_went_away_goes_on_under_its_id_when_it_is_back() {
    let here = Here::new();
    let path = here.project("contracts/raw/ticks_too.yaml");
    let other = project::raw_contract("")
        .replace("name: ticks\n", "name: ticks_too\n")
        .replace("value: ticks\n", "value: ticks-too\n")
        .replace("000000000001", "000000000009");
    std::fs::write(&path, &other).unwrap();
    let server = here.place.start().ready();
    send(&here.place, "ticks-too", &[tick(1, ""), tick(2, "")]);
    let sql = "SELECT COUNT(*), MAX(_offset) FROM raw.ticks_too";
    landed(&here.place, sql, &[2, 1]);
    server.stop();
    let registry = || std::fs::read(here.place.data.join("log/topics.json")).unwrap();
    let before = registry();
    std::fs::remove_file(&path).unwrap();
    let server = here.place.start().ready();
    assert!(here.place.said().contains("this topic has no contract any longer"), "{}", here.place.said());
    assert!(here.place.ask(sql).is_err());
    send(&here.place, project::TOPIC, &[tick(1, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[1]);
    server.stop();
    std::fs::write(&path, &other).unwrap();
    let server = here.place.start().ready();
    send(&here.place, "ticks-too", &[tick(3, "")]);
    landed(&here.place, sql, &[3, 2]);
    assert_eq!(registry(), before);
    server.stop();
    assert!(Path::new(&here.place.data).exists());
}

fn trouble_of<'a>(status: &'a Value, dataset: &str) -> &'a str {
    let all = status["datasets"].as_array().unwrap();
    let found = all.iter().find(|d| d["dataset"] == dataset).unwrap();
    assert_eq!(found["state"], "failed", "{found}");
    found["error"].as_str().unwrap()
}

/// What the command line says of the server, and with which exit status.
pub fn asked(here: &Here, arguments: &[&str]) -> (Option<i32>, String) {
    let server = format!("http://{}", here.place.http);
    let output = std::process::Command::new(crate::binary())
        .args(arguments)
        .args(["--server", &server])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn records_of_a_topic_that_was_renamed_are_said_with_their_number() {
    let mut here = Here::new();
    here.place = here.place.set("VITALAKE_STORAGE__COMMIT_INTERVAL_MS", 600_000);
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(1, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[1]);
    assert!(here.place.flush());
    send(&here.place, project::TOPIC, &[tick(2, ""), tick(3, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[3]);
    server.kill();
    here.raw("value: ticks\n", "value: ticks-new\n");
    let server = here.place.start().ready();
    let wanted = "2 acknowledged records of topic `ticks` have not landed in raw.ticks";
    let status = here.place.status().unwrap();
    assert!(trouble_of(&status, "ticks").starts_with(wanted), "{status}");
    assert!(here.place.said().contains(wanted), "{}", here.place.said());
    let (code, said) = asked(&here, &["status"]);
    assert!(code == Some(4) && said.contains(wanted), "{said}");
    server.stop();
    here.raw("value: ticks-new\n", "value: ticks\n");
    let server = here.place.start().ready();
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[3]);
    assert_eq!(here.place.status().unwrap()["troubles"], Value::Array(Vec::new()));
    server.stop();
}

#[test]
fn a_log_that_was_deleted_is_said_at_start_and_what_comes_later_is_all_there() {
    let here = Here::new();
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(1, ""), tick(2, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[2]);
    server.stop();
    assert!(!here.place.said().contains("a log that is not in this data folder"));
    std::fs::remove_dir_all(here.place.data.join("log")).unwrap();
    let server = here.place.start().ready();
    let wanted = "raw.ticks has 2 offsets of topic `ticks` from a log that is not in this data folder";
    assert!(here.place.said().contains(wanted), "{}", here.place.said());
    send(&here.place, project::TOPIC, &[tick(3, ""), tick(4, ""), tick(5, "")]);
    landed(&here.place, "SELECT COUNT(*), SUM(n) FROM raw.ticks", &[5, 15]);
    assert!(here.place.flush());
    server.kill();
    let server = here.place.start().ready();
    landed(&here.place, "SELECT COUNT(*), SUM(n) FROM raw.ticks", &[5, 15]);
    server.stop();
}

#[test]
fn a_parquet_file_that_is_gone_is_a_trouble_of_its_dataset_and_the_log_has_the_cause_under_the_error_s_id() {
    let here = Here::new();
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(1, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[1]);
    assert!(here.place.flush());
    let table = here.place.data.join("lake/raw/ticks");
    let files = std::fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "parquet")).unwrap();
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let refused = here.place.ask("SELECT SUM(n) FROM raw.ticks").unwrap_err();
    let Refused::Wrong(said) = refused else { panic!("{refused:?}") };
    let id = said.split("error id ").nth(1).and_then(|rest| rest.split('"').next()).expect(&said);
    let name = file.file_name().unwrap().to_str().unwrap();
    let log = here.place.said();
    let line = log.lines().find(|line| line.contains(id)).expect(&log);
    assert!(line.contains(name) && line.contains("not found"), "{line}");
    let status = here.place.status().unwrap();
    let trouble = trouble_of(&status, "ticks");
    assert!(trouble.starts_with("raw.ticks names the file") && trouble.contains(name), "{trouble}");
    let (code, said) = asked(&here, &["status", "--json"]);
    assert!(code == Some(4) && said.contains(name), "{said}");
    let ready = ureq::get(format!("http://{}/health/ready", here.place.http)).call().unwrap();
    assert!(ready.into_body().read_to_string().unwrap().contains(name));
    std::fs::write(&file, kept).unwrap();
    assert_eq!(here.place.numbers("SELECT SUM(n) FROM raw.ticks"), [1]);
    assert_eq!(here.place.status().unwrap()["troubles"], Value::Array(Vec::new()), "it is back");
    server.stop();
}

#[test]
fn a_large_file_that_is_refused_says_why() {
    let here = Here::new();
    let server = here.place.start().ready();
    let file = here.folder.path().join("large.csv");
    std::fs::write(&file, "a;b\n".repeat(8 << 20)).unwrap();
    let file = file.to_str().unwrap();
    for (dataset, wanted) in [
        ("nowhere", "error: there is no raw dataset nowhere to deliver to"),
        ("raw.ticks", "error: the delivery of ticks has no header line"),
    ] {
        let (code, said) = asked(&here, &["ingest", dataset, file]);
        assert!(code == Some(1) && said.contains(wanted), "{code:?}: {said}");
    }
    server.stop();
}
