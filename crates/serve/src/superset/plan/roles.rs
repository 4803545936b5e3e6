//! One role a dashboard: whoever has it may look at what the dashboard shows, and at nothing else of the project.
//!
//! A role permits what Superset's Gamma permits (looking, not changing) and reading the dashboard's datasets. Invariant: a
//! role of another name is never touched.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vitalake_runtime::hex;

use super::asset::Asset;
use super::there::There;
use super::{Action, Change, Plan};
use crate::superset::bundle::AssetKind;
use crate::superset::client::{Client, Error, Permission, READ, permission_name};

pub(super) const KIND: &str = "role";
/// The role of Superset's own that the rest is taken from.
const MODEL: &str = "Gamma";
const NAME_CHARS_MAX: usize = 64;

/// A role as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleWanted {
    /// Its name: `remote-care: Ward overview`.
    pub name: String,
    /// The datasets that it may read.
    pub datasets: BTreeSet<Uuid>,
}

/// The roles that go with assets.
#[must_use]
pub fn roles_of(ours: &[Asset], project: &str) -> Vec<RoleWanted> {
    let of_kind = |kind| ours.iter().filter(move |asset| asset.kind == kind);
    let uuid = |value: &Json| value.as_str().and_then(|text| text.parse::<Uuid>().ok());
    let dataset_of = |chart: Uuid| {
        let chart = of_kind(AssetKind::Chart).find(|asset| asset.uuid == chart)?;
        chart.body.get("dataset_uuid").and_then(uuid)
    };
    of_kind(AssetKind::Dashboard)
        .map(|dashboard| {
            let pieces = dashboard.body.get("position").and_then(Json::as_object).into_iter().flatten();
            let charts = pieces.filter_map(|(_, piece)| piece.pointer("/meta/uuid").and_then(uuid));
            RoleWanted { name: role_name(project, &dashboard.name), datasets: charts.filter_map(dataset_of).collect() }
        })
        .collect()
}

/// A role's name. Superset has room for 64 characters: a longer one is cut, and told apart by a part of its hash.
fn role_name(project: &str, title: &str) -> String {
    let name = format!("{project}: {title}");
    if name.chars().count() <= NAME_CHARS_MAX {
        return name;
    }
    let hash = hex::encode(&Sha256::digest(name.as_bytes())[..4]);
    let kept: String = name.chars().take(NAME_CHARS_MAX - hash.len() - 2).collect();
    format!("{kept}… {hash}")
}

/// Adds what has to be done to roles.
///
/// # Errors
/// When Superset does not answer as it should.
pub(super) fn plan_roles(plan: &mut Plan, wanted: &[RoleWanted], there: &There, client: &Client) -> Result<(), Error> {
    let mut model = None;
    for role in wanted {
        let change = |action, what| Change { action, kind: KIND, name: role.name.clone(), what, id: None, uuid: None };
        let Some(found) = client.role(&role.name)? else {
            plan.changes.push(change(Action::Create, Vec::new()));
            continue;
        };
        let permissions = client.permissions(&found)?;
        let known = match model.take() {
            Some(known) => known,
            None => of_model(client)?,
        };
        let permits_more = permissions.iter().find(|one| !known.contains(&one.id) && !there.is_read_of_ours(one));
        model = Some(known);
        let reads: BTreeSet<&String> = permissions.iter().filter(|one| reads(one)).map(|one| &one.on).collect();
        let reads_its_own = names_of(role, there).is_some_and(|names| names.iter().eq(reads));
        match permits_more {
            Some(one) => {
                let what =
                    format!("there is one already that permits more than its page: {} on {}", one.action, one.on);
                plan.changes.push(change(Action::Adopt, vec![what]));
            }
            None if reads_its_own => plan.unchanged += 1,
            None => plan.changes.push(change(Action::Change, vec!["the datasets that it may read".into()])),
        }
    }
    Ok(())
}

/// What the model permits but for reading datasets.
fn of_model(client: &Client) -> Result<BTreeSet<i64>, Error> {
    let permissions = match client.role(MODEL)? {
        Some(model) => client.permissions(&model)?,
        None => Vec::new(),
    };
    Ok(permissions.iter().filter(|one| !reads(one)).map(|one| one.id).collect())
}

/// Makes roles as they should be.
///
/// # Errors
/// When Superset does not do it.
pub(super) fn apply_roles(wanted: &[RoleWanted], there: &There, client: &Client) -> Result<(), Error> {
    let model = of_model(client)?;
    for role in wanted {
        let names =
            names_of(role, there).ok_or_else(|| Error::Files(format!("a dataset of the role {}", role.name)))?;
        let names: Vec<String> = names.into_iter().collect();
        let found = match client.role(&role.name)? {
            Some(found) => found,
            None => client.make_role(&role.name)?,
        };
        let own = client.permissions_to_read(&names)?;
        client.permit(&found, &model.iter().copied().chain(own).collect())?;
    }
    Ok(())
}

pub(super) fn reads(permission: &Permission) -> bool {
    permission.action == READ
}

/// The permissions' names; nothing while a dataset is not there.
fn names_of(role: &RoleWanted, there: &There) -> Option<BTreeSet<String>> {
    let name = |uuid: &Uuid| {
        let dataset = there.listed(AssetKind::Dataset).iter().find(|listed| listed.uuid == *uuid)?;
        let database = dataset.row.pointer("/database/database_name")?.as_str()?;
        Some(permission_name(database, &dataset.name, dataset.id))
    };
    role.datasets.iter().map(name).collect()
}
