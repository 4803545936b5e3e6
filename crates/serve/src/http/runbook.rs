//! `GET /runbooks` and `GET /runbooks/{name}`: what to do, with the evidence in its place; the same as JSON under `/api/v1`.
//!
//! The page is read at night, on a telephone, and printed: plain HTML without scripts. Invariant: every value is escaped,
//! and what a query could not find is said where its result would stand.

use std::fmt::Write as _;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use vitalake_ops::runbooks::{AlertContext, Found, Origin, Part, RunbookEntry, RunbookReport, escaped, html};

use super::App;
use super::api::answer;
use super::page::{END, begin, harmless, thousands};
use crate::evidence::ROWS_MAX;
use crate::platform::ApiError;

/// Whole numbers from here on have their thousands apart.
const GROUPED_FROM: u64 = 10_000;

/// The addresses of runbooks.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/runbooks", get(list_page))
        .route("/runbooks/{name}", get(page))
        .route("/api/v1/runbooks", get(list))
        .route("/api/v1/runbooks/{name}", get(open))
}

/// What a request may add to an address.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    /// The fingerprint of the alert that it is opened for.
    alert: Option<String>,
    /// The team whose runbooks come first.
    owner: Option<String>,
    /// `html`: the text is to be drawn as it comes.
    r#as: Option<String>,
}

async fn list(State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    Json(app.runbooks.list(asked.owner.as_deref()).await).into_response()
}

async fn open(State(app): State<App>, Path(name): Path<String>, Query(asked): Query<Asked>) -> Response {
    let opened = app.runbooks.open(&name, asked.alert.as_deref()).await;
    match asked.r#as.as_deref() {
        Some("html") => answer(opened.map(|report| drawn(&report))),
        _ => answer(opened),
    }
}

/// A runbook whose text is HTML that loads and runs nothing: what its Markdown has of HTML is text.
fn drawn(report: &RunbookReport) -> Value {
    let sections = report.parts.iter().map(|part| match part {
        Part::Prose { markdown } => json!({"kind": "text", "html": html(markdown)}),
        Part::Evidence { sql, now, then } => json!({"kind": "sql", "sql": sql, "now": now, "then": then}),
    });
    json!({
        "name": report.name,
        "title": report.title,
        "origin": report.origin,
        "at": report.at,
        "alert": report.alert,
        "sections": sections.collect::<Vec<_>>(),
    })
}

async fn list_page(State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    let owner = asked.owner.as_deref();
    harmless(draw_list(&app.runbooks.list(owner).await, owner))
}

async fn page(State(app): State<App>, Path(name): Path<String>, Query(asked): Query<Asked>) -> Response {
    match app.runbooks.open(&name, asked.alert.as_deref()).await {
        Ok(report) => harmless(draw(&report)),
        Err(error) => {
            let status = match error {
                ApiError::NotFound(_) => StatusCode::NOT_FOUND,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, harmless(draw_refusal(&error))).into_response()
        }
    }
}

fn draw_refusal(error: &ApiError) -> String {
    let message = escaped(&error.to_string());
    begin("no runbook") + &format!("<h1>No runbook</h1>\n<p>{message}</p>\n{BACK}") + END
}

const BACK: &str = "<p class=\"back\"><a href=\"/runbooks\">all runbooks</a> · <a href=\"/\">the platform</a></p>\n";

fn draw_list(entries: &[RunbookEntry], owner: Option<&str>) -> String {
    let mut page = begin("runbooks") + "<header>\n<h1>Runbooks</h1>\n</header>\n";
    let (theirs, others): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| owner.is_some_and(|owner| entry.owners.iter().any(|name| name == owner)));
    if let Some(owner) = owner {
        page += &section(&format!("For {}", escaped(owner)), &theirs);
    }
    let (own, built_in): (Vec<_>, Vec<_>) = others.into_iter().partition(|entry| entry.origin == Origin::Project);
    page += &section("Of this project", &own);
    page += &section("For the platform's own alerts", &built_in);
    page + BACK + END
}

fn section(heading: &str, entries: &[&RunbookEntry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut list = format!("<section>\n<h2>{heading}</h2>\n<ul class=\"runbooks\">\n");
    for entry in entries {
        let (name, title) = (escaped(&entry.name), escaped(&entry.title));
        // Writing to a string cannot fail.
        let _ = write!(list, "<li><a href=\"/runbooks/{name}\">{title}</a> <code>{name}</code>");
        for owner in &entry.owners {
            let (address, owner) = (encoded(owner), escaped(owner));
            let _ = write!(list, " <a class=\"owner\" href=\"/runbooks?owner={address}\">{owner}</a>");
        }
        list.push_str("</li>\n");
    }
    list + "</ul>\n</section>\n"
}

/// A team's name in an address.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-_.".contains(&b) => encoded.push(char::from(b)),
            b => {
                let _ = write!(encoded, "%{b:02X}");
            }
        }
        encoded
    })
}

fn draw(report: &RunbookReport) -> String {
    let mut page = begin(&escaped(&report.title)) + "<main class=\"runbook\">\n";
    if let Some(alert) = &report.alert {
        page += &about(alert);
    }
    let mut number = 0;
    for part in &report.parts {
        match part {
            Part::Prose { markdown } => page += &html(markdown),
            Part::Evidence { sql, now, then } => {
                number += 1;
                page += &evidence(number, sql, now, then.as_ref());
            }
        }
    }
    let origin = match report.origin {
        Origin::Project => "a runbook of this project",
        Origin::BuiltIn => "a runbook of vitalake's own",
    };
    let _ = writeln!(
        page,
        "<footer>\n<p><code>{}</code>, {origin}, opened <time>{}</time>. Evidence shows at most {ROWS_MAX} rows of a query, \
         and no column that holds a record as it came.</p>\n{BACK}</footer>\n</main>",
        escaped(&report.name),
        escaped(&report.at),
    );
    page + END
}

fn about(alert: &AlertContext) -> String {
    let dataset = alert.dataset.as_deref().unwrap_or("the platform");
    let state = if alert.state.is_empty() { "unknown" } else { &alert.state };
    format!(
        "<aside class=\"alert\">\n<p><b>{}</b> on <b>{}</b> is <span class=\"state {state}\">{state}</span>{}</p>\n<p>{}</p>\n\
         <p class=\"quiet\">owner {} · alert <code>{}</code></p>\n</aside>\n",
        escaped(&alert.alert),
        escaped(dataset),
        alert.since().map_or_else(String::new, |since| format!(" since <time>{}</time>", escaped(&since))),
        escaped(&alert.summary),
        escaped(if alert.owner.is_empty() { "nobody" } else { &alert.owner }),
        escaped(&alert.fingerprint),
        state = escaped(state),
    )
}

fn evidence(number: usize, sql: &str, now: &Found, then: Option<&Found>) -> String {
    let mut figure =
        format!("<figure class=\"evidence\">\n<figcaption>Evidence {number}</figcaption>\n<div class=\"moments\">\n");
    if let Some(then) = then {
        figure += &moment("When the alert fired", then);
    }
    figure += &moment("Now", now);
    let _ = writeln!(
        figure,
        "</div>\n<details><summary>the query</summary><pre>{}</pre></details>\n</figure>",
        escaped(sql)
    );
    figure
}

fn moment(when: &str, found: &Found) -> String {
    let body = match &found.error {
        Some(error) => format!("<p class=\"failed\">This query gave no answer: {}</p>\n", escaped(error)),
        None if found.rows.is_empty() => "<p class=\"quiet\">no rows</p>\n".to_owned(),
        None => table(found),
    };
    let more = if found.more {
        format!("<p class=\"quiet\">the first {ROWS_MAX} rows; there are more</p>\n")
    } else {
        String::new()
    };
    format!(
        "<div class=\"moment\">\n<p class=\"when\">{when}, <time>{}</time></p>\n{body}{more}</div>\n",
        escaped(&found.at)
    )
}

fn table(found: &Found) -> String {
    let numeric: Vec<bool> = (0..found.columns.len())
        .map(|column| {
            let mut values =
                found.rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null()).peekable();
            values.peek().is_some() && values.all(Value::is_number)
        })
        .collect();
    let class = |column: usize| if numeric.get(column) == Some(&true) { " class=\"n\"" } else { "" };
    let mut table = "<div class=\"wide\"><table>\n<thead><tr>".to_owned();
    for (column, name) in found.columns.iter().enumerate() {
        let _ = write!(table, "<th{}>{}</th>", class(column), escaped(name));
    }
    table += "</tr></thead>\n<tbody>\n";
    for row in &found.rows {
        table += "<tr>";
        for (column, value) in row.iter().enumerate() {
            let _ = write!(table, "<td{}>{}</td>", class(column), cell(value));
        }
        table += "</tr>\n";
    }
    table + "</tbody>\n</table></div>\n"
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<span class=\"quiet\">null</span>".to_owned(),
        Value::String(text) => escaped(text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if whole.unsigned_abs() >= GROUPED_FROM => {
                format!("{}{}", if whole < 0 { "-" } else { "" }, thousands(whole.unsigned_abs()))
            }
            _ => number.to_string(),
        },
        other => escaped(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped_wherever_it_comes_from() {
        let bad = "<script>alert('1')</script>\"&".to_owned();
        let found = Found {
            at: bad.clone(),
            columns: vec![bad.clone()],
            rows: vec![vec![Value::String(bad.clone())], vec![serde_json::json!({ "a": bad })]],
            ..Found::default()
        };
        let failed = Found { error: Some(bad.clone()), ..found.clone() };
        let context = AlertContext {
            fingerprint: bad.clone(),
            alert: bad.clone(),
            dataset: Some(bad.clone()),
            state: bad.clone(),
            summary: bad.clone(),
            owner: bad.clone(),
            since_ms: Some(0),
        };
        let report = RunbookReport {
            name: bad.clone(),
            title: bad.clone(),
            at: bad.clone(),
            alert: Some(context),
            parts: vec![
                Part::Prose { markdown: bad.clone() },
                Part::Evidence { sql: bad.clone(), now: found, then: Some(failed) },
            ],
            ..RunbookReport::default()
        };
        let entry = RunbookEntry {
            name: bad.clone(),
            title: bad.clone(),
            owners: vec![bad.clone()],
            ..RunbookEntry::default()
        };
        let pages = draw(&report) + &draw_list(&[entry], Some(&bad)) + &draw_refusal(&ApiError::NotFound(bad));
        assert!(!pages.contains("<script"), "{pages}");
    }

    #[test]
    fn numbers_are_to_the_right_and_large_ones_have_their_thousands_apart() {
        let found = Found {
            columns: vec!["steps".to_owned(), "who".to_owned(), "nothing".to_owned()],
            rows: vec![vec![1_234_567.into(), "1".into(), Value::Null], vec![Value::Null, "2".into(), Value::Null]],
            ..Found::default()
        };
        let drawn = table(&found);
        assert!(drawn.contains("<td class=\"n\">1\u{202f}234\u{202f}567</td><td>1</td>"), "{drawn}");
        assert_eq!([cell(&2026.into()), cell(&(-20_000).into())], ["2026".to_owned(), "-20\u{202f}000".to_owned()]);
    }
}
