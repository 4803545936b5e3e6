//! `GET /api/v1/openapi.json`: what is asked and answered at every address, as an OpenAPI 3.1 document.
//!
//! Made from `openapi_table` alone, once. Invariant: the document says what the router does; a test compares the two.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::App;
use super::openapi_table::{Body, OPERATIONS, Operation, Parameter};

/// Refusals that any address may give.
const ALWAYS: [u16; 3] = [401, 403, 429];

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The address.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/v1/openapi.json", get(show))
}

async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The document.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(operation.method.to_owned(), described(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "vitalake",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Records in, rows out, and what people decide. Every error has a word (`error`) of a fixed list and a sentence (`message`) without a record's values.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"password": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "vitalake_session"},
            },
            "schemas": {"Error": {
                "type": "object",
                "required": ["error", "message"],
                "properties": {
                    "error": {"type": "string"},
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }},
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut responses = Map::new();
    let content = forms(operation.answer.forms);
    let mut well = json!({"description": "well"});
    if let (Value::Object(well), Value::Object(content)) = (&mut well, content)
        && !content.is_empty()
    {
        well.insert("content".to_owned(), Value::Object(content));
    }
    responses.insert(operation.answer.status.to_string(), well);
    if operation.refusals.contains(&416) {
        responses.insert("206".to_owned(), json!({"description": "a part, as `Range` asks for it"}));
    }
    let always = if operation.is_open { &[][..] } else { &ALWAYS[..] };
    // A server that has a fault of its own says so in the same form.
    for status in operation.refusals.iter().chain(always).chain(&[500]) {
        let error = json!({"schema": {"$ref": "#/components/schemas/Error"}});
        let mut content = json!({"application/json": error, "application/problem+json": error});
        if operation.path == "/health/ready" {
            content = json!({"application/json": {"schema": {"type": "object"}}});
        }
        responses.insert(status.to_string(), json!({"description": reason(*status), "content": content}));
    }
    let mut described = json!({
        "summary": operation.summary,
        "operationId": identifier(operation),
        "parameters": operation.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Value::Object(described) = &mut described {
        if operation.is_open {
            described.insert("security".to_owned(), json!([]));
        }
        if let Some(Body { required, forms: kinds }) = &operation.body {
            described.insert("requestBody".to_owned(), json!({"required": required, "content": forms(kinds)}));
        }
    }
    described
}

fn forms(forms: &[(&str, &str)]) -> Value {
    forms
        .iter()
        .map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema_of(schema)})))
        .collect::<Map<_, _>>()
        .into()
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.about,
        "schema": schema_of(parameter.schema),
    })
}

/// A schema as the table has it; a test reads all of them.
fn schema_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Bool(true))
}

fn reason(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("refused")
}

/// A name for generated clients: `post_api_v1_query`.
fn identifier(operation: &Operation) -> String {
    let words = operation.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(operation.method.to_owned(), |name, word| name + "_" + word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    /// The text of every file that makes routes.
    const SOURCES: [&str; 17] = [
        include_str!("mod.rs"),
        include_str!("alerts.rs"),
        include_str!("audit.rs"),
        include_str!("books.rs"),
        include_str!("console/mod.rs"),
        include_str!("deliveries.rs"),
        include_str!("erasures.rs"),
        include_str!("feeds.rs"),
        include_str!("gates.rs"),
        include_str!("ingest.rs"),
        include_str!("openapi.rs"),
        include_str!("published.rs"),
        include_str!("quarantine.rs"),
        include_str!("query.rs"),
        include_str!("runbook.rs"),
        include_str!("upload.rs"),
        include_str!("api.rs"),
    ];

    fn is_described(path: &str) -> bool {
        ["/api/v1/", "/ingest/", "/feeds/", "/health/"].iter().any(|start| path.starts_with(start))
    }

    #[test]
    fn every_route_is_in_the_document_and_every_path_of_it_is_a_route() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
        let files = std::fs::read_dir(&folder).unwrap().chain(std::fs::read_dir(folder.join("console")).unwrap());
        let with_routes = files.filter(|file| {
            let path = file.as_ref().unwrap().path();
            path.extension().is_some_and(|end| end == "rs")
                && std::fs::read_to_string(path).unwrap().contains(".route(\"/api/")
        });
        let known = SOURCES.iter().filter(|text| text.contains(".route(\"/api/")).count();
        assert_eq!(with_routes.count(), known, "a file with routes is not among SOURCES");
        let routes: BTreeSet<&str> = SOURCES
            .iter()
            .flat_map(|text| text.split(".route(\"").skip(1))
            .filter_map(|rest| rest.split('"').next())
            .filter(|path| is_described(path))
            .collect();
        let described: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.path).collect();
        assert_eq!(routes, described);
    }

    #[test]
    fn each_operation_names_the_parts_of_its_path_once_and_every_schema_is_json() {
        let mut seen = BTreeSet::new();
        for operation in OPERATIONS {
            assert!(seen.insert((operation.method, operation.path)), "{} twice", operation.path);
            let in_path: BTreeSet<&str> =
                operation.path.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
            let named: Vec<&str> =
                operation.parameters.iter().filter(|one| one.place == "path").map(|one| one.name).collect();
            assert_eq!(in_path, named.iter().copied().collect(), "{}", operation.path);
            assert_eq!(in_path.len(), named.len(), "{}", operation.path);
            let bodies = operation.body.iter().flat_map(|body| body.forms).chain(operation.answer.forms);
            for schema in bodies.map(|(_, schema)| schema).chain(operation.parameters.iter().map(|one| &one.schema)) {
                assert!(serde_json::from_str::<Value>(schema).is_ok(), "{schema}");
            }
        }
    }
}
