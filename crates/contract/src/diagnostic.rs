//! What is wrong in a user's file, where, and what to do: the one form in which every check of a project reports.
//!
//! Made by the readers of contracts, models and configuration; shown by the command line. Invariant: lines and columns
//! count from 1, and a diagnostic carries the line that it points at, so that showing it reads no file.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing runs until it is mended.
    Error,
    /// Worth a look; nothing stops.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as the user named it.
    pub file: String,
    /// The line, from 1; 0 when the finding is about the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 when the finding is about the file as a whole.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// A short stable name of the kind of finding: `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in lowercase and without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// How many characters of the line it is about.
    #[serde(skip)]
    pub length: usize,
    /// The line that it points at.
    #[serde(skip)]
    pub source_line: Option<String>,
}

/// A line is shown up to so many characters.
const LINE_SHOWN_MAX: usize = 160;

impl Diagnostic {
    /// An error about a file; [`at`](Self::at) says where in it.
    #[must_use]
    pub fn error(file: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            length: 0,
            source_line: None,
        }
    }

    /// A warning about a file; [`at`](Self::at) says where in it.
    #[must_use]
    pub fn warning(file: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, code, message) }
    }

    /// Points at `length` characters of `text`, the file's whole text, from a line and column that count from 1.
    #[must_use]
    pub fn at(mut self, text: &str, line: usize, column: usize, length: usize) -> Self {
        self.line = line;
        self.column = column;
        self.length = length;
        self.source_line = line.checked_sub(1).and_then(|index| text.lines().nth(index)).map(ToOwned::to_owned);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it stops a project from running.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Puts findings in the order in which a reader meets them: by file, line and column, without repetitions.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.line, d.column, d.severity);
        a.file.cmp(&b.file).then_with(|| key(a).cmp(&key(b))).then_with(|| a.message.cmp(&b.message))
    });
    diagnostics.dedup();
}

/// Whether any finding is an error.
#[must_use]
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Shows findings to a person, each with its line and a caret, and a closing count; with ANSI colours when asked.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    for diagnostic in diagnostics {
        render_one(&mut out, diagnostic, &paint);
        out.push('\n');
    }
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let counts: Vec<String> = [counted(errors, "error"), counted(warnings, "warning")].into_iter().flatten().collect();
    if !counts.is_empty() {
        let _ = writeln!(out, "{}", counts.join(", "));
    }
    out
}

fn counted(count: usize, noun: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn render_one(out: &mut String, diagnostic: &Diagnostic, paint: &Paint) {
    let (colour, name) = match diagnostic.severity {
        Severity::Error => ("1;31", "error"),
        Severity::Warning => ("1;33", "warning"),
    };
    let head = paint.with(colour, &format!("{name}[{}]", diagnostic.code));
    let _ = writeln!(out, "{head}: {}", paint.with("1", &printable(&diagnostic.message)));
    let number = if diagnostic.line > 0 { diagnostic.line.to_string() } else { String::new() };
    let margin = " ".repeat(number.len());
    let blue = |text: &str| paint.with("1;34", text);
    let place = if diagnostic.line > 0 {
        format!("{}:{}:{}", diagnostic.file, diagnostic.line, diagnostic.column)
    } else {
        diagnostic.file.clone()
    };
    let _ = writeln!(out, "{margin}{} {}", blue("-->"), printable(&place));
    if let Some(line) = &diagnostic.source_line {
        let (shown, indent, length) = window(line, diagnostic.column, diagnostic.length);
        let _ = writeln!(out, "{margin} {}", blue("|"));
        let _ = writeln!(out, "{} {} {shown}", blue(&number), blue("|"));
        let caret = paint.with(colour, &"^".repeat(length));
        let _ = writeln!(out, "{margin} {} {}{caret}", blue("|"), " ".repeat(indent));
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(out, "{margin} {} {}: {}", blue("="), paint.with("1;36", "help"), printable(help));
    }
}

/// The part of a line to show, the caret's place in it and its length.
fn window(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    let start = column.saturating_sub(1);
    let skipped = if start + 40 > LINE_SHOWN_MAX { start - 40 } else { 0 };
    let shown = printable(&line.chars().skip(skipped).take(LINE_SHOWN_MAX).collect::<String>());
    let indent = start - skipped;
    let room = shown.chars().count().saturating_sub(indent).max(1);
    (shown.trim_end().to_owned(), indent, length.clamp(1, room))
}

/// The text with every control character made harmless: a file must not be able to steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_long_line_is_shown_around_its_caret() {
        let line = format!("{}here", "x".repeat(1000));
        let diagnostic = Diagnostic::error("a.yaml", "code", "wrong").at(&line, 1, 1001, 4);
        let text = render(&[diagnostic], false);
        let shown = text.lines().nth(3).unwrap();
        let caret = text.lines().nth(4).unwrap();
        assert_eq!(shown.find("here"), caret.find("^^^^"));
        assert!(shown.len() < 200);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let diagnostic = Diagnostic::error("a", "code", "\u{1b}[31m").at("\u{1b}[2J", 1, 1, 1);
        assert!(!render(&[diagnostic], false).contains('\u{1b}'));
    }

    #[test]
    fn json_has_the_position_and_not_the_line() {
        let diagnostic = Diagnostic::error("a", "code", "m").at("text", 1, 2, 1).help("h");
        let json = serde_json::to_string(&diagnostic).unwrap();
        assert_eq!(
            json,
            r#"{"file":"a","line":1,"column":2,"severity":"error","code":"code","message":"m","help":"h"}"#
        );
    }
}
