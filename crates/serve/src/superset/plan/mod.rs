//! What has to change in a Superset so that it holds a project's dashboards: read, compared, told in words.
//!
//! `there` reads, this decides, `apply` does. Invariant: what is changed or removed is ours: it has our id, or our mark and
//! is managed externally; all else is left alone, and what stands in the way is refused by name.

mod apply;
mod asset;
mod normal;
mod roles;
mod there;

use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

pub use self::apply::{Applied, apply, plan_all};
pub use self::asset::{Asset, assets_of, files_of, is_marked, mark, refer_to_each_other, unmark};
pub use self::normal::{Difference, differences, normal};
pub use self::roles::{RoleWanted, roles_of};
pub use self::there::There;
use self::there::is_managed;
use super::bundle::AssetKind;
use super::client::Listed;

/// What is done to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// It is ours and not wanted any more.
    Remove,
    /// Somebody else's stands where ours would be; it becomes ours where that is asked for.
    Adopt,
    /// Somebody else's has what ours, which is there as well, alone can have.
    Refuse,
    /// It is ours and not wanted any more, but somebody uses it.
    Keep,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What.
    pub action: Action,
    /// To what kind of thing: `chart`, `role`.
    pub kind: &'static str,
    /// Its name or title.
    pub name: String,
    /// In words: what differs, or why.
    pub what: Vec<String>,
    /// Its number there.
    #[serde(skip)]
    pub id: Option<i64>,
    /// The id that it has or gets.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub uuid: Option<Uuid>,
}

fn as_text<S: serde::Serializer>(uuid: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    uuid.map(|uuid| uuid.to_string()).serialize(serializer)
}

/// All there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// In the order in which it is told.
    pub changes: Vec<Change>,
    /// How many assets and roles are as they should be.
    pub unchanged: usize,
}

impl Plan {
    /// Whether anything would be done.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        self.changes.iter().any(|change| change.action != Action::Keep)
    }

    /// Sends everything, also where nothing differs: what Superset does not show, such as a password, may be another.
    pub fn send_again(&mut self, ours: &[Asset]) {
        let is_planned = |asset: &Asset| self.changes.iter().any(|change| change.uuid == Some(asset.uuid));
        let database = ours.iter().find(|asset| asset.kind == AssetKind::Database && !is_planned(asset));
        if let Some(asset) = database {
            let (kind, name, what) = (asset.kind.as_str(), asset.name.clone(), vec!["sent again".to_owned()]);
            self.changes.push(Change { action: Action::Change, kind, name, what, id: None, uuid: Some(asset.uuid) });
            self.unchanged = self.unchanged.saturating_sub(1);
        }
    }

    /// What stands in the way.
    pub fn in_the_way(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| matches!(change.action, Action::Adopt | Action::Refuse))
    }

    pub(super) fn with(&self, action: Action) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.action == action)
    }

    /// Whether there is something to import.
    pub(super) fn imports(&self) -> bool {
        let is_asset = |change: &&Change| change.kind != roles::KIND;
        let sends = |change: &Change| matches!(change.action, Action::Create | Action::Change | Action::Adopt);
        self.changes.iter().filter(is_asset).any(sends)
    }
}

/// Compares what should be with what is there.
#[must_use]
pub fn plan(ours: &[Asset], there: &There, project: &str) -> Plan {
    let mut plan = Plan::default();
    for asset in ours {
        let known = there.listed(asset.kind).iter().find(|listed| listed.uuid == asset.uuid);
        let name = asset.name.clone();
        let change = |action, what, id| {
            let kind = asset.kind.as_str();
            Change { action, kind, name: name.clone(), what, id, uuid: Some(asset.uuid) }
        };
        if let Some(other) = stands_in_the_way(asset, known.is_some(), there, project) {
            // What another project or tool keeps there is not taken from it.
            let stays = known.is_some() || is_managed(&other.row);
            let action = if stays { Action::Refuse } else { Action::Adopt };
            plan.changes.push(change(action, vec![in_the_way(asset, other)], Some(other.id)));
        } else if let Some(known) = known {
            let theirs = there.assets.get(&asset.uuid);
            let what: Vec<String> = match theirs {
                Some(theirs) => differences(asset, theirs).iter().map(ToString::to_string).collect(),
                None => vec!["it could not be exported to be compared".into()],
            };
            if what.is_empty() {
                plan.unchanged += 1;
            } else {
                plan.changes.push(change(Action::Change, what, Some(known.id)));
            }
        } else {
            plan.changes.push(change(Action::Create, Vec::new(), None));
        }
    }
    plan.changes.extend(orphans(ours, there, project));
    plan
}

fn in_the_way(asset: &Asset, other: &Listed) -> String {
    let by = match asset.kind {
        AssetKind::Dashboard if slug(&other.row).is_some() && slug(&other.row) == slug(&asset.body) => {
            "the same address"
        }
        AssetKind::Dataset => "the same table",
        _ => "the same name",
    };
    let whose =
        if is_managed(&other.row) { "is managed by another project or tool" } else { "was not made from this project" };
    format!("there is one already with {by}, `{}`, which {whose}", other.name)
}

fn slug(body: &Json) -> Option<&str> {
    body.get("slug").and_then(Json::as_str).filter(|slug| !slug.is_empty())
}

/// Somebody else's asset that has what ours alone can have. A title counts as that as long as ours is not there, where the
/// other was made by hand: it may be what ours is to take the place of.
fn stands_in_the_way<'a>(asset: &Asset, is_there: bool, there: &'a There, project: &str) -> Option<&'a Listed> {
    let text = |row: &Json, key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let has_address = |other: &Listed| slug(&asset.body).is_some() && slug(&other.row) == slug(&asset.body);
    let clashes = |other: &&&Listed| match asset.kind {
        AssetKind::Database => other.name == asset.name,
        AssetKind::Dataset => other.name == asset.name && text(&other.row, "schema") == text(&asset.body, "schema"),
        // Charts may share a name: an import leaves the other alone.
        AssetKind::Chart => false,
        AssetKind::Dashboard => has_address(other) || !is_there && !is_managed(&other.row) && other.name == asset.name,
    };
    let others = there.listed(asset.kind).iter().filter(|other| other.uuid != asset.uuid);
    let found: Vec<&Listed> = others.filter(|other| !there.is_ours(other, project)).collect();
    // What cannot be there twice comes first, as one alone can be taken over.
    let clashing = || found.iter().filter(clashes).copied();
    clashing().find(|other| has_address(other)).or_else(|| clashing().next())
}

/// What carries our mark and is not wanted any more.
fn orphans(ours: &[Asset], there: &There, project: &str) -> Vec<Change> {
    let wanted = |listed: &Listed| ours.iter().any(|asset| asset.uuid == listed.uuid);
    let is_orphan = |listed: &&Listed| !wanted(listed) && there.is_ours(listed, project);
    let mut found = Vec::new();
    for kind in [AssetKind::Dashboard, AssetKind::Chart, AssetKind::Dataset] {
        for listed in there.listed(kind).iter().filter(is_orphan) {
            let users = there.users_besides(listed, |user| wanted(user) || is_orphan(&user));
            let (action, what) = match users.as_slice() {
                [] => (Action::Remove, Vec::new()),
                users => (Action::Keep, vec![format!("it is not wanted any more, but {} uses it", users.join(", "))]),
            };
            let (id, uuid) = (Some(listed.id), Some(listed.uuid));
            found.push(Change { action, kind: kind.as_str(), name: listed.name.clone(), what, id, uuid });
        }
    }
    found
}

#[cfg(test)]
mod tests;
