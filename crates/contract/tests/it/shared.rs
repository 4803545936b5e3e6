//! Where the shared test data lies, if it is there.

use std::path::{Path, PathBuf};

/// A file or folder of the shared data; says so and gives nothing where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VITALAKE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    println!("skipped: {} is not there (set VITALAKE_SHARED to the folder of shared data)", found.display());
    None
}

/// A contract of two columns, with a place for more of each kind.
pub fn contract(top: &str, properties: &str, object: &str) -> String {
    format!(
        "apiVersion: v3.1.0
kind: DataContract
id: 4b0d3a3e-2a50-4c5e-9a6e-0b2f6d9d4e11
name: readings
version: 1.0.0
status: active
{top}
schema:
  - name: readings
    properties:
      - name: device
        logicalType: string
        required: true
{properties}
{object}
"
    )
}
