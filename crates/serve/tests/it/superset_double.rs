//! A Superset that is none: keeps what is imported, answers as the real one does, and fails where a test says so.
//!
//! Invariant: what it holds changes by import, by PUT and by DELETE alone, and every request is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use uuid::Uuid;
use vitalake_serve::superset::bundle::AssetKind;
use vitalake_serve::superset::client::{Client, Error, Login};
use vitalake_serve::superset::plan::{Asset, assets_of, files_of};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with this body, and nothing done.
    Status(u16, Json),
    /// It does what it should, and the answer breaks off.
    Cut,
    /// A redirect to where one logs in.
    ToLogin,
    /// The list's filters are somebody else's: these rows come in place of those asked for.
    Rows(Json),
}

#[derive(Default)]
pub struct State {
    pub assets: Vec<(i64, Asset)>,
    /// Roles by name, with the numbers of what they permit.
    pub roles: BTreeMap<String, (i64, BTreeSet<i64>)>,
    pub asked: Vec<String>,
    pub version: Option<String>,
    faults: Vec<(String, Fault)>,
    last_id: i64,
}

#[derive(Clone)]
pub struct Double {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Double {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { version: Some("6.1.0".into()), ..State::default() }));
        state.lock().unwrap().roles.insert("Gamma".into(), (1, [1, 2].into()));
        let double = Self { url, state };
        let serving = double.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        double
    }

    /// The next request that begins so (`GET /api/v1/chart/`) goes wrong.
    pub fn fails(&self, request: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((request.into(), fault));
    }

    pub fn client(&self) -> Client {
        self.connect("geheim").unwrap()
    }

    pub fn connect(&self, password: &str) -> Result<Client, Error> {
        Client::connect(Login { url: self.url.clone(), user: "lake".into(), password: password.into() })
    }

    /// Somebody puts an asset there by hand.
    pub fn put(&self, asset: Asset) -> i64 {
        self.state.lock().unwrap().put(asset)
    }

    pub fn asked(&self, request: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.starts_with(request)).count()
    }

    pub fn names(&self, kind: AssetKind) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.assets.iter().filter(|(_, asset)| asset.kind == kind).map(|(_, asset)| asset.name.clone()).collect()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut line, mut length, mut token) = (String::new(), 0, String::new());
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let request = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
            line.clear();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                let (name, value) = line.trim().split_once(':').unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "authorization" => token = value.trim().to_owned(),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let request = percent_decoded(&request);
            let fault = {
                let mut state = self.state.lock().unwrap();
                state.asked.push(request.clone());
                let at = state.faults.iter().position(|(begins, _)| request.starts_with(begins.as_str()));
                at.map(|at| state.faults.remove(at).1)
            };
            let answer = |status: u16, body: Json| (status, "application/json", body.to_string().into_bytes());
            let (status, kind, bytes) = match &fault {
                Some(Fault::Status(status, body)) => answer(*status, body.clone()),
                Some(Fault::ToLogin) => (302, "text/html", Vec::new()),
                Some(Fault::Rows(rows)) => answer(200, json!({"result": rows})),
                _ => self.state.lock().unwrap().answer(&request, &token, &body),
            };
            let more = if matches!(fault, Some(Fault::Cut)) { 7 } else { 0 };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nset-cookie: session=s\r\nlocation: /login/\r\ncontent-length: {}\r\n\r\n",
                bytes.len() + more
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
            if more > 0 {
                return;
            }
        }
    }
}

fn percent_decoded(text: &str) -> String {
    text.replace("%20", " ").replace("%28", "(").replace("%29", ")").replace("%3A", ":")
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).map_or("", |(_, rest)| rest.split(after).next().unwrap())
}

impl State {
    pub fn put(&mut self, asset: Asset) -> i64 {
        if let Some(known) = self.assets.iter_mut().find(|(_, known)| known.uuid == asset.uuid) {
            known.1 = asset;
            return known.0;
        }
        self.last_id += 1;
        self.assets.push((self.last_id, asset));
        self.last_id
    }

    fn id_of(&self, uuid: &Json) -> Option<i64> {
        let uuid: Uuid = uuid.as_str()?.parse().ok()?;
        self.assets.iter().find(|(_, asset)| asset.uuid == uuid).map(|(id, _)| *id)
    }

    fn charts_of(&self, dashboard: &Asset) -> Vec<i64> {
        let pieces = dashboard.body["position"].as_object().into_iter().flatten();
        pieces.filter_map(|(_, piece)| self.id_of(&piece["meta"]["uuid"])).collect()
    }

    /// An asset as lists and details have it.
    fn row(&self, id: i64, asset: &Asset) -> Json {
        let body = &asset.body;
        let mut row =
            json!({"id": id, "uuid": asset.uuid.to_string(), "is_managed_externally": body["is_managed_externally"]});
        let own = match asset.kind {
            AssetKind::Database => json!({"database_name": asset.name}),
            AssetKind::Dataset => json!({
                "table_name": asset.name, "schema": body["schema"], "extra": body["extra"].to_string(),
                "database": {"id": self.id_of(&body["database_uuid"]), "database_name": "lake"},
            }),
            AssetKind::Chart => {
                let shows = |asset: &Asset| asset.kind == AssetKind::Dashboard && self.charts_of(asset).contains(&id);
                let on = self.assets.iter().filter(|(_, asset)| shows(asset));
                let on: Vec<Json> = on.map(|(id, asset)| json!({"id": id, "dashboard_title": asset.name})).collect();
                json!({
                    "slice_name": asset.name, "datasource_id": self.id_of(&body["dataset_uuid"]),
                    "params": body["params"].to_string(), "dashboards": on,
                })
            }
            AssetKind::Dashboard => json!({
                "dashboard_title": asset.name, "slug": body["slug"], "json_metadata": body["metadata"].to_string(),
            }),
        };
        row.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        row
    }

    fn answer(&mut self, request: &str, token: &str, body: &[u8]) -> (u16, &'static str, Vec<u8>) {
        let (method, path) = request.split_once(' ').unwrap();
        let json = |status: u16, body: Json| (status, "application/json", body.to_string().into_bytes());
        let sent: Json = serde_json::from_slice(body).unwrap_or_default();
        match path {
            "/version" => {
                return self
                    .version
                    .as_ref()
                    .map_or(json(404, json!({})), |version| json(200, json!({"version_string": version})));
            }
            "/api/v1/security/login" if sent["password"] == "geheim" => {
                return json(200, json!({"access_token": "one", "refresh_token": "again"}));
            }
            "/api/v1/security/login" => return json(401, json!({"message": "Not authorized"})),
            "/api/v1/security/refresh" => return json(200, json!({"access_token": "two"})),
            _ if token.is_empty() => return json(401, json!({"msg": "Missing Authorization Header"})),
            "/api/v1/security/csrf_token/" => return json(200, json!({"result": "c"})),
            "/api/v1/assets/import/" => {
                self.import(body);
                return json(200, json!({"message": "OK"}));
            }
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/api/v1/security/") {
            return json(200, self.security(method, rest, &sent));
        }
        let rest = path.strip_prefix("/api/v1/").unwrap();
        let (kind, rest) = rest.split_once('/').unwrap();
        let kind = AssetKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
        if rest.starts_with("export/") {
            return (200, "application/zip", self.exported(between(rest, "!(", ")")));
        }
        if rest.starts_with('?') {
            let rows: Vec<Json> = self.listed(kind, rest);
            return json(200, json!({"count": rows.len(), "result": rows}));
        }
        let (named, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let at = self
            .assets
            .iter()
            .position(|(id, asset)| asset.kind == kind && (named == id.to_string() || named == asset.uuid.to_string()));
        let Some(at) = at else { return json(404, json!({"message": "Not found"})) };
        let (id, asset) = self.assets[at].clone();
        match (method, rest) {
            ("GET", "charts") => {
                let charts: Vec<Json> = self.charts_of(&asset).into_iter().map(|id| json!({"id": id})).collect();
                json(200, json!({"result": charts}))
            }
            ("GET", "related_objects") => {
                let uses = |(_, chart): &&(i64, Asset)| {
                    chart.kind == AssetKind::Chart && self.id_of(&chart.body["dataset_uuid"]) == Some(id)
                };
                let charts: Vec<Json> =
                    self.assets.iter().filter(uses).map(|(_, chart)| json!({"slice_name": chart.name})).collect();
                json(200, json!({"charts": {"count": charts.len(), "result": charts}}))
            }
            ("GET", _) => json(200, json!({"result": self.row(id, &asset)})),
            ("PUT", _) => {
                self.assets[at].1.uuid = sent["uuid"].as_str().unwrap().parse().unwrap();
                json(200, json!({}))
            }
            _ => {
                self.assets.remove(at);
                json(200, json!({"message": "OK"}))
            }
        }
    }

    fn listed(&self, kind: AssetKind, question: &str) -> Vec<Json> {
        let number: Option<i64> = between(question, "value:", ")").parse().ok();
        let rows = self.assets.iter().filter(|(_, asset)| asset.kind == kind).map(|(id, asset)| self.row(*id, asset));
        let of = |row: &Json| row.pointer("/database/id").or(row.get("datasource_id")).and_then(Json::as_i64);
        rows.filter(|row| number.is_none() || of(row) == number).collect()
    }

    fn security(&mut self, method: &str, rest: &str, sent: &Json) -> Json {
        let role = |state: &Self, id: &str| {
            state.roles.iter().find(|(_, role)| role.0.to_string() == id).map(|(name, _)| name.clone()).unwrap()
        };
        if let Some(id) =
            rest.strip_prefix("roles/").and_then(|rest| rest.split_once("/permissions")).map(|(id, _)| id.to_owned())
        {
            let name = role(self, &id);
            let role = self.roles.get_mut(&name).unwrap();
            if method == "POST" {
                role.1 = sent["permission_view_menu_ids"].as_array().unwrap().iter().filter_map(Json::as_i64).collect();
            }
            let permissions: Vec<i64> = role.1.iter().copied().collect();
            let shown = |id: i64| match self.assets.iter().find(|(asset, _)| asset + 100 == id) {
                Some((number, asset)) => {
                    json!({"id": id, "permission_name": "datasource_access", "view_menu_name": format!("[lake].[{}](id:{number})", asset.name)})
                }
                None => json!({"id": id, "permission_name": "can_read", "view_menu_name": "Chart"}),
            };
            return json!({"result": permissions.into_iter().map(shown).collect::<Vec<_>>()});
        }
        if method == "POST" {
            self.last_id += 1;
            let id = self.last_id;
            self.roles.insert(sent["name"].as_str().unwrap().to_owned(), (id, BTreeSet::new()));
            return json!({"id": id});
        }
        let name = between(rest, "value:", "))").trim_matches('\'').to_owned();
        if rest.starts_with("roles/") {
            let found = self.roles.get(&name).map(|role| json!({"id": role.0, "name": name}));
            return json!({"result": found.into_iter().collect::<Vec<_>>()});
        }
        if rest.starts_with("permissions/") {
            return json!({"result": [{"id": 9, "name": "datasource_access"}]});
        }
        let datasets = self.assets.iter().filter(|(_, asset)| asset.kind == AssetKind::Dataset);
        let rows = datasets.map(|(id, asset)| {
            permission_row(id + 100, "datasource_access", &format!("[lake].[{}](id:{id})", asset.name))
        });
        json!({"result": rows.collect::<Vec<_>>()})
    }

    fn import(&mut self, body: &[u8]) {
        let start = body.windows(4).position(|four| four == b"PK\x03\x04").unwrap();
        let bundle = &body[start..];
        let end = bundle.windows(12).position(|some| some == b"\r\n--vitalake").unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(&bundle[..end])).unwrap();
        let mut files = Vec::new();
        for at in 0..zip.len() {
            let mut file = zip.by_index(at).unwrap();
            let (name, mut bytes) = (file.name().unwrap().into_owned(), Vec::new());
            file.read_to_end(&mut bytes).unwrap();
            files.push((name.split_once('/').unwrap().1.to_owned(), bytes));
        }
        for asset in assets_of(&files).unwrap() {
            self.put(asset);
        }
    }

    /// What has these numbers, with all else: more than is asked for does no harm.
    fn exported(&self, _ids: &str) -> Vec<u8> {
        let assets: Vec<Asset> = self.assets.iter().map(|(_, asset)| asset.clone()).collect();
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes) in files_of(&assets, chrono::DateTime::UNIX_EPOCH) {
            zip.start_file(format!("export/{path}"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }
}

/// A row of the list of permissions.
pub fn permission_row(id: i64, action: &str, on: &str) -> Json {
    json!({"id": id, "permission": {"name": action}, "view_menu": {"name": on}})
}
