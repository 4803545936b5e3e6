//! What the server needs of the platform to show quarantine, put it through again, or give it up.
//!
//! Invariant: a record's bytes are asked for only after [`Sessions::shows_records`](crate::session::Sessions::shows_records) was.

use async_trait::async_trait;
use vitalake_ops::quarantine::{
    DiscardReport, DiscardRequest, RejectCount, RejectedRow, ReplayProgress, ReplayReport, ReplayRequest, Which,
};

use crate::platform::ApiError;

/// How many rejects are shown, and whether with their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// At most so many.
    pub limit: usize,
    /// With the bytes.
    pub raw: bool,
}

/// Quarantine.
#[async_trait]
pub trait Quarantine: Send + Sync + 'static {
    /// How many rejects there are, of one dataset or of all.
    async fn counts(&self, dataset: Option<&str>, which: &Which) -> Result<Vec<RejectCount>, ApiError>;

    /// Some rejects of a dataset.
    async fn rows(&self, dataset: &str, which: &Which, shown: Shown) -> Result<Vec<RejectedRow>, ApiError>;

    /// Puts rejects through again.
    async fn replay(&self, dataset: &str, request: ReplayRequest) -> Result<ReplayReport, ApiError>;

    /// How far a dataset's replay is.
    async fn progress(&self, dataset: &str) -> Result<ReplayProgress, ApiError>;

    /// Gives rejects up.
    async fn discard(&self, dataset: &str, request: DiscardRequest) -> Result<DiscardReport, ApiError>;
}
