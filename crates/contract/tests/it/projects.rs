//! Whole directories: the acceptance project, and what only the whole shows.

use std::fs;
use std::path::Path;

use rstest::rstest;
use tempfile::TempDir;
use vitalake_contract::diagnostic::render;
use vitalake_contract::{Diagnostic, Layer, Project};

use crate::shared::{contract, shared};

fn write(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn named(name: &str, id: &str) -> String {
    contract("", "", "").replace("readings", name).replace("4b0d3a3e-2a50-4c5e-9a6e-0b2f6d9d4e11", id)
}

fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "vitalake.yaml", "name: test\n");
    write(folder.path(), "contracts/raw/readings.yaml", &named("readings", "id-1"));
    write(folder.path(), "contracts/curated/vitals.yaml", &named("vitals", "id-2"));
    write(folder.path(), "models/curated/vitals.sql", "-- kind: append\nSELECT device FROM raw.readings\n");
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

fn found(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let folder = project(files);
    let (_, found) = Project::load(folder.path());
    found.into_iter().map(|d: Diagnostic| (d.file, d.code.to_owned())).collect()
}

#[test]
fn an_alert_that_names_no_owner_goes_to_the_team_of_its_dataset_or_needs_one() {
    let alert = "name: late\nsignal: lag\ndataset: raw.readings\nrunbook: late\n";
    let teamed = named("readings", "id-1") + "team: {name: wearables}\n";
    let folder = project(&[("alerts/late.yaml", alert), ("contracts/raw/readings.yaml", &teamed)]);
    let (project, findings) = Project::load(folder.path());
    assert!(findings.is_empty(), "{}", render(&findings, false));
    assert_eq!(project.alerts[0].rule.owner, "wearables");
    let members = named("readings", "id-1") + "team:\n  - {username: ada}\n";
    for contract in [named("readings", "id-1"), members] {
        let found = found(&[("alerts/late.yaml", alert), ("contracts/raw/readings.yaml", &contract)]);
        assert!(found.contains(&("alerts/late.yaml".to_owned(), "missing-key".to_owned())), "{found:?}");
    }
}

#[test]
fn the_acceptance_project_is_in_order() {
    let Some(root) = shared("acceptance/steps") else {
        return;
    };
    let (project, found) = Project::load(&root);
    assert!(found.is_empty(), "{}", render(&found, false));
    assert_eq!((project.contracts.len(), project.models.len()), (7, 4));
    assert!(project.config_text.unwrap().starts_with("name: steps"));
    let source = &project.contract_sources[0];
    let contract = &project.contracts[0];
    assert_eq!(source.dataset, contract.dataset);
    let error = source.error_at(Some(1), "test", "here");
    assert!(error.source_line.unwrap().contains(&*contract.columns[1].name));
}

#[test]
fn the_example_project_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care");
    let (project, found) = Project::load(&root);
    assert!(found.is_empty(), "{}", render(&found, false));
    assert!(!project.contracts.is_empty());
}

#[test]
fn a_project_in_order() {
    let folder = project(&[("README.md", "words"), ("tests/a.yaml", "x"), (".git/HEAD", "x")]);
    let (project, found) = Project::load(folder.path());
    assert!(found.is_empty(), "{}", render(&found, false));
    assert_eq!(project.contract("vitals").unwrap().layer, Layer::Curated);
    assert_eq!(project.contract_source("vitals").unwrap().path, "contracts/curated/vitals.yaml");
    assert_eq!(project.models[0].path, "models/curated/vitals.sql");
}

#[rstest]
#[case::same_dataset("contracts/raw/vitals.yaml", &named("vitals", "id-3"), "contracts/raw/vitals.yaml", "duplicate-dataset")]
#[case::same_id("contracts/raw/b.yaml", &named("b", "id-1"), "contracts/raw/readings.yaml", "duplicate-id")]
#[case::same_topic("contracts/raw/b.yaml", &named("b", "id-3").replace("status:", "customProperties: [{property: topic, value: readings}]\nstatus:"), "contracts/raw/readings.yaml", "duplicate-topic")]
#[case::model_alone("models/serving/b.sql", "SELECT 1", "models/serving/b.sql", "no-contract")]
#[case::model_of_the_wrong_layer("models/serving/vitals.sql", "SELECT 1", "models/serving/vitals.sql", "no-contract")]
#[case::contract_alone("contracts/serving/b.yaml", &named("b", "id-3"), "contracts/serving/b.yaml", "no-model")]
#[case::yml("contracts/raw/b.yml", "x", "contracts/raw/b.yml", "unknown-file")]
#[case::bad_name("contracts/raw/Big-Name.yaml", "x", "contracts/raw/Big-Name.yaml", "bad-name")]
#[case::raw_model("models/raw/b.sql", "SELECT 1", "models/raw", "unknown-folder")]
#[case::folder_slip("contract/raw/b.yaml", "x", "contract", "unknown-folder")]
#[case::layer_slip("contracts/currated/b.yaml", "x", "contracts/currated", "unknown-folder")]
#[case::loose_contract("contracts/b.yaml", "x", "contracts/b.yaml", "unknown-file")]
#[case::loose_yaml("vitalake.yml", "x", "vitalake.yml", "unknown-file")]
#[case::nested("contracts/raw/more/b.yaml", "x", "contracts/raw/more", "unknown-folder")]
#[case::large("models/curated/big.sql", &" ".repeat(2_000_000), "models/curated/big.sql", "file-too-large")]
fn what_only_the_whole_shows(#[case] path: &str, #[case] text: &str, #[case] file: &str, #[case] code: &str) {
    assert_eq!(found(&[(path, text)]), [(file.to_owned(), code.to_owned())]);
}

#[test]
fn a_broken_contract_is_not_also_missing() {
    let broken = named("vitals", "id-2").replace("kind: DataContract", "kind: Contract");
    assert_eq!(
        found(&[("contracts/curated/vitals.yaml", &broken)]),
        [("contracts/curated/vitals.yaml".to_owned(), "not-allowed".to_owned())]
    );
}

#[test]
fn a_folder_that_a_feed_reads_is_no_slip() {
    let feed = "name: readings\ndataset: readings\nsource:\n  folder: in/today\n  pattern: '*.csv'\non: arrival\n";
    let files = [("in/today/a.csv", "x"), ("inn/a.csv", "x"), ("feeds/readings.yaml", feed)];
    let folders = found(&files).into_iter().filter(|(_, code)| code == "unknown-folder").collect::<Vec<_>>();
    assert_eq!(folders, [("inn".to_owned(), "unknown-folder".to_owned())]);
}

#[test]
fn a_folder_that_is_not_there() {
    let (_, found) = Project::load(Path::new("/nowhere/at/all"));
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["unreadable"]);
}

#[test]
fn a_folder_without_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for other in ["notes.txt", "contracts", "Documents", "photos"] {
        std::fs::create_dir(folder.path().join(other)).unwrap();
    }
    let (_, found) = Project::load(folder.path());
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["no-config"], "one finding, whatever else is there");
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_or_round() {
    use std::os::unix::fs::symlink;
    let folder = project(&[]);
    let raw = folder.path().join("contracts/raw");
    symlink(raw.join("loop.yaml"), raw.join("loop.yaml")).unwrap();
    symlink("/nowhere/at/all", raw.join("lost.yaml")).unwrap();
    symlink(&raw, raw.join("again")).unwrap();
    let (_, found) = Project::load(folder.path());
    let seen: Vec<(&str, &str)> = found.iter().map(|d| (d.file.as_str(), d.code)).collect();
    assert_eq!(
        seen,
        [
            ("contracts/raw/again", "unknown-folder"),
            ("contracts/raw/loop.yaml", "unreadable"),
            ("contracts/raw/lost.yaml", "unreadable")
        ]
    );
}
