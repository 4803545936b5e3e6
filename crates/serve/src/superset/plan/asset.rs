//! Assets out of files, ours and Superset's, and the mark by which ours are known again.
//!
//! Pure. Invariant: what `files_of` writes, `assets_of` reads as the same.

use serde_json::{Value as Json, json};
use uuid::Uuid;
use vitalake_contract::yaml;

use crate::superset::bundle::AssetKind;
use crate::superset::client::Error;

/// The key of the mark, in what each kind of asset keeps of keys that Superset does not know.
const MARK: &str = "vitalake_project";

/// An asset as a file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    /// What it is.
    pub kind: AssetKind,
    /// Its id.
    pub uuid: Uuid,
    /// Its name or title.
    pub name: String,
    /// The file's path below its folder.
    pub path: String,
    /// What the file says.
    pub body: Json,
}

fn folder(kind: AssetKind) -> &'static str {
    match kind {
        AssetKind::Database => "databases",
        AssetKind::Dataset => "datasets",
        AssetKind::Chart => "charts",
        AssetKind::Dashboard => "dashboards",
    }
}

/// Where a kind of asset keeps our mark; a database has none, as its id is made of the project's name.
fn mark_place(kind: AssetKind) -> Option<&'static str> {
    match kind {
        AssetKind::Database => None,
        AssetKind::Dataset => Some("extra"),
        AssetKind::Chart => Some("params"),
        AssetKind::Dashboard => Some("metadata"),
    }
}

/// The assets among files; other files are left out.
///
/// # Errors
/// When a file of an asset is none.
pub fn assets_of(files: &[(String, Vec<u8>)]) -> Result<Vec<Asset>, Error> {
    let mut assets = Vec::new();
    for kind in AssetKind::ALL {
        let of_kind = files.iter().filter(|(path, _)| path.split('/').any(|part| part == folder(kind)));
        for (path, bytes) in of_kind {
            let wrong = |why: &str| Error::Files(format!("{path}: {why}"));
            let body = match serde_json::from_slice(bytes) {
                Ok(body) => body,
                Err(_) => {
                    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is no text"))?;
                    yaml::parse(path, text).map_err(|_| wrong("it is no YAML"))?.to_json()
                }
            };
            let text = |key: &str| body.get(key).and_then(Json::as_str);
            let uuid = text("uuid").and_then(|text| text.parse().ok()).ok_or_else(|| wrong("it has no uuid"))?;
            let name = match kind {
                AssetKind::Database => text("database_name"),
                AssetKind::Dataset => text("table_name"),
                AssetKind::Chart => text("slice_name"),
                AssetKind::Dashboard => text("dashboard_title"),
            };
            let name = name.unwrap_or_default().to_owned();
            let from = path.find(folder(kind)).unwrap_or_default();
            let path = path.get(from..).unwrap_or(path).to_owned();
            assets.push(Asset { kind, uuid, name, path, body });
        }
    }
    Ok(assets)
}

/// Marks assets as a project's.
pub fn mark(assets: &mut [Asset], project: &str) {
    for asset in assets {
        let Some(place) = mark_place(asset.kind) else { continue };
        let Some(body) = asset.body.as_object_mut() else { continue };
        let object = body.entry(place).or_insert_with(|| json!({}));
        if object.is_null() {
            *object = json!({});
        }
        if let Some(object) = object.as_object_mut() {
            object.insert(MARK.into(), project.into());
        }
    }
}

/// Whether an asset's own settings (`params`, `json_metadata`, `extra`, as text or not) carry a project's mark.
#[must_use]
pub fn is_marked(settings: Option<&Json>, project: &str) -> bool {
    let parsed = settings.and_then(Json::as_str).and_then(|text| serde_json::from_str::<Json>(text).ok());
    parsed.as_ref().or(settings).and_then(|settings| settings.get(MARK)?.as_str()) == Some(project)
}

/// Takes the mark away, for whoever reads the files as a person would.
pub fn unmark(assets: &mut [Asset]) {
    for asset in assets {
        let place = mark_place(asset.kind).and_then(|place| asset.body.get_mut(place)?.as_object_mut());
        if let Some(object) = place {
            object.remove(MARK);
        }
    }
}

/// Assets as files of one import. JSON is YAML.
#[must_use]
pub fn files_of(assets: &[Asset], now: chrono::DateTime<chrono::Utc>) -> Vec<(String, Vec<u8>)> {
    let head = json!({"version": "1.0.0", "type": "assets", "timestamp": now.to_rfc3339()});
    let head = ("metadata.yaml".to_owned(), head.to_string().into_bytes());
    let files = assets.iter().map(|asset| (asset.path.clone(), asset.body.to_string().into_bytes()));
    std::iter::once(head).chain(files).collect()
}

/// Looks whether assets refer to nothing that is not among them: Superset takes such a reference without a word, or says
/// that the import failed for an unknown reason.
///
/// # Errors
/// The first reference into nothing.
pub fn refer_to_each_other(assets: &[Asset]) -> Result<(), Error> {
    let is_there = |kind: AssetKind, uuid: &Json| {
        let uuid = uuid.as_str().and_then(|text| text.parse::<Uuid>().ok());
        assets.iter().any(|asset| asset.kind == kind && Some(asset.uuid) == uuid)
    };
    for asset in assets {
        let references: Vec<(AssetKind, &Json)> = match asset.kind {
            AssetKind::Database => Vec::new(),
            AssetKind::Dataset => {
                asset.body.get("database_uuid").map(|id| (AssetKind::Database, id)).into_iter().collect()
            }
            AssetKind::Chart => asset.body.get("dataset_uuid").map(|id| (AssetKind::Dataset, id)).into_iter().collect(),
            AssetKind::Dashboard => {
                let pieces = asset.body.get("position").and_then(Json::as_object);
                let charts = pieces.into_iter().flatten().filter_map(|(_, piece)| piece.pointer("/meta/uuid"));
                let filters = asset.body.pointer("/metadata/native_filter_configuration").and_then(Json::as_array);
                let targets =
                    filters.into_iter().flatten().filter_map(|filter| filter.get("targets")?.as_array()).flatten();
                let datasets = targets.filter_map(|target| target.get("datasetUuid"));
                charts.map(|id| (AssetKind::Chart, id)).chain(datasets.map(|id| (AssetKind::Dataset, id))).collect()
            }
        };
        if let Some((kind, _)) = references.into_iter().find(|(kind, id)| !is_there(*kind, id)) {
            return Err(Error::Files(format!("{} refers to a {} that is not there", asset.path, kind.as_str())));
        }
    }
    Ok(())
}
