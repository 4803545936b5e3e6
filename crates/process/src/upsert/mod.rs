//! Tables with one row per key, or one per version of a key's row: events in, and the rows that follow from them.
//!
//! `shape` says which columns are what, `ranges` divides keys by their hashes, `events` merges what is new into what a
//! range holds, `visible` derives the rows. All of it is pure. Invariant: the rows of a range are a function of the set of
//! its events, whatever the order and the portions in which these came.

pub(crate) mod events;
pub(crate) mod ranges;
pub(crate) mod shape;
#[cfg(test)]
mod tests;
pub(crate) mod visible;

pub(crate) use events::{Change, Merger, Stamp};
pub(crate) use ranges::{Layout, Range, bits_for};
pub(crate) use shape::{UpsertShape, stored_schema};
