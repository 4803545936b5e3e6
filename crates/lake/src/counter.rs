//! What a table's books count, each under a transaction id of its own (`txn`).
//!
//! Invariant: what a counter is called in a log is read back as that counter.

/// What a table's books count beside rows and rejects, over all of its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Rows of its input that its model took in.
    Offered,
    /// Records of delivered files.
    Delivered,
    /// Rows that it had already.
    Duplicates,
    /// Rows that its model left out.
    Filtered,
    /// Rows that joins made beyond one for each of the input.
    Joined,
    /// Rows that deliveries have taken the place of.
    Replaced,
    /// Rows and rejects that were taken back because what they were made of has changed.
    Retracted,
    /// Rejects of deliveries that corrected ones have taken the place of.
    ReplacedRejects,
    /// Rejects that were given up.
    Discarded,
    /// Rejects that were put through again and that it had already.
    ReplayedDuplicates,
    /// Rejects that were put through again and that its model left out.
    ReplayedFiltered,
    /// Rows that joins made of rejects beyond one for each.
    ReplayedJoined,
    /// Rows of erased persons: taken away, or refused as they came.
    Erased,
    /// Rejects of erased persons that were taken away.
    ErasedRejects,
}

impl Counter {
    const ALL: [Self; 14] = [
        Self::Offered,
        Self::Delivered,
        Self::Duplicates,
        Self::Filtered,
        Self::Joined,
        Self::Replaced,
        Self::Retracted,
        Self::ReplacedRejects,
        Self::Discarded,
        Self::ReplayedDuplicates,
        Self::ReplayedFiltered,
        Self::ReplayedJoined,
        Self::Erased,
        Self::ErasedRejects,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Delivered => "delivered",
            Self::Duplicates => "duplicates",
            Self::Filtered => "filtered",
            Self::Joined => "joined",
            Self::Replaced => "replaced",
            Self::Retracted => "retracted",
            Self::ReplacedRejects => "replaced-rejects",
            Self::Discarded => "discarded",
            Self::ReplayedDuplicates => "replayed-duplicates",
            Self::ReplayedFiltered => "replayed-filtered",
            Self::ReplayedJoined => "replayed-joined",
            Self::Erased => "erased",
            Self::ErasedRejects => "erased-rejects",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|counter| counter.as_str() == text)
    }
}
