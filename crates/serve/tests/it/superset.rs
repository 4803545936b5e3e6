//! What is done to a Superset, and what is not, when its answers are somebody else's, break off or refuse.

use chrono::{DateTime, Utc};
use rstest::rstest;
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vitalake_serve::superset::bundle::AssetKind;
use vitalake_serve::superset::client::{Client, Error};
use vitalake_serve::superset::plan::{self, Action, Asset, Plan, mark, plan_all};

use crate::superset_double::{Double, Fault, permission_row};

const PROJECT: &str = "lake";

fn asset(kind: AssetKind, number: u128, name: &str, mut body: Json) -> Asset {
    let uuid = Uuid::from_u128(number);
    let name_key = match kind {
        AssetKind::Database => "database_name",
        AssetKind::Dataset => "table_name",
        AssetKind::Chart => "slice_name",
        AssetKind::Dashboard => "dashboard_title",
    };
    body[name_key] = name.into();
    body["uuid"] = uuid.to_string().into();
    Asset { kind, uuid, name: name.into(), path: format!("{}s/{number}.yaml", kind.as_str()), body }
}

fn text(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn chart(number: u128, name: &str, dataset: u128) -> Asset {
    asset(
        AssetKind::Chart,
        number,
        name,
        json!({"dataset_uuid": text(dataset), "params": {}, "is_managed_externally": true}),
    )
}

fn dashboard(number: u128, name: &str, slug: &str, charts: &[u128]) -> Asset {
    let piece = |number: &u128| (format!("CHART-{number}"), json!({"meta": {"uuid": text(*number)}}));
    let position: serde_json::Map<String, Json> = charts.iter().map(piece).collect();
    asset(
        AssetKind::Dashboard,
        number,
        name,
        json!({"slug": slug, "position": position, "metadata": {}, "is_managed_externally": true}),
    )
}

/// A database, two datasets and a page of these charts.
fn project(charts: &[(u128, &str)]) -> Vec<Asset> {
    let dataset = |number, name| {
        let body = json!({"schema": "druid", "database_uuid": text(1), "extra": {}, "is_managed_externally": true});
        asset(AssetKind::Dataset, number, name, body)
    };
    let mut assets = vec![asset(AssetKind::Database, 1, "lake", json!({})), dataset(2, "hourly"), dataset(3, "daily")];
    assets.extend(charts.iter().map(|(number, name)| chart(*number, name, 2)));
    let numbers: Vec<u128> = charts.iter().map(|(number, _)| *number).collect();
    assets.push(dashboard(50, "Ward", "lake-ward", &numbers));
    mark(&mut assets, PROJECT);
    assets
}

fn planned(client: &Client, assets: &[Asset]) -> Plan {
    plan_all(client, assets, PROJECT).unwrap().0
}

fn apply(client: &Client, assets: &[Asset]) -> Result<Vec<String>, Error> {
    let (plan, there) = plan_all(client, assets, PROJECT)?;
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |step: &str| told.borrow_mut().push(step.to_owned());
    plan::apply(client, assets, PROJECT, (&plan, there), DateTime::<Utc>::UNIX_EPOCH, &tell)?;
    Ok(told.into_inner())
}

fn told(plan: &Plan) -> Vec<(Action, &str)> {
    plan.changes.iter().map(|change| (change.action, change.name.as_str())).collect()
}

/// The example, as it is after an apply.
fn applied() -> (Double, Client, Vec<Asset>) {
    let (double, assets) = (Double::start(), project(&[(10, "a"), (11, "b")]));
    let client = double.client();
    apply(&client, &assets).unwrap();
    (double, client, assets)
}

#[test]
fn what_was_applied_is_there_and_nothing_is_left_to_do() {
    let (double, client, assets) = applied();
    let plan = planned(&client, &assets);
    assert_eq!((told(&plan), plan.unchanged), (vec![], 7));
    assert_eq!(double.names(AssetKind::Chart), ["a", "b"]);
    assert_eq!(double.asked("POST /api/v1/assets/import/"), 1);
}

#[test]
fn what_superset_does_not_show_is_sent_again_when_that_is_asked_for() {
    let (double, client, assets) = applied();
    let (mut plan, there) = plan_all(&client, &assets, PROJECT).unwrap();
    plan.send_again(&assets);
    assert_eq!((told(&plan), plan.unchanged), (vec![(Action::Change, "lake")], 6));
    plan::apply(&client, &assets, PROJECT, (&plan, there), DateTime::<Utc>::UNIX_EPOCH, &|_| ()).unwrap();
    assert_eq!(double.asked("POST /api/v1/assets/import/"), 2);
}

#[test]
fn what_the_project_has_no_more_goes() {
    let (double, client, _) = applied();
    let told = apply(&client, &project(&[(10, "a")])).unwrap();
    assert!(told.contains(&"removing chart b".to_owned()), "{told:?}");
    assert_eq!(double.names(AssetKind::Chart), ["a"]);
}

#[test]
fn a_list_that_holds_what_was_not_asked_for_is_asked_for_again() {
    let (double, client, _) = applied();
    let hers = chart(90, "hers", 3);
    let id = double.put(hers);
    let row = json!({"id": id, "uuid": text(90), "slice_name": "hers", "datasource_id": 4711, "is_managed_externally": true, "params": "{\"vitalake_project\": \"lake\"}"});
    double.fails("GET /api/v1/chart/?q=(filters", Fault::Rows(json!([row])));
    assert_eq!(told(&planned(&client, &project(&[(10, "a")]))), vec![(Action::Change, "Ward"), (Action::Remove, "b")]);
    for _ in 0..5 {
        double.fails("GET /api/v1/chart/?q=(filters", Fault::Rows(json!([row])));
    }
    let error = plan_all(&client, &project(&[(10, "a")]), PROJECT).unwrap_err().to_string();
    assert!(error.contains("holds others than were asked for"), "{error}");
}

#[test]
fn what_is_somebody_elses_by_now_is_not_removed() {
    let (double, client, _) = applied();
    let wanted = project(&[(10, "a")]);
    let (plan, there) = plan_all(&client, &wanted, PROJECT).unwrap();
    assert!(told(&plan).contains(&(Action::Remove, "b")));
    // Between the plan and the removal somebody puts the chart on a page of theirs.
    double.put(dashboard(91, "hers", "hers", &[11]));
    let steps = std::cell::RefCell::new(Vec::new());
    let tell = |step: &str| steps.borrow_mut().push(step.to_owned());
    plan::apply(&client, &wanted, PROJECT, (&plan, there), DateTime::<Utc>::UNIX_EPOCH, &tell).unwrap();
    assert_eq!(double.names(AssetKind::Chart), ["a", "b"]);
    assert!(steps.borrow().contains(&"keeping chart b: dashboard `hers` uses it".to_owned()), "{steps:?}");
}

#[test]
fn a_dataset_with_a_chart_made_by_hand_is_kept() {
    let (double, client, _) = applied();
    let mut hers = chart(92, "hers", 3);
    hers.body["is_managed_externally"] = false.into();
    let wanted: Vec<Asset> =
        project(&[(10, "a"), (11, "b")]).into_iter().filter(|asset| asset.name != "daily").collect();
    let (plan, there) = plan_all(&client, &wanted, PROJECT).unwrap();
    assert_eq!(told(&plan), vec![(Action::Remove, "daily")]);
    double.put(hers);
    plan::apply(&client, &wanted, PROJECT, (&plan, there), DateTime::<Utc>::UNIX_EPOCH, &|_| ()).unwrap();
    assert_eq!(double.names(AssetKind::Dataset), ["hourly", "daily"]);
}

#[rstest]
#[case::database("GET /api/v1/database/?q=", asset(AssetKind::Database, 93, "lake", json!({})))]
#[case::address("GET /api/v1/dashboard/?q=", dashboard(93, "hers", "lake-ward", &[]))]
fn what_the_first_list_left_out_stands_in_the_way_all_the_same(#[case] list: &str, #[case] hers: Asset) {
    let double = Double::start();
    double.put(hers);
    double.fails(list, Fault::Rows(json!([])));
    let error = apply(&double.client(), &project(&[(10, "a")])).unwrap_err().to_string();
    assert!(error.contains("there is one already with the same"), "{error}");
    assert_eq!(double.asked("POST /api/v1/assets/import/"), 0);
}

#[test]
fn what_has_our_address_beside_ours_cannot_be_taken_over() {
    let (double, client, assets) = applied();
    let mut moved = assets.last().unwrap().clone();
    moved.body["slug"] = "elsewhere".into();
    double.put(moved);
    double.put(dashboard(94, "hers", "lake-ward", &[]));
    assert!(told(&planned(&client, &assets)).contains(&(Action::Refuse, "Ward")));
}

#[test]
fn a_title_alone_does_not_stand_in_the_way_of_what_is_there() {
    let (double, client, assets) = applied();
    double.put(dashboard(95, "Ward", "hers", &[]));
    assert_eq!(told(&planned(&client, &assets)), vec![]);
}

#[test]
fn a_role_reads_its_datasets_whatever_a_list_of_permissions_is_answered_with() {
    let (double, assets) = (Double::start(), project(&[(10, "a")]));
    double.fails("GET /api/v1/security/permissions/", Fault::Rows(json!([{"id": 666, "name": "can_write"}])));
    let others = json!([
        permission_row(667, "can_write", "[lake].[hourly](id:2)"),
        permission_row(668, "datasource_access", "[other].[x](id:9)")
    ]);
    double.fails("GET /api/v1/security/permissions-resources/", Fault::Rows(others));
    apply(&double.client(), &assets).unwrap();
    let hourly = double.state.lock().unwrap().assets.iter().find(|(_, asset)| asset.name == "hourly").unwrap().0;
    assert_eq!(double.state.lock().unwrap().roles["lake: Ward"].1, [1, 2, hourly + 100].into());
}

#[rstest]
#[case::somebody_elses(&[3], Action::Adopt)]
#[case::made_and_no_more(&[], Action::Change)]
#[case::left_by_a_page_that_is_gone(&[1, 2], Action::Change)]
fn a_role_that_permits_more_than_a_page_is_somebody_elses(#[case] permits: &[i64], #[case] action: Action) {
    let double = Double::start();
    double.state.lock().unwrap().roles.insert("lake: Ward".into(), (77, permits.iter().copied().collect()));
    let (client, assets) = (double.client(), project(&[(10, "a")]));
    assert!(told(&planned(&client, &assets)).contains(&(action, "lake: Ward")));
    // Taken over, it is as it should be.
    apply(&client, &assets).unwrap();
    assert_eq!(told(&planned(&client, &assets)), vec![]);
}

#[test]
fn a_role_of_a_page_that_somebody_gave_more_is_told() {
    let (double, assets) = (Double::start(), project(&[(10, "a")]));
    let client = double.client();
    apply(&client, &assets).unwrap();
    double.state.lock().unwrap().roles.get_mut("lake: Ward").unwrap().1.insert(3);
    assert_eq!(told(&planned(&client, &assets)), vec![(Action::Adopt, "lake: Ward")]);
    apply(&client, &assets).unwrap();
    assert_eq!(told(&planned(&client, &assets)), vec![]);
}

#[rstest]
#[case::server_error(Fault::Status(500, json!({"errors": [{"message": "Import failed for an unknown reason"}]})), "it answered 500: Import failed")]
#[case::to_login(Fault::ToLogin, "with a redirect to its log-in page")]
#[case::cut(Fault::Cut, "it broke off")]
fn an_import_that_goes_wrong_is_told_and_can_be_done_again(#[case] fault: Fault, #[case] says: &str) {
    let (double, assets) = (Double::start(), project(&[(10, "a"), (11, "b")]));
    let client = double.client();
    double.fails("POST /api/v1/assets/import/", fault);
    let error = apply(&client, &assets).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    apply(&client, &assets).unwrap();
    assert_eq!(double.names(AssetKind::Chart), ["a", "b"]);
    assert_eq!(told(&planned(&client, &assets)), vec![]);
}

#[test]
fn an_expired_token_is_renewed_and_what_was_asked_is_done_once() {
    let (double, assets) = (Double::start(), project(&[(10, "a")]));
    let client = double.client();
    double.fails("POST /api/v1/assets/import/", Fault::Status(401, json!({"msg": "Token has expired"})));
    double.fails("GET /api/v1/dashboard/?q=", Fault::Status(401, json!({"msg": "Token has expired"})));
    apply(&client, &assets).unwrap();
    assert_eq!(double.asked("POST /api/v1/security/login"), 1);
    assert_eq!(double.names(AssetKind::Chart), ["a"]);
}

#[test]
fn whoever_is_not_let_in_or_too_old_is_told_so() {
    let double = Double::start();
    let error = double.connect("another").unwrap_err().to_string();
    assert!(error.contains("does not let lake in") && !error.contains("another"), "{error}");
    double.state.lock().unwrap().version = Some("4.1.2".into());
    assert!(double.connect("geheim").unwrap_err().to_string().contains("is 4.1.2; 6.0 or newer is needed"));
    double.state.lock().unwrap().version = None;
    assert!(matches!(double.connect("geheim").unwrap_err(), Error::NotSuperset(_)));
}
