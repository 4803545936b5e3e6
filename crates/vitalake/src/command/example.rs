//! `vitalake up --example`: the example project, written into a folder, started and fed with wearers.
//!
//! The project comes with the binary, so that a newcomer needs nothing else. Invariant: a folder that holds another project, or
//! anything else, is left as it is; one that holds the example goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use vitalake_contract::project::CONFIG_FILE;
use vitalake_runtime::shutdown::Shutdown;

use crate::cli::{ConnectArgs, FileFormat};
use crate::client::{Client, Outgoing};
use crate::failure::Failure;
use crate::local::Purpose;
use crate::simulate;

/// The folder where none is named.
const FOLDER: &str = "remote-care";
/// How many wearers send events where nobody says.
pub const WEARERS: u32 = 50;
/// Minutes of history that they send first.
const HISTORY_MINUTES: u32 = 24 * 60;
/// How often the clinic's files are offered to a platform that is still starting.
const OFFERED_MAX: u32 = 120;
const BETWEEN: Duration = Duration::from_millis(500);
/// The clinic's files: the dataset of each, and its content.
const DELIVERIES: [(&str, &str); 2] = [
    ("patients", include_str!("../../../../examples/remote-care/deliveries/patients.csv")),
    ("device_assignments", include_str!("../../../../examples/remote-care/deliveries/device_assignments.csv")),
];
/// Folders that feeds watch; they are empty at first.
const WATCHED: [&str; 3] = ["deliveries/assignments", "deliveries/patients", "deliveries/visits"];
/// The project's files.
const FILES: [(&str, &str); 29] = [
    ("alerts/readings_ahead.yaml", include_str!("../../../../examples/remote-care/alerts/readings_ahead.yaml")),
    ("alerts/readings_repeated.yaml", include_str!("../../../../examples/remote-care/alerts/readings_repeated.yaml")),
    ("alerts/readings_silent.yaml", include_str!("../../../../examples/remote-care/alerts/readings_silent.yaml")),
    ("alerts/visits_late.yaml", include_str!("../../../../examples/remote-care/alerts/visits_late.yaml")),
    (
        "contracts/curated/app_activity.yaml",
        include_str!("../../../../examples/remote-care/contracts/curated/app_activity.yaml"),
    ),
    ("contracts/curated/vitals.yaml", include_str!("../../../../examples/remote-care/contracts/curated/vitals.yaml")),
    ("contracts/raw/app_events.yaml", include_str!("../../../../examples/remote-care/contracts/raw/app_events.yaml")),
    (
        "contracts/raw/clinic_visits.yaml",
        include_str!("../../../../examples/remote-care/contracts/raw/clinic_visits.yaml"),
    ),
    (
        "contracts/raw/device_assignments.yaml",
        include_str!("../../../../examples/remote-care/contracts/raw/device_assignments.yaml"),
    ),
    ("contracts/raw/patients.yaml", include_str!("../../../../examples/remote-care/contracts/raw/patients.yaml")),
    (
        "contracts/raw/wearable_readings.yaml",
        include_str!("../../../../examples/remote-care/contracts/raw/wearable_readings.yaml"),
    ),
    (
        "contracts/serving/engagement_daily.yaml",
        include_str!("../../../../examples/remote-care/contracts/serving/engagement_daily.yaml"),
    ),
    (
        "contracts/serving/vitals_hourly.yaml",
        include_str!("../../../../examples/remote-care/contracts/serving/vitals_hourly.yaml"),
    ),
    ("dashboards/morning_round.yaml", include_str!("../../../../examples/remote-care/dashboards/morning_round.yaml")),
    (
        "deliveries/device_assignments.csv",
        include_str!("../../../../examples/remote-care/deliveries/device_assignments.csv"),
    ),
    ("deliveries/patients.csv", include_str!("../../../../examples/remote-care/deliveries/patients.csv")),
    ("feeds/clinic_visits.yaml", include_str!("../../../../examples/remote-care/feeds/clinic_visits.yaml")),
    ("feeds/device_assignments.yaml", include_str!("../../../../examples/remote-care/feeds/device_assignments.yaml")),
    ("feeds/patients.yaml", include_str!("../../../../examples/remote-care/feeds/patients.yaml")),
    ("measures/engagement_daily.yaml", include_str!("../../../../examples/remote-care/measures/engagement_daily.yaml")),
    ("measures/vitals_hourly.yaml", include_str!("../../../../examples/remote-care/measures/vitals_hourly.yaml")),
    (
        "models/curated/app_activity.sql",
        include_str!("../../../../examples/remote-care/models/curated/app_activity.sql"),
    ),
    ("models/curated/vitals.sql", include_str!("../../../../examples/remote-care/models/curated/vitals.sql")),
    (
        "models/serving/engagement_daily.sql",
        include_str!("../../../../examples/remote-care/models/serving/engagement_daily.sql"),
    ),
    (
        "models/serving/vitals_hourly.sql",
        include_str!("../../../../examples/remote-care/models/serving/vitals_hourly.sql"),
    ),
    ("runbooks/readings_ahead.md", include_str!("../../../../examples/remote-care/runbooks/readings_ahead.md")),
    ("runbooks/readings_repeated.md", include_str!("../../../../examples/remote-care/runbooks/readings_repeated.md")),
    ("runbooks/readings_silent.md", include_str!("../../../../examples/remote-care/runbooks/readings_silent.md")),
    ("vitalake.yaml", include_str!("../../../../examples/remote-care/vitalake.yaml")),
];

/// What a newcomer asks first.
const QUESTION: &str = "SELECT hour, COUNT(*) AS patients, SUM(readings) AS readings, ROUND(AVG(heart_rate_avg), 1) AS heart_rate FROM serving.vitals_hourly_live GROUP BY hour ORDER BY hour DESC LIMIT 6";

/// The folder of the example: the one that is named, written where it is empty or not there yet.
///
/// # Errors
/// When the folder holds something else, or cannot be written.
pub fn prepare(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = if dir == Path::new(".") { PathBuf::from(FOLDER) } else { dir.to_owned() };
    let shown = dir.display();
    if let Ok(there) = fs::read_to_string(dir.join(CONFIG_FILE)) {
        let is_example = there.lines().any(|line| line == "name: remote-care");
        if is_example {
            return Ok(dir);
        }
        let help = "name a folder that is empty or not there yet: vitalake up --example DIR";
        return Err(Failure::input(format!("{shown} holds another project, and nothing was written"), help).into());
    }
    let is_occupied = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_occupied {
        let help = "name a folder that is empty or not there yet: vitalake up --example DIR";
        return Err(Failure::input(format!("{shown} is not empty, and nothing was written"), help).into());
    }
    for folder in WATCHED {
        fs::create_dir_all(dir.join(folder)).with_context(|| format!("{shown} cannot be written"))?;
    }
    for (path, text) in FILES {
        let file = dir.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{shown} cannot be written"))?;
        }
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(dir)
}

/// The clinic's files first, so that every reading finds who wore the device; then wearers, with a day of history where
/// there is none.
pub fn feed(server: String, kafka: String, wearers: u32, shutdown: &Arc<Shutdown>) {
    let mut stop = shutdown.watch();
    tokio::spawn(async move {
        let mut stop_run = stop.clone();
        let fed = async {
            let asked = server.clone();
            let is_new = deliver_all(&server).await;
            let mut options = simulate::Options::new(&kafka, wearers);
            options.history_minutes = if is_new { HISTORY_MINUTES } else { 0 };
            tracing::info!("the wearers send; a first question: vitalake query --server {asked} \"{QUESTION}\"");
            simulate::run(&options, async move { stop_run.wait().await }, |_| {}).await
        };
        tokio::select! {
            () = stop.wait() => {}
            ended = fed => if let Err(error) = ended {
                tracing::warn!(error = &error as &dyn std::error::Error, "the simulated wearers have stopped");
            },
        }
    });
}

/// Whether anything of the clinic's files was new.
async fn deliver_all(server: &str) -> bool {
    let mut is_new = false;
    for (dataset, text) in DELIVERIES {
        for _ in 0..OFFERED_MAX {
            let server = server.to_owned();
            let delivered = tokio::task::spawn_blocking(move || deliver(&server, dataset, text)).await;
            if let Ok(Ok(was_new)) = delivered {
                is_new |= was_new;
                break;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }
    is_new
}

fn deliver(server: &str, dataset: &str, text: &str) -> anyhow::Result<bool> {
    let to = ConnectArgs { server: Some(server.to_owned()), project: None, data: None };
    let client = Client::connect(&to, Purpose::Look)?;
    let mut bytes = text.as_bytes();
    let file = Outgoing { length: Some(bytes.len() as u64), bytes: &mut bytes };
    let name = format!("{dataset}.csv");
    let report = client.deliver(dataset, &name, FileFormat::Csv, &[], file)?;
    Ok(matches!(report.state, vitalake_ops::status::DeliveryState::Loaded))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    fn files_below(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                // What a run of the example leaves there.
                true if name == "data" => {}
                true => files_below(&path, root, found),
                false if name.ends_with(".gitkeep") => {}
                false => {
                    found.insert(name);
                }
            }
        }
    }

    #[test]
    fn the_binary_has_the_whole_example() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/remote-care");
        let mut there = BTreeSet::new();
        files_below(&root, &root, &mut there);
        let shipped: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(shipped, there);
    }

    #[test]
    fn it_is_written_once_and_another_folder_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("lake");
        assert_eq!(prepare(&dir).unwrap(), dir);
        fs::write(dir.join("runbooks/ours.md"), "ours").unwrap();
        assert_eq!(prepare(&dir).unwrap(), dir);
        assert!(dir.join("runbooks/ours.md").exists());
        assert!(prepare(place.path()).is_err(), "it holds a folder");
        fs::write(place.path().join(CONFIG_FILE), "name: other\n").unwrap();
        assert!(prepare(place.path()).is_err(), "it is another project");
    }
}
