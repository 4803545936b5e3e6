//! What is sent to a client, gathered in one buffer.
//!
//! Invariant: a message's length is written by the function that began it, so that no message is cut or runs over.

use bytes::{BufMut as _, BytesMut};

use super::refusal::Refusal;

/// A column as a client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// The number of its type.
    pub type_id: u32,
    /// The size of its values; -1 where that differs.
    pub size: i16,
}

/// Messages that wait to be sent.
#[derive(Debug, Default)]
pub struct Reply(pub BytesMut);

impl Reply {
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(kind);
        let start = self.0.len();
        self.0.put_u32(0);
        body(&mut self.0);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// A request for proof with its data, or `0` for none that is needed.
    pub fn authentication(&mut self, code: i32, data: &[u8]) {
        self.message(b'R', |body| {
            body.put_i32(code);
            body.put_slice(data);
        });
    }

    /// A setting as it is.
    pub fn parameter(&mut self, name: &str, value: &str) {
        self.message(b'S', |body| {
            put_text(body, name);
            put_text(body, value);
        });
    }

    /// By what the connection's work can be stopped.
    pub fn key(&mut self, process: i32, secret: &[u8]) {
        self.message(b'K', |body| {
            body.put_i32(process);
            body.put_slice(secret);
        });
    }

    /// The newest minor version that is spoken here, and what was asked for that is not known.
    pub fn negotiate(&mut self, unknown: &[&str]) {
        self.message(b'v', |body| {
            body.put_i32(0);
            body.put_i32(i32::try_from(unknown.len()).unwrap_or_default());
            unknown.iter().for_each(|name| put_text(body, name));
        });
    }

    /// The end of a round, with the state of the transaction: `I`, `T` or `E`.
    pub fn ready(&mut self, state: u8) {
        self.message(b'Z', |body| body.put_u8(state));
    }

    /// A message without a body.
    pub fn bare(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    /// A statement is done.
    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', |body| put_text(body, tag));
    }

    /// The columns that follow, each in its form.
    pub fn columns(&mut self, columns: &[Column], formats: &[i16]) {
        self.message(b'T', |body| {
            body.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
            for (index, column) in columns.iter().enumerate() {
                put_text(body, &column.name);
                body.put_u32(0);
                body.put_u16(0);
                body.put_u32(column.type_id);
                body.put_i16(column.size);
                body.put_i32(-1);
                body.put_i16(format_of(formats, index));
            }
        });
    }

    /// The types of parameters.
    pub fn parameters(&mut self, types: &[u32]) {
        self.message(b't', |body| {
            body.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
            types.iter().for_each(|type_id| body.put_u32(*type_id));
        });
    }

    /// A row of texts.
    pub fn texts(&mut self, values: &[Option<String>]) {
        self.message(b'D', |body| {
            body.put_u16(u16::try_from(values.len()).unwrap_or(u16::MAX));
            for value in values {
                match value {
                    Some(text) => {
                        body.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
                        body.put_slice(text.as_bytes());
                    }
                    None => body.put_i32(-1),
                }
            }
        });
    }

    /// Why something was refused.
    pub fn refusal(&mut self, severity: &str, refusal: &Refusal) {
        self.message(b'E', |body| {
            let mut field = |kind: u8, text: &str| {
                body.put_u8(kind);
                put_text(body, text);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', refusal.code);
            field(b'M', &refusal.message);
            if let Some(place) = refusal.place {
                field(b'P', &place.to_string());
            }
            body.put_u8(0);
        });
    }

    /// A remark beside an answer.
    pub fn notice(&mut self, code: &str, message: &str) {
        self.message(b'N', |body| {
            for (kind, text) in [(b'S', "NOTICE"), (b'V', "NOTICE"), (b'C', code), (b'M', message)] {
                body.put_u8(kind);
                put_text(body, text);
            }
            body.put_u8(0);
        });
    }
}

/// The form of a column: none is text, one is for all.
pub fn format_of(formats: &[i16], index: usize) -> i16 {
    match formats {
        [one] => *one,
        several => several.get(index).copied().unwrap_or(0),
    }
}

fn put_text(body: &mut BytesMut, text: &str) {
    // A zero would end the text early.
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.put_u8(0);
}
