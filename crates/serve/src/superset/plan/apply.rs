//! Does what a plan says: adopts, imports in one transaction, looks whether it is so, then removes.
//!
//! Invariant: nothing is removed before what takes its place is there, but for a dashboard whose address the new one has.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::asset::{Asset, files_of, refer_to_each_other};
use super::roles::{KIND, apply_roles, plan_roles};
use super::there::There;
use super::{Action, Change, Plan, RoleWanted, plan, roles_of, slug};
use crate::superset::bundle::AssetKind;
use crate::superset::client::form::split_password;
use crate::superset::client::{Client, Error};

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What is there now.
    pub there: There,
}

/// Reads what is there and compares it, roles as well.
///
/// # Errors
/// When Superset does not answer as it should, or an asset refers to nothing.
pub fn plan_all(client: &Client, ours: &[Asset], project: &str) -> Result<(Plan, There), Error> {
    refer_to_each_other(ours)?;
    let there = There::read(client, ours, project)?;
    let mut plan = plan(ours, &there, project);
    plan_roles(&mut plan, &roles_of(ours, project), &there, client)?;
    Ok((plan, there))
}

/// Does it. The database's URI is the whole one; its password goes apart. `tell` is told of each step before it is done.
///
/// # Errors
/// When a step is not done; those before it are.
pub fn apply(
    client: &Client,
    ours: &[Asset],
    project: &str,
    (plan, there): (&Plan, There),
    now: DateTime<Utc>,
    tell: &dyn Fn(&str),
) -> Result<Applied, Error> {
    for change in plan.with(Action::Adopt) {
        if let (Some(kind), Some(id), Some(uuid)) = (kind_of(change), change.id, change.uuid) {
            tell(&format!("taking over {} {}", change.kind, change.name));
            client.adopt(kind, id, uuid)?;
        }
    }
    for change in plan.with(Action::Remove).filter(|change| takes_the_place(change, ours, &there)) {
        remove(client, change, project, tell)?;
    }
    let mut there = there;
    if plan.imports() {
        nothing_came_in_the_way(client, ours, project, plan)?;
        tell(&format!("importing {} assets in one transaction", ours.len()));
        let (sent, password) = without_password(ours);
        client.import(&files_of(&sent, now), password.as_deref())?;
        tell("looking whether everything is there");
        there = There::read(client, ours, project)?;
        is_whole(client, ours, &there)?;
    }
    for change in plan.with(Action::Remove).filter(|change| !takes_the_place(change, ours, &there)) {
        remove(client, change, project, tell)?;
    }
    let changed = |role: &RoleWanted| plan.changes.iter().any(|change| change.kind == KIND && change.name == role.name);
    let roles: Vec<RoleWanted> = roles_of(ours, project).into_iter().filter(changed).collect();
    if !roles.is_empty() {
        tell("setting what roles may read");
        apply_roles(&roles, &there, client)?;
    }
    Ok(Applied { there })
}

fn remove(client: &Client, change: &Change, project: &str, tell: &dyn Fn(&str)) -> Result<(), Error> {
    let (Some(kind), Some(id), Some(uuid)) = (kind_of(change), change.id, change.uuid) else { return Ok(()) };
    match There::why_kept(client, (kind, id, uuid), project)? {
        Some(why) => {
            tell(&format!("keeping {} {}: {why}", change.kind, change.name));
            Ok(())
        }
        None => {
            tell(&format!("removing {} {}", change.kind, change.name));
            client.remove(kind, id)
        }
    }
}

/// An import writes over a database of the same name and a dataset of the same table, whatever their ids: where one is to be
/// made it is looked for once more, as the first list may have been answered by somebody else's filters.
fn nothing_came_in_the_way(client: &Client, ours: &[Asset], project: &str, planned: &Plan) -> Result<(), Error> {
    let is_made = |change: &&Change| change.action != Action::Change;
    let makes = |kind: AssetKind| planned.changes.iter().filter(is_made).any(|change| change.kind == kind.as_str());
    if !makes(AssetKind::Database) && !makes(AssetKind::Dataset) && !makes(AssetKind::Dashboard) {
        return Ok(());
    }
    let again = plan(ours, &There::read(client, ours, project)?, project);
    match again.changes.iter().find(|change| matches!(change.action, Action::Adopt | Action::Refuse)) {
        Some(change) => {
            let what = format!("be given {} {}", change.kind, change.name);
            Err(refused(client, what, &change.what.join("; ")))
        }
        None => Ok(()),
    }
}

fn kind_of(change: &Change) -> Option<AssetKind> {
    AssetKind::ALL.into_iter().find(|kind| kind.as_str() == change.kind)
}

/// Whether one of ours gets the address of what is removed.
fn takes_the_place(change: &Change, ours: &[Asset], there: &There) -> bool {
    let listed = there.listed(AssetKind::Dashboard).iter().find(|listed| Some(listed.uuid) == change.uuid);
    let address = listed.and_then(|listed| slug(&listed.row));
    address.is_some() && ours.iter().any(|asset| asset.kind == AssetKind::Dashboard && slug(&asset.body) == address)
}

/// The assets with the database's password masked, and the password.
fn without_password(ours: &[Asset]) -> (Vec<Asset>, Option<String>) {
    let mut sent = ours.to_vec();
    let mut found = None;
    for asset in sent.iter_mut().filter(|asset| asset.kind == AssetKind::Database) {
        let Some(Json::String(uri)) = asset.body.get_mut("sqlalchemy_uri") else { continue };
        let (masked, password) = split_password(uri);
        *uri = masked;
        found = found.or(password);
    }
    (sent, found)
}

/// Whether every asset is there, and every dashboard has its charts: Superset answers that all is well also where it left
/// some out.
fn is_whole(client: &Client, ours: &[Asset], there: &There) -> Result<(), Error> {
    let missing = |asset: &&Asset| there.id(asset.kind, asset.uuid).is_none();
    if let Some(asset) = ours.iter().find(missing) {
        let what = format!("import {} {}", asset.kind.as_str(), asset.name);
        return Err(refused(client, what, "it said that all went well, and it is not there"));
    }
    for dashboard in ours.iter().filter(|asset| asset.kind == AssetKind::Dashboard) {
        let pieces = dashboard.body.get("position").and_then(Json::as_object).into_iter().flatten();
        let uuids = pieces.filter_map(|(_, piece)| piece.pointer("/meta/uuid")?.as_str()?.parse::<Uuid>().ok());
        let wanted: BTreeSet<i64> = uuids.filter_map(|uuid| there.id(AssetKind::Chart, uuid)).collect();
        let shown: BTreeSet<i64> = client.charts_of_dashboard(dashboard.uuid)?.into_iter().collect();
        if wanted != shown {
            let what = format!("import all charts of dashboard {}", dashboard.name);
            return Err(refused(client, what, "it said that all went well, and shows others"));
        }
    }
    Ok(())
}

fn refused(client: &Client, what: String, said: &str) -> Error {
    Error::Refused { url: client.url().to_owned(), what, status: 200, said: said.to_owned() }
}
