#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use rstest::rstest;
use serde_json::json;

use super::*;

const PROJECT: &str = "remote-care";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn asset(kind: AssetKind, number: u128, name: &str, body: Json) -> Asset {
    let path = format!("{}s/{number}.yaml", kind.as_str());
    let mut assets = vec![Asset { kind, uuid: id(number), name: name.into(), path, body }];
    mark(&mut assets, PROJECT);
    assets.remove(0)
}

fn listed(kind: AssetKind, number: i64, uuid: u128, name: &str, row: Json) -> Listed {
    Listed { kind, id: number, uuid: id(uuid), name: name.into(), row }
}

fn there(lists: Vec<Listed>) -> There {
    let mut there = There::default();
    for listed in lists {
        there.lists.entry(listed.kind).or_default().push(listed);
    }
    there
}

fn told(plan: &Plan) -> Vec<(Action, &str)> {
    plan.changes.iter().map(|change| (change.action, change.name.as_str())).collect()
}

#[test]
fn what_is_not_there_is_made_and_what_is_the_same_is_left() {
    let ours =
        [asset(AssetKind::Chart, 1, "new", json!({})), asset(AssetKind::Chart, 2, "old", json!({"params": {"a": 1}}))];
    let mut there = there(vec![listed(AssetKind::Chart, 7, 2, "old", json!({}))]);
    there.assets.insert(id(2), ours[1].clone());
    let found = plan(&ours, &there, PROJECT);
    assert_eq!((told(&found), found.unchanged), (vec![(Action::Create, "new")], 1));
    assert!(found.changes_something());
}

#[rstest]
#[case::ours(json!({"is_managed_externally": true, "params": "{\"vitalake_project\": \"remote-care\"}"}), Some(Action::Remove))]
#[case::a_copy_by_hand(json!({"is_managed_externally": false, "params": "{\"vitalake_project\": \"remote-care\"}"}), None)]
#[case::of_another_project(json!({"is_managed_externally": true, "params": "{\"vitalake_project\": \"other\"}"}), None)]
#[case::of_another_tool(json!({"is_managed_externally": true, "params": "{}"}), None)]
#[case::used_by_somebody(
    json!({"is_managed_externally": true, "params": "{\"vitalake_project\": \"remote-care\"}", "dashboards": [{"id": 9, "dashboard_title": "hers"}]}),
    Some(Action::Keep)
)]
fn only_what_is_ours_and_unused_is_removed(#[case] row: Json, #[case] action: Option<Action>) {
    let found = plan(&[], &there(vec![listed(AssetKind::Chart, 7, 2, "c", row)]), PROJECT);
    assert_eq!(told(&found), action.map(|action| (action, "c")).into_iter().collect::<Vec<_>>());
}

#[rstest]
#[case::database(AssetKind::Database, "lake", json!({}), "lake", json!({}))]
#[case::dataset(AssetKind::Dataset, "hourly", json!({"schema": "druid"}), "hourly", json!({"schema": "druid"}))]
#[case::dashboard_by_name(AssetKind::Dashboard, "Ward", json!({}), "Ward", json!({}))]
#[case::dashboard_by_address(AssetKind::Dashboard, "Ward", json!({"slug": "ward"}), "Hers", json!({"slug": "ward"}))]
fn what_somebody_made_by_hand_stands_in_the_way(
    #[case] kind: AssetKind,
    #[case] name: &str,
    #[case] body: Json,
    #[case] other: &str,
    #[case] row: Json,
) {
    let found = plan(&[asset(kind, 1, name, body)], &there(vec![listed(kind, 7, 2, other, row)]), PROJECT);
    assert_eq!(told(&found), vec![(Action::Adopt, name)]);
    assert_eq!(found.in_the_way().count(), 1);
}

#[rstest]
#[case::the_same_title(json!({"is_managed_externally": true}), Action::Create)]
#[case::the_same_address(json!({"is_managed_externally": true, "slug": "ward"}), Action::Refuse)]
fn what_another_project_keeps_there_is_not_taken_from_it(#[case] row: Json, #[case] action: Action) {
    let ours = [asset(AssetKind::Dashboard, 1, "Ward", json!({"slug": "ward"}))];
    let found = plan(&ours, &there(vec![listed(AssetKind::Dashboard, 7, 2, "Ward", row)]), PROJECT);
    assert_eq!(told(&found), vec![(action, "Ward")]);
}

#[test]
fn a_dashboard_of_ours_with_the_same_address_is_no_stranger() {
    let mut there = there(vec![listed(AssetKind::Dashboard, 7, 2, "Ward", json!({"slug": "ward"}))]);
    there.marked.insert(id(2));
    let ours = [asset(AssetKind::Dashboard, 1, "Ward", json!({"slug": "ward"}))];
    assert_eq!(told(&plan(&ours, &there, PROJECT)), vec![(Action::Create, "Ward"), (Action::Remove, "Ward")]);
}

#[rstest]
#[case::chart(AssetKind::Chart, json!({"dataset_uuid": id(9).to_string()}), "dataset")]
#[case::dataset(AssetKind::Dataset, json!({"database_uuid": id(9).to_string()}), "database")]
#[case::layout(AssetKind::Dashboard, json!({"position": {"A": {"meta": {"uuid": id(9).to_string()}}}}), "chart")]
#[case::filter(
    AssetKind::Dashboard,
    json!({"metadata": {"native_filter_configuration": [{"targets": [{"datasetUuid": id(9).to_string()}]}]}}),
    "dataset"
)]
fn a_reference_into_nothing_is_found_before_it_is_sent(#[case] kind: AssetKind, #[case] body: Json, #[case] to: &str) {
    let error = refer_to_each_other(&[asset(kind, 1, "x", body)]).unwrap_err().to_string();
    assert!(error.contains(&format!("refers to a {to}")), "{error}");
}

#[test]
fn files_are_read_as_they_were_written() {
    let assets = vec![
        asset(AssetKind::Database, 1, "lake", json!({"database_name": "lake", "uuid": id(1).to_string()})),
        asset(AssetKind::Chart, 2, "c", json!({"slice_name": "c", "uuid": id(2).to_string()})),
    ];
    let files = files_of(&assets, chrono::DateTime::UNIX_EPOCH);
    assert_eq!(files[0].0, "metadata.yaml");
    assert_eq!(assets_of(&files).unwrap(), assets);
    let exported =
        [("charts/c_7.yaml".to_owned(), b"slice_name: c\nuuid: 00000000-0000-0000-0000-000000000002\n".to_vec())];
    assert_eq!(assets_of(&exported).unwrap()[0].uuid, id(2));
}

#[test]
fn a_role_reads_what_its_dashboard_shows() {
    let ours = [
        asset(AssetKind::Chart, 2, "c", json!({"dataset_uuid": id(5).to_string()})),
        asset(
            AssetKind::Dashboard,
            3,
            "Ward",
            json!({"position": {"A": {"meta": {"uuid": id(2).to_string()}}, "B": {}}}),
        ),
    ];
    let roles = roles_of(&ours, PROJECT);
    assert_eq!(roles, vec![RoleWanted { name: "remote-care: Ward".into(), datasets: [id(5)].into() }]);
}

#[test]
fn a_roles_name_is_as_long_as_superset_has_room_for_and_still_its_own() {
    let role = |title: String| roles_of(&[asset(AssetKind::Dashboard, 3, &title, json!({}))], PROJECT)[0].name.clone();
    let (one, other) = (role("ö".repeat(80)), role(format!("{}x", "ö".repeat(80))));
    assert_eq!((one.chars().count(), other.chars().count()), (64, 64));
    assert_ne!(one, other);
    assert_eq!(role("ö".repeat(51)).chars().count(), 64);
}
