#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
//! The index on a disk in memory, and the hashes' promises.
use super::*;
