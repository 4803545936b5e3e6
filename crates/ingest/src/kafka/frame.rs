//! Frames: a length, then so many bytes. A frame's memory grows as its bytes arrive, whatever its length claims.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// What is reserved at once for a frame that claims at least as much.
const RESERVED_BYTES_MAX: usize = 1 << 20;
/// What a read asks for when no frame is begun.
const IDLE_READ_BYTES: usize = 16 << 10;

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

    /// The length of the next frame, or `None` when the client is done. Call `body` next.
    pub(super) async fn length(&mut self) -> Result<Option<usize>, FrameError> {
        if self.buffer.is_empty() {
            self.buffer.reserve(IDLE_READ_BYTES);
            let read = timeout(self.idle_time, self.stream.read_buf(&mut self.buffer))
                .await
                .map_err(|_| FrameError::Idle)??;
            if read == 0 {
                return Ok(None);
            }
        }
        timeout(self.frame_time, self.fill(4)).await.map_err(|_| FrameError::Slow)??;
        let length = self.buffer.first_chunk::<4>().copied().map_or(-1, i32::from_be_bytes);
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.frame_bytes_max)
            .map(Some)
            .ok_or(FrameError::Length(length))
    }

    /// The frame whose length was read.
    pub(super) async fn body(&mut self, length: usize) -> Result<Bytes, FrameError> {
        timeout(self.frame_time, self.fill(4 + length)).await.map_err(|_| FrameError::Slow)??;
        Ok(self.buffer.split_to(4 + length).freeze().slice(4..))
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), FrameError> {
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            if self.buffer.capacity() == self.buffer.len() || self.buffer.capacity() < wanted.min(RESERVED_BYTES_MAX) {
                let grow = missing.min(RESERVED_BYTES_MAX.max(self.buffer.len()));
                self.buffer.reserve(grow);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }
}
