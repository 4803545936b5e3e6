//! ECMA 262 patterns, which the standard prescribes, as the `regex` crate reads them.
//!
//! The two differ in what `\d`, `\w` and `\b` mean beyond ASCII. Look-around and back-references are refused: the crate
//! has neither, and so takes linear time on any value.

use regex::Regex;

/// Compiles a pattern.
///
/// # Errors
/// Says what is not understood.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern);
    Regex::new(&translated).map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        if text.contains("look-around") {
            "look-ahead and look-behind are not supported".to_owned()
        } else if text.contains("backreferences") {
            "back-references are not supported".to_owned()
        } else {
            reason
        }
    })
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut characters = pattern.chars();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match (characters.next(), in_class) {
                (Some('d'), true) => out.push_str("0-9"),
                (Some('d'), false) => out.push_str("[0-9]"),
                (Some('D'), _) => out.push_str("[^0-9]"),
                (Some('w'), true) => out.push_str("A-Za-z0-9_"),
                (Some('w'), false) => out.push_str("[A-Za-z0-9_]"),
                (Some('W'), _) => out.push_str("[^A-Za-z0-9_]"),
                (Some('b'), true) => out.push_str("\\x08"),
                (Some('b'), false) => out.push_str("(?-u:\\b)"),
                (Some(other), _) => out.extend(['\\', other]),
                (None, _) => out.push('\\'),
            },
            '[' if in_class => out.push_str("\\["),
            '&' | '~' if in_class => out.extend(['\\', character]),
            '[' => {
                in_class = true;
                out.push('[');
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r"^\d+$", "12", true)]
    #[case(r"^\d+$", "\u{0664}", false)]
    #[case(r"^[\w-]+$", "a-b", true)]
    #[case(r"^\w+$", "\u{e4}", false)]
    #[case("[[]", "[", true)]
    #[case("b", "abc", true)]
    #[case(r"^(?:ROLE|\/x)$", "/x", true)]
    #[case(r"^[^\d]$", "x", true)]
    #[case("^[a&&b]$", "&", true)]
    fn ecma(#[case] pattern: &str, #[case] value: &str, #[case] fits: bool) {
        assert_eq!(compile(pattern).unwrap().is_match(value), fits);
    }

    #[rstest]
    #[case("(?=a)", "look-ahead and look-behind are not supported")]
    #[case(r"(a)\1", "back-references are not supported")]
    #[case("(a", "unclosed group")]
    fn refused(#[case] pattern: &str, #[case] reason: &str) {
        assert_eq!(compile(pattern).unwrap_err(), reason);
    }
}
