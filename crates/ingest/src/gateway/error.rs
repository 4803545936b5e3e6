//! Why a request is not taken. No variant holds anything of a record.

use crate::decode::Rejected;
use crate::log::{LogError, TopicPartition};

/// Why a request is not taken. Unless it says otherwise, nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The body's packing is damaged.
    #[error("the body is not {form} that can be unpacked; pack it again")]
    Packing {
        /// Its form, as the sender named it.
        form: &'static str,
    },
    /// The body is not JSON, at a place of it.
    #[error("the body is not JSON that can be read at line {line}, byte {byte}: {what}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// The byte, from 0, of the body as it is unpacked.
        byte: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// There is no record in it.
    #[error("there is no record in the body; send a JSON object, an array of them, or one object a line")]
    Empty,
    /// Nothing in it is a record.
    #[error("none of the {} records of the body can be taken: each has its reason", .0.len())]
    NoneAccepted(Vec<Rejected>),
    /// It is more than is taken at once.
    #[error("{0}")]
    TooLarge(String),
    /// A record is of another subject than its sender may write of.
    #[error("record {index} is not of the subject that this client may write of; nothing of the request was taken")]
    OtherSubject {
        /// The record's number in the body, from 0.
        index: u32,
    },
    /// The key was used for another body.
    #[error("this Idempotency-Key was used with another body within the last day; send this one with a key of its own")]
    KeyReused,
    /// A request with this key is being taken.
    #[error("a request with this Idempotency-Key is being taken; send it again later")]
    KeyInUse,
    /// The platform is behind with what it has taken.
    #[error("{0}; send it again later")]
    Behind(&'static str),
    /// The log did not take it. Parts of it may have been written: the same key and body again complete it.
    #[error("the log did not take the request")]
    Log(#[from] LogError),
    /// The disk did not answer in time. The same key and body again complete it.
    #[error("the disk did not answer in time for {0}; send the request again with the same Idempotency-Key")]
    TimedOut(TopicPartition),
    /// The work was cut short.
    #[error("the platform stopped or began anew; send the request again with the same Idempotency-Key")]
    Interrupted,
}
