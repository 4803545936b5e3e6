//! What is wrong with a configuration, with its place, so that `vitalake validate` can show it beside other files'.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::settings::Setting;
use crate::error::{Class, Classified, Retry};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Line from 1; 0 when it does not come from the file.
    pub line: usize,
    /// Column from 1; 0 when it does not come from the file.
    pub column: usize,
    /// What is wrong, without the value.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl ConfigProblem {
    /// A problem at a place in the file.
    pub fn at(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { line, column, message: message.into(), help: None }
    }

    /// A problem that is not in the file: in the environment, in a flag, or in what they add up to.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self::at(0, 0, message)
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with what a setting has to say of its texts, if anything.
    #[must_use]
    pub(super) fn with_help_of(mut self, setting: &Setting) -> Self {
        self.help = self.help.or(setting.help().map(ToOwned::to_owned));
        self
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: is this folder a project? name one that holds a vitalake.yaml", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file, the environment or the flags say something that cannot be.
    #[error("{} is not valid:{}", path.display(), listed(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        problems: Vec<ConfigProblem>,
    },
}

fn listed(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl Classified for ConfigError {
    fn class(&self) -> Class {
        Class::User
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }
}
