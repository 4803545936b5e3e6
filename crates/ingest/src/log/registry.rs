//! Which topics there are: name, id and partitions, in one synced file of the log folder.
//!
//! The id is what landing's `txn` names, so a topic that is lost and made again starts anew. A topic stays in the
//! file when its contract goes away, and goes on under its id when the contract returns.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vitalake_runtime::disk::{Disk, write_whole};

use super::LogError;

/// A topic's identity, given once when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub Uuid);

impl fmt::Display for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

/// One partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: TopicId, partition: i32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

/// A topic as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: u32,
    /// Whether [`super::Log::ensure_topic`] was called for it in this run: only then clients see it.
    pub active: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    topics: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    id: String,
    partitions: u32,
}

/// The registry in memory, and where it lies.
#[derive(Debug)]
pub(super) struct Registry {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    topics: BTreeMap<String, (TopicId, u32)>,
}

const FILE: &str = "topics.json";

impl Registry {
    /// Reads the registry; an absent file is an empty registry.
    pub(super) fn load(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, LogError> {
        let path = folder.join(FILE);
        let there = disk
            .list(folder)
            .map_err(LogError::io("list the log folder", folder))?
            .iter()
            .any(|entry| entry.path == path);
        let mut topics = BTreeMap::new();
        if there {
            for line in read_document(disk.as_ref(), &path)?.topics {
                let id = Uuid::parse_str(&line.id)
                    .map_err(|error| LogError::Registry { path: path.clone(), reason: error.to_string() })?;
                topics.insert(line.name, (TopicId(id), line.partitions));
            }
        }
        Ok(Self { disk, folder: folder.to_path_buf(), topics })
    }

    /// Name, id and partitions of each topic, by name.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, TopicId, u32)> {
        self.topics.iter().map(|(name, (id, partitions))| (name.as_str(), *id, *partitions))
    }

    /// Registers a topic, or more partitions of it, and makes that durable before it returns.
    pub(super) fn ensure(&mut self, name: &str, partitions: u32) -> Result<TopicId, LogError> {
        check_name(name)?;
        let known = self.topics.get(name).copied();
        let id = match known {
            Some((_, have)) if have > partitions => {
                return Err(LogError::FewerPartitions { name: name.to_owned(), have, want: partitions });
            }
            Some((id, have)) if have == partitions => return Ok(id),
            Some((id, _)) => id,
            None => TopicId(Uuid::new_v4()),
        };
        self.topics.insert(name.to_owned(), (id, partitions));
        if let Err(error) = self.store() {
            match known {
                Some(before) => self.topics.insert(name.to_owned(), before),
                None => self.topics.remove(name),
            };
            return Err(error);
        }
        Ok(id)
    }

    fn store(&self) -> Result<(), LogError> {
        let topics = self
            .topics()
            .map(|(name, id, partitions)| Line { name: name.to_owned(), id: id.to_string(), partitions })
            .collect();
        let path = self.folder.join(FILE);
        let text = serde_json::to_vec_pretty(&Document { version: 1, topics })
            .map_err(|error| LogError::Registry { path: path.clone(), reason: error.to_string() })?;
        write_whole(self.disk.as_ref(), &path, &text).map_err(LogError::io("write the registry of topics", &path))
    }
}

fn read_document(disk: &dyn Disk, path: &Path) -> Result<Document, LogError> {
    let read = || {
        let file = disk.open(path, false)?;
        let mut text = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX).min(64 << 20)];
        file.read_exact_at(&mut text, 0)?;
        Ok(text)
    };
    let text = read().map_err(LogError::io("read the registry of topics", path))?;
    let document: Document = serde_json::from_slice(&text)
        .map_err(|error| LogError::Registry { path: path.to_path_buf(), reason: error.to_string() })?;
    if document.version != 1 {
        return Err(LogError::Registry {
            path: path.to_path_buf(),
            reason: format!("version {} is not known here", document.version),
        });
    }
    Ok(document)
}

fn check_name(name: &str) -> Result<(), LogError> {
    let legal = !name.is_empty()
        && name.len() <= 249
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if legal { Ok(()) } else { Err(LogError::TopicName(name.to_owned())) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use vitalake_runtime::disk::CrashDisk;

    use super::*;

    #[test]
    fn a_topic_that_was_registered_has_its_id_after_the_power_failed() {
        for seed in 0..100 {
            let (crash, folder) = (CrashDisk::new(seed), Path::new("/data/log"));
            let disk: Arc<dyn Disk> = Arc::new(crash.clone());
            disk.create_dir_all(folder).unwrap();
            let mut known = Vec::new();
            for name in ["readings", "steps", "sleep"] {
                let mut registry = Registry::load(Arc::clone(&disk), folder).unwrap();
                known.push((name.to_owned(), registry.ensure(name, 2).unwrap()));
                crash.crash();
                let registry = Registry::load(Arc::clone(&disk), folder).unwrap();
                for (name, id) in &known {
                    assert!(registry.topics().any(|(found, is, _)| found == name && is == *id), "seed {seed}: {name}");
                }
            }
        }
    }
}
