//! Feeds of the real server: files that arrive by themselves, are written while they are looked at, are late, or are none.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::rehearsal::server::{Place, Server};

const CONTRACT: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000001\nname: people\nversion: 1.0.0\n\
    status: active\nschema:\n  - name: people\n    properties:\n      - name: who\n        logicalType: string\n        required: true\n\
    customProperties:\n  - {property: source, value: feed}\n";

/// A project of one dataset and its feed, and its server.
struct Here {
    folder: TempDir,
    place: Place,
    server: Option<Server>,
}

impl Here {
    /// The lines are those of a feed on the folder `in` of the project.
    fn new(lines: &str) -> Self {
        Self::of(CONTRACT, lines)
    }

    fn of(contract: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        for below in ["contracts/raw", "feeds", "in"] {
            std::fs::create_dir_all(project.join(below)).unwrap();
        }
        std::fs::write(project.join("vitalake.yaml"), "name: people\nstorage:\n  reserve_bytes: 0\n").unwrap();
        std::fs::write(project.join("contracts/raw/people.yaml"), contract).unwrap();
        let feed = format!("name: people\ndataset: people\nlook_every: 1s\n{lines}");
        std::fs::write(project.join("feeds/people.yaml"), feed).unwrap();
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let mut here = Self { folder, place, server: None };
        here.start();
        here
    }

    fn start(&mut self) {
        self.server = Some(self.place.start().ready());
    }

    fn stop(&mut self) {
        drop(self.server.take());
    }

    fn inbox(&self, name: &str) -> PathBuf {
        self.folder.path().join("project/in").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.inbox(name), text).unwrap();
    }

    fn rows(&self) -> i64 {
        self.place.numbers("SELECT COUNT(*) FROM raw.people")[0]
    }

    /// Exit status and output of `vitalake feed …`.
    fn feed(&self, args: &[&str]) -> (i32, String) {
        let mut command = Command::new(crate::binary());
        command.arg("feed").args(args).args(["--server", &format!("http://{}", self.place.http)]);
        let output = command.env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn report(&self) -> Value {
        let (status, said) = self.feed(&["list", "--json"]);
        assert_eq!(status, 0, "{said}");
        serde_json::from_str::<Vec<Value>>(&said).unwrap().remove(0)
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Value) -> bool) {
        self.place.until(what, || is_so(&self.report()));
    }
}

const ON_ARRIVAL: &str = "source: {folder: in, pattern: 'p_{date:yyyyMMdd}*.csv'}\non: arrival\nstable: 1s\n";

#[test]
fn files_that_arrive_are_delivered_by_date_and_once_over_a_restart() {
    let mut here = Here::new(ON_ARRIVAL);
    here.put("p_20260102.csv", "who\nb\nc\n");
    here.put("p_20260101.csv", "who\na\n");
    here.put("p_20260103.csv.tmp", "who\nx\n");
    here.put(".p_20260103.csv", "who\nx\n");
    here.put("other.csv", "who\nx\n");
    here.until("both delivered", |feed| feed["files_taken"] == 2);
    assert_eq!(here.rows(), 3);
    let report = here.report();
    assert_eq!((&report["state"], &report["last_date"]), (&"waiting".into(), &"2026-01-02".into()));
    let order = here.place.numbers("SELECT MAX(_partition) FROM raw.people WHERE who = 'a'");
    assert_eq!(order, [1], "the older date came first");

    here.stop();
    here.start();
    here.until("known again", |feed| feed["files_taken"] == 2);
    assert_eq!((here.rows(), &here.report()["last_date"]), (3, &"2026-01-02".into()));
    here.put("p_20260104.csv", "who\nd\n");
    here.until("the next", |feed| feed["last_date"] == "2026-01-04");
    assert_eq!(here.rows(), 4);
}

#[test]
fn a_manifest_beside_a_file_says_what_it_has_to_hold() {
    let asks = format!("{CONTRACT}  - {{property: controlTotals, value: required}}\n");
    let here = Here::of(&asks, &ON_ARRIVAL.replace("stable: 1s", "marker: '{name}.ctl'"));
    here.put("p_20260101.csv", "who\na\nb\n");
    here.put("p_20260101.csv.ctl", "rows=2\n");
    here.until("taken", |feed| feed["files_taken"] == 1);
    assert_eq!(here.rows(), 2);
    here.put("p_20260102.csv", "who\nc\n");
    here.put("p_20260102.csv.ctl", "rows=5\n");
    here.until("taken too", |feed| feed["files_taken"] == 2);
    assert_eq!(here.rows(), 2);
    let (status, said) = here.feed(&["history", "--state", "held", "--json"]);
    assert_eq!(status, 0, "{said}");
    let held = serde_json::from_str::<Vec<Value>>(&said).unwrap().remove(0);
    assert_eq!((&held["feed"], &held["business_date"]), (&"people".into(), &"2026-01-02".into()));
    assert_eq!(held["reason"], "control total rows: 1 in place of 5");
}

#[test]
fn a_file_is_left_while_it_grows() {
    let here = Here::new(&ON_ARRIVAL.replace("stable: 1s", "stable: 3s"));
    let mut text = String::from("who\n");
    for n in 0..6 {
        text.push_str(&format!("w{n}\n"));
        here.put("p_20260101.csv", &text);
        let look = here.report()["last_look_at"].clone();
        here.until("looked at", |feed| feed["last_look_at"] != look && feed["files_waiting"] == 1);
        assert_eq!(here.rows(), 0, "it is being written");
    }
    here.until("taken", |feed| feed["files_taken"] == 1);
    assert_eq!(here.rows(), 6);
}

#[test]
fn a_marker_says_that_a_file_is_complete() {
    let here = Here::new("source: {folder: in, pattern: '*'}\non: arrival\nmarker: '{name}.done'\nformat: csv\n");
    here.put("a", "who\na\n");
    here.until("seen", |feed| feed["files_waiting"] == 1);
    here.put("a.done", "");
    here.until("taken", |feed| feed["files_taken"] == 1 && feed["files_waiting"] == 0);
    assert_eq!(here.rows(), 1);
}

#[test]
fn a_run_by_hand_waits_for_files_to_stand_still_and_says_what_came() {
    let here = Here::new("source: {folder: in, pattern: 'p_{date:yyyyMMdd}.csv'}\nschedule: 0 0 1 1 *\nstable: 1s\n");
    assert_eq!(here.feed(&["run", "people"]), (0, "people: nothing new\n".to_owned()));
    here.put("p_20260101.csv", "who\na\n\"\"\n");
    let (status, said) = here.feed(&["run", "people"]);
    assert_eq!((status, said.as_str()), (0, "p_20260101.csv: loaded as delivery 1: 1 accepted, 1 quarantined\n"));
    here.put("p_20260102.csv", "nothing,known\n1,2\n");
    let (status, said) = here.feed(&["run", "people", "--json"]);
    let run: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &run["deliveries"][0]["date"]), (1, &"2026-01-02".into()), "{said}");
    assert!(run["deliveries"][0]["error"].as_str().unwrap().contains("who"), "{said}");
    let report = here.report();
    assert_eq!((&report["state"], here.rows()), (&"refused".into(), 1), "{report}");
    // Mended under the same name, it is taken.
    here.put("p_20260102.csv", "who\nb\n");
    assert_eq!(here.feed(&["run", "people"]).0, 0);
    assert_eq!((here.rows(), &here.report()["state"]), (2, &"waiting".into()));
    let (status, said) = here.feed(&["run", "peple"]);
    assert!(status == 1 && said.contains("there is no feed peple"), "{said}");
}

#[test]
fn a_folder_that_is_gone_is_said_and_the_feed_goes_on_when_it_is_back() {
    let here = Here::new(ON_ARRIVAL);
    here.put("p_20260101.csv", "who\na\n");
    here.until("taken", |feed| feed["files_taken"] == 1);
    let (inbox, aside) = (here.inbox(""), here.folder.path().join("aside"));
    std::fs::rename(&inbox, &aside).unwrap();
    here.until("away", |feed| feed["state"] == "away");
    assert!(here.place.troubles().contains("it is not there"), "{}", here.place.troubles());
    std::fs::rename(&aside, &inbox).unwrap();
    here.put("p_20260102.csv", "who\nb\n");
    here.until("back", |feed| feed["last_date"] == "2026-01-02" && feed["state"] == "waiting");
    assert_eq!(here.rows(), 2);
}

#[test]
fn a_file_that_may_not_be_read_is_taken_when_it_may() {
    use std::os::unix::fs::PermissionsExt as _;
    let here = Here::new(ON_ARRIVAL);
    let mode = |mode| {
        std::fs::set_permissions(here.inbox("p_20260101.csv"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    here.put(".p", "who\na\n");
    std::fs::set_permissions(here.inbox(".p"), std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(here.inbox(".p")).is_ok() {
        eprintln!("skipped: this user may read everything");
        return;
    }
    std::fs::rename(here.inbox(".p"), here.inbox("p_20260101.csv")).unwrap();
    here.until("away", |feed| feed["state"] == "away");
    mode(0o644);
    here.until("taken", |feed| feed["files_taken"] == 1 && feed["state"] == "waiting");
    assert_eq!(here.rows(), 1);
}

#[test]
fn files_of_a_date_are_one_commit() {
    let here = Here::new(&format!("{ON_ARRIVAL}gather: true\n"));
    for n in 0..200 {
        here.put(&format!("p_20260101_{n:03}.csv"), &format!("who\nw{n}\n"));
    }
    here.until("all taken", |feed| feed["files_taken"] == 200);
    let found = here.place.numbers("SELECT COUNT(*), COUNT(DISTINCT who), MAX(_offset) FROM raw.people");
    assert_eq!(found, [200, 200, 199]);
    assert_eq!(here.place.numbers("SELECT MAX(_partition) FROM raw.people"), [1], "one delivery");
}

#[test]
fn a_delivery_that_does_not_come_is_late() {
    let minute = chrono::Utc::now() + chrono::TimeDelta::minutes(1);
    let due = minute.format("%M %H * * *").to_string();
    let here = Here::new(&format!("{ON_ARRIVAL}due: {{cron: '{due}', date: yesterday}}\nlate_by: 1s\n"));
    let day = |days| (minute - chrono::TimeDelta::days(days)).format("p_%Y%m%d.csv").to_string();
    here.put(&day(2), "who\na\n");
    here.place.until("late", || here.report()["state"] == "late" || here.report()["late_since"].is_string());
    let (_, said) = here.feed(&["list"]);
    assert!(said.contains("late") && said.contains("is not here"), "{said}");
    here.place.until("measured", || {
        let mut answer = ureq::get(format!("http://{}/metrics", here.place.http)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let of = |name: &str| text.lines().any(|line| line.starts_with(&format!("{name}{{feed=\"people\"}}")));
        let numbers = ["vitalake_feed_last_success_timestamp", "vitalake_feed_next_due_timestamp"];
        numbers.into_iter().all(of) && text.contains("vitalake_feed_late{feed=\"people\"} 1")
    });
    here.put(&day(1), "who\nb\n");
    here.until("here", |feed| feed["state"] == "waiting");
    here.place.until("in ops.checks", || {
        let rows =
            here.place.ask("SELECT passed FROM ops.checks WHERE rule = 'feed_late' ORDER BY at").unwrap_or_default();
        rows.len() == 2 && rows[0][0] == false && rows[1][0] == true
    });
}

#[test]
fn a_later_file_of_a_date_corrects_it() {
    let here = Here::new(ON_ARRIVAL);
    here.put("p_20260101.csv", "who\na\nb\n");
    here.put("p_20260102.csv", "who\nc\n");
    here.until("both delivered", |feed| feed["files_taken"] == 2);
    here.put("p_20260101_corrected.csv", "who\na\n");
    here.until("corrected", |feed| feed["files_taken"] == 3);
    assert_eq!(here.place.numbers("SELECT COUNT(*), COUNT(DISTINCT who) FROM raw.people"), [2, 2]);
    assert_eq!(here.report()["last_date"], "2026-01-02");
}

#[test]
fn what_was_taken_is_remembered_over_a_start_and_its_loss_loads_nothing_twice() {
    let mut here = Here::new(ON_ARRIVAL);
    here.put("p_20260101.csv", "who\na\n");
    here.until("taken", |feed| feed["files_taken"] == 1);
    let written = std::fs::metadata(here.inbox("p_20260101.csv")).unwrap().modified().unwrap();
    here.stop();
    // The same length and time: what is remembered is not read again.
    here.put("p_20260101.csv", "who\nb\n");
    let file = std::fs::File::options().write(true).open(here.inbox("p_20260101.csv")).unwrap();
    file.set_modified(written).unwrap();
    here.put("p_20260102.csv", "who\nc\n");
    here.start();
    here.until("the other taken", |feed| feed["files_taken"] == 2);
    assert_eq!(here.place.numbers("SELECT COUNT(*) FROM raw.people WHERE who IN ('a', 'c')"), [2]);
    here.stop();
    std::fs::remove_file(here.folder.path().join("data/control.db")).unwrap();
    here.start();
    here.until("read again", |feed| feed["files_taken"] == 2 && feed["state"] == "waiting");
    let found = here.place.numbers("SELECT COUNT(*), COUNT(DISTINCT who) FROM raw.people WHERE who IN ('b', 'c')");
    assert_eq!(found, [2, 2], "what is forgotten is read: the changed file corrects its date, the other is known");
    assert_eq!(here.rows(), 2);
}

#[test]
fn a_delivery_that_is_held_is_said() {
    let rule = "    quality:\n      - {name: enough, type: library, metric: rowCount, mustBeGreaterOrEqualTo: 2, severity: error}\n";
    let contract = CONTRACT.replace("customProperties", &format!("{rule}customProperties"));
    let here = Here::of(&contract, ON_ARRIVAL);
    here.put("p_20260101.csv", "who\na\n");
    here.until("held", |feed| feed["state"] == "held");
    assert_eq!(here.rows(), 0);
    let (_, said) = here.feed(&["list"]);
    assert!(said.contains("wait for a decision"), "{said}");
}

#[test]
fn a_table_that_was_made_again_is_filled_from_every_file_that_is_there() {
    let mut here = Here::new(ON_ARRIVAL);
    here.put("p_20260101.csv", "who\na\n");
    here.put("p_20260102.csv", "who\nb\nc\n");
    here.until("both delivered", |feed| feed["files_taken"] == 2);
    here.stop();
    std::fs::remove_dir_all(here.place.data.join("lake/raw/people")).unwrap();
    here.start();
    here.place.until("both are there again", || here.rows() == 3);
    assert!(here.place.said().contains("the table of this feed was made again"), "{}", here.place.said());
    // From then on they are known.
    here.stop();
    here.start();
    here.put("p_20260103.csv", "who\nd\n");
    here.until("the next", |feed| feed["files_taken"] == 3);
    assert_eq!((here.rows(), here.place.said().matches("was made again").count()), (4, 1));
    let known = here.place.numbers("SELECT COUNT(*) FROM ops.deliveries WHERE state = 'known'");
    assert_eq!(known, [0], "what is remembered is not read");
}

#[test]
fn every_file_that_was_refused_is_said_until_it_is_mended_or_moved_away() {
    let mut here = Here::new("source: {folder: in, pattern: 'p_{date:yyyyMMdd}*'}\non: arrival\nstable: 1s\n");
    here.put("p_20260101.csv", "whom\na\n");
    here.put("p_20260102.avro", "Obj\u{1}");
    here.put("p_20260103.csv", "who\n\"a\n");
    here.put("p_20260104.csv", "who\na\n");
    here.put("p_20260230.csv", "who\nx\n");
    here.put("p_99991231.csv", "who\nx\n");
    let refused = |feed: &Value| {
        let names = feed["refused"].as_array().unwrap().iter();
        let mut names: Vec<String> = names.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    here.until("all are looked at", |feed| feed["files_taken"] == 5);
    let of_days = |days: &[&str]| days.iter().map(|day| format!("p_{day}")).collect::<Vec<_>>();
    let all = of_days(&["20260101.csv", "20260102.avro", "20260103.csv", "99991231.csv"]);
    let report = here.report();
    assert_eq!((refused(&report), &report["state"], here.rows()), (all.clone(), &"refused".into(), 1));
    assert_eq!(report["last_date"], "2026-01-04", "a day far ahead makes no other seem old");
    let (_, said) = here.feed(&["list"]);
    for words in [
        "p_20260101.csv: the delivery of people has no header line",
        "p_20260102.avro: Avro is not read here: write its rows as Parquet",
        "p_20260103.csv: the delivery of people opens a quote in the record at line 2",
        "p_99991231.csv: the delivery of people stands for 9999-12-31, more than a year ahead",
        "p_20260230.csv is not read: its date is no day",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    here.place.until("each is in the ledger", || {
        here.place.numbers("SELECT COUNT(*) FROM ops.deliveries WHERE state = 'refused'") == [4]
    });
    here.stop();
    here.start();
    here.until("known after a start", |feed| refused(feed) == all);
    here.put("p_20260101.csv", "who\nb\nc\n");
    std::fs::remove_file(here.inbox("p_20260102.avro")).unwrap();
    here.until("mended and moved away", |feed| refused(feed) == of_days(&["20260103.csv", "99991231.csv"]));
    assert_eq!(here.rows(), 3);
}

#[test]
fn of_the_files_of_a_date_the_one_that_is_wrong_is_named() {
    let here = Here::new(&format!("{ON_ARRIVAL}gather: true\n"));
    for file in ["a", "b", "c"] {
        here.put(&format!("p_20260101_{file}.csv"), if file == "b" { "who\n\"x\n" } else { "who\nx\n" });
    }
    here.until("refused", |feed| feed["state"] == "refused");
    let said = here.report()["message"].as_str().unwrap().to_owned();
    let wanted =
        "p_20260101_b.csv: file 2 of the delivery: the delivery of people opens a quote in the record at line 2";
    assert!(said.contains(wanted), "{said}");
    assert_eq!(here.rows(), 0);
    here.put("p_20260101_b.csv", "who\ny\n");
    here.until("mended", |feed| feed["state"] == "waiting");
    assert_eq!(here.rows(), 3);
}

#[test]
fn a_correction_stays_when_it_is_forgotten_which_files_were_taken() {
    let mut here = Here::new(ON_ARRIVAL);
    // The correction has a name before that of what it corrects.
    here.put("p_20260101_b.csv", "who\na\nb\n");
    here.until("the first is delivered", |feed| feed["files_taken"] == 1);
    here.put("p_20260101_a.csv", "who\na\n");
    here.until("the second corrects it", |feed| feed["files_taken"] == 2);
    assert_eq!(here.rows(), 1);
    here.stop();
    std::fs::remove_file(here.place.data.join("control.db")).unwrap();
    here.start();
    here.until("both are read again", |feed| feed["files_taken"] == 2);
    let loaded =
        "SELECT COUNT(*) FILTER (WHERE state = 'loaded'), COUNT(*) FILTER (WHERE state = 'known') FROM ops.deliveries";
    here.place.until("each is in the ledger", || here.place.numbers(loaded) == [2, 2]);
    assert_eq!(here.rows(), 1, "none is taken for a newer one");
    // What is written from then on is one, also with a content of before.
    here.put("p_20260101_c.csv", "who\na\nb\n");
    here.until("the third corrects it again", |feed| feed["files_taken"] == 3);
    assert_eq!(here.rows(), 2);
}
