//! The lake: a table is a Delta table and the tail of rows that follows its last commit.
//!
//! Ingest appends to raw tables, models read what is new and append to theirs, queries pin one value over all tables.
//! The lake is where these meet; they do not know each other.

#[cfg(feature = "azure")]
mod azure;
mod books;
pub mod cached;
pub mod candidate;
pub mod catalogue;
mod changes;
mod commit;
pub mod control;
mod correct;
mod counter;
mod deliver;
pub mod delta;
mod displaced;
pub mod encoded;
pub mod epoch;
pub mod erase;
mod error;
mod flush;
mod follow;
pub mod journal;
mod keyed;
pub mod lake;
mod maintain;
mod missing;
mod ownership;
pub mod parquet;
mod past;
mod pinned_version;
pub mod planned;
pub mod postgres;
pub mod provider;
mod publish;
mod reader;
mod reading;
#[cfg_attr(not(any(test, feature = "azure")), expect(dead_code, reason = "a folder refuses otherwise"))]
mod refusal;
mod rejects;
mod said;
mod side;
mod source_check;
mod staged;
pub mod storage;
pub mod store;
pub mod table;
mod tail;
pub mod txn;
mod unopened;
mod windows;
mod withdraw;

pub use books::{Account, Balance, Books, CONSERVATION_RULE, signed};
pub use candidate::Candidate;
pub use catalogue::{Catalogue, Space, TableId, TableView};
pub use changes::Increment;
pub use correct::Correction;
pub use deliver::DeliveredFiles;
pub use delta::{DataFile, FilePath};
pub use epoch::Seal;
pub use error::LakeError;
pub use follow::{Ahead, Newer, Uncovered};
pub use journal::Journal;
pub use keyed::{StateChange, StateFiles, StateTable};
pub use lake::{Lake, LakeOptions, TableSpec};
pub use maintain::Maintained;
pub use pinned_version::{PinnedVersion, moments_of};
pub use reader::ChangeReader;
pub use rejects::{
    Again, DISCARD_ACTOR, DISCARD_REASON, DISCARDED, Discarded, GiveUp, Portion, PutThrough, Putting, RejectFilter,
    ReplayProgress, TakeBack, Terms, Tried, Walk,
};
pub use source_check::SourceCheck;
pub use staged::BEGUN_AFTER_GAP;
pub use table::{Overlay, Table};
pub use txn::{Counter, TxnId, TxnKind};
pub use unopened::Unopened;
