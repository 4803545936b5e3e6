//! The audit journal of the real server: what clients did is in it, no value is, and every attack on it is found.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::access::{Here, asked, deliver, of_persons, plain, rows, said, vitalake};

/// What lies under a folder, file by file.
fn bytes_under(folder: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        found.extend(if path.is_dir() { bytes_under(&path) } else { fs::read(&path).unwrap() });
    }
    found
}

fn entries(here: &Here) -> Vec<Value> {
    let mut files: Vec<_> =
        fs::read_dir(here.folder.path().join("data/audit")).unwrap().flatten().map(|file| file.path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "jsonl") && !file.ends_with("heads.jsonl"));
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verified(here: &Here) -> (bool, String) {
    let output = vitalake(here.folder.path(), &["audit", "verify", "--project", "project", "--data", "data"], None);
    (output.status.success(), said(&output))
}

fn of<'e>(entries: &'e [Value], action: &str, outcome: &str) -> Vec<&'e Value> {
    entries.iter().filter(|entry| entry["action"] == action && entry["outcome"] == outcome).collect()
}

#[test]
fn what_clients_do_is_written_down_with_columns_rows_and_refusals_and_holds_no_value() {
    let here = plain();
    let server = here.place.start().ready();
    deliver(&here);
    let sql = "SELECT ward, zip FROM raw.people WHERE zip = '94110'";
    assert_eq!(rows(&here, &here.ann, sql), json!([]), "a masked value is not what it masks");
    assert_eq!(
        rows(&here, &here.sam, "SELECT who FROM raw.people WHERE who = 'Ada Example'"),
        json!([["Ada Example"]])
    );
    assert!(
        rows(&here, &here.ann, "SELECT code FROM raw.people WHERE code = 'c-1'")
            .to_string()
            .contains("you may not use it")
    );
    assert!(rows(&here, &here.sam, "SELECT 1 / (CASE WHEN who = 'Ada Example' THEN 0 ELSE 1 END) AS x, CAST(who AS BIGINT) FROM raw.people WHERE").is_string());
    let for_a_purpose = json!({"query": "SELECT ward FROM raw.people", "context": {"purpose": "research"}});
    assert_eq!(asked(&here, Some(&here.ann), "POST", "/druid/v2/sql", &for_a_purpose).0, 400);
    assert_eq!(asked(&here, Some("vl_wrong-token"), "POST", "/druid/v2/sql", &json!({})).0, 401);
    assert_eq!(asked(&here, Some(&here.ann), "GET", "/api/v1/audit", &json!(null)).0, 403);
    let disclosed =
        asked(&here, Some(&here.sam), "POST", "/api/v1/audit/disclosures", &json!({"subject": "Ada Example"}));
    assert_eq!(disclosed.0, 200, "{disclosed:?}");
    let named: Vec<&Value> =
        disclosed.1["disclosures"].as_array().unwrap().iter().filter(|of| of["because"] == "named").collect();
    assert_eq!((named.len(), &named[0]["who"], &named[0]["rows"]), (1, &json!("sam"), &json!(1)), "{disclosed:?}");
    let in_sql = rows(&here, &here.sam, "SELECT COUNT(*) FROM ops.audit WHERE action = 'query' AND who = 'ann'");
    assert!(in_sql[0][0].is_number(), "{in_sql}");
    assert!(rows(&here, &here.ann, "SELECT COUNT(*) FROM ops.audit").is_string());
    server.stop();

    let entries = entries(&here);
    let begun = of(&entries, "query", "begun");
    let masked = begun.iter().find(|entry| entry["who"] == "ann").unwrap();
    assert_eq!(masked["datasets"][0]["dataset"], "raw.people");
    assert_eq!(masked["datasets"][0]["columns"], json!({"ward": "clear", "zip": "masked"}));
    assert_eq!(masked["statement"]["shape"], "SELECT ward , zip FROM raw . people WHERE zip = ?");
    assert!(masked["policy"].is_string() && masked["roles"] == json!(["analyst"]) && masked["by"] == "proof");
    let refused = of(&entries, "query", "refused");
    assert_eq!((refused[0]["who"].as_str(), refused[0]["reason"].as_str()), (Some("ann"), Some("policy")));
    assert!(refused.iter().any(|entry| entry["who"] == "ann" && entry["reason"] == "purpose"), "{refused:?}");
    assert_eq!(of(&entries, "login", "refused").len(), 1);
    assert!(of(&entries, "deliver", "refused").iter().any(|entry| entry["who"] == "ann" && entry["reason"] == "role"));
    assert!(
        of(&entries, "deliver", "done")
            .iter()
            .any(|entry| entry["who"] == "sam" && entry["datasets"][0]["dataset"] == "raw.people")
    );
    let ended = of(&entries, "query", "done");
    assert!(ended.iter().any(|entry| entry["who"] == "sam" && entry["rows"] == 1));

    let audit = bytes_under(&here.folder.path().join("data/audit"));
    let log = fs::read(here.folder.path().join("log.txt")).unwrap_or_default();
    for value in ["Ada Example", "Ada", "94110", "c-1", "vl_wrong-token"] {
        for (place, bytes) in [("the journal", &audit), ("the log", &log)] {
            assert!(!bytes.windows(value.len()).any(|found| found == value.as_bytes()), "{value} is in {place}");
        }
    }
    let (intact, told) = verified(&here);
    assert!(intact, "{told}");
}

#[test]
fn disclosures_say_which_datasets_hold_the_person() {
    let here = of_persons();
    let _server = here.place.start().ready();
    deliver(&here);
    rows(&here, &here.ann, "SELECT ward FROM raw.people");
    let disclosed = |subject: &str| {
        let answer = asked(&here, Some(&here.sam), "POST", "/api/v1/audit/disclosures", &json!({"subject": subject}));
        assert_eq!(answer.0, 200, "{answer:?}");
        answer.1
    };
    let of_ann = |answer: &Value| {
        let found = answer["disclosures"].as_array().unwrap().iter().find(|of| of["who"] == "ann").cloned();
        found.map(|of| of["because"].clone())
    };
    let ada = disclosed("Ada Example");
    assert_eq!((&ada["datasets"], of_ann(&ada)), (&json!(["raw.people"]), Some(json!("dataset"))), "{ada}");
    // A feed's rows may have gone since: whom they do not name now they may have named then.
    let nobody = disclosed("Nobody \"of\" 100%");
    assert_eq!((&nobody["datasets"], of_ann(&nobody)), (&json!([]), Some(json!("may_hold"))), "{nobody}");
    assert_eq!(asked(&here, Some(&here.sam), "POST", "/api/v1/audit/disclosures", &json!({"subject": " "})).0, 400);
}

#[test]
fn an_edit_a_cut_and_a_kill_are_told_by_the_command() {
    let here = plain();
    let server = here.place.start().ready();
    deliver(&here);
    rows(&here, &here.sam, "SELECT who FROM raw.people");
    server.kill();
    let server = here.place.start().ready();
    rows(&here, &here.sam, "SELECT who FROM raw.people");
    server.stop();
    let (intact, told) = verified(&here);
    assert!(intact, "after a kill: {told}");
    let mut files: Vec<_> =
        fs::read_dir(here.folder.path().join("data/audit")).unwrap().flatten().map(|file| file.path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('0')));
    let whole = fs::read_to_string(&files[0]).unwrap();
    fs::write(&files[0], whole.replacen("\"sam\"", "\"ann\"", 1)).unwrap();
    let (intact, told) = verified(&here);
    assert!(!intact && told.contains("was edited"), "{told}");
    let cut = whole.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(&files[0], format!("{cut}\n")).unwrap();
    let (intact, told) = verified(&here);
    assert!(!intact && told.contains("the end is cut off"), "{told}");
    assert!(!told.contains("Example"));
}
