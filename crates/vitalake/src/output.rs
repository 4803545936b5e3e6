//! Where words go: standard output for answers, standard error for everything else, colours only where they help.
//!
//! Invariant: no escape code reaches a file, a pipe or a terminal whose user has set `NO_COLOR`.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

/// Standard output, locked. The one place that names it.
#[must_use]
pub fn stdout() -> impl Write {
    io::BufWriter::new(io::stdout().lock())
}

/// Whether standard output is a terminal.
#[must_use]
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal: where progress is drawn.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether the reader of our output went away.
#[must_use]
pub fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Prints a value as indented JSON with a newline.
///
/// # Errors
/// When standard output cannot be written to.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// For standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self { colour: stdout_is_terminal() && wanted() }
    }

    /// For standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self { colour: stderr_is_terminal() && wanted() }
    }

    /// No colour at all.
    #[must_use]
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// Whether escape codes are written.
    #[must_use]
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    /// Red.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Yellow.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// Green.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Bold.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Faint.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
