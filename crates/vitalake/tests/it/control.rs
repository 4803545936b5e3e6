//! The control store of the real server: deleted, broken or away, no data and no ledger is lost, and everything but feeds
//! goes on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::double::{Answer, Double};
use crate::postgres_server::{PASSWORD, PostgresServer};
use crate::rehearsal::server::{Place, Server};

const CONTRACT: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000001\nname: people\nversion: 1.0.0\n\
    status: active\nschema:\n  - name: people\n    properties:\n      - name: who\n        logicalType: string\n        required: true\n\
    customProperties:\n  - {property: source, value: feed}\n";
const FEED: &str = "name: people\ndataset: people\nlook_every: 1s\nstable: 1s\non: arrival\n\
    source: {folder: in, pattern: 'p_{date:yyyyMMdd}.csv'}\n";

fn project(folder: &Path) -> Place {
    fed(folder, FEED)
}

fn fed(folder: &Path, feed: &str) -> Place {
    let project = folder.join("project");
    let put = |name: &str, text: &str| {
        let path = project.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("vitalake.yaml", "name: people\nstorage:\n  reserve_bytes: 0\n");
    put("contracts/raw/people.yaml", CONTRACT);
    put("feeds/people.yaml", feed);
    fs::create_dir_all(project.join("in")).unwrap();
    Place::new(&project, &folder.join("data"), &folder.join("log.txt"))
}

fn put(place: &Place, day: u32, rows: &str) {
    fs::write(place.project.join(format!("in/p_202601{day:02}.csv")), format!("who\n{rows}")).unwrap();
}

fn rows(place: &Place) -> i64 {
    place.numbers("SELECT COUNT(*) FROM raw.people")[0]
}

/// Deliveries that the ledger has as loaded.
fn loaded(place: &Place) -> i64 {
    place.numbers("SELECT COUNT(*) FROM ops.deliveries WHERE dataset = 'raw.people' AND state = 'loaded'")[0]
}

fn control(place: &Place) -> Value {
    place.status().unwrap()["control"].clone()
}

#[test]
fn the_loss_of_the_control_store_loses_no_data_and_no_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let place = project(folder.path());
    let file = place.data.join("control.db");
    put(&place, 1, "a\nb\n");
    let server = place.start().ready();
    place.until("the first is loaded", || rows(&place) == 2);
    place.until("it is in the ledger", || loaded(&place) == 1);
    let kind = control(&place);
    assert_eq!((&kind["kind"], &kind["reachable"]), (&"sqlite".into(), &true.into()), "{kind}");

    // Deleted while it is open.
    fs::remove_file(&file).unwrap();
    put(&place, 2, "c\n");
    place.until("the second is loaded", || rows(&place) == 3);
    place.until("the file is there again", || file.exists());
    assert!(place.said().contains("the control store was lost and is made again"), "{}", place.said());
    server.stop();

    // Deleted, then broken, while nobody has it open: the files are there yet and are known.
    let losses: [fn(&Path); 2] =
        [|file| fs::remove_file(file).unwrap(), |file| fs::write(file, [0xa5; 8_192]).unwrap()];
    for (n, lose) in losses.into_iter().enumerate() {
        lose(&file);
        let server = place.start().ready();
        let day = 3 + u32::try_from(n).unwrap();
        put(&place, day, "d\n");
        place.until("the next is loaded", || rows(&place) == i64::from(day) + 1);
        server.stop();
    }
    assert!(file.with_extension("db.unreadable").exists());
    assert!(place.said().contains("it is set aside beside its place"), "{}", place.said());
    let _server = place.start().ready();
    place.until("the ledger is whole", || loaded(&place) == 4);
    let numbers = place.numbers("SELECT COUNT(DISTINCT _partition), COUNT(*) FROM raw.people");
    assert_eq!(numbers, [4, 5], "nothing was loaded twice");
}

/// A server whose control store is in PostgreSQL.
fn start(place: &Place, database: &PostgresServer) -> Server {
    let url = database.url().replace(PASSWORD, "${CONTROL_PASSWORD}");
    let settings = format!("name: people\nstorage:\n  reserve_bytes: 0\ncontrol:\n  url: \"{url}\"\n");
    fs::write(place.project.join("vitalake.yaml"), settings).unwrap();
    place.clone().set("CONTROL_PASSWORD", PASSWORD).start()
}

#[test]
fn feeds_alone_wait_for_a_control_store_that_is_away() {
    let Some(database) = PostgresServer::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let place = project(folder.path());
    put(&place, 1, "a\n");
    let server = start(&place, &database).ready();
    place.until("the first is loaded", || rows(&place) == 1);
    let known = control(&place);
    assert_eq!((&known["kind"], &known["reachable"]), (&"postgres".into(), &true.into()), "{known}");
    assert_ne!(database.sql("SELECT count(*) FROM vitalake.lease"), "0");

    database.stop("immediate");
    place.until("it is said", || control(&place)["reachable"] == false);
    assert!(place.is_ready(), "queries go on");
    assert_eq!(rows(&place), 1);
    let away = place.status().unwrap()["away"].to_string();
    assert!(away.contains("control store"), "{away}");
    put(&place, 2, "b\n");
    database.start_again();
    place.until("the second is loaded", || rows(&place) == 2);
    place.until("it answers", || control(&place)["reachable"] == true);
    server.stop();

    // Away from the start: the platform is there without it.
    database.stop("fast");
    let _server = start(&place, &database).ready();
    assert_eq!(rows(&place), 2);
    put(&place, 3, "c\n");
    place.until("it is said", || control(&place)["reachable"] == false);
    database.start_again();
    place.until("the third is loaded", || rows(&place) == 3);
    let said = format!("{} {} {}", place.said(), database.log(), place.status().unwrap());
    assert!(!said.contains(PASSWORD));
}

/// Whether this process runs the feed.
fn runs_it(place: &Place) -> bool {
    feed(place)["state"] != "elsewhere"
}

fn feed(place: &Place) -> Value {
    let address = format!("http://{}", place.http);
    let output = Command::new(crate::binary()).args(["feed", "list", "--json", "--server", &address]).output().unwrap();
    serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap().remove(0)
}

#[test]
fn runs_that_fell_into_a_stop_are_made_up_for_once_and_said() {
    let Some(database) = PostgresServer::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let place = fed(folder.path(), &FEED.replace("on: arrival", "schedule: '*/10 * * * *'"));
    let said = || place.said().matches("runs of this feed fell into a stop").count();
    put(&place, 1, "a\n");
    let server = start(&place, &database).ready();
    let address = format!("http://{}", place.http);
    let run = Command::new(crate::binary()).args(["feed", "run", "people", "--server", &address]).output().unwrap();
    assert!(run.status.success() && rows(&place) == 1 && said() == 0, "{}", place.said());
    server.stop();

    // As if it had stood still for an hour.
    let hour_ago = "(extract(epoch from now() - interval '1 hour') * 1000)::bigint";
    let state = format!("jsonb_set(state::jsonb, '{{last_run_ms}}', to_jsonb({hour_ago}))::text");
    database.sql(&format!("UPDATE vitalake.feed_state SET state = {state}"));
    put(&place, 2, "b\n");
    let server = start(&place, &database).ready();
    place.until("it is made up for", || rows(&place) == 2);
    let missed = feed(&place)["missed_runs"].as_i64().unwrap();
    assert!((5..=7).contains(&missed) && said() == 1, "{missed}: {}", place.said());
    place.until("that is kept", || database.sql("SELECT count(*) FROM vitalake.delivery_in_flight") == "0");
    server.stop();

    let _server = start(&place, &database).ready();
    place.until("planned", || runs_it(&place));
    assert_eq!((feed(&place)["missed_runs"].as_i64(), said(), rows(&place)), (Some(0), 1, 2));
}

/// A server whose control store is in PostgreSQL, under tokens of a managed identity.
fn start_with_tokens(place: &Place, database: &PostgresServer, tokens: &Double) -> Server {
    let url = database.url().replace(&format!(":{PASSWORD}@"), "@");
    let settings =
        format!("name: people\nstorage:\n  reserve_bytes: 0\ncontrol:\n  url: \"{url}\"\n  azure_identity: true\n");
    fs::write(place.project.join("vitalake.yaml"), settings).unwrap();
    place.clone().set("AZURE_POD_IDENTITY_AUTHORITY_HOST", &tokens.url).start()
}

#[test]
fn tokens_stand_for_the_password_and_two_processes_go_on_when_they_change() {
    let Some(database) = PostgresServer::start() else { return };
    let token = Arc::new(Mutex::new(PASSWORD.to_owned()));
    let given = Arc::clone(&token);
    let tokens = Double::start(move |_| {
        let token = given.lock().unwrap().clone();
        Answer::of(200, &format!(r#"{{"access_token":"{token}","expires_in":"3599"}}"#))
    });
    let folder = tempfile::tempdir().unwrap();
    let one = project(folder.path());
    let other = Place::new(&one.project, &folder.path().join("other"), &folder.path().join("other.txt"));
    put(&one, 1, "a\n");
    let first = start_with_tokens(&one, &database, &tokens).ready();
    one.until("the first is loaded", || rows(&one) == 1);
    let _second = start_with_tokens(&other, &database, &tokens).ready();
    assert!(runs_it(&one) && !runs_it(&other));

    // The old token is worth nothing any longer, and no connection is left that was made with it.
    let next: String = std::iter::repeat_n('t', 1_700).collect();
    database.sql(&format!("ALTER ROLE postgres PASSWORD '{next}'"));
    token.lock().unwrap().clone_from(&next);
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'";
    database.sql_as(&next, end);
    put(&one, 2, "b\n");
    one.until("the second is loaded", || rows(&one) + rows(&other) == 2);

    first.kill();
    put(&one, 3, "c\nd\n");
    other.until("the other has it", || rows(&other) >= 2 && runs_it(&other));
    let said = format!("{} {} {}", one.said(), other.said(), database.log());
    assert!(!said.contains(&next) && !said.contains(PASSWORD), "{said}");
}
