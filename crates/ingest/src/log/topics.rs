//! The log's topics in memory, and how their partitions are opened.
//!
//! Invariant: a topic has the partitions 0 to n, each opened once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use tokio::sync::watch;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::Disk;

use super::partition::Partition;
use super::recovery::{PartitionToOpen, open_partition};
use super::{LogError, LogMetrics, LogOptions, RecoveryReport, TopicId, TopicInfo, TopicPartition};

/// A topic in memory.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) partitions: Vec<Arc<Partition>>,
    pub(super) changed: Arc<watch::Sender<u64>>,
    pub(super) active: bool,
}

/// Every topic of a log.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) by_name: BTreeMap<String, Topic>,
    pub(super) names: HashMap<TopicId, String>,
}

impl Topic {
    /// A topic without partitions, which clients do not see yet.
    pub(super) fn new(id: TopicId) -> Self {
        Self { id, partitions: Vec::new(), changed: Arc::new(watch::Sender::new(0)), active: false }
    }

    /// What is told of it.
    pub(super) fn info(&self, name: &str) -> TopicInfo {
        TopicInfo {
            name: name.to_owned(),
            id: self.id,
            partitions: u32::try_from(self.partitions.len()).unwrap_or(u32::MAX),
            active: self.active,
        }
    }
}

/// What partitions are opened with.
pub(super) struct Opening<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) folder: &'a Path,
    pub(super) options: &'a LogOptions,
    pub(super) clock: &'a Clock,
    pub(super) metrics: &'a LogMetrics,
}

impl Opening<'_> {
    /// Opens the partitions that a topic does not have yet, up to so many.
    pub(super) fn add_partitions(
        &self,
        name: &str,
        topic: &mut Topic,
        partitions: u32,
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        let have = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        for number in have..partitions {
            let id = TopicPartition::new(topic.id, i32::try_from(number).unwrap_or(i32::MAX));
            let place = PartitionToOpen {
                disk: self.disk,
                folder: self.folder.join(id.to_string()),
                id,
                topic: name,
                changed: Arc::clone(&topic.changed),
            };
            let (partition, found) = open_partition(place, self.options, self.clock.now_ms())?;
            if found.truncated_bytes > 0 {
                tracing::warn!(
                    topic = name,
                    partition = number,
                    bytes = found.truncated_bytes,
                    "cut a torn tail that was never acknowledged"
                );
            }
            count_unlanded(&partition, self.metrics);
            topic.partitions.push(Arc::new(partition));
            report.partitions.push(found);
        }
        Ok(())
    }
}

/// Brings the count of bytes that have not landed up to date.
pub(super) fn count_unlanded(partition: &Partition, metrics: &LogMetrics) {
    let mut unlanded = partition.unlanded_bytes.lock();
    let now = partition.bytes_from(partition.landed_end.load(Ordering::Acquire));
    let change = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(i64::try_from(*unlanded).unwrap_or(i64::MAX));
    *unlanded = now;
    metrics.unlanded_bytes.fetch_add(change, Ordering::Relaxed);
}

/// Folders that no topic owns.
pub(super) fn orphans(disk: &dyn Disk, folder: &Path, topics: &Topics) -> Result<Vec<PathBuf>, LogError> {
    let entries = disk.list(folder).map_err(LogError::io("list", folder))?;
    let owned = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        topics.by_name.values().any(|topic| name.rsplit_once('-').is_some_and(|(id, _)| id == topic.id.to_string()))
    };
    let orphans: Vec<_> =
        entries.into_iter().filter(|entry| entry.is_dir && !owned(&entry.path)).map(|entry| entry.path).collect();
    for path in &orphans {
        tracing::warn!(path = %path.display(), "this folder of the log belongs to no registered topic; it is left alone");
    }
    Ok(orphans)
}
