//! What a project gives: complete, the same each time, and nothing that can end its quotes.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use rstest::rstest;
use vitalake_runtime::config::Overrides;

use super::bicep::quoted;
use super::*;

fn example() -> (Project, Config) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care");
    let (project, found) = Project::load(&root);
    assert_eq!(found.len(), 0, "{found:?}");
    let config = Config::parse(
        project.config_text.as_deref().unwrap(),
        &root,
        &std::collections::BTreeMap::default(),
        &Overrides::default(),
    );
    (project, config.unwrap())
}

fn text_of<'a>(deployment: &'a Deployment, path: &str) -> &'a str {
    &deployment.files.iter().find(|file| file.path == path).unwrap().text
}

#[test]
fn the_example_in_the_repository_is_what_its_project_says() {
    let (project, config) = example();
    let deployment = render(&project, &config);
    assert_eq!(deployment, render(&project, &config));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/azure");
    let differing = differing(&deployment, &folder).unwrap();
    let none: [String; 0] = [];
    assert_eq!(differing, none, "run `vitalake azure render examples/remote-care --out deploy/azure`");
}

#[test]
fn every_topic_has_a_hub_and_no_feed_has_one() {
    let (project, config) = example();
    let deployment = render(&project, &config);
    let hubs = text_of(&deployment, "project/hubs.bicep");
    assert!(hubs.contains("name: 'wearable-readings'") && hubs.contains("name: 'app-events'"), "{hubs}");
    assert!(!hubs.contains("patients"), "{hubs}");
}

#[test]
fn every_alert_is_a_rule_or_is_about_nothing_that_is_there() {
    let (project, config) = example();
    let deployment = render(&project, &config);
    let alerts = text_of(&deployment, "project/alerts.bicep");
    for file in &project.alerts {
        assert!(alerts.contains(&format!("resource alert_{} ", file.rule.name)), "{}", file.rule.name);
    }
    assert!(alerts.contains("resource alert_platform_silent "));
    // No Druid is named, so that nothing can be behind in it.
    assert!(!alerts.contains("druid"));
    // The project watches the one stream that promises freshness itself, so that the platform's own alert has nothing left.
    assert!(!alerts.contains("resource alert_source_silent "));
    // Of a project without alerts it has.
    let without = Project { alerts: Vec::new(), ..project };
    let deployment = render(&without, &config);
    let alerts = text_of(&deployment, "project/alerts.bicep");
    assert!(alerts.contains("resource alert_source_silent ") && alerts.contains("raw.wearable_readings"), "{alerts}");
}

#[test]
fn what_is_gone_from_the_project_goes_from_the_folder_and_what_is_shipped_is_left() {
    let (project, config) = example();
    let deployment = render(&project, &config);
    let folder = tempfile::tempdir().unwrap();
    write(&deployment, folder.path()).unwrap();
    let none: [String; 0] = [];
    assert_eq!(differing(&deployment, folder.path()).unwrap(), none);
    fs::write(folder.path().join("main.bicep"), "// ours\n").unwrap();
    let gone = folder.path().join("project/functions/feed_gone");
    fs::create_dir(&gone).unwrap();
    fs::write(gone.join("function.json"), "{}").unwrap();
    assert_eq!(differing(&deployment, folder.path()).unwrap(), ["project/functions/feed_gone/function.json"]);
    write(&deployment, folder.path()).unwrap();
    assert!(!gone.exists());
    assert_eq!(fs::read_to_string(folder.path().join("main.bicep")).unwrap(), "// ours\n");
}

#[rstest]
#[case("a", "'a'")]
#[case("it's", r"'it\'s'")]
#[case("a\n| b", r"'a\n| b'")]
#[case("${secret}", r"'\${secret}'")]
#[case("5 $", "'5 $'")]
#[case(r"a\b", r"'a\\b'")]
fn a_text_stays_in_its_quotes(#[case] text: &str, #[case] want: &str) {
    assert_eq!(quoted(text), want);
}
