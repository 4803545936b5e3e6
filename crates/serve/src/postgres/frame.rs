//! What a client sends, read from its bytes: the first packet of a connection, then messages with a type.
//!
//! A length is held against a limit before anything is kept for it, and a count against the bytes that are there.
//! Invariant: no byte beyond the packet is read before a connection is encrypted, so that none is taken for one that was.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of the first packet, as in PostgreSQL.
const FIRST_BYTES_MAX: usize = 10_000;
const CANCEL_CODE: i32 = 80_877_102;
const TLS_CODE: i32 = 80_877_103;
const GSS_CODE: i32 = 80_877_104;

/// Why nothing could be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client has gone.
    Gone,
    /// What it sent is no message.
    Form(&'static str),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The first packet of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum First {
    /// The wish to speak TLS.
    Tls,
    /// The wish for GSSAPI's encryption.
    Gss,
    /// The wish to stop what another connection does.
    Cancel(i32, Vec<u8>),
    /// Who asks, and in which version: `major << 16 | minor`.
    Startup(i32, Vec<(String, String)>),
}

/// Reads the first packet, or the next one where TLS was asked for.
///
/// # Errors
/// When the client has gone or sends no such packet.
pub async fn first(stream: &mut (impl AsyncRead + Unpin)) -> Result<First, Broken> {
    let length = usize::try_from(stream.read_i32().await?).unwrap_or_default();
    if !(8..=FIRST_BYTES_MAX).contains(&length) {
        return Err(Broken::Form("the first packet has an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    let mut body = Bytes::from(body);
    match body.get_i32() {
        TLS_CODE => Ok(First::Tls),
        GSS_CODE => Ok(First::Gss),
        CANCEL_CODE if body.remaining() > 4 => Ok(First::Cancel(body.get_i32(), body.to_vec())),
        version => {
            let mut parameters = Vec::new();
            loop {
                let name = text(&mut body)?;
                if name.is_empty() {
                    return Ok(First::Startup(version, parameters));
                }
                parameters.push((name, text(&mut body)?));
            }
        }
    }
}

/// A message of a connection that has begun.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// What proves the name, which is read before there are messages.
    Password,
    /// Statements to run.
    Query(String),
    /// A statement to be kept under a name, with the types of its parameters; 0 where the client says none.
    Parse(String, String, Vec<u32>),
    /// A portal of a statement.
    Bind(Bind),
    /// What a statement (`S`) or a portal (`P`) gives.
    Describe(u8, String),
    /// Rows of a portal, so many at most; 0 for all.
    Execute(String, i32),
    /// The end of a statement or a portal.
    Close(u8, String),
    /// What is ready is to be sent.
    Flush,
    /// The end of a round.
    Sync,
    /// Good-bye.
    Terminate,
    /// Part of a COPY that we never begin.
    Copy,
    /// A call of a function by its number.
    Call,
}

/// A portal of a statement, with values of its parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal's name.
    pub portal: String,
    /// The statement's name.
    pub statement: String,
    /// Forms of the parameters: none, one for all, or one for each.
    pub parameter_formats: Vec<i16>,
    /// The values; none is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Forms of the columns, likewise.
    pub result_formats: Vec<i16>,
}

/// Reads messages.
#[derive(Debug)]
pub struct Reader<S> {
    stream: S,
    buffer: BytesMut,
    bytes_max: usize,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// A reader of messages of so many bytes at most.
    pub fn new(stream: S, bytes_max: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), bytes_max }
    }

    /// The next message. May be dropped and asked again.
    ///
    /// # Errors
    /// When the client has gone or what it sends is no message.
    pub async fn next(&mut self) -> Result<Message, Broken> {
        loop {
            if let Some(whole) = self.whole()? {
                let mut frame = self.buffer.split_to(whole).freeze();
                let kind = frame.get_u8();
                frame.advance(4);
                return message(kind, frame);
            }
            self.fill().await?;
        }
    }

    /// Waits until the client has gone; what it sends meanwhile is kept, as far as there is room.
    pub async fn gone(&mut self) {
        while self.buffer.len() < self.bytes_max {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn fill(&mut self) -> Result<(), Broken> {
        if self.buffer.capacity() - self.buffer.len() < 1024 {
            self.buffer.reserve(8 << 10);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Broken::Gone),
            _ => Ok(()),
        }
    }

    /// The bytes of the message that is there whole.
    fn whole(&self) -> Result<Option<usize>, Broken> {
        let Some([_, a, b, c, d]) = self.buffer.first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if length < 4 || length > self.bytes_max {
            return Err(Broken::Form("a message has an impossible length, or is longer than the server takes"));
        }
        Ok((self.buffer.len() > length).then_some(length + 1))
    }
}

fn message(kind: u8, mut frame: Bytes) -> Result<Message, Broken> {
    let body = &mut frame;
    let message = match kind {
        b'p' => return Ok(Message::Password),
        b'Q' => Message::Query(text(body)?),
        b'P' => {
            let (name, sql) = (text(body)?, text(body)?);
            let types = many(body, 4, |body| Ok(body.get_u32()))?;
            Message::Parse(name, sql, types)
        }
        b'B' => Message::Bind(bind(body)?),
        b'D' => Message::Describe(byte(body)?, text(body)?),
        b'E' => {
            let portal = text(body)?;
            Message::Execute(portal, if body.remaining() >= 4 { body.get_i32() } else { return Err(SHORT) })
        }
        b'C' => Message::Close(byte(body)?, text(body)?),
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'd' | b'c' | b'f' => return Ok(Message::Copy),
        b'F' => return Ok(Message::Call),
        _ => return Err(Broken::Form("a message has a type that is not known")),
    };
    if frame.has_remaining() { Err(Broken::Form("a message is longer than what it holds")) } else { Ok(message) }
}

const SHORT: Broken = Broken::Form("a message is shorter than what it says that it holds");

fn bind(body: &mut Bytes) -> Result<Bind, Broken> {
    let (portal, statement) = (text(body)?, text(body)?);
    let parameter_formats = many(body, 2, |body| Ok(body.get_i16()))?;
    let values = many(body, 4, |body| {
        if body.remaining() < 4 {
            return Err(SHORT);
        }
        let length = body.get_i32();
        match usize::try_from(length) {
            Ok(length) if length <= body.remaining() => Ok(Some(body.split_to(length))),
            Err(_) if length == -1 => Ok(None),
            _ => Err(SHORT),
        }
    })?;
    let result_formats = many(body, 2, |body| Ok(body.get_i16()))?;
    Ok(Bind { portal, statement, parameter_formats, values, result_formats })
}

/// A count and so many things of so many bytes at least.
fn many<T>(
    body: &mut Bytes,
    bytes_min: usize,
    mut one: impl FnMut(&mut Bytes) -> Result<T, Broken>,
) -> Result<Vec<T>, Broken> {
    if body.remaining() < 2 {
        return Err(SHORT);
    }
    let count = usize::from(body.get_u16());
    if body.remaining() < count * bytes_min {
        return Err(SHORT);
    }
    (0..count).map(|_| one(body)).collect()
}

fn byte(body: &mut Bytes) -> Result<u8, Broken> {
    if body.has_remaining() { Ok(body.get_u8()) } else { Err(SHORT) }
}

/// Text up to its zero.
pub fn text(body: &mut Bytes) -> Result<String, Broken> {
    let end = body.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
    let text = body.split_to(end);
    body.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| Broken::Form("a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend(body);
        frame
    }

    async fn read(bytes: &[u8]) -> Result<Message, Broken> {
        Reader::new(bytes, 1 << 20).next().await
    }

    #[tokio::test]
    async fn messages_are_read_and_what_is_none_is_refused() {
        assert_eq!(read(&framed(b'Q', b"SELECT 1\0")).await, Ok(Message::Query("SELECT 1".to_owned())));
        assert_eq!(read(&framed(b'E', b"p\0\0\0\0\x07")).await, Ok(Message::Execute("p".to_owned(), 7)));
        let bound = read(&framed(b'B', b"\0s\0\0\0\0\x02\xff\xff\xff\xff\0\0\0\x01x\0\x01\0\x01")).await.unwrap();
        let Message::Bind(bound) = bound else { unreachable!("{bound:?}") };
        assert_eq!((bound.values, bound.result_formats), (vec![None, Some(Bytes::from_static(b"x"))], vec![1]));
        for (kind, body) in [
            (b'Q', b"no end".as_slice()),
            (b'Q', b"\xff\0"),
            (b'Q', b"a\0b"),
            (b'P', b"\0\0\xff\xff"),
            (b'B', b"\0\0\0\0\xff\xff\0\0\0\x01"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
            (b'E', b"p\0"),
            (b'D', b""),
            (b'?', b""),
        ] {
            assert!(matches!(read(&framed(kind, body)).await, Err(Broken::Form(_))), "{kind} {body:?}");
        }
    }

    #[tokio::test]
    async fn a_length_is_refused_before_its_bytes_are_waited_for() {
        for length in [0_u32, 3, 2 << 20, u32::MAX] {
            let mut frame = vec![b'Q'];
            frame.extend(length.to_be_bytes());
            assert!(matches!(read(&frame).await, Err(Broken::Form(_))), "{length}");
            assert!(matches!(first(&mut length.to_be_bytes().as_slice()).await, Err(Broken::Form(_))), "{length}");
        }
        assert_eq!(read(b"Q\0\0").await, Err(Broken::Gone));
    }
}
