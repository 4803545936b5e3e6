//! One request: its header, its version, and the handler of its kind.

mod api_versions;
mod describe_cluster;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod sasl;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, BrokerId, ResponseHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::KafkaOptions;
use super::connection::Shared;
use super::guard::{Rights, Session};
use super::wire::{Reader, WireError};
use crate::log::{Log, TopicPartition};

/// The one broker's number.
const NODE_ID: BrokerId = BrokerId(1);
/// The one cluster's id.
const CLUSTER_ID: &str = "vitalake";

/// What handlers need.
pub(super) struct Context {
    /// What all connections have.
    pub(super) shared: Arc<Shared>,
    /// Host and port that this client is told.
    pub(super) advertised: (String, u16),
    pub(super) peer: SocketAddr,
    /// Whether the log says that this client asked for a group.
    pub(super) told_of_groups: AtomicBool,
    /// Who this client is, where that is asked.
    pub(super) session: Session,
}

impl Context {
    fn log(&self) -> &Arc<Log> {
        &self.shared.log
    }

    fn options(&self) -> &KafkaOptions {
        &self.shared.options
    }

    /// Whether the client may do that with a topic.
    fn may(&self, what: impl Fn(&dyn Rights) -> bool) -> bool {
        self.options().doors.is_none() || self.session.rights().is_some_and(|rights| what(&*rights))
    }

    fn may_write(&self, topic: &str) -> bool {
        self.may(|rights| rights.writes(topic))
    }

    fn may_read(&self, topic: &str) -> bool {
        self.may(|rights| rights.reads(topic))
    }

    /// Whether there is anything that the client may do with a topic.
    fn sees(&self, topic: &str) -> bool {
        self.may_read(topic) || self.may_write(topic)
    }

    /// The same for a request of records, which is told to whoever keeps account of that.
    fn asks(&self, topic: &str) -> bool {
        let is_let = self.may_read(topic);
        if let Some(rights) = self.session.rights() {
            rights.asks(topic, is_let);
        }
        is_let
    }

    /// The same for a request that sends some.
    fn sends(&self, topic: &str) -> bool {
        let is_let = self.may_write(topic);
        if let Some(rights) = self.session.rights().filter(|_| !is_let) {
            rights.is_refused(topic);
        }
        is_let
    }

    /// A partition of a topic that this client may see.
    fn partition(&self, topic: &str, partition: i32) -> Option<TopicPartition> {
        if !self.sees(topic) {
            return None;
        }
        let info = self.log().topic(topic).filter(|info| info.active)?;
        let known = u32::try_from(partition).is_ok_and(|number| number < info.partitions);
        known.then(|| TopicPartition::new(info.id, partition))
    }

    fn host(&self) -> StrBytes {
        StrBytes::from_string(self.advertised.0.clone())
    }

    fn port(&self) -> i32 {
        i32::from(self.advertised.1)
    }
}

/// What becomes of a request.
pub(super) enum Outcome {
    /// An answer, framed.
    Answer(Bytes),
    /// No answer is due.
    Silence,
    /// The connection is to be closed.
    Close,
}

/// Why a request ends its connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Malformed(#[from] WireError),
    #[error("api {0} version {1} is not spoken here")]
    Unsupported(i16, i16),
    #[error("an answer could not be encoded: {0}")]
    Encode(String),
    #[error("the client has not said who it is, or what it said no longer holds; it has to use SASL")]
    Unnamed,
    #[error("the check of a request was interrupted")]
    Interrupted,
}

/// What is spoken, as it is advertised. Produce 0 to 2 are advertised, as Kafka 4 does, for librdkafka turns compression
/// off otherwise; they are refused when they come.
const SPOKEN: [(ApiKey, i16, i16); 9] = [
    (ApiKey::Produce, 0, 11),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeCluster, 0, 1),
];

/// What is spoken beside where clients have to say who they are. A handshake of version 0 is followed by bytes without
/// a frame of Kafka's, which nobody sends any longer.
const SASL: [(ApiKey, i16, i16); 2] = [(ApiKey::SaslHandshake, 1, 1), (ApiKey::SaslAuthenticate, 0, 2)];

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
struct Call {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Call {
    /// Frames an answer.
    fn answer(self, body: &impl Encodable) -> Result<Outcome, RequestError> {
        let mut out = BytesMut::with_capacity(256);
        out.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        let encoded = header
            .encode(&mut out, self.api.response_header_version(self.version))
            .and_then(|()| body.encode(&mut out, self.version));
        encoded.map_err(|error| RequestError::Encode(error.to_string()))?;
        let length = i32::try_from(out.len() - 4).map_err(|_| RequestError::Encode("it is too long".to_owned()))?;
        if let Some(place) = out.first_chunk_mut::<4>() {
            *place = length.to_be_bytes();
        }
        Ok(Outcome::Answer(out.freeze()))
    }

    fn ready(self, body: &impl Encodable) -> Result<BoxFuture<'static, Outcome>, RequestError> {
        self.answer(body).map(|outcome| std::future::ready(outcome).boxed())
    }

    /// An answer made later; what cannot be encoded closes the connection.
    fn answer_or_close(self, body: &impl Encodable) -> Outcome {
        self.answer(body).unwrap_or_else(|error| {
            tracing::error!(api = ?self.api, version = self.version, %error, "connection closed");
            Outcome::Close
        })
    }
}

/// Decodes a request and begins its work. An error closes the connection.
pub(super) async fn begin(context: &Arc<Context>, frame: Bytes) -> Result<BoxFuture<'static, Outcome>, RequestError> {
    let mut reader = Reader::new(frame);
    let (key, version, correlation_id) = (reader.i16()?, reader.i16()?, reader.i32()?);
    let asks_names = context.options().doors.is_some();
    let sasl = if asks_names { &SASL[..] } else { &[] };
    let spoken = SPOKEN.iter().chain(sasl).find(|(api, _, _)| *api as i16 == key);
    let &(api, min, max) = spoken.ok_or(RequestError::Unsupported(key, version))?;
    let call = Call { api, version, correlation_id };
    if !(min..=max).contains(&version) {
        if api == ApiKey::ApiVersions {
            return api_versions::unsupported(context, call);
        }
        return Err(RequestError::Unsupported(key, version));
    }
    let introduces = matches!(api, ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate);
    if asks_names && !introduces && context.session.rights().is_none() {
        return Err(RequestError::Unnamed);
    }
    reader.classic_string()?;
    reader.set_flexible(api.request_header_version(version) >= 2);
    reader.tags()?;
    match api {
        ApiKey::Produce => produce::begin(context, call, &mut reader).await,
        ApiKey::Fetch => fetch::begin(context, call, &mut reader),
        ApiKey::ListOffsets => list_offsets::begin(context, call, &mut reader),
        ApiKey::Metadata => metadata::begin(context, call, &mut reader),
        ApiKey::FindCoordinator => find_coordinator::begin(context, call, &mut reader),
        ApiKey::ApiVersions => api_versions::begin(context, call),
        ApiKey::InitProducerId => init_producer_id::begin(call, &mut reader),
        ApiKey::OffsetForLeaderEpoch => offset_for_leader_epoch::begin(context, call, &mut reader),
        ApiKey::SaslHandshake => sasl::handshake(context, call, &mut reader),
        ApiKey::SaslAuthenticate => sasl::authenticate(context, call, &mut reader).await,
        ApiKey::DescribeCluster => describe_cluster::begin(context, call),
        _ => Err(RequestError::Unsupported(key, version)),
    }
}
