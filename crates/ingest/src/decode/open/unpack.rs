//! gzip and Zstandard, unpacked as a stream, with what becomes of it held against what came in.
//!
//! A file may have several members or frames, one after the other. Invariant: a file that is cut off, wrong or a bomb is
//! an error of ours, and an error of the reader under it stays what it was.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Spoilt;

/// How many times its size a file may become, once it is larger than [`FREE_BYTES`].
pub(super) const RATIO_MAX: u64 = 400;
/// Up to so many unpacked bytes no ratio counts.
pub(super) const FREE_BYTES: u64 = 64 << 20;
/// How large a window Zstandard may ask for, as a power of two: what its own tool takes without being asked.
const WINDOW_LOG_MAX: u32 = 27;

/// What was read of a packed file.
#[derive(Debug, Default)]
struct Came {
    bytes: AtomicU64,
    failed: AtomicBool,
}

/// A reader that counts.
#[derive(Debug)]
pub(in crate::decode) struct Counted<R> {
    reader: R,
    came: Arc<Came>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer);
        match &read {
            Ok(count) => drop(self.came.bytes.fetch_add(*count as u64, Ordering::Relaxed)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.came.failed.store(true, Ordering::Relaxed),
        }
        read
    }
}

/// What an unpacker gives, watched.
pub(in crate::decode) struct Unpacked<D> {
    unpacker: D,
    form: &'static str,
    came: Arc<Came>,
    unpacked: u64,
}

impl<D> std::fmt::Debug for Unpacked<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacked").field("form", &self.form).field("unpacked", &self.unpacked).finish_non_exhaustive()
    }
}

fn counted<R>(reader: R) -> (BufReader<Counted<R>>, Arc<Came>)
where
    R: Read,
{
    let came = Arc::new(Came::default());
    (BufReader::with_capacity(1 << 17, Counted { reader, came: Arc::clone(&came) }), came)
}

pub(super) fn gzip<R: Read>(reader: R) -> Unpacked<flate2::bufread::MultiGzDecoder<BufReader<Counted<R>>>> {
    let (reader, came) = counted(reader);
    Unpacked { unpacker: flate2::bufread::MultiGzDecoder::new(reader), form: "gzip", came, unpacked: 0 }
}

pub(super) fn zstandard<R: Read>(reader: R) -> io::Result<Unpacked<zstd::Decoder<'static, BufReader<Counted<R>>>>> {
    let (reader, came) = counted(reader);
    let mut unpacker = zstd::Decoder::with_buffer(reader)?;
    unpacker.window_log_max(WINDOW_LOG_MAX)?;
    Ok(Unpacked { unpacker, form: "Zstandard", came, unpacked: 0 })
}

impl<D: Read> Read for Unpacked<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (form, unpacked) = (self.form, self.unpacked);
        let spoilt = |what| io::Error::from(Spoilt::Packing { form, what, unpacked });
        match self.unpacker.read(buffer) {
            Ok(count) => {
                self.unpacked += count as u64;
                let came = self.came.bytes.load(Ordering::Relaxed);
                if is_bomb(self.unpacked, came) {
                    return Err(spoilt(
                        "it becomes more than 400 times as large: deliver it unpacked if it is meant so",
                    ));
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) if self.came.failed.load(Ordering::Relaxed) => Err(error),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(spoilt("it is cut off: pack it again and deliver it whole"))
            }
            Err(_) => Err(spoilt("it is damaged: pack it again")),
        }
    }
}

/// Whether a file that came in so many bytes becomes more than any honest one.
pub(super) fn is_bomb(unpacked: u64, came: u64) -> bool {
    unpacked > FREE_BYTES && unpacked / RATIO_MAX > came
}
