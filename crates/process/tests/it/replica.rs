//! Models of a process that only follows, beside the process that commits, on one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use vitalake_contract::rule::Severity;
use vitalake_lake::delta::Snapshot;
use vitalake_lake::{DeliveredFiles, Lake, LakeOptions, Space, Table, TxnId};
use vitalake_process::rollup::LeavesLimits;
use vitalake_process::{Following, Models, table_specs};
use vitalake_runtime::clock::Clock;

use crate::run::{Row, Up, World, raw_rows};
use crate::support::name;

const TABLES: [(Space, &str); 3] =
    [(Space::Curated, "steps"), (Space::Serving, "steps_daily"), (Space::Quarantine, "steps")];

const AHEAD_ROWS_MAX: u64 = 500;

/// What the last commit of landing does not hold.
fn uncovered(head: &Snapshot, batch: &RecordBatch) -> Option<RecordBatch> {
    let landed = head.txn("landing").unwrap_or(0);
    let offsets = batch.column_by_name("_offset")?.as_primitive::<Int64Type>();
    let keep: BooleanArray = offsets.values().iter().map(|offset| Some(*offset >= landed)).collect();
    filter_record_batch(batch, &keep).ok().filter(|batch| batch.num_rows() > 0)
}

/// A process that follows what `world.up()` commits.
async fn follow(world: &World) -> Up {
    follow_on(world, Arc::clone(&world.store)).await
}

async fn follow_on(world: &World, store: Arc<dyn ObjectStore>) -> Up {
    follow_tables(world, store, &["hourly_steps", "patients"]).await
}

/// The same, with these tables as those that no model makes.
pub async fn follow_tables(world: &World, store: Arc<dyn ObjectStore>, raw: &[&str]) -> Up {
    let mut specs = table_specs(&world.models, &world.contracts).unwrap();
    specs.iter_mut().for_each(|spec| spec.followed = true);
    let cpu = world.cpu.clone();
    let lake = Arc::new(Lake::open(store, specs, LakeOptions::default(), Clock::system(), cpu).await.unwrap());
    let raw: Vec<Arc<Table>> = raw.iter().map(|n| Arc::clone(lake.table(&name(n)).unwrap())).collect();
    let inputs = Arc::new(move || {
        let raw = raw.clone();
        async move {
            let mut moved = false;
            for table in raw {
                moved |= table.follow(&uncovered).await.unwrap();
            }
            moved
        }
        .boxed()
    });
    let following = Following { inputs, interval: Duration::from_millis(20) };
    let mut options = world.options();
    options.ahead_rows_max = AHEAD_ROWS_MAX;
    let models = Models::follow(&lake, &world.models, &world.contracts, &options, following).unwrap();
    Up { lake, models }
}

/// A store that gives no data file away while it is told not to.
#[derive(Debug)]
struct Refusing {
    store: Arc<dyn ObjectStore>,
    refuses: Arc<AtomicBool>,
}

impl std::fmt::Display for Refusing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Refusing({})", self.store)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Refusing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.refuses.load(Ordering::SeqCst) && location.extension() == Some("parquet") {
            return Err(object_store::Error::Generic { store: "test", source: "503".into() });
        }
        self.store.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

/// Rows as a follower reads them, whatever the owner has committed of them.
fn show(follower: &Up, rows: &[Row<'_>], offset: i64) {
    let raw = follower.lake.table(&name("hourly_steps")).unwrap();
    raw.append_uncovered(vec![raw_rows(rows, offset)], Vec::new(), &uncovered).unwrap();
}

/// The follower shows what the owner does, now and for as long as it takes over what is committed.
async fn shows_the_same(owner: &Up, follower: &Up) {
    owner.within(owner.models.caught_up()).await;
    for (space, dataset) in TABLES {
        let expected = owner.rows(space, dataset, true).await;
        let began = Instant::now();
        while follower.rows(space, dataset, true).await != expected {
            assert!(began.elapsed() < Duration::from_secs(20), "{dataset}: {:#?}", follower.models.statuses());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let until = Instant::now() + Duration::from_millis(60);
    while Instant::now() < until {
        for (space, dataset) in TABLES {
            assert_eq!(
                follower.rows(space, dataset, true).await,
                owner.rows(space, dataset, true).await,
                "{} {dataset} while commits are taken over",
                space.as_str()
            );
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_shows_what_nobody_has_committed() {
    let world = World::new(Severity::Error);
    let owner = world.up().await;
    let follower = follow(&world).await;
    let rows = [("a", 1, Some(5)), ("a", 2, Some(7)), ("b", 25, Some(3)), ("a", 1, Some(6)), ("b", 1, Some(200_000))];
    show(&follower, &rows, 0);
    assert_eq!(follower.live(Space::Serving, "steps_daily").await, ["|a|1970-01-01|2|12|", "|b|1970-01-02|1|3|"]);
    assert_eq!(follower.rows(Space::Quarantine, "steps", true).await.len(), 2);
    assert!(follower.committed(Space::Curated, "steps").await.is_empty());
    owner.append(&rows, 0);
    shows_the_same(&owner, &follower).await;
    owner.commit().await;
    shows_the_same(&owner, &follower).await;
    let daily = follower.lake.table(&name("steps_daily")).unwrap();
    owner
        .within(async {
            while daily.head().files().count() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
        })
        .await;
    shows_the_same(&owner, &follower).await;
    follower.models.stop().await;
    owner.models.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_committed_when_a_follower_shows_each_row_once() {
    let mut world = World::new(Severity::Error);
    world.leaves = LeavesLimits { leaf_rows_max: 20, ..LeavesLimits::default() };
    let owner = world.up().await;
    let mut follower = follow(&world).await;
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let names: Vec<String> = (0..9).map(|n| format!("s{n}")).collect();
    let mut offset = 0;
    for round in 0..40 {
        // Keys come again, with the same and with other steps, and some rows break a rule.
        let rows: Vec<Row<'_>> = (0..1 + random(30))
            .map(|_| {
                let steps = if random(20) == 0 { -1 } else { random(3) as i64 };
                (names[random(9) as usize].as_str(), random(24 * 20) as i64, Some(steps))
            })
            .collect();
        if random(2) == 0 {
            show(&follower, &rows, offset);
            owner.append(&rows, offset);
        } else {
            owner.append(&rows, offset);
            owner.lake.table(&name("hourly_steps")).unwrap().flush().await.unwrap();
            show(&follower, &rows, offset);
        }
        offset += rows.len() as i64;
        if random(3) == 0 {
            owner.commit().await;
        }
        if round % 13 == 12 {
            follower.models.stop().await;
            follower = follow(&world).await;
            owner.commit().await;
        }
        shows_the_same(&owner, &follower).await;
    }
    follower.models.stop().await;
    owner.models.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_behind_an_owner_that_makes_nothing_a_follower_shows_what_is_committed() {
    let mut world = World::new(Severity::Error);
    let owner = world.up().await;
    owner.append(&[("a", 1, Some(5))], 0);
    owner.commit().await;
    // More groups than may be in memory.
    world.leaves = LeavesLimits { leaf_rows_max: 2, dirty_rows_max: 3, clean_rows_max: 3 };
    let follower = follow(&world).await;
    let rows: Vec<Row<'_>> = (0..20).map(|day| ("b", 24 * day, Some(1))).collect();
    show(&follower, &rows, 1);
    wait_until("it says so", || follower.models.statuses().iter().any(|status| status.error.is_some())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(follower.rows(Space::Serving, "steps_daily", true).await, ["|a|1970-01-01|1|5|"]);
    let stalled = follower.models.statuses().into_iter().find(|status| status.error.is_some()).unwrap();
    assert!(stalled.error.as_deref().unwrap().contains("wait for the process that runs the models"), "{stalled:#?}");
    owner.append(&rows, 1);
    owner.commit().await;
    shows_the_same(&owner, &follower).await;
    follower.models.stop().await;
    owner.models.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_came_while_the_owner_was_far_behind_are_known_afterwards() {
    let world = World::new(Severity::Error);
    let owner = world.up().await;
    owner.append(&[("a", 1, Some(5))], 0);
    owner.commit().await;
    let Up { lake, models } = owner;
    models.stop().await;
    // Nobody runs the models, and more is committed than a follower makes ahead.
    let follower = follow(&world).await;
    follower.within(follower.models.caught_up()).await;
    let rows: Vec<Row<'_>> = (0..600).map(|hour| ("b", hour, Some(1))).collect();
    let raw = lake.table(&name("hourly_steps")).unwrap();
    raw.append(vec![raw_rows(&rows, 1)], Vec::new(), [(vitalake_lake::TxnId::parse("landing"), 601)]).unwrap();
    raw.flush().await.unwrap();
    let far_behind = || follower.models.statuses().iter().any(|status| status.error.is_some());
    wait_until("the follower says that its owner is far behind", far_behind).await;
    assert_eq!(follower.rows(Space::Curated, "steps", true).await.len(), 1);
    drop(lake);
    let owner = world.up().await;
    owner.within(owner.models.caught_up()).await;
    owner.commit().await;
    wait_until("it goes on", || !follower.models.statuses().iter().any(|status| status.error.is_some())).await;
    // Known keys, once as they are and once with other steps.
    let again = [("b", 3, Some(1)), ("b", 4, Some(2)), ("c", 1, Some(1))];
    show(&follower, &again, 601);
    owner.append(&again, 601);
    shows_the_same(&owner, &follower).await;
    assert_eq!(follower.rows(Space::Curated, "steps", true).await.len(), 602);
    follower.models.stop().await;
    owner.models.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_files_cannot_be_read_a_follower_shows_what_it_did() {
    let world = World::new(Severity::Error);
    let owner = world.up().await;
    let refuses = Arc::new(AtomicBool::new(false));
    let refusing = Refusing { store: Arc::clone(&world.store), refuses: Arc::clone(&refuses) };
    let follower = follow_on(&world, Arc::new(refusing)).await;
    let rows = [("a", 1, Some(5)), ("b", 1, Some(200_000)), ("b", 25, Some(3))];
    show(&follower, &rows, 0);
    owner.append(&rows, 0);
    shows_the_same(&owner, &follower).await;
    refuses.store(true, Ordering::SeqCst);
    owner.commit().await;
    wait_until("it says so", || follower.models.statuses().iter().any(|status| status.error.is_some())).await;
    // Rows in memory can be looked at although no file can.
    let curated = follower.lake.table(&name("steps")).unwrap();
    let view = || follower.lake.pin().table(&curated.id()).cloned().unwrap();
    for _ in 0..20 {
        let shown: usize = view().tail.rows.iter().map(RecordBatch::num_rows).sum();
        assert_eq!((view().head.files().count(), shown), (0, 2));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refuses.store(false, Ordering::SeqCst);
    let again = [("a", 1, Some(5)), ("a", 1, Some(6)), ("c", 1, Some(1))];
    show(&follower, &again, 3);
    owner.append(&again, 3);
    shows_the_same(&owner, &follower).await;
    follower.models.stop().await;
    owner.models.stop().await;
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Patients of the country from a delivery.
async fn deliver_patients(owner: &Up, country: &str, number: i64, instead_of: Option<i64>) {
    let table = owner.lake.table(&name("patients")).unwrap();
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| -> arrow::array::ArrayRef {
        match field.name().as_str() {
            "patient_id" => crate::support::strings(&[Some("p1")]),
            "country" => crate::support::strings(&[Some(country)]),
            "_topic" => crate::support::strings(&[Some("feed/patients")]),
            "_partition" => Arc::new(arrow::array::Int32Array::from(vec![number as i32])),
            "_offset" => crate::support::longs(&[Some(0)]),
            _ => arrow::array::new_null_array(field.data_type(), 1),
        }
    });
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
    let rows = table.write_rows(vec![rows]).await.unwrap();
    let txns = vec![(TxnId::delivery("patients"), number)];
    table.deliver(DeliveredFiles { rows, instead_of, txns, ..DeliveredFiles::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_shows_a_correction_when_its_owner_has_committed_it() {
    let mut world = World::new(Severity::Error);
    let mut contracts = world.contracts.as_ref().clone();
    let known = crate::support::contract(
        vitalake_contract::Layer::Curated,
        "known",
        "*patient_id string, country string",
        false,
    );
    contracts.insert(name("known"), Arc::new(known));
    world.contracts = Arc::new(contracts);
    let text = "-- kind: append\nSELECT patient_id, country FROM raw.patients";
    world.models.push(crate::support::model(vitalake_contract::Layer::Curated, "known", text));
    let owner = world.up().await;
    let follower = follow(&world).await;
    for (country, number, instead_of) in [("de", 1, None), ("fr", 2, Some(1)), ("it", 3, Some(2))] {
        deliver_patients(&owner, country, number, instead_of).await;
        owner.within(owner.models.settled()).await;
        let want = owner.committed(Space::Curated, "known").await;
        assert!(want.len() == 1 && want[0].contains(country), "{want:?}");
        let began = Instant::now();
        while follower.rows(Space::Curated, "known", true).await != want {
            assert!(began.elapsed() < Duration::from_secs(20), "{:#?}", follower.models.statuses());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let states = follower.models.statuses();
    assert!(states.iter().all(|status| status.state != vitalake_process::ModelState::Failed), "{states:#?}");
    follower.models.stop().await;
    owner.models.stop().await;
}
