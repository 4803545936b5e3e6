//! The endpoint's limits, each with its default and unit.

use std::sync::Arc;
use std::time::Duration;

use vitalake_runtime::events::Events;

use super::guard::{Doors, Secure};

/// Limits of the endpoint.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Where it is told which batches are traced.
    pub events: Events,
    /// Who comes in; anybody who reaches the address where there is none.
    pub doors: Option<Arc<dyn Doors>>,
    /// What connections are put under; in the clear where there is none.
    pub tls: Option<Arc<dyn Secure>>,
    /// Host and port that clients are told; by default the address that they connected to.
    pub advertised: Option<(String, u16)>,
    /// A longer frame closes its connection. Default 100 MiB.
    pub frame_bytes_max: usize,
    /// A larger batch is refused (`max.message.bytes`). Default 8 MiB: Kafka's 1 MiB is small for lists of readings.
    pub message_bytes_max: usize,
    /// A longer request that produces nothing closes its connection: its answer is larger than it is. Default 1 MiB.
    pub request_bytes_max: usize,
    /// The most records, in bytes, that one fetch answers over all its partitions; its first batch may be larger (KIP-74).
    /// Default 16 MiB.
    pub fetch_bytes_max: usize,
    /// The same over all connections, until the answers are sent; fetches beyond it wait for their turn. Default 128 MiB.
    pub fetch_total_bytes_max: usize,
    /// Connections at one time. For one more the oldest that has never sent a request gives way; without such a one it
    /// is closed at once. Default 1,000.
    pub connections_max: usize,
    /// Bytes of requests in work per connection: until a produced batch is written, and other requests are answered.
    /// Default 32 MiB.
    pub connection_bytes_max: usize,
    /// Bytes of produces in work over all connections, until their batches are written. Default 256 MiB.
    pub total_bytes_max: usize,
    /// Bytes of other requests in work over all connections. Default 64 MiB.
    pub requests_bytes_max: usize,
    /// Requests in work per connection. Default 64.
    pub pipelined_max: usize,
    /// How long a begun frame may take to arrive. Default 30 s.
    pub frame_time: Duration,
    /// How long a new connection may take to its first whole request. Default 10 s.
    pub first_request_time: Duration,
    /// How long a connection may be silent. Default 10 min.
    pub idle_time: Duration,
    /// How long a fetch waits for its turn; then it is answered without records, and the client asks again. Default 10 s.
    pub fetch_turn_max: Duration,
    /// The longest that a fetch waits for data. Default 30 s.
    pub fetch_wait_max: Duration,
    /// How long a client may take to read an answer. Default 60 s.
    pub answer_time: Duration,
    /// How long requests in work may take when the server stops. Default 5 s.
    pub stop_time: Duration,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            events: Events::unread(),
            doors: None,
            tls: None,
            advertised: None,
            frame_bytes_max: 100 << 20,
            message_bytes_max: 8 << 20,
            request_bytes_max: 1 << 20,
            fetch_bytes_max: 16 << 20,
            fetch_total_bytes_max: 128 << 20,
            connections_max: 1_000,
            connection_bytes_max: 32 << 20,
            total_bytes_max: 256 << 20,
            requests_bytes_max: 64 << 20,
            pipelined_max: 64,
            frame_time: Duration::from_secs(30),
            first_request_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(600),
            fetch_turn_max: Duration::from_secs(10),
            fetch_wait_max: Duration::from_secs(30),
            answer_time: Duration::from_secs(60),
            stop_time: Duration::from_secs(5),
        }
    }
}
