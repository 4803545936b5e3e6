//! What clients see through a policy: every shape of query over a guarded table answers as over a copy in which the
//! values are masked and the rows are gone, errors and all.
//!
//! The copy is written by hand here, so that masks and filters are not their own oracle. Rows lie in a committed file and
//! in the tail.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use object_store::memory::InMemory;
use vitalake_contract::access::{Classification, Comparison, Constant, Mask, Predicate, Reader};
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer};
use vitalake_lake::{Lake, LakeOptions, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Access as Settings, Role};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::Events;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::identity::Identity;
use vitalake_serve::pinned::{Pinned, PinnedLake, Tables};
use vitalake_serve::platform::Datasets;
use vitalake_serve::policy::Access;
use vitalake_serve::session::{QueryOptions, Session, Sessions};

/// Somebody as the table has him.
struct Person {
    id: &'static str,
    name: Option<&'static str>,
    zip: Option<&'static str>,
    born: Option<i32>,
    weight: Option<f64>,
    ward: Option<&'static str>,
    consent: Option<bool>,
    visits: i64,
    seen: i64,
}

const fn person(
    id: &'static str,
    (name, zip): (Option<&'static str>, Option<&'static str>),
    (born, weight): (Option<i32>, Option<f64>),
    (ward, consent): (Option<&'static str>, Option<bool>),
    (visits, seen): (i64, i64),
) -> Person {
    Person { id, name, zip, born, weight, ward, consent, visits, seen }
}

const HOUR: i64 = 3_600_000_000;

/// Rows that are committed, and rows of the tail. Visits are 0 in rows that are filtered, where a division by them fails;
/// names of such rows are no numbers.
fn people() -> [Vec<Person>; 2] {
    let north = Some("north");
    [
        vec![
            person("mrn-7001", (Some("41"), Some("94110")), (Some(10_000), Some(71.2)), (north, Some(true)), (3, HOUR)),
            person("mrn-7002", (Some("17"), Some("03601")), (Some(-400), None), (north, Some(true)), (1, 2 * HOUR)),
            person(
                "mrn-7003",
                (Some("Zebulon"), Some("10001")),
                (Some(3), Some(99.9)),
                (north, Some(false)),
                (0, 3 * HOUR),
            ),
            person(
                "mrn-7004",
                (Some("Xanthippe"), None),
                (None, Some(55.5)),
                (Some("south"), Some(true)),
                (0, 4 * HOUR),
            ),
        ],
        vec![
            person("mrn-7005", (None, None), (None, Some(-3.0)), (north, Some(true)), (2, 5 * HOUR)),
            person(
                "mrn-7006",
                (Some("Quirinius"), Some("99999")),
                (Some(20_000), Some(1e300)),
                (None, Some(true)),
                (0, 6 * HOUR),
            ),
            person("mrn-7007", (Some("Ydalir"), Some("77777")), (Some(1), Some(0.0)), (north, None), (0, 7 * HOUR)),
            person(
                "mrn-7008",
                (Some("23"), Some("SW1A")),
                (Some(19_999), Some(80.0)),
                (north, Some(true)),
                (5, 8 * HOUR),
            ),
        ],
    ]
}

/// Values that no client with a policy may learn, wherever they stand.
pub const SECRETS: [&str; 10] =
    ["mrn-7", "Zebulon", "Xanthippe", "Quirinius", "Ydalir", "94110", "03601", "99999", "SW1A", "71.2"];

fn contract() -> Arc<Contract> {
    let column = |name: &str, kind: ColumnType, class: Classification, mask: Option<Mask>| Column {
        classification: Some(class),
        mask,
        ..Column::new(name, kind)
    };
    let (restricted, internal) = (Classification::Restricted, Classification::Internal);
    let consenting = Predicate::IsTrue(6);
    let north = Predicate::Compare(5, Comparison::Equal, Constant::Text("north".into()));
    Arc::new(Contract {
        columns: vec![
            column("id", ColumnType::String, restricted, None),
            column("name", ColumnType::String, restricted, Some(Mask::Redact)),
            column("zip", ColumnType::String, restricted, Some(Mask::FirstThree)),
            column("born", ColumnType::Date(None), restricted, Some(Mask::Year)),
            column("weight", ColumnType::Double, restricted, Some(Mask::Bucket(10.0))),
            column("ward", ColumnType::String, internal, None),
            column("consent", ColumnType::Boolean, internal, None),
            column("visits", ColumnType::Long, internal, None),
            column("seen", ColumnType::Timestamp(None), internal, None),
        ],
        readers: vec![
            Reader { role: "steward".to_owned(), rows: None, written: None },
            Reader { role: "analyst".to_owned(), rows: Some(Predicate::All(vec![consenting, north])), written: None },
        ],
        time_column: Some(8),
        ..Contract::new(DatasetName::new("people").unwrap(), Layer::Curated)
    })
}

fn batch(people: &[Person]) -> RecordBatch {
    let texts = |of: fn(&Person) -> Option<&'static str>| Arc::new(people.iter().map(of).collect::<StringViewArray>());
    let columns: Vec<ArrayRef> = vec![
        texts(|p| Some(p.id)),
        texts(|p| p.name),
        texts(|p| p.zip),
        Arc::new(people.iter().map(|p| p.born).collect::<Date32Array>()),
        Arc::new(people.iter().map(|p| p.weight).collect::<Float64Array>()),
        texts(|p| p.ward),
        Arc::new(people.iter().map(|p| p.consent).collect::<BooleanArray>()),
        Arc::new(people.iter().map(|p| p.visits).collect::<Int64Array>()),
        Arc::new(people.iter().map(|p| Some(p.seen)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
    ];
    RecordBatch::try_new(contract().schema(), columns).unwrap()
}

/// The copy that an analyst may have: masked and filtered by hand.
fn copy() -> RecordBatch {
    let born = |year: i32| {
        Some((chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap() - chrono::NaiveDate::default()).num_days() as i32)
    };
    let person = |name: Option<&'static str>, zip, born, weight, (visits, seen)| {
        person("", (name, zip), (born, weight), (Some("north"), Some(true)), (visits, seen))
    };
    let seen = [
        person(Some("***"), Some("941"), born(1997), Some(70.0), (3, HOUR)),
        person(Some("***"), Some("000"), born(1968), None, (1, 2 * HOUR)),
        person(None, None, None, Some(-10.0), (2, 5 * HOUR)),
        person(Some("***"), Some("000"), born(2024), Some(80.0), (5, 8 * HOUR)),
    ];
    let all = batch(&seen);
    let schema = Arc::new(Schema::new(all.schema().fields().iter().skip(1).cloned().collect::<Vec<_>>()));
    RecordBatch::try_new(schema, all.columns().iter().skip(1).cloned().collect()).unwrap()
}

pub struct Whole(pub Lake);

impl Datasets for Whole {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        Ok(Arc::new(PinnedLake::of(&self.0, Arc::default())))
    }
}

#[derive(Debug)]
pub struct Copy(pub Tables);

impl Pinned for Copy {
    fn table_names(&self) -> Vec<(String, String)> {
        self.0.table_names()
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn datafusion::catalog::TableProvider>> {
        self.0.provider(schema, table)
    }

    fn time_column(&self, _: &str, _: &str) -> Option<String> {
        Some("seen".to_owned())
    }
}

pub struct Fixed(pub Arc<Copy>);

impl Datasets for Fixed {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        Ok(Arc::clone(&self.0) as _)
    }
}

pub struct Both {
    pub guarded: Sessions,
    pub copied: Sessions,
}

pub async fn both(cpu: &Cpu) -> Both {
    let specs = vec![TableSpec::of(contract())];
    let lake = Lake::open(Arc::new(InMemory::new()), specs, LakeOptions::default(), Clock::system(), cpu.clone());
    let lake = lake.await.unwrap();
    let table = Arc::clone(lake.table(&DatasetName::new("people").unwrap()).unwrap());
    let [committed, tail] = people();
    table.append(vec![batch(&committed)], vec![], [(TxnId::parse("app"), 1)]).unwrap();
    table.flush().await.unwrap();
    table.append(vec![batch(&tail)], vec![], [(TxnId::parse("app"), 2)]).unwrap();

    let role = |clearance: &str| Role { clearance: clearance.to_owned(), ..Role::default() };
    let mut settings = Settings::default();
    settings.roles.insert("steward".to_owned(), role("restricted"));
    settings.roles.insert("analyst".to_owned(), role("internal"));
    settings.roles.insert("outsider".to_owned(), role("restricted"));
    let contract = contract();
    let access = Arc::new(Access::new(&settings, [contract.as_ref()]).unwrap());
    let engine = || Arc::new(QueryEngine::new(QueryLimits::default(), cpu.handle().clone()).unwrap());
    let sessions =
        |datasets: Arc<dyn Datasets>| Sessions::new(engine(), datasets, Arc::new(DruidSql), Events::unread());
    let copy = copy();
    let schema: SchemaRef = copy.schema();
    let copy = MemTable::try_new(schema, vec![vec![copy]]).unwrap();
    let copy = Arc::new(Copy(Tables::default().with("curated", "people", Arc::new(copy))));
    Both { guarded: sessions(Arc::new(Whole(lake))).with_access(access), copied: sessions(Arc::new(Fixed(copy))) }
}

fn client(role: &str) -> Identity {
    Identity::client("somebody", [role.to_owned()])
}

/// The rows in an order of their own, or the error's text.
pub async fn answer(session: &Session, sql: &str) -> Result<String, String> {
    let ran = session.query(sql.to_owned(), vec![], QueryOptions::default()).await;
    let mut answer = ran.map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    while let Some(batch) = answer.next().await.map_err(|error| error.to_string())? {
        batches.push(batch);
    }
    let shown = pretty_format_batches(&batches).unwrap().to_string();
    if sql.contains(" LIMIT ") {
        return Ok(shown);
    }
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

/// Shapes of queries over `$`, one of the columns, where what is asked of it can tell of its values.
pub const SHAPES: [&str; 31] = [
    "SELECT $ FROM curated.people",
    "SELECT $ FROM curated.people ORDER BY $ NULLS FIRST, seen LIMIT 2",
    "SELECT $, seen FROM curated.people ORDER BY $ DESC, seen DESC LIMIT 3",
    "SELECT COUNT(*) FROM curated.people WHERE $ IS NULL",
    "SELECT COUNT(*) FROM curated.people WHERE $ IS NOT NULL OR visits > 100",
    "SELECT COUNT($), COUNT(DISTINCT $) FROM curated.people",
    "SELECT MIN($), MAX($) FROM curated.people",
    "SELECT $, COUNT(*) FROM curated.people GROUP BY $",
    "SELECT $ FROM curated.people GROUP BY $ HAVING COUNT(*) > 1",
    "SELECT DISTINCT $ FROM curated.people",
    "SELECT a.seen FROM curated.people a JOIN curated.people b ON a.$ = b.$ WHERE a.seen <> b.seen",
    "SELECT seen FROM curated.people WHERE $ IN (SELECT $ FROM curated.people WHERE visits > 1)",
    "SELECT seen FROM curated.people p WHERE EXISTS (SELECT 1 FROM curated.people q WHERE q.$ = p.$ AND q.seen > p.seen)",
    "SELECT seen, ROW_NUMBER() OVER (PARTITION BY $ ORDER BY seen) FROM curated.people",
    "SELECT seen, RANK() OVER (ORDER BY $ NULLS LAST) FROM curated.people",
    "SELECT LAG($) OVER (ORDER BY seen) FROM curated.people",
    "SELECT CASE WHEN $ IS NULL THEN 'none' ELSE CAST($ AS VARCHAR) END FROM curated.people",
    "SELECT COALESCE(CAST($ AS VARCHAR), 'none') || '!' FROM curated.people",
    "SELECT CAST($ AS BIGINT) FROM curated.people",
    "SELECT seen FROM curated.people WHERE CAST($ AS BIGINT) > 0",
    "SELECT seen FROM curated.people WHERE 10 / visits > 0 AND $ IS NOT NULL",
    "SELECT SUM(10 / visits) FROM curated.people WHERE $ IS NOT NULL",
    "SELECT $ FROM curated.people UNION ALL SELECT $ FROM curated.people",
    "WITH c AS (SELECT $ AS v, visits FROM curated.people) SELECT v, SUM(visits) FROM c GROUP BY v",
    "SELECT APPROX_COUNT_DISTINCT($) FROM curated.people",
    "SELECT LATEST_BY($, seen) FROM curated.people",
    "SELECT (SELECT MAX($) FROM curated.people)",
    "SELECT TIME_FLOOR(__time, 'PT1H'), $ FROM curated.people WHERE __time >= TIMESTAMP '1970-01-01 02:00:00'",
    "SELECT ward, MAX($) FROM curated.people WHERE ward = 'north' GROUP BY ward",
    "SELECT COUNT(*) FROM curated.people WHERE CAST($ AS VARCHAR) LIKE '%0%'",
    "EXPLAIN PLAN FOR SELECT $ FROM curated.people WHERE $ IS NOT NULL ORDER BY $ LIMIT 1",
];

/// Conditions that ask for values by name.
pub const GUESSES: [&str; 16] = [
    // Below everything that is stored: a file's own bounds would rule it out.
    "name = '***'",
    "zip = '000'",
    "zip = '000' AND 10 / visits > 0",
    "10 / visits > 4 AND ward = 'north'",
    "name = 'Zebulon'",
    "name = '41'",
    "name LIKE 'Z%' OR name = '***'",
    "zip = '94110'",
    "zip = '941'",
    "zip BETWEEN '03600' AND '03700'",
    "born = DATE '1997-05-19'",
    "born < DATE '1970-01-01'",
    "weight > 71 AND weight < 72",
    "weight = 70",
    "ward = 'south' OR consent = false OR ward IS NULL OR consent IS NULL",
    "visits = 0",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_answers_as_over_a_copy_that_is_masked_and_filtered() {
    let cpu = Cpu::with_workers(2).unwrap();
    let both = both(&cpu).await;
    let guarded = both.guarded.open(client("analyst")).unwrap();
    let copied = both.copied.open(Identity::local()).unwrap();
    let columns = ["name", "zip", "born", "weight", "ward", "consent", "visits", "seen", "__time", "*"];
    let shapes = columns.iter().flat_map(|column| {
        SHAPES.iter().filter(|shape| *column != "*" || **shape == SHAPES[0]).map(|shape| shape.replace('$', column))
    });
    let guesses = GUESSES.iter().flat_map(|guess| {
        [
            format!("SELECT COUNT(*) FROM curated.people WHERE {guess}"),
            format!("SELECT seen FROM curated.people WHERE NOT ({guess})"),
        ]
    });
    let (mut different, mut failed, mut asked) = (Vec::new(), BTreeSet::new(), 0);
    for sql in shapes.chain(guesses) {
        let (shown, meant) = (answer(&guarded, &sql).await, answer(&copied, &sql).await);
        asked += 1;
        if let Err(error) = &meant {
            failed.insert(error.clone());
        }
        let text = format!("{shown:?}");
        for secret in SECRETS.iter().filter(|secret| text.contains(**secret)) {
            assert!(sql.contains(secret), "{secret} came out of {sql}: {text}");
        }
        // Of a plan both show the same text but for the scans' own names.
        if shown != meant && !sql.starts_with("EXPLAIN") {
            different.push(format!("{sql}\n  shown: {shown:?}\n  meant: {meant:?}"));
        }
    }
    assert!(different.is_empty(), "{} of {asked} differ:\n{}", different.len(), different.join("\n"));
    assert!(asked > 300, "{asked}");
    // Some shapes do fail on values, or the errors would be compared with nothing.
    assert!(!failed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_column_can_stand_nowhere_and_its_error_says_whom_to_ask() {
    let cpu = Cpu::with_workers(2).unwrap();
    let both = both(&cpu).await;
    let session = both.guarded.open(client("analyst")).unwrap();
    for shape in SHAPES {
        let sql = shape.replace('$', "id");
        let error = answer(&session, &sql).await.unwrap_err();
        let says = "the column 'id' of 'curated.people' is restricted and you may not use it; ask for one of the roles outsider, steward";
        assert_eq!(error, says, "{sql}");
    }
    let columns = "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'people'";
    assert!(!answer(&session, columns).await.unwrap().contains(" id "));
    let steward = both.guarded.open(client("steward")).unwrap();
    assert!(answer(&steward, "SELECT id, name FROM curated.people").await.unwrap().contains("mrn-7006"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_others_is_not_there_and_its_error_says_whom_to_ask() {
    let cpu = Cpu::with_workers(2).unwrap();
    let both = both(&cpu).await;
    for role in ["outsider", "nobody"] {
        let session = both.guarded.open(client(role)).unwrap();
        let error = answer(&session, "SELECT COUNT(*) FROM curated.people").await.unwrap_err();
        assert!(error.starts_with("you may not read 'curated.people'; ask for one of the roles"), "{error}");
        let names = "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA IN ('curated', 'quarantine')";
        assert!(!answer(&session, names).await.unwrap().contains("people"));
        assert!(answer(&session, "SELECT 1 FROM quarantine.people").await.unwrap_err().contains("may not read"));
    }
}
