//! Files that Druid fetches by signed addresses, and a datasource that is somebody else's.

use serde_json::{Value, json};
use vitalake_serve::druid_engine::FileKey;

use super::double::Double;
use super::{fetched, publishing, report, state, ticked};

const DATASOURCE: &str = "ticks_hourly";
/// Later than any test runs.
const LATER_S: i64 = 32_503_680_000;

/// The address of the one file that a task reads, and its parts: version, name, signature.
fn address(task: &Value) -> (String, u64, String, String) {
    let url = task["spec"]["ioConfig"]["inputSource"]["uris"][0].as_str().unwrap().to_owned();
    let (path, signature) = url.split_once("?sig=").unwrap();
    let mut parts = path.rsplit('/');
    let (file, version) = (parts.next().unwrap().to_owned(), parts.next().unwrap().parse().unwrap());
    (url.clone(), version, file, signature.to_owned())
}

#[test]
fn a_file_is_given_for_its_signed_address_alone_and_for_as_long_as_a_task_reads_it() {
    let double = Double::new();
    let here = publishing(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 2);
    here.place.until("a task is sent", || double.running(DATASOURCE).is_some());
    let task = double.running(DATASOURCE).unwrap();
    let (url, version, file, signature) = address(&task);
    let (status, bytes) = fetched(&url);
    assert!(status == 200 && bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{status}");

    let key = FileKey::new(std::fs::read(here.place.data.join("published.key")).unwrap());
    let of = |dataset: &str, version: u64, file: &str, sig: &str| {
        format!("http://{}/api/v1/published/{dataset}/{version}/{file}?sig={sig}", here.place.http)
    };
    let signed = |version: u64, file: &str, until_s: i64| {
        of("ticks_hourly", version, file, &key.sign("ticks_hourly", version, file, until_s))
    };
    assert_eq!(fetched(&signed(version, &file, LATER_S)), (200, bytes.clone()), "the key is that of the data folder");
    let mut wrong = signature.clone().into_bytes();
    let last = wrong.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let wrong = String::from_utf8(wrong).unwrap();
    let another = FileKey::new(*b"another").sign("ticks_hourly", version, &file, LATER_S);
    for (why, url, wanted) in [
        ("no signature", url.split_once('?').unwrap().0.to_owned(), 403),
        ("a wrong signature", of("ticks_hourly", version, &file, &wrong), 403),
        ("another key's", of("ticks_hourly", version, &file, &another), 403),
        ("another version's", of("ticks_hourly", version + 1, &file, &signature), 403),
        ("another file's", of("ticks_hourly", version, "other.parquet", &signature), 403),
        ("its time is over", signed(version, &file, 1), 403),
        ("a file that is not of the version", signed(version, "other.parquet", LATER_S), 404),
        ("a version that is none", signed(99_999, &file, LATER_S), 404),
        ("no number", url.replace(&format!("/{version}/"), "/newest/"), 404),
        ("a dataset that is not published", of("ticks_once", version, &file, &signature), 404),
        ("a way out of the folder", signed(version, "..%2F..%2Fpublished.key", LATER_S), 403),
    ] {
        let (status, body) = fetched(&url);
        assert_eq!(status, wanted, "{why}: {}", String::from_utf8_lossy(&body));
        assert!(!body.starts_with(b"PAR1"), "{why}");
    }

    // The table goes on: another version has another file, and the task's is still given, over a restart too.
    ticked(&here.place, 3, 3);
    here.place.until("committed", || report(&here.place, DATASOURCE)["version"].as_u64() > Some(version));
    assert_eq!(fetched(&url), (200, bytes.clone()));
    let newest = report(&here.place, DATASOURCE)["version"].as_u64().unwrap();
    assert_eq!(fetched(&signed(newest, &file, LATER_S)).0, 404, "a file of another version");
    server.kill();
    let server = here.place.start().ready();
    assert_eq!(fetched(&url), (200, bytes));
    assert_eq!(double.tasks(DATASOURCE).len(), 1, "the task that runs is watched, and no other is sent");
    server.stop();
}

#[test]
fn a_datasource_that_somebody_else_made_is_told_and_gets_nothing_before_a_person_says_so() {
    let theirs = json!([["theirs", "2020-01-01T00:00:00.000Z", "2020-02-01T00:00:00.000Z", 7, 1, 1, 0]]);
    let double = Double::new();
    double.state.lock().segments = theirs;
    let here = publishing(&double);
    let server = here.place.start().ready();
    ticked(&here.place, 1, 1);
    let said = state(&here.place, DATASOURCE, "refused");
    assert!(said.contains("ticks_hourly that vitalake did not make") && said.contains("druid adopt"), "{said}");
    assert!(double.tasks(DATASOURCE).is_empty());
    let adopt = format!("http://{}/api/v1/druid/ticks_hourly/adopt", here.place.http);
    let mut adopted = ureq::post(&adopt).send_empty().unwrap();
    let adopted: Value = adopted.body_mut().read_json().unwrap();
    assert_eq!(adopted["state"], "waiting", "it is refused no longer: {adopted}");
    here.place.until("a task is sent", || double.running(DATASOURCE).is_some());
    let intervals =
        double.running(DATASOURCE).unwrap()["spec"]["dataSchema"]["granularitySpec"]["intervals"].to_string();
    assert!(intervals.contains("2020-01-01") && intervals.contains("2026-01-01"), "all of it is replaced: {intervals}");

    // Once more, where all is well: somebody has done away with it there.
    double.arrives(&here.place, DATASOURCE);
    state(&here.place, DATASOURCE, "published");
    ureq::post(&adopt).send_empty().unwrap();
    here.place.until("all of it is sent", || double.running(DATASOURCE).is_some());
    server.stop();
}
