//! Logs to standard error, and the names of all metrics.
//!
//! Invariant: no log line and no label holds a record's value or an identifier of a person.

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Who else is told of what is logged.
pub type AlsoTold = Box<dyn Layer<Registry> + Send + Sync>;

/// Where [`also_to`] puts it; there once logs have been started.
static ALSO: OnceLock<reload::Handle<Option<AlsoTold>, Registry>> = OnceLock::new();

/// The environment variable that filters logs, such as `info,vitalake_ingest=debug`.
pub const FILTER_VARIABLE: &str = "VITALAKE_LOG";
/// The environment variable that chooses the form of logs: `plain` (the default) or `json`.
pub const FORMAT_VARIABLE: &str = "VITALAKE_LOG_FORMAT";
/// What is logged when no filter is given.
pub const FILTER_DEFAULT: &str = "info,object_store::client=warn";

/// Sends logs to standard error, as the environment says. A second call changes nothing.
///
/// # Errors
/// What is wrong with one of the two variables, by its name.
pub fn start() -> Result<(), String> {
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let filter = if filter.trim().is_empty() { FILTER_DEFAULT } else { &filter };
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("environment variable {FILTER_VARIABLE}: {error}: give a filter such as info"))?;
    let format = std::env::var(FORMAT_VARIABLE).unwrap_or_default();
    let is_json = match format.as_str() {
        "json" => true,
        "" | "plain" => false,
        _ => {
            return Err(format!("environment variable {FORMAT_VARIABLE} must be plain or json"));
        }
    };
    let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
    let (also, handle) = reload::Layer::new(None);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(is_terminal);
    let lines = if is_json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    // The only failure is that logs already go somewhere, which is as well.
    if tracing_subscriber::registry().with(also).with(filter).with(lines).try_init().is_ok() {
        let _ = ALSO.set(handle);
    }
    Ok(())
}

/// Tells somebody else of what is logged from now on, as far as the filter lets it through; `None` ends that. Says
/// whether it is so: not before logs have been started.
pub fn also_to(layer: Option<AlsoTold>) -> bool {
    ALSO.get().is_some_and(|handle| handle.reload(layer).is_ok())
}

/// The name of a metric, as it is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricName {
    /// The name; counters end in `_total`, others in their unit.
    pub name: &'static str,
    /// What it counts or measures, for the exposition.
    pub help: &'static str,
}

/// The metrics of the process.
pub mod metric {
    use super::MetricName;

    macro_rules! metrics {
        ($($constant:ident, $name:literal, $help:literal;)*) => {
            $(#[doc = $help] pub const $constant: MetricName = MetricName { name: $name, help: $help };)*
            /// Every metric, in the order in which records meet them.
            pub const ALL: &[MetricName] = &[$($constant),*];
        };
    }

    metrics! {
        LOG_APPENDED_BYTES, "vitalake_log_appended_bytes_total", "Bytes appended to the log";
        LOG_APPENDED_RECORDS, "vitalake_log_appended_records_total", "Records appended to the log";
        LOG_SYNCS, "vitalake_log_syncs_total", "Syncs of the log";
        LOG_SYNC_SECONDS, "vitalake_log_sync_seconds_total", "Time that syncs of the log have taken";
        INGEST_RECORDS, "vitalake_ingest_records_total", "Records landed, by dataset";
        INGEST_BYTES, "vitalake_ingest_bytes_total", "Bytes of records landed, by dataset";
        QUARANTINED_RECORDS, "vitalake_quarantined_records_total", "Records rejected, by dataset";
        DUPLICATE_RECORDS, "vitalake_duplicate_records_total", "Records left out of a curated dataset because it has them, by dataset";
        LAG_RECORDS, "vitalake_lag_records", "Records in the log that have not landed, by topic";
        TAIL_BYTES, "vitalake_tail_bytes", "Bytes of rows that are visible and not yet committed, by dataset";
        TAIL_ROWS, "vitalake_tail_rows", "Rows that are visible and not yet committed, by dataset";
        COMMITS, "vitalake_commits_total", "Delta commits, by table and outcome";
        COMMIT_SECONDS, "vitalake_commit_seconds", "Time that a Delta commit takes, by table";
        MODEL_RUNS, "vitalake_model_runs_total", "Runs of a model, by dataset and outcome";
        MODEL_SECONDS, "vitalake_model_seconds", "Time that a run of a model takes, by dataset";
        BROKEN_RULES, "vitalake_broken_rules_total", "Rows that broke a rule, by dataset, rule and severity";
        DELIVERIES, "vitalake_deliveries_total", "Delivered files, by dataset and outcome";
        FEED_LAST_SUCCESS, "vitalake_feed_last_success_timestamp", "When a delivery last came, in seconds since 1970, by feed";
        FEED_NEXT_DUE, "vitalake_feed_next_due_timestamp", "When the next delivery is due, in seconds since 1970, by feed";
        FEED_LATE, "vitalake_feed_late", "1 while the delivery that was due is not here, by feed";
        DATASET_ROWS, "vitalake_dataset_rows", "Committed rows, by dataset";
        FRESHNESS_SECONDS, "vitalake_freshness_seconds", "Age of the newest row, by dataset";
        QUERIES, "vitalake_queries_total", "Queries, by surface and outcome";
        QUERY_SECONDS, "vitalake_query_seconds", "Time that a query takes, by surface";
        STORAGE_REQUESTS, "vitalake_storage_requests_total", "Requests to the storage account, by kind; retries count too";
        STORAGE_THROTTLED, "vitalake_storage_throttled_total", "Answers of the storage account that asked to come back later";
        STORAGE_SENT_BYTES, "vitalake_storage_sent_bytes_total", "Bytes sent to the storage account";
        STORAGE_RECEIVED_BYTES, "vitalake_storage_received_bytes_total", "Bytes received from the storage account";
        DISK_FREE_BYTES, "vitalake_disk_free_bytes", "Free bytes on the disk of the data folder";
        EVENTS_DROPPED, "vitalake_events_dropped_total", "Events that were not counted, because more came than were read";
        TELEMETRY_SENT, "vitalake_telemetry_sent_total", "Spans and log lines that the OTLP receiver has taken, by signal";
        TELEMETRY_DROPPED, "vitalake_telemetry_dropped_total", "Spans and log lines that were given up because the OTLP receiver was away or too slow, by signal";
        TELEMETRY_FAILED, "vitalake_telemetry_failed_requests_total", "Requests to the OTLP receiver that failed";
        MONITOR_ROWS_SENT, "vitalake_monitor_rows_sent_total", "Rows that the workspace of Azure Monitor has taken, by table";
        MONITOR_ROWS_REFUSED, "vitalake_monitor_rows_refused_total", "Rows that the workspace of Azure Monitor refused for good, by table";
        MONITOR_COMMITS_WAITING, "vitalake_monitor_commits_waiting", "Commits that the workspace of Azure Monitor does not have yet, by table";
        MONITOR_COMMITS_GIVEN_UP, "vitalake_monitor_commits_given_up_total", "Commits that were too old to be sent to the workspace of Azure Monitor, by table";
        MONITOR_BEHIND, "vitalake_monitor_behind_age", "Age in seconds of the oldest commit that the workspace of Azure Monitor does not have yet";
        MONITOR_REQUESTS, "vitalake_monitor_requests_total", "Calls to the workspace of Azure Monitor, by outcome";
        MONITOR_CPU_SECONDS, "vitalake_monitor_cpu_seconds_total", "Processor time of sending to the workspace of Azure Monitor";
        READY, "vitalake_ready", "1 once recovery is complete, else 0";
    }
}

#[cfg(test)]
mod tests {
    use super::metric;
    use std::collections::BTreeSet;

    #[test]
    fn metric_names_are_unique_and_well_formed() {
        let names: BTreeSet<&str> = metric::ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), metric::ALL.len());
        for name in names {
            assert!(name.starts_with("vitalake_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
    }
}
