//! One event hub for each topic that a raw contract names.
//!
//! Invariant: a hub has the partitions of its contract and keeps records as long as the log would, within what Event Hubs
//! takes.

use std::fmt::Write as _;

use vitalake_contract::{Project, Source};
use vitalake_runtime::config::Config;

use super::bicep::{MADE, quoted, symbol};

/// The most partitions of a hub of the size Standard.
const PARTITIONS_MAX: u32 = 32;
/// The longest that a hub of the size Standard keeps a record.
const RETENTION_HOURS_MAX: u64 = 7 * 24;

pub(super) fn render(project: &Project, config: &Config) -> String {
    let hours = config.log.retention_ms.div_ceil(3_600_000).clamp(1, RETENTION_HOURS_MAX);
    let mut text = format!(
        "{MADE}// One hub for each topic of the project. Event Hubs makes none by itself: `kafka.create_topics` is false.\n\
         @description('Name of the namespace')\nparam namespaceName string\n\n\
         resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {{\n  name: namespaceName\n}}\n"
    );
    for contract in &project.contracts {
        let Some(Source::Stream { topic, partitions }) = &contract.source else { continue };
        let _ = write!(
            text,
            "\n// {}.{}\nresource {} 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {{\n  parent: namespace\n  name: {}\n  \
             properties: {{\n    partitionCount: {}\n    retentionDescription: {{\n      cleanupPolicy: 'Delete'\n      \
             retentionTimeInHours: {hours}\n    }}\n  }}\n}}\n",
            contract.layer,
            contract.dataset,
            symbol("hub", contract.dataset.as_str()),
            quoted(topic),
            (*partitions).min(PARTITIONS_MAX),
        );
    }
    text
}
