//! `vitalake quarantine` against the real server: what is listed, what comes back, what is refused, also when it is killed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rehearsal::server::{Place, Server};

const BAD: usize = 4_000;

/// A project of one delivered dataset, and its server.
struct Here {
    _folder: TempDir,
    project: std::path::PathBuf,
    place: Place,
    server: Option<Server>,
}

fn contract(format: &str, delivery: &str) -> String {
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000001\nname: visits\nversion: 1.0.0\n\
         status: active\nschema:\n  - name: visits\n    properties:\n      - name: who\n        logicalType: string\n        required: true\n\
         \x20     - name: day\n        logicalType: date\n        logicalTypeOptions: {{format: {format}}}\n        required: true\n\
         customProperties:\n  - {{property: source, value: feed}}\n  - {{property: delivery, value: {delivery}}}\n"
    )
}

impl Here {
    fn new(delivery: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        std::fs::create_dir_all(project.join("contracts/raw")).unwrap();
        std::fs::write(project.join("vitalake.yaml"), "name: visits\nstorage:\n  reserve_bytes: 0\n").unwrap();
        std::fs::write(project.join("contracts/raw/visits.yaml"), contract("MM-dd-yyyy", delivery)).unwrap();
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let server = Some(place.start().ready());
        Self { _folder: folder, project, place, server }
    }

    /// Days are written the other way round from now on.
    fn mend(&mut self, delivery: &str) {
        self.server.take().unwrap().stop();
        std::fs::write(self.project.join("contracts/raw/visits.yaml"), contract("dd-MM-yyyy", delivery)).unwrap();
        self.server = Some(self.place.start().ready());
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::binary());
        command.args(words).args(["--server", &format!("http://{}", self.place.http)]);
        command.env("NO_COLOR", "1").env("USER", "maria").stdin(Stdio::null());
        command
    }

    /// Exit status, standard output and standard error.
    fn said(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, words: &[&str]) -> Value {
        let (status, out, error) = self.said(words);
        assert_eq!(status, 0, "{error}");
        serde_json::from_str(&out).unwrap()
    }

    fn deliver(&self, name: &str, text: &str) {
        let path: &Path = &self.project.join(name);
        std::fs::write(path, text).unwrap();
        assert_eq!(self.said(&["ingest", "visits", path.to_str().unwrap()]).0, 0);
    }

    fn rows(&self) -> (i64, i64) {
        let count = |table| self.place.numbers(&format!("SELECT COUNT(*) FROM {table}"))[0];
        (count("raw.visits"), count("quarantine.visits"))
    }
}

fn lines() -> String {
    let good = "Who,Day\nfirst,04-12-2026\n".to_lowercase();
    let bad = (0..BAD).map(|n| format!("\"w {n}\"\"\",{}-04-2026\n", 13 + n % 17));
    good + &bad.collect::<String>() + ",13-04-2026\n"
}

#[test]
fn what_a_mended_contract_takes_comes_back_once_however_often_the_server_is_killed() {
    let mut here = Here::new("append");
    here.deliver("visits.csv", &lines());
    assert_eq!(here.rows(), (1, BAD as i64 + 1));
    let listed = here.json(&["quarantine", "list", "visits", "--json"]);
    assert_eq!((&listed[0]["dataset"], &listed[0]["rule"]), (&json!("raw.visits"), &json!("day.required")));
    let before = listed[0]["contract"].clone();
    let tried = here.json(&["quarantine", "replay", "visits", "--dry-run", "--json"]);
    assert_eq!((tried["replayed"].clone(), tried["failed"].clone()), (json!(0), json!(BAD + 1)));
    here.mend("append");
    let tried = here.json(&["quarantine", "replay", "visits", "--dry-run", "--json"]);
    assert_eq!((tried["replayed"].clone(), tried["failed"].clone()), (json!(BAD), json!(1)));
    assert_eq!(here.rows(), (1, BAD as i64 + 1));
    for wait_ms in [0, 30, 60, 90, 120, 200, 400] {
        let mut half = here.command(&["quarantine", "replay", "visits"]);
        let mut half = half.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        here.server.take().unwrap().kill();
        half.wait().unwrap();
        here.server = Some(here.place.start().ready());
        let (raw, quarantine) = here.rows();
        assert_eq!(raw + quarantine, BAD as i64 + 2, "each line stands in one place");
    }
    let replayed = here.json(&["quarantine", "replay", "visits", "--json"]);
    assert_eq!(replayed["failed_by_rule"], json!([{"rule": "who.required", "rows": 1}]));
    assert_eq!(here.rows(), (BAD as i64 + 1, 1));
    let distinct = here.place.numbers("SELECT COUNT(DISTINCT _offset), MIN(_offset), MAX(_offset) FROM raw.visits");
    assert_eq!(distinct, [BAD as i64 + 1, 0, BAD as i64]);
    let left = here.json(&["quarantine", "list", "--json"]);
    assert_eq!((left.as_array().unwrap().len(), &left[0]["rule"]), (1, &json!("who.required")));
    assert_ne!(left[0]["contract"], before, "another version of the contract judged it last");
}

#[test]
fn rejects_are_shown_with_their_bytes_only_where_these_are_asked_for_and_given_up_for_a_reason() {
    let here = Here::new("append");
    here.deliver("visits.csv", "who,day\na,soon\n,04-12-2026\n");
    let shown = here.json(&["quarantine", "show", "visits", "--json", "--rule", "day.required"]);
    let row = &shown[0];
    assert_eq!((shown.as_array().unwrap().len(), &row["offset"], &row["attempts"]), (1, &json!(0), &json!(0)));
    assert_eq!((&row["topic"], &row["raw"]), (&json!("feed/visits"), &Value::Null));
    assert_eq!(row["rules"][0]["rule"], "day.required");
    let shown = here.json(&["quarantine", "show", "visits", "--json", "--raw", "--limit", "1"]);
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["raw"]), (1, &json!("a,soon")));
    let (status, _, error) = here.said(&["quarantine", "discard", "visits", "--reason", " "]);
    assert!(status == 1 && error.contains("for a reason"), "{error}");
    let words = ["quarantine", "discard", "visits", "--rule", "day.required", "--reason", "ticket 4711", "--json"];
    let discarded = here.json(&words);
    let want = json!({"dataset": "raw.visits", "discarded": 1, "reason": "ticket 4711", "by": "maria"});
    assert_eq!(discarded, want);
    assert_eq!(here.rows(), (0, 1));
    let kept = here.place.ask("SELECT dataset, \"rows\", reason, actor FROM ops.discards").unwrap();
    assert_eq!(kept, [[json!("raw.visits"), json!(1), json!("ticket 4711"), json!("maria")]]);
}

#[test]
fn what_is_not_meant_or_not_there_is_said() {
    let here = Here::new("append");
    let (status, out, _) = here.said(&["quarantine", "replay", "raw.visits"]);
    assert_eq!((status, out.as_str()), (0, "quarantine.visits is empty\n"));
    here.deliver("visits.csv", "who,day\na,soon\nb,04-12-2026\n");
    for (words, want) in [
        (&["quarantine", "replay", "visitors"][..], "there is no dataset visitors"),
        (&["quarantine", "show", "visitors"], "there is no dataset visitors"),
        (&["quarantine", "replay", "visits", "--rule", "x"], "none of the 1 rejects of quarantine.visits is meant"),
        (&["quarantine", "replay", "visits", "--delivery", "2"], "none of the 1 rejects"),
        (&["quarantine", "discard", "visits", "--until", "2026-01-01", "--reason", "old"], "none of the 1 rejects"),
        (&["quarantine", "list", "--since", "yesterday"], "is no time"),
    ] {
        let (status, _, error) = here.said(words);
        assert!(status == 1 && error.contains(want), "{words:?}: {status} {error}");
    }
    assert_eq!(here.rows(), (1, 1));
}

#[test]
fn rejects_of_a_delivery_that_another_has_replaced_stay_where_they_are() {
    let mut here = Here::new("replace");
    here.deliver("first.csv", "who,day\na,13-04-2026\nb,04-12-2026\n");
    here.deliver("second.csv", "who,day\nc,14-04-2026\nd,04-12-2026\n");
    here.mend("replace");
    let replayed = here.json(&["quarantine", "replay", "visits", "--json"]);
    assert_eq!((&replayed["replayed"], &replayed["superseded"]), (&json!(1), &json!(1)));
    let rows = here.place.ask("SELECT who FROM raw.visits ORDER BY who").unwrap();
    assert_eq!(rows, [[json!("c")], [json!("d")]]);
    assert_eq!(here.rows(), (2, 1));
    let (_, out, _) = here.said(&["quarantine", "replay", "visits"]);
    assert!(out.contains("1 of deliveries whose rows are not in the dataset stay in quarantine"), "{out}");
}
