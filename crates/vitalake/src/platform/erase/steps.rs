//! The steps of an erasure, in their order, each of which finds what is left to do.
//!
//! log, raw tables and every quarantine → models follow in a life of their own → what a gate has published, and what the
//! platform says of itself → older versions → other files → everything is read. Invariant: nothing of an older version goes
//! while a model may still have to read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use object_store::ObjectStore;
use object_store::path::Path;
use vitalake_contract::{Contract, DatasetName, Layer};
use vitalake_ingest::log::{Instead, Looked, rewrite_log};
use vitalake_lake::delta::DeltaLog;
use vitalake_lake::erase::{
    ERASED, HeadErasure, Places, Rows, Subject, Who, erase_head, erase_past, is_record_of, places_of, table_roots,
};
use vitalake_lake::storage::Opened;
use vitalake_lake::{Counter, Space, TableId, TxnId};
use vitalake_ops::erasures::{ErasedLog, ErasedTable, Receipt};

use super::find::Finder;
use super::kept::Asked;
use super::{in_words, open_store, outside};
use crate::command::validate::contracts_of;
use crate::platform::outside::instant;
use crate::platform::{Life, Role, Setup};

/// The file of the log's folder that says which erasures the log has been through.
const LOG_KNOWS: &str = "erased";

/// An erasure on its way.
pub(super) struct Steps<'a> {
    setup: &'a Setup,
    asked: &'a Asked,
    subject: Subject,
    places: Places,
    dry_run: bool,
    store: Arc<dyn ObjectStore>,
    contracts: BTreeMap<DatasetName, Arc<Contract>>,
    tables: BTreeMap<String, ErasedTable>,
    receipt: Receipt,
}

/// A transaction that says that an erasure was carried out: with its number, or the next.
type Said = Option<(TxnId, Option<i64>)>;

/// A receipt in which nothing stands yet.
pub(super) fn empty(setup: &Setup, asked: &Asked) -> Receipt {
    Receipt {
        form: 1,
        id: asked.id.clone(),
        number: asked.number,
        project: setup.config.name.clone(),
        state: asked.state.clone(),
        subject: asked.subject.clone(),
        by: asked.by.clone(),
        requested: instant(asked.requested_ms).unwrap_or_default(),
        finished: String::new(),
        tables: Vec::new(),
        log: ErasedLog::default(),
        other_files: 0,
        proof: vitalake_ops::erasures::Proof::default(),
        outside: outside::of(setup),
        reasons: Vec::new(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        key: String::new(),
        signature: String::new(),
    }
}

/// The newest erasure that the log and every raw table have been through.
pub(super) async fn known(setup: &Setup) -> anyhow::Result<i64> {
    let Opened { store, .. } = open_store(setup).await?;
    let mut known = match setup.config.kafka.bootstrap {
        None => log_knows(setup)?,
        Some(_) => i64::MAX,
    };
    for contract in setup.checked.project.contracts.iter().filter(|contract| contract.layer == Layer::Raw) {
        let log = DeltaLog::new(Arc::clone(&store), TableId::new(Space::Raw, contract.dataset.clone()).root());
        let head = log.load().await.map_err(|error| in_words(&error))?;
        // One that nothing has ever come into has nobody in it.
        if let Some(head) =
            head.filter(|head| head.file_count() > 0 || head.txn(TxnId::erasure(&contract.dataset)).is_some())
        {
            known = known.min(head.txn(TxnId::erasure(&contract.dataset)).unwrap_or(0));
        }
    }
    Ok(known)
}

/// What the log's folder says; a log that is not there has nothing to forget.
fn log_knows(setup: &Setup) -> anyhow::Result<i64> {
    let folder = setup.config.data.join("log");
    let listed = setup.disk.list(&folder).context("the log's folder cannot be listed")?;
    if listed.is_empty() {
        return Ok(i64::MAX);
    }
    let path = folder.join(LOG_KNOWS);
    if !listed.iter().any(|entry| entry.path == path) {
        return Ok(0);
    }
    let file = setup.disk.open(&path, false)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

impl<'a> Steps<'a> {
    pub(super) fn new(
        setup: &'a Setup,
        asked: &'a Asked,
        (subject, store): (Subject, Arc<dyn ObjectStore>),
        dry_run: bool,
    ) -> Self {
        let contracts = contracts_of(&setup.checked.project).into_iter().collect();
        let (places, tables, receipt) = (Places::default(), BTreeMap::new(), empty(setup, asked));
        Self { setup, asked, subject, places, dry_run, store, contracts, tables, receipt }
    }

    /// What would go.
    pub(super) async fn count(mut self) -> anyhow::Result<Receipt> {
        self.places().await?;
        self.log().await?;
        self.sources().await?;
        self.derived().await?;
        self.published().await?;
        self.past().await?;
        Ok(self.into_receipt())
    }

    /// All steps; the life in which models follow has this number.
    pub(super) async fn take(&mut self, life: u64) -> anyhow::Result<()> {
        self.places().await?;
        self.log().await?;
        self.sources().await?;
        self.models(life).await?;
        self.published().await?;
        if !self.receipt.reasons.is_empty() {
            // Who is behind has older versions still to read.
            return Ok(());
        }
        self.past().await?;
        let finder = Finder::new(self.setup, &self.store, &self.subject, &self.contracts);
        self.receipt.other_files = finder.remove_others().await?;
        self.receipt.proof = finder.look().await?;
        Ok(())
    }

    pub(super) fn into_receipt(self) -> Receipt {
        let went =
            |table: &ErasedTable| table.rows + table.cells + table.files + table.past_files + table.log_files > 0;
        Receipt { tables: self.tables.into_values().filter(went).collect(), ..self.receipt }
    }

    /// Records that are the person's by what models made of them; those that an earlier try has found are among them.
    async fn places(&mut self) -> anyhow::Result<()> {
        for contract in self.contracts.values().filter(|contract| contract.layer != Layer::Raw) {
            if contract.subjects().next().is_none() {
                continue;
            }
            let id = TableId::new(Space::from(contract.layer), contract.dataset.clone());
            let head = DeltaLog::new(Arc::clone(&self.store), id.root());
            for log in [head, DeltaLog::staged(Arc::clone(&self.store), &id)] {
                let found = places_of(&log, &self.subject, contract).await.map_err(|error| in_words(&error))?;
                self.places.extend(found);
            }
        }
        if !self.dry_run {
            let kept = super::kept(self.setup);
            self.places.extend(kept.places(self.asked.number)?);
            if !self.places.is_empty() {
                kept.keep_places(self.asked.number, &self.places)?;
            }
        }
        Ok(())
    }

    fn who(&self) -> Who<'_> {
        Who { subject: &self.subject, places: &self.places }
    }

    /// The embedded log: records are emptied where they stand.
    async fn log(&mut self) -> anyhow::Result<()> {
        if self.setup.config.kafka.bootstrap.is_some() {
            return Ok(());
        }
        let (disk, folder, dry_run) = (Arc::clone(&self.setup.disk), self.setup.config.data.join("log"), self.dry_run);
        let topics: BTreeMap<String, Arc<Contract>> = topics(&self.contracts);
        let (subject, places, number) = (self.subject.clone(), self.places.clone(), self.asked.number);
        let rewritten = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let judge = |record: Looked<'_>| instead((&subject, &places), &topics, record);
            let rewritten = rewrite_log(&disk, &folder, &judge, dry_run)?;
            if !dry_run && !disk.list(&folder)?.is_empty() {
                let file = disk.open(&folder.join(LOG_KNOWS), true)?;
                file.set_len(0)?;
                file.write_all_at(number.to_string().as_bytes(), 0)?;
                file.sync_data()?;
                disk.sync_dir(&folder)?;
            }
            Ok(rewritten)
        });
        let rewritten = rewritten.await.context("the log was not written again")??;
        self.receipt.log =
            ErasedLog { segments: rewritten.segments, batches: rewritten.batches, records: rewritten.records };
        Ok(())
    }

    /// Raw tables and every quarantine.
    async fn sources(&mut self) -> anyhow::Result<()> {
        for contract in self.contracts.clone().into_values() {
            let dataset = &contract.dataset;
            let id = TableId::new(Space::Quarantine, dataset.clone());
            let counter = Some(TxnId::books(dataset, Counter::ErasedRejects));
            self.head(&id, (Rows::Rejects(&contract), counter, None)).await?;
            if contract.layer == Layer::Raw {
                let (id, counter) = (TableId::new(Space::Raw, dataset.clone()), TxnId::books(dataset, Counter::Erased));
                let done = Some((TxnId::erasure(dataset), Some(self.asked.number)));
                self.head(&id, (Rows::Of(&contract), Some(counter), done)).await?;
            }
        }
        Ok(())
    }

    /// What derived tables hold now; models take it out of them.
    async fn derived(&mut self) -> anyhow::Result<()> {
        for contract in self.contracts.clone().into_values() {
            if contract.layer != Layer::Raw {
                let id = TableId::new(Space::from(contract.layer), contract.dataset.clone());
                self.head(&id, (Rows::Of(&contract), None, None)).await?;
            }
        }
        Ok(())
    }

    /// The models follow, in a life in which nothing comes in.
    async fn models(&mut self, life: u64) -> anyhow::Result<()> {
        let setup = Setup { erasing: true, ..self.setup.clone() };
        let life = Box::pin(Life::open(&setup, Role::All, life)).await?;
        let behind = Box::pin(life.follow_erasure()).await;
        let unopened: Vec<String> = life.lake().unopened().map(|table| table.id().to_string()).collect();
        Box::pin(life.end()).await;
        let behind = behind?.into_iter().map(|behind| format!("{} is behind: {}", behind.dataset, behind.reason));
        self.receipt.reasons.extend(behind);
        self.receipt.reasons.extend(unopened.into_iter().map(|table| format!("{table} is not open")));
        Ok(())
    }

    /// What gates have published and still hold back the next version of, and what the platform says of itself.
    async fn published(&mut self) -> anyhow::Result<()> {
        let roots = table_roots(&self.store).await.map_err(|error| in_words(&error))?;
        for contract in self.contracts.clone().into_values() {
            let dataset = &contract.dataset;
            if !self.dry_run && roots.contains(&format!("staged/{dataset}")) {
                let done = Some((TxnId::erasure(dataset), None));
                let id = TableId::new(Space::Serving, dataset.clone());
                self.head(&id, (Rows::Of(&contract), None, done)).await?;
            }
        }
        for root in roots.iter().filter(|root| root.starts_with("lake/ops/")) {
            let log = DeltaLog::new(Arc::clone(&self.store), Path::from(root.as_str()));
            self.head_of(&log, &named(root), (Rows::Platform, None, None)).await?;
        }
        Ok(())
    }

    async fn head(&mut self, id: &TableId, how: (Rows<'_>, Option<TxnId>, Said)) -> anyhow::Result<()> {
        let log = DeltaLog::new(Arc::clone(&self.store), id.root());
        self.head_of(&log, &id.to_string(), how).await
    }

    async fn head_of(
        &mut self,
        log: &DeltaLog,
        name: &str,
        (rows, counter, done): (Rows<'_>, Option<TxnId>, Said),
    ) -> anyhow::Result<()> {
        let (now_ms, dry_run) = (self.setup.clock.now_ms(), self.dry_run);
        let erasure = HeadErasure { who: self.who(), rows, counter, done, now_ms, dry_run };
        let erased = erase_head(log, &erasure).await.map_err(|error| in_words(&error))?;
        let table = self.table(name);
        table.rows += erased.rows;
        table.cells += erased.cells;
        table.files += erased.files;
        table.version = erased.version.or(table.version);
        Ok(())
    }

    /// Older versions of every table, and what logs say of them.
    async fn past(&mut self) -> anyhow::Result<()> {
        let roots = table_roots(&self.store).await.map_err(|error| in_words(&error))?;
        for root in &roots {
            // A staged log names files of the table that it is of, and has none of its own.
            let Some(dataset) = root.rsplit('/').next().filter(|_| !root.starts_with("staged/")) else { continue };
            let mut logs = vec![DeltaLog::new(Arc::clone(&self.store), Path::from(root.as_str()))];
            if root.starts_with("lake/serving/") && roots.contains(&format!("staged/{dataset}")) {
                let id = DatasetName::new(dataset).map_err(|reason| anyhow::anyhow!(reason))?;
                logs.push(DeltaLog::staged(Arc::clone(&self.store), &TableId::new(Space::Serving, id)));
            }
            let contract = DatasetName::new(dataset).ok().and_then(|name| self.contracts.get(&name).cloned());
            let rows = match (&contract, root.starts_with("lake/quarantine/")) {
                (Some(contract), true) => Rows::Rejects(contract),
                (Some(contract), false) => Rows::Of(contract),
                (None, _) => Rows::Platform,
            };
            let erased = erase_past(&logs, (self.who(), rows), self.dry_run).await;
            let erased = erased.map_err(|error| in_words(&error))?;
            let name = named(root);
            if erased.left > 0 && !self.dry_run {
                self.receipt.reasons.push(format!("{name} still has {} files with the person", erased.left));
            }
            let table = self.table(&name);
            table.past_files += erased.files;
            table.log_files += erased.log_files;
        }
        Ok(())
    }

    fn table(&mut self, name: &str) -> &mut ErasedTable {
        let new = || ErasedTable { table: name.to_owned(), ..ErasedTable::default() };
        self.tables.entry(name.to_owned()).or_insert_with(new)
    }
}

/// The contract of each topic.
pub(super) fn topics(contracts: &BTreeMap<DatasetName, Arc<Contract>>) -> BTreeMap<String, Arc<Contract>> {
    let topic = |contract: &Arc<Contract>| match &contract.source {
        Some(vitalake_contract::Source::Stream { topic, .. }) => Some((topic.clone(), Arc::clone(contract))),
        _ => None,
    };
    contracts.values().filter_map(topic).collect()
}

/// What stands in the log for a record that is the person's, or names them; none for every other.
pub(super) fn instead(
    (subject, places): (&Subject, &Places),
    topics: &BTreeMap<String, Arc<Contract>>,
    record: Looked<'_>,
) -> Option<Instead> {
    let Looked { topic, partition, offset, key, value, mut headers } = record;
    let contract = topics.get(topic).map(AsRef::as_ref);
    if places.has(topic, partition, offset) || is_record_of(subject, contract, (key, value)) {
        return Some(Instead::Nothing);
    }
    let is_named = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| subject.is_in(bytes));
    let in_headers = headers.any(|header| is_named(header.key) || is_named(header.value));
    if !(in_headers || is_named(key) || is_named(value)) {
        return None;
    }
    let without = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) if subject.is_in(bytes) => {
            let text = std::str::from_utf8(bytes).ok().and_then(|text| subject.without(text, ERASED));
            text.filter(|text| !subject.is_in(text.as_bytes())).map(String::into_bytes)
        }
        bytes => bytes.map(<[u8]>::to_vec),
    };
    let (key, left) = (without(key), without(value));
    // What cannot be told from its escapes goes as a whole.
    let is_lost = value.is_some() && left.is_none();
    Some(if is_lost { Instead::Nothing } else { Instead::Without { key, value: left, headers: !in_headers } })
}

/// A table as SQL names it, by its folder.
fn named(root: &str) -> String {
    root.strip_prefix("lake/").unwrap_or(root).replace('/', ".")
}
