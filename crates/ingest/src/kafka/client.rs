//! One connection to a Kafka broker: a request out, its response in, one at a time.
//!
//! Knows frames, headers and versions, no records. Invariant: after an error the connection is not used again.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::error::ParseResponseErrorCode as _;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes, VersionRange};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_SECONDS_MAX: u64 = 5;
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The network failed, or the other side closed.
    #[error("the connection to {address} failed")]
    Io {
        /// The broker.
        address: String,
        /// What the network said.
        #[source]
        source: io::Error,
    },
    /// What came back is not Kafka's protocol.
    #[error("what answers at {address} does not speak Kafka's protocol as expected: {what}")]
    Protocol {
        /// The broker.
        address: String,
        /// What was wrong.
        what: String,
    },
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    address: String,
    client_id: StrBytes,
    stream: TcpStream,
    correlation: i32,
    request_seconds_max: u64,
    ranges: Vec<(i16, VersionRange)>,
}

impl Connection {
    /// Connects and asks which versions the broker speaks.
    ///
    /// # Errors
    /// When nobody answers at the address, or not in Kafka's protocol.
    pub async fn open(address: &str, client_id: &str, request_seconds_max: u64) -> Result<Self, ConnectionError> {
        let io = |source| ConnectionError::Io { address: address.to_owned(), source };
        let connecting = timeout(Duration::from_secs(CONNECT_SECONDS_MAX), TcpStream::connect(address));
        let stream = connecting.await.map_err(|_| io(io::ErrorKind::TimedOut.into()))?.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let mut connection = Self {
            address: address.to_owned(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            stream,
            correlation: 0,
            request_seconds_max,
            ranges: Vec::new(),
        };
        let answer = connection.exchange(0, &ApiVersionsRequest::default()).await?;
        connection.ranges = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, VersionRange { min: api.min_version, max: api.max_version }))
            .collect();
        Ok(connection)
    }

    /// Whether the other side takes a name and its secret.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        self.ranges.iter().any(|(key, _)| *key == ApiKey::SaslHandshake as i16)
    }

    /// Says who asks, by a name and its secret.
    ///
    /// # Errors
    /// When the connection fails or the proof is refused.
    pub async fn say_who(&mut self, name: &str, secret: &str) -> Result<(), ConnectionError> {
        let mechanism = StrBytes::from_static_str("PLAIN");
        let offered = self.call(1, &SaslHandshakeRequest::default().with_mechanism(mechanism)).await?;
        if let Some(error) = offered.error_code.err() {
            return Err(self.protocol(format!("it does not take a token ({error:?})")));
        }
        let proof = Bytes::from(format!("\0{name}\0{secret}"));
        let answer = self.call(2, &SaslAuthenticateRequest::default().with_auth_bytes(proof)).await?;
        match answer.error_code.err() {
            None => Ok(()),
            Some(error) => Err(self.protocol(format!("it refuses the token ({error:?})"))),
        }
    }

    /// Sends a request in the newest version that both sides know and that is at most `version_max`.
    ///
    /// # Errors
    /// When the connection fails or there is no common version.
    pub async fn call<R: Request>(&mut self, version_max: i16, request: &R) -> Result<R::Response, ConnectionError> {
        self.call_versioned(version_max, request).await.map(|(_, answer)| answer)
    }

    /// The same, with the version that was spoken.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_versioned<R: Request>(
        &mut self,
        version_max: i16,
        request: &R,
    ) -> Result<(i16, R::Response), ConnectionError> {
        let ours = VersionRange { min: R::VERSIONS.min, max: R::VERSIONS.max.min(version_max) };
        let theirs = self.ranges.iter().find(|(key, _)| *key == R::KEY).map(|(_, range)| *range);
        let common = theirs.map(|theirs| ours.intersect(&theirs)).filter(|range| !range.is_empty());
        let Some(common) = common else {
            let name = ApiKey::try_from(R::KEY).map_or_else(|()| R::KEY.to_string(), |key| format!("{key:?}"));
            return Err(self.protocol(format!("it has no common version of {name}")));
        };
        Ok((common.max, self.exchange(common.max, request).await?))
    }

    async fn exchange<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, ConnectionError> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = self.encode(version, request)?;
        let limit = Duration::from_secs(self.request_seconds_max);
        let answered = timeout(limit, async {
            self.stream.write_all(&frame).await?;
            self.read_frame().await
        });
        let answered = answered.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let bytes = answered.map_err(|source| ConnectionError::Io { address: self.address.clone(), source })?;
        self.decode::<R>(version, bytes)
    }

    fn encode<R: Request>(&self, version: i16, request: &R) -> Result<Bytes, ConnectionError> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut body = BytesMut::new();
        header
            .encode(&mut body, R::header_version(version))
            .and_then(|()| request.encode(&mut body, version))
            .map_err(|error| self.protocol(error.to_string()))?;
        let length = i32::try_from(body.len()).map_err(|_| self.protocol("the request is too large".to_owned()))?;
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_i32(length);
        frame.put(body);
        Ok(frame.freeze())
    }

    async fn read_frame(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length).ok().filter(|length| *length <= RESPONSE_BYTES_MAX);
        let length =
            length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame of an impossible size"))?;
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes.into())
    }

    fn decode<R: Request>(&self, version: i16, mut bytes: Bytes) -> Result<R::Response, ConnectionError> {
        let header_version = <R::Response as HeaderVersion>::header_version(version);
        let header = ResponseHeader::decode(&mut bytes, header_version);
        let header = header.map_err(|error| self.protocol(error.to_string()))?;
        if header.correlation_id != self.correlation {
            return Err(self.protocol("it answered another request".to_owned()));
        }
        R::Response::decode(&mut bytes, version).map_err(|error| self.protocol(error.to_string()))
    }

    fn protocol(&self, what: String) -> ConnectionError {
        ConnectionError::Protocol { address: self.address.clone(), what }
    }
}
