//! The whole platform on the example project: as a server with the simulator, and without one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care").canonicalize().unwrap()
}

fn delivery(dataset: &str) -> String {
    example().join(format!("deliveries/{dataset}.csv")).display().to_string()
}

fn vitalake(arguments: &[&str]) -> Command {
    let mut command = Command::new(crate::binary());
    command.args(arguments).env_remove("VITALAKE_SERVER").env("NO_COLOR", "1");
    command
}

fn ran(arguments: &[&str], place: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = vitalake(&[arguments, place].concat()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// What a command says, when it must succeed.
fn said(arguments: &[&str], place: &[&str]) -> String {
    let (status, out, error) = ran(arguments, place);
    assert_eq!(status, Some(0), "{arguments:?}: {out}{error}");
    out
}

fn number(sql: &str, place: &[&str]) -> u64 {
    let answer: Value = serde_json::from_str(&said(&["query", "--json", sql], place)).unwrap();
    answer[0].as_object().unwrap().values().next().unwrap().as_u64().unwrap_or(0)
}

/// `vitalake up` on free ports; ended when dropped.
struct Server {
    process: Child,
    kafka: String,
    url: String,
    _words: BufReader<ChildStdout>,
}

impl Server {
    fn start(data: &Path) -> Self {
        let example = example();
        let arguments = ["up", example.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let ports = ["--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut process = vitalake(&[arguments.as_slice(), &ports].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut words = BufReader::new(process.stdout.take().unwrap());
        let (mut kafka, mut url) = (String::new(), String::new());
        while kafka.is_empty() || url.is_empty() {
            let mut line = String::new();
            assert!(words.read_line(&mut line).unwrap() > 0, "it ended without saying where it listens");
            let mut parts = line.split_whitespace();
            match (parts.next(), parts.next()) {
                (Some("Kafka"), Some(address)) => kafka = address.to_owned(),
                (Some("SQL"), Some(address)) => url = address.trim_end_matches("/druid/v2/sql").to_owned(),
                _ => {}
            }
        }
        let server = Self { process, kafka, url, _words: words };
        server.until("ready", || ran(&["status"], &server.place()).0 == Some(0));
        server
    }

    fn place(&self) -> [&str; 2] {
        ["--server", &self.url]
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < end, "not {what} within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM, then how it ended and how long that took.
    fn stop(mut self) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        (self.process.wait().unwrap().code(), asked.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_ended = self.process.kill();
        let _status = self.process.wait();
    }
}

#[test]
fn without_a_server_commands_open_the_project_and_leave_everything_committed() {
    let data = tempfile::tempdir().unwrap();
    let example = example();
    let place = ["--project", example.to_str().unwrap(), "--data", data.path().to_str().unwrap()];
    let first: Value =
        serde_json::from_str(&said(&["ingest", "--json", "patients", &delivery("patients")], &place)).unwrap();
    assert_eq!(
        (&first["state"], &first["accepted"], &first["quarantined"]),
        (&"loaded".into(), &200.into(), &0.into())
    );
    let again: Value =
        serde_json::from_str(&said(&["ingest", "--json", "raw.patients", &delivery("patients")], &place)).unwrap();
    assert_eq!((&again["state"], &again["delivery"]), (&"already loaded".into(), &first["delivery"]));
    assert_eq!(number("SELECT COUNT(*) FROM raw.patients", &place), 200);
    let csv =
        said(&["query", "--format", "csv", "SELECT patient_id, cohort FROM raw.patients ORDER BY 1 LIMIT 1"], &place);
    assert_eq!(csv, "patient_id,cohort\npat-0001,heart-failure\n");
    let (status, _, error) = ran(&["query", "SELECT nothing FROM raw.patients"], &place);
    assert_eq!(status, Some(1), "{error}");
    let (status, _, error) = ran(&["ingest", "nowhere", &delivery("patients")], &place);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("there is no raw dataset nowhere"), "{error}");
}

#[test]
fn simulated_events_reach_every_layer_and_nothing_is_lost_on_the_way() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let place = server.place();
    for dataset in ["patients", "device_assignments"] {
        said(&["ingest", dataset, &delivery(dataset)], &place);
    }
    let simulated = ["simulate", "--json", "--kafka", &server.kafka, "--wearers", "20", "--history", "1"];
    let wrong = ["--rate", "0", "--count", "3000", "--malformed", "0.05", "--duplicate", "0.05", "--late", "0.05"];
    let sent: Value = serde_json::from_str(&said(&simulated, &wrong)).unwrap();
    let count = |name: &str| sent[name].as_u64().unwrap();
    assert_eq!(count("sent"), count("acknowledged"));
    let rows = |table: &str| number(&format!("SELECT COUNT(*) FROM {table}"), &place);

    // A record is durable when it is acknowledged and in SQL a moment later: each exactly once, good or set aside.
    let landed = || ["raw.wearable_readings", "raw.app_events"].map(rows).iter().sum::<u64>();
    let aside = || ["quarantine.wearable_readings", "quarantine.app_events"].map(rows).iter().sum::<u64>();
    server.until("landed", || landed() + aside() >= count("acknowledged"));
    assert_eq!((landed(), aside()), (count("acknowledged") - count("malformed"), count("malformed")));

    // Second copies are dropped on the way to curated, and nothing else is.
    let curated = || ["curated.vitals", "curated.app_activity"].map(rows).iter().sum::<u64>();
    server.until("curated", || curated() >= landed() - count("duplicate"));
    assert_eq!(curated(), landed() - count("duplicate"));
    let readings = || number("SELECT SUM(readings) FROM serving.vitals_hourly_live", &place);
    server.until("added up", || readings() == rows("curated.vitals"));

    said(&["flush"], &place);
    assert_eq!(number("SELECT SUM(readings) FROM serving.vitals_hourly", &place), rows("curated.vitals"));
    let (status, took) = server.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_data_folder_has_one_owner() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let example = example();
    let place = ["--project", example.to_str().unwrap(), "--data", data.path().to_str().unwrap()];
    let (status, _, error) = ran(
        &["up", example.to_str().unwrap(), "--data", place[3], "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        &[],
    );
    assert_eq!(status, Some(1));
    assert!(error.contains(&format!("is in use by process {}", server.process.id())), "{error}");
}
