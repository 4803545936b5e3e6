//! What the log counts. Plain atomics; whoever exports them names them.

use std::sync::atomic::{AtomicI64, AtomicU64};

/// Counters since start, and a few gauges.
#[derive(Debug, Default)]
pub struct LogMetrics {
    /// Batches made durable.
    pub batches_appended: AtomicU64,
    /// Records made durable.
    pub records_appended: AtomicU64,
    /// Bytes of batches made durable.
    pub bytes_appended: AtomicU64,
    /// Batches recognised as retries and answered with the offset they had.
    pub duplicate_batches: AtomicU64,
    /// Batches refused for their sequence or producer epoch.
    pub sequence_refusals: AtomicU64,
    /// Batches refused for want of room on the disk.
    pub disk_full_refusals: AtomicU64,
    /// Groups whose write or sync failed.
    pub write_failures: AtomicU64,
    /// fdatasync calls.
    pub syncs: AtomicU64,
    /// Microseconds spent in fdatasync.
    pub sync_micros: AtomicU64,
    /// Bytes read by fetch and landing.
    pub bytes_read: AtomicU64,
    /// Produces that had to wait for landing.
    pub pressure_waits: AtomicU64,
    /// Bytes removed by retention.
    pub bytes_trimmed: AtomicU64,
    /// Gauge: bytes durable in the log and not yet landed.
    pub unlanded_bytes: AtomicI64,
}
