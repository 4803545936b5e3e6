//! A small client of PostgreSQL's protocol, which sends what it is told and reads what comes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A message from the server: its type and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub u8, pub Vec<u8>);

impl Reply {
    /// A field of an error, such as `C` for its code.
    pub fn field(&self, kind: u8) -> String {
        let fields = self.1.split(|byte| *byte == 0);
        fields
            .filter_map(|field| field.split_first())
            .find(|(found, _)| **found == kind)
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    }

    /// The values of a row, as they came.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        let mut body = &self.1[2..];
        let count = u16::from_be_bytes([self.1[0], self.1[1]]);
        let mut next = || {
            let (length, rest) = body.split_first_chunk::<4>().unwrap();
            let length = i32::from_be_bytes(*length);
            let (value, rest) = rest.split_at(usize::try_from(length).unwrap_or(0));
            body = rest;
            (length >= 0).then(|| value.to_vec())
        };
        (0..count).map(|_| next()).collect()
    }

    /// Names and types of columns.
    pub fn columns(&self) -> Vec<(String, u32)> {
        let mut body = &self.1[2..];
        let count = u16::from_be_bytes([self.1[0], self.1[1]]);
        (0..count)
            .map(|_| {
                let end = body.iter().position(|byte| *byte == 0).unwrap();
                let name = String::from_utf8(body[..end].to_vec()).unwrap();
                let rest = &body[end + 1..];
                let kind = u32::from_be_bytes(rest[6..10].try_into().unwrap());
                body = &rest[18..];
                (name, kind)
            })
            .collect()
    }
}

pub struct PgClient {
    pub stream: TcpStream,
    /// What stops its work from outside.
    pub key: (i32, Vec<u8>),
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (3_i32 << 16).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    body.push(0);
    let mut packet = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    packet.extend(body);
    packet
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}

fn text(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

impl PgClient {
    /// A connection as it is before anything was said.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, key: (0, vec![]) }
    }

    /// Logs in; the refusal where it is refused.
    pub fn try_connect(address: SocketAddr, user: &str, password: Option<&str>) -> Result<Self, Reply> {
        let mut client = Self::silent(address);
        client.send(&startup(&[("user", user), ("database", "vitalake")]));
        loop {
            let reply = client.read().ok_or(Reply(0, vec![]))?;
            match (reply.0, reply.1.as_slice()) {
                (b'R', [0, 0, 0, 0]) => {}
                (b'R', [0, 0, 0, 3]) => client.send(&message(b'p', &text(password.unwrap_or_default()))),
                (b'K', body) => client.key = (i32::from_be_bytes(body[..4].try_into().unwrap()), body[4..].to_vec()),
                (b'S', _) => {}
                (b'Z', _) => return Ok(client),
                _ => return Err(reply),
            }
        }
    }

    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, "somebody", None).unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next message; nothing where the connection ended.
    pub fn read(&mut self) -> Option<Reply> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).ok()?;
        Some(Reply(head[0], body))
    }

    /// Everything up to the end of the round, with the state of the transaction.
    pub fn round(&mut self) -> (Vec<Reply>, u8) {
        let mut replies = Vec::new();
        loop {
            let reply = self.read().expect("the connection ended within a round");
            if reply.0 == b'Z' {
                return (replies, reply.1[0]);
            }
            replies.push(reply);
        }
    }

    pub fn simple(&mut self, sql: &str) -> Vec<Reply> {
        self.send(&message(b'Q', &text(sql)));
        self.round().0
    }

    /// Rows of a query as texts.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let replies = self.simple(sql);
        if let Some(error) = replies.iter().find(|reply| reply.0 == b'E') {
            panic!("{sql}: {} {}", error.field(b'C'), error.field(b'M'));
        }
        texts(&replies)
    }

    /// The code of the refusal of a statement.
    pub fn refused(&mut self, sql: &str) -> String {
        let replies = self.simple(sql);
        let error = replies.iter().find(|reply| reply.0 == b'E');
        error.unwrap_or_else(|| panic!("{sql} is not refused: {:?}", texts(&replies))).field(b'C')
    }

    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        let mut body = [text(name), text(sql)].concat();
        body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
        types.iter().for_each(|kind| body.extend(kind.to_be_bytes()));
        self.send(&message(b'P', &body));
    }

    /// Values of parameters are texts; columns come in the form.
    pub fn bind(&mut self, portal: &str, statement: &str, values: &[Option<&str>], form: i16) {
        let mut body = [text(portal), text(statement), vec![0, 0]].concat();
        body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            match value {
                Some(value) => {
                    body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                    body.extend(value.bytes());
                }
                None => body.extend((-1_i32).to_be_bytes()),
            }
        }
        body.extend(1_u16.to_be_bytes());
        body.extend(form.to_be_bytes());
        self.send(&message(b'B', &body));
    }

    pub fn describe(&mut self, kind: u8, name: &str) {
        self.send(&message(b'D', &[vec![kind], text(name)].concat()));
    }

    pub fn execute(&mut self, portal: &str, rows_max: i32) {
        self.send(&message(b'E', &[text(portal), rows_max.to_be_bytes().to_vec()].concat()));
    }

    pub fn sync(&mut self) -> (Vec<Reply>, u8) {
        self.send(&message(b'S', &[]));
        self.round()
    }
}

/// The rows among messages, as texts; NULL is `∅`.
pub fn texts(replies: &[Reply]) -> Vec<Vec<String>> {
    let shown = |value: Option<Vec<u8>>| value.map_or("∅".to_owned(), |value| String::from_utf8(value).unwrap());
    let rows = replies.iter().filter(|reply| reply.0 == b'D');
    rows.map(|row| row.values().into_iter().map(shown).collect()).collect()
}

/// The types of messages, in order.
pub fn kinds(replies: &[Reply]) -> String {
    replies.iter().map(|reply| char::from(reply.0)).collect()
}
