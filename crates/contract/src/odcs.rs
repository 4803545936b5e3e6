//! A contract as it is written: the document with its places, the version of the standard it names, and the standard's
//! own verdict on it.
//!
//! `compile` goes on from here. Invariant: a verdict is the official JSON schema's, in words and places of ours.

use std::fmt;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value as Json;

use crate::diagnostic::{self, Diagnostic};
use crate::verdict;
use crate::yaml::{self, Node, Place};

/// No file is given more findings than this.
pub const DIAGNOSTICS_MAX: usize = 100;

/// A version of the Open Data Contract Standard whose schema is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `v3.0.0`
    V3_0_0,
    /// `v3.0.1`
    V3_0_1,
    /// `v3.0.2`
    V3_0_2,
    /// `v3.1.0`, the one that projects are written in.
    V3_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V3_0_0, Self::V3_0_1, Self::V3_0_2, Self::V3_1_0];

    /// As in `apiVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3_0_0 => "v3.0.0",
            Self::V3_0_1 => "v3.0.1",
            Self::V3_0_2 => "v3.0.2",
            Self::V3_1_0 => "v3.1.0",
        }
    }

    /// The version with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == name)
    }

    fn schema_text(self) -> &'static str {
        match self {
            Self::V3_0_0 => include_str!("../schemas/odcs-json-schema-v3.0.0.json"),
            Self::V3_0_1 => include_str!("../schemas/odcs-json-schema-v3.0.1.json"),
            Self::V3_0_2 => include_str!("../schemas/odcs-json-schema-v3.0.2.json"),
            Self::V3_1_0 => include_str!("../schemas/odcs-json-schema-v3.1.0.json"),
        }
    }

    /// The schema with its validator, made once.
    fn compiled(self) -> Result<&'static (Json, Validator), String> {
        static COMPILED: [OnceLock<Result<(Json, Validator), String>>; 4] =
            [OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new()];
        let [v300, v301, v302, v310] = &COMPILED;
        let cell = match self {
            Self::V3_0_0 => v300,
            Self::V3_0_1 => v301,
            Self::V3_0_2 => v302,
            Self::V3_1_0 => v310,
        };
        cell.get_or_init(|| self.compile()).as_ref().map_err(Clone::clone)
    }

    fn compile(self) -> Result<(Json, Validator), String> {
        let schema: Json = serde_json::from_str(self.schema_text()).map_err(|error| error.to_string())?;
        // Formats are notes to the reader under draft 2019-09, and the reference verdicts treat them so.
        let validator =
            jsonschema::options().should_validate_formats(false).build(&schema).map_err(|error| error.to_string())?;
        Ok((schema, validator))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A contract's document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, as the user named it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What it says.
    pub root: Node,
}

impl Document {
    /// Reads a contract's bytes; its form only, no verdict.
    ///
    /// # Errors
    /// Gives what is wrong with the form.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let (text, root) = yaml::parse_bytes(file, bytes)?;
        Ok(Self { file: file.to_owned(), text, root })
    }

    /// An error at a place of this document.
    #[must_use]
    pub fn error(&self, place: Place, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.at(Diagnostic::error(&self.file, code, message), place)
    }

    /// A warning at a place of this document.
    #[must_use]
    pub fn warning(&self, place: Place, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.at(Diagnostic::warning(&self.file, code, message), place)
    }

    /// The version that the document names.
    ///
    /// # Errors
    /// Gives a diagnostic when that version's schema is not built in. A document that names none is read as v3.1.0,
    /// whose schema then asks for the name.
    pub fn version(&self) -> Result<Version, Box<Diagnostic>> {
        let Some(node) = self.root.get("apiVersion") else {
            return Ok(Version::V3_1_0);
        };
        let Some(name) = node.text() else {
            return Ok(Version::V3_1_0);
        };
        match Version::named(name) {
            Some(version) => Ok(version),
            None if name.starts_with("v2.") => Err(Box::new(
                self.error(node.place, "old-version", format!("version {name} of the standard is not supported"))
                    .help("versions v3.0.0 to v3.1.0 are; set `apiVersion: v3.1.0` and follow its changes"),
            )),
            None => Ok(Version::V3_1_0),
        }
    }

    /// The standard's own verdict under a version: no findings when the document is valid.
    #[must_use]
    pub fn verdict(&self, version: Version) -> Vec<Diagnostic> {
        self.judged(version, &self.root.to_json())
    }

    fn judged(&self, version: Version, instance: &Json) -> Vec<Diagnostic> {
        let mut found = match version.compiled() {
            Ok((schema, validator)) => verdict::explain(self, schema, validator, instance),
            Err(message) => vec![Diagnostic::error(
                &self.file,
                "internal",
                format!("the built-in schema of {version} cannot be used: {message}"),
            )],
        };
        diagnostic::sort(&mut found);
        found.truncate(DIAGNOSTICS_MAX);
        found
    }

    /// The verdict as if the document named v3.1.0.
    #[must_use]
    pub fn verdict_as_v3_1_0(&self) -> Vec<Diagnostic> {
        let mut instance = self.root.to_json();
        if let Some(version) = instance.get_mut("apiVersion") {
            *version = Version::V3_1_0.as_str().into();
        }
        self.judged(Version::V3_1_0, &instance)
    }

    fn at(&self, diagnostic: Diagnostic, place: Place) -> Diagnostic {
        diagnostic.at(&self.text, place.line, place.column, place.length)
    }
}

/// The standard's verdict on a contract under the version that it names.
#[must_use]
pub fn lint(file: &str, text: &str) -> Vec<Diagnostic> {
    lint_bytes(file, text.as_bytes())
}

/// As [`lint`], for bytes that may not be text.
#[must_use]
pub fn lint_bytes(file: &str, bytes: &[u8]) -> Vec<Diagnostic> {
    match Document::parse(file, bytes) {
        Ok(document) => match document.version() {
            Ok(version) => document.verdict(version),
            Err(diagnostic) => vec![*diagnostic],
        },
        Err(found) => found,
    }
}

/// As [`lint`], under a version of the caller's choice.
#[must_use]
pub fn lint_as(version: Version, file: &str, text: &str) -> Vec<Diagnostic> {
    match Document::parse(file, text.as_bytes()) {
        Ok(document) => document.verdict(version),
        Err(found) => found,
    }
}
