//! Where the shared test data lies, if it is there.

use std::path::{Path, PathBuf};

/// A file or folder of the shared data; says so and gives nothing where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VITALAKE_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    println!(
        "skipped: {} is not there (set VITALAKE_SHARED to the folder of shared data)",
        found.display()
    );
    None
}
