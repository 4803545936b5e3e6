//! Runbooks of a project: what `validate` says of them, and what is shown when one is opened.

use std::fs;
use std::io::Read as _;

use clap::Parser as _;
use serde_json::Value;

use crate::folders::{Here, landed, send, tick};

const TICKS: &str = "# Ticks <b>are</b> missing\n\nHow many there are:\n\n```sql\nSELECT COUNT(*) AS ticks, SUM(n) AS total\n\
                     FROM raw.ticks WHERE :dataset IS NULL OR :dataset = 'raw.ticks'\n```\n\nA question that cannot be answered:\n\n\
                     ```sql\nSELECT 1 / (n - n) FROM raw.ticks\n```\n\nThen wait.\n";

fn write(here: &Here, name: &str, text: &str) {
    let folder = here.project("runbooks");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

/// The commands that a text tells its reader to type.
fn commands(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("vitalake ")).collect()
}

#[test]
fn every_command_of_a_runbook_is_one_of_ours() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    for folder in ["crates/ops/runbooks", "examples/remote-care/runbooks"] {
        for file in fs::read_dir(root.join(folder)).unwrap() {
            let (path, text) = file.map(|file| (file.path(), fs::read_to_string(file.path()).unwrap())).unwrap();
            for command in commands(&text) {
                let parsed = vitalake::cli::Cli::try_parse_from(command.split_whitespace());
                assert!(parsed.is_ok(), "{}: {command}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

fn findings(here: &Here) -> Vec<(String, usize, String)> {
    let checked = vitalake::command::validate::check(&here.place.project, &Default::default());
    checked.diagnostics.into_iter().map(|found| (found.file, found.line, found.message)).collect()
}

fn text_of(address: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(address).call().unwrap();
    let mut text = String::new();
    answer.body_mut().as_reader().read_to_string(&mut text).unwrap();
    (answer.status().as_u16(), text)
}

#[test]
fn a_runbook_that_can_be_run_is_valid_and_one_that_cannot_is_an_error_at_its_line() {
    let here = Here::new();
    write(&here, "ticks.md", TICKS);
    assert_eq!(findings(&here), []);
    let cases = [
        ("DELETE FROM raw.ticks", 3, "DELETE"),
        ("SELECT n\nFROM raw.tacks", 4, "tacks"),
        ("SELECT\n nobody FROM raw.ticks", 4, "nobody"),
        ("SELECT _raw FROM quarantine.ticks", 3, "_raw"),
        ("SELECT _rescued FROM raw.ticks", 3, "_rescued"),
        ("SELECT :nobody", 3, ":nobody"),
        ("SELECT 1; SELECT 2", 3, "without a semicolon"),
        ("", 3, "EOF"),
    ];
    for (sql, line, words) in cases {
        write(&here, "wrong.md", &format!("# Wrong\n```sql\n{sql}\n```\n"));
        let found = findings(&here);
        let [(file, at, message)] = found.as_slice() else { panic!("{sql}: {found:?}") };
        assert_eq!((file.as_str(), *at), ("runbooks/wrong.md", line), "{sql}: {message}");
        assert!(message.contains(words), "{sql}: {message}");
    }
    for readable in ["SELECT _published FROM serving.ticks_hourly_live", "SELECT _rule, __time FROM quarantine.ticks"] {
        write(&here, "wrong.md", &format!("```sql\n{readable}\n```\n"));
        let found = findings(&here);
        assert!(found.is_empty(), "{readable}: {found:?}");
    }
}

#[test]
fn an_opened_runbook_has_its_evidence_in_its_place_and_says_what_failed() {
    let here = Here::new();
    write(&here, "ticks.md", TICKS);
    write(&here, "gate_held.md", "# Ours goes before the built-in one\n");
    let server = here.place.start().ready();
    send(&here.place, "ticks", &(0..6).map(|n| tick(n, "")).collect::<Vec<_>>());
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[6]);
    let at = |path: &str| format!("http://{}{path}", here.place.http);

    let (status, page) = text_of(&at("/runbooks/ticks"));
    assert_eq!(status, 200);
    assert!(page.contains("<td class=\"n\">6</td><td class=\"n\">15</td>"), "{page}");
    assert!(page.contains("&lt;b&gt;are&lt;/b&gt;") && !page.contains("<b>are"), "{page}");
    assert!(page.contains("This query gave no answer"), "{page}");
    let places: Vec<_> =
        ["How many", "Evidence 1", "cannot be answered", "Evidence 2", "Then wait"].map(|w| page.find(w)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");

    let (_, report) = text_of(&at("/api/v1/runbooks/ticks"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["parts"][1]["now"]["rows"], serde_json::json!([[6, 15]]));
    assert!(report["parts"][3]["now"]["error"].as_str().unwrap().contains("zero"), "{report}");

    let (_, list) = text_of(&at("/runbooks"));
    assert!(list.contains("/runbooks/ticks") && list.contains("/runbooks/disk_full"), "{list}");
    assert!(text_of(&at("/runbooks/gate_held")).1.contains("Ours goes before"));
    assert_eq!(text_of(&at("/runbooks/nobody%22%3E")).0, 404);
    drop(server);
}

#[test]
fn what_was_found_when_the_alert_fired_stands_beside_what_is_found_now() {
    let here = Here::new();
    write(&here, "ticks.md", TICKS);
    fs::create_dir_all(here.project("alerts")).unwrap();
    let few = "name: few\nsql: SELECT COUNT(*) AS n FROM raw.ticks HAVING COUNT(*) BETWEEN 1 AND 3\nseverity: high\n\
               owner: night shift\nrunbook: ticks\n";
    fs::write(here.project("alerts/few.yaml"), few).unwrap();
    let server = here.place.start().ready();
    send(&here.place, "ticks", &[tick(0, ""), tick(1, "")]);
    let kept = "SELECT fingerprint, found FROM ops.evidence WHERE alert = 'few' ORDER BY block";
    here.place.until("the evidence is kept", || here.place.ask(kept).is_ok_and(|rows| rows.len() == 2));
    let fingerprint = here.place.ask(kept).unwrap()[0][0].as_str().unwrap().to_owned();
    send(&here.place, "ticks", &(2..6).map(|n| tick(n, "")).collect::<Vec<_>>());
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[6]);
    server.kill();
    let server = here.place.start().ready();

    let at = |path: &str| format!("http://{}{path}", here.place.http);
    let (_, report) = text_of(&at(&format!("/api/v1/runbooks/ticks?alert={fingerprint}")));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["alert"]["alert"], "few", "{report}");
    let evidence = &report["parts"][1];
    assert_eq!(
        (&evidence["then"]["rows"], &evidence["now"]["rows"]),
        (&serde_json::json!([[2, 1]]), &serde_json::json!([[6, 15]]))
    );
    let (_, page) = text_of(&at(&format!("/runbooks/ticks?alert={fingerprint}")));
    assert!(page.contains("When the alert fired") && page.contains("night shift"), "{page}");

    let (_, list) = text_of(&at("/api/v1/runbooks?owner=night%20shift"));
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["alerts"]), (&"ticks".into(), &serde_json::json!(["few"])));
    assert_eq!(text_of(&at("/runbooks/ticks?alert=nobody")).0, 404);
    drop(server);
}
