//! The pure part of upserts, against a rebuild of the plainest kind.
