//! What goes wrong on purpose on the example project, and that the platform catches it: the alert, its runbook, the numbers.

use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

use crate::rehearsal::server::Place;

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "data" => {}
            true => copied(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

struct Scene {
    _folder: TempDir,
    place: Place,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project: PathBuf = folder.path().join("remote-care");
        copied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care"), &project);
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let place = place.set("VITALAKE_STORAGE__COMMIT_INTERVAL_MS", 500).set("VITALAKE_STORAGE__RESERVE_BYTES", 0);
        Self { _folder: folder, place }
    }

    fn vitalake(&self, arguments: &[&str]) -> String {
        let output = Command::new(crate::binary())
            .args(arguments)
            .current_dir(&self.place.project)
            .env("NO_COLOR", "1")
            .env("VITALAKE_SERVER", format!("http://{}", self.place.http))
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    /// Delivers who wears what, then lets an incident happen.
    fn incident(&self, name: &str) -> String {
        for dataset in ["patients", "device_assignments"] {
            self.vitalake(&["ingest", dataset, &format!("deliveries/{dataset}.csv")]);
        }
        let kafka = &self.place.kafka;
        self.vitalake(&[
            "simulate",
            "--kafka",
            kafka,
            "--incident",
            name,
            "--rate",
            "400",
            "--count",
            "2000",
            "--wearers",
            "20",
        ])
    }

    fn alerts(&self, alert: &str) -> Vec<Value> {
        let mut answer = ureq::get(format!("http://{}/api/v1/alerts", self.place.http)).call().unwrap();
        let all: Value = answer.body_mut().read_json().unwrap();
        let all = all.as_array().or_else(|| all["alerts"].as_array()).cloned().unwrap_or_default();
        all.into_iter().filter(|found| found["alert"] == alert).collect()
    }

    /// Waits until an alert fires, once, and gives its runbook as JSON.
    fn caught(&self, alert: &str, runbook: &str) -> Value {
        // Drift is counted once a minute, and that may have been just now.
        let fires = || self.alerts(alert).iter().any(|found| found["state"] == "firing");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(70);
        while !fires() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        self.place.until(alert, || self.alerts(alert).iter().any(|found| found["state"] == "firing"));
        let firing = self.alerts(alert);
        assert_eq!(firing.len(), 1, "{firing:?}");
        let fingerprint = firing[0]["fingerprint"].as_str().unwrap();
        let opened = self.vitalake(&["runbook", runbook, "--alert", fingerprint, "--json"]);
        serde_json::from_str(&opened).unwrap()
    }
}

/// The rows of a runbook's first query, now.
fn first_evidence(report: &Value) -> Vec<Value> {
    let parts = report["parts"].as_array().unwrap();
    let evidence = parts.iter().find(|part| part["part"] == "evidence").unwrap();
    assert_eq!(evidence["now"]["error"], Value::Null, "{evidence}");
    evidence["now"]["rows"].as_array().unwrap().clone()
}

#[test]
fn strings_for_numbers_are_caught_and_no_reading_is_lost() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    let said = scene.incident("strings-for-numbers");
    assert!(said.contains("72 bpm") && said.contains("vitalake runbook schema_drift"), "{said}");
    scene.caught("schema_drift", "schema_drift");
    let counts = "SELECT COUNT(*), COUNT(heart_rate), COUNT(_rescued) FROM raw.wearable_readings";
    let numbers = scene.place.numbers(counts);
    assert_eq!(
        (numbers[0], numbers[1] + numbers[2]),
        (1800, 1800),
        "each reading has its heart rate, or what came for it"
    );
    assert!(numbers[2] > 100, "{numbers:?}");
    server.stop();
}

#[test]
fn a_clock_that_is_ahead_is_caught() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    scene.incident("clock-ahead");
    let report = scene.caught("readings_ahead", "readings_ahead");
    let rows = first_evidence(&report);
    let ahead = scene
        .place
        .numbers("SELECT COUNT(*) FROM raw.wearable_readings WHERE recorded_at > _ingested_at + INTERVAL '1' HOUR");
    assert!(ahead[0] > 100 && rows[0][1].as_i64() <= Some(ahead[0]), "{ahead:?} {rows:?}");
    server.stop();
}

#[test]
fn a_storm_of_duplicates_is_caught_and_counted_and_each_reading_stays_one() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    scene.incident("duplicate-storm");
    scene.caught("readings_repeated", "readings_repeated");
    let raw = "SELECT COUNT(*), COUNT(DISTINCT CONCAT(device_id, '@', CAST(TIMESTAMP_TO_MILLIS(recorded_at) AS VARCHAR))) \
               FROM raw.wearable_readings";
    assert_eq!(scene.place.numbers(raw), [18_000, 1_800]);
    let once = "SELECT COUNT(*) FROM curated.vitals";
    scene.place.until("each once", || scene.place.numbers(once)[0] > 0);
    let books = || -> Value {
        let said = scene.vitalake(&["reconcile", "curated.vitals", "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()[0].clone()
    };
    scene.place.until("the books", || books()["offered"] == 18_000 && books()["balanced"] == true);
    let books = books();
    assert_eq!(books["accepted"].as_i64(), Some(scene.place.numbers(once)[0]), "{books}");
    assert!(books["accepted"].as_i64() <= Some(1_800), "{books}");
    assert!(books["duplicates"].as_i64() > Some(9_000), "{books}");
    server.stop();
}

#[test]
fn a_source_that_falls_silent_is_told_once_and_what_came_late_waits_until_it_speaks_again() {
    let scene = Scene::new();
    let alert = scene.place.project.join("alerts/readings_silent.yaml");
    let text = std::fs::read_to_string(&alert).unwrap();
    assert!(text.contains("threshold: 1m"));
    std::fs::write(&alert, text.replace("threshold: 1m", "threshold: 5s")).unwrap();
    let server = scene.place.start().ready();
    scene.incident("silent-source");
    let place = &scene.place;
    let raw = "SELECT COUNT(*) FROM raw.wearable_readings";
    let curated = "SELECT COUNT(*) FROM curated.vitals";
    let refused = "SELECT COUNT(*) FROM quarantine.vitals";
    let served = "SELECT SUM(readings) FROM serving.vitals_hourly";
    let staged = "SELECT SUM(readings) FROM serving.vitals_hourly_live";
    let is_whole = || place.numbers(curated)[0] + place.numbers(refused)[0] == place.numbers(raw)[0];
    place.until("curated", || place.numbers(raw) == [1_800] && is_whole());
    let gate = || -> Value {
        let said = scene.vitalake(&["gate", "status", "serving.vitals_hourly", "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()[0].clone()
    };
    place.until("staged", || place.numbers(staged) == place.numbers(curated) && gate()["state"] == "held");
    assert_eq!(gate()["reasons"][0]["rule"], "freshness");
    assert_eq!(place.numbers(served), [0]);
    let report = scene.caught("readings_silent", "readings_silent");
    assert!(!first_evidence(&report).is_empty());
    assert_eq!(place.numbers(served), [0], "no reader sees the old hours as if they were the newest");

    let mended = ["simulate", "--kafka", &place.kafka, "--rate", "400", "--count", "400", "--wearers", "20"];
    scene.vitalake(&[mended.as_slice(), &["--malformed", "0", "--late", "0", "--duplicate", "0"]].concat());
    place.until("more", || place.numbers(raw) == [2_160] && is_whole());
    place.until("published", || place.numbers(served) == place.numbers(curated));
    assert_eq!(gate()["state"], "passed");
    let resolved = "SELECT COUNT(*) FROM ops.alerts WHERE alert = 'readings_silent' AND state = 'resolved'";
    place.until("resolved", || place.numbers(resolved)[0] > 0);
    server.stop();
}

#[test]
fn a_replay_before_the_mend_brings_nothing_back_and_one_after_it_everything() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    scene.incident("replay-fails-again");
    let counts = "SELECT COUNT(*) FROM raw.wearable_readings";
    let waiting = "SELECT COUNT(*), MIN(_attempts), MAX(_attempts) FROM quarantine.wearable_readings";
    scene.place.until("all", || scene.place.numbers(counts)[0] + scene.place.numbers(waiting)[0] == 1_800);
    let quarantined = scene.place.numbers(waiting)[0];
    assert!(quarantined > 100, "{quarantined}");
    for attempts in [1, 2] {
        scene.vitalake(&["quarantine", "replay", "wearable_readings"]);
        scene.place.until("attempts", || scene.place.numbers(waiting) == [quarantined, attempts, attempts]);
    }
    let report = scene.caught("poison_records", "poison_records");
    let rules: Vec<Value> = first_evidence(&report);
    assert!(rules.iter().any(|row| row[1] == "device_id.pattern"), "{rules:?}");
    server.stop();

    let contract = scene.place.project.join("contracts/raw/wearable_readings.yaml");
    let text = std::fs::read_to_string(&contract).unwrap();
    assert!(text.contains("'^dev-[0-9]+$'"));
    std::fs::write(&contract, text.replace("'^dev-[0-9]+$'", "'^(dev|watch)-[0-9]+$'")).unwrap();
    let server = scene.place.start().ready();
    scene.vitalake(&["quarantine", "replay", "wearable_readings"]);
    scene.place.until("back", || scene.place.numbers(counts) == [1_800] && scene.place.numbers(waiting)[0] == 0);
    server.stop();
}

#[test]
fn a_feed_four_hours_late_is_told_of_until_its_file_comes() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    let said = scene.incident("feed-late");
    assert!(said.contains("none of the days since"), "{said}");
    let report = scene.caught("visits_late", "feed_late");
    assert!(first_evidence(&report).iter().any(|row| row.to_string().contains("clinic_visits")), "{report}");
    let feed = || -> Value {
        let all: Vec<Value> = serde_json::from_str(&scene.vitalake(&["feed", "list", "--json"])).unwrap();
        all.into_iter().find(|feed| feed["feed"] == "clinic_visits").unwrap()
    };
    let late = feed();
    assert_eq!(late["state"], "late", "{late}");
    let since: chrono::DateTime<chrono::Utc> = late["late_since"].as_str().unwrap().parse().unwrap();
    let hours = (chrono::Utc::now() - since).num_minutes();
    assert!((240..310).contains(&hours), "{late}");
    let yesterday = (chrono::Utc::now() - chrono::TimeDelta::days(1)).format("visits_%Y%m%d.csv").to_string();
    let visit = |n| format!("visit-{n},pat-0001,2026-01-01T08:00:00Z,check-up\n");
    let visits: String =
        std::iter::once("visit_id,patient_id,visited_at,kind\n".to_owned()).chain((0..30).map(visit)).collect();
    std::fs::write(scene.place.project.join("deliveries/visits").join(yesterday), visits).unwrap();
    scene.place.until("here", || feed()["state"] == "waiting");
    scene.place.until("resolved", || scene.alerts("visits_late").iter().all(|found| found["state"] != "firing"));
    server.stop();
}

#[rstest]
#[case::half("half-a-file", &["held", "loaded"], Some("delivery_held"), 40)]
#[case::again("file-again", &["loaded", "known"], None, 40)]
#[case::swapped("swapped-columns", &["held"], Some("delivery_held"), 0)]
fn a_bad_file_of_visits_leaves_whole_days_alone(
    #[case] incident: &str,
    #[case] ledger: &[&str],
    #[case] alert: Option<&str>,
    #[case] visits: i64,
) {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    scene.incident(incident);
    assert_eq!(scene.place.numbers("SELECT COUNT(*) FROM raw.clinic_visits"), [visits]);
    let states = || -> Vec<String> {
        let said = scene.vitalake(&["feed", "history", "clinic_visits", "--json"]);
        let entries: Vec<Value> = serde_json::from_str(&said).unwrap();
        entries.iter().rev().map(|entry| entry["state"].as_str().unwrap().to_owned()).collect()
    };
    scene.place.until("told", || states() == ledger);
    if let Some(alert) = alert {
        scene.caught(alert, alert);
    }
    server.stop();
}

#[test]
fn a_list_without_anybody_deletes_nobody() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    let said = scene.incident("empty-snapshot");
    assert!(said.contains("is held, and nothing of it is in device_assignments"), "{said}");
    assert_eq!(scene.place.numbers("SELECT COUNT(*) FROM raw.device_assignments"), [208]);
    scene.caught("delivery_held", "delivery_held");
    server.stop();
}

#[test]
fn readings_find_their_patients_when_the_list_of_who_wears_what_comes_after_them() {
    let scene = Scene::new();
    let server = scene.place.start().ready();
    let kafka = &scene.place.kafka;
    let plain = ["--late", "0", "--duplicate", "0", "--malformed", "0"];
    let sent = ["simulate", "--kafka", kafka, "--rate", "400", "--count", "2000", "--wearers", "20"];
    scene.vitalake(&[&sent[..], &plain].concat());
    let count = |table: &str| scene.place.numbers(&format!("SELECT COUNT(*) FROM {table}"))[0];
    // What was acknowledged is seen a moment later.
    scene.place.until("landed", || count("raw.wearable_readings") + count("raw.app_events") == 2000);
    let read = scene.place.numbers("SELECT COUNT(*) FROM raw.wearable_readings");
    let waiting = "SELECT COUNT(*) FROM quarantine.vitals";
    scene.place.until("nobody's", || scene.place.numbers(waiting) == read);
    scene.vitalake(&["ingest", "device_assignments", "deliveries/device_assignments.csv"]);
    scene.place.until("somebody's", || scene.place.numbers("SELECT COUNT(*) FROM curated.vitals") == read);
    scene.place.until("out of quarantine", || scene.place.numbers(waiting) == [0]);
    let hours = "SELECT SUM(readings) FROM serving.vitals_hourly_live";
    scene.place.until("in the hours", || scene.place.numbers(hours) == read);
    server.stop();
}
