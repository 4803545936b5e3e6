//! Frames: a length, then so many bytes. A frame's memory grows as its bytes arrive, whatever its length claims, and is
//! its own: who keeps a frame keeps nothing of its neighbours.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// What is reserved at once for a frame that claims at least as much.
const RESERVED_BYTES_MAX: usize = 1 << 20;
/// What a read asks for when no frame is begun.
const IDLE_READ_BYTES: usize = 16 << 10;
/// The length itself.
const LENGTH_BYTES: usize = 4;
/// The least that a request has: its kind, its version and its number.
const REQUEST_BYTES_MIN: usize = 8;

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("a frame claims {0} bytes")]
    Length(i32),
    #[error("a begun frame did not arrive in time")]
    Slow,
    #[error("the connection was silent for too long")]
    Idle,
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of the frame.
    pub(super) length: usize,
    /// The request's kind.
    pub(super) api_key: i16,
}

/// The frames of a connection.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    frame_bytes_max: usize,
    frame_time: Duration,
    idle_time: Duration,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R, frame_bytes_max: usize, frame_time: Duration, idle_time: Duration) -> Self {
        Self { stream, buffer: BytesMut::new(), frame_bytes_max, frame_time, idle_time }
    }

    /// The head of the next frame, or `None` when the client is done. Call `body` next.
    pub(super) async fn head(&mut self) -> Result<Option<FrameHead>, FrameError> {
        if self.buffer.is_empty() {
            self.buffer.reserve(IDLE_READ_BYTES);
            let read = timeout(self.idle_time, self.stream.read_buf(&mut self.buffer))
                .await
                .map_err(|_| FrameError::Idle)??;
            if read == 0 {
                return Ok(None);
            }
        }
        let begun = timeout(self.frame_time, self.fill(LENGTH_BYTES)).await.map_err(|_| FrameError::Slow)?;
        begun?;
        let claimed = self.buffer.first_chunk::<LENGTH_BYTES>().copied().map_or(-1, i32::from_be_bytes);
        let length = usize::try_from(claimed).ok().filter(|length| *length <= self.frame_bytes_max);
        let length = length.filter(|length| *length >= REQUEST_BYTES_MIN).ok_or(FrameError::Length(claimed))?;
        timeout(self.frame_time, self.fill(LENGTH_BYTES + 2)).await.map_err(|_| FrameError::Slow)??;
        let api_key = self.buffer.get(LENGTH_BYTES..).and_then(|rest| rest.first_chunk()).copied();
        Ok(Some(FrameHead { length, api_key: api_key.map_or(-1, i16::from_be_bytes) }))
    }

    /// The frame whose head was read.
    pub(super) async fn body(&mut self, length: usize) -> Result<Bytes, FrameError> {
        let _ = self.buffer.split_to(LENGTH_BYTES.min(self.buffer.len()));
        if self.buffer.len() >= length {
            return Ok(Bytes::copy_from_slice(&self.buffer.split_to(length)));
        }
        let begun = std::mem::take(&mut self.buffer);
        let mut frame = BytesMut::with_capacity(length.min(RESERVED_BYTES_MAX).max(begun.len()));
        frame.extend_from_slice(&begun);
        let filling = async {
            while frame.len() < length {
                if frame.capacity() == frame.len() {
                    frame.reserve((length - frame.len()).min(frame.len()));
                }
                let missing = (length - frame.len()) as u64;
                if (&mut self.stream).take(missing).read_buf(&mut frame).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(())
        };
        timeout(self.frame_time, filling).await.map_err(|_| FrameError::Slow)??;
        Ok(frame.freeze())
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), FrameError> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(IDLE_READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }
}
