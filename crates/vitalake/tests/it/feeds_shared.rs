//! Processes that share a lake and a control store, killed and made to stand still in the middle of a delivery: each file
//! is loaded once, and no feed is run by two at once.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::postgres_server::{PASSWORD, PostgresServer};
use crate::rehearsal::server::{Place, Server};

const FEEDS: [&str; 3] = ["visits", "claims", "staff"];
/// So many that a delivery takes a while.
const ROWS: usize = 40_000;

/// Two processes that take deliveries, and one that shows what they have committed.
struct Shared {
    folder: TempDir,
    database: PostgresServer,
    takers: [Place; 2],
    reader: Place,
}

impl Shared {
    fn new() -> Option<Self> {
        let database = PostgresServer::start()?;
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        let put = |name: &str, text: &str| {
            let path = project.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let lake = folder.path().join("lake");
        let control = database.url().replace(PASSWORD, "${CONTROL_PASSWORD}");
        let settings = format!(
            "name: clinic\nstorage:\n  url: {}\n  reserve_bytes: 0\ncontrol:\n  url: \"{control}\"\n",
            lake.display()
        );
        put("vitalake.yaml", &settings);
        for (number, feed) in FEEDS.iter().enumerate() {
            put(
                &format!("contracts/raw/{feed}.yaml"),
                &format!(
                    "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-00000000000{number}\nname: {feed}\n\
                     version: 1.0.0\nstatus: active\nschema:\n  - name: {feed}\n    properties:\n      - {{name: who, logicalType: \
                     string, required: true}}\ncustomProperties:\n  - {{property: source, value: feed}}\n"
                ),
            );
            put(
                &format!("feeds/{feed}.yaml"),
                &format!(
                    "name: {feed}\ndataset: {feed}\nlook_every: 1s\nstable: 1s\non: arrival\n\
                     source: {{folder: in/{feed}, pattern: '{{date:yyyyMMdd}}.csv'}}\n"
                ),
            );
            fs::create_dir_all(project.join("in").join(feed)).unwrap();
        }
        let place = |name: &str, role: &str| {
            let (data, log) = (folder.path().join(name), folder.path().join(format!("{name}.txt")));
            Place::new(&project, &data, &log).set("CONTROL_PASSWORD", PASSWORD).set("VITALAKE_ROLE", role)
        };
        let (takers, reader) = ([place("one", "ingest"), place("two", "ingest")], place("reader", "process"));
        Some(Self { folder, database, takers, reader })
    }

    /// A file of one day for each feed.
    fn put(&self, day: usize) {
        for feed in FEEDS {
            let rows: String = (0..ROWS).map(|row| format!("{day}-{row}\n")).collect();
            let file = self.folder.path().join(format!("project/in/{feed}/202601{day:02}.csv"));
            fs::write(file, format!("who\n{rows}")).unwrap();
        }
    }

    /// Waits for a delivery to be under way.
    fn delivers(&self) -> String {
        let mut under_way = String::new();
        self.reader.until("a delivery is under way", || {
            under_way = self.database.sql("SELECT feed FROM vitalake.delivery_in_flight LIMIT 1");
            !under_way.is_empty()
        });
        under_way
    }

    /// Which of the takers runs a feed.
    fn runs(&self, feed: &str) -> usize {
        let mut runs = None;
        self.reader.until("the feed is run", || {
            runs = self.takers.iter().position(|place| run_by(place).iter().any(|run| run == feed));
            runs.is_some()
        });
        runs.unwrap()
    }

    /// Waits until every file of so many days is loaded, and asserts that each was once.
    fn has_loaded(&self, days: usize) {
        let wanted = i64::try_from(days * ROWS).unwrap();
        for feed in FEEDS {
            let question = format!("SELECT COUNT(*), COUNT(DISTINCT who), COUNT(DISTINCT _partition) FROM raw.{feed}");
            self.reader.until("all of it is loaded", || self.reader.numbers(&question)[1] >= wanted);
            let days = i64::try_from(days).unwrap();
            assert_eq!(self.reader.numbers(&question), [wanted, wanted, days], "{feed}");
        }
    }

    fn never_run_by_both(&self) {
        let (before, other, after) = (run_by(&self.takers[0]), run_by(&self.takers[1]), run_by(&self.takers[0]));
        let both: Vec<_> = other.iter().filter(|feed| before.contains(feed) && after.contains(feed)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    fn are_divided(&self) {
        self.reader.until("the feeds are divided", || {
            self.never_run_by_both();
            let shares = self.takers.each_ref().map(|place| run_by(place).len());
            shares == [1, 2] || shares == [2, 1]
        });
    }
}

/// The feeds that a process runs.
fn run_by(place: &Place) -> Vec<String> {
    let feeds = said(place, &["feed", "list"]);
    let runs = feeds.iter().filter(|feed| feed["state"] != "elsewhere");
    runs.map(|feed| feed["feed"].as_str().unwrap().to_owned()).collect()
}

/// What a command of the client lists; nothing where nobody answers.
fn said(place: &Place, words: &[&str]) -> Vec<Value> {
    let address = format!("http://{}", place.http);
    let command = [words, &["--json", "--server", &address]].concat();
    let output = Command::new(crate::binary()).args(command).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn signal(server: &Server, name: &str) {
    assert!(Command::new("kill").args([name, &server.id().to_string()]).status().unwrap().success());
}

#[test]
fn of_two_processes_on_one_lake_each_file_is_loaded_once_whoever_is_killed_or_stands_still() {
    let Some(shared) = Shared::new() else { return };
    // Whoever takes deliveries makes the tables, which the reader waits for.
    let mut takers = shared.takers.each_ref().map(|place| Some(place.start().ready()));
    let _reader = shared.reader.start().ready();
    shared.are_divided();
    shared.put(1);
    shared.has_loaded(1);

    // Killed while nothing is under way: the other takes its feeds over, with what was taken of them.
    takers[0].take().unwrap().kill();
    shared.reader.until("one runs all", || run_by(&shared.takers[1]).len() == FEEDS.len());
    shared.put(2);
    shared.has_loaded(2);
    let known = said(&shared.takers[1], &["feed", "history", "--state", "known"]);
    assert!(known.is_empty(), "no file was read twice: {known:?}");
    takers[0] = Some(shared.takers[0].start().ready());
    shared.are_divided();

    // Killed in the middle of a delivery: the other loads what was left.
    for day in 3..5 {
        shared.put(day);
        let killed = shared.runs(&shared.delivers());
        takers[killed].take().unwrap().kill();
        shared.has_loaded(day);
        takers[killed] = Some(shared.takers[killed].start().ready());
        shared.are_divided();
    }

    // One that stands still, loses its leases in the middle and goes on: what it had read is known.
    shared.put(5);
    let still = shared.runs(&shared.delivers());
    signal(takers[still].as_ref().unwrap(), "-STOP");
    shared.has_loaded(5);
    signal(takers[still].as_ref().unwrap(), "-CONT");
    shared.are_divided();
    shared.put(6);
    shared.has_loaded(6);
    let logs = shared.takers.iter().map(Place::said).collect::<String>() + &shared.database.log();
    assert!(!logs.contains(PASSWORD));
}
