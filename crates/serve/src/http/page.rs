//! `GET /` where the console is not built in: a page for whoever opens the address in a browser: what runs here, how it is,
//! and where to go.
//!
//! Plain HTML made on the server, without scripts and without anything from elsewhere. Invariant: every text that is not
//! written here is escaped, and the page holds names, counts and states, never a record's value.

use std::fmt::Write as _;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use vitalake_ops::runbooks::escaped;
use vitalake_ops::status::{AwayPart, DatasetStatus, StatusReport, Trouble};

use super::App;
use super::console::files;

/// Nothing is loaded, run, framed or sent anywhere.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("page.css");

/// The console's first page; where it is not built in, the page as it is now.
pub async fn page(State(app): State<App>, request: Request) -> Response {
    let headers = request.headers();
    if files::is_page(request.method(), request.uri().path()) {
        return files::page(request).await;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8888");
    let host = host.to_owned();
    harmless(draw(&app.status.status().await, &host))
}

/// A page that loads, runs and sends nothing, and is kept nowhere.
pub(super) fn harmless(page: String) -> Response {
    let mut response = Html(page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What stands before a page's body. The title is escaped already.
pub(super) fn begin(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · vitalake</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    )
}

/// What stands after it.
pub(super) const END: &str = "</body>\n</html>\n";

fn draw(report: &StatusReport, host: &str) -> String {
    let name = if report.name.is_empty() { "vitalake" } else { &report.name };
    let name = escaped(name);
    let mut page = begin(&name);
    page += &head(report, &name);
    page += &troubles(&report.troubles, &report.away);
    page += &datasets(&report.datasets);
    page += &models(&report.datasets);
    page += &places(host);
    page + END
}

fn head(report: &StatusReport, name: &str) -> String {
    let (class, state) = match (report.ready, report.troubles.is_empty()) {
        (true, true) => ("ok", "ready".to_owned()),
        (true, false) => ("stalled", "ready, and something is not well".to_owned()),
        (false, _) => ("recovering", format!("not ready: waiting for {}", report.waiting_for.join("; "))),
    };
    let since = if report.since.is_empty() { "?" } else { &report.since };
    format!(
        "<header>\n<h1>{name}</h1>\n<p>vitalake {}, role <b>{}</b>, since <time datetime=\"{since}\">{since}</time></p>\n\
         <p class=\"state {class}\">{}</p>\n</header>\n",
        escaped(&report.version),
        escaped(&report.role),
        escaped(&state),
        since = escaped(since),
    )
}

fn troubles(troubles: &[Trouble], away: &[AwayPart]) -> String {
    if troubles.is_empty() && away.is_empty() {
        return String::new();
    }
    let mut list = "<section>\n<h2>Troubles</h2>\n<dl>\n".to_owned();
    for trouble in troubles {
        let of = trouble.dataset.as_deref().unwrap_or("the platform");
        item(&mut list, &trouble.state, of, &trouble.message);
    }
    for part in away {
        item(&mut list, "away", &part.part, &format!("since {}: {}", part.since, part.reason));
    }
    list + "</dl>\n</section>\n"
}

fn item(list: &mut String, state: &str, of: &str, message: &str) {
    let (state, of, message) = (escaped(state), escaped(of), escaped(message));
    // Writing to a string cannot fail.
    let _ = writeln!(list, "<dt>{of} <span class=\"state {state}\">{state}</span></dt><dd>{message}</dd>");
}

fn datasets(datasets: &[DatasetStatus]) -> String {
    let mut rows = String::new();
    for dataset in datasets {
        let state = escaped(&dataset.state);
        let _ = writeln!(
            rows,
            "<tr><td>{}.{}</td><td><span class=\"state {state}\">{state}</span></td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escaped(&dataset.layer),
            escaped(&dataset.dataset),
            thousands(dataset.rows),
            thousands(dataset.tail_rows),
            thousands(dataset.quarantined),
            dataset.freshness_seconds.map_or_else(String::new, age),
            escaped(dataset.last_commit.as_deref().unwrap_or("never")),
        );
    }
    let none = "<tr><td colspan=\"7\">none yet</td></tr>\n".to_owned();
    format!(
        "<section>\n<h2>Datasets</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>dataset</th><th>state</th>\
         <th class=\"n\">rows</th><th class=\"n\">in memory</th><th class=\"n\">quarantined</th>\
         <th class=\"n\">newest row</th><th>last commit</th></tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n</section>\n",
        if rows.is_empty() { none } else { rows }
    )
}

fn models(datasets: &[DatasetStatus]) -> String {
    let mut rows = String::new();
    for dataset in datasets {
        let Some(kind) = &dataset.model else { continue };
        let state = escaped(&dataset.state);
        let _ = writeln!(
            rows,
            "<tr><td>{}.{}</td><td>{}</td><td><span class=\"state {state}\">{state}</span></td>\
             <td class=\"n\">{}</td><td>{}</td></tr>",
            escaped(&dataset.layer),
            escaped(&dataset.dataset),
            escaped(kind),
            dataset.lag_records.map_or_else(String::new, thousands),
            escaped(dataset.error.as_deref().unwrap_or_default()),
        );
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>Models</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>makes</th><th>kind</th><th>state</th>\
         <th class=\"n\">changes behind</th><th>why</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n</section>\n"
    )
}

fn places(host: &str) -> String {
    let host = escaped(host);
    format!(
        "<section>\n<h2>Where to go</h2>\n<p>Ask in SQL at <code>/druid/v2/sql</code>:</p>\n\
         <pre>curl -s http://{host}/druid/v2/sql -H 'Content-Type: application/json' \\\n  \
         -d '{{\"query\": \"SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES\"}}'</pre>\n\
         <p>or with <code>vitalake query \"SELECT …\"</code>. A file is delivered with <code>vitalake ingest DATASET FILE</code>.</p>\n\
         <p>The console is not in this binary: <code>make console</code> builds it, with Node, and the next build takes it in.</p>\n\
         <ul>\n<li><a href=\"/api/v1/status\">/api/v1/status</a>: this page as JSON; the same as <code>vitalake status --json</code></li>\n\
         <li><a href=\"/health/ready\">/health/ready</a>: 200 when queries are answered</li>\n\
         <li><a href=\"/runbooks\">/runbooks</a>: what to do when something is not well, with the evidence</li>\n\
         <li><a href=\"/metrics\">/metrics</a>: numbers for Prometheus</li>\n\
         <li>documentation: the folder <code>docs/</code> of the source, and <code>vitalake COMMAND --help</code></li>\n\
         </ul>\n</section>\n"
    )
}

pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// An age in the unit that fits it.
fn age(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s ago"),
        s if s < 3_600.0 => format!("{:.0} min ago", s / 60.0),
        s if s < 86_400.0 => format!("{:.1} h ago", s / 3_600.0),
        s => format!("{:.1} d ago", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped_wherever_it_comes_from() {
        let bad = "<script>alert('1')</script>\"&".to_owned();
        let dataset = DatasetStatus {
            dataset: bad.clone(),
            layer: bad.clone(),
            state: bad.clone(),
            error: Some(bad.clone()),
            model: Some(bad.clone()),
            last_commit: Some(bad.clone()),
            ..DatasetStatus::default()
        };
        let report = StatusReport {
            name: bad.clone(),
            version: bad.clone(),
            since: bad.clone(),
            role: bad.clone(),
            waiting_for: vec![bad.clone()],
            away: vec![AwayPart { part: bad.clone(), since: bad.clone(), reason: bad.clone(), seconds: 1.0 }],
            datasets: vec![dataset],
            troubles: vec![Trouble { dataset: Some(bad.clone()), state: bad.clone(), message: bad.clone() }],
            ..StatusReport::default()
        };
        let page = draw(&report, &bad);
        assert!(!page.contains("<script") && !page.contains("alert('1')"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
    }

    #[test]
    fn numbers_and_ages_are_for_people() {
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            [age(0.4), age(90.0), age(7200.0), age(172_800.0)],
            ["0.4 s ago", "2 min ago", "2.0 h ago", "2.0 d ago"]
        );
    }
}
