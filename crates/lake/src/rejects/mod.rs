//! What is done with rejects beside adding them: which are meant, and how they leave quarantine again.
//!
//! `filter` says which, `through` puts a portion of them through again, `take_back` commits what came of it. Invariant: a
//! reject is in quarantine until a commit of its table has it, or somebody has given it up by name.

mod begun;
mod discards;
mod filter;
mod give_back;
mod scan;
mod take_back;
mod through;
mod walk;

pub(crate) use begun::{Begun, adds, finish, shown, shown_after};
pub use discards::{DISCARD_ACTOR, DISCARD_REASON, DISCARDED, Discarded};
pub use filter::RejectFilter;
pub(crate) use give_back::give_back;
pub(crate) use scan::{BATCH_ROWS, chosen, projected};
pub use take_back::TakeBack;
pub use through::{Again, GiveUp, Portion, PutThrough, Putting, Terms, Tried};
pub use walk::{ReplayProgress, Walk};
