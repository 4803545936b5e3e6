//! Rows that are bound to consent, through sessions over a lake: of whom rows are there for which purpose, and since when.
//!
//! Readings and decisions lie in committed files and in the tail.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use object_store::memory::InMemory;
use vitalake_contract::consent::Consent;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer};
use vitalake_lake::{Lake, LakeOptions, Table, TableSpec, TxnId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Access as Settings, Role};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::Events;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::error::QueryError;
use vitalake_serve::identity::Identity;
use vitalake_serve::pinned::{Pinned, PinnedLake};
use vitalake_serve::platform::Datasets;
use vitalake_serve::policy::Access;
use vitalake_serve::session::{QueryOptions, Sessions};

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

fn readings() -> Arc<Contract> {
    let word = |text: &str| text.to_owned();
    Arc::new(Contract {
        columns: vec![
            Column::new("patient_id", ColumnType::String),
            Column::new("bpm", ColumnType::Long),
            Column::new("divisor", ColumnType::Long),
        ],
        consent: Some(Consent {
            dataset: name("consents"),
            subject: word("who"),
            purpose: word("purpose"),
            decision: word("decision"),
            given: word("permit"),
            time: word("at"),
            own: 0,
            without: vec![word("treatment")],
        }),
        ..Contract::new(name("readings"), Layer::Curated)
    })
}

fn decisions() -> Arc<Contract> {
    Arc::new(Contract {
        columns: vec![
            Column::new("who", ColumnType::String),
            Column::new("purpose", ColumnType::String),
            Column::new("decision", ColumnType::String),
            Column::new("at", ColumnType::Timestamp(None)),
        ],
        ..Contract::new(name("consents"), Layer::Curated)
    })
}

fn texts<'t>(values: impl Iterator<Item = &'t str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringViewArray>())
}

/// Of whom nobody has agreed a division by the divisor fails.
fn read(rows: &[(&str, i64, i64)]) -> RecordBatch {
    let columns = vec![
        texts(rows.iter().map(|row| row.0)),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()) as ArrayRef,
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(readings().schema(), columns).unwrap()
}

fn decided(rows: &[(&str, &str, &str, i64)]) -> RecordBatch {
    let at = rows.iter().map(|row| Some(row.3)).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let columns = vec![
        texts(rows.iter().map(|row| row.0)),
        texts(rows.iter().map(|row| row.1)),
        texts(rows.iter().map(|row| row.2)),
        Arc::new(at) as ArrayRef,
    ];
    RecordBatch::try_new(decisions().schema(), columns).unwrap()
}

struct Whole(Arc<Lake>);

impl Datasets for Whole {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        Ok(Arc::new(PinnedLake::of(&self.0, Arc::default())))
    }
}

struct Here {
    sessions: Sessions,
    decisions: Arc<Table>,
    _cpu: Cpu,
}

impl Here {
    async fn new() -> Self {
        let cpu = Cpu::with_workers(2).unwrap();
        let specs = vec![TableSpec::of(readings()), TableSpec::of(decisions())];
        let lake = Lake::open(Arc::new(InMemory::new()), specs, LakeOptions::default(), Clock::system(), cpu.clone());
        let lake = Arc::new(lake.await.unwrap());
        let table = |of: &str| Arc::clone(lake.table(&name(of)).unwrap());
        let (rows, decisions_table) = (table("readings"), table("consents"));
        let txn = |number| [(TxnId::parse("app"), number)];
        rows.append(vec![read(&[("ann", 60, 1), ("bob", 61, 0), ("eve", 62, 0)])], vec![], txn(1)).unwrap();
        rows.flush().await.unwrap();
        rows.append(vec![read(&[("ann", 63, 3), ("cat", 64, 2), ("bob", 65, 0)])], vec![], txn(2)).unwrap();
        let first = [
            ("ann", "research", "permit", 1),
            ("cat", "research", "deny", 1),
            ("bob", "billing", "permit", 1),
            ("eve", "research", "permit", 1),
            ("eve", "research", "deny", 2),
        ];
        decisions_table.append(vec![decided(&first)], vec![], txn(1)).unwrap();
        decisions_table.flush().await.unwrap();
        decisions_table.append(vec![decided(&[("cat", "research", "permit", 5)])], vec![], txn(2)).unwrap();

        let role = |purposes: &[&str]| Role {
            layers: ["curated".to_owned()].into(),
            purposes: purposes.iter().map(|word| (*word).to_owned()).collect(),
            clearance: "restricted".to_owned(),
            ..Role::default()
        };
        let mut settings = Settings::default();
        settings.roles.insert("researcher".to_owned(), role(&["research", "billing"]));
        settings.roles.insert("nurse".to_owned(), role(&["treatment"]));
        let contracts = [readings(), decisions()];
        let access = Arc::new(Access::new(&settings, contracts.iter().map(AsRef::as_ref)).unwrap());
        let engine = Arc::new(QueryEngine::new(QueryLimits::default(), cpu.handle().clone()).unwrap());
        let sessions = Sessions::new(engine, Arc::new(Whole(lake)), Arc::new(DruidSql), Events::unread());
        Self { sessions: sessions.with_access(access), decisions: decisions_table, _cpu: cpu }
    }

    async fn number(&self, role: &str, purpose: Option<&str>, sql: &str) -> Result<i64, QueryError> {
        let session = self.sessions.open_for(Identity::client("somebody", [role.to_owned()]), purpose)?;
        let mut answer = session.query(sql.to_owned(), vec![], QueryOptions::default()).await?;
        let batch = answer.next().await?.unwrap();
        Ok(batch.column(0).as_primitive::<Int64Type>().value(0))
    }

    async fn count(&self, role: &str, purpose: Option<&str>) -> i64 {
        self.number(role, purpose, "SELECT COUNT(*) FROM curated.readings").await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_there_of_those_who_agree_now_and_a_withdrawal_holds_from_the_next_query_on() {
    let here = Here::new().await;
    assert_eq!(here.count("researcher", Some("research")).await, 3, "ann twice and cat");
    assert_eq!(here.count("researcher", Some("billing")).await, 2, "bob twice");
    assert_eq!(here.count("researcher", None).await, 0, "who says nothing sees nobody");
    assert_eq!(here.count("nurse", Some("treatment")).await, 6, "what needs no consent is whole");
    assert_eq!(here.count("nurse", None).await, 0);

    // The decision is in the tail alone.
    let txn = [(TxnId::parse("app"), 3)];
    here.decisions.append(vec![decided(&[("ann", "research", "deny", 9)])], vec![], txn).unwrap();
    assert_eq!(here.count("researcher", Some("research")).await, 1);
    let txn = [(TxnId::parse("app"), 4)];
    here.decisions.append(vec![decided(&[("ann", "research", "permit", 10)])], vec![], txn).unwrap();
    here.decisions.flush().await.unwrap();
    assert_eq!(here.count("researcher", Some("research")).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_computed_on_rows_of_others() {
    let here = Here::new().await;
    // Of those who have not agreed the divisor is 0: it would fail.
    for (sql, expected) in [
        ("SELECT SUM(60 / divisor) FROM curated.readings", 60 + 20 + 30),
        ("SELECT COUNT(*) FROM curated.readings WHERE 60 / divisor > 0", 3),
        ("SELECT MAX(bpm) FROM curated.readings", 64),
        ("SELECT COUNT(*) FROM curated.readings WHERE patient_id = 'bob'", 0),
        ("SELECT COUNT(DISTINCT patient_id) FROM curated.readings", 2),
        ("SELECT COUNT(*) FROM curated.readings a JOIN curated.readings b ON a.bpm = b.bpm", 3),
        ("SELECT bpm FROM curated.readings ORDER BY bpm DESC LIMIT 1", 64),
        ("SELECT COUNT(*) FROM (SELECT * FROM curated.readings LIMIT 100)", 3),
    ] {
        assert_eq!(here.number("researcher", Some("research"), sql).await.unwrap(), expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purpose_is_stated_by_roles_that_list_it_alone() {
    let here = Here::new().await;
    for (role, purpose) in
        [("nurse", "research"), ("researcher", "treatment"), ("researcher", "RESEARCH"), ("nurse", "")]
    {
        let refused = here.number(role, Some(purpose), "SELECT COUNT(*) FROM curated.readings").await.unwrap_err();
        assert!(
            refused.to_string().contains("may state this purpose") || refused.to_string().contains("you may not state"),
            "{refused}"
        );
    }
    assert!(!here.sessions.shows_whole(&Identity::client("x", ["researcher".to_owned()]), "curated", "readings"));
}
