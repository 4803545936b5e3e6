//! Spark's dialect for the parser: its escapes in texts, the suffixes of its numbers, and how tightly its operators bind.
//!
//! The first step for a model's text and for a rule in SQL. Invariant: a text's token holds the text that Spark means.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, SparkSqlDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::functions::literals::{SUFFIX, unescaped};
use crate::problem::{ModelProblem, Place};

/// Sums and concatenation bind alike; shifts bind less than they.
const PLUS: u8 = 30;
const SHIFT: u8 = 25;
/// A sign before a value binds tighter than all between two.
const SIGN: u8 = 45;

/// Spark's SQL.
#[derive(Debug)]
pub(crate) struct Spark;

impl Dialect for Spark {
    fn dialect(&self) -> TypeId {
        TypeId::of::<SparkSqlDialect>()
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        SparkSqlDialect.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        SparkSqlDialect.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        SparkSqlDialect.is_identifier_part(character)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_long_type_as_bigint(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn supports_cte_without_as(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::StringConcat => Some(Ok(PLUS)),
            Token::ShiftLeft | Token::ShiftRight => Some(Ok(SHIFT)),
            _ => None,
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let op = match &parser.peek_token_ref().token {
            Token::Tilde => UnaryOperator::BitwiseNot,
            _ => return None,
        };
        parser.next_token();
        Some(parser.parse_subexpr(SIGN).map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    /// `div` takes its right side as `*` does, and no more.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        if !parser.parse_keyword(Keyword::DIV) {
            return None;
        }
        let left = Box::new(left.clone());
        let right = parser.parse_subexpr(precedence);
        let op = BinaryOperator::MyIntegerDivide;
        Some(right.map(|right| Expr::BinaryOp { left, op, right: Box::new(right) }))
    }
}

/// Tokens with Spark's meaning: backquoted names are case-insensitive too, and "x" is a string.
pub(crate) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, ModelProblem> {
    let found = Tokenizer::new(&Spark, text).with_unescape(false).tokenize_with_location();
    let found = found.map_err(|error| {
        let place = Place::new(
            usize::try_from(error.location.line).unwrap_or(1),
            usize::try_from(error.location.column).unwrap_or(1),
        );
        ModelProblem::at(
            place,
            format!("this is not SQL: {}", error.message.to_lowercase()),
            "close what was opened before it",
        )
    })?;
    let mut made: Vec<TokenWithSpan> = Vec::with_capacity(found.len());
    for mut token in found {
        let raw = matches!(made.last().map(|t| &t.token), Some(Token::Word(w))
            if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("r"));
        token.token = match token.token {
            Token::Word(mut word) if word.quote_style.is_some() => {
                word.value = word.value.to_lowercase();
                Token::Word(word)
            }
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) if raw => {
                // The r before it belongs to the text.
                made.pop();
                Token::SingleQuotedString(text)
            }
            Token::SingleQuotedString(text) => Token::SingleQuotedString(unescaped(&text, '\'')),
            Token::DoubleQuotedString(text) => Token::SingleQuotedString(unescaped(&text, '"')),
            other => other,
        };
        if !joined(&mut made, &token) {
            made.push(token);
        }
    }
    Ok(made)
}

/// What belongs to the token before it: the suffix of a number, and a text after a text.
fn joined(made: &mut [TokenWithSpan], token: &TokenWithSpan) -> bool {
    let last = made.iter().rposition(|t| !matches!(t.token, Token::Whitespace(_)));
    let adjacent = last.is_some_and(|at| at + 1 == made.len());
    let Some(before) = last.and_then(|at| made.get_mut(at)) else { return false };
    match (&mut before.token, &token.token) {
        (Token::Number(number, false), Token::Word(word)) if adjacent && is_suffix(&word.value) => {
            number.push(SUFFIX);
            number.push_str(&word.value);
            true
        }
        (Token::SingleQuotedString(first), Token::SingleQuotedString(second)) => {
            first.push_str(second);
            true
        }
        _ => false,
    }
}

fn is_suffix(word: &str) -> bool {
    ["D", "F", "L", "S", "Y", "BD"].iter().any(|suffix| word.eq_ignore_ascii_case(suffix))
}
