//! Marked values go through every failure; nothing that leaves the process but the tables holds them: no answer, no log, no
//! telemetry, and nothing that Azure Monitor and Application Insights are sent.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use flate2::read::GzDecoder;
use parking_lot::Mutex;
use serde_json::json;

use crate::folders::{Here, asked, landed, send, tick};
use crate::rehearsal::server::Refused;

const MARK: &str = "ZQX7731";

/// What came in, by the path that it came to.
type Got = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Where a machine of Azure asks who it is.
const TOKEN_PATH: &str = "/metadata/identity/oauth2/token";

/// A receiver of telemetry, of alerts and of rows that keeps every byte, and gives tokens.
fn receiver() -> (String, Got) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, got) = (format!("http://{}", listener.local_addr().unwrap()), Got::default());
    let kept = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, kept) = (stream.unwrap(), Arc::clone(&kept));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length, mut packed, mut line) = (String::new(), 0, false, String::new());
                while reader.read_line(&mut line).unwrap_or(0) > 2 {
                    if let Some((name, value)) = line.trim().split_once(':')
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        length = value.trim().parse().unwrap();
                    }
                    packed |= line.to_ascii_lowercase().starts_with("content-encoding: gzip");
                    head.push_str(&line);
                    line.clear();
                }
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_ok() {
                    if packed {
                        let mut plain = Vec::new();
                        GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
                        body = plain;
                    }
                    kept.lock().push((head.clone(), [head.as_bytes(), &body].concat()));
                }
                let token = r#"{"access_token":"t","expires_in":"86000"}"#;
                let answer = if head.contains(TOKEN_PATH) { token } else { "" };
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
                let _ = stream.write_all((head + answer).as_bytes());
            });
        }
    });
    (address, got)
}

fn write(here: &Here, path: &str, text: &str) {
    let file = here.project(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// A project that watches itself: an alert over the rejects, whose runbook has a query that fails on what is marked.
fn prepared(address: &str) -> Here {
    let mut here = Here::new();
    here.place = here.place.clone().set("AZURE_POD_IDENTITY_AUTHORITY_HOST", address);
    let settings = fs::read_to_string(here.project("vitalake.yaml")).unwrap();
    let more = format!(
        "telemetry:\n  otlp_endpoint: {address}\n  interval_ms: 100\n  traces_per_second: 100\n  \
         application_insights: InstrumentationKey=00000000-0000-4000-8000-000000000001;IngestionEndpoint={address}\n\
         azure:\n  monitor:\n    endpoint: {address}\n    rule: dcr-0123\n\
         notify:\n  ops:\n    type: webhook\n    url: {address}/hook\n"
    );
    write(&here, "vitalake.yaml", &(settings + &more));
    write(
        &here,
        "alerts/rejected.yaml",
        "name: rejected\nsql: SELECT COUNT(*) AS n FROM quarantine.ticks HAVING COUNT(*) > 0\nseverity: high\n\
         owner: ops\nrunbook: rejected\nnotify: [ops]\n",
    );
    write(
        &here,
        "runbooks/rejected.md",
        "# Rejected\n```sql\nSELECT _rule, COUNT(*) AS n FROM quarantine.ticks GROUP BY _rule\n```\n\
         ```sql\nSELECT 1 / (CHAR_LENGTH(device) - CHAR_LENGTH(device)) FROM raw.ticks\n```\n",
    );
    here
}

fn bad_records() -> Vec<String> {
    vec![
        format!(r#"{{"n":"{MARK}","tick_id":"{MARK}","device":"{MARK}","at":"{MARK}","steps":"{MARK}","{MARK}":1}}"#),
        format!(r#"{{"n":1,"tick_id":"{MARK}","device":"d","at":"2026-01-01T00:00:00Z","steps":-1}}"#),
        format!("{MARK} is no JSON"),
        format!(r#"{{"n":{{"{MARK}":["{MARK}"]}}}}"#),
        // The same key with other values, and a time that no table takes.
        format!(r#"{{"n":2,"tick_id":"{MARK}","device":"{MARK}-2","at":"2026-01-01T00:00:00Z","steps":1}}"#),
        format!(r#"{{"n":3,"tick_id":"{MARK}","device":"{MARK}-3","at":"2026-01-01T00:00:00Z","steps":2}}"#),
        format!(r#"{{"n":4,"tick_id":"{MARK}-4","device":"d","at":"99999-01-01T00:00:00{MARK}","steps":2}}"#),
        tick(5, &format!(r#","{MARK}":"{MARK}""#)),
    ]
}

/// Everything that commands and queries say.
fn answers(here: &Here) -> Vec<(String, String)> {
    let mut said = Vec::new();
    for (name, text) in [
        ("quoted.csv", format!("n,tick_id,device,at,steps\n1,\"{MARK},d,2026-01-01T00:00:00Z,1\n")),
        ("values.csv", format!("n,tick_id,device,at,steps\n{MARK},{MARK},{MARK},{MARK},{MARK}\n{MARK}\n")),
        ("twice.csv", format!("n,n,tick_id\n1,2,{MARK}\n")),
        ("lines.ndjson", format!("{{\"n\":\"{MARK}\"}}\n{MARK}\n")),
    ] {
        write(here, name, &text);
        let path = here.project(name).to_string_lossy().into_owned();
        said.push((format!("ingest {name}"), asked(here, &["ingest", "ticks", &path]).1));
    }
    for arguments in [
        &["quarantine", "list"][..],
        &["quarantine", "replay", "ticks", "--dry-run"],
        &["quarantine", "replay", "ticks"],
        &["alert", "list"],
        &["status"],
        &["runbook", "rejected"],
        &["reconcile"],
        &["gate", "status"],
    ] {
        said.push((arguments.join(" "), asked(here, arguments).1));
    }
    for sql in [
        "SELECT CAST(device AS BIGINT) FROM raw.ticks",
        "SELECT CAST(CAST(_raw AS VARCHAR) AS BIGINT) FROM quarantine.ticks",
        "SELECT 1 / (n - n) FROM raw.ticks",
        "SELECT CAST(device AS TIMESTAMP) FROM raw.ticks",
        "SELECT TIME_PARSE(device) + 1 FROM raw.ticks",
        "SELECT PARSE_JSON(device) FROM raw.ticks",
    ] {
        let answer = match here.place.ask(sql) {
            Err(Refused::Wrong(text)) => text,
            other => format!("{other:?}"),
        };
        said.push((sql.to_owned(), answer));
    }
    said
}

#[test]
fn a_marked_value_leaves_by_no_failure() {
    let (address, got) = receiver();
    let here = prepared(&address);
    let server = here.place.start().ready();
    send(&here.place, "ticks", &bad_records());
    landed(&here.place, "SELECT COUNT(*) FROM quarantine.ticks", &[5]);
    let mut said = answers(&here);
    here.place.until("an alert", || got.lock().iter().any(|(head, _)| head.contains("/hook")));
    here.place.until("evidence", || here.place.ask("SELECT 1 FROM ops.evidence").is_ok_and(|rows| !rows.is_empty()));
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
        here.place.until(path, || got.lock().iter().any(|(head, _)| head.contains(path)));
    }
    for kind in ["RequestData", "RemoteDependencyData", "MetricData", "MessageData"] {
        let is_there = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(kind);
        here.place.until(kind, || got.lock().iter().any(|(head, all)| head.contains("/v2.1/track") && is_there(all)));
    }
    for path in ["/metrics", "/health/ready", "/api/v1/status", "/api/v1/alerts", "/runbooks/rejected", "/"] {
        let mut answer = ureq::get(format!("http://{}{path}", here.place.http)).call().unwrap();
        said.push((path.to_owned(), answer.body_mut().read_to_string().unwrap()));
    }
    let tables = "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'ops'";
    for table in here.place.ask(tables).unwrap() {
        let table = format!("ops.{}", table[0].as_str().unwrap());
        let rows = here.place.ask(&format!("SELECT * FROM {table} LIMIT 10000")).unwrap();
        said.push((table, json!(rows).to_string()));
    }
    let kept = here.place.ask("SELECT COUNT(*) FROM quarantine.ticks WHERE CAST(_raw AS VARCHAR) LIKE '%ZQX7731%'");
    assert!(kept.unwrap()[0][0].as_i64() >= Some(5), "the marked records are in quarantine, whole");
    server.stop();
    // What the stop has committed is sent by the next start, from the place that was reached.
    let server = here.place.start().ready();
    here.place.until("everything is sent", || {
        let monitor = here.place.status().unwrap()["monitor"].clone();
        monitor["commits_waiting"] == 0 && monitor["last_sent"].is_string()
    });
    for table in ["Runs", "Commits", "Checks", "Alerts"] {
        let stream = format!("/streams/Custom-Vitalake{table}?");
        assert!(got.lock().iter().any(|(head, _)| head.contains(&stream)), "nothing of {table} was sent");
    }
    server.stop();
    said.push(("the log".to_owned(), here.place.said()));
    let sent = got.lock();
    said.extend(sent.iter().map(|(head, bytes)| (head.clone(), String::from_utf8_lossy(bytes).into_owned())));
    let leaks: Vec<&(String, String)> = said.iter().filter(|(_, text)| text.contains(MARK)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
