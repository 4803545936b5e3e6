//! Erasing a person: from the tables as they stand, from what older versions of them hold, and from what comes later.
//!
//! Done between two lives, when nobody has a table open: `head` takes rows away in commits that models follow as they
//! follow any correction, `past` removes the files of older versions that held them and what logs say of those, and
//! `look` reads everything and says where the person still is. `refuse` is asked for each row that comes. Invariant: what
//! is not the person's stays as it was, in the newest version and in older ones.

mod cells;
mod head;
mod look;
mod past;
mod places;
mod refuse;
mod subject;

pub use cells::{ERASED, Judged, Rows, Who, is_record_of, refused, without};
pub use head::{Erased, HeadErasure, erase_head};
pub use look::{Found, look_in_bytes, look_in_store};
pub use past::{PastErased, erase_past, table_roots};
pub use places::{Places, places_of};
pub use subject::{Subject, SubjectKey, SubjectToken};
