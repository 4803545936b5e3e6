//! Contracts drafted from samples: each is valid, and what it was drafted from loads whole under it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use vitalake::command::import::{ImportArgs, SampleForm, run};
use vitalake::command::validate;
use vitalake_contract::Contract;
use vitalake_contract::diagnostic::has_errors;
use vitalake_ingest::decode::{DeliveryFormat, DeliveryTotals, decode_delivery};
use vitalake_runtime::config::Overrides;

/// Shared data; says so and gives nothing where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VITALAKE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let found = root.join(path);
    if !found.exists() {
        eprintln!("skipped: {} is not there (set VITALAKE_SHARED to the folder of shared data)", found.display());
        return None;
    }
    Some(found)
}

/// The files of a folder and those below it that have an ending, in order.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

struct Here {
    folder: TempDir,
}

impl Here {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vitalake.yaml"), "name: drafts\n").unwrap();
        Self { folder }
    }

    fn import(&self, form: SampleForm, file: &Path, dataset: Option<&str>) -> anyhow::Result<()> {
        let out = Some(self.folder.path().to_owned());
        let dataset = dataset.map(ToOwned::to_owned);
        run(&ImportArgs { form, file: file.to_owned(), dataset, resource: None, out }).map(|_| ())
    }

    /// The project's contracts, all of which are valid.
    fn contracts(&self) -> Vec<Arc<Contract>> {
        let checked = validate::check(self.folder.path(), &Overrides::default());
        assert!(!has_errors(&checked.diagnostics), "{:#?}", checked.diagnostics);
        checked.project.contracts
    }

    fn contract(&self, dataset: &str) -> Arc<Contract> {
        self.contracts().into_iter().find(|contract| contract.dataset.as_str() == dataset).unwrap()
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }
}

fn loaded(contract: &Arc<Contract>, format: DeliveryFormat, file: &Path) -> DeliveryTotals {
    let reader = BufReader::new(File::open(file).unwrap());
    let mut decoder = decode_delivery(Arc::clone(contract), format, reader, 1, 0);
    for batch in decoder.by_ref() {
        batch.unwrap();
    }
    decoder.totals()
}

fn name_of(file: &Path) -> String {
    let name = file.file_stem().unwrap().to_string_lossy();
    name.split('.').next().unwrap().to_lowercase()
}

#[test]
fn every_csv_loads_whole_under_the_contract_drafted_from_it() {
    for (folder, count, rows) in
        [("synthea-27", 18, 10_950), ("appointments-medscheduler", 3, 0), ("bigideas-cgm", 10, 0)]
    {
        let Some(folder) = shared(&format!("data/{folder}")) else { return };
        let here = Here::new();
        let files = files(&folder, "csv");
        assert_eq!(files.len(), count);
        files.iter().for_each(|file| here.import(SampleForm::Csv, file, Some(&name_of(file))).unwrap());
        let mut all = 0;
        for file in &files {
            let contract = here.contract(&name_of(file));
            let totals = loaded(&contract, DeliveryFormat::Csv, file);
            assert_eq!((totals.rows, totals.rejects), (totals.records, 0), "{}", file.display());
            assert!(totals.misfits.is_empty() && totals.unnamed.is_empty(), "{}: {totals:?}", file.display());
            all += totals.rows;
        }
        assert!(rows == 0 || rows == all, "{all}");
    }
}

#[test]
fn every_avro_schema_becomes_a_valid_contract() {
    let Some(folder) = shared("data/radar-avro") else { return };
    let here = Here::new();
    let files = files(&folder, "avsc");
    assert_eq!(files.len(), 121);
    let mut drafted = 0;
    for file in &files {
        let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let taken = here.import(SampleForm::Avro, file, Some(&name_of(file)));
        // An enum by itself is no record, and no dataset.
        assert_eq!(taken.is_ok(), schema["type"] == "record", "{}: {taken:?}", file.display());
        drafted += usize::from(taken.is_ok());
    }
    assert_eq!(here.contracts().len(), drafted);
    let questions = here.text("contracts/raw/questionnaire.yaml");
    assert!(
        questions.contains("      - name: answers\n        logicalType: array\n        required: true\n"),
        "{questions}"
    );
    assert!(questions.contains("      - name: time_notification\n        logicalType: number\n        description:"));
}

#[test]
fn an_avro_file_of_every_codec_gives_the_types_of_its_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/avro");
    let here = Here::new();
    let codecs = files(&folder, "avro");
    assert_eq!(codecs.len(), 4);
    for file in &codecs {
        here.import(SampleForm::Avro, file, Some(&name_of(file))).unwrap();
    }
    assert_eq!(here.contracts().len(), 4);
    let draft = here.text("contracts/raw/visits_zstandard.yaml");
    for (column, wanted) in [
        ("visit_id", "string\n        required: true\n        description: \"The visit's id\"\n"),
        ("day", "date # days"),
        ("at", "timestamp # a number"),
        ("seen_at", "timestamp # a number in Avro's own form, written as RFC 3339 in JSON\n        customProperties"),
        ("clock_time", "timestamp # a local time"),
        ("opens", "time # a number"),
        ("fee", "string # a decimal"),
        ("paid", "string # a decimal"),
        ("state", "string # an enum"),
        (
            "state_before",
            "string # an enum: add `invalidValues` where other symbols must not come\n        customProperties",
        ),
        ("refund", "string # a decimal"),
        ("codes", "array\n        required: true\n"),
        ("beds", "array\n        required: true\n"),
        ("bed_ward", "string\n        required: true\n"),
        ("last_bed_ward", "string\n        customProperties"),
        ("notes", "object\n        required: true\n"),
        ("patient_given", "string\n        required: true\n"),
        ("patient_mother", "object\n        customProperties"),
        ("patient_weight", "number # whole numbers too\n        customProperties"),
        ("patient_answer", "string # several types"),
        ("urgent", "boolean\n"),
        ("score", "number\n        required: true\n"),
        ("signature", "string # bytes"),
        ("claimed", "string\n        required: true\n"),
    ] {
        let line = format!("      - name: {column}\n        logicalType: {wanted}");
        assert!(draft.contains(&line), "{line}\n{draft}");
    }
    let whole = std::fs::read(&codecs[0]).unwrap();
    let cut = here.folder.path().join("cut.avro");
    for bytes in [&whole[..300], &whole[..5], &whole[..4]] {
        std::fs::write(&cut, bytes).unwrap();
        let refused = here.import(SampleForm::Avro, &cut, None).unwrap_err().to_string();
        assert!(refused.contains("cut.avro has a header that is cut off, or holds no schema"), "{refused}");
    }
}

#[test]
fn every_type_of_a_bulk_export_loads_whole_under_the_view_drafted_from_it() {
    let Some(folder) = shared("data/bulk-fhir-13p") else { return };
    let here = Here::new();
    let files: Vec<PathBuf> = files(&folder, "ndjson").into_iter().filter(|file| name_of(file) != "log").collect();
    assert_eq!(files.len(), 9);
    for file in &files {
        here.import(SampleForm::Fhir, file, Some(&name_of(file))).unwrap();
        let contract = here.contract(&name_of(file));
        let totals = loaded(&contract, DeliveryFormat::Ndjson, file);
        let lines = std::fs::read_to_string(file).unwrap().lines().count() as u64;
        assert_eq!((totals.rows, totals.rejects), (lines, 0), "{}", file.display());
        assert!(totals.misfits.is_empty(), "{}: {:?}", file.display(), totals.misfits);
    }
    let view: serde_json::Value = serde_json::from_str(&here.text("views/condition.json")).unwrap();
    let paths: Vec<&str> =
        view["select"][0]["column"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap()).collect();
    for path in ["getResourceKey()", "subject.getReferenceKey()", "code.coding.code.first()", "onset.ofType(dateTime)"]
    {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
}

#[test]
fn no_value_of_a_record_comes_into_a_draft() {
    let here = Here::new();
    let path = |name: &str| here.folder.path().join(name);
    let resource = r#"{"resourceType":"Patient","id":"secretid","name":[{"family":"Secretname"}],"birthDate":"1970-01-02","extension":[{"url":"http://secret"}]}"#;
    std::fs::write(path("a.ndjson"), resource).unwrap();
    std::fs::write(path("b.csv"), "who,when\nsecretname,1970-01-02\nsecretname,1970-01-02\n").unwrap();
    here.import(SampleForm::Fhir, &path("a.ndjson"), Some("a")).unwrap();
    here.import(SampleForm::Csv, &path("b.csv"), Some("b")).unwrap();
    for file in ["contracts/raw/a.yaml", "views/a.json", "contracts/raw/b.yaml"] {
        let text = here.text(file).to_lowercase();
        assert!(!text.contains("secret") && !text.contains("1970"), "{file}: {text}");
    }
}

#[test]
fn a_parquet_file_says_its_types_and_what_is_never_null() {
    let here = Here::new();
    let file = here.folder.path().join("visits.parquet");
    let within: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("visitId", Arc::new(StringArray::from(vec!["1", "2"]))),
        ("count", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("cost", Arc::new(Decimal128Array::from(vec![125, 250]).with_precision_and_scale(10, 2).unwrap())),
        ("day", Arc::new(Date32Array::from(vec![1, 2]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC"))),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![1, 2]))),
        ("open", Arc::new(BooleanArray::from(vec![true, false]))),
        ("place", Arc::new(StructArray::from(vec![(Arc::new(Field::new("ward", DataType::Utf8, true)), within)]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(&file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    here.import(SampleForm::Parquet, &file, None).unwrap();
    let contract = here.contract("visits");
    let names: Vec<(&str, bool)> = contract.columns.iter().map(|column| (&*column.name, column.required)).collect();
    assert_eq!(
        names,
        [
            ("visit_id", true),
            ("count", false),
            ("cost", true),
            ("day", true),
            ("at", true),
            ("local", true),
            ("open", true),
            ("place_ward", false)
        ]
    );
    let totals = loaded(&contract, DeliveryFormat::Parquet, &file);
    assert_eq!((totals.rows, totals.rejects), (2, 0));
    assert!(totals.misfits.is_empty() && totals.unnamed.is_empty(), "{totals:?}");
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let here = Here::new();
    let sample = here.folder.path().join("b.csv");
    std::fs::write(&sample, "who\na\n").unwrap();
    here.import(SampleForm::Csv, &sample, None).unwrap();
    let before = here.text("contracts/raw/b.yaml");
    let error = here.import(SampleForm::Csv, &sample, None).unwrap_err();
    assert!(error.to_string().contains("is there already, and nothing was written"), "{error}");
    assert_eq!(here.text("contracts/raw/b.yaml"), before);
}

#[test]
fn what_gives_no_contract_is_said() {
    let here = Here::new();
    let path = here.folder.path().join("x");
    for (form, bytes) in [
        (SampleForm::Fhir, &b"{\"a\":1}\n"[..]),
        (SampleForm::Fhir, b"hello"),
        (SampleForm::Avro, b"Obj\x01\x02"),
        (SampleForm::Avro, b"{\"type\":\"enum\",\"name\":\"a\",\"symbols\":[]}"),
        (SampleForm::Avro, b"\xff\xff"),
        (SampleForm::Parquet, b"PAR1PAR1"),
        (SampleForm::Csv, b""),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert!(here.import(form, &path, Some("x")).is_err(), "{form:?}");
    }
    assert!(here.import(SampleForm::Csv, Path::new("/nowhere"), None).is_err());
}
