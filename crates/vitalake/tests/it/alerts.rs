//! Alerts of a project: what `validate` says of them, and what their receivers are told, also after a kill.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::folders::{Here, landed, send, tick};
use crate::postgres_server::PostgresServer;
use crate::rehearsal::server::Place;

/// A receiver of webhooks that keeps what it got.
struct Pager {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Pager {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (url, got) =
            (format!("http://{}/hook", listener.local_addr().unwrap()), Arc::<Mutex<Vec<Value>>>::default());
        let kept = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut length, mut line) = (0, String::new());
                while reader.read_line(&mut line).unwrap_or(0) > 2 {
                    let (name, value) = line.trim().split_once(':').unwrap_or_default();
                    if name.eq_ignore_ascii_case("content-length") {
                        length = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                kept.lock().push(serde_json::from_slice(&body).unwrap());
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { url, got }
    }

    /// The states of an alert, in the order in which they came.
    fn states(&self, alert: &str) -> Vec<String> {
        let got = self.got.lock();
        got.iter().filter(|m| m["alert"] == alert).map(|m| m["state"].as_str().unwrap().to_owned()).collect()
    }
}

fn write(here: &Here, path: &str, text: &str) {
    let file = here.project(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn alert(name: &str, rest: &str) -> String {
    format!("name: {name}\nowner: ops\nrunbook: gate_held\n{rest}")
}

fn findings(here: &Here) -> Vec<(String, usize, String)> {
    let checked = vitalake::command::validate::check(&here.place.project, &Default::default());
    checked.diagnostics.into_iter().map(|found| (found.file, found.line, found.message)).collect()
}

fn with_receiver(here: &Here) {
    let config = here.project("vitalake.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + "notify:\n  ops: {type: webhook, url: '${ALERTS_TEST_HOOK}'}\n").unwrap();
}

#[test]
fn an_alert_is_valid_without_its_receivers_variable_and_wrong_where_it_names_what_is_not_there() {
    let here = Here::new();
    with_receiver(&here);
    write(&here, "alerts/a.yaml", &alert("a", "signal: gate_held\ndataset: serving.ticks_hourly\nnotify: [ops]\n"));
    write(&here, "alerts/b.yaml", &alert("b", "sql: SELECT COUNT(*) AS n FROM ops.checks HAVING COUNT(*) > 9\n"));
    assert_eq!(findings(&here), []);
    let cases = [
        ("signal: lag\ndataset: raw.tocks\n", 5, "no dataset raw.tocks"),
        ("signal: lag\nnotify: [nobody]\n", 5, "no receiver nobody"),
        ("sql: SELECT nothing FROM raw.ticks\n", 4, "nothing"),
        ("sql: DELETE FROM raw.ticks\n", 4, "DELETE"),
        ("sql: SELECT _raw FROM quarantine.ticks\n", 4, "_raw"),
        ("signal: freshness\ndataset: raw.ticks\n", 4, "how old ticks may be"),
    ];
    for (rest, line, words) in cases {
        write(&here, "alerts/b.yaml", &alert("b", rest));
        let found = findings(&here);
        let [(file, at, message)] = found.as_slice() else { panic!("{rest}: {found:?}") };
        assert_eq!((file.as_str(), *at), ("alerts/b.yaml", line), "{rest}: {message}");
        assert!(message.contains(words), "{rest}: {message}");
    }
    write(&here, "alerts/b.yaml", &alert("b", "signal: lag\n").replace("gate_held", "no_such"));
    assert!(findings(&here)[0].2.contains("no runbook no_such"));
    write(&here, "alerts/b.yaml", &alert("b", "signal: lag\n"));
    let (status, said) = here.place.refusal();
    assert_eq!(status, Some(1));
    assert!(said.contains("ALERTS_TEST_HOOK is not set"), "{said}");
}

#[test]
fn an_alert_is_told_once_also_after_a_kill_and_is_resolved() {
    let here = Here::new();
    let pager = Pager::new();
    with_receiver(&here);
    write(
        &here,
        "alerts/few.yaml",
        &alert(
            "few",
            "sql: SELECT 'raw.ticks' AS dataset, COUNT(*) AS ticks FROM raw.ticks HAVING COUNT(*) BETWEEN 1 AND 5\nnotify: [ops]\nseverity: high\n",
        ),
    );
    write(&here, "alerts/large.yaml", &alert("large", "signal: memory\nthreshold: 1 MiB\nfor: 1s\nnotify: [ops]\n"));
    let place = here.place.clone().set("ALERTS_TEST_HOOK", &pager.url);
    let server = place.start().ready();
    send(&place, "ticks", &(0..3).map(|n| tick(n, "")).collect::<Vec<_>>());
    landed(&place, "SELECT COUNT(*) FROM raw.ticks", &[3]);
    place.until("both fire", || pager.states("few").len() + pager.states("large").len() == 2);
    let first = pager.got.lock().iter().find(|m| m["alert"] == "few").unwrap().clone();
    assert_eq!((&first["dataset"], &first["severity"]), (&"raw.ticks".into(), &"error".into()));
    assert_eq!(first["summary"], "ticks = 3; what derives from it: ticks_hourly, ticks_once");
    server.kill();
    let server = place.start().ready();
    send(&place, "ticks", &(3..9).map(|n| tick(n, "")).collect::<Vec<_>>());
    place.until("the one is resolved", || pager.states("few").last().is_some_and(|state| state == "resolved"));
    let count = |alert: &str, state: &str| pager.states(alert).iter().filter(|s| *s == state).count();
    // The kill may have come between a message and the note that it was sent: then it comes once more.
    assert!((1..=2).contains(&count("few", "firing")) && (1..=2).contains(&count("large", "firing")));
    assert_eq!((count("few", "resolved"), count("large", "resolved")), (1, 0));
    let mut command = std::process::Command::new(crate::binary());
    let out = command.args(["alert", "list", "--json", "--server"]).arg(format!("http://{}", place.http)).output();
    let listed: Vec<Value> = serde_json::from_slice(&out.unwrap().stdout).unwrap();
    let state = |name: &str| listed.iter().find(|a| a["alert"] == name).map(|a| a["state"].clone());
    assert_eq!((state("few"), state("large")), (Some("resolved".into()), Some("firing".into())));
    landed(&place, "SELECT COUNT(*) FROM ops.alerts WHERE alert = 'few' AND state IN ('firing', 'resolved')", &[2]);
    server.stop();
}

/// A process with the role `process`, killed with the test.
struct Runner(Child);

impl Runner {
    fn start(place: &Place) -> Self {
        let log = fs::File::options().create(true).append(true).open(&place.log).unwrap();
        let mut command = place.command();
        Self(command.args(["--role", "process"]).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn one_of_two_processes_sends_alerts_and_the_other_takes_over_when_it_is_killed() {
    let Some(database) = PostgresServer::start() else { return };
    let here = Here::new();
    let pager = Pager::new();
    with_receiver(&here);
    let memory = |wait: &str| format!("signal: memory\nthreshold: 1 MiB\nfor: {wait}\nnotify: [ops]\n");
    write(&here, "alerts/soon.yaml", &alert("soon", &memory("1s")));
    write(&here, "alerts/late.yaml", &alert("late", &memory("20s")));
    let shared = here.project("../shared");
    let place = |name: &str| {
        let (data, log) = (here.project(&format!("../{name}")), here.project(&format!("../{name}.txt")));
        let place = Place::new(&here.place.project, &data, &log).set("ALERTS_TEST_HOOK", &pager.url);
        place.set("VITALAKE_STORAGE__URL", shared.display()).set("VITALAKE_CONTROL__URL", database.url())
    };
    // Somebody has to make the raw tables.
    place("makes").set("ALERTS_TEST_HOOK", "http://127.0.0.1:9/nobody").start().ready().stop();

    let (one, other) = (place("one"), place("other"));
    let first = Runner::start(&one);
    one.until("ready", || one.is_ready());
    let second = Runner::start(&other);
    other.until("ready", || other.is_ready());
    one.until("the first alert is told", || pager.states("soon") == ["firing"]);
    let kept = "SELECT COUNT(*) FROM ops.alerts WHERE alert = 'soon' AND state = 'firing'";
    landed(&one, kept, &[1]);
    first.kill();
    other.until("the other tells the next", || pager.states("late") == ["firing"]);
    assert_eq!(pager.states("soon"), ["firing"], "{}", other.said());
    assert_eq!(database.sql("SELECT count(*) FROM vitalake.lease WHERE name = 'alerts'"), "1");

    // Who comes back waits for the one that sends now.
    let first = Runner::start(&one);
    one.until("ready", || one.is_ready());
    second.kill();
    one.until("it takes the turn again", || {
        let owners = "SELECT count(DISTINCT epoch) FROM vitalake.lease WHERE name = 'alerts' AND until_us > extract(epoch from now()) * 1000000";
        database.sql(owners) == "1"
    });
    assert_eq!((pager.states("soon"), pager.states("late")), (vec!["firing".to_owned()], vec!["firing".to_owned()]));
    first.kill();
}
