//! One table that is not well holds up no other: readiness, queries, deliveries, flush and stop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folders::{Here, asked, landed, send, tick};
use crate::rehearsal::project;
use crate::rehearsal::server::Refused;

/// The data files of a table.
fn files(here: &Here, table: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(here.place.data.join("lake").join(table)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect()
}

fn dataset<'a>(status: &'a Value, dataset: &str) -> &'a Value {
    let all = status["datasets"].as_array().unwrap();
    all.iter().find(|d| d["dataset"] == dataset).unwrap()
}

fn state<'a>(status: &'a Value, name: &str) -> &'a str {
    dataset(status, name)["state"].as_str().unwrap()
}

fn rows(status: &Value, name: &str) -> u64 {
    dataset(status, name)["rows"].as_u64().unwrap()
}

#[test]
fn a_model_that_is_stalled_at_start_holds_up_its_own_table_and_those_behind_it_alone() {
    let here = Here::new();
    let server = here.place.start().ready();
    send(&here.place, project::TOPIC, &[tick(1, ""), tick(2, "")]);
    landed(&here.place, "SELECT COUNT(*) FROM curated.ticks_once", &[2]);
    assert!(here.place.flush());
    server.stop();
    // What is derived is made again from raw, whose file is away.
    let raw = files(&here, "raw/ticks");
    let [file] = raw.as_slice() else { panic!("{raw:?}") };
    let kept = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap();
    for table in ["curated/ticks_once", "serving/ticks_hourly"] {
        std::fs::remove_dir_all(here.place.data.join("lake").join(table)).unwrap();
    }

    let server = here.place.start().ready();
    here.place.until("stalled", || state(&here.place.status().unwrap(), "ticks_once") == "stalled");
    let status = here.place.status().unwrap();
    assert_eq!(status["ready"], true, "{status}");
    assert!(
        status["troubles"].as_array().unwrap().iter().any(|t| t["dataset"] == "ticks_once" && t["state"] == "stalled")
    );
    // A query is refused for the table alone that does not yet show what it had.
    assert_eq!(here.place.ask("SELECT COUNT(*) FROM curated.ticks_once"), Err(Refused::NotReady));
    assert_eq!(here.place.ask("SELECT COUNT(*) FROM serving.ticks_hourly_live"), Err(Refused::NotReady));
    send(&here.place, project::TOPIC, &[tick(3, "")]);
    here.place.until("landed", || rows(&here.place.status().unwrap(), "ticks") == 3);
    let delivered = here.project("more.ndjson");
    std::fs::write(&delivered, tick(4, "") + "\n").unwrap();
    let (code, said) = asked(&here, &["ingest", "ticks", delivered.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");

    let began = Instant::now();
    let (code, said) = asked(&here, &["flush"]);
    assert!(code == Some(4) && said.contains("ticks_once is behind: stalled"), "{code:?}: {said}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let (code, said) = asked(&here, &["status"]);
    assert!(code == Some(4) && said.contains("stalled ticks_once: "), "{code:?}: {said}");
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    let server = here.place.start().ready();
    here.place.until("stalled", || state(&here.place.status().unwrap(), "ticks_once") == "stalled");
    std::fs::write(file, kept).unwrap();
    here.place.until("well again", || here.place.ask("SELECT COUNT(*) FROM curated.ticks_once").is_ok());
    landed(&here.place, "SELECT COUNT(*) FROM curated.ticks_once", &[4]);
    landed(&here.place, "SELECT SUM(ticks) FROM serving.ticks_hourly_live", &[4]);
    let (code, said) = asked(&here, &["status"]);
    assert_eq!(code, Some(0), "{said}");
    server.stop();
}
