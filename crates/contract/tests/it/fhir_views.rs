//! What is wrong with a view, or with a view and its contract, is said with its place before any resource comes.

use rstest::rstest;
use vitalake_contract::{Diagnostic, Project, fhir};

fn found(view: &str) -> Vec<Diagnostic> {
    fhir::read("views/a.json", "a", view.as_bytes()).diagnostics
}

/// A view of patients with a column `v`.
fn column(path: &str) -> String {
    format!(
        "{{\n\t\"resource\": \"Patient\",\n\t\"select\": [{{\"column\": [\n\t\t{{\"name\": \"v\", \"path\": \"{path}\"}}\n\t]}}]\n}}"
    )
}

#[rstest]
#[case("name.single()", 30, "the function `single` is not in the subset of FHIRPath")]
#[case("name.wher(use = 'a')", 30, "the function `wher` is not in the subset")]
#[case("name | contact.name", 30, "`|` is not in the subset")]
#[case("name.where(use ~ 'a')", 40, "`~` is not in the subset")]
#[case("name is HumanName", 30, "`is` is not in the subset")]
#[case("%kind", 25, "the view has no constant `kind`")]
#[case("name.", 30, "the expression cannot be read here: a name was expected")]
#[case("name.where()", 36, "`where` needs an argument")]
#[case("'a", 25, "the quote is never closed")]
#[case("@@", 25, "no date follows `@`")]
#[case("", 25, "the expression is empty")]
#[case("name[0", 31, "the expression cannot be read here: `]` was expected")]
#[case("today()", 25, "the function `today` is not in the subset")]
#[case("$index", 25, "`$` is not in the subset")]
#[case("name 5", 30, "the expression cannot be read here")]
fn a_path_that_is_not_supported_is_refused_at_its_place(#[case] path: &str, #[case] at: usize, #[case] said: &str) {
    let found = found(&column(path));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].line, found[0].code), (4, "fhirpath"));
    assert!(found[0].message.starts_with(said), "{}", found[0].message);
    assert_eq!(found[0].column, at + 1, "{found:#?}");
    assert!(found[0].help.is_some());
}

#[rstest]
#[case("[]", "wrong-type")]
#[case("{}", "missing-key")]
#[case("{\"resource\": \"Patient\"}", "no-columns")]
#[case("{\"resource\": 5, \"select\": [{\"column\": [{\"name\": \"a\", \"path\": \"id\"}]}]}", "wrong-type")]
#[case("{\"resource\": \"Patient\", \"select\": [{}]}", "no-columns")]
#[case("{\"resource\": \"Patient\", \"select\": [{\"columns\": []}]}", "unknown-key")]
#[case("{\"resource\": \"Patient\", \"select\": [{\"column\": [{\"name\": \"a b\", \"path\": \"id\"}]}]}", "bad-name")]
#[case("{\"resource\": \"Patient\", \"select\": [{\"column\": [{\"name\": \"a\"}]}]}", "missing-key")]
#[case(
    "{\"resource\": \"Patient\", \"select\": [{\"column\": [{\"name\": \"a\", \"path\": \"id\"}, {\"name\": \"a\", \"path\": \"id\"}]}]}",
    "duplicate-name"
)]
#[case(
    "{\"resource\": \"Patient\", \"select\": [{\"forEach\": \"name\", \"repeat\": [\"name\"], \"column\": [{\"name\": \"a\", \"path\": \"id\"}]}]}",
    "several-forms"
)]
#[case(
    "{\"resource\": \"Patient\", \"where\": [{}], \"select\": [{\"column\": [{\"name\": \"a\", \"path\": \"id\"}]}]}",
    "missing-key"
)]
#[case(
    "{\"resource\": \"Patient\", \"constant\": [{\"name\": \"c\", \"valueQuantity\": {}}], \"select\": [{\"column\": [{\"name\": \"a\", \"path\": \"id\"}]}]}",
    "wrong-type"
)]
#[case("{\"resource\":", "yaml")]
#[case(
    "{\"resource\": \"Patients\", \"select\": [{\"column\": [{\"name\": \"a\", \"path\": \"id\"}]}]}",
    "unknown-resource"
)]
fn a_wrong_view_is_found(#[case] view: &str, #[case] code: &str) {
    let found = found(view);
    assert!(found.iter().any(|finding| finding.code == code && finding.line > 0), "{found:#?}");
}

#[test]
fn hostile_paths_are_refused_and_end() {
    let deep = format!("{}id{}", "(".repeat(10_000), ")".repeat(10_000));
    let long = vec!["name"; 10_000].join(".");
    let nested = format!("{}true{}", "name.where(".repeat(300), ")".repeat(300));
    for path in [deep, long, nested] {
        assert!(!found(&column(&path)).is_empty());
    }
    let repeated = "{\"resource\": \"Patient\", \"select\": [{\"repeat\": [\"$this\", \"$this\"], \"column\": [{\"name\": \"a\", \"path\": \"id\"}]}]}";
    let view = fhir::read("views/a.json", "a", repeated.as_bytes()).view.unwrap();
    let resource = fhir::json::parse("{\"resourceType\":\"Patient\",\"id\":\"a\"}").unwrap();
    assert!(view.rows(&resource).is_err());
}

fn project(view: &str, columns: &str, more: &str) -> Vec<Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("vitalake.yaml", "name: fhir\n".to_owned()),
        ("views/patients.json", view.to_owned()),
        (
            "contracts/raw/patients.yaml",
            format!(
                "apiVersion: v3.1.0\nkind: DataContract\nid: 4b0d3a3e-2a50-4c5e-9a6e-0b2f6d9d4e11\nname: patients\nversion: 1.0.0\n\
                 status: active\nschema:\n  - name: patients\n    properties:\n{columns}customProperties:\n{more}"
            ),
        ),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Project::load(folder.path()).1
}

const FEED: &str = "  - {property: source, value: feed}\n";
const VIEW: &str = "  - {property: view, value: patients}\n";
const ID: &str = "      - {name: id, logicalType: string}\n";

fn typed(kind: &str, collection: bool) -> String {
    format!(
        "{{\"resource\": \"Patient\", \"select\": [{{\"column\": [{{\"name\": \"id\", \"path\": \"id\"}}, {{\"name\": \"v\", \"path\": \"v\", \
         \"type\": \"{kind}\", \"collection\": {collection}}}]}}]}}"
    )
}

#[rstest]
#[case("boolean", false, "boolean", true)]
#[case("boolean", false, "string", false)]
#[case("integer", false, "integer", true)]
#[case("integer", false, "number", true)]
#[case("positiveInt", false, "string", false)]
#[case("decimal", false, "number", true)]
#[case("decimal", false, "integer", false)]
#[case("date", false, "date", true)]
#[case("date", false, "timestamp", false)]
#[case("dateTime", false, "timestamp", true)]
#[case("dateTime", false, "date", false)]
#[case("instant", false, "string", true)]
#[case("code", false, "string", true)]
#[case("code", false, "integer", false)]
#[case("Period", false, "object", true)]
#[case("Period", false, "string", false)]
#[case("string", true, "array", true)]
#[case("string", true, "string", false)]
fn types_of_the_view_fit_those_of_the_contract(
    #[case] kind: &str,
    #[case] collection: bool,
    #[case] logical: &str,
    #[case] fits: bool,
) {
    let columns = format!("{ID}      - {{name: v, logicalType: {logical}}}\n");
    let found = project(&typed(kind, collection), &columns, &format!("{FEED}{VIEW}"));
    assert_eq!(found.is_empty(), fits, "{found:#?}");
    assert!(found.iter().all(|finding| finding.code == "view-type" && finding.line == 11), "{found:#?}");
}

#[test]
fn columns_of_the_view_and_of_the_contract_are_the_same() {
    let found = project(&column("id"), ID, &format!("{FEED}{VIEW}"));
    let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        ["the contract does not name what the view patients gives: v", "the view patients gives no column `id`"]
    );
}

#[test]
fn a_contract_names_a_view_that_there_is_and_is_a_feed() {
    let found = project(&typed("id", false), ID, &format!("{FEED}  - {{property: view, value: patient}}\n"));
    let said: Vec<(&str, &str)> = found.iter().map(|f| (f.code, f.help.as_deref().unwrap())).collect();
    assert_eq!(said[0], ("no-view", "did you mean `patients`?"));
    assert_eq!(said[1].0, "unused-view");
    let columns = format!("{ID}      - {{name: v, logicalType: string}}\n");
    let found = project(&typed("id", false), &columns, VIEW);
    assert_eq!(found.iter().map(|f| f.code).collect::<Vec<_>>(), ["no-feed"]);
}
