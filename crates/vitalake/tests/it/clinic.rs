//! A clinic's operational systems as daily deliveries: every CSV of a Synthea export under contracts of its own, and food
//! logs of which one day is not a day.
//!
//! Rows come by the day of their patient, so that what refers to an encounter comes with it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::import::shared;
use crate::rehearsal::server::{Place, Server};

const DAYS: usize = 3;

/// A table: its name, what its rows are told apart by for a day (none: each day brings all of it), its rows, and its
/// columns as `NAME:type`, with `!` where it is required and `>dataset` where it is the id of another's row.
type Table = (&'static str, Option<&'static str>, i64, &'static str);

const TABLES: [Table; 18] = [
    (
        "organizations",
        None,
        63,
        "Id:string! NAME:string! ADDRESS:string! CITY:string! STATE:string! ZIP:string! LAT:number LON:number PHONE:string REVENUE:number UTILIZATION:integer",
    ),
    (
        "payers",
        None,
        10,
        "Id:string! NAME:string! ADDRESS:string CITY:string STATE_HEADQUARTERED:string ZIP:string PHONE:string AMOUNT_COVERED:number! AMOUNT_UNCOVERED:number! REVENUE:number COVERED_ENCOUNTERS:integer UNCOVERED_ENCOUNTERS:integer COVERED_MEDICATIONS:integer UNCOVERED_MEDICATIONS:integer COVERED_PROCEDURES:integer UNCOVERED_PROCEDURES:integer COVERED_IMMUNIZATIONS:integer UNCOVERED_IMMUNIZATIONS:integer UNIQUE_CUSTOMERS:integer QOLS_AVG:string MEMBER_MONTHS:integer",
    ),
    (
        "providers",
        None,
        166,
        "Id:string! ORGANIZATION:string!>organizations NAME:string! GENDER:string! SPECIALITY:string! ADDRESS:string CITY:string STATE:string ZIP:string LAT:number LON:number UTILIZATION:integer",
    ),
    (
        "patients",
        Some("Id"),
        27,
        "Id:string! BIRTHDATE:date! DEATHDATE:date SSN:string! DRIVERS:string PASSPORT:string PREFIX:string FIRST:string! LAST:string! SUFFIX:string MAIDEN:string MARITAL:string RACE:string! ETHNICITY:string! GENDER:string! BIRTHPLACE:string ADDRESS:string CITY:string STATE:string COUNTY:string ZIP:string LAT:number LON:number HEALTHCARE_EXPENSES:number HEALTHCARE_COVERAGE:number",
    ),
    (
        "encounters",
        Some("PATIENT"),
        604,
        "Id:string! START:timestamp! STOP:timestamp! PATIENT:string!>patients ORGANIZATION:string!>organizations PROVIDER:string!>providers PAYER:string!>payers ENCOUNTERCLASS:string! CODE:string! DESCRIPTION:string! BASE_ENCOUNTER_COST:number! TOTAL_CLAIM_COST:number! PAYER_COVERAGE:number! REASONCODE:string REASONDESCRIPTION:string",
    ),
    (
        "allergies",
        Some("PATIENT"),
        40,
        "START:date! STOP:date PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! SYSTEM:string! DESCRIPTION:string! TYPE:string! CATEGORY:string! REACTION1:string DESCRIPTION1:string SEVERITY1:string REACTION2:string DESCRIPTION2:string SEVERITY2:string",
    ),
    (
        "careplans",
        Some("PATIENT"),
        49,
        "Id:string! START:date! STOP:date PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string! REASONCODE:string REASONDESCRIPTION:string",
    ),
    (
        "claims",
        Some("PATIENTID"),
        1267,
        "Id:string! PATIENTID:string!>patients PROVIDERID:string!>providers PRIMARYPATIENTINSURANCEID:string! SECONDARYPATIENTINSURANCEID:string! DEPARTMENTID:string! PATIENTDEPARTMENTID:string! DIAGNOSIS1:string! DIAGNOSIS2:string DIAGNOSIS3:string DIAGNOSIS4:string DIAGNOSIS5:string DIAGNOSIS6:string DIAGNOSIS7:string DIAGNOSIS8:string REFERRINGPROVIDERID:string APPOINTMENTID:string!>encounters CURRENTILLNESSDATE:timestamp! SERVICEDATE:timestamp! SUPERVISINGPROVIDERID:string! STATUS1:string! STATUS2:string STATUSP:string! OUTSTANDING1:number! OUTSTANDING2:number OUTSTANDINGP:number! LASTBILLEDDATE1:timestamp! LASTBILLEDDATE2:timestamp LASTBILLEDDATEP:timestamp! HEALTHCARECLAIMTYPEID1:string! HEALTHCARECLAIMTYPEID2:string!",
    ),
    (
        "claims_transactions",
        Some("PATIENTID"),
        5228,
        "ID:string! CLAIMID:string!>claims CHARGEID:integer! PATIENTID:string!>patients TYPE:string! AMOUNT:number METHOD:string FROMDATE:timestamp! TODATE:timestamp! PLACEOFSERVICE:string! PROCEDURECODE:string! MODIFIER1:string MODIFIER2:string DIAGNOSISREF1:integer! DIAGNOSISREF2:integer DIAGNOSISREF3:integer DIAGNOSISREF4:integer UNITS:integer! DEPARTMENTID:string! NOTES:string! UNITAMOUNT:number TRANSFEROUTID:string TRANSFERTYPE:string PAYMENTS:number ADJUSTMENTS:number TRANSFERS:number OUTSTANDING:number APPOINTMENTID:string!>encounters LINENOTE:string PATIENTINSURANCEID:string FEESCHEDULEID:string! PROVIDERID:string!>providers SUPERVISINGPROVIDERID:string!",
    ),
    (
        "conditions",
        Some("PATIENT"),
        438,
        "START:date! STOP:date PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string!",
    ),
    (
        "devices",
        Some("PATIENT"),
        3,
        "START:timestamp! STOP:timestamp PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string! UDI:string!",
    ),
    (
        "imaging_studies",
        Some("PATIENT"),
        1,
        "Id:string! DATE:timestamp! PATIENT:string!>patients ENCOUNTER:string!>encounters SERIES_UID:string! BODYSITE_CODE:string! BODYSITE_DESCRIPTION:string! MODALITY_CODE:string! MODALITY_DESCRIPTION:string! INSTANCE_UID:string! SOP_CODE:string! SOP_DESCRIPTION:string! PROCEDURE_CODE:string!",
    ),
    (
        "immunizations",
        Some("PATIENT"),
        29,
        "DATE:timestamp! PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string! BASE_COST:number!",
    ),
    (
        "medications",
        Some("PATIENT"),
        663,
        "START:timestamp! STOP:timestamp PATIENT:string!>patients PAYER:string!>payers ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string! BASE_COST:number! PAYER_COVERAGE:number! DISPENSES:integer! TOTALCOST:number! REASONCODE:string REASONDESCRIPTION:string",
    ),
    (
        "observations",
        Some("PATIENT"),
        990,
        "DATE:timestamp! PATIENT:string!>patients ENCOUNTER:string>encounters CATEGORY:string CODE:string! DESCRIPTION:string! VALUE:string! UNITS:string TYPE:string!",
    ),
    (
        "payer_transitions",
        Some("PATIENT"),
        1051,
        "PATIENT:string!>patients MEMBERID:string START_YEAR:timestamp! END_YEAR:timestamp! PAYER:string!>payers SECONDARY_PAYER:string OWNERSHIP:string OWNERNAME:string",
    ),
    (
        "procedures",
        Some("PATIENT"),
        249,
        "START:timestamp! STOP:timestamp! PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string! BASE_COST:number! REASONCODE:string REASONDESCRIPTION:string",
    ),
    (
        "supplies",
        Some("PATIENT"),
        72,
        "DATE:date! PATIENT:string!>patients ENCOUNTER:string!>encounters CODE:string! DESCRIPTION:string! QUANTITY:integer!",
    ),
];

/// The rule that says which observations belong to no encounter that is known: a warning, for they are kept.
const OBSERVED_ALONE: &str = "    quality:
      - name: has_encounter
        type: sql
        query: SELECT COUNT(*) FROM {object} AS seen LEFT ANTI JOIN raw.encounters AS visit ON seen.encounter = visit.id
        mustBe: 0
        severity: warning
";

fn contract(name: &str, number: usize, columns: &str, delivery: &str, quality: &str) -> String {
    let mut properties = String::new();
    for column in columns.split_whitespace() {
        let (path, rest) = column.split_once(':').unwrap();
        let (kind, target) = rest.split_once('>').map_or((rest, None), |(kind, target)| (kind, Some(target)));
        let (kind, required) = kind.strip_suffix('!').map_or((kind, false), |kind| (kind, true));
        properties += &format!(
            "      - name: {}\n        logicalType: {kind}\n        required: {required}\n        customProperties: [{{property: path, value: $.{path}}}]\n",
            path.to_lowercase()
        );
        if let Some(target) = target {
            let severity = "customProperties: [{property: severity, value: warning}]";
            properties += &format!("        relationships: [{{to: {target}.id, {severity}}}]\n");
        }
    }
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-{number:012}\nname: {name}\nversion: 1.0.0\n\
         status: active\nschema:\n  - name: {name}\n    properties:\n{properties}{quality}customProperties:\n\
         \x20 - {{property: source, value: feed}}\n  - {{property: delivery, value: {delivery}}}\n"
    )
}

/// A server on a project of contracts.
struct Clinic {
    _folder: TempDir,
    place: Place,
    server: Server,
}

impl Clinic {
    fn new(contracts: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(folder, contracts)
    }

    fn in_folder(folder: TempDir, contracts: &[(&str, String)]) -> Self {
        let project = folder.path().join("project");
        std::fs::create_dir_all(project.join("contracts/raw")).unwrap();
        std::fs::write(project.join("vitalake.yaml"), "name: clinic\nstorage:\n  reserve_bytes: 0\n").unwrap();
        for (name, text) in contracts {
            std::fs::write(project.join(format!("contracts/raw/{name}.yaml")), text).unwrap();
        }
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let server = place.start().ready();
        Self { _folder: folder, place, server }
    }

    fn deliver(&self, dataset: &str, day: usize, text: &str) -> Value {
        self.send(dataset, &format!("name={dataset}.csv&business_date=2026-03-{:02}", day + 1), text)
    }

    fn send(&self, dataset: &str, query: &str, text: &str) -> Value {
        let address = format!("http://{}/api/v1/deliveries/{dataset}?{query}", self.place.http);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.post(address).send(text.as_bytes()).unwrap();
        let report: Value = answer.body_mut().read_json().unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{dataset}: {report}");
        report
    }

    fn count(&self, sql: &str) -> i64 {
        self.place.numbers(sql)[0]
    }
}

/// A CSV whose cells have no commas and no quotes, as these have.
fn read(path: &Path) -> (String, Vec<Vec<String>>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap().trim_start_matches('\u{feff}').to_owned();
    let rows: Vec<Vec<String>> = lines.map(|line| line.split(',').map(ToOwned::to_owned).collect()).collect();
    let width = header.split(',').count();
    assert!(rows.iter().all(|row| row.len() == width), "{}", path.display());
    (header, rows)
}

fn file(header: &str, rows: &[Vec<String>]) -> String {
    let lines = rows.iter().map(|row| row.join(",") + "\n");
    format!("{header}\n{}", lines.collect::<String>())
}

#[test]
fn every_table_of_a_clinic_arrives_day_by_day_and_whole() {
    let Some(folder) = shared("data/synthea-27") else { return };
    let contracts: Vec<(&str, String)> = TABLES
        .iter()
        .enumerate()
        .map(|(number, (name, by, _, columns))| {
            let quality = if *name == "observations" { OBSERVED_ALONE } else { "" };
            (*name, contract(name, number, columns, if by.is_none() { "replace" } else { "append" }, quality))
        })
        .collect();
    let clinic = Clinic::new(&contracts);
    let (_, patients) = read(&folder.join("patients.csv"));
    let day_of: BTreeMap<&str, usize> =
        patients.iter().enumerate().map(|(at, row)| (row[0].as_str(), at % DAYS)).collect();
    let mut alone = 0.0;
    for day in 0..DAYS {
        for (name, by, _, _) in TABLES {
            let (header, rows) = read(&folder.join(format!("{name}.csv")));
            let rows = match by {
                None => rows,
                Some(by) => {
                    let at = header.split(',').position(|column| column == by).unwrap();
                    rows.into_iter().filter(|row| day_of[row[at].as_str()] == day).collect()
                }
            };
            if rows.is_empty() {
                continue;
            }
            let text = file(&header, &rows);
            let report = clinic.deliver(name, day, &text);
            assert_eq!(report["accepted"], rows.len(), "{name} on day {day}: {report}");
            assert_eq!(report["quarantined"], 0, "{name} on day {day}: {report}");
            assert_eq!(report["did_not_fit"], Value::Array(Vec::new()), "{name} on day {day}");
            for found in report["not_kept"].as_array().unwrap() {
                assert_eq!(
                    (name, &found["rule"], &found["severity"]),
                    ("observations", &"has_encounter".into(), &"warning".into()),
                    "{found}"
                );
                alone += found["got"].as_str().unwrap().parse::<f64>().unwrap();
            }
            let again = clinic.deliver(name, day, &text);
            assert_eq!(again["delivery"], report["delivery"], "{name} on day {day}: {again}");
        }
    }
    assert!((alone - 75.0).abs() < 0.1, "{alone}");
    for (name, _, rows, _) in TABLES {
        assert_eq!(clinic.count(&format!("SELECT COUNT(*) FROM raw.{name}")), rows, "{name}");
    }
    assert_eq!(clinic.count("SELECT COUNT(*) FROM raw.observations WHERE encounter IS NULL"), 75);
    let spent = "SELECT CAST(ROUND(SUM(total_claim_cost) * 100) AS BIGINT) FROM raw.encounters";
    let (_, encounters) = read(&folder.join("encounters.csv"));
    let cents: f64 = encounters.iter().map(|row| row[11].parse::<f64>().unwrap() * 100.0).sum();
    assert_eq!(clinic.count(spent), cents.round() as i64);
    clinic.server.stop();
}

#[test]
fn a_day_that_is_no_day_is_quarantined_and_the_other_meals_are_kept() {
    let Some(folder) = shared("data/bigideas-cgm") else { return };
    let columns = "date:date! time_begin:string logged_food:string! amount:number unit:string searched_food:string calorie:number \
                   total_carb:number dietary_fiber:number sugar:number protein:number total_fat:number time:string time_end:string";
    let clinic = Clinic::new(&[("meals", contract("meals", 1, columns, "append", ""))]);
    let (mut accepted, mut quarantined) = (0, 0);
    for (day, wearer) in ["001", "002", "004", "005", "006"].into_iter().enumerate() {
        let text = std::fs::read_to_string(folder.join(format!("Food_Log_{wearer}.csv"))).unwrap();
        let report = clinic.deliver("meals", day, &text);
        accepted += report["accepted"].as_i64().unwrap();
        quarantined += report["quarantined"].as_i64().unwrap();
    }
    assert_eq!((accepted, quarantined), (349, 1));
    assert_eq!(clinic.count("SELECT COUNT(*) FROM raw.meals"), 349);
    assert_eq!(clinic.count("SELECT COUNT(*) FROM quarantine.meals WHERE _rule = 'date.required'"), 1);
    clinic.server.stop();
}

#[test]
fn one_bundle_of_everything_fills_the_table_of_each_type() {
    let Some(source) = shared("data/bulk-fhir-13p") else { return };
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let mut entries = Vec::new();
    let types = [("patients", "Patient", 13), ("devices", "Device", 16), ("immunizations", "Immunization", 161)];
    for (dataset, kind, _) in types {
        let file = source.join(format!("{kind}.000.ndjson"));
        let drafted = std::process::Command::new(crate::binary())
            .args(["contract", "import", "fhir", "--dataset", dataset, "--out"])
            .args([&project, &file])
            .output()
            .unwrap();
        assert!(drafted.status.success(), "{}", String::from_utf8_lossy(&drafted.stderr));
        let text = std::fs::read_to_string(file).unwrap();
        entries.extend(text.lines().map(|line| format!("{{\"resource\":{line}}}")));
    }
    let bundle = format!("{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{}]}}", entries.join(",\n"));
    let clinic = Clinic::in_folder(folder, &[]);
    for (dataset, _, count) in types {
        let report = clinic.send(dataset, "name=all.json", &bundle);
        assert_eq!((report["accepted"].as_i64(), report["quarantined"].as_i64()), (Some(count), Some(0)), "{report}");
        assert_eq!(report["resources"]["read"], 190, "{report}");
        assert_eq!(report["resources"]["of_another_type"], 190 - count, "{report}");
        assert_eq!(clinic.count(&format!("SELECT COUNT(DISTINCT id) FROM raw.{dataset}")), count);
    }
    let of_a_patient = "SELECT COUNT(*) FROM raw.immunizations AS i JOIN raw.patients AS p ON i.patient_id = p.id";
    assert_eq!(clinic.count(of_a_patient), 161);
    clinic.server.stop();
}
