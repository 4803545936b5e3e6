//! `vitalake init`: what it makes is valid and runs, a sample loads under the contract that was drafted from it, and no
//! value of a sample is in that contract.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::Value;

use crate::rehearsal::server::Place;

fn vitalake(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(crate::binary());
    command.args(arguments).current_dir(dir).env_clear().env("NO_COLOR", "1").env("COLUMNS", "100").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

/// Without what differs each time.
fn steady(text: &str, dir: &Path) -> String {
    let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or("no id");
    text.replace(id, "[id]").replace(&*dir.to_string_lossy(), "[dir]")
}

/// The findings of `validate`, of every severity.
fn findings(project: &Path) -> Vec<Value> {
    let verdict = vitalake(project, &["validate", "--json"]);
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    verdict["diagnostics"].as_array().unwrap().clone()
}

#[test]
fn the_project_that_is_made_is_valid_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let made = vitalake(folder.path(), &["init", "first-lake"]);
    assert!(made.status.success(), "{}", said(&made));
    insta::assert_snapshot!("init_made", said(&made));
    let project = folder.path().join("first-lake");
    assert_eq!(findings(&project), [] as [Value; 0]);

    let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
    let server = place.start().ready();
    let sample = project.join("deliveries/readings.ndjson");
    let address = format!("http://{}", place.http);
    let loaded = vitalake(folder.path(), &["ingest", "readings", sample.to_str().unwrap(), "--server", &address]);
    assert!(loaded.status.success(), "{}", said(&loaded));
    let hours = "SELECT COUNT(*), SUM(readings), SUM(steps), MAX(heart_rate_max) FROM serving.vitals_hourly_live";
    place.until("derived", || place.numbers(hours)[1] == 10);
    assert_eq!(place.numbers(hours), [4, 10, 3117, 88]);
    assert_eq!(place.numbers("SELECT COUNT(*) FROM quarantine.readings"), [1]);
    server.stop();
}

#[rstest]
#[case::file("file", &["init", "."])]
#[case::hidden(".hidden", &["init", "."])]
#[case::with_a_sample("sample.csv", &["init", ".", "--from", "sample.csv"])]
fn a_folder_that_is_not_empty_is_left_as_it_is(#[case] file: &str, #[case] arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), "a,b\nx,1\n").unwrap();
    let refused = vitalake(folder.path(), arguments);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("is not empty, and nothing was written"), "{}", said(&refused));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_repository_without_files_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    assert!(vitalake(folder.path(), &["init", "."]).status.success());
    assert_eq!(findings(folder.path()), [] as [Value; 0]);
}

const EVENTS: &str = r#"{"id":"e-1","at":"2026-01-05T08:00:00Z","user":{"id":41,"name":"Ada Example"},"vitals":{"hr":62,"temp":36.5},"tags":["x"],"by_day":{"2026-01-05":1},"Weight (kg)":70.5,"seen":"05.01.2026 08:00","note":null,"mixed":1}
{"id":"e-2","at":"2026-01-05T09:00:00+01:00","user":{"id":42,"name":"Bob Example"},"vitals":{"hr":70},"tags":[],"by_day":{"2026-01-06":2},"Weight (kg)":71,"seen":"31.01.2026 18:30","note":null,"mixed":"one"}
{"id":"e-3","at":"2026-01-05T10:00:00Z","user":{"id":43,"name":"Cyd Example"},"vitals":{"hr":66,"temp":37},"tags":["y"],"by_day":{},"Weight (kg)":69.25,"seen":"01.02.2026 00:00","note":null,"mixed":"two"}
{"id":"e-4","at":"2026-01-05T10:00:00Z","user":{"id":43,"name":"Cyd Example"},"vitals":{"hr":66,"temp":37},"tags":["y"],"by_day":{},"Weight (kg)":69.25,"seen":"01.02.2026 00:00","note":null,"mixed":"two"}
{"id":"e-5","at":"2026-01-05T10:00:00Z","user":{"id":43,"name":"Cyd Example"},"vitals":{"hr":66,"temp":37},"tags":["y"],"by_day":{},"Weight (kg)":69.25,"seen":"01.02.2026 00:00","note":null,"mixed":"two"}
"#;

const STEPS: &str = "Id,ActivityHour,StepTotal,Zip,Worn,Unit [km],2016-05-01,Day\r\n\
    1503960366,4/12/2016 12:00:00 AM,373,01234,TRUE,1,x,5/1/2016\r\n\
    1503960366,4/12/2016 1:00:00 AM,160,94110,false,2,x,5/1/2016\r\n\
    4020332650,4/13/2016 2:00:00 PM,,94110,false,3,x,5/2/2016\r\n";

#[rstest]
#[case::json("events.ndjson", EVENTS, "init_from_json")]
#[case::csv("hourlySteps.csv", STEPS, "init_from_csv")]
fn a_contract_is_drafted_from_a_sample(#[case] name: &str, #[case] sample: &str, #[case] snapshot: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), sample).unwrap();
    let printed = vitalake(folder.path(), &["init", "--from", name]);
    assert!(printed.status.success(), "{}", said(&printed));
    let contract = String::from_utf8(printed.stdout.clone()).unwrap();
    insta::assert_snapshot!(snapshot, steady(&said(&printed), folder.path()));
    for value in ["Ada", "2026-01-05", "1503960366", "94110", "01234", "36.5", "373", "2016-05-01", "e-1"] {
        assert!(!contract.contains(value), "{value} in\n{contract}");
    }
    loads_without_rejects(folder.path(), &folder.path().join(name), sample_records(sample, name));
}

fn sample_records(sample: &str, name: &str) -> i64 {
    sample.lines().count() as i64 - i64::from(name.ends_with(".csv"))
}

/// Makes a project from a sample and loads the sample into it.
fn loads_without_rejects(folder: &Path, sample: &Path, records: i64) {
    let project = folder.join("project");
    let made = vitalake(
        folder,
        &["init", project.to_str().unwrap(), "--from", sample.to_str().unwrap(), "--dataset", "sampled"],
    );
    assert!(made.status.success(), "{}", said(&made));
    assert_eq!(findings(&project), [] as [Value; 0], "{}", said(&made));
    let place = Place::new(&project, &folder.join("data"), &folder.join("log.txt"));
    let server = place.start().ready();
    let address = format!("http://{}", place.http);
    let loaded = vitalake(folder, &["ingest", "sampled", sample.to_str().unwrap(), "--json", "--server", &address]);
    assert!(loaded.status.success(), "{}", said(&loaded));
    let report: Value = serde_json::from_slice(&loaded.stdout).unwrap();
    assert_eq!((report["quarantined"].as_i64(), report["accepted"].as_i64()), (Some(0), Some(records)), "{report}");
    server.stop();
}

#[rstest]
#[case("a\n", "holds no record to draft from")]
#[case("", "holds no record to draft from")]
#[case("1,2016-05-01,x\n2,2016-05-02,y\n", "looks like values and not like the names of columns")]
#[case("a,b\n\"x,1\n", "opens a quote in the record at line 2 that never closes")]
fn a_sample_that_shows_nothing_is_refused(#[case] sample: &str, #[case] says: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sample.csv"), sample).unwrap();
    let refused = vitalake(folder.path(), &["init", "new", "--from", "sample.csv"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains(says), "{}", said(&refused));
    assert!(!folder.path().join("new").exists());
}

/// Real files, where they are.
#[rstest]
#[case("fitbit-2016-04/hourlySteps_merged.csv", 22_099)]
#[case("fitbit-2016-04/dailyActivity_merged.csv", 940)]
#[case("fitbit-2016-04/sleepDay_merged.csv", 413)]
#[case("fitbit-2016-04/weightLogInfo_merged.csv", 67)]
#[case("fitbit-broken-reexport-a/hourlySteps_merged.csv", 22_099)]
#[case("appointments-medscheduler/appointments.csv", 2_370)]
#[case("bulk-fhir-13p/Patient.000.ndjson", 13)]
#[case("synthea-27/encounters.csv", 604)]
#[case("synthea-27/patients.csv", 27)]
#[case("bigideas-cgm/Dexcom_001.csv", 2_561)]
fn real_samples_load_under_their_own_drafts(#[case] file: &str, #[case] records: i64) {
    let shared = std::env::var_os("VITALAKE_SHARED").map_or_else(|| PathBuf::from("../../../shared"), PathBuf::from);
    let sample = shared.join("data").join(file);
    let Ok(sample) = sample.canonicalize() else {
        eprintln!("skipped: {} is not there", sample.display());
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    loads_without_rejects(folder.path(), &sample, records);
}
