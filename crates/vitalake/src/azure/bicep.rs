//! Text of Bicep: what stands in quotes, and names that it can have.
//!
//! Invariant: no text of a project can end its quotes or be read as an expression.

/// The head of every file that is made.
pub(super) const MADE: &str =
    "// Made by `vitalake azure render`: change the project and make it anew, not this file.\n";

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // `${` begins an expression, wherever it stands; a `$` alone takes no escape.
            '$' if letters.peek() == Some(&'{') => out.push_str("\\$"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

/// A name that a declaration can have: letters and digits of what is named, after a word of ours.
pub(super) fn symbol(kind: &str, name: &str) -> String {
    let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("{kind}_{}", letters.collect::<String>())
}
