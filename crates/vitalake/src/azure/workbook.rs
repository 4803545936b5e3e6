//! The workbook: the platform at one glance, over the tables of the ops datasets.
//!
//! Invariant: every query is filtered by the two parameters, time and project.

use serde_json::{Value, json};

/// Title, query, how it is shown.
const PARTS: [(&str, &str, &str); 9] = [
    (
        "What fires now",
        "VitalakeAlerts_CL\n| where Project in ({Project})\n| summarize arg_max(TimeGenerated, State, Severity, Summary, Owner) by Project, Alert, Dataset, Fingerprint\n| where State in (\"firing\", \"acknowledged\", \"error\")\n| project Since = TimeGenerated, Project, Alert, Dataset, State, Severity, Owner, Summary\n| order by Since desc",
        "table",
    ),
    (
        "What gates hold",
        "VitalakeGates_CL\n| where Project in ({Project})\n| summarize arg_max(TimeGenerated, Decision, Version, Reasons) by Project, Dataset\n| project Since = TimeGenerated, Project, Dataset, Decision, Version, Reasons\n| order by Decision asc, Dataset asc",
        "table",
    ),
    (
        "How old the newest row is, in seconds",
        "VitalakeLag_CL\n| where Project in ({Project}) and isnotnull(AgeSeconds)\n| summarize AgeSeconds = max(AgeSeconds) by bin(TimeGenerated, {TimeRange:grain}), Dataset",
        "timechart",
    ),
    (
        "Records that are not in a dataset yet",
        "VitalakeLag_CL\n| where Project in ({Project}) and isnotnull(LagRecords)\n| summarize LagRecords = max(LagRecords) by bin(TimeGenerated, {TimeRange:grain}), Dataset, Topic, Partition\n| summarize LagRecords = sum(LagRecords) by TimeGenerated, Dataset",
        "timechart",
    ),
    (
        "Rows committed",
        "VitalakeCommits_CL\n| where Project in ({Project}) and Outcome == \"done\"\n| summarize arg_max(TimeGenerated, Rows, Dataset) by RunId\n| summarize Rows = sum(Rows) by bin(TimeGenerated, {TimeRange:grain}), Dataset",
        "barchart",
    ),
    (
        "Rules that did not hold",
        "VitalakeChecks_CL\n| where Project in ({Project}) and (Passed == false or Rows > 0)\n| summarize arg_max(TimeGenerated, Rows, Dataset, Rule, Severity) by RunId\n| summarize Times = count(), Rows = sum(Rows), Last = max(TimeGenerated) by Dataset, Rule, Severity\n| order by Rows desc",
        "table",
    ),
    (
        "Deliveries",
        "VitalakeDeliveries_CL\n| where Project in ({Project})\n| project TimeGenerated, Project, Dataset, Feed, BusinessDate, State, Offered, Accepted, Quarantined, Duplicate, TookMs\n| order by TimeGenerated desc\n| take 200",
        "table",
    ),
    (
        "Models that did not come to their end",
        "VitalakeRuns_CL\n| where Project in ({Project}) and Outcome != \"done\"\n| summarize Runs = sum(Runs), Last = max(TimeGenerated) by Project, Dataset, Outcome, Error\n| order by Last desc",
        "table",
    ),
    (
        "Processes: memory, free disk, what is away",
        "VitalakeResources_CL\n| where Project in ({Project})\n| summarize arg_max(TimeGenerated, MemoryBytes, CpuSeconds, DiskFreeBytes, TailBytes, Away, RowsDropped) by Project, Process\n| project Last = TimeGenerated, Project, Process, MemoryBytes, CpuSeconds, DiskFreeBytes, TailBytes, Away, RowsDropped\n| order by Last desc",
        "table",
    ),
];

pub(super) fn render() -> String {
    let mut items = vec![
        json!({"type": 1, "name": "title", "content": {"json": "## vitalake\nRows of the platform's own datasets (`ops.*`), about a minute after they were written. What an alert asks for is in its runbook, in the platform's console."}}),
        parameters(),
    ];
    items.extend(PARTS.into_iter().map(|(title, query, shown)| {
        json!({"type": 3, "name": title, "content": {
            "version": "KqlItem/1.0", "title": title, "query": query, "size": 0, "queryType": 0,
            "resourceType": "microsoft.operationalinsights/workspaces", "visualization": shown,
            "timeContextFromParameter": "TimeRange", "noDataMessage": "Nothing in this time."}})
    }));
    let book = json!({
        "version": "Notebook/1.0", "items": items, "fallbackResourceIds": ["Azure Monitor"],
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json"
    });
    serde_json::to_string_pretty(&book).map(|text| text + "\n").unwrap_or_default()
}

fn parameters() -> Value {
    let day_ms = 86_400_000;
    json!({"type": 9, "name": "parameters", "content": {
    "version": "KqlParameterItem/1.0", "style": "pills", "queryType": 0,
    "resourceType": "microsoft.operationalinsights/workspaces",
    "parameters": [
        {"id": "7b0c2f6a-8b0e-4d0c-9a4b-6f4c0d7e1a01", "version": "KqlParameterItem/1.0", "name": "TimeRange", "type": 4, "isRequired": true,
         "value": {"durationMs": day_ms},
         "typeSettings": {"selectableValues": [{"durationMs": 3_600_000}, {"durationMs": day_ms}, {"durationMs": 7 * day_ms}, {"durationMs": 30_i64 * day_ms}]}},
        {"id": "7b0c2f6a-8b0e-4d0c-9a4b-6f4c0d7e1a02", "version": "KqlParameterItem/1.0", "name": "Project", "type": 2, "isRequired": true,
         "multiSelect": true, "quote": "'", "delimiter": ",", "query": "VitalakeResources_CL\n| distinct Project",
         "value": ["value::all"], "typeSettings": {"additionalResourceOptions": ["value::all"]},
         "timeContextFromParameter": "TimeRange", "queryType": 0, "resourceType": "microsoft.operationalinsights/workspaces"}
    ]}})
}
