//! Feeds against what only this build and the configuration know. The folder, the store and the database are not asked.
//!
//! Part of `validate`. Invariant: a finding points into the feed's file, and repeats nothing of a URL that may be secret.

use std::path::Path;

use vitalake_contract::feed::FeedSource;
use vitalake_contract::project::feeds::FeedFile;
use vitalake_contract::{Diagnostic, Project};
use vitalake_lake::storage::{StorageError, StorageUrl};

/// Adds what is wrong with a project's feeds.
pub(super) fn check_feeds(project: &Project, found: &mut Vec<Diagnostic>) {
    found.extend(project.feeds.iter().filter_map(unusable));
}

/// A store that this build cannot read, or whose URL may hold a secret.
fn unusable(file: &FeedFile) -> Option<Diagnostic> {
    let FeedSource::Store(files) = &file.feed.source else { return None };
    let reason = match StorageUrl::parse(Some(&files.place), Path::new("")) {
        Ok(_) => return None,
        Err(StorageError::Wrong { reason, .. }) => reason,
        Err(error) => error.to_string(),
    };
    // The line itself may show a secret.
    let finding = file.error_at("source.url", "bad-source", format!("the feed's store: {reason}"));
    Some(Diagnostic { source_line: None, ..finding })
}
