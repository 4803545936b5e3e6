//! One file of the crash double: its bytes as written, its bytes as synced, and the writes between the two.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::random::Random;
use super::{Asks, Faults};
use crate::disk::{DiskFile, FileMetadata};

/// The unit in which a device loses writes in the middle.
const SECTOR_BYTES: usize = 512;

/// A file's contents, whatever its names are.
#[derive(Debug)]
pub(super) struct FileNode {
    state: Mutex<FileState>,
}

#[derive(Debug)]
struct FileState {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
    modified_ms: i64,
}

#[derive(Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetLength(usize),
}

impl FileNode {
    pub(super) fn new(now_ms: i64) -> Arc<Self> {
        let state = FileState { current: Vec::new(), durable: Vec::new(), pending: Vec::new(), modified_ms: now_ms };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn metadata(&self) -> FileMetadata {
        let state = self.state.lock();
        FileMetadata { length: state.current.len() as u64, modified_ms: state.modified_ms, is_dir: false }
    }

    /// What a crash leaves: the synced bytes and a random part of the changes after them.
    pub(super) fn settle(&self, random: &mut Random, has_holes: bool) {
        let mut state = self.state.lock();
        let pending = std::mem::take(&mut state.pending);
        // How many changes survive whole; the one after them is torn. `None`: nothing at all reached the device.
        let kept = match random.up_to(3) {
            0 => None,
            1 => Some(pending.len()),
            _ => Some(random.up_to(pending.len())),
        };
        let loses_inside = has_holes && random.up_to(3) == 0;
        for (index, change) in pending.into_iter().enumerate() {
            let Some(kept) = kept.filter(|kept| index <= *kept) else {
                break;
            };
            let is_torn = index == kept;
            settle_change(&mut state.durable, change, is_torn, loses_inside, random);
        }
        state.current = state.durable.clone();
    }
}

fn settle_change(durable: &mut Vec<u8>, change: Change, is_torn: bool, loses_inside: bool, random: &mut Random) {
    match change {
        Change::SetLength(length) => {
            if !is_torn || random.flip() {
                durable.resize(length, 0);
            }
        }
        Change::Write { position, bytes } => {
            let length = if is_torn { random.up_to(bytes.len()) } else { bytes.len() };
            let bytes = bytes.get(..length).unwrap_or_default();
            if loses_inside {
                write_with_holes(durable, position, bytes, random);
            } else {
                write_into(durable, position, bytes);
            }
        }
    }
}

/// Writes only some sectors; the others keep what was there before, zeros where nothing was.
fn write_with_holes(target: &mut Vec<u8>, position: usize, bytes: &[u8], random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let end = position + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    let mut at = position;
    for sector in bytes.chunks(SECTOR_BYTES) {
        if random.flip() {
            write_into(target, at, sector);
        }
        at += sector.len();
    }
}

fn write_into(target: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if target.len() == position {
        target.extend_from_slice(bytes);
        return;
    }
    let end = position + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    if let Some(place) = target.get_mut(position..end) {
        place.copy_from_slice(bytes);
    }
}

/// A handle; dead once the disk has crashed after it was opened.
#[derive(Debug)]
pub(super) struct OpenFile {
    node: Arc<FileNode>,
    faults: Arc<Faults>,
    generation: u64,
}

impl OpenFile {
    pub(super) fn new(node: Arc<FileNode>, faults: Arc<Faults>, generation: u64) -> Self {
        Self { node, faults, generation }
    }

    /// Locks the contents and checks that the handle still lives; a crash waits for the lock.
    fn lock(&self) -> io::Result<parking_lot::MutexGuard<'_, FileState>> {
        let state = self.node.state.lock();
        self.faults.check_generation(self.generation)?;
        self.faults.check_alive()?;
        Ok(state)
    }

    fn apply_write(&self, state: &mut FileState, position: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        write_into(&mut state.current, position, bytes);
        state.pending.push(Change::Write { position, bytes: bytes.to_vec() });
        state.modified_ms = self.faults.now_ms();
    }
}

impl DiskFile for OpenFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let position = to_index(position)?;
        let mut state = self.lock()?;
        match self.faults.step(Asks::Room) {
            Ok(()) => {
                self.apply_write(&mut state, position, bytes);
                Ok(())
            }
            Err(fault) => {
                let length = self.faults.random.lock().up_to(bytes.len());
                self.apply_write(&mut state, position, bytes.get(..length).unwrap_or_default());
                Err(fault.error)
            }
        }
    }

    fn write_all_vectored_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        // One operation, as one system call is: a kill tears it anywhere.
        let whole: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        self.write_all_at(&whole, position)
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let position = to_index(position)?;
        let state = self.lock()?;
        let end = position.saturating_add(buffer.len());
        match state.current.get(position..end) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None if buffer.is_empty() => Ok(()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.lock()?.current.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = to_index(length)?;
        let mut state = self.lock()?;
        let grows = length > state.current.len();
        let step = self.faults.step(if grows { Asks::Room } else { Asks::Change });
        if let Err(fault) = &step
            && !(fault.may_have_happened && self.faults.random.lock().flip())
        {
            return step.map_err(|fault| fault.error);
        }
        state.current.resize(length, 0);
        state.pending.push(Change::SetLength(length));
        state.modified_ms = self.faults.now_ms();
        step.map_err(|fault| fault.error)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        // A sync that fails has promised nothing; the crash decides what it wrote.
        self.faults.step(Asks::Change).map_err(|fault| fault.error)?;
        let pending = std::mem::take(&mut state.pending);
        for change in pending {
            match change {
                Change::Write { position, bytes } => write_into(&mut state.durable, position, &bytes),
                Change::SetLength(length) => state.durable.resize(length, 0),
            }
        }
        Ok(())
    }
}

fn to_index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| ErrorKind::InvalidInput.into())
}
