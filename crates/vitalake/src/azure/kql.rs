//! An alert's rule as KQL over the tables of the ops datasets.
//!
//! Signals that samples show are computed there again, so that they hold also where the process that evaluates alerts is
//! gone; all others, and rules in SQL, are what the platform itself has found, as it is told in `VitalakeAlerts_CL`.
//! Invariant: a query gives one row for each project and dataset that the alert holds for, with the columns `Project` and
//! `Dataset`.

use std::fmt::Write as _;

use vitalake_contract::alert::{AlertDataset, AlertSource, Signal};
use vitalake_contract::{Layer, Project, Source};
use vitalake_ops::alerts::rule::Rule;
use vitalake_runtime::config::Config;

/// How long samples may be on their way.
const DELAY_MINUTES: u64 = 5;
/// The stretches of time that a rule may look at, in minutes: those that Azure takes.
const WINDOWS_MINUTES: [u64; 13] = [5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1_440, 2_880];
/// What a state is looked for in: the longest that a rule may look back.
const STATE_MINUTES: u64 = 2_880;

/// What a rule asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The query.
    pub(super) query: String,
    /// The stretch of time that it looks at, in minutes.
    pub(super) window_minutes: u64,
    /// Whether it computes the signal again, and does not repeat what the platform found.
    pub(super) is_computed: bool,
}

/// What an alert asks; none where it is about nothing that the project has.
pub(super) fn asked(rule: &Rule, project: &Project, config: &Config) -> Option<Asked> {
    let AlertSource::Signal(signal) = rule.alert.source else { return Some(told(rule)) };
    let threshold = rule.alert.threshold.or(signal.default_threshold());
    let held_minutes = rule.alert.hold_for.as_secs().div_ceil(60);
    let (query, minutes) = match signal {
        Signal::Lag => (lag(rule, threshold?), held_minutes),
        Signal::Freshness => (freshness(rule, project)?, held_minutes),
        // Of a serving dataset staged and published commits both bring rows: the platform itself tells them apart.
        Signal::QuarantineRate if rule.alert.dataset.as_ref().is_some_and(|of| of.layer == Layer::Serving) => {
            return Some(told(rule));
        }
        Signal::QuarantineRate => (quarantine_rate(rule, threshold?), rule.alert.window.as_secs().div_ceil(60)),
        Signal::Conservation => {
            let newest = newest("VitalakeChecks_CL", "Rule == \"conservation\"", rule, "Passed", "Passed == false");
            (newest, STATE_MINUTES)
        }
        Signal::GateHeld => {
            let held = "Decision in (\"held\", \"hold\")";
            (newest("VitalakeGates_CL", "isnotempty(Decision)", rule, "Decision", held), STATE_MINUTES)
        }
        Signal::DeliveryHeld => (deliveries_held(rule), STATE_MINUTES),
        Signal::Disk => {
            let least = rule.alert.threshold.unwrap_or(config.storage.reserve_bytes as f64 * 2.0);
            (gauge("DiskFreeBytes", "max", "<", least), held_minutes)
        }
        Signal::Memory => (gauge("MemoryBytes", "min", ">", threshold?), held_minutes),
        Signal::ComponentAway => (AWAY.to_owned(), held_minutes),
        Signal::DruidBehind if !config.druid.publishes => return None,
        Signal::Volume | Signal::FeedLate | Signal::SchemaDrift | Signal::CompactionBehind | Signal::DruidBehind => {
            return Some(told(rule));
        }
    };
    Some(Asked { query, window_minutes: window(minutes + DELAY_MINUTES), is_computed: true })
}

/// A part that no sample of a process has answered.
const AWAY: &str = "VitalakeResources_CL\n\
    | summarize Samples = count(), Well = countif(isempty(Away)) by Project, Dataset = Process\n\
    | where Samples > 0 and Well == 0\n| project Project, Dataset";

fn lag(rule: &Rule, most: f64) -> String {
    // The platform's own is about what comes in.
    let raw_only = if rule.built_in { " and Dataset startswith \"raw.\"" } else { "" };
    format!(
        "VitalakeLag_CL\n| where isnotnull(LagRecords){}\n\
         | summarize LagRecords = max(LagRecords) by Project, Dataset, Topic, Partition, Minute = bin(TimeGenerated, 1m)\n\
         | summarize Value = sum(LagRecords) by Project, Dataset, Minute\n\
         | summarize Value = min(Value) by Project, Dataset\n| where Value > {}",
        only(rule, raw_only),
        number(most)
    )
}

fn quarantine_rate(rule: &Rule, share: f64) -> String {
    format!(
        "VitalakeCommits_CL\n| where Outcome == \"done\"\n\
         | summarize arg_max(TimeGenerated, Rows, Dataset) by Project, RunId\n\
         | extend Layer = tostring(split(Dataset, \".\")[0]), Name = tostring(split(Dataset, \".\")[1])\n\
         | where Layer in (\"raw\", \"curated\", \"quarantine\")\n\
         | summarize Rejected = sumif(Rows, Layer == \"quarantine\"), Accepted = sumif(Rows, Layer != \"quarantine\"), \
         Dataset = take_anyif(Dataset, Layer != \"quarantine\") by Project, Name\n\
         | extend Dataset = iff(isempty(Dataset), Name, Dataset)\n\
         | where Rejected > {} * (Rejected + Accepted){}\n| project Project, Dataset",
        number(share),
        only(rule, "")
    )
}

/// What the newest row of each dataset says.
fn newest(table: &str, of: &str, rule: &Rule, column: &str, holds: &str) -> String {
    format!(
        "{table}\n| where {of}{}\n| summarize arg_max(TimeGenerated, {column}) by Project, Dataset\n\
         | where {holds}\n| project Project, Dataset",
        only(rule, "")
    )
}

fn deliveries_held(rule: &Rule) -> String {
    format!(
        "VitalakeDeliveries_CL\n| where isnotempty(HeldId){}\n\
         | summarize arg_max(TimeGenerated, State) by Project, Dataset, HeldId\n| where State == \"held\"\n\
         | summarize Deliveries = count() by Project, Dataset",
        only(rule, "")
    )
}

/// What the platform itself has found.
fn told(rule: &Rule) -> Asked {
    let query = format!(
        "VitalakeAlerts_CL\n| where Alert == {}\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n\
         | where State in (\"firing\", \"acknowledged\")\n| summarize Alerts = count() by Project, Dataset",
        text(&rule.alert.name)
    );
    Asked { query, window_minutes: STATE_MINUTES, is_computed: false }
}

/// The platform sends a sample every 30 seconds; none of them is what nobody but Azure can tell.
pub(super) fn silent() -> Asked {
    let query = "VitalakeResources_CL\n| where isnotempty(Process)".to_owned();
    Asked { query, window_minutes: 15, is_computed: true }
}

/// The newest row of a dataset is older than its bound. Its age goes on from the last sample.
fn freshness(rule: &Rule, project: &Project) -> Option<String> {
    let mut bounds = String::new();
    for contract in &project.contracts {
        let is_meant = !rule.built_in || contract.layer == Layer::Raw && contract.source != Some(Source::Feed);
        let bound = rule.alert.threshold.or(contract.sla.freshness.map(|age| age.as_secs_f64()));
        let dataset = AlertDataset { layer: contract.layer, name: contract.dataset.clone() };
        let (true, true, Some(seconds)) = (is_meant, rule.is_about(&dataset), bound) else { continue };
        let separator = if bounds.is_empty() { "" } else { ", " };
        let _ = write!(bounds, "{separator}{}, {}", text(&dataset.to_string()), number(seconds));
    }
    (!bounds.is_empty()).then(|| {
        format!(
            "let Bounds = datatable(Dataset: string, Seconds: real) [{bounds}];\nVitalakeLag_CL\n| where isnotnull(AgeSeconds)\n\
             | summarize arg_max(TimeGenerated, AgeSeconds) by Project, Dataset\n| join kind=inner Bounds on Dataset\n\
             | where AgeSeconds + datetime_diff(\"second\", now(), TimeGenerated) > Seconds + {DELAY_MINUTES} * 60\n\
             | project Project, Dataset"
        )
    })
}

/// A process's gauge beyond a bound in every sample.
fn gauge(column: &str, steady: &str, beyond: &str, bound: f64) -> String {
    format!(
        "VitalakeResources_CL\n| where isnotnull({column})\n| summarize Value = {steady}({column}) by Project, Dataset = Process\n\
         | where Value {beyond} {}",
        number(bound)
    )
}

/// What narrows a query to what the alert is about, after a condition.
fn only(rule: &Rule, further: &str) -> String {
    let mut condition = further.to_owned();
    if let Some(dataset) = &rule.alert.dataset {
        let _ = write!(condition, " and Dataset == {}", text(&dataset.to_string()));
    }
    if !rule.leaves.is_empty() {
        let left: Vec<String> = rule.leaves.iter().map(|dataset| text(&dataset.to_string())).collect();
        let _ = write!(condition, " and Dataset !in ({})", left.join(", "));
    }
    condition
}

/// A text of KQL. Names of alerts and datasets have letters, digits and signs that need no care; quotes are escaped all the same.
fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value}") }
}

/// The shortest stretch of time that Azure takes and that is long enough.
fn window(minutes: u64) -> u64 {
    WINDOWS_MINUTES.into_iter().find(|window| *window >= minutes).unwrap_or(STATE_MINUTES)
}
