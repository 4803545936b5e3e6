//! Where a person may still be beside tables and log, and the reading of everything that proves that they are nowhere.
//!
//! Held deliveries that name them go, as do caches and the control store, whose loss costs nothing. Invariant: every file
//! below the data folder and every object of the lake is read, packed ones unpacked.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _};
use vitalake_contract::{Contract, DatasetName};
use vitalake_ingest::log::{Looked, rewrite_log};
use vitalake_lake::erase::{Found, Places, Subject, look_in_bytes, look_in_store};
use vitalake_ops::erasures::Proof;

use super::in_words;
use super::steps::{instead, topics};
use crate::platform::Setup;

/// What is kept of erasures themselves: hashes, keys and receipts.
const OWN: &str = "erasures";

pub(super) struct Finder<'a> {
    setup: &'a Setup,
    store: &'a Arc<dyn ObjectStore>,
    subject: &'a Subject,
    contracts: &'a BTreeMap<DatasetName, Arc<Contract>>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(
        setup: &'a Setup,
        store: &'a Arc<dyn ObjectStore>,
        subject: &'a Subject,
        contracts: &'a BTreeMap<DatasetName, Arc<Contract>>,
    ) -> Self {
        Self { setup, store, subject, contracts }
    }

    /// Removes held deliveries, caches, work files and a control store that name the person. Gives how many files.
    pub(super) async fn remove_others(&self) -> anyhow::Result<u64> {
        let mut removed = self.held_deliveries().await?;
        let data = &self.setup.config.data;
        let is_control = |path: &Path| {
            path.parent() == Some(data)
                && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("control.db"))
        };
        let files = self.files(data)?;
        let bytes_of = |path: &PathBuf| self.read(path);
        // One file of SQLite's tells of the others.
        let mut control_goes = false;
        for path in files.iter().filter(|path| is_control(path)) {
            control_goes |= self.subject.occurs(&bytes_of(path)?);
        }
        for path in &files {
            let is_scratch = ["cache", "work"].iter().any(|folder| path.starts_with(data.join(folder)));
            let goes = match is_control(path) {
                true => control_goes,
                false => is_scratch && self.names(path, &bytes_of(path)?),
            };
            if goes {
                self.setup.disk.remove(path).with_context(|| format!("{} cannot be removed", path.display()))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// `staged/{dataset}/deliveries/{id}` and what is known of it beside.
    async fn held_deliveries(&self) -> anyhow::Result<u64> {
        let prefix = object_store::path::Path::from("staged");
        let listed: Vec<_> = self.store.list(Some(&prefix)).try_collect().await?;
        let mut going = std::collections::BTreeSet::new();
        for meta in listed.iter().filter(|meta| meta.location.as_ref().contains("/deliveries/")) {
            let bytes = self.store.get(&meta.location).await?.bytes().await?;
            if self.names(Path::new(meta.location.as_ref()), &bytes) {
                going.insert(meta.location.as_ref().trim_end_matches(".json").to_owned());
            }
        }
        let mut removed = 0;
        for path in going {
            // What is known of it goes first: without that the bytes are nothing.
            for location in [format!("{path}.json"), path] {
                match self.store.delete(&object_store::path::Path::from(location)).await {
                    Ok(()) => removed += 1,
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(removed)
    }

    /// Reads everything.
    pub(super) async fn look(&self) -> anyhow::Result<Proof> {
        let config = &self.setup.config;
        let mut found = Found::default();
        if config.storage.url.is_some() {
            found = look_in_store(self.store, self.subject).await.map_err(|error| in_words(&error))?;
        }
        for path in self.files(&config.data)? {
            let shown = path.strip_prefix(&config.data).unwrap_or(&path).to_string_lossy().into_owned();
            if shown.starts_with(OWN) || shown == "LOCK" {
                continue;
            }
            let bytes = self.read(&path)?;
            let names = match shown.starts_with("control.db") {
                true => self.subject.occurs(&bytes),
                false => self.names(&path, &bytes),
            };
            found.note(self.subject, &shown, (bytes.len() as u64, names));
        }
        if config.kafka.bootstrap.is_none() && self.records_in_log().await? > 0 {
            found.named_in.push("the log".to_owned());
        }
        Ok(Proof { files: found.files, bytes: found.bytes, found_in: found.named_in })
    }

    /// How many records of the log are still the person's, decompressed and read by contract.
    async fn records_in_log(&self) -> anyhow::Result<u64> {
        let (disk, folder) = (Arc::clone(&self.setup.disk), self.setup.config.data.join("log"));
        let (subject, topics) = (self.subject.clone(), topics(self.contracts));
        let looked = tokio::task::spawn_blocking(move || {
            let judge = |record: Looked<'_>| instead((&subject, &Places::default()), &topics, record);
            rewrite_log(&disk, &folder, &judge, true)
        });
        Ok(looked.await.context("the log was not read")??.records)
    }

    fn names(&self, path: &Path, bytes: &Bytes) -> bool {
        self.subject.is_in(path.to_string_lossy().as_bytes())
            || look_in_bytes(self.subject, bytes)
            || bytes.starts_with(b"PK\x03\x04") && self.is_in_archive(bytes)
    }

    /// Of an archive that does not open nothing is known, and nothing was loaded.
    fn is_in_archive(&self, bytes: &Bytes) -> bool {
        let Ok(mut archive) = zip::ZipArchive::new(std::io::Cursor::new(bytes)) else { return false };
        (0..archive.len()).any(|at| {
            let Ok(mut file) = archive.by_index(at) else { return false };
            let (mut unpacked, name) = (Vec::new(), file.name_raw().to_vec());
            let read = file.read_to_end(&mut unpacked).is_ok();
            self.subject.is_in(&name) || read && look_in_bytes(self.subject, &Bytes::from(unpacked))
        })
    }

    fn files(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            let listed =
                self.setup.disk.list(&folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
            for entry in listed {
                if entry.is_dir { folders.push(entry.path) } else { files.push(entry.path) }
            }
        }
        Ok(files)
    }

    fn read(&self, path: &Path) -> anyhow::Result<Bytes> {
        let read = || -> std::io::Result<Bytes> {
            let file = self.setup.disk.open(path, false)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(Bytes::from(bytes))
        };
        read().with_context(|| format!("{} cannot be read", path.display()))
    }
}
