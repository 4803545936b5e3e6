//! A file that is read from its end, Parquet or ZIP, put aside whole: small ones in memory, others on disk.
//!
//! On disk it is a temporary file without a name, in the folder that the system has for them (`TMPDIR`): whatever ends the
//! process, nothing is left. Invariant: no more of it is in memory than [`MEMORY_BYTES_MAX`].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};

use bytes::Bytes;

/// Up to this size a file stays in memory.
const MEMORY_BYTES_MAX: u64 = 8 << 20;
const COPY_BYTES: usize = 1 << 20;

/// A file that was put aside.
#[derive(Debug)]
pub(super) enum Spool {
    Memory(Bytes),
    Disk(File, u64),
}

/// Why a file could not be put aside.
#[derive(Debug)]
pub(super) enum SpoolError {
    /// It could not be read.
    Read(io::Error),
    /// There is no room for it.
    Write(io::Error),
}

impl Spool {
    /// Reads a file to its end.
    pub(super) fn of<R: Read>(reader: &mut R, consumed: &mut u64) -> Result<Self, SpoolError> {
        let mut begin = Vec::new();
        let read = reader.by_ref().take(MEMORY_BYTES_MAX + 1).read_to_end(&mut begin);
        *consumed += read.map_err(SpoolError::Read)? as u64;
        if begin.len() as u64 <= MEMORY_BYTES_MAX {
            return Ok(Self::Memory(begin.into()));
        }
        let mut file = tempfile::tempfile().map_err(SpoolError::Write)?;
        file.write_all(&begin).map_err(SpoolError::Write)?;
        begin.resize(COPY_BYTES, 0);
        begin.shrink_to_fit();
        loop {
            let count = match reader.read(&mut begin) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SpoolError::Read(error)),
            };
            file.write_all(begin.get(..count).unwrap_or_default()).map_err(SpoolError::Write)?;
            *consumed += count as u64;
        }
        file.seek(SeekFrom::Start(0)).map_err(SpoolError::Write)?;
        Ok(Self::Disk(file, *consumed))
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(_, length) => *length,
        }
    }

    /// Reads at a place; nothing at its end.
    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self {
            Self::Memory(all) => {
                let begin = usize::try_from(position).unwrap_or(usize::MAX).min(all.len());
                let rest = all.get(begin..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                Ok(count)
            }
            Self::Disk(file, _) => std::os::unix::fs::FileExt::read_at(file, buffer, position),
        }
    }

    /// Bytes of it; fewer where it ends before.
    pub(super) fn bytes(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, position + at as u64) {
                Ok(0) => break,
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(at);
        Ok(bytes)
    }
}
