//! The source of a feed: a folder, an object store or a database, and what goes with each.
//!
//! Invariant: a relative folder stays within the project's directory, and no URL of a store holds a credential.

use std::time::Duration;

use super::Reader;
use crate::delivery_format::DeliveryFormat;
use crate::feed::{
    Complete, FeedFiles, FeedSource, LOOK_EVERY_DEFAULT, LOOK_EVERY_STORE_DEFAULT, NamePattern, PostgresSelect,
    PostgresSource, STABLE_DEFAULT, WatermarkLag,
};
use crate::yaml::{Node, Value};

const STABLE_MAX: Duration = Duration::from_secs(86_400);
const LOOK_MAX: Duration = Duration::from_secs(86_400);
const LAG_MAX: Duration = Duration::from_secs(31 * 86_400);
const LOOK_MIN: Duration = Duration::from_secs(1);

/// Forms that a feed may name.
const FORMATS: [&str; 6] = ["csv", "ndjson", "json", "parquet", "arrow", "zip"];
/// Keys that go with files alone.
const OF_FILES: [&str; 5] = ["stable", "marker", "look_every", "gather", "format"];

impl Reader<'_> {
    pub(super) fn source(&mut self, root: &Node) -> Option<FeedSource> {
        let help = "add `source: {folder: DIR, pattern: \"NAME_{date:yyyyMMdd}.csv\"}`";
        let Some(node) = root.get("source") else {
            self.error(root.place, "missing-key", "the feed has no `source`", help);
            return None;
        };
        let kinds: Vec<&Node> = ["folder", "url", "postgres"].iter().filter_map(|kind| node.get(kind)).collect();
        match (kinds.as_slice(), &node.value) {
            ([_], Value::Map(_)) => {}
            ([], Value::Map(_)) => {
                self.error(node.place, "missing-key", "the source is neither a folder, a url nor postgres", help);
                return None;
            }
            ([_, second, ..], _) => {
                self.error(second.place, "bad-source", "a feed has one source", "keep one of folder, url, postgres");
                return None;
            }
            _ => {
                self.error(node.place, "bad-source", "a source is a map of settings", help);
                return None;
            }
        }
        if node.get("postgres").is_some() {
            return self.postgres(root, node).map(FeedSource::Postgres);
        }
        let is_store = node.get("url").is_some();
        self.keys(node, &[if is_store { "url" } else { "folder" }, "pattern"], None);
        let place = if is_store { self.url(node) } else { self.folder(node) };
        let files = self.files(root, node, is_store);
        let files = FeedFiles { place: place?, ..files? };
        Some(if is_store { FeedSource::Store(files) } else { FeedSource::Folder(files) })
    }

    fn files(&mut self, root: &Node, node: &Node, is_store: bool) -> Option<FeedFiles> {
        let complete = self.complete(root);
        let look_every = self.length(root, "look_every", LOOK_MAX).map(|every| every.max(LOOK_MIN));
        let format = self.format(root);
        let pattern = self.pattern(node)?;
        let gather = self.gather(root, &pattern);
        let every = if is_store { LOOK_EVERY_STORE_DEFAULT } else { LOOK_EVERY_DEFAULT };
        let look_every = look_every.unwrap_or(every);
        Some(FeedFiles { place: String::new(), pattern, complete: complete?, look_every, gather, format })
    }

    fn folder(&mut self, node: &Node) -> Option<String> {
        let node = node.get("folder")?;
        let folder = node.text().map(str::trim).filter(|text| !text.is_empty());
        let Some(folder) = folder else {
            self.error(node.place, "bad-source", "`folder` is no path", "write a path such as deliveries/patients");
            return None;
        };
        if !folder.starts_with('/') && folder.split('/').any(|part| part == "..") {
            let help = "write a path within the project's directory, or an absolute one";
            self.error(node.place, "bad-source", "the folder climbs out of the project's directory", help);
            return None;
        }
        Some(folder.to_owned())
    }

    fn url(&mut self, node: &Node) -> Option<String> {
        let node = node.get("url")?;
        let url = node.text().map(str::trim).unwrap_or_default();
        let known = ["abfss", "abfs", "az", "azure", "file"];
        match url.split_once("://") {
            Some((scheme, rest)) if known.contains(&scheme) && !rest.is_empty() => Some(url.to_owned()),
            _ => {
                let help = "write one such as abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/clinic, az://CONTAINER/clinic or file:///srv/clinic";
                self.error(node.place, "bad-source", "this is no URL of an object store", help);
                None
            }
        }
    }

    fn pattern(&mut self, node: &Node) -> Option<NamePattern> {
        let Some(pattern) = node.get("pattern") else {
            let help = "add `pattern:`, such as \"patients_{date:yyyyMMdd}.csv\" or \"*.ndjson\"";
            self.error(node.place, "missing-key", "nothing says which files are deliveries", help);
            return None;
        };
        let read = NamePattern::new(pattern.text().unwrap_or_default());
        read.map_err(|reason| {
            let help = "write one such as \"patients_{date:yyyyMMdd}*.csv\"";
            self.error(pattern.place, "bad-pattern", reason, help);
        })
        .ok()
    }

    fn complete(&mut self, root: &Node) -> Option<Complete> {
        let stable = self.length(root, "stable", STABLE_MAX);
        let Some(marker) = root.get("marker") else {
            return Some(Complete::Stable(stable.unwrap_or(STABLE_DEFAULT)));
        };
        if root.get("stable").is_some() {
            let help = "keep one: a file is complete when it stood still, or when its marker is there";
            self.error(marker.place, "bad-feed", "a feed has `stable` or `marker`, not both", help);
            return None;
        }
        let template = marker.text().filter(|text| text.contains("{name}") || text.contains("{stem}"));
        match template.filter(|text| *text != "{name}" && !text.contains('/')) {
            Some(template) => Some(Complete::Marker(template.to_owned())),
            None => {
                let help = "write one such as \"{name}.done\"; {stem} is the name without its ending";
                self.error(marker.place, "bad-feed", "`marker` does not say the name of a file beside", help);
                None
            }
        }
    }

    fn gather(&mut self, root: &Node, pattern: &NamePattern) -> bool {
        let Some(node) = root.get("gather") else { return false };
        let Some(gather) = node.boolean() else {
            self.error(node.place, "bad-feed", "`gather` is true or false", "write `gather: true`");
            return false;
        };
        if gather && !pattern.has_date() {
            let help = "write the date in the pattern, such as readings_{date:yyyyMMdd}_*.csv: files of one date are one delivery";
            self.error(node.place, "no-date", "nothing says which files belong together", help);
        }
        gather
    }

    fn format(&mut self, root: &Node) -> Option<DeliveryFormat> {
        let node = root.get("format")?;
        let known = node.text().filter(|text| FORMATS.contains(text));
        if known.is_none() {
            self.error(node.place, "bad-feed", "this is no form of a file", format!("known: {}", FORMATS.join(", ")));
        }
        known.and_then(DeliveryFormat::named)
    }

    fn postgres(&mut self, root: &Node, node: &Node) -> Option<PostgresSource> {
        self.keys(node, &["postgres", "table", "query", "watermark", "lag"], None);
        for entry in root.entries().iter().filter(|entry| OF_FILES.contains(&entry.key.as_str())) {
            let message = format!("`{}` is about files", entry.key);
            self.error(entry.place, "bad-feed", message, "remove it: the source is a database");
        }
        let url = self.connection(node);
        let select = match (node.get("table"), node.get("query")) {
            (Some(table), None) => self.text_of(table, "table").map(PostgresSelect::Table),
            (None, Some(query)) => self.text_of(query, "query").map(PostgresSelect::Query),
            (Some(_), Some(query)) => {
                self.error(query.place, "bad-source", "a source has `table` or `query`, not both", "keep one");
                None
            }
            (None, None) => {
                let help = "add `table: schema.name`, or `query:` with a SELECT";
                self.error(node.place, "missing-key", "nothing says what is read of the database", help);
                None
            }
        };
        let watermark = match node.get("watermark") {
            Some(watermark) => Some(self.text_of(watermark, "watermark")?),
            None => None,
        };
        let lag = self.lag(node, watermark.is_some());
        Some(PostgresSource { url: url?, select: select?, watermark, lag: lag? })
    }

    /// A number is one of the watermark's own units, anything else a length of time.
    fn lag(&mut self, node: &Node, has_watermark: bool) -> Option<WatermarkLag> {
        let Some(lag) = node.get("lag") else { return Some(WatermarkLag::None) };
        if !has_watermark {
            let help = "add `watermark:`, or remove it: without one all rows are read";
            self.error(lag.place, "bad-source", "`lag` goes with a watermark", help);
            return None;
        }
        match lag.integer().and_then(|number| u64::try_from(number).ok()) {
            Some(number) => Some(WatermarkLag::Number(number)),
            None => self.length(node, "lag", LAG_MAX).map(WatermarkLag::Time),
        }
    }

    fn text_of(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.text().map(|text| text.trim().trim_end_matches(';').trim_end()).filter(|text| !text.is_empty());
        if text.is_none() {
            self.error(node.place, "bad-source", format!("`{key}` is empty or no text"), "write it as text");
        }
        text.map(ToOwned::to_owned)
    }

    /// A connection's URL. A password in the project's directory would be in the team's git.
    fn connection(&mut self, node: &Node) -> Option<String> {
        let node = node.get("postgres")?;
        let url = self.text_of(node, "postgres")?;
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        if rest.is_none() && !url.starts_with("${") {
            let help = "write postgres://USER:${PASSWORD}@HOST/DATABASE, or ${NAME} of a variable that holds all of it";
            self.error(node.place, "bad-source", "this is no URL of a PostgreSQL database", help);
            return None;
        }
        let user = rest.and_then(|rest| rest.rsplit_once('@')).map_or("", |(user, _)| user);
        let password = user.split_once(':').map_or("", |(_, password)| password);
        let is_variable = password.starts_with("${") && password.ends_with('}');
        if !password.is_empty() && !is_variable {
            let place = node.place;
            let mut finding = crate::Diagnostic::error(self.path, "secret", "a password stands in the feed's file");
            // The line itself would show it.
            (finding.line, finding.column) = (place.line, place.column);
            self.found.push(finding.help("name a variable of the environment in its place: ${PASSWORD}"));
            return None;
        }
        Some(url)
    }
}
