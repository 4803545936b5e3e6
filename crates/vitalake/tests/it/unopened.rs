//! A table that cannot be opened as its contract says stops itself and what derives from it, and nothing beside.

use std::fs;
use std::path::{Path, PathBuf};

use rstest::rstest;
use serde_json::Value;

use crate::folders::{Here, asked, landed, send, tick};
use crate::rehearsal::project;
use crate::rehearsal::server::Refused;

const BATTERY: &str = "      - name: battery\n        logicalType: integer\n";

/// The project with a second stream that shares nothing with the first.
fn here() -> Here {
    let here = Here::new();
    let beats = project::raw_contract("").replace("ticks", "beats").replace("0000000001", "0000000009");
    fs::write(here.project("contracts/raw/beats.yaml"), beats).unwrap();
    fs::write(here.project("contracts/raw/ticks.yaml"), project::raw_contract(BATTERY)).unwrap();
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(1, ""), tick(2, r#","battery":7"#)]);
    send(&here.place, "beats", &[tick(1, "")]);
    landed(&here.place, "SELECT SUM(ticks) FROM serving.ticks_hourly_live", &[2]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.beats", &[1]);
    assert!(here.place.flush());
    server.stop();
    here
}

fn log_of(here: &Here, table: &str) -> PathBuf {
    here.place.data.join("lake").join(table).join("_delta_log")
}

fn replaced(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

fn first_commit(here: &Here, table: &str) -> PathBuf {
    log_of(here, table).join(format!("{:020}.json", 0))
}

/// The last thing that was said of a dataset in the status.
fn state_of(status: &Value, name: &str) -> (String, String) {
    let all = status["datasets"].as_array().unwrap();
    let found = all.iter().find(|dataset| dataset["dataset"] == name).unwrap();
    (found["state"].as_str().unwrap().to_owned(), found["error"].as_str().unwrap_or_default().to_owned())
}

/// What somebody does while the server is stopped.
fn a_column_is_dropped(here: &Here) {
    fs::write(here.project("contracts/raw/ticks.yaml"), project::raw_contract("")).unwrap();
}

fn a_type_changes(here: &Here) {
    fs::write(here.project("contracts/raw/ticks.yaml"), project::raw_contract(&BATTERY.replace("integer", "string")))
        .unwrap();
}

fn another_writer_partitions_it(here: &Here) {
    replaced(&first_commit(here, "raw/ticks"), r#""partitionColumns":[]"#, r#""partitionColumns":["device"]"#);
}

fn another_writer_maps_its_columns(here: &Here) {
    let from = r#""minReaderVersion":1"#;
    replaced(&first_commit(here, "raw/ticks"), from, r#""minReaderVersion":2"#);
    replaced(
        &first_commit(here, "raw/ticks"),
        r#""configuration":{}"#,
        r#""configuration":{"delta.columnMapping.mode":"name"}"#,
    );
}

fn a_commit_is_overwritten(here: &Here) {
    fs::write(first_commit(here, "raw/ticks"), "no commit").unwrap();
}

fn a_commit_is_gone(here: &Here) {
    fs::remove_file(first_commit(here, "raw/ticks")).unwrap();
}

fn its_log_is_a_file(here: &Here) {
    let log = log_of(here, "raw/ticks");
    fs::rename(&log, log.with_file_name("aside")).unwrap();
    fs::write(&log, "").unwrap();
}

fn the_store_refuses(here: &Here) {
    let commit = first_commit(here, "raw/ticks");
    fs::remove_file(&commit).unwrap();
    std::os::unix::fs::symlink(&commit, &commit).unwrap();
}

fn its_quarantine_is_broken(here: &Here) {
    fs::write(first_commit(here, "quarantine/ticks"), "no commit").unwrap();
}

#[rstest]
#[case::column_dropped(a_column_is_dropped, "failed", "column battery is gone; give the dataset a new name")]
#[case::type_changed(a_type_changes, "failed", "column battery was integer and is string")]
#[case::partitioned(
    another_writer_partitions_it,
    "failed",
    "partitionColumns, which is not supported: rewrite the table"
)]
#[case::columns_mapped(another_writer_maps_its_columns, "failed", "not supported: rewrite the table without it")]
#[case::commit_overwritten(a_commit_is_overwritten, "failed", "is not a delta action")]
#[case::commit_gone(a_commit_is_gone, "failed", "from a copy")]
#[case::log_is_a_file(its_log_is_a_file, "failed", "it is not a whole delta table: restore")]
#[case::refused(the_store_refuses, "stalled", "raw.ticks is not open: opening the log of raw.ticks failed")]
#[case::quarantine(its_quarantine_is_broken, "failed", "is not a delta action")]
fn a_table_that_does_not_open_stops_itself_and_what_derives_from_it(
    #[case] damage: fn(&Here),
    #[case] state: &str,
    #[case] reason: &str,
) {
    let here = here();
    let place = &here.place;
    let kept = tempfile::tempdir().unwrap();
    copied(&place.data.join("lake"), &kept.path().join("lake"));
    let contract = fs::read_to_string(here.project("contracts/raw/ticks.yaml")).unwrap();
    damage(&here);

    let server = place.start().ready();
    let status = place.status().unwrap();
    let (found, said) = state_of(&status, "ticks");
    assert!(found == state && said.contains(reason), "{found}: {said}\n{}", place.said());
    let (found, said) = state_of(&status, "ticks_once");
    assert!(found == "failed" && said.contains("raw.ticks is not open"), "{found}: {said}");
    assert_eq!(state_of(&status, "ticks_hourly").0, "failed");
    // What is there of the others is read, and goes on; records for the table are taken, and wait in the log.
    assert_eq!(place.numbers("SELECT COUNT(*) FROM curated.ticks_once"), [2]);
    send(place, project::TOPIC, &[tick(3, "")]);
    send(place, "beats", &[tick(2, "")]);
    landed(place, "SELECT COUNT(*) FROM raw.beats", &[2]);
    assert_eq!(place.ask("SELECT COUNT(*) FROM raw.ticks"), Err(Refused::NotReady));
    let (code, said) = asked(&here, &["query", "SELECT COUNT(*) FROM raw.ticks"]);
    assert!(code != Some(0) && said.contains("raw.ticks is not open"), "{code:?}: {said}");
    let (code, said) = asked(&here, &["reconcile", "ticks"]);
    assert!(code == Some(4) && said.contains("raw.ticks is not open"), "{code:?}: {said}");
    let (code, said) = asked(&here, &["status"]);
    assert!(code == Some(4) && said.contains("ticks: raw.ticks is not open"), "{code:?}: {said}");
    let file = here.project("more.ndjson");
    fs::write(&file, tick(9, "") + "\n").unwrap();
    let (code, said) = asked(&here, &["ingest", "ticks", file.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("raw.ticks is not open"), "{code:?}: {said}");
    let (code, said) = asked(&here, &["flush"]);
    assert!(code == Some(4) && said.contains("ticks_once is behind: failed"), "{code:?}: {said}");
    server.stop();

    // Mended, everything that was taken meanwhile is there.
    fs::write(here.project("contracts/raw/ticks.yaml"), contract).unwrap();
    for table in ["raw/ticks", "quarantine/ticks"] {
        fs::remove_dir_all(place.data.join("lake").join(table)).unwrap();
        copied(&kept.path().join("lake").join(table), &place.data.join("lake").join(table));
    }
    let server = place.start().ready();
    landed(place, "SELECT COUNT(*), SUM(n) FROM raw.ticks", &[3, 6]);
    landed(place, "SELECT SUM(ticks) FROM serving.ticks_hourly_live", &[3]);
    let (code, said) = asked(&here, &["status"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = asked(&here, &["reconcile"]);
    assert_eq!(code, Some(0), "{said}");
    server.stop();
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copied(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// What is found otherwise at start and stops nothing.
fn it_is_removed(here: &Here) {
    fs::remove_dir_all(here.place.data.join("lake/curated/ticks_once")).unwrap();
}

fn it_may_only_grow(here: &Here) {
    let from = r#""configuration":{}"#;
    replaced(&first_commit(here, "raw/ticks"), from, r#""configuration":{"delta.appendOnly":"true"}"#);
}

fn its_key_changes(here: &Here) {
    let path = here.project("contracts/curated/ticks_once.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let key = "        primaryKey: true\n        primaryKeyPosition: 1\n";
    let (with, at) =
        (text.replace(key, ""), "      - name: at\n        logicalType: timestamp\n        required: true\n");
    assert!(with.contains(at), "{with}");
    fs::write(&path, with.replace(at, &format!("{at}{key}"))).unwrap();
}

#[rstest]
#[case::removed(it_is_removed)]
#[case::append_only(it_may_only_grow)]
#[case::another_key(its_key_changes)]
fn what_a_table_can_be_opened_with_stops_nothing(#[case] change: fn(&Here)) {
    let here = here();
    change(&here);
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(3, "")]);
    send(&here.place, "beats", &[tick(2, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.beats", &[2]);
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[3]);
    server.stop();
}

#[test]
fn a_table_that_is_brought_back_comes_back_by_itself() {
    let here = here();
    let commit = first_commit(&here, "raw/ticks");
    let kept = fs::read(&commit).unwrap();
    fs::write(&commit, "no commit").unwrap();
    let server = here.place.start().ready();
    assert_eq!(state_of(&here.place.status().unwrap(), "ticks").0, "failed");
    send(&here.place, project::TOPIC, &[tick(3, "")]);
    fs::write(&commit, kept).unwrap();
    landed(&here.place, "SELECT SUM(ticks) FROM serving.ticks_hourly_live", &[3]);
    let (code, said) = asked(&here, &["status"]);
    assert_eq!(code, Some(0), "{said}");
    server.stop();
}

/// The first commit of every table below a folder.
fn first_commits(folder: &Path) -> Vec<PathBuf> {
    let name = format!("{:020}.json", 0);
    let (folders, files): (Vec<_>, Vec<_>) =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| first_commits(folder));
    files.into_iter().filter(|file| file.ends_with(&name)).chain(below).collect()
}

/// Where there is nothing that could go on, a start that said that all is well would hide it.
#[test]
fn a_start_of_which_no_table_opens_ends_and_says_so() {
    let here = here();
    let commits = first_commits(&here.place.data.join("lake"));
    let kept: Vec<_> = commits.iter().map(|commit| fs::read(commit).unwrap()).collect();
    commits.iter().for_each(|commit| fs::write(commit, "no commit").unwrap());
    let (code, said) = here.place.refusal();
    assert!(
        code != Some(0) && said.contains("is not open: ") && said.contains("is not a delta action"),
        "{code:?}: {said}"
    );
    for (commit, bytes) in commits.iter().zip(kept) {
        fs::write(commit, bytes).unwrap();
    }
    let server = here.place.start().ready();
    landed(&here.place, "SELECT COUNT(*) FROM raw.ticks", &[2]);
    server.stop();
}
