//! What one role and several together see of a table.
#![allow(clippy::unwrap_used)]

use vitalake_contract::access::{Comparison, Constant};
use vitalake_contract::contract::Column as ContractColumn;
use vitalake_contract::{ColumnType, DatasetName};

use super::*;

fn column(name: &str, classification: Classification, mask: Option<Mask>) -> ContractColumn {
    let kind = ColumnType::String;
    ContractColumn { classification: Some(classification), mask, ..ContractColumn::new(name, kind) }
}

fn contract(name: &str, layer: Layer, readers: Vec<Reader>) -> Contract {
    let mut contract = Contract::new(DatasetName::new(name).unwrap(), layer);
    contract.columns = vec![
        column("id", Classification::Restricted, Some(Mask::Redact)),
        column("ward", Classification::Confidential, None),
        column("kind", Classification::Internal, None),
    ];
    contract.readers = readers;
    contract
}

fn ward(name: &str) -> Predicate {
    Predicate::Compare(1, Comparison::Equal, Constant::Text(name.into()))
}

fn reader(role: &str, rows: Option<Predicate>) -> Reader {
    Reader { role: role.to_owned(), rows, written: None }
}

fn access(contracts: &[Contract]) -> Arc<Access> {
    let role = |clearance: &str, layers: &[&str]| Role {
        clearance: clearance.to_owned(),
        layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
        ..Role::default()
    };
    let mut settings = Settings::default();
    settings.roles.insert("guest".to_owned(), role("public", &["serving"]));
    settings.roles.insert("analyst".to_owned(), role("internal", &["serving"]));
    settings.roles.insert("nurse".to_owned(), role("confidential", &["serving", "curated"]));
    settings.roles.insert("steward".to_owned(), Role { records: true, ..role("restricted", &["raw", "quarantine"]) });
    Arc::new(Access::new(&settings, contracts).unwrap())
}

fn sight(access: &Arc<Access>, roles: &[&str], schema: &str, table: &str) -> Option<Sight> {
    let identity = Identity::client("x", roles.iter().map(|role| (*role).to_owned()));
    access.roles_of(&identity).sight(schema, table)
}

#[test]
fn a_column_above_the_clearance_is_masked_or_not_there() {
    let access = access(&[contract("beds", Layer::Serving, vec![])]);
    let of = |role: &str, column: &str| sight(&access, &[role], "serving", "beds").unwrap().of(column);
    assert_eq!(of("analyst", "id"), Shown::Masked(Mask::Redact));
    assert_eq!(of("analyst", "ward"), Shown::Not(Classification::Confidential));
    assert_eq!(of("analyst", "kind"), Shown::Clear);
    assert_eq!(of("guest", "kind"), Shown::Not(Classification::Internal));
    assert_eq!(of("nurse", "ward"), Shown::Clear);
    assert_eq!(of("nurse", "not_in_the_contract"), Shown::Not(Classification::Restricted));
    assert_eq!(of("nurse", "_offset"), Shown::Clear);
    assert_eq!(of("nurse", "_rescued"), Shown::Not(Classification::Restricted));
}

#[test]
fn layers_decide_where_a_contract_lists_no_roles_and_alone_the_list_where_it_does() {
    let beds = contract("beds", Layer::Serving, vec![]);
    let notes = contract("notes", Layer::Serving, vec![reader("steward", None)]);
    let access = access(&[beds, notes, contract("arrivals", Layer::Raw, vec![])]);
    let reads = |role: &str, schema: &str, table: &str| sight(&access, &[role], schema, table).is_some();
    assert!(reads("analyst", "serving", "beds") && reads("analyst", "serving", "beds_live"));
    assert!(!reads("steward", "serving", "beds"));
    assert!(reads("steward", "serving", "notes") && !reads("nurse", "serving", "notes"));
    assert!(reads("steward", "raw", "arrivals") && !reads("analyst", "raw", "arrivals"));
    assert!(!reads("analyst", "raw", "beds") && !reads("analyst", "serving", "unknown"));
    assert!(reads("steward", "quarantine", "arrivals") && !reads("analyst", "quarantine", "arrivals"));
    assert!(!reads("analyst", "ops", "runs"));
    assert!(!reads("nobody", "serving", "beds") && sight(&access, &[], "serving", "beds").is_none());
}

#[test]
fn two_roles_never_show_a_value_in_a_row_that_neither_shows_there() {
    let readers =
        vec![reader("analyst", None), reader("nurse", Some(ward("north"))), reader("guest", Some(ward("south")))];
    let access = access(&[contract("beds", Layer::Serving, readers)]);
    let of = |roles: &[&str]| sight(&access, roles, "serving", "beds").unwrap();
    assert_eq!(of(&["nurse"]).rows, Some(ward("north")));
    assert_eq!(of(&["nurse"]).of("ward"), Shown::Clear);
    // All rows, as the analyst sees them: the nurse's clearance is for the north alone.
    let both = of(&["analyst", "nurse"]);
    assert_eq!(both.rows, None);
    assert_eq!(both.of("ward"), Shown::Not(Classification::Confidential));
    let other = of(&["nurse", "guest"]);
    assert_eq!(other.rows, Some(Predicate::Any(vec![ward("north"), ward("south")])));
    assert_eq!(other.of("kind"), Shown::Not(Classification::Internal));
}

#[test]
fn what_could_not_be_kept_is_refused_at_start() {
    let mut hashed = contract("beds", Layer::Serving, vec![reader("surgeon", None)]);
    let mut settings = Settings::default();
    assert!(Access::new(&settings, [&hashed]).is_ok(), "nothing is kept where nobody is listed");
    settings.roles.insert("analyst".to_owned(), Role::default());
    let error = Access::new(&settings, [&hashed]).unwrap_err().to_string();
    assert!(error.contains("surgeon") && error.contains("beds"), "{error}");
    hashed.readers.clear();
    if let Some(column) = hashed.columns.first_mut() {
        column.mask = Some(Mask::Hash);
    }
    assert_eq!(Access::new(&settings, [&hashed]).unwrap_err(), AccessProblem::NoMaskKey("beds.id".to_owned()));
    settings.mask_key = Some("0123456789abcdef".into());
    assert!(Access::new(&settings, [&hashed]).is_ok());
}

#[test]
fn columns_of_ours_that_may_hold_what_others_were_computed_from_are_as_strict() {
    let readers = vec![reader("analyst", Some(Predicate::IsNull(2))), reader("steward", None)];
    let access = access(&[contract("beds", Layer::Serving, readers), contract("all", Layer::Serving, vec![])]);
    let analyst = sight(&access, &["analyst"], "serving", "all").unwrap();
    for helper in ["_m_sum", "_mx_max", "_valid_from", "_anything"] {
        assert_eq!(analyst.of(helper), Shown::Not(Classification::Restricted), "{helper}");
    }
    assert_eq!(analyst.of("_offset"), Shown::Clear);
    // Who sees some rows would count the others by the gaps.
    assert_eq!(
        sight(&access, &["analyst"], "serving", "beds").unwrap().of("_offset"),
        Shown::Not(Classification::Restricted)
    );
    assert_eq!(sight(&access, &["steward"], "serving", "beds").unwrap().of("_m_sum"), Shown::Clear);
}

#[test]
fn records_are_shown_by_roles_that_read_the_table_alone() {
    let access = access(&[contract("arrivals", Layer::Raw, vec![reader("analyst", None), reader("nurse", None)])]);
    let of = |roles: &[&str], schema: &str| sight(&access, roles, schema, "arrivals").map(|sight| sight.of("_raw"));
    assert_eq!(of(&["analyst", "steward"], "raw"), Some(Shown::Not(Classification::Restricted)));
    assert_eq!(of(&["steward"], "quarantine"), Some(Shown::Clear));
    let watcher = Role { layers: ["ops".to_owned()].into(), ..Role::default() };
    let mut settings = Settings::default();
    settings.roles.insert("watcher".to_owned(), watcher);
    let access = Arc::new(Access::new(&settings, []).unwrap());
    let ops = sight(&access, &["watcher"], "ops", "checks").unwrap();
    assert_eq!((ops.of("got"), ops.of("rule")), (Shown::Not(Classification::Restricted), Shown::Clear));
}

#[test]
fn a_proof_for_some_datasets_shows_neither_the_journal_nor_what_the_platform_says_of_all() {
    let mut settings = Settings::default();
    let role = Role { clearance: "restricted".to_owned(), layers: ["ops".to_owned()].into(), ..Role::default() };
    settings.roles.insert("steward".to_owned(), role);
    let access = Arc::new(Access::new(&settings, &[]).unwrap());
    let of = |scope: Scope| access.roles_of(&Identity::client("x", ["steward".to_owned()]).narrowed(&scope));
    let whole = of(Scope::default());
    assert!(whole.audits() && whole.watches());
    for scope in [
        Scope { datasets: Some(["beds".to_owned()].into()), ..Scope::default() },
        Scope { to: Some([Reach::DELIVER].into()), ..Scope::default() },
        Scope::of_subject("p-1".to_owned()),
    ] {
        let narrow = of(scope);
        assert!(!narrow.audits() && !narrow.watches());
    }
}
