//! A file system in memory that forgets, at a crash, what was not synced.
//!
//! The double of [`super::LocalDisk`] for tests. Bytes written since a file's last `sync_data` survive a crash as a
//! random prefix of the writes, the last of them torn at any byte, at times with holes; names made, moved or
//! removed since their folder's last `sync_dir` are kept or lost at random, a rename as a whole. Everything follows
//! from a seed. Invariant: what was synced is always there afterwards, byte for byte.

mod file;
mod names;
mod random;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, FileMetadata};
use file::{FileNode, OpenFile};
use names::{Names, Node};
use random::Random;

/// How many bytes are free until a test says otherwise.
const FREE_BYTES_DEFAULT: u64 = 1 << 40;
/// `Faults::operations_left` when no kill is planned.
const NEVER: u64 = u64::MAX;

/// A file system in memory that forgets what was not synced. Cheap to clone: clones are the same disk.
#[derive(Clone, Debug)]
pub struct CrashDisk {
    names: Arc<Mutex<Names>>,
    faults: Arc<Faults>,
}

/// What goes wrong, shared by the disk and its open files.
#[derive(Debug)]
struct Faults {
    random: Mutex<Random>,
    /// Handles of an older generation are dead.
    generation: AtomicU64,
    /// The process "died": everything fails until the next crash.
    is_dead: AtomicBool,
    operations_left: AtomicU64,
    operations_done: AtomicU64,
    refusal: Mutex<Option<ErrorKind>>,
    free_bytes: AtomicU64,
    has_holes: AtomicBool,
    /// The time of modification that files get; the system's clock when 0.
    now_ms: AtomicI64,
}

/// What an operation asks of the disk, for the fault switches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Needs room: a full disk refuses it.
    Room,
    /// Changes something without needing room: only a disk that is broken or read-only refuses it.
    Change,
}

/// Why an operation does not simply happen.
struct Fault {
    error: io::Error,
    /// Whether the operation may have happened in part although it fails.
    may_have_happened: bool,
}

impl CrashDisk {
    /// An empty disk; all that is random on it follows from the seed.
    pub fn new(seed: u64) -> Self {
        let faults = Faults {
            random: Mutex::new(Random::new(seed)),
            generation: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
            operations_left: AtomicU64::new(NEVER),
            operations_done: AtomicU64::new(0),
            refusal: Mutex::new(None),
            free_bytes: AtomicU64::new(FREE_BYTES_DEFAULT),
            has_holes: AtomicBool::new(true),
            now_ms: AtomicI64::new(0),
        };
        Self { names: Arc::new(Mutex::new(Names::default())), faults: Arc::new(faults) }
    }

    /// The power fails and comes back: what was not synced is lost or torn, open files are dead, faults are gone.
    pub fn crash(&self) {
        let mut names = self.names.lock();
        self.faults.generation.fetch_add(1, Ordering::SeqCst);
        let mut random = self.faults.random.lock();
        let has_holes = self.faults.has_holes.load(Ordering::SeqCst);
        names.settle(&mut random);
        names.for_each_file(&mut |file| file.settle(&mut random, has_holes));
        drop(random);
        self.revive();
    }

    /// The process dies and starts again while the machine stays up: open files are dead, no byte is lost.
    pub fn restart(&self) {
        let _names = self.names.lock();
        self.faults.generation.fetch_add(1, Ordering::SeqCst);
        self.revive();
    }

    fn revive(&self) {
        self.faults.is_dead.store(false, Ordering::SeqCst);
        self.faults.operations_left.store(NEVER, Ordering::SeqCst);
        *self.faults.refusal.lock() = None;
    }

    /// The n-th changing operation from now (1 is the next) fails, perhaps half done, and all later ones do until
    /// [`CrashDisk::crash`] or [`CrashDisk::restart`].
    pub fn kill_after(&self, operations: u64) {
        self.faults.operations_left.store(operations.max(1), Ordering::SeqCst);
    }

    /// Whether the planned kill has happened.
    pub fn is_dead(&self) -> bool {
        self.faults.is_dead.load(Ordering::SeqCst)
    }

    /// How many changing operations there have been, to plan a kill within them.
    pub fn operations(&self) -> u64 {
        self.faults.operations_done.load(Ordering::SeqCst)
    }

    /// Makes changes fail with this kind until `None`: `StorageFull` refuses what needs room, any other kind
    /// (`ReadOnlyFilesystem`) every change. A refused write may have written its first bytes.
    pub fn fail_writes(&self, kind: Option<ErrorKind>) {
        *self.faults.refusal.lock() = kind;
    }

    /// What `free_bytes` answers.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.faults.free_bytes.store(bytes, Ordering::SeqCst);
    }

    /// Whether a crash may also lose writes in the middle of those that survive (default: yes).
    pub fn set_holes(&self, has_holes: bool) {
        self.faults.has_holes.store(has_holes, Ordering::SeqCst);
    }

    /// The time of modification that changed files get from now on, in milliseconds since 1970; 0 is the real time.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.faults.now_ms.store(now_ms, Ordering::SeqCst);
    }

    fn handle(&self, node: Arc<FileNode>) -> Arc<dyn DiskFile> {
        let generation = self.faults.generation.load(Ordering::SeqCst);
        Arc::new(OpenFile::new(node, Arc::clone(&self.faults), generation))
    }

    /// Runs a change of names under the faults; when killed in it, half of the times it has happened all the same.
    fn change_names<T>(&self, asks: Asks, change: impl FnOnce(&mut Names) -> io::Result<T>) -> io::Result<T> {
        let mut names = self.names.lock();
        match self.faults.step(asks) {
            Ok(()) => change(&mut names),
            Err(fault) => {
                if fault.may_have_happened && self.faults.random.lock().flip() {
                    // The caller is told of the fault whether or not the change itself was possible.
                    let _ = change(&mut names);
                }
                Err(fault.error)
            }
        }
    }
}

impl Faults {
    /// Counts one changing operation and says whether it may happen.
    fn step(&self, asks: Asks) -> Result<(), Fault> {
        self.check_alive().map_err(|error| Fault { error, may_have_happened: false })?;
        self.operations_done.fetch_add(1, Ordering::SeqCst);
        let counted = self.operations_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            NEVER => None,
            left => Some(left.saturating_sub(1)),
        });
        if matches!(counted, Ok(0 | 1)) {
            self.is_dead.store(true, Ordering::SeqCst);
            return Err(Fault { error: gone(), may_have_happened: true });
        }
        match *self.refusal.lock() {
            Some(ErrorKind::StorageFull) if asks == Asks::Change => Ok(()),
            Some(kind) => Err(Fault { error: kind.into(), may_have_happened: false }),
            None => Ok(()),
        }
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.is_dead.load(Ordering::SeqCst) { Err(gone()) } else { Ok(()) }
    }

    fn check_generation(&self, generation: u64) -> io::Result<()> {
        if self.generation.load(Ordering::SeqCst) == generation { Ok(()) } else { Err(gone()) }
    }

    fn now_ms(&self) -> i64 {
        match self.now_ms.load(Ordering::SeqCst) {
            0 => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_millis()).ok())
                .unwrap_or(0),
            now_ms => now_ms,
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the disk is gone: open the file again after the crash")
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.faults.check_alive()?;
        match self.names.lock().find(path) {
            Ok(Node::File(file)) => return Ok(self.handle(file)),
            Ok(Node::Dir(_)) => return Err(ErrorKind::IsADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound && create => {}
            Err(error) => return Err(error),
        }
        match self.create_new(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.open(path, false),
            created => created,
        }
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let now_ms = self.faults.now_ms();
        let node = self.change_names(Asks::Room, |names| names.create(path, FileNode::new(now_ms)))?;
        Ok(self.handle(node))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_names(Asks::Room, |names| names.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_names(Asks::Change, |names| names.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change_names(Asks::Change, |names| names.remove(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if matches!(self.names.lock().find(path), Ok(Node::Dir(_))) {
            return self.faults.check_alive();
        }
        self.change_names(Asks::Room, |names| names.create_dir_all(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change_names(Asks::Change, |names| names.remove_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change_names(Asks::Change, |names| names.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.faults.check_alive()?;
        self.names.lock().list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.faults.check_alive()?;
        match self.names.lock().find(path)? {
            Node::File(file) => Ok(file.metadata()),
            Node::Dir(_) => Ok(FileMetadata { length: 0, modified_ms: 0, is_dir: true }),
        }
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        self.faults.check_alive()?;
        Ok(self.faults.free_bytes.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests;
