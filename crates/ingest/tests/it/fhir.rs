//! Deliveries of FHIR resources through a contract's view: bulk files, Bundles, single resources, and what is none of these.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use rstest::rstest;
use serde_json::{Value, json};
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::{Contract, Project};
use vitalake_ingest::decode::{
    DeliveryError, DeliveryFormat, DeliveryTotals, Redecoder, ResourceTotals, Rules, decode_delivery,
};

/// A column of a view: its name, path and FHIR type.
type Column = (&'static str, &'static str, &'static str);

const ID: Column = ("id", "getResourceKey()", "id");
const PATIENT: Column = ("patient_id", "patient.getReferenceKey(Patient)", "id");
const CODE: Column = ("code", "code.coding.where(system = %snomed).code.first()", "code");

/// A view for each type of the bulk export, and how many resources it has.
const VIEWS: [(&str, usize, &[Column]); 9] = [
    (
        "Patient",
        13,
        &[
            ID,
            ("gender", "gender", "code"),
            ("birth_date", "birthDate", "date"),
            ("died_at", "deceased.ofType(dateTime)", "dateTime"),
            ("family", "name.where(use = 'official').family.first()", "string"),
            ("given", "name.where(use = 'official').given.join(' ')", "string"),
            ("city", "address.city.first()", "string"),
            (
                "race",
                "extension('http://hl7.org/fhir/us/core/StructureDefinition/us-core-race').extension('text').value.ofType(string)",
                "string",
            ),
        ],
    ),
    (
        "Condition",
        555,
        &[
            ID,
            ("patient_id", "subject.getReferenceKey(Patient)", "id"),
            ("encounter_id", "encounter.getReferenceKey()", "id"),
            CODE,
            ("onset_at", "onset.ofType(dateTime)", "dateTime"),
            ("abated_at", "abatement.ofType(dateTime)", "dateTime"),
            ("active", "clinicalStatus.coding.code.first() = 'active'", "boolean"),
        ],
    ),
    (
        "Encounter",
        1215,
        &[
            ID,
            ("patient_id", "subject.getReferenceKey(Patient)", "id"),
            ("class", "class.code", "code"),
            ("started_at", "period.start", "dateTime"),
            ("ended_at", "period.end", "dateTime"),
        ],
    ),
    (
        "Immunization",
        161,
        &[
            ID,
            PATIENT,
            ("vaccine", "vaccineCode.coding.code.first()", "code"),
            ("occurred_at", "occurrence.ofType(dateTime)", "dateTime"),
            ("primary_source", "primarySource", "boolean"),
        ],
    ),
    (
        "Device",
        16,
        &[ID, PATIENT, ("made_at", "manufactureDate", "dateTime"), ("name", "deviceName.name.first()", "string")],
    ),
    (
        "AllergyIntolerance",
        11,
        &[ID, PATIENT, ("recorded_at", "recordedDate", "dateTime"), ("criticality", "criticality", "code")],
    ),
    ("Location", 44, &[ID, ("name", "name", "string"), ("latitude", "position.latitude", "decimal")]),
    (
        "Organization",
        43,
        &[
            ID,
            ("name", "name", "string"),
            (
                "beds",
                "extension('http://synthetichealth.github.io/synthea/bed-count-extension').value.ofType(integer)",
                "integer",
            ),
        ],
    ),
    (
        "Practitioner",
        43,
        &[ID, ("npi", "identifier.where(system.exists()).value.first()", "string"), ("gender", "gender", "code")],
    ),
];

fn logical(kind: &str) -> &'static str {
    match kind {
        "dateTime" | "instant" => "timestamp",
        "date" => "date",
        "boolean" => "boolean",
        "integer" => "integer",
        "decimal" => "number",
        _ => "string",
    }
}

/// A project with one view and its contract.
fn contract(resource: &str, parts: &Value, columns: &[Column], rules: &[(&str, &str)]) -> Arc<Contract> {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let view = json!({
        "resourceType": "http://hl7.org/fhir/uv/sql-on-fhir/StructureDefinition/ViewDefinition",
        "resource": resource,
        "status": "draft",
        "constant": [{"name": "snomed", "valueUri": "http://snomed.info/sct"}],
        "select": parts,
    });
    write("vitalake.yaml", "name: fhir\n");
    write("views/resources.json", &serde_json::to_string_pretty(&view).unwrap());
    let rule =
        |name| rules.iter().find(|(ruled, _)| *ruled == name).map_or(String::new(), |(_, rule)| format!(", {rule}"));
    let property = |(name, _, kind): &Column| {
        format!(
            "      - {{name: {name}, logicalType: {}{}}}
",
            logical(kind),
            rule(*name)
        )
    };
    write(
        "contracts/raw/resources.yaml",
        &format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: 4b0d3a3e-2a50-4c5e-9a6e-0b2f6d9d4e11\nname: resources\nversion: 1.0.0\n\
             status: active\nschema:\n  - name: resources\n    properties:\n{}\
             customProperties:\n  - {{property: source, value: feed}}\n  - {{property: view, value: resources}}\n",
            columns.iter().map(property).collect::<String>()
        ),
    );
    let (project, found) = Project::load(folder.path());
    assert!(found.is_empty(), "{found:#?}");
    Arc::clone(&project.contracts[0])
}

fn plain(resource: &str, columns: &[Column]) -> Arc<Contract> {
    contract(resource, &json!([{ "column": fields(columns) }]), columns, &[])
}

fn fields(columns: &[Column]) -> Value {
    columns.iter().map(|(name, path, kind)| json!({"name": name, "path": path, "type": kind})).collect()
}

struct Loaded {
    rows: RecordBatch,
    rejects: RecordBatch,
    totals: DeliveryTotals,
}

impl Loaded {
    fn texts(&self, column: &str) -> Vec<Option<&str>> {
        self.rows.column_by_name(column).unwrap().as_string_view().iter().collect()
    }

    fn reasons(&self) -> Vec<&str> {
        self.rejects.column_by_name("_reason").unwrap().as_string_view().iter().map(Option::unwrap).collect()
    }

    fn resources(&self) -> ResourceTotals {
        self.totals.resources.unwrap()
    }
}

fn load(contract: &Arc<Contract>, bytes: &[u8]) -> Result<Loaded, DeliveryError> {
    let mut decoder = decode_delivery(Arc::clone(contract), DeliveryFormat::Ndjson, bytes, 7, 0);
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    for batch in decoder.by_ref() {
        let batch = batch?;
        rows.push(batch.rows);
        rejects.push(batch.rejects);
    }
    Ok(Loaded {
        rows: concat_batches(&contract.table_schema(), &rows).unwrap(),
        rejects: concat_batches(&quarantine_schema(), &rejects).unwrap(),
        totals: decoder.totals(),
    })
}

fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VITALAKE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let found = root.join(path);
    if !found.exists() {
        eprintln!("skipped: {} is not there (set VITALAKE_SHARED to the folder of shared data)", found.display());
        return None;
    }
    Some(found)
}

#[test]
fn a_bulk_export_becomes_a_table_of_each_type_with_its_offsets_kept() {
    let Some(folder) = shared("data/bulk-fhir-13p") else { return };
    for (resource, count, columns) in VIEWS {
        let contract = plain(resource, columns);
        let bytes = std::fs::read(folder.join(format!("{resource}.000.ndjson"))).unwrap();
        let loaded = load(&contract, &bytes).unwrap();
        assert_eq!((loaded.rows.num_rows(), loaded.rejects.num_rows()), (count, 0), "{resource}");
        assert!(loaded.totals.misfits.is_empty(), "{resource}: {:?}", loaded.totals.misfits);
        assert_eq!(loaded.resources(), ResourceTotals { read: count as u64, ..ResourceTotals::default() });
        let lines =
            std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ids: Vec<String> = lines.map(|resource| resource["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(loaded.texts("id"), ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>());
        let offsets = loaded.rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
        assert!(offsets.values().iter().copied().eq(0..count as i64), "{resource}");
        for (name, _, kind) in columns.iter().filter(|(name, ..)| *name != "died_at" && *name != "abated_at") {
            let missing = loaded.rows.column_by_name(name).unwrap().null_count();
            assert!(missing < count, "{resource}.{name} ({kind}) is never there");
        }
    }
}

#[test]
fn a_moment_with_an_offset_is_that_moment() {
    let Some(folder) = shared("data/bulk-fhir-13p") else { return };
    let (resource, _, columns) = VIEWS[2];
    let contract = plain(resource, columns);
    let bytes = std::fs::read(folder.join("Encounter.000.ndjson")).unwrap();
    let loaded = load(&contract, &bytes).unwrap();
    let started = loaded.rows.column_by_name("started_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    for (row, line) in std::str::from_utf8(&bytes).unwrap().lines().enumerate() {
        let resource: Value = serde_json::from_str(line).unwrap();
        let start = resource["period"]["start"].as_str().unwrap();
        assert!(start.ends_with("-04:00") || start.ends_with("-05:00"));
        let moment = chrono::DateTime::parse_from_rfc3339(start).unwrap().timestamp_micros();
        assert_eq!(started.value(row), moment);
        assert_eq!(loaded.texts("class")[row], resource["class"]["code"].as_str());
    }
}

const TWO: [Column; 2] = [("id", "id", "id"), ("born_on", "birthDate", "date")];

#[rstest]
#[case::a_resource("{\"resourceType\":\"Patient\",\"id\":\"a\",\"birthDate\":\"1970-02-01\"}", 1, 0)]
#[case::over_several_lines(
    "{\n  \"resourceType\": \"Patient\",\n  \"id\": \"a\",\n  \"birthDate\": \"1970-02-01\"\n}\n",
    1,
    0
)]
#[case::a_bundle(
    "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[\n\
     {\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"Patient\",\"id\":\"a\",\"birthDate\":\"1970-02-01\"}},\n\
     {\"resource\":{\"resourceType\":\"Device\",\"id\":\"d\"}},\n{\"response\":{\"status\":\"204\"}}]}",
    1,
    1
)]
#[case::an_array(
    "[{\"resourceType\":\"Patient\",\"id\":\"a\",\"birthDate\":\"1970-02-01\"},{\"resourceType\":\"Device\"}]",
    1,
    1
)]
#[case::lines_of_bundles(
    "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"a\",\"birthDate\":\"1970-02-01\"}}]}\n\
     {\"resourceType\":\"Bundle\"}\n",
    1,
    0
)]
fn every_form_of_a_delivery_gives_its_resources(#[case] text: &str, #[case] rows: usize, #[case] others: u64) {
    let loaded = load(&plain("Patient", &TWO), text.as_bytes()).unwrap();
    assert_eq!((loaded.rows.num_rows(), loaded.rejects.num_rows()), (rows, 0));
    assert_eq!(loaded.texts("id"), [Some("a")]);
    let born = loaded.rows.column_by_name("born_on").unwrap().as_primitive::<Date32Type>();
    assert_eq!(born.value(0), 31);
    assert_eq!(loaded.resources().of_another_type, others);
}

#[test]
fn what_is_no_resource_is_in_quarantine_with_its_bytes_and_its_neighbours_are_rows() {
    let bad = [
        "{\"resourceType\":\"Patient\",",
        "{\"id\":\"x\"}",
        "{\"resourceType\":5}",
        "7",
        "[]",
        "\u{1}",
        "{\"resourceType\":\"Patient\",\"resourceType\":\"Patient\"}",
    ];
    let good = "{\"resourceType\":\"Patient\",\"id\":\"a\"}";
    let mut file = String::new();
    bad.iter().for_each(|bad| file += &format!("{good}\n{bad}\n"));
    let loaded = load(&plain("Patient", &TWO), file.as_bytes()).unwrap();
    assert_eq!(loaded.rows.num_rows(), bad.len());
    let raw = loaded.rejects.column_by_name("_raw").unwrap().as_binary_view();
    assert!(raw.iter().map(Option::unwrap).eq(bad.iter().map(|bad| bad.as_bytes())));
    assert!(loaded.reasons().iter().all(|reason| reason.starts_with("not ")), "{:?}", loaded.reasons());
    let rules = loaded.rejects.column_by_name("_rule").unwrap().as_string_view();
    assert!(rules.iter().all(|rule| rule == Some("fhir")));
    let offsets = loaded.rejects.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    assert!(offsets.values().iter().copied().eq((0..bad.len() as i64).map(|n| 2 * n + 1)));
}

#[test]
fn an_entry_that_is_no_resource_is_rejected_with_its_own_bytes() {
    let text = "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"id\": \"b\"}},7,{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"a\"}}]}";
    let loaded = load(&plain("Patient", &TWO), text.as_bytes()).unwrap();
    assert_eq!(loaded.texts("id"), [Some("a")]);
    let raw = loaded.rejects.column_by_name("_raw").unwrap().as_binary_view();
    assert!(raw.iter().map(Option::unwrap).eq([&b"{\"id\": \"b\"}"[..], b"7"]));
}

#[rstest]
#[case::on_one_line("")]
#[case::over_many_lines("\n  ")]
fn a_bundle_that_is_larger_than_a_record_may_be_brings_its_entries_and_what_follows_it_comes_too(#[case] space: &str) {
    let device = format!("{{\"resource\":{{\"resourceType\":\"Device\",\"note\":\"{}\"}}}}", "x".repeat(1 << 20));
    let patient = |id: &str| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}");
    let entry = |id: &str| format!("{{\"fullUrl\":\"u\",\"resource\":{}}}", patient(id));
    let mut entries = vec![entry("a"), "{\"response\":{\"status\":\"204\"}}".to_owned(), "7".to_owned()];
    entries.extend((0..20).map(|_| device.clone()));
    entries.push(entry("b"));
    let entries = entries.join(&format!(",{space}"));
    let small = format!("{{\"resourceType\":\"Bundle\",\"entry\":[{}]}}", entry("d"));
    let file = format!(
        "{{{space}\"resourceType\":\"Bundle\",{space}\"entry\":[{entries}],\"total\":24}}\n{}\n{small}\n",
        patient("c")
    );
    let loaded = load(&plain("Patient", &TWO), file.as_bytes()).unwrap();
    assert_eq!(loaded.texts("id"), ["a", "b", "c", "d"].map(Some));
    assert_eq!(loaded.resources().of_another_type, 20);
    let raw = loaded.rejects.column_by_name("_raw").unwrap().as_binary_view();
    assert!(raw.iter().map(Option::unwrap).eq([&b"7"[..]]));
    let cut = file.len() - small.len() - 100;
    assert!(load(&plain("Patient", &TWO), &file.as_bytes()[..cut]).is_err(), "cut off within it");
}

const NAMES: [Column; 3] = [("id", "id", "id"), ("use", "use", "code"), ("family", "family", "string")];

fn names(rules: &[(&str, &str)]) -> Arc<Contract> {
    let parts = json!([
        {"column": fields(&NAMES[..1])},
        {"forEach": "name", "column": fields(&NAMES[1..])},
    ]);
    contract("Patient", &parts, &NAMES, rules)
}

#[test]
fn a_row_that_breaks_a_rule_is_rejected_alone_and_comes_back_by_a_replay() {
    let text = "{\"resourceType\":\"Patient\",\"id\":\"a\",\"name\":[{\"use\":\"usual\"},{\"use\":\"official\",\"family\":\"F\"}]}";
    let loaded = load(&names(&[("family", "required: true")]), text.as_bytes()).unwrap();
    assert_eq!(loaded.texts("use"), [Some("official")]);
    let raw = loaded.rejects.column_by_name("_raw").unwrap().as_binary_view();
    assert_eq!(raw.value(0), b"{\"id\":\"a\",\"use\":\"usual\"}");
    let again = Redecoder::new(Rules::from(names(&[]))).redecode(&loaded.rejects).unwrap();
    assert_eq!(again.rows.len(), 1);
    assert_eq!(again.rows[0].column_by_name("use").unwrap().as_string_view().value(0), "usual");
}

#[test]
fn a_resource_that_is_rejected_stays_so_in_a_replay() {
    let contract = plain("Patient", &TWO);
    let text = "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n{\"id\":\"b\"}\n";
    let loaded = load(&contract, text.as_bytes()).unwrap();
    let again = Redecoder::new(Rules::from(contract)).redecode(&loaded.rejects).unwrap();
    assert_eq!((again.rows.len(), again.rejects[0].num_rows()), (0, 1));
}

#[test]
fn two_values_where_the_view_has_room_for_one_reject_the_resource_alone() {
    let columns: [Column; 2] = [("id", "id", "id"), ("family", "name.family", "string")];
    let text = "{\"resourceType\":\"Patient\",\"id\":\"a\",\"name\":[{\"family\":\"F\"},{\"family\":\"G\"}]}\n\
                {\"resourceType\":\"Patient\",\"id\":\"b\",\"name\":[{\"family\":\"H\"}]}\n";
    let loaded = load(&plain("Patient", &columns), text.as_bytes()).unwrap();
    assert_eq!(loaded.texts("family"), [Some("H")]);
    assert_eq!(
        loaded.reasons(),
        [
            "the view resources cannot take the resource: column family: the path gives 2 values; say `collection: true`, or take one with first()"
        ]
    );
}

#[test]
fn lists_that_multiply_each_other_are_refused_before_they_fill_memory() {
    let parts =
        json!([{"forEach": "name", "column": fields(&NAMES[..1])}, {"forEach": "name", "column": fields(&NAMES[1..])}]);
    let contract = contract("Patient", &parts, &NAMES, &[]);
    let names: Vec<&str> = vec!["{\"id\":\"x\"}"; 20_000];
    let text = format!("{{\"resourceType\":\"Patient\",\"name\":[{}]}}", names.join(","));
    let loaded = load(&contract, text.as_bytes()).unwrap();
    assert_eq!(loaded.rows.num_rows(), 0);
    assert_eq!(
        loaded.reasons(),
        ["the view resources cannot take the resource: it would become more than 100000 rows"]
    );
}

#[test]
fn a_file_of_another_form_is_refused_with_what_to_do() {
    let contract = plain("Patient", &TWO);
    let mut decoder =
        decode_delivery(Arc::clone(&contract), DeliveryFormat::Csv, &b"id,born_on\na,1970-01-01\n"[..], 1, 0);
    let error = decoder.next().unwrap().unwrap_err();
    assert!(error.to_string().contains("read through the view resources: deliver FHIR resources"), "{error}");
    let error = load(&contract, b"hello\nworld\n").err().unwrap();
    assert!(error.to_string().contains("none of the 2 records"), "{error}");
}

/// FHIR's own invalid resources: what is no profile validator takes them as far as they are JSON with a type, whole, cut
/// short anywhere, and with a byte turned.
#[test]
fn invalid_resources_become_rows_or_rejects_and_nothing_is_lost() {
    let Some(folder) = shared("data/fhir-invalid-cases") else { return };
    let columns: [Column; 3] =
        [("id", "id", "id"), ("born_on", "birthDate", "date"), ("family", "name.family.first()", "string")];
    let contract = plain("Patient", &columns);
    let (mut files, mut patients, mut rows) = (0, 0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        let value: Value = serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)).unwrap();
        let loaded = load(&contract, &bytes).unwrap();
        let here = loaded.rows.num_rows() + loaded.rejects.num_rows();
        let resources = value["entry"]
            .as_array()
            .map_or(vec![&value], |entries| entries.iter().map(|entry| &entry["resource"]).collect());
        let expected = resources.iter().filter(|resource| resource["resourceType"] == "Patient").count();
        assert_eq!(here, expected, "{}", path.display());
        patients += expected;
        rows += loaded.rows.num_rows();
        for at in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let _ = load(&contract, &bytes[..at]);
            let mut turned = bytes.clone();
            turned[at] ^= 0x11;
            let _ = load(&contract, &turned);
        }
    }
    assert_eq!((files, patients, rows), (28, 20, 20));
}

/// What a validator of profiles refuses and a contract can say is refused: an id of the wrong form, an element that must
/// be there. What needs a terminology or a profile is not.
#[rstest]
#[case("patient-id-bad-1", true)]
#[case("patient-id-bad-2", true)]
#[case("patient-id-bad-3", true)]
#[case("patient-ig-bad", true)]
#[case("patient-ig-good", false)]
#[case("obs-quantity", true)]
#[case("obs-hgvs-bad", false)]
#[case("obs-temp-code2", false)]
fn rules_find_what_a_contract_can_say(#[case] name: &str, #[case] refused: bool) {
    let Some(file) = shared(&format!("data/fhir-invalid-cases/{name}.json")) else { return };
    let pattern = ("id", "logicalTypeOptions: {pattern: '^[A-Za-z0-9.-]{1,64}$'}");
    let contract = if name.starts_with("obs") {
        let columns: [Column; 2] = [("id", "id", "id"), ("code", "code.coding.code.first()", "code")];
        contract(
            "Observation",
            &json!([{"column": fields(&columns)}]),
            &columns,
            &[pattern, ("code", "required: true")],
        )
    } else {
        let columns: [Column; 2] = [("id", "id", "id"), ("name", "name.text.first()", "string")];
        contract("Patient", &json!([{"column": fields(&columns)}]), &columns, &[pattern, ("name", "required: true")])
    };
    let loaded = load(&contract, &std::fs::read(file).unwrap()).unwrap();
    assert_eq!((loaded.rows.num_rows(), loaded.rejects.num_rows()), (usize::from(!refused), usize::from(refused)));
}
