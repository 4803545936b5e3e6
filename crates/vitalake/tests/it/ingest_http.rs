//! Records by HTTP into a real server: rows, quarantine, the same key over a kill, and devices that write of themselves.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::rehearsal::server::Place;

const PULSES: &str = "apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000011
name: pulses
version: 1.0.0
status: active
schema:
  - name: pulses
    properties:
      - {name: patient_id, logicalType: string, required: true, customProperties: [{property: subject, value: true}]}
      - {name: bpm, logicalType: integer, required: true}
";

const LISTS: &str = "apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000012
name: lists
version: 1.0.0
status: active
schema:
  - name: lists
    properties:
      - {name: name, logicalType: string}
customProperties:
  - {property: source, value: feed}
";

fn write(project: &Path, name: &str, text: &str) {
    let path = project.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn place(folder: &Path, access: &str) -> Place {
    let project = folder.join("project");
    write(&project, "vitalake.yaml", &format!("name: pulses\nstorage:\n  reserve_bytes: 0\n{access}"));
    write(&project, "contracts/raw/pulses.yaml", PULSES);
    write(&project, "contracts/raw/lists.yaml", LISTS);
    Place::new(&project, &folder.join("data"), &folder.join("log.txt"))
}

/// Status, headers of interest and body of an answer.
fn sent(place: &Place, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, bool, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = ureq::http::Request::builder().method("POST").uri(format!("http://{}{path}", place.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let replayed = answer.headers().contains_key("idempotent-replayed");
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), replayed, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

#[test]
fn what_is_acknowledged_is_rows_or_quarantine_once_also_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "");
    let server = place.start();
    place.until("ready", || place.is_ready());
    let body =
        "{\"patient_id\":\"a\",\"bpm\":61}\n{\"patient_id\":\"b\"}\nno json\n{\"patient_id\":\"c\",\"bpm\":63}\n";
    let keyed = [LINES, ("idempotency-key", "morning")];
    let (status, replayed, first) = sent(&place, "/ingest/pulses", &keyed, body);
    assert_eq!((status, replayed, &first["accepted"], &first["rejected_count"]), (202, false, &json!(3), &json!(1)));
    assert_eq!((&first["rejected"][0]["index"], &first["rejected"][0]["line"]), (&json!(2), &json!(3)));
    server.kill();

    let server = place.start();
    place.until("ready", || place.is_ready());
    let (status, replayed, again) = sent(&place, "/ingest/raw.pulses", &keyed, body);
    assert_eq!((status, replayed), (202, true), "{again}");
    assert_eq!(again, first, "the same key and body have the same answer");
    assert_eq!(sent(&place, "/ingest/pulses", &keyed, "{}").0, 422);
    let count = |table: &str| place.numbers(&format!("SELECT COUNT(*) FROM {table}"))[0];
    place.until("landed", || count("raw.pulses") + count("quarantine.pulses") >= 3);
    assert_eq!((count("raw.pulses"), count("quarantine.pulses")), (2, 1));
    let request = first["request"].as_str().unwrap();
    let found = place.numbers(&format!("SELECT COUNT(*) FROM quarantine.pulses WHERE _headers LIKE '%{request}%'"));
    assert_eq!(found, [1], "who sent it finds what became of it");

    for (path, headers, body, expected) in [
        ("/ingest/lists", [LINES], "{\"name\":\"x\"}", 404),
        ("/ingest/nosuch", [LINES], "{}", 404),
        ("/ingest/pulses", [("content-type", "text/csv")], "a,b", 415),
        ("/ingest/pulses", [("content-type", "application/json")], "{\"a\":", 400),
    ] {
        let (status, _, answer) = sent(&place, path, &headers, body);
        assert_eq!(status, expected, "{path}: {answer}");
    }
    assert_eq!(count("raw.pulses"), 2);
    server.kill();
}

#[test]
fn a_device_writes_of_its_own_subject_and_does_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let client = |name: &str, token: &str, more: &str| {
        let hash = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("    {name}: {{roles: [{more}, token: 'sha256:{hash}'}}\n")
    };
    let clients = client("watch", "watch-secret", "sender], subject: p1")
        + &client("gate", "gate-secret", "sender]")
        + &client("ann", "ann-secret", "analyst]");
    let roles =
        "access:\n  roles:\n    sender: {layers: [], may: [deliver]}\n    analyst: {layers: [raw]}\n  clients:\n";
    let place = place(folder.path(), &format!("{roles}{clients}"));
    let server = place.start();
    place.until("ready", || place.is_ready());
    let as_client = |token: &str, body: &str| {
        let authorization = format!("Bearer {token}");
        sent(&place, "/ingest/pulses", &[LINES, ("authorization", &authorization)], body)
    };
    let of = |patient: &str| format!("{{\"patient_id\":\"{patient}\",\"bpm\":60}}\n");
    assert_eq!(as_client("watch-secret", &of("p1")).0, 202);
    let (status, _, refused) = as_client("watch-secret", &(of("p1") + &of("p2")));
    assert_eq!((status, &refused["error"]), (403, &json!("other_subject")), "{refused}");
    assert_eq!(as_client("gate-secret", &(of("p1") + &of("p2"))).0, 202);
    assert_eq!(as_client("ann-secret", &of("p1")).0, 403);
    assert_eq!(as_client("no-secret", &of("p1")).0, 401);
    // Its role may deliver, and it is bound to a subject: files, which nobody looks through, are not for it.
    let bearer = ("authorization", "Bearer watch-secret");
    assert_eq!(sent(&place, "/api/v1/deliveries/lists?name=a.csv", &[bearer], "name\nx\n").0, 403);
    let bearer = ("authorization", "Bearer gate-secret");
    assert_eq!(sent(&place, "/api/v1/deliveries/lists?name=a.csv", &[bearer], "name\nx\n").0, 200);
    server.kill();
}
