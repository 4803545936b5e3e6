//! A statement without what stood in it as values: its shape, and the values as keyed tokens.
//!
//! Of the words of a text only those stay that the platform itself has: keywords, functions, and names of datasets and
//! columns. All else may be a value, such as an id whose quotes were forgotten. Invariant: a text that cannot be read
//! leaves nothing but that.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use sha2::{Digest as _, Sha256};
use vitalake_ops::audit::{Statement, Tokens};
use vitalake_runtime::hex;

/// Characters of a shape.
const SHAPE_CHARACTERS_MAX: usize = 2_000;
/// Values of one statement that are kept.
const LITERALS_MAX: usize = 10_000;
/// Characters of a fingerprint.
const FINGERPRINT_CHARACTERS: usize = 16;
/// Bytes of a text that is read.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// The words that may stay: in lower case.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary(Arc<HashSet<String>>);

impl Vocabulary {
    /// Names of datasets and columns.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(names.into_iter().map(|name| name.to_lowercase()).collect()))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.contains(&word.to_lowercase())
    }
}

/// What is kept of a statement and the values of its placeholders.
pub fn written(
    tokens: &Tokens,
    vocabulary: &Vocabulary,
    is_function: impl Fn(&str) -> bool,
    sql: &str,
    parameters: &[Expr],
) -> Statement {
    let mut shape = Shape::default();
    let read = if sql.len() > TEXT_BYTES_MAX { None } else { Tokenizer::new(&GenericDialect {}, sql).tokenize().ok() };
    match read {
        None => shape.push("a text that cannot be read"),
        Some(found) => {
            for token in found {
                shape.take(&token, |word| vocabulary.has(word) || is_function(word));
            }
        }
    }
    for parameter in parameters {
        shape.parameter(parameter);
    }
    shape.finish(tokens)
}

#[derive(Default)]
struct Shape {
    words: Vec<String>,
    literals: BTreeSet<String>,
    left_out: u64,
}

impl Shape {
    fn push(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    fn value(&mut self, text: &str) {
        // A list of values is one, so that a shape does not grow with it.
        let is_list = self.words.len() >= 2 && self.words.ends_with(&["?".to_owned(), ",".to_owned()]);
        if is_list {
            self.words.pop();
        } else {
            self.push("?");
        }
        self.literal(text);
    }

    fn literal(&mut self, text: &str) {
        if self.literals.len() < LITERALS_MAX {
            self.literals.insert(text.to_owned());
        } else if !self.literals.contains(text) {
            self.left_out += 1;
        }
    }

    fn take(&mut self, token: &Token, is_known: impl Fn(&str) -> bool) {
        match token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::Word(word) if is_known(&word.value) => self.push(&word.value.to_lowercase()),
            Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => {
                self.push(&word.value.to_uppercase());
            }
            Token::Word(word) => self.value(&word.value),
            Token::Number(digits, _) => self.value(digits),
            Token::SingleQuotedString(text)
            | Token::DoubleQuotedString(text)
            | Token::NationalStringLiteral(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text)
            | Token::HexStringLiteral(text) => self.value(text),
            Token::Placeholder(_) => self.push("?"),
            other => {
                let text = other.to_string();
                if text.chars().all(|character| character.is_ascii_punctuation()) {
                    self.push(&text);
                } else {
                    self.value(&text);
                }
            }
        }
    }

    fn parameter(&mut self, parameter: &Expr) {
        let text = match parameter {
            Expr::Value(value) => value.value.clone().into_string().unwrap_or_else(|| parameter.to_string()),
            other => other.to_string(),
        };
        self.literal(&text);
    }

    fn finish(self, tokens: &Tokens) -> Statement {
        let whole = self.words.join(" ");
        let digits = hex::encode(Sha256::digest(whole.as_bytes()));
        let literals: BTreeSet<String> = self.literals.iter().map(|text| tokens.of(text)).collect();
        Statement {
            fingerprint: digits.chars().take(FINGERPRINT_CHARACTERS).collect(),
            shape: whole.chars().take(SHAPE_CHARACTERS_MAX).collect(),
            literals: literals.into_iter().collect(),
            literals_left_out: self.left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(sql: &str) -> Statement {
        let vocabulary = Vocabulary::new(["raw", "patients", "patient_id", "hr"].map(ToOwned::to_owned));
        written(&Tokens::new(b"key"), &vocabulary, |word| word.eq_ignore_ascii_case("lower"), sql, &[])
    }

    #[rstest]
    #[case(
        "SELECT hr FROM raw.patients WHERE patient_id = 'P-17'",
        "SELECT hr FROM raw . patients WHERE patient_id = ?"
    )]
    #[case(
        "select HR from raw.patients where patient_id in ('P-17', 'x', 3)",
        "SELECT hr FROM raw . patients WHERE patient_id IN ( ? )"
    )]
    #[case("SELECT 1 /* P-17 */ -- P-17", "SELECT ?")]
    #[case("SELECT hr AS \"P-17\" FROM raw.patients", "SELECT hr AS ? FROM raw . patients")]
    #[case(
        "SELECT Jane FROM raw.patients WHERE lower(patient_id) = P17",
        "SELECT ? FROM raw . patients WHERE lower ( patient_id ) = ?"
    )]
    #[case("SELECT $$P-17$$, E'P-17', X'17', N'P-17'", "SELECT ?")]
    #[case("SELECT 'P-17", "a text that cannot be read")]
    fn only_words_that_the_platform_has_stay(#[case] sql: &str, #[case] shape: &str) {
        let statement = of(sql);
        assert_eq!(statement.shape, shape);
        for value in ["P-17", "17", "Jane"] {
            assert!(!statement.shape.contains(value) && !statement.literals.iter().any(|literal| literal == value));
        }
    }

    #[test]
    fn a_value_is_found_again_however_it_is_written() {
        let token = Tokens::new(b"key").of("P-17");
        for sql in [
            "SELECT 'P-17'",
            "SELECT hr FROM raw.patients WHERE patient_id IN ('a', 'P-17')",
            "SELECT E'P-17'",
            "SELECT \"P-17\"",
        ] {
            assert!(of(sql).literals.contains(&token), "{sql}");
        }
        assert!(of("SELECT 4711").literals.contains(&Tokens::new(b"key").of("4711")));
        let parameter = Expr::value(datafusion::sql::sqlparser::ast::Value::SingleQuotedString("P-17".to_owned()));
        let bound = written(&Tokens::new(b"key"), &Vocabulary::default(), |_| false, "SELECT ?", &[parameter]);
        assert_eq!((bound.shape.as_str(), bound.literals), ("SELECT ?", vec![token]));
    }
}
