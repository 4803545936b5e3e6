//! Rollup models: new rows become partial groups, which merge into leaves, which become files of the table.
//!
//! `shape` says (and `build` finds out) which columns hold a group, its aggregates' state and the output; `partial` makes groups of new rows, by a `statement` where they run on Spark;
//! `leaf` holds the groups of one range of time; `leaves` is the whole table as ranges, `layout` says which holds what and
//! `memory` what of it is in memory, `again` sets groups that are computed anew and `range` finds the files of the input
//! that hold them. Invariant of all of them:
//! however the input is split into increments, the table is what one query over all of it would give.

mod again;
mod build;
mod layout;
mod leaf;
mod leaves;
mod memory;
pub(crate) mod order;
mod partial;
mod range;
mod shape;
mod statement;
mod values;

pub(crate) use again::Groups;
pub use leaves::{HeadLeaf, LeafId, Leaves, LeavesLimits, Sealed, Shown, TimeRange};
pub use partial::RollupPlan;
pub use shape::RollupShape;
pub(crate) use statement::sent;
