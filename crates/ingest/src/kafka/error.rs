//! The one table from what went wrong to Kafka's error codes.

use crate::log::{BatchError, LogError};

/// A code of Kafka and a word to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: i16,
    pub message: String,
}

pub(super) const OFFSET_OUT_OF_RANGE: i16 = 1;
pub(super) const CORRUPT_MESSAGE: i16 = 2;
pub(super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub(super) const REQUEST_TIMED_OUT: i16 = 7;
pub(super) const MESSAGE_TOO_LARGE: i16 = 10;
pub(super) const INVALID_REQUIRED_ACKS: i16 = 21;
pub(super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
pub(super) const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
pub(super) const ILLEGAL_SASL_STATE: i16 = 34;
pub(super) const UNSUPPORTED_VERSION: i16 = 35;
pub(super) const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
pub(super) const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
pub(super) const INVALID_PRODUCER_EPOCH: i16 = 47;
pub(super) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
pub(super) const KAFKA_STORAGE_ERROR: i16 = 56;
pub(super) const SASL_AUTHENTICATION_FAILED: i16 = 58;
pub(super) const UNKNOWN_PRODUCER_ID: i16 = 59;
pub(super) const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
pub(super) const UNKNOWN_LEADER_EPOCH: i16 = 75;
pub(super) const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
pub(super) const INVALID_RECORD: i16 = 87;
pub(super) const UNKNOWN_TOPIC_ID: i16 = 100;
const UNKNOWN_SERVER_ERROR: i16 = -1;

impl Refusal {
    pub(super) fn new(code: i16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn not_allowed(topic: &str, what: &str) -> Self {
        Self::new(TOPIC_AUTHORIZATION_FAILED, format!("this client may not {what} topic `{topic}`"))
    }

    pub(super) fn unknown_topic(topic: &str) -> Self {
        Self::new(UNKNOWN_TOPIC_OR_PARTITION, format!("no contract names topic `{topic}` with this partition"))
    }
}

impl From<&LogError> for Refusal {
    fn from(error: &LogError) -> Self {
        let code = match error {
            LogError::UnknownPartition(_) => UNKNOWN_TOPIC_OR_PARTITION,
            LogError::OffsetOutOfRange { .. } => OFFSET_OUT_OF_RANGE,
            LogError::OutOfOrderSequence { .. } => OUT_OF_ORDER_SEQUENCE_NUMBER,
            LogError::UnknownProducer(_) => UNKNOWN_PRODUCER_ID,
            LogError::ProducerFenced(_) => INVALID_PRODUCER_EPOCH,
            LogError::DiskFull { .. }
            | LogError::WriteFailed { .. }
            | LogError::Damaged { .. }
            | LogError::Io { .. }
            | LogError::Closed => KAFKA_STORAGE_ERROR,
            LogError::TopicName(_) | LogError::FewerPartitions { .. } | LogError::Registry { .. } => {
                UNKNOWN_SERVER_ERROR
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match error {
            BatchError::Checksum => CORRUPT_MESSAGE,
            BatchError::Magic(_) => UNSUPPORTED_FOR_MESSAGE_FORMAT,
            BatchError::Codec(_) => UNSUPPORTED_COMPRESSION_TYPE,
            BatchError::Transactional => TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            BatchError::TooLarge(_) => MESSAGE_TOO_LARGE,
            BatchError::Length { .. }
            | BatchError::Count(_)
            | BatchError::Record(_)
            | BatchError::Compressed(_)
            | BatchError::Producer => INVALID_RECORD,
        };
        Self::new(code, error.to_string())
    }
}
