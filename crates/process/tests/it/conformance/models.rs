//! Models of every kind over the same edges, run whole on either engine: the tables that come of them are the same.
//!
//! The rows are the edges of every type beside each other by chance, under a seed. Invariant: each model had rows with the
//! mark that only Spark can make.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take, take_record_batch};
use arrow::datatypes::{Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_contract::{Contract, Layer};
use vitalake_lake::{DeliveredFiles, Space, TxnId};
use vitalake_process::{EngineName, Engines};

use super::ask::Witnessed;
use super::nests::Chance;
use super::{compare, data, write_report};
use crate::run::{Up, World};
use crate::support::{batch, contract, contracts, longs, model, name, strings, times};
use crate::upsert::of_table;

const SEED: u64 = 0x5eed;
const EPOCHS: usize = 2;
const ROWS_AN_EPOCH: usize = 150;
const SETTLED_MAX: Duration = Duration::from_secs(300);

const KEPT: &str = "-- kind: append\nSELECT id, g, l, i, d, f, p, b, a, t, s FROM raw.edges";
const WAYS: &str = "-- kind: append
SELECT e.id, e.l + 1 AS l, CAST(e.d AS INT) AS i, e.d / e.l AS d, CAST(e.d AS FLOAT) AS f, e.b AND e.l > 0 AS b,
  CAST(e.t AS DATE) AS a, e.t + INTERVAL '1' HOUR AS t, upper(e.s) AS s, n.name
FROM raw.edges e LEFT JOIN raw.names n ON e.d = n.d
WHERE NOT (e.s <=> 'abc')";
const HOURLY: &str = "-- kind: rollup
-- time: hour
SELECT g, date_trunc('HOUR', t) AS hour, COUNT(*) AS n, COUNT(d) AS ds, SUM(l) AS l_sum, AVG(l) AS l_mean, SUM(p) AS p_sum,
  AVG(p) AS p_mean, MIN(d) AS d_min, MAX(d) AS d_max, MIN(f) AS f_min, MAX(f) AS f_max, MIN(s) AS s_min, MAX(s) AS s_max,
  MIN(b) AS b_min, MAX(b) AS b_max, MIN(a) AS a_min, MAX(t) AS t_max, COUNT(l) FILTER (WHERE d > 1) AS some,
  SUM(l) FILTER (WHERE s = 'no such text') AS none, SUM(i) / COUNT(*) AS i_mean
FROM curated.kept GROUP BY g, date_trunc('HOUR', t)";
const BY_NUMBER: &str = "-- kind: rollup
-- time: day
SELECT d, f, CAST(t AS DATE) AS day, COUNT(*) AS n FROM curated.kept GROUP BY d, f, CAST(t AS DATE)";
const DEEP: &str = "-- kind: append
SELECT id,
  CASE WHEN length(trim(coalesce(s, ''))) > 3 THEN substring(reverse(s), 1, 3) ELSE concat(coalesce(g, '-'), CAST(i AS STRING)) END AS s,
  CASE WHEN b THEN CAST(l AS DOUBLE) / nullif(i, 0) WHEN d IS NULL THEN CAST(greatest(i, 0) AS DOUBLE) ELSE coalesce(nullif(d, 0.0D), -1.0D) END AS d,
  CAST(CAST(t AS DATE) AS STRING) AS day, last_day(CAST(date_trunc('YEAR', t) AS DATE)) AS a
FROM raw.edges";
const CASES: &str = "-- kind: rollup
-- time: day
SELECT g, date_trunc('DAY', t) AS day, COUNT(*) AS n, SUM(CASE WHEN d > 1 THEN l ELSE 0 END) AS large,
  CAST(SUM(i) AS DOUBLE) / nullif(COUNT(s), 0) AS per_text, MAX(coalesce(upper(s), 'none')) AS s_max,
  CASE WHEN COUNT(d) > 2 THEN MIN(l) ELSE -1 END AS least, round(AVG(CAST(i AS DOUBLE)), 3) AS mean,
  coalesce(MAX(if(b, a, CAST(NULL AS DATE))), DATE'1970-01-01') AS last
FROM curated.kept GROUP BY g, date_trunc('DAY', t)";
const LATEST: &str = "-- kind: upsert\n-- key: id\n-- sequence: t\n-- deleted: gone\nSELECT id, t, l * 2 AS l, d, s, b AS gone FROM raw.edges";
const VERSIONS: &str = "-- kind: upsert\n-- key: id\n-- sequence: t\n-- deleted: gone\nSELECT id, t, l, -d AS d, s, b AS gone FROM raw.edges";
const NUMBERS: &str = "-- kind: full
SELECT d, f, count(*) AS n, count(DISTINCT s) AS texts, count(DISTINCT d) AS ds, sum(l) AS l_sum, min(f) AS f_min, max(d) AS d_max
FROM raw.edges GROUP BY d, f";
const EXTREMES: &str = "-- kind: full
SELECT g, min(d) AS d_min, max(d) AS d_max, min(f) AS f_min, max(f) AS f_max, avg(p) AS p_mean, count(DISTINCT d) AS ds
FROM raw.edges GROUP BY g";
const PAIRS: &str = "-- kind: full\nSELECT DISTINCT d, b, s FROM raw.edges";
const NOTHING: &str = "-- kind: full\nSELECT count(*) AS n, sum(l) AS l_sum, min(d) AS d_min, avg(d) AS d_mean, max(s) AS s_max FROM raw.edges WHERE l = -7777";
const NAMED: &str = "-- kind: full
SELECT n.name, count(*) AS n, max(e.d) AS d_max FROM raw.edges e JOIN raw.names n ON e.d = n.d GROUP BY n.name";

const EDGES: &str =
    "id string, g string, l long, i int, d double, f float, p double, b boolean, a date, t timestamp, s string";

/// Each model: the layer and the name of its table, its columns, whether it has history, and its text.
const MODELS: [(Layer, &str, &str, bool, &str); 13] = [
    (Layer::Curated, "kept", EDGES, false, KEPT),
    (
        Layer::Curated,
        "ways",
        "id string, l long, i int, d double, f float, b boolean, a date, t timestamp, s string, name string",
        false,
        WAYS,
    ),
    (
        Layer::Serving,
        "hourly",
        "*g string, *hour timestamp, n long, ds long, l_sum long, l_mean double, p_sum double, p_mean double, d_min double, d_max double, f_min float, f_max float, s_min string, s_max string, b_min boolean, b_max boolean, a_min date, t_max timestamp, some long, none long, i_mean double",
        false,
        HOURLY,
    ),
    (Layer::Curated, "deep", "id string, s string, d double, day string, a date", false, DEEP),
    (
        Layer::Serving,
        "cases",
        "*g string, *day timestamp, n long, large long, per_text double, s_max string, least long, mean double, last date",
        false,
        CASES,
    ),
    (Layer::Serving, "by_number", "*d double, *f float, *day date, n long", false, BY_NUMBER),
    (Layer::Curated, "latest", "*id string, t timestamp, l long, d double, s string", false, LATEST),
    (Layer::Curated, "versions", "*id string, l long, d double, s string", true, VERSIONS),
    (
        Layer::Serving,
        "numbers",
        "*d double, *f float, n long, texts long, ds long, l_sum long, f_min float, d_max double",
        false,
        NUMBERS,
    ),
    (
        Layer::Serving,
        "extremes",
        "*g string, d_min double, d_max double, f_min float, f_max float, p_mean double, ds long",
        false,
        EXTREMES,
    ),
    (Layer::Serving, "pairs", "d double, b boolean, s string", false, PAIRS),
    (Layer::Serving, "nothing", "n long, l_sum long, d_min double, d_mean double, s_max string", false, NOTHING),
    (Layer::Serving, "named", "*name string, n long, d_max double", false, NAMED),
];

fn world(engines: Engines) -> World {
    let mut all: Vec<Contract> = MODELS
        .iter()
        .map(|(layer, dataset, columns, history, _)| Contract {
            history: *history,
            ..contract(*layer, dataset, columns, false)
        })
        .collect();
    all[1].row_rules.push(RowRule {
        name: "l.minimum".to_owned(),
        column: Some(1),
        check: Check::Minimum(Bound::Whole(-300)),
        severity: Severity::Error,
    });
    all.push(contract(Layer::Raw, "edges", EDGES, false));
    all.push(contract(Layer::Raw, "names", "d double, name string", true));
    let models = MODELS.iter().map(|(layer, dataset, _, _, text)| model(*layer, dataset, text)).collect();
    World { contracts: Arc::new(contracts(all)), models, engines, ..World::new(Severity::Warning) }
}

/// Rows of the raw table: each column takes its edges by chance.
fn rows(up: &Up, chance: &mut Chance, offset: i64) -> RecordBatch {
    let edges = data::edges();
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for column in ["g", "l", "i", "d", "f", "b", "a", "t", "s"] {
        let picked: UInt32Array = (0..ROWS_AN_EPOCH).map(|_| Some(chance.below(edges.num_rows()) as u32)).collect();
        columns.push((column, take(edges.column_by_name(column).unwrap(), &picked, None).unwrap()));
    }
    // Numbers whose sum is the same in any order but for its last digits.
    let tame = [Some(0.1), Some(-0.0), None, Some(1e15), Some(1e-7), Some(f64::INFINITY), Some(f64::NAN), Some(3.0)];
    let tame: Float64Array =
        (0..ROWS_AN_EPOCH).map(|_| tame[if chance.below(4) > 0 { 0 } else { chance.below(tame.len()) }]).collect();
    let ids: Vec<Option<String>> = (0..ROWS_AN_EPOCH)
        .map(|_| Some(chance.below(21)).filter(|key| *key > 0).map(|key| format!("k{key}")))
        .collect();
    let offsets: Vec<Option<i64>> = (offset..offset + ROWS_AN_EPOCH as i64).map(Some).collect();
    columns.extend([
        ("p", Arc::new(tame) as ArrayRef),
        ("id", strings(&ids.iter().map(Option::as_deref).collect::<Vec<_>>())),
        ("_topic", strings(&vec![Some("edges"); ROWS_AN_EPOCH])),
        ("_partition", Arc::new(Int32Array::from(vec![0; ROWS_AN_EPOCH]))),
        ("_ingested_at", times(&offsets.iter().map(|offset| offset.map(|o| 1_000_000 + o)).collect::<Vec<_>>())),
        ("_offset", longs(&offsets)),
    ]);
    as_stored(up, "edges", columns)
}

/// Columns with the types that a table has.
fn as_stored(up: &Up, dataset: &str, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let schema = up.lake.table(&name(dataset)).unwrap().schema();
    let columns = columns.into_iter().map(|(name, column)| {
        let kind = schema.field_with_name(name).unwrap().data_type();
        (name, cast(&column, kind).unwrap())
    });
    of_table(up, dataset, &batch(columns.collect()))
}

async fn deliver_names(up: &Up) {
    let numbers = Float64Array::from(vec![Some(f64::NAN), Some(0.0), None, Some(f64::INFINITY), Some(1.5)]);
    let names = ["none", "nought", "null", "endless", "ü😀"].map(Some);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("d", Arc::new(numbers)),
        ("name", strings(&names)),
        ("_topic", strings(&[Some("names"); 5])),
        ("_partition", Arc::new(Int32Array::from(vec![1; 5]))),
        ("_offset", longs(&[0, 1, 2, 3, 4].map(Some))),
        ("_ingested_at", times(&[Some(1_000); 5])),
    ];
    let table = up.lake.table(&name("names")).unwrap();
    let rows = table.write_rows(vec![as_stored(up, "names", columns)]).await.unwrap();
    let txns = vec![(TxnId::delivery("names"), 1)];
    table.deliver(DeliveredFiles { rows, txns, ..DeliveredFiles::default() }).await.unwrap();
}

async fn settled(up: &Up) {
    let done = tokio::time::timeout(SETTLED_MAX, up.models.settled()).await;
    for status in up.models.statuses() {
        assert!(done.is_ok() && status.error.is_none(), "{status:#?}");
    }
}

/// The tables that come of two epochs, and what was rejected.
async fn tables(engines: Engines) -> Vec<(String, RecordBatch)> {
    let world = world(engines);
    let up = world.up().await;
    deliver_names(&up).await;
    settled(&up).await;
    let mut chance = Chance(SEED);
    for epoch in 0..EPOCHS {
        let offset = (epoch * ROWS_AN_EPOCH) as i64;
        let rows = rows(&up, &mut chance, offset);
        let landed = (TxnId::parse("landing"), offset + ROWS_AN_EPOCH as i64);
        let table = up.lake.table(&name("edges")).unwrap();
        table.append(vec![rows], Vec::new(), [landed]).unwrap();
        table.flush().await.unwrap();
        settled(&up).await;
    }
    let mut found = Vec::new();
    for (layer, dataset, ..) in MODELS {
        for space in [Space::from(layer), Space::Quarantine] {
            let batches = up.batches(space, dataset, true).await;
            if let Some(first) = batches.first() {
                found.push((format!("{space:?} {dataset}"), concat_batches(first.schema_ref(), &batches).unwrap()));
            }
        }
    }
    up.models.stop().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_every_kind_are_on_spark_what_they_are_here() {
    let Some(spark) = Witnessed::open() else { return };
    let here = tables(Engines::default()).await;
    let engines = Engines {
        otherwise: EngineName::Spark,
        spark: Some(Arc::clone(&spark) as Arc<dyn vitalake_process::spark::Spark>),
    };
    let there = tables(engines).await;
    let mut wrong = Vec::new();
    let names = |tables: &[(String, RecordBatch)]| tables.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&there), names(&here));
    for ((table, ours), (_, theirs)) in here.iter().zip(&there) {
        let (ours, theirs) = (ordered(ours), ordered(theirs));
        eprintln!("conformance: {table}: {} rows here, {} by Spark", ours.num_rows(), theirs.num_rows());
        for (field, (ours, theirs)) in ours.schema().fields().iter().zip(ours.columns().iter().zip(theirs.columns())) {
            let difference = compare::difference(if is_added_up(field.name()) { "sum()" } else { "" }, ours, theirs);
            wrong.extend(difference.map(|why| format!("{table}.{}: {why}", field.name())));
        }
    }
    spark.end().await;
    write_report("models", &wrong.join("\n"));
    assert_eq!(wrong, Vec::<String>::new(), "tables are not those of Spark");
    for (_, dataset, ..) in MODELS {
        assert!(spark.rows_of(&format!("model:{dataset}")) > 0, "Spark gave no row of {dataset}");
    }
    assert!(here.iter().all(|(_, rows)| rows.num_rows() > 0) && here.len() > MODELS.len());
}

fn is_added_up(column: &str) -> bool {
    ["p_sum", "p_mean", "l_mean", "i_mean"].iter().any(|name| column.contains(name))
}

/// Rows by their values, without what tells a run from another. Of the two noughts a minimum may be either.
fn ordered(rows: &RecordBatch) -> RecordBatch {
    let schema = rows.schema();
    let left_out = ["_quarantined_at", "_reason"];
    let kept: Vec<usize> =
        (0..rows.num_columns()).filter(|index| !left_out.contains(&schema.field(*index).name().as_str())).collect();
    let rows = rows.project(&kept).unwrap();
    let columns = rows.schema_ref().fields().iter().zip(rows.columns()).map(|(field, column)| {
        let is_extreme = ["_min", "_max", "_sum"].iter().any(|name| field.name().contains(name));
        if is_extreme { without_sign_of_nought(column) } else { Arc::clone(column) }
    });
    let rows = RecordBatch::try_new(rows.schema(), columns.collect()).unwrap();
    let options = FormatOptions::default().with_null("null");
    let exact: Vec<ArrayFormatter<'_>> = rows
        .schema_ref()
        .fields()
        .iter()
        .zip(rows.columns())
        .filter(|(field, _)| !is_added_up(field.name()))
        .map(|(_, column)| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let text = |row: usize| exact.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>();
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by_cached_key(|row| text(*row as usize));
    take_record_batch(&rows, &UInt32Array::from(order)).unwrap()
}

fn without_sign_of_nought(column: &ArrayRef) -> ArrayRef {
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return Arc::new(numbers.unary::<_, Float64Type>(|number| number + 0.0));
    }
    match column.as_primitive_opt::<Float32Type>() {
        Some(numbers) => Arc::new(numbers.unary::<_, Float32Type>(|number| number + 0.0)),
        None => Arc::clone(column),
    }
}
