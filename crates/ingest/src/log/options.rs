//! The log's limits, each with its default and unit.

/// Limits of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment is closed when it reaches this size. Default 128 MiB.
    pub segment_bytes: u64,
    /// Distance between two entries of the offset index. Default 64 KiB.
    pub index_interval_bytes: u64,
    /// Closed segments younger than this are kept even when landed (`log.retention_ms`). Default 24 h.
    pub retention_ms: i64,
    /// Landed segments beyond this size of a partition are removed (`log.retention_bytes`). Default 1 GiB.
    pub retention_bytes: u64,
    /// Free bytes below which produces are refused (`storage.reserve_bytes`). Default 1 GiB.
    pub reserve_bytes: u64,
    /// How long a producer's sequences are remembered. Default 24 h.
    pub producer_retention_ms: i64,
    /// Producers remembered per partition; the longest silent is forgotten beyond. Default 100,000.
    pub producers_max: usize,
    /// Bytes not yet landed beyond which produces wait; none when nothing lands. Default 1 GiB.
    pub unlanded_bytes_max: Option<u64>,
    /// How long a produce waits for landing before it goes on, throttled. Default 2 s.
    pub pressure_wait_ms_max: u64,
    /// Threads that write and sync; partitions are spread over them. Default 4: syncs of several files overlap.
    pub lanes: usize,
    /// Bytes of one group commit of a lane; what is beyond waits for the next. Default 16 MiB.
    pub group_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            index_interval_bytes: 64 << 10,
            retention_ms: 24 * 3_600_000,
            retention_bytes: 1 << 30,
            reserve_bytes: 1 << 30,
            producer_retention_ms: 24 * 3_600_000,
            producers_max: 100_000,
            unlanded_bytes_max: Some(1 << 30),
            pressure_wait_ms_max: 2_000,
            lanes: 4,
            group_bytes_max: 16 << 20,
        }
    }
}
