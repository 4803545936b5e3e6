//! Deliveries that a rule holds, against the real server: what is said of them, how they are decided, also when it is
//! killed in between.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rehearsal::server::{Place, Server};

/// A project of one delivered dataset, and its server.
struct Here {
    folder: TempDir,
    place: Place,
    server: Option<Server>,
}

fn contract(delivery: &str) -> String {
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000001\nname: visits\nversion: 1.0.0\n\
         status: active\nschema:\n  - name: visits\n    quality:\n      - {{type: sql, name: enough, severity: error, \
         query: 'SELECT COUNT(*) FROM {{object}}', mustBeGreaterThan: 1}}\n    properties:\n      - name: who\n        logicalType: string\n        \
         required: true\n      - name: fee\n        logicalType: number\n\
         customProperties:\n  - {{property: source, value: feed}}\n  - {{property: delivery, value: {delivery}}}\n"
    )
}

impl Here {
    fn new(delivery: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        std::fs::create_dir_all(project.join("contracts/raw")).unwrap();
        std::fs::write(project.join("vitalake.yaml"), "name: visits\nstorage:\n  reserve_bytes: 0\n").unwrap();
        std::fs::write(project.join("contracts/raw/visits.yaml"), contract(delivery)).unwrap();
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let server = Some(place.start().ready());
        Self { folder, place, server }
    }

    fn kill(&mut self) {
        self.server.take().unwrap().kill();
        self.server = Some(self.place.start().ready());
    }

    fn said(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(crate::binary());
        command.args(words).args(["--server", &format!("http://{}", self.place.http)]);
        let output = command.env("NO_COLOR", "1").env("USER", "maria").stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, words: &[&str]) -> Value {
        let (status, out, error) = self.said(words);
        assert_eq!(status, 0, "{error}");
        serde_json::from_str(&out).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ingest(&self, file: &str, more: &[&str]) -> (i32, Value) {
        let path = self.file("visits.csv", file);
        let words = ["ingest", "visits", path.to_str().unwrap(), "--json"];
        let (status, out, error) = self.said(&[&words[..], more].concat());
        (status, serde_json::from_str(&out).unwrap_or(Value::String(error)))
    }

    fn rows(&self) -> i64 {
        self.place.numbers("SELECT COUNT(*) FROM raw.visits")[0]
    }

    /// States in the ledger, oldest first, once there are as many: a row may be a moment behind its answer.
    fn ledger(&self, entries: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.json(&["feed", "history", "visits", "--json"]);
            let found = found.as_array().unwrap();
            if found.len() >= entries || Instant::now() > deadline {
                return found.iter().rev().map(|entry| entry["state"].as_str().unwrap().to_owned()).collect();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_held_delivery_waits_over_a_kill_and_comes_in_once_when_somebody_says_why() {
    let mut here = Here::new("append");
    let day = ["--business-date", "2026-04-13"];
    assert_eq!(here.ingest("who,fee\na,1\nb,2\n", &day).0, 0);
    let half = "who,fee\na,1\n";
    let (status, report) = here.ingest(half, &[&day[..], &["--hold"]].concat());
    assert_eq!((status, &report["state"], &report["delivery"]), (1, &json!("held"), &Value::Null));
    assert_eq!(report["not_kept"][0]["rule"], "enough");
    let id = report["held"].as_str().unwrap().to_owned();
    here.kill();
    assert_eq!(here.rows(), 2);
    let held = here.json(&["feed", "history", "--state", "held", "--json"]);
    assert_eq!((&held[0]["id"], &held[0]["open"], &held[0]["accepted"]), (&json!(id), &json!(true), &json!(1)));
    assert_eq!(held[0]["business_date"], "2026-04-13");
    // Without a reason nothing is decided, and what is not there neither.
    assert_eq!(here.said(&["feed", "release", &id, "--reason", " "]).0, 1);
    let unknown = here.said(&["feed", "release", "01987c1e-0000-7000-8000-000000000000", "--reason", "x"]);
    assert!(unknown.0 == 1 && unknown.2.contains("no delivery is held as"), "{unknown:?}");
    let released = here.json(&["feed", "release", &id, "--reason", "the clinic was closed", "--json"]);
    assert_eq!((&released["state"], &released["corrects"]), (&json!("loaded"), &json!(1)));
    here.kill();
    assert_eq!(here.rows(), 1);
    assert_eq!(here.said(&["feed", "release", &id, "--reason", "again"]).0, 1);
    let mut states = here.ledger(3);
    states.sort_unstable();
    assert_eq!(states, ["held", "loaded", "released"]);
    let entries = here.json(&["feed", "history", "visits", "--state", "released", "--json"]);
    assert_eq!((&entries[0]["actor"], &entries[0]["reason"]), (&json!("maria"), &json!("the clinic was closed")));
    assert_eq!(here.place.numbers("SELECT COUNT(*) FROM ops.deliveries WHERE state = 'released'"), [1]);
}

#[test]
fn a_rejected_delivery_is_gone_and_the_ledger_says_who_and_why() {
    let here = Here::new("replace");
    assert_eq!(here.ingest("who,fee\na,1\nb,2\n", &["--business-date", "2026-04-13"]).0, 0);
    let (status, report) = here.ingest("who,fee\n", &["--business-date", "2026-04-14", "--hold"]);
    assert_eq!((status, &report["state"]), (1, &json!("held")), "{report}");
    let id = report["held"].as_str().unwrap();
    let rejected = here.json(&["feed", "reject", id, "--reason", "the export failed", "--json"]);
    assert_eq!((&rejected["by"], &rejected["id"]), (&json!("maria"), &json!(id)));
    assert_eq!(here.rows(), 2);
    assert_eq!(here.json(&["feed", "history", "--state", "held", "--json"]), json!([]));
    assert_eq!(here.ingest("who,fee\na,1\nb,2\n", &["--business-date", "2026-04-12"]).1["state"], "superseded");
    assert_eq!(here.ledger(4), ["loaded", "held", "rejected", "superseded"]);
}

#[test]
fn a_manifest_that_does_not_come_out_refuses_an_upload_and_one_that_does_lets_it_in() {
    let here = Here::new("append");
    let file = "who,fee\na,1.10\nb,2.20\n,3.30\n";
    let wrong = here.file("wrong.ctl", "rows=3\nsum.fee=6.61\n");
    let (status, said) = here.ingest(file, &["--manifest", wrong.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(said.to_string().contains("control total sum of fee: 6.6 in place of 6.61"), "{said}");
    assert_eq!(here.rows(), 0);
    let right = here.file("right.json", "{\"rows\": 3, \"sums\": {\"fee\": 6.60}}");
    let (status, report) = here.ingest(file, &["--manifest", right.to_str().unwrap()]);
    assert_eq!((status, &report["accepted"], &report["quarantined"]), (0, &json!(2), &json!(1)), "{report}");
    assert_eq!(here.ledger(2), ["refused", "loaded"]);
}

#[test]
fn a_delivery_whose_server_was_killed_before_its_row_was_committed_has_it_after_the_start() {
    let mut here = Here::new("append");
    for n in 0..3 {
        here.ingest(&format!("who,fee\na,{n}\nb,{n}\n"), &["--business-date", &format!("2026-04-1{n}")]);
    }
    here.kill();
    assert_eq!(here.ledger(3), ["loaded", "loaded", "loaded"]);
    let entries = here.json(&["feed", "history", "visits", "--json"]);
    assert_eq!((&entries[0]["business_date"], &entries[0]["offered"]), (&json!("2026-04-12"), &json!(2)));
    here.kill();
    assert_eq!(here.ledger(3).len(), 3, "each once");
}

#[test]
fn what_no_commit_says_is_in_the_ledger_before_the_answer_and_outlives_a_kill() {
    let mut here = Here::new("append");
    let day = ["--business-date", "2026-04-13"];
    assert_eq!(here.ingest("who,fee\na,1\nb,2\n", &day).0, 0);
    assert_eq!(here.ingest("who,fee\na,1\nb,2\n", &day).1["state"], "already loaded");
    assert_eq!(here.ingest("whom,fee\na,1\nb,2\n", &day).0, 1);
    here.kill();
    let mut states = here.ledger(3);
    states.sort_unstable();
    assert_eq!(states, ["known", "loaded", "refused"]);
}

#[test]
fn a_table_that_was_made_again_has_its_own_deliveries_in_the_ledger_also_over_a_kill() {
    let mut here = Here::new("append");
    let day = ["--business-date", "2026-04-13"];
    assert_eq!(here.ingest("who,fee\na,1\nb,2\n", &day).1["delivery"], 1);
    assert_eq!(here.ledger(1), ["loaded"]);
    here.server.take().unwrap().stop();
    std::fs::remove_dir_all(here.place.data.join("lake/raw/visits")).unwrap();
    here.server = Some(here.place.start().ready());
    let (status, report) = here.ingest("who,fee\na,1\nb,2\n", &day);
    assert_eq!((status, &report["state"], &report["delivery"]), (0, &json!("loaded"), &json!(1)), "{report}");
    here.kill();
    assert_eq!((here.ledger(2), here.rows()), (vec!["loaded".to_owned(), "loaded".to_owned()], 2));
    let entries = here.json(&["feed", "history", "visits", "--json"]);
    assert_eq!((&entries[0]["gone"], &entries[1]["gone"]), (&json!(false), &json!(true)), "{entries}");
    let (_, shown, _) = here.said(&["feed", "history", "visits"]);
    assert_eq!(shown.matches("loaded*").count(), 1, "{shown}");
    assert!(shown.contains("* nothing of it is in the table"), "{shown}");
}
