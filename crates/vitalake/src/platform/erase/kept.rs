//! What is kept of erasures in the data folder: the key of the ids, and for each erasure its request and its receipt.
//!
//! `erasures/key` is made once; `erasures/{number}.json` names the person by a hash under it. Invariant: a request is durable
//! before anything is erased, and is not removed, so that what comes later is refused and a restored backup is erased again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vitalake_lake::erase::{Places, Subject, SubjectKey, SubjectToken};
use vitalake_ops::erasures::{PENDING, Receipt};
use vitalake_ops::signing::SigningKey;
use vitalake_runtime::disk::{Disk, read_whole, write_secret};
use vitalake_runtime::hex;

/// The folder in the data folder.
const FOLDER: &str = "erasures";
/// The file with the key of the ids.
pub(super) const KEY: &str = "key";
/// The file with the key that signs receipts, as PKCS#8.
const SIGNING_KEY: &str = "signing-key";
/// Bytes of a file here at most: the places of a person's records are many.
const FILE_BYTES_MAX: u64 = 1 << 32;

fn is_request(name: &str) -> bool {
    name.ends_with(".json") && !name.ends_with(".receipt.json")
}

/// An erasure that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) number: i64,
    pub(super) subject: SubjectToken,
    pub(super) by: String,
    pub(super) requested_ms: i64,
    /// As receipts say it.
    pub(super) state: String,
}

/// The erasures of a data folder.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Kept {
    pub(super) fn new(disk: &Arc<dyn Disk>, data: &Path) -> Self {
        Self { disk: Arc::clone(disk), folder: data.join(FOLDER) }
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> anyhow::Result<Vec<Asked>> {
        let mut all = Vec::new();
        for entry in self.disk.list(&self.folder).context("the erasures of the data folder cannot be listed")? {
            let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if is_request(name) {
                let bytes = self.read(&entry.path)?;
                let asked: Asked = serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is not what is kept of an erasure; restore it", entry.path.display())
                })?;
                all.push(asked);
            }
        }
        all.sort_by_key(|asked| asked.number);
        Ok(all)
    }

    /// Whether a file's name is one of those that say whom to refuse.
    pub(super) fn tells_whom(name: &str) -> bool {
        name == KEY || is_request(name)
    }

    /// Those files, by their names, as others may have them: who asked for an erasure stays here.
    pub(super) fn files(&self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for entry in self.disk.list(&self.folder).context("the erasures of the data folder cannot be listed")? {
            let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if Self::tells_whom(name) {
                let mut bytes = self.read(&entry.path)?;
                if is_request(name) {
                    let asked: Asked = serde_json::from_slice(&bytes).with_context(|| {
                        format!("{} is not what is kept of an erasure; restore it", entry.path.display())
                    })?;
                    // A person may be erased at her own wish, under the name that she is erased by.
                    let asked = Asked { by: String::new(), ..asked };
                    bytes = serde_json::to_vec_pretty(&asked).context("an erasure cannot be kept")?;
                }
                files.insert(name.to_owned(), bytes);
            }
        }
        Ok(files)
    }

    /// Keeps such a file of another's.
    pub(super) fn take(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(name, bytes)
    }

    /// Who was erased, or is to be.
    pub(super) fn persons(&self) -> anyhow::Result<Arc<[Subject]>> {
        let all = self.all()?;
        if all.is_empty() {
            return Ok(Arc::default());
        }
        let key = self.key_there()?;
        Ok(all.into_iter().map(|asked| Subject::new(&key, asked.subject)).collect())
    }

    /// Whether somebody with that id was erased, or is to be.
    pub(super) fn knows(&self, subject: &str) -> anyhow::Result<bool> {
        let all = self.all()?;
        if all.is_empty() {
            return Ok(false);
        }
        let token = self.key_there()?.token(subject);
        Ok(all.iter().any(|asked| asked.subject == token))
    }

    /// The person of an erasure.
    pub(super) fn person(&self, asked: &Asked) -> anyhow::Result<Subject> {
        Ok(Subject::new(&self.key_there()?, asked.subject.clone()))
    }

    /// The person of an erasure that is only planned.
    pub(super) fn person_of(&self, asked: &Asked) -> anyhow::Result<Subject> {
        Ok(Subject::new(&self.key()?, asked.subject.clone()))
    }

    /// Keeps what was asked for; an erasure of the same person goes on under its own number.
    pub(super) fn ask(&self, subject: SubjectToken, by: &str, now_ms: i64) -> anyhow::Result<Asked> {
        let all = self.all()?;
        let known = all.iter().find(|asked| asked.subject == subject).cloned();
        let number = all.last().map_or(0, |asked| asked.number) + 1;
        let (by, state) = (by.to_owned(), PENDING.to_owned());
        let asked = match known {
            Some(known) => Asked { state, ..known },
            None => Asked { id: Uuid::now_v7().to_string(), number, subject, by, requested_ms: now_ms, state },
        };
        self.keep(&asked)?;
        Ok(asked)
    }

    pub(super) fn keep(&self, asked: &Asked) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(asked).context("an erasure cannot be kept")?;
        self.write(&format!("{:06}.json", asked.number), &bytes)
    }

    pub(super) fn keep_receipt(&self, receipt: &Receipt) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(receipt).context("a receipt cannot be kept")?;
        self.write(&format!("{:06}.receipt.json", receipt.number), &bytes)
    }

    pub(super) fn receipt(&self, number: i64) -> anyhow::Result<Receipt> {
        let bytes = self.read(&self.folder.join(format!("{number:06}.receipt.json")))?;
        serde_json::from_slice(&bytes).context("the receipt cannot be read")
    }

    /// Places of records that an erasure has found before it began.
    pub(super) fn places(&self, number: i64) -> anyhow::Result<Places> {
        let name = format!("{number:06}.places");
        if !self.is_there(&name)? {
            return Ok(Places::default());
        }
        serde_json::from_slice(&self.read(&self.folder.join(name))?).context("what an erasure has found cannot be read")
    }

    pub(super) fn keep_places(&self, number: i64, places: &Places) -> anyhow::Result<()> {
        self.write(&format!("{number:06}.places"), &serde_json::to_vec(places).context("places cannot be kept")?)
    }

    /// Forgets the places of an erasure that is done.
    pub(super) fn forget_places(&self, number: i64) -> anyhow::Result<()> {
        let name = format!("{number:06}.places");
        if self.is_there(&name)? {
            self.disk.remove(&self.folder.join(name)).context("what an erasure has found cannot be removed")?;
        }
        Ok(())
    }

    /// The key of the ids; made where there is none and nobody was erased under one.
    pub(super) fn key(&self) -> anyhow::Result<SubjectKey> {
        if !self.is_there(KEY)? {
            anyhow::ensure!(
                self.all()?.is_empty(),
                "erasures/key is gone from the data folder: restore it from a backup"
            );
            let secret: [u8; 32] = rand::random();
            self.write(KEY, &secret)?;
        }
        self.key_there()
    }

    fn key_there(&self) -> anyhow::Result<SubjectKey> {
        let secret = self.read(&self.folder.join(KEY)).context(
            "who was erased is known by erasures/key of the data folder alone, and it is gone: restore it from a backup",
        )?;
        Ok(SubjectKey::new(&secret))
    }

    /// Signs a receipt with the data folder's key.
    pub(super) fn signed(&self, mut receipt: Receipt) -> anyhow::Result<Receipt> {
        self.disk.create_dir_all(&self.folder).context("the folder of erasures cannot be made")?;
        let key = SigningKey::open(self.disk.as_ref(), &self.folder.join(SIGNING_KEY))
            .context("erasures/signing-key of the data folder cannot be opened: restore it")?;
        receipt.key = key.public_hex();
        receipt.signature = String::new();
        let text = serde_json::to_vec(&receipt).context("a receipt cannot be written")?;
        receipt.signature = hex::encode(key.sign(&text));
        Ok(receipt)
    }

    fn is_there(&self, name: &str) -> anyhow::Result<bool> {
        let path = self.folder.join(name);
        let listed = self.disk.list(&self.folder).context("the erasures of the data folder cannot be listed")?;
        Ok(listed.iter().any(|entry| entry.path == path))
    }

    fn read(&self, path: &Path) -> anyhow::Result<Vec<u8>> {
        read_whole(self.disk.as_ref(), path, FILE_BYTES_MAX)
            .with_context(|| format!("{} cannot be read", path.display()))
    }

    /// Writes a file that is durable, whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        // What is kept here tells of persons, or is a key.
        let written = self.disk.create_dir_all(&self.folder);
        let written = written.and_then(|()| write_secret(self.disk.as_ref(), &path, bytes));
        written.with_context(|| format!("{} cannot be written", path.display()))
    }
}
