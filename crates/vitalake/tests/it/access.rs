//! Clients of the real server: each by its token, each seeing what contracts allow its roles, from file to model.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::{Value, json};

use crate::rehearsal::server::Place;

const PEOPLE: &str = "apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000001
name: people
version: 1.0.0
status: active
schema:
  - name: people
    properties:
      - {name: who, logicalType: string, required: true, classification: restricted, customProperties: [{property: mask, value: redact}]}
      - {name: zip, logicalType: string, classification: phi, customProperties: [{property: mask, value: first3}]}
      - {name: ward, logicalType: string, classification: internal}
      - {name: code, logicalType: string, classification: restricted}
customProperties:
  - {property: source, value: feed}
ROLES
";

const STAYS: &str = "apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000002
name: stays
version: 1.0.0
status: active
schema:
  - name: stays
    properties:
      - {name: ward, logicalType: string}
      - {name: label, logicalType: string, classification: LABEL}
ROLES
";

const MODEL: &str = "-- kind: append\nSELECT ward, concat(ward, '-', code) AS label FROM raw.people\n";

const LISTED: &str = "roles:
  - {role: steward, access: read}
  - {role: analyst, access: read, customProperties: [{property: rowFilter, value: \"ward = 'north'\"}]}
";

fn write(project: &Path, name: &str, text: &str) {
    let path = project.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn vitalake(folder: &Path, arguments: &[&str], token: Option<&str>) -> Output {
    let mut command = Command::new(crate::binary());
    command.args(arguments).current_dir(folder).env_clear().env("NO_COLOR", "1").env("COLUMNS", "100");
    command.envs(token.map(|token| ("VITALAKE_TOKEN", token))).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

/// A token, and the line of the file that lets it in.
fn token(folder: &Path, name: &str, role: &str) -> (String, String) {
    let text = said(&vitalake(folder, &["token", name, "--role", role], None));
    let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap().to_owned();
    (line("vl_"), line("token: sha256:").replace("token: ", ""))
}

fn settings(clients: &str) -> String {
    format!(
        "name: people\nstorage:\n  reserve_bytes: 0\naccess:\n  roles:\n    analyst: {{layers: [raw, curated]}}\n    \
         steward: {{clearance: restricted, layers: [raw, curated, quarantine, ops], records: true, may: [deliver, operate]}}\n    \
         sender: {{layers: [], may: [deliver]}}\n  clients:\n{clients}"
    )
}

pub(crate) struct Here {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) place: Place,
    pub(crate) ann: String,
    pub(crate) sam: String,
}

fn here(people: &str, stays: &str) -> Here {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let ((ann, ann_hash), (sam, sam_hash)) =
        (token(folder.path(), "ann", "analyst"), token(folder.path(), "sam", "steward"));
    let client = |name: &str, role: &str, hash: &str| format!("    {name}: {{roles: [{role}], token: '{hash}'}}\n");
    let clients = client("ann", "analyst", &ann_hash) + &client("sam", "steward", &sam_hash);
    write(&project, "vitalake.yaml", &settings(&clients));
    write(&project, "contracts/raw/people.yaml", people);
    write(&project, "contracts/curated/stays.yaml", stays);
    write(&project, "models/curated/stays.sql", MODEL);
    let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
    Here { folder, place, ann, sam }
}

pub(crate) fn plain() -> Here {
    here(&PEOPLE.replace("ROLES\n", ""), &STAYS.replace("ROLES\n", "").replace("LABEL", "restricted"))
}

/// The same, where the contract says that a column names persons.
pub(crate) fn of_persons() -> Here {
    let people = PEOPLE.replace(
        "{property: mask, value: redact}",
        "{property: mask, value: redact}, {property: subject, value: true}",
    );
    here(&people.replace("ROLES\n", ""), &STAYS.replace("ROLES\n", "").replace("LABEL", "restricted"))
}

/// A request's status and answer.
pub(crate) fn asked(here: &Here, token: Option<&str>, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", here.place.http));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", "application/json").body(body.to_string()).unwrap();
    let mut response = agent.run(request).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) fn rows(here: &Here, token: &str, sql: &str) -> Value {
    let question = json!({"query": sql, "resultFormat": "array"});
    let (status, answer) = asked(here, Some(token), "POST", "/druid/v2/sql", &question);
    if status == 200 { answer } else { answer["errorMessage"].clone() }
}

pub(crate) fn deliver(here: &Here) {
    let file = here.folder.path().join("people.csv");
    fs::write(&file, "who,zip,ward,code\nAda Example,94110,north,c-1\nBob Example,03601,south,c-2\n").unwrap();
    let server = format!("http://{}", here.place.http);
    let arguments = ["ingest", "people", file.to_str().unwrap(), "--server", &server];
    let refused = vitalake(here.folder.path(), &arguments, Some(&here.ann));
    assert!(!refused.status.success() && said(&refused).contains("roles that may deliver"), "{}", said(&refused));
    let loaded = vitalake(here.folder.path(), &arguments, Some(&here.sam));
    assert!(loaded.status.success(), "{}", said(&loaded));
}

#[test]
fn each_client_sees_what_its_roles_allow_and_nobody_comes_in_without_a_name() {
    let here = plain();
    let server = here.place.start().ready();
    let nobody = asked(&here, None, "GET", "/api/v1/status", &Value::Null);
    assert_eq!((nobody.0, &nobody.1["error"]), (401, &"unauthorized".into()), "{}", nobody.1);
    let question = json!({"query": "SELECT 1"});
    assert_eq!(asked(&here, Some("vl_guess"), "POST", "/druid/v2/sql", &question).0, 401);
    assert_eq!(asked(&here, None, "GET", "/health/ready", &Value::Null).0, 200);
    let told =
        ["/", "/metrics", "/api/v1/status", "/api/v1/gates", "/api/v1/books", "/api/v1/deliveries", "/api/v1/feeds"];
    for path in told {
        assert_eq!(asked(&here, Some(&here.ann), "GET", path, &Value::Null).0, 403, "{path}");
        assert_eq!(asked(&here, Some(&here.sam), "GET", path, &Value::Null).0, 200, "{path}");
    }
    for (method, path) in [("POST", "/api/v1/flush"), ("GET", "/runbooks"), ("GET", "/api/v1/quarantine/people")] {
        assert_eq!(asked(&here, Some(&here.ann), method, path, &Value::Null).0, 403, "{path}");
    }
    deliver(&here);

    let all = "SELECT who, zip, ward FROM raw.people ORDER BY ward";
    assert_eq!(
        rows(&here, &here.sam, all),
        json!([["Ada Example", "94110", "north"], ["Bob Example", "03601", "south"]])
    );
    assert_eq!(rows(&here, &here.ann, all), json!([["***", "941", "north"], ["***", "000", "south"]]));
    assert_eq!(rows(&here, &here.ann, "SELECT COUNT(*) FROM raw.people WHERE who LIKE 'Ada%'"), json!([[0]]));
    let refused = rows(&here, &here.ann, "SELECT code FROM raw.people");
    assert_eq!(
        refused,
        "the column 'code' of 'raw.people' is restricted and you may not use it; ask for the role 'steward'"
    );
    let refused = rows(&here, &here.ann, "SELECT * FROM quarantine.people").to_string();
    assert!(refused.contains("you may not read 'quarantine.people'; ask for the role 'steward'"), "{refused}");

    // What is computed from a restricted column is restricted.
    here.place.until("derived", || rows(&here, &here.sam, "SELECT COUNT(*) FROM curated.stays") == json!([[2]]));
    assert_eq!(rows(&here, &here.ann, "SELECT ward FROM curated.stays ORDER BY ward"), json!([["north"], ["south"]]));
    let refused = rows(&here, &here.ann, "SELECT label FROM curated.stays").to_string();
    assert!(refused.contains("'label' of 'curated.stays' is restricted"), "{refused}");
    let log = here.place.said();
    assert!(!log.contains(&here.ann) && !log.contains(&here.sam) && !log.contains("Example"), "{log}");
    server.stop();

    // Whoever holds the folder sees it all, and no token is asked for.
    let arguments = ["query", all, "--project", "project", "--data", "data"];
    let local = vitalake(here.folder.path(), &arguments, None);
    assert!(said(&local).contains("Ada Example"), "{}", said(&local));
}

#[test]
fn a_decision_is_written_down_under_the_name_that_was_proved() {
    let here = plain();
    let _server = here.place.start().ready();
    let file = here.folder.path().join("people.csv");
    fs::write(&file, "who,zip,ward,code\n,94110,north,c-1\n").unwrap();
    let server = format!("http://{}", here.place.http);
    let loaded = vitalake(
        here.folder.path(),
        &["ingest", "people", file.to_str().unwrap(), "--server", &server],
        Some(&here.sam),
    );
    assert!(said(&loaded).contains("quarantine"), "{}", said(&loaded));
    let decision = json!({"reason": "a test", "by": "the director"});
    let (status, report) = asked(&here, Some(&here.sam), "POST", "/api/v1/quarantine/people/discard", &decision);
    assert_eq!((status, &report["by"]), (200, &"sam".into()), "{report}");
}

#[test]
fn rows_are_filtered_by_role_and_a_model_keeps_the_filter() {
    let here =
        here(&PEOPLE.replace("ROLES\n", LISTED), &STAYS.replace("ROLES\n", LISTED).replace("LABEL", "restricted"));
    let _server = here.place.start().ready();
    deliver(&here);
    assert_eq!(rows(&here, &here.ann, "SELECT zip FROM raw.people"), json!([["941"]]));
    assert_eq!(rows(&here, &here.ann, "SELECT COUNT(*), MAX(ward) FROM raw.people"), json!([[1, "north"]]));
    here.place.until("derived", || rows(&here, &here.sam, "SELECT COUNT(*) FROM curated.stays") == json!([[2]]));
    assert_eq!(rows(&here, &here.ann, "SELECT ward FROM curated.stays"), json!([["north"]]));
}

#[rstest]
#[case::rows_of_others(LISTED, "", "restricted", "rows-of-others", "`analyst` sees some rows of raw.people")]
#[case::another_filter(
    LISTED,
    "roles: [{role: analyst, customProperties: [{property: rowFilter, value: \"label = 'x'\"}]}]\n",
    "restricted",
    "rows-of-others",
    "filter `analyst` by the same condition"
)]
#[case::a_role_that_there_is_none_of("roles: [{role: surgeon}]\n", "", "restricted", "access", "surgeon")]
#[case::a_class_that_is_too_mild("", "", "internal", "stricter-origin", "computed from what is restricted")]
#[case::a_class_that_nobody_knows("", "", "topsecret", "unknown-classification", "counts as restricted")]
fn validate_says_what_would_not_hold(
    #[case] of_people: &str,
    #[case] of_stays: &str,
    #[case] label: &str,
    #[case] code: &str,
    #[case] says: &str,
) {
    let here = here(&PEOPLE.replace("ROLES\n", of_people), &STAYS.replace("ROLES\n", of_stays).replace("LABEL", label));
    let verdict = vitalake(&here.place.project, &["validate", "--json"], None);
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    let findings = verdict["diagnostics"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["code"] == code);
    assert!(found.is_some_and(|found| found.to_string().contains(says)), "{verdict}");
}

/// A certificate for this machine and what it was signed with, or none where there is no OpenSSL to make them.
fn certificate(folder: &Path, name: &str) -> bool {
    let path = |ending: &str| folder.join(format!("{name}.{ending}")).to_str().unwrap().to_owned();
    let (key, pem) = (path("key"), path("pem"));
    let arguments = [
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
            .as_slice(),
        &[
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
        &["-keyout", &key, "-out", &pem],
    ];
    let made = Command::new("openssl").args(arguments.concat()).output();
    made.is_ok_and(|made| made.status.success())
}

#[test]
fn with_a_certificate_nothing_is_answered_in_the_clear_and_a_new_one_is_taken_up() {
    let here = plain();
    let project = here.place.project.clone();
    if !certificate(&project, "first") || !certificate(&project, "second") {
        eprintln!("skipped: openssl is not installed, which makes the certificates");
        return;
    }
    let copy = |name: &str| {
        fs::copy(project.join(format!("{name}.pem")), project.join("now.pem")).unwrap();
        fs::copy(project.join(format!("{name}.key")), project.join("now.key")).unwrap();
    };
    copy("first");
    let text = fs::read_to_string(project.join("vitalake.yaml")).unwrap();
    let tls = "http:\n  tls: {certificate: now.pem, key: now.key}\n";
    write(&project, "vitalake.yaml", &(text + tls));
    let server = here.place.start();
    let url = format!("https://{}", here.place.http);
    let asks = |certificate: &str, url: &str| {
        let mut command = Command::new(crate::binary());
        command.args(["query", "SELECT COUNT(*) FROM raw.people", "--server", url]).current_dir(here.folder.path());
        command.env_clear().env("NO_COLOR", "1").env("VITALAKE_TOKEN", &here.ann);
        command.env("SSL_CERT_FILE", project.join(format!("{certificate}.pem"))).output().unwrap()
    };
    here.place.until("the command line comes in", || asks("first", &url).status.success());
    let stranger = asks("second", &url);
    assert!(!stranger.status.success(), "{}", said(&stranger));
    let clear = asks("first", &format!("http://{}", here.place.http));
    assert!(!clear.status.success(), "{}", said(&clear));
    // A key without its certificate changes nothing, both together do.
    fs::copy(project.join("second.key"), project.join("now.key")).unwrap();
    here.place.until("it is said", || {
        asks("first", &url).status.success() && here.place.said().contains("the new certificate cannot be used yet")
    });
    copy("second");
    here.place.until("the new one is taken up", || asks("second", &url).status.success());
    server.stop();
}

#[rstest]
#[case::nothing("", "only a loopback address is allowed")]
#[case::tls_alone("  tls: {certificate: a.pem, key: a.key}\n", "only a loopback address is allowed")]
#[case::half_of_it("  tls: {certificate: a.pem}\n", "belong together")]
fn an_unsafe_address_is_refused(#[case] http: &str, #[case] says: &str) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "vitalake.yaml", &format!("name: x\nhttp:\n  listen: 0.0.0.0:8888\n{http}"));
    let verdict = said(&vitalake(folder.path(), &["validate", "."], None));
    assert!(verdict.contains(says), "{verdict}");
}

#[test]
fn an_address_of_others_needs_clients_and_tls() {
    let here = plain();
    let text = fs::read_to_string(here.place.project.join("vitalake.yaml")).unwrap();
    for (http, fine) in
        [("", false), ("  behind_proxy: true\n", true), ("  tls: {certificate: a.pem, key: a.key}\n", true)]
    {
        write(&here.place.project, "vitalake.yaml", &format!("{text}http:\n  listen: 0.0.0.0:8888\n{http}"));
        let verdict = vitalake(&here.place.project, &["validate", "."], None);
        assert_eq!(verdict.status.success(), fine, "{}", said(&verdict));
    }
}

/// Models that show rows of others under the filter's name, each with what `validate` has to say.
#[rstest]
#[case::renamed("CASE WHEN ward = 'south' THEN 'north' ELSE ward END")]
#[case::replaced("replace(ward, 'south', 'north')")]
#[case::constant("'north'")]
fn a_column_that_is_changed_carries_no_filter(#[case] ward: &str) {
    let here =
        here(&PEOPLE.replace("ROLES\n", LISTED), &STAYS.replace("ROLES\n", LISTED).replace("LABEL", "restricted"));
    write(
        &here.place.project,
        "models/curated/stays.sql",
        &MODEL.replace("SELECT ward,", &format!("SELECT {ward} AS ward,")),
    );
    let verdict = said(&vitalake(&here.place.project, &["validate", "."], None));
    assert!(verdict.contains("rows-of-others"), "{verdict}");
}

#[test]
fn a_filter_follows_through_a_dataset_that_the_role_does_not_read() {
    let steward = "roles: [{role: steward, access: read}]\n";
    let here =
        here(&PEOPLE.replace("ROLES\n", LISTED), &STAYS.replace("ROLES\n", steward).replace("LABEL", "restricted"));
    let further = |roles: &str| {
        let contract = STAYS.replace("0000002", "0000003").replace("stays", "further").replace("LABEL", "restricted");
        write(&here.place.project, "contracts/curated/further.yaml", &contract.replace("ROLES\n", roles));
        let model = "-- kind: append\nSELECT ward, label FROM curated.stays\n";
        write(&here.place.project, "models/curated/further.sql", model);
        said(&vitalake(&here.place.project, &["validate", "."], None))
    };
    let open = further("");
    assert!(open.contains("`analyst` sees some rows of raw.people and would see what curated.further makes"), "{open}");
    let kept = further(LISTED);
    assert!(!kept.contains("rows-of-others"), "{kept}");
}

#[test]
fn what_will_happen_to_a_query_is_explained_without_a_server() {
    let here =
        here(&PEOPLE.replace("ROLES\n", LISTED), &STAYS.replace("ROLES\n", LISTED).replace("LABEL", "restricted"));
    let explain = |arguments: &[&str]| {
        let all = [&["policy", "explain"], arguments, &["--project", "project"]].concat();
        said(&vitalake(here.folder.path(), &all, None))
    };
    let sql = "SELECT who, COUNT(*) FROM raw.people WHERE zip = '941' GROUP BY who";
    assert_eq!(
        explain(&["ann", sql]),
        "ann (analyst) is answered\n\nraw.people: rows where ward = 'north'\n  who  masked by redact (restricted); in the clear for steward\n  \
         zip  masked by first3 (restricted); in the clear for steward\n  not there for it: code, _partition, _offset, _key, _headers, _rescued\n"
    );
    assert!(explain(&["--role", "steward", sql]).contains("raw.people: all rows\n  who  as it is (restricted)"));
    let refused = explain(&["ann", "SELECT label FROM curated.stays"]);
    assert!(
        refused.contains("ann (analyst) is refused: the column 'label' of 'curated.stays' is restricted"),
        "{refused}"
    );
    assert!(explain(&["ben", sql]).contains("there is no ben under access\n  help: known: ann, sam"));
    assert!(explain(&["ann"]).contains("there is no query"));
}

const CONSENTS: &str = "apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000003
name: consents
version: 1.0.0
status: active
schema:
  - name: consents
    properties:
      - {name: who, logicalType: string}
      - {name: purpose, logicalType: string}
      - {name: decision, logicalType: string}
      - {name: decided_at, logicalType: timestamp}
customProperties:
  - {property: source, value: feed}
";

const BOUND: &str = "  - property: consent\n    value: {dataset: consents, subject: who, purpose: purpose, decision: decision, time: decided_at}\n";

#[rstest]
#[case::kept("who, ward", "SELECT who, ward FROM raw.people", BOUND, None)]
#[case::not_bound("who, ward", "SELECT who, ward FROM raw.people", "", Some("rows-without-consent"))]
#[case::somebody_elses(
    "who, ward",
    "SELECT upper(who) AS who, ward FROM raw.people",
    BOUND,
    Some("rows-without-consent")
)]
#[case::a_window(
    "who, n",
    "SELECT who, CAST(count(*) OVER () AS STRING) AS n FROM raw.people",
    BOUND,
    Some("rows-without-consent")
)]
#[case::beside_others(
    "who, ward",
    "SELECT a.who, b.ward FROM raw.people a JOIN raw.people b ON a.zip = b.zip",
    BOUND,
    Some("rows-without-consent")
)]
#[case::no_such_column("who, ward", "SELECT who, ward FROM raw.people", &BOUND.replace("decided_at", "moment"), Some("bad-consent"))]
fn what_is_made_of_rows_bound_to_consent_is_bound_or_refused(
    #[case] columns: &str,
    #[case] model: &str,
    #[case] of_stays: &str,
    #[case] code: Option<&str>,
) {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    write(&project, "vitalake.yaml", "name: people\n");
    write(&project, "contracts/raw/consents.yaml", CONSENTS);
    let people = PEOPLE.replace("ROLES\n", "").replace(
        "customProperties:\n  - {property: source",
        &format!("customProperties:\n{BOUND}  - {{property: source"),
    );
    write(&project, "contracts/raw/people.yaml", &people);
    let of_columns: String =
        columns.split(", ").map(|name| format!("      - {{name: {name}, logicalType: string}}\n")).collect();
    let stays = STAYS.split("    properties:\n").next().unwrap().to_owned() + "    properties:\n" + &of_columns;
    let custom = if of_stays.is_empty() { String::new() } else { format!("customProperties:\n{of_stays}") };
    write(&project, "contracts/curated/stays.yaml", &(stays + &custom));
    write(&project, "models/curated/stays.sql", &format!("-- kind: append\n{model}\n"));
    let verdict = vitalake(&project, &["validate", "--json"], None);
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    let findings = verdict["diagnostics"].as_array().unwrap();
    let errors: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    match code {
        None => assert!(errors.is_empty(), "{verdict}"),
        Some(code) => assert!(errors.iter().any(|finding| finding["code"] == code), "{verdict}"),
    }
}
