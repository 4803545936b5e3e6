//! The command line run as a process: help, messages, exit statuses.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;

fn vitalake(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(crate::binary())
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

/// Exit status, standard output and standard error as one text, without what differs between machines.
fn seen(dir: &Path, arguments: &[&str]) -> String {
    let output = vitalake(dir, arguments);
    let text = format!(
        "status: {}\n--- out\n{}--- err\n{}",
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    text.replace(&*dir.to_string_lossy(), "[dir]")
}

/// An address where nothing listens: bound, then let go.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[rstest]
#[case::whole(&["--help"])]
#[case::init(&["init", "--help"])]
#[case::validate(&["validate", "--help"])]
#[case::lint(&["contract", "lint", "--help"])]
#[case::import(&["contract", "import", "--help"])]
#[case::up(&["up", "--help"])]
#[case::query(&["query", "--help"])]
#[case::ingest(&["ingest", "--help"])]
#[case::datasets(&["datasets", "--help"])]
#[case::status(&["status", "--help"])]
#[case::flush(&["flush", "--help"])]
#[case::runbook(&["runbook", "--help"])]
#[case::simulate(&["simulate", "--help"])]
fn help_reads_as_written(#[case] arguments: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let name =
        format!("help_{}", arguments.iter().filter(|a| !a.starts_with('-')).copied().collect::<Vec<_>>().join("_"));
    insta::assert_snapshot!(name, seen(dir.path(), arguments));
}

#[rstest]
#[case::unknown_command("unknown_command", &["qeury", "SELECT 1"])]
#[case::no_file_form("no_file_form", &["ingest", "patients", "export.txt"])]
#[case::no_such_file("no_such_file", &["ingest", "patients", "nowhere.csv"])]
#[case::share("share", &["simulate", "--late", "2"])]
#[case::shares("shares", &["simulate", "--late", "0.6", "--malformed", "0.6"])]
#[case::scheme("scheme", &["status", "--server", "ftp://127.0.0.1:8888"])]
#[case::login("login", &["status", "--server", "http://ann:secret@127.0.0.1:8888"])]
#[case::no_sql("no_sql", &["query", " "])]
#[case::no_project("no_project", &["validate"])]
#[case::up_nowhere("up_nowhere", &["up"])]
#[case::no_contract_file("no_contract_file", &["contract", "lint", "nowhere.yaml"])]
fn mistakes_are_explained(#[case] name: &str, #[case] arguments: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(format!("mistake_{name}"), seen(dir.path(), arguments));
}

#[rstest]
#[case("query", &["query", "SELECT 1"])]
#[case("status", &["status"])]
#[case("datasets", &["datasets"])]
#[case("flush", &["flush"])]
fn a_named_server_that_is_away_ends_with_3(#[case] _name: &str, #[case] arguments: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let server = format!("http://{}", free_address());
    let output = vitalake(dir.path(), &[arguments, &["--server", &server]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.starts_with(&format!("error: no server answers at {server}")), "{error}");
    assert!(error.contains("help: start one with `vitalake up`"), "{error}");
}

#[test]
fn simulate_without_a_broker_ends_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let output = vitalake(dir.path(), &["simulate", "--count", "1", "--kafka", &free_address()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("error: no Kafka broker could be reached at 127.0.0.1:"), "{error}");
}

#[test]
fn the_example_is_valid_and_its_deliveries_have_their_columns() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care");
    insta::assert_snapshot!("example", seen(Path::new("/"), &["validate", example.to_str().unwrap()]));
    for (dataset, first) in
        [("patients", "patient_id,app_user_id,"), ("device_assignments", "assignment_id,device_id,")]
    {
        let text = std::fs::read_to_string(example.join(format!("deliveries/{dataset}.csv"))).unwrap();
        assert!(text.starts_with(first), "{dataset}");
    }
}

#[test]
fn a_broken_project_shows_every_mistake_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("vitalake.yaml", "name: broken\nstorage:\n  comit_interval_ms: 5\n");
    write(
        "contracts/raw/events.yaml",
        "apiVersion: v3.1.0\nkind: DataContract\nid: a\nname: events\nversion: 1.0.0\nstats: active\n",
    );
    write("models/curated/lost.sql", "-- kind: append\nSELECT 1\n");
    let output = vitalake(dir.path(), &["validate", "--json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let files: Vec<&str> =
        verdict["diagnostics"].as_array().unwrap().iter().map(|d| d["file"].as_str().unwrap()).collect();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(verdict["valid"], false);
    for file in ["vitalake.yaml", "contracts/raw/events.yaml", "models/curated/lost.sql"] {
        assert!(files.contains(&file), "{file} is not among {files:?}");
    }
    let words = seen(dir.path(), &["validate"]);
    assert!(words.contains(" in 3 files"), "{words}");
}
