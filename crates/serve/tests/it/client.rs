//! A plain HTTP client.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::Server;

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The message of an error in Druid's form, after its form is checked.
    pub fn message(&self) -> String {
        let body = self.json();
        for key in ["error", "errorMessage", "errorCode", "persona", "category"] {
            assert!(body[key].is_string(), "{key} in {body}");
        }
        body["errorMessage"].as_str().unwrap().to_owned()
    }
}

pub fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
    try_send(server, method, path, headers, body).unwrap()
}

pub fn try_send(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Result<Reply, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match body {
        Some(body) => agent.run(request.body(body).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    }
    .map_err(|error| error.to_string())?;
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()))
        .collect();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|error| error.to_string())?;
    Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

pub fn post(server: &Server, body: &Value) -> Reply {
    send(server, "POST", "/druid/v2/sql", &[JSON], Some(body.to_string().as_bytes()))
}

/// The rows of a query in array form.
pub fn rows(server: &Server, sql: &str) -> Value {
    let reply = post(server, &json!({"query": sql, "resultFormat": "array"}));
    assert_eq!(reply.status, 200, "{sql}: {}", reply.body);
    reply.json()
}

/// The status and message of a query that fails.
pub fn failure(server: &Server, sql: &str) -> (u16, String) {
    let reply = post(server, &json!({"query": sql}));
    assert_ne!(reply.status, 200, "{sql}: {}", reply.body);
    (reply.status, reply.message())
}
