//! Roles of a Superset: their names and what they permit.
//!
//! Invariant: a role is given the whole of what it permits at once, never a part.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::form::rison_text;
use super::{Client, Error};

/// What the permission to read a dataset is called.
pub const READ: &str = "datasource_access";
const PAGE: usize = 100;
const PAGES_MAX: usize = 200;
/// How often a list is asked for in which something is not found.
const READINGS: usize = 3;

/// Something that a role permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Its number.
    pub id: i64,
    /// What may be done.
    pub action: String,
    /// To what.
    pub on: String,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
}

impl Client {
    /// The role with a name.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        let what = "find a role";
        let question = format!("(filters:!((col:name,opr:eq,value:{})))", rison_text(name));
        let body = self.named(&format!("/api/v1/security/roles/?q={question}"), what, name)?;
        Ok(body.and_then(|row| row.get("id")?.as_i64()).map(|id| Role { id, name: name.to_owned() }))
    }

    /// The row of a list that has the name: a Superset with threads may answer by the filters of somebody else's question.
    fn named(&self, path: &str, what: &str, name: &str) -> Result<Option<Json>, Error> {
        for _ in 0..READINGS {
            let body = self.get(path, what)?;
            let rows =
                body.get("result").and_then(Json::as_array).ok_or_else(|| self.unreadable(what, "it is no list"))?;
            let found = rows.iter().find(|row| row.get("name").and_then(Json::as_str) == Some(name));
            if found.is_some() {
                return Ok(found.cloned());
            }
        }
        Ok(None)
    }

    /// Makes a role that permits nothing yet.
    ///
    /// # Errors
    /// When it is not made.
    pub fn make_role(&self, name: &str) -> Result<Role, Error> {
        let what = "make a role";
        let body = self.send("POST", "/api/v1/security/roles/", what, &json!({"name": name}), true)?;
        let id = body.get("id").and_then(Json::as_i64).ok_or_else(|| self.unreadable(what, "it has no id"))?;
        Ok(Role { id, name: name.to_owned() })
    }

    /// What a role permits, each with its number.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn permissions(&self, role: &Role) -> Result<Vec<Permission>, Error> {
        let what = "say what a role permits";
        let body = self.get(&format!("/api/v1/security/roles/{}/permissions/", role.id), what)?;
        let rows = body.get("result").and_then(Json::as_array).ok_or_else(|| self.unreadable(what, "it is no list"))?;
        let text = |row: &Json, key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let permission = |row: &Json| {
            let (action, on) = (text(row, "permission_name"), text(row, "view_menu_name"));
            Some(Permission { id: row.get("id")?.as_i64()?, action, on })
        };
        Ok(rows.iter().filter_map(permission).collect())
    }

    /// Gives a role these permissions in place of those that it has.
    ///
    /// # Errors
    /// When they are not given.
    pub fn permit(&self, role: &Role, permissions: &BTreeSet<i64>) -> Result<(), Error> {
        let body = json!({"permission_view_menu_ids": permissions});
        self.send(
            "POST",
            &format!("/api/v1/security/roles/{}/permissions", role.id),
            "set what a role permits",
            &body,
            true,
        )?;
        Ok(())
    }

    /// The numbers of the permissions to read datasets, in their order.
    ///
    /// # Errors
    /// When one is not there, or it does not answer as it should.
    pub fn permissions_to_read(&self, datasets: &[String]) -> Result<Vec<i64>, Error> {
        let what = "find a dataset's permission";
        let question = format!("(filters:!((col:name,opr:eq,value:{READ})))");
        let row = self.named(&format!("/api/v1/security/permissions/?q={question}"), what, READ)?;
        let id = row.and_then(|row| row.get("id")?.as_i64()).ok_or_else(|| self.unreadable(what, "there is none"))?;
        let mut found = BTreeMap::new();
        for _ in 0..READINGS {
            self.collect_permissions(id, what, &mut found)?;
            let all: Option<Vec<i64>> = datasets.iter().map(|name| found.get(name).copied()).collect();
            if let Some(all) = all {
                return Ok(all);
            }
        }
        Err(self.unreadable(what, "there is none"))
    }

    /// The permissions to read, by what they are on. A row counts where it says so itself.
    fn collect_permissions(&self, id: i64, what: &str, found: &mut BTreeMap<String, i64>) -> Result<(), Error> {
        for page in 0..PAGES_MAX {
            let question = format!("(filters:!((col:permission,opr:rel_o_m,value:{id})),page:{page},page_size:{PAGE})");
            let body = self.get(&format!("/api/v1/security/permissions-resources/?q={question}"), what)?;
            let rows = body.get("result").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
            let to_read =
                rows.iter().filter(|row| row.pointer("/permission/name").and_then(Json::as_str) == Some(READ));
            found.extend(to_read.filter_map(|row| {
                Some((row.pointer("/view_menu/name")?.as_str()?.to_owned(), row.get("id")?.as_i64()?))
            }));
            if rows.len() < PAGE {
                break;
            }
        }
        Ok(())
    }
}

/// How the permission to read a dataset names it: by its number, which no other has.
#[must_use]
pub fn permission_name(database: &str, dataset: &str, id: i64) -> String {
    format!("[{database}].[{dataset}](id:{id})")
}
