//! The tables of the control store, and how each version of them comes from the one before.
//!
//! Invariant: a migration that was released is never changed; what is new is one more at the end.

/// Where the version stands.
pub(super) const VERSION_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS control_version (only_row BIGINT PRIMARY KEY, version BIGINT NOT NULL)";
/// The version, if one stands there.
pub(super) const VERSION: &str = "SELECT version FROM control_version WHERE only_row = 1";
/// Writes the version down.
pub(super) const SET_VERSION: &str = "INSERT INTO control_version (only_row, version) VALUES (1, $1) \
     ON CONFLICT (only_row) DO UPDATE SET version = excluded.version RETURNING version";

/// What each version adds to the one before. Times are microseconds since 1970 of our clock, never the database's.
const MIGRATIONS: &[&[&str]] = &[&[
    "CREATE TABLE lease (
        project TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, epoch BIGINT NOT NULL, until_us BIGINT NOT NULL,
        PRIMARY KEY (project, name))",
    "CREATE TABLE feed_state (
        project TEXT NOT NULL, feed TEXT NOT NULL, epoch BIGINT NOT NULL, state TEXT NOT NULL, changed_us BIGINT NOT NULL,
        PRIMARY KEY (project, feed))",
    "CREATE TABLE feed_taken (
        project TEXT NOT NULL, feed TEXT NOT NULL, name TEXT NOT NULL, mark TEXT NOT NULL, taken_us BIGINT NOT NULL,
        PRIMARY KEY (project, feed, name))",
    "CREATE TABLE delivery_in_flight (
        project TEXT NOT NULL, feed TEXT NOT NULL, name TEXT NOT NULL, epoch BIGINT NOT NULL, since_us BIGINT NOT NULL,
        PRIMARY KEY (project, feed, name))",
]];

/// The newest version.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// What a database of this version has not had.
pub(super) fn since(version: i64) -> &'static [&'static [&'static str]] {
    usize::try_from(version).ok().and_then(|had| MIGRATIONS.get(had..)).unwrap_or_default()
}
