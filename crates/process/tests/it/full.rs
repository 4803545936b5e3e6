//! Full models, joins to history, and tables with a key as other people's readers see them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use vitalake_contract::Layer;
use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_lake::Space;

use crate::run::{Up, World};
use crate::support::{contract, contracts, model, name};
use crate::upsert::{append, commit, deliver, restarted, world};

/// Waits until a table shows these rows.
async fn shows(up: &Up, space: Space, dataset: &str, wanted: &[&str]) {
    let reached = async {
        while up.rows(space, dataset, false).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), reached).await.is_err() {
        panic!("{:?} {:#?}", up.rows(space, dataset, false).await, up.models.statuses());
    }
}

fn version(up: &Up, dataset: &str) -> (u64, Vec<String>) {
    let head = up.lake.table(&name(dataset)).unwrap().head();
    (head.version().0, head.files().map(|file| file.path().to_string()).collect())
}

#[tokio::test]
async fn a_full_table_is_swapped_when_an_input_changed_and_not_when_it_comes_out_the_same() {
    let world = world();
    let up = world.up().await;
    append(&up, &[(1, 1, Some(4), false), (2, 1, Some(4), false), (3, 1, Some(6), false)], 0);
    commit(&up).await;
    shows(&up, Space::Serving, "counted", &["|4|2|", "|6|1|"]).await;
    append(&up, &[(1, 2, Some(6), false), (3, 2, None, true)], 3);
    commit(&up).await;
    shows(&up, Space::Serving, "counted", &["|4|1|", "|6|1|"]).await;
    let before = version(&up, "counted").1;
    // Another key with the value of one that goes: the input changes, the result does not.
    append(&up, &[(1, 3, None, true), (5, 3, Some(6), false)], 5);
    commit(&up).await;
    let latest = version(&up, "latest").0;
    let consumed = || up.models.statuses().into_iter().find(|s| s.dataset == name("counted")).unwrap().input_version;
    let reached = async {
        while consumed() != Some(latest as i64) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    up.within(reached).await;
    assert_eq!(version(&up, "counted").1, before);
    let up = restarted(&world, up).await;
    shows(&up, Space::Serving, "counted", &["|4|1|", "|6|1|"]).await;
    assert_eq!(version(&up, "counted").1, before);
    up.models.stop().await;
}

fn with_model(mut world: World, dataset: &str, columns: &str, text: &str) -> World {
    let mut all = world.contracts.as_ref().clone();
    all.extend(contracts(vec![contract(Layer::Curated, dataset, columns, false)]));
    world.contracts = Arc::new(all);
    world.models.push(model(Layer::Curated, dataset, text));
    world
}

#[tokio::test]
async fn a_full_model_joins_streams_and_is_distinct_and_its_rejects_come_once() {
    let text = "-- kind: full\nSELECT DISTINCT s.id, l.value AS value, count(*) AS n FROM raw.staff s LEFT JOIN curated.latest l ON s.id = l.id GROUP BY s.id, l.value";
    let mut world = with_model(world(), "teams", "*id string, value long, n long", text);
    let mut all = world.contracts.as_ref().clone();
    let mut teams = all[&name("teams")].as_ref().clone();
    teams.row_rules.push(RowRule {
        name: "value.minimum".to_owned(),
        column: Some(1),
        check: Check::Minimum(Bound::Whole(3)),
        severity: Severity::Error,
    });
    all.insert(name("teams"), Arc::new(teams));
    world.contracts = Arc::new(all);
    let up = world.up().await;
    deliver(&up, "staff", 1, &[(1, 0, Some(1), false), (2, 0, Some(1), false), (3, 0, Some(1), false)], None).await;
    append(&up, &[(1, 1, Some(4), false), (2, 1, Some(1), false)], 0);
    commit(&up).await;
    shows(&up, Space::Curated, "teams", &["|k1|4|1|", "|k3||1|"]).await;
    append(&up, &[(1, 2, Some(5), false)], 2);
    commit(&up).await;
    shows(&up, Space::Curated, "teams", &["|k1|5|1|", "|k3||1|"]).await;
    let rejects = up.committed(Space::Quarantine, "teams").await;
    assert_eq!(rejects.len(), 1, "{rejects:?}");
    up.models.stop().await;
}

#[tokio::test]
async fn a_full_model_whose_input_is_too_large_says_so() {
    let mut world = world();
    world.joined_bytes_max = Some(16);
    let up = world.up().await;
    append(&up, &[(1, 1, Some(4), false)], 0);
    up.lake.table(&name("changes")).unwrap().flush().await.unwrap();
    let why = || up.models.statuses().into_iter().find(|s| s.dataset == name("counted")).and_then(|s| s.error);
    let reached = async {
        while !why().is_some_and(|why| why.contains("too large to be computed as a whole")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    up.within(reached).await;
    up.models.stop().await;
}

#[tokio::test]
async fn a_stream_joins_the_version_that_held_at_its_time() {
    let text = "-- kind: append\nSELECT c.id, c.at, v.value AS was FROM raw.corrected c JOIN curated.versions v ON c.id = v.id AND c.at >= v._valid_from AND (v._valid_to IS NULL OR c.at < v._valid_to)";
    let world = with_model(world(), "seen", "id string, at timestamp, was long", text);
    let up = world.up().await;
    append(&up, &[(1, 10, Some(1), false), (1, 20, Some(2), false), (1, 30, None, true)], 0);
    commit(&up).await;
    let asked = [5, 10, 19, 20, 29, 30].map(|time| (1, time, None, false));
    deliver(&up, "corrected", 1, &asked, None).await;
    let seen = up.rows(Space::Curated, "seen", false).await;
    let at = |row: &String| row.split('|').skip(2).take(2).map(str::to_owned).collect::<Vec<_>>().join(" ");
    let expected =
        ["1970-01-01T00:00:10Z 1", "1970-01-01T00:00:19Z 1", "1970-01-01T00:00:20Z 2", "1970-01-01T00:00:29Z 2"];
    assert_eq!(seen.iter().map(at).collect::<Vec<_>>(), expected);
    up.models.stop().await;
}

fn python() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let python = std::env::var_os("VITALAKE_PYTHON").map_or(workspace, PathBuf::from);
    python.exists().then_some(python)
}

/// What DuckDB and delta-rs find in a table, printed alike.
const READ: &str = "
import sys, duckdb, deltalake
table, columns = sys.argv[1], sys.argv[2]

rows = deltalake.DeltaTable(table).to_pyarrow_table()
found = duckdb.sql(f'SELECT {columns} FROM rows ORDER BY ALL').fetchall()
print('delta-rs', found)
try:
    print('duckdb', duckdb.sql(f\"SELECT {columns} FROM delta_scan('{table}') ORDER BY ALL\").fetchall())
except Exception as error:
    print('no delta extension:', type(error).__name__)
";

#[tokio::test]
async fn other_readers_find_one_row_for_each_key_and_its_versions() {
    let Some(python) = python() else {
        println!("skipped: no Python with duckdb and deltalake (set VITALAKE_PYTHON)");
        return;
    };
    let world = world();
    let up = world.up().await;
    append(&up, &[(1, 10, Some(1), false), (2, 10, Some(5), false), (3, 10, Some(7), false)], 0);
    commit(&up).await;
    append(&up, &[(1, 20, Some(2), false), (3, 20, None, true)], 3);
    commit(&up).await;
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = world.store.list(None).try_collect().await.unwrap();
    for file in files {
        let path = folder.path().join(file.location.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, world.store.get(&file.location).await.unwrap().bytes().await.unwrap()).unwrap();
    }
    let read = |table: &str, columns: &str| {
        let table = folder.path().join(table);
        let run = Command::new(&python).args(["-c", READ]).arg(table).arg(columns).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{text}");
        text
    };
    let latest = read("lake/curated/latest", "id, value");
    assert!(latest.contains("delta-rs [('k1', 2), ('k2', 5)]"), "{latest}");
    assert!(latest.contains("duckdb [('k1', 2), ('k2', 5)]") || latest.contains("no delta extension"), "{latest}");
    let versions = read("lake/curated/versions", "id, value, _valid_to IS NULL");
    let expected = "delta-rs [('k1', 1, False), ('k1', 2, True), ('k2', 5, True), ('k3', 7, False)]";
    assert!(versions.contains(expected), "{versions}");
    let events = read("state/versions", "count(*)");
    assert!(events.contains("delta-rs [(5,)]"), "{events}");
    up.models.stop().await;
}
