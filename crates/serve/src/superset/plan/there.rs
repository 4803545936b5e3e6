//! What a Superset holds of a project, read in a few requests.
//!
//! Lists say what is there; one export says how it is. Invariant: nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use uuid::Uuid;

use super::asset::{Asset, assets_of, is_marked};
use super::roles::reads;
use crate::superset::bundle::AssetKind;
use crate::superset::client::{Client, Error, Listed, Permission};

/// An asset by kind, number and id.
type Known = (AssetKind, i64, Uuid);

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct There {
    pub(super) lists: BTreeMap<AssetKind, Vec<Listed>>,
    /// Assets with our ids, as Superset exports them.
    pub assets: BTreeMap<Uuid, Asset>,
    /// Dashboards that carry our mark.
    pub(super) marked: BTreeSet<Uuid>,
}

impl There {
    /// Reads what is there of these assets, and around them.
    ///
    /// # Errors
    /// When Superset does not answer as it should.
    pub fn read(client: &Client, ours: &[Asset], project: &str) -> Result<Self, Error> {
        let mut there = Self::default();
        // Dashboards are listed while the way down from the database to charts is gone.
        let dashboards = std::thread::scope(|scope| {
            let dashboards = scope.spawn(|| client.list(AssetKind::Dashboard));
            let below = there.read_below_database(client, ours);
            let dashboards = dashboards.join().unwrap_or_else(|_| Err(broken()));
            below.and(dashboards)
        })?;
        for listed in dashboards.iter().filter(|listed| is_managed(&listed.row)) {
            let is_known = ours.iter().any(|asset| asset.uuid == listed.uuid);
            let details = if is_known { None } else { client.asset(AssetKind::Dashboard, listed.id)? };
            if is_known || details.is_some_and(|details| is_marked(details.get("json_metadata"), project)) {
                there.marked.insert(listed.uuid);
            }
        }
        there.lists.insert(AssetKind::Dashboard, dashboards);
        there.export(client, ours)?;
        Ok(there)
    }

    fn read_below_database(&mut self, client: &Client, ours: &[Asset]) -> Result<(), Error> {
        let databases = client.list(AssetKind::Database)?;
        let of_ours = |database: &&Listed| {
            let mut wanted = ours.iter().filter(|asset| asset.kind == AssetKind::Database);
            wanted.any(|asset| asset.uuid == database.uuid || asset.name == database.name)
        };
        let ids: Vec<i64> = databases.iter().filter(of_ours).map(|database| database.id).collect();
        self.lists.insert(AssetKind::Database, databases);
        let mut datasets = Vec::new();
        for id in ids {
            datasets.extend(client.datasets_of(id)?);
        }
        // One after the other: two lists of a kind at once may each be answered by the other's filters.
        let mut charts = Vec::new();
        for dataset in &datasets {
            charts.extend(client.charts_of(dataset.id)?);
        }
        self.lists.insert(AssetKind::Dataset, datasets);
        self.lists.insert(AssetKind::Chart, charts);
        Ok(())
    }

    /// Exports what has our ids: dashboards with all below them, then what no dashboard shows.
    fn export(&mut self, client: &Client, ours: &[Asset]) -> Result<(), Error> {
        for kind in AssetKind::ALL.into_iter().rev() {
            let wanted: BTreeSet<Uuid> =
                ours.iter().filter(|asset| asset.kind == kind).map(|asset| asset.uuid).collect();
            let is_missing =
                |listed: &&Listed| wanted.contains(&listed.uuid) && !self.assets.contains_key(&listed.uuid);
            let ids: Vec<i64> = self.listed(kind).iter().filter(is_missing).map(|listed| listed.id).collect();
            for asset in assets_of(&client.export(kind, &ids)?)? {
                self.assets.insert(asset.uuid, asset);
            }
        }
        Ok(())
    }

    /// The assets of a kind.
    #[must_use]
    pub fn listed(&self, kind: AssetKind) -> &[Listed] {
        self.lists.get(&kind).map(Vec::as_slice).unwrap_or_default()
    }

    /// The number of an asset.
    #[must_use]
    pub fn id(&self, kind: AssetKind, uuid: Uuid) -> Option<i64> {
        self.listed(kind).iter().find(|listed| listed.uuid == uuid).map(|listed| listed.id)
    }

    /// Whether a permission is to read a dataset of our database.
    pub(super) fn is_read_of_ours(&self, permission: &Permission) -> bool {
        let datasets = self.listed(AssetKind::Dataset).iter();
        let mut names = datasets.filter_map(|listed| listed.row.pointer("/database/database_name")?.as_str());
        reads(permission) && names.any(|name| permission.on.starts_with(&format!("[{name}].")))
    }

    /// Whether an asset was made from the project: it carries the mark, and is no copy that somebody made of it.
    pub(super) fn is_ours(&self, listed: &Listed, project: &str) -> bool {
        match listed.kind {
            AssetKind::Database => false,
            AssetKind::Dataset => is_marked(listed.row.get("extra"), project),
            AssetKind::Chart => is_managed(&listed.row) && is_marked(listed.row.get("params"), project),
            AssetKind::Dashboard => self.marked.contains(&listed.uuid),
        }
    }

    /// Why an asset stays, read by its own id: it is somebody else's by now, as its number, its mark or its management is
    /// another, or somebody uses it. Nothing where it may be removed.
    pub(super) fn why_kept(client: &Client, (kind, id, uuid): Known, project: &str) -> Result<Option<String>, Error> {
        let Some(details) = client.asset(kind, uuid)? else { return Ok(None) };
        let settings = match kind {
            AssetKind::Database => None,
            AssetKind::Dataset => details.get("extra"),
            AssetKind::Chart => details.get("params"),
            AssetKind::Dashboard => details.get("json_metadata"),
        };
        let is_it = details.get("id").and_then(Json::as_i64) == Some(id);
        if !is_it || !is_managed(&details) || !is_marked(settings, project) {
            return Ok(Some("it is not this project's any more".into()));
        }
        let users: Vec<String> = match kind {
            AssetKind::Dataset => client.users_of_dataset(id)?.iter().map(|name| format!("chart `{name}`")).collect(),
            AssetKind::Chart => dashboards_of(&details).map(|row| format!("dashboard `{}`", title(row))).collect(),
            AssetKind::Database | AssetKind::Dashboard => Vec::new(),
        };
        Ok((!users.is_empty()).then(|| format!("{} uses it", users.join(", "))))
    }

    /// The names of what uses an asset and is not among these.
    pub(super) fn users_besides(&self, listed: &Listed, besides: impl Fn(&Listed) -> bool) -> Vec<String> {
        let number = |row: &Json, key: &str| row.get(key).and_then(Json::as_i64);
        match listed.kind {
            AssetKind::Chart => {
                let known = |id| self.listed(AssetKind::Dashboard).iter().find(|dashboard| Some(dashboard.id) == id);
                let others = dashboards_of(&listed.row).filter(|row| !known(number(row, "id")).is_some_and(&besides));
                others.map(|row| format!("dashboard `{}`", title(row))).collect()
            }
            AssetKind::Dataset => {
                let charts = self.listed(AssetKind::Chart).iter();
                let users =
                    charts.filter(|chart| number(&chart.row, "datasource_id") == Some(listed.id) && !besides(chart));
                users.map(|chart| format!("chart `{}`", chart.name)).collect()
            }
            AssetKind::Database | AssetKind::Dashboard => Vec::new(),
        }
    }
}

fn dashboards_of(chart: &Json) -> impl Iterator<Item = &Json> {
    chart.get("dashboards").and_then(Json::as_array).into_iter().flatten()
}

fn title(dashboard: &Json) -> &str {
    dashboard.get("dashboard_title").and_then(Json::as_str).unwrap_or("?")
}

pub(super) fn is_managed(row: &Json) -> bool {
    row.get("is_managed_externally").and_then(Json::as_bool) == Some(true)
}

fn broken() -> Error {
    Error::Files("reading broke off".into())
}
