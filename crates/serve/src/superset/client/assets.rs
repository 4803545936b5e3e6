//! Assets of a Superset: what is there, whole, and what is done to it.
//!
//! Invariant: what is removed was named by its numeric id, read in the same session.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::form::{PASSWORD_MASK, multipart, rison_list, unzipped, zipped};
use super::http::Ask;
use super::{Client, Error};
use crate::superset::bundle::AssetKind;

/// As many as Superset lists at once.
const PAGE: usize = 100;
/// More assets of one kind than this are not looked through.
const PAGES_MAX: usize = 200;
/// How often a list is asked for that is answered with another one.
const READINGS_MAX: usize = 5;

/// An asset as a list has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What it is.
    pub kind: AssetKind,
    /// Its number in that Superset.
    pub id: i64,
    /// Its own id.
    pub uuid: Uuid,
    /// Its name or title.
    pub name: String,
    /// The list's own row.
    pub row: Json,
}

/// What Superset computed for a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartData {
    /// The rows, each an object.
    pub rows: Vec<serde_json::Map<String, Json>>,
    /// The stretch of time that the chart's words mean now, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Its end, not included.
    pub to_ms: Option<i64>,
}

fn name_key(kind: AssetKind) -> &'static str {
    match kind {
        AssetKind::Database => "database_name",
        AssetKind::Dataset => "table_name",
        AssetKind::Chart => "slice_name",
        AssetKind::Dashboard => "dashboard_title",
    }
}

impl Client {
    /// All assets of a kind that the user may see.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn list(&self, kind: AssetKind) -> Result<Vec<Listed>, Error> {
        self.listed(kind, "", &|_| true)
    }

    /// The datasets of a database.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn datasets_of(&self, database: i64) -> Result<Vec<Listed>, Error> {
        let filter = format!("filters:!((col:database,opr:rel_o_m,value:{database})),");
        let number = |row: &Json| row.pointer("/database/id").and_then(Json::as_i64);
        self.listed(AssetKind::Dataset, &filter, &|row| number(row) == Some(database))
    }

    /// The charts of a dataset.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn charts_of(&self, dataset: i64) -> Result<Vec<Listed>, Error> {
        let filter = format!("filters:!((col:datasource_id,opr:eq,value:{dataset})),");
        let number = |row: &Json| row.get("datasource_id").and_then(Json::as_i64);
        self.listed(AssetKind::Chart, &filter, &|row| number(row) == Some(dataset))
    }

    /// A list that holds what was asked for alone. A Superset with threads keeps the filters of a kind's list in one place, so
    /// that a question may be answered by somebody else's filters; then it is put again.
    fn listed(&self, kind: AssetKind, filter: &str, is_asked: &dyn Fn(&Json) -> bool) -> Result<Vec<Listed>, Error> {
        for _ in 0..READINGS_MAX {
            if let Some(found) = self.listed_once(kind, filter, is_asked)? {
                return Ok(found);
            }
        }
        Err(self.unreadable(&format!("list {}s", kind.as_str()), "again and again it holds others than were asked for"))
    }

    /// As `listed`; nothing where the answer is to another question, or changed between its pages.
    fn listed_once(
        &self,
        kind: AssetKind,
        filter: &str,
        is_asked: &dyn Fn(&Json) -> bool,
    ) -> Result<Option<Vec<Listed>>, Error> {
        let what = format!("list {}s", kind.as_str());
        let mut found: Vec<Listed> = Vec::new();
        for page in 0..PAGES_MAX {
            let question = format!(
                "({filter}order_column:changed_on_delta_humanized,order_direction:asc,page:{page},page_size:{PAGE})"
            );
            let body = self.get(&format!("/api/v1/{}/?q={question}", kind.as_str()), &what)?;
            let rows =
                body.get("result").and_then(Json::as_array).ok_or_else(|| self.unreadable(&what, "it is no list"))?;
            for row in rows {
                let id = row.get("id").and_then(Json::as_i64);
                let uuid = row.get("uuid").and_then(Json::as_str).and_then(|text| text.parse().ok());
                let (Some(id), Some(uuid)) = (id, uuid) else {
                    return Err(self.unreadable(&what, "a row has no id"));
                };
                if !is_asked(row) || found.iter().any(|listed| listed.id == id) {
                    return Ok(None);
                }
                let name = row.get(name_key(kind)).and_then(Json::as_str).unwrap_or_default().to_owned();
                found.push(Listed { kind, id, uuid, name, row: row.clone() });
            }
            if rows.len() < PAGE {
                let all = body.get("count").and_then(Json::as_u64);
                return Ok(all.is_none_or(|all| all == found.len() as u64).then_some(found));
            }
        }
        Err(self.unreadable(&what, "it holds more than are looked through"))
    }

    /// One asset in detail, by its number or id; nothing where it is not there.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn asset(&self, kind: AssetKind, id: impl std::fmt::Display) -> Result<Option<Json>, Error> {
        let body = self.find(&format!("/api/v1/{}/{id}", kind.as_str()), &format!("show a {}", kind.as_str()))?;
        Ok(body.and_then(|body| body.get("result").cloned()))
    }

    /// The files of some assets of a kind, and of all that they refer to.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn export(&self, kind: AssetKind, ids: &[i64]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!("/api/v1/{}/export/?q={}", kind.as_str(), rison_list(ids));
        let what = format!("export {}s", kind.as_str());
        let answer = self.ask(&Ask { method: "GET", path: &path, what: &what, body: None, shows: true })?;
        unzipped(&answer.bytes).map_err(|why| self.unreadable(&what, &why))
    }

    /// Imports files in one transaction: all of them or none. A password goes apart, for databases whose URI has its mask.
    ///
    /// # Errors
    /// When they are not taken; then nothing of them is there.
    pub fn import(&self, files: &[(String, Vec<u8>)], password: Option<&str>) -> Result<(), Error> {
        let bundle = zipped(files).map_err(|error| Error::Files(error.kind().to_string()))?;
        let of_databases = files.iter().filter(|(path, bytes)| {
            path.starts_with("databases/") && String::from_utf8_lossy(bytes).contains(PASSWORD_MASK)
        });
        let passwords: serde_json::Map<String, Json> =
            of_databases.filter_map(|(path, _)| Some((path.clone(), Json::from(password?)))).collect();
        let (kind, body) = multipart(&bundle, &Json::Object(passwords));
        let what = "import the dashboards";
        let path = "/api/v1/assets/import/";
        let ask = Ask { method: "POST", path, what, body: Some((&kind, &body)), shows: true };
        let answer = self.ask(&ask)?;
        self.http.json(&ask, &answer)?;
        Ok(())
    }

    /// Gives an asset our id, so that an import writes over it.
    ///
    /// # Errors
    /// When it is not done; a database is asked `SELECT 1` by Superset at that.
    pub fn adopt(&self, kind: AssetKind, id: i64, uuid: Uuid) -> Result<(), Error> {
        let what = format!("give the {} another id", kind.as_str());
        let path = format!("/api/v1/{}/{id}", kind.as_str());
        self.send("PUT", &path, &what, &json!({"uuid": uuid.to_string()}), true)?;
        Ok(())
    }

    /// Removes an asset; it does no harm when it is gone already.
    ///
    /// # Errors
    /// When it is not removed.
    pub fn remove(&self, kind: AssetKind, id: i64) -> Result<(), Error> {
        let (path, what) = (format!("/api/v1/{}/{id}", kind.as_str()), format!("remove the {}", kind.as_str()));
        let ask = Ask { method: "DELETE", path: &path, what: &what, body: None, shows: true };
        match self.ask(&ask) {
            Ok(_) => Ok(()),
            Err(failed) if failed.status == 404 => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    /// The names of the charts that use a dataset.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn users_of_dataset(&self, dataset: i64) -> Result<Vec<String>, Error> {
        let what = "say what uses a dataset";
        let body = self.find(&format!("/api/v1/dataset/{dataset}/related_objects"), what)?.unwrap_or_default();
        let charts = body.pointer("/charts/result").and_then(Json::as_array).into_iter().flatten();
        Ok(charts.map(|chart| chart.get("slice_name").and_then(Json::as_str).unwrap_or("?").to_owned()).collect())
    }

    /// The numbers of the charts that a dashboard shows.
    ///
    /// # Errors
    /// When it does not answer as it should.
    pub fn charts_of_dashboard(&self, dashboard: Uuid) -> Result<Vec<i64>, Error> {
        let what = "list a dashboard's charts";
        let body = self.find(&format!("/api/v1/dashboard/{dashboard}/charts"), what)?.unwrap_or_default();
        let charts = body.get("result").and_then(Json::as_array);
        Ok(charts.into_iter().flatten().filter_map(|chart| chart.get("id")?.as_i64()).collect())
    }

    /// Asks for the data of a query context. Its words of refusal are a database's, and are not shown.
    ///
    /// # Errors
    /// When there is no data.
    pub fn data(&self, context: &Json) -> Result<ChartData, Error> {
        let what = "compute a chart's data";
        let body = self.send("POST", "/api/v1/chart/data", what, context, false)?;
        let result = body.pointer("/result/0").ok_or_else(|| self.unreadable(what, "it holds no result"))?;
        if result.get("status").and_then(Json::as_str).is_some_and(|status| status != "success") {
            return Err(self.unreadable(what, "the query failed"));
        }
        let rows = result.get("data").and_then(Json::as_array);
        let rows = rows.ok_or_else(|| self.unreadable(what, "it holds no rows"))?;
        let time = |key: &str| result.get(key).and_then(Json::as_f64).map(|ms| ms as i64);
        Ok(ChartData {
            rows: rows.iter().filter_map(|row| row.as_object().cloned()).collect(),
            from_ms: time("from_dttm"),
            to_ms: time("to_dttm"),
        })
    }
}
