//! Embeds the console's built pages, where they are built: a list of the files under `console/dist`, each with its bytes.
//!
//! npm is no part of a build: `make console` makes the folder, and without it the list is empty. Invariant: a build without
//! the folder is the same as before.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> io::Result<()> {
    let of = |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let built = of("CARGO_MANIFEST_DIR")?.join("../../console/dist");
    let mut out = io::stdout();
    // A folder that is not there would have this run at every build: who makes it touches this file.
    writeln!(out, "cargo:rerun-if-changed=build.rs")?;
    let mut files = Vec::new();
    if built.join("index.html").is_file() {
        let built = built.canonicalize()?;
        writeln!(out, "cargo:rerun-if-changed={}", built.display())?;
        gather(&built, &built, &mut files)?;
        files.sort();
    }
    let mut list = "&[\n".to_owned();
    for (name, path) in files.iter().filter(|(name, _)| !name.ends_with(".gz")) {
        let packed = files.iter().find(|(other, _)| other.strip_suffix(".gz") == Some(name));
        let packed = packed.map_or("None".to_owned(), |(_, path)| format!("Some(include_bytes!({path:?}))"));
        // Writing to a string cannot fail.
        let _ = writeln!(list, "    Embedded {{ path: {name:?}, plain: include_bytes!({path:?}), gzip: {packed} }},");
    }
    fs::write(of("OUT_DIR")?.join("console.rs"), list + "]\n")
}

/// Every file below a folder: its name there, with `/` between, and its place.
fn gather(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(root, &path, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.push((name.replace('\\', "/"), path));
        }
    }
    Ok(())
}
