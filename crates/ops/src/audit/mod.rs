//! Audit: who saw or did what, in a journal that shows every edit of it.
//!
//! Every surface is handed an [`Audit`] and tells it of each access, refusals among them. Entries are appended to files
//! under `{data}/audit` by one thread, many with one sync; each line holds the hash of the line before, and signed heads are kept
//! elsewhere as well (docs/audit.md, docs/decisions/0031). Invariant: where clients have to say who they are, nobody is
//! given a row whose entry is not durable; what could not be written is counted and said by a later entry.

pub mod chain;
mod cursor;
mod entry;
mod export;
mod files;
mod keys;
pub mod read;
mod strangers;
mod token;
pub mod verify;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::error::{Class, Classified, Retry};

use chain::Head;
pub use chain::Recorded;
pub use cursor::Cursor;
pub use entry::{Accessed, Action, Entry, Outcome, Shown, Statement, Surface, Who};
pub use export::{Destination, Exporter};
pub use files::{HEADS, heads};
use keys::Keys;
use strangers::Strangers;
pub use token::Tokens;
pub use writer::Tail;
use writer::{Writer, word};

/// Accesses that may be under way, or wait for their entry, at once; more wait for a place.
const PLACES: usize = 4096;
/// How long they wait for it.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long an access waits for its entry to be durable.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Entries that are written together.
const BATCH_MAX: usize = 512;
/// Entries that nobody waits for and that cannot be written now; more are lost, and counted.
const KEPT_MAX: usize = 20_000;
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Entries after which a head is signed before its time.
const HEAD_ENTRIES: u64 = 1024;
/// How often a head is signed where there are new entries.
const HEAD_INTERVAL: Duration = Duration::from_secs(60);

/// Why something was not written down.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The keys cannot be opened or made.
    #[error("the keys of the audit journal in {} cannot be opened", path.display())]
    Keys {
        /// Their folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be opened.
    #[error("the audit journal in {} cannot be opened", path.display())]
    Open {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be read.
    #[error("the audit journal in {} cannot be read", path.display())]
    Read {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its disk takes nothing now.
    #[error("the access cannot be written down now, and is refused for that: see to the disk of the data folder")]
    Unwritable,
    /// It does not follow.
    #[error("too many accesses wait to be written down; try again")]
    Full,
}

impl Classified for AuditError {
    fn class(&self) -> Class {
        Class::External
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Keys { .. } | Self::Open { .. } => Retry::Never,
            Self::Read { .. } | Self::Unwritable | Self::Full => Retry::Later,
        }
    }
}

/// What a journal is opened with.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The disk of its files.
    pub disk: Arc<dyn Disk>,
    /// Its folder.
    pub folder: PathBuf,
    /// The folder of its keys; `keys` in its own where none is named.
    pub keys: Option<PathBuf>,
    /// Stamps entries.
    pub clock: Clock,
    /// Whether an access whose entry cannot be written is refused.
    pub is_required: bool,
    /// Heads that were kept elsewhere, as far as they can be read.
    pub elsewhere: Vec<Head>,
}

/// Where accesses are written down. Clones are the same journal; the default keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    inner: Option<Arc<Inner>>,
    /// Stands in place of the surface that entries name.
    surface: Option<Surface>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Clock,
    tokens: Tokens,
    key: String,
    is_required: bool,
    places: Arc<Semaphore>,
    queue: Mutex<Queue>,
    strangers: Mutex<Strangers>,
    changed: Condvar,
    tail: watch::Sender<Tail>,
    heads: watch::Sender<Option<Head>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// Entries that are in no file and never will be.
    lost: u64,
    /// Whether the last try to write failed.
    is_failing: bool,
    is_closing: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Item {
    at_ms: i64,
    entry: Entry,
    /// Who waits for it to be durable.
    waits: Option<oneshot::Sender<bool>>,
}

impl Audit {
    /// Opens a journal, and starts the thread that writes it.
    ///
    /// # Errors
    /// When its keys or its files cannot be opened.
    pub fn open(options: AuditOptions) -> Result<Self, AuditError> {
        let AuditOptions { disk, folder, keys, clock, is_required, elsewhere } = options;
        let keys = Arc::new(Keys::open(&disk, &keys.unwrap_or_else(|| folder.join("keys")))?);
        let writer = Writer::open(&disk, folder.clone(), Arc::clone(&keys), clock.clone(), &elsewhere)?;
        let inner = Arc::new(Inner {
            folder: folder.clone(),
            disk,
            clock,
            tokens: keys.tokens.clone(),
            key: keys.name(),
            is_required,
            places: Arc::new(Semaphore::new(PLACES)),
            queue: Mutex::default(),
            strangers: Mutex::default(),
            changed: Condvar::new(),
            tail: watch::channel(writer.tail.clone()).0,
            heads: watch::channel(None).0,
        });
        let written = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let started = thread.spawn(move || written.write_until_closed(writer));
        started.map_err(|source| AuditError::Open { path: folder, source })?;
        Ok(Self { inner: Some(inner), surface: None })
    }

    /// The same journal for whoever comes by one surface, whatever entries say.
    #[must_use]
    pub fn by(&self, surface: Surface) -> Self {
        Self { inner: self.inner.clone(), surface: Some(surface) }
    }

    /// Whether anything is written down.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// The token of a text that a client wrote; the text is a literal without its quotes, or a number's digits.
    #[must_use]
    pub fn token(&self, text: &str) -> Option<String> {
        self.inner.as_ref().map(|inner| inner.tokens.of(text))
    }

    /// What makes tokens.
    #[must_use]
    pub fn tokens(&self) -> Option<&Tokens> {
        self.inner.as_ref().map(|inner| &inner.tokens)
    }

    /// Writes something down that was done, refused or failed. Where accesses are refused that cannot be written down, it
    /// returns when the entry is durable; else at once.
    ///
    /// # Errors
    /// [`AuditError::Full`] and [`AuditError::Unwritable`]: whoever asks is refused then.
    pub async fn record(&self, entry: Entry) -> Result<(), AuditError> {
        self.begin_as(entry).await?.kept().await
    }

    /// The same where nothing can wait: what finds no room is counted and said by a later entry.
    pub fn note(&self, entry: Entry) {
        let Some(inner) = &self.inner else { return };
        inner.put(self.named(entry), None);
    }

    /// Tells of somebody who proved no name. Of many in a minute most are counted alone.
    pub fn note_stranger(&self, surface: Surface) {
        let Some(inner) = &self.inner else { return };
        let entry = inner.strangers.lock().refused(self.surface.unwrap_or(surface), inner.clock.now_ms());
        entry.into_iter().for_each(|entry| inner.put(entry, None));
    }

    /// Writes down that an access begins. Nothing may be given before [`Begun::kept`] has said that the entry is durable;
    /// its end is written when it is said, or when it is dropped.
    ///
    /// # Errors
    /// [`AuditError::Full`].
    pub async fn begin(&self, entry: Entry) -> Result<Begun, AuditError> {
        let mut begun = self.begin_as(Entry { outcome: Outcome::Begun, ..entry.clone() }).await?;
        begun.ends = self.inner.as_ref().map(|_| self.named(entry));
        Ok(begun)
    }

    async fn begin_as(&self, entry: Entry) -> Result<Begun, AuditError> {
        let Some(inner) = &self.inner else { return Ok(Begun::default()) };
        let waiting = tokio::time::timeout(PLACE_WAIT_MAX, Arc::clone(&inner.places).acquire_owned());
        let place = waiting.await.ok().and_then(Result::ok).ok_or(AuditError::Full)?;
        let (waits, receipt) = oneshot::channel();
        inner.put(self.named(entry), inner.is_required.then_some(waits));
        let receipt = inner.is_required.then_some(receipt);
        Ok(Begun {
            audit: Self { inner: self.inner.clone(), surface: None },
            ends: None,
            receipt,
            rows: None,
            _place: Some(place),
        })
    }

    fn named(&self, entry: Entry) -> Entry {
        let surface = self.surface.unwrap_or(entry.surface);
        Entry { surface, ..entry }
    }

    /// Where the journal ends now.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.inner.as_ref().map(|inner| inner.tail.borrow().clone()).unwrap_or_default()
    }

    /// Whether it cannot be written now.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.queue.lock().is_failing)
    }

    /// The newest head, as heads are signed.
    #[must_use]
    pub fn heads(&self) -> Option<watch::Receiver<Option<Head>>> {
        self.inner.as_ref().map(|inner| inner.heads.subscribe())
    }

    /// The name of the key that signs heads.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.inner.as_ref().map(|inner| inner.key.as_str())
    }

    /// Writes what waits, signs the last head and ends; nothing is written afterwards.
    pub async fn close(&self, longest: Duration) {
        let Some(inner) = self.inner.clone() else { return };
        inner.put_counted(true);
        let closing = tokio::task::spawn_blocking(move || {
            let mut queue = inner.queue.lock();
            queue.is_closing = true;
            inner.changed.notify_all();
            let deadline = std::time::Instant::now() + longest;
            while !queue.is_closed && !inner.changed.wait_until(&mut queue, deadline).timed_out() {}
        });
        let _ = closing.await;
    }
}

/// An access that is under way.
#[derive(Debug, Default)]
pub struct Begun {
    audit: Audit,
    /// What its end is made of; none once that is said.
    ends: Option<Entry>,
    receipt: Option<oneshot::Receiver<bool>>,
    rows: Option<u64>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Begun {
    /// Returns when its entry is durable, where that has to be waited for.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`]: nothing may be given then.
    pub async fn kept(&mut self) -> Result<(), AuditError> {
        let Some(receipt) = self.receipt.take() else { return Ok(()) };
        match tokio::time::timeout(DURABLE_WAIT_MAX, receipt).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) | Err(_) => Err(AuditError::Unwritable),
        }
    }

    /// So many rows are given now.
    pub fn give(&mut self, rows: u64) {
        self.rows = Some(self.rows.unwrap_or_default().saturating_add(rows));
    }

    /// Whether its end is still to be said.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ends.is_some()
    }

    /// It is over.
    pub fn end(&mut self, outcome: Outcome, reason: Option<&'static str>) {
        if let (Some(entry), Some(inner)) = (self.ends.take(), &self.audit.inner) {
            inner.put(entry.end(outcome, reason, self.rows), None);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.end(Outcome::Abandoned, None);
    }
}

impl Inner {
    fn put(&self, entry: Entry, waits: Option<oneshot::Sender<bool>>) {
        let at_ms = self.clock.now_ms();
        let mut queue = self.queue.lock();
        if queue.is_closed || (waits.is_none() && queue.waiting.len() >= KEPT_MAX) {
            // Whoever waits is told by the end of its channel.
            queue.lost += 1;
            return;
        }
        queue.waiting.push_back(Item { at_ms, entry, waits });
        drop(queue);
        self.changed.notify_all();
    }

    /// Puts refusals that were only counted where it is time to write them.
    fn put_counted(&self, is_last: bool) {
        let counted = self.strangers.lock().counted(self.clock.now_ms(), is_last);
        counted.into_iter().for_each(|entry| self.put(entry, None));
    }

    /// The thread: until the journal is closed.
    fn write_until_closed(&self, mut writer: Writer) {
        let mut head_due = std::time::Instant::now() + HEAD_INTERVAL;
        let mut said_failing = false;
        loop {
            self.put_counted(false);
            let (batch, lost, is_closing) = self.next(head_due);
            let mut entries: Vec<(i64, Entry)> = Vec::with_capacity(batch.len() + 1);
            if lost > 0 && !batch.is_empty() {
                entries.push(writer.says(word::GAP, Some(lost)));
            }
            entries.extend(batch.iter().map(|item| (item.at_ms, item.entry.clone())));
            if is_closing && batch.is_empty() {
                let _last = writer.append(&[writer.says(word::ENDED, None)]);
                self.sign(&mut writer);
                self.queue.lock().is_closed = true;
                self.changed.notify_all();
                return;
            }
            let outcome = if entries.is_empty() { Ok(()) } else { writer.append(&entries) };
            self.settle(batch, outcome.is_ok(), lost);
            if let Err(error) = &outcome {
                if !said_failing {
                    tracing::error!(kind = ?error.kind(), "the audit journal cannot be written: see to the disk of the data folder");
                }
                said_failing = true;
                if is_closing {
                    self.queue.lock().is_closed = true;
                    self.changed.notify_all();
                    return;
                }
                continue;
            }
            if said_failing {
                tracing::info!("the audit journal can be written again");
                said_failing = false;
            }
            self.tail.send_replace(writer.tail.clone());
            if std::time::Instant::now() >= head_due || writer.unsigned() >= HEAD_ENTRIES {
                self.sign(&mut writer);
                head_due = std::time::Instant::now() + HEAD_INTERVAL;
            }
        }
    }

    /// What is to be written next, once there is something, it is time to sign, or to end.
    fn next(&self, head_due: std::time::Instant) -> (Vec<Item>, u64, bool) {
        let mut queue = self.queue.lock();
        if queue.is_failing {
            // Whoever comes meanwhile is answered soon: it is tried again for them all.
            let again = std::time::Instant::now() + AGAIN;
            while !queue.is_closing && !self.changed.wait_until(&mut queue, again).timed_out() {}
        }
        while queue.waiting.is_empty() && !queue.is_closing {
            if self.changed.wait_until(&mut queue, head_due).timed_out() {
                break;
            }
        }
        let count = queue.waiting.len().min(BATCH_MAX);
        (queue.waiting.drain(..count).collect(), queue.lost, queue.is_closing)
    }

    /// Tells who waits, and keeps what nobody waits for where it could not be written.
    fn settle(&self, batch: Vec<Item>, is_written: bool, said_lost: u64) {
        let mut queue = self.queue.lock();
        queue.is_failing = !is_written;
        if is_written && !batch.is_empty() {
            queue.lost -= said_lost.min(queue.lost);
        }
        for item in batch.into_iter().rev() {
            match item.waits {
                Some(waits) => {
                    queue.lost += u64::from(!is_written);
                    let _gone = waits.send(is_written);
                }
                None if !is_written => queue.waiting.push_front(Item { waits: None, ..item }),
                None => {}
            }
        }
    }

    fn sign(&self, writer: &mut Writer) {
        match writer.sign() {
            Ok(Some(head)) => {
                self.heads.send_replace(Some(head));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "a head of the audit journal cannot be kept; tried again")
            }
        }
    }
}

#[cfg(test)]
mod tests;
