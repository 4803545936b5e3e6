//! What a project needs in Azure, as files: `vitalake azure render` writes them, `--check` compares.
//!
//! Two kinds: the Bicep that is the same for every project comes with the binary and is written once, so that a team may
//! change it; what follows from the project (hubs of its topics, tables of the ops datasets, alert rules, the workbook,
//! timers of its feeds) lies in `project/` and is written each time. Invariant: the same project gives the same bytes.

mod alerts;
mod bicep;
mod hubs;
mod kql;
mod logs;
mod timers;
mod workbook;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vitalake_contract::Project;
use vitalake_ops::alerts::rule::rules;
use vitalake_runtime::config::Config;

pub(crate) use timers::DELIVER;
pub use timers::feed_of_function;

/// A file of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Its path inside the folder of the deployment, with `/`.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// What follows from a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// The files, by path.
    pub files: Vec<Rendered>,
    /// What could not be said to Azure, in words.
    pub left_out: Vec<String>,
}

/// What is the same for every project.
const SHIPPED: [(&str, &str); 16] = [
    ("main.bicep", include_str!("../../../../deploy/azure/main.bicep")),
    ("roles.json", include_str!("../../../../deploy/azure/roles.json")),
    ("README.md", include_str!("../../../../deploy/azure/README.md")),
    ("modules/broker.bicep", include_str!("../../../../deploy/azure/modules/broker.bicep")),
    ("modules/console.bicep", include_str!("../../../../deploy/azure/modules/console.bicep")),
    ("modules/control.bicep", include_str!("../../../../deploy/azure/modules/control.bicep")),
    ("modules/identity.bicep", include_str!("../../../../deploy/azure/modules/identity.bicep")),
    ("modules/kafka.bicep", include_str!("../../../../deploy/azure/modules/kafka.bicep")),
    ("modules/network.bicep", include_str!("../../../../deploy/azure/modules/network.bicep")),
    ("modules/platform.bicep", include_str!("../../../../deploy/azure/modules/platform.bicep")),
    ("modules/private-endpoint.bicep", include_str!("../../../../deploy/azure/modules/private-endpoint.bicep")),
    ("modules/registry.bicep", include_str!("../../../../deploy/azure/modules/registry.bicep")),
    ("modules/storage.bicep", include_str!("../../../../deploy/azure/modules/storage.bicep")),
    ("modules/telemetry.bicep", include_str!("../../../../deploy/azure/modules/telemetry.bicep")),
    ("modules/timers.bicep", include_str!("../../../../deploy/azure/modules/timers.bicep")),
    ("modules/vault.bicep", include_str!("../../../../deploy/azure/modules/vault.bicep")),
];

/// What a project's directory says, as files of `project/`.
#[must_use]
pub fn render(project: &Project, config: &Config) -> Deployment {
    let alerts: Vec<_> = project.alerts.iter().map(|file| file.rule.clone()).collect();
    let watched = rules(&alerts, &config.notify);
    let (timers, left_out) = timers::render(&project.feeds);
    let mut files = vec![
        Rendered { path: "project/hubs.bicep".to_owned(), text: hubs::render(project, config) },
        Rendered { path: "project/logs.bicep".to_owned(), text: logs::render() },
        Rendered { path: "project/alerts.bicep".to_owned(), text: alerts::render(&watched, project, config) },
        Rendered { path: "project/workbook.json".to_owned(), text: workbook::render() },
    ];
    files.extend(timers);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Deployment { files, left_out }
}

/// Writes a deployment into a folder and tells which files are new or changed.
///
/// What is shipped and already there is left as it is. Functions of feeds that are gone are removed.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(deployment: &Deployment, folder: &Path) -> io::Result<Vec<String>> {
    let mut changed = Vec::new();
    let mut put = |path: &str, text: &str| -> io::Result<()> {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, text)?;
        changed.push(path.to_owned());
        Ok(())
    };
    for (path, text) in SHIPPED.into_iter().filter(|(path, _)| !folder.join(path).exists()) {
        put(path, text)?;
    }
    for file in deployment.files.iter().filter(|file| differs(file, folder)) {
        put(&file.path, &file.text)?;
    }
    for stale in stale(deployment, folder)? {
        fs::remove_file(folder.join(&stale))?;
        if let Some(parent) = folder.join(&stale).parent() {
            // It has other files where somebody put some there.
            let _ = fs::remove_dir(parent);
        }
        changed.push(stale);
    }
    Ok(changed)
}

/// Which files of a folder are not what the project says.
///
/// # Errors
/// When the folder cannot be read.
pub fn differing(deployment: &Deployment, folder: &Path) -> io::Result<Vec<String>> {
    let mut paths: Vec<String> =
        deployment.files.iter().filter(|file| differs(file, folder)).map(|file| file.path.clone()).collect();
    paths.extend(stale(deployment, folder)?);
    Ok(paths)
}

fn differs(file: &Rendered, folder: &Path) -> bool {
    fs::read_to_string(folder.join(&file.path)).ok().as_deref() != Some(file.text.as_str())
}

/// Bindings of functions that the project has no longer.
fn stale(deployment: &Deployment, folder: &Path) -> io::Result<Vec<String>> {
    let functions: PathBuf = folder.join(timers::FOLDER);
    if !functions.is_dir() {
        return Ok(Vec::new());
    }
    let mut stale = Vec::new();
    for entry in fs::read_dir(functions)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let path = format!("{}/{name}/function.json", timers::FOLDER);
        let is_ours = feed_of_function(&name).is_some() && folder.join(&path).is_file();
        if is_ours && !deployment.files.iter().any(|file| file.path == path) {
            stale.push(path);
        }
    }
    stale.sort();
    Ok(stale)
}

#[cfg(test)]
mod tests;
