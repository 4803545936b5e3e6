//! Text to syntax tree: the first step of a query, and where its size is bounded.
//!
//! Only a query comes out of here: SELECT or WITH, possibly behind EXPLAIN PLAN FOR. The limits stand before the parser
//! so that no text, however long or deep, can use up the stack or the memory.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::dialect::{Dialect as SqlDialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::tokens::rewrite;
use crate::error::{Position, QueryError};

/// How large a query's text may be.
#[derive(Debug, Clone, Copy)]
pub struct TextLimits {
    /// Bytes of the text.
    pub sql_bytes_max: usize,
    /// Levels of parentheses and subqueries.
    pub nesting_max: usize,
    /// Operators such as AND, = and +, in all.
    pub operators_max: usize,
    /// Columns of a select list.
    pub columns_max: usize,
    /// Expressions in all, without the values of lists.
    pub expressions_max: usize,
    /// Values of all lists IN (…).
    pub list_values_max: usize,
    /// Expressions in all, with what is named several times counted as often.
    pub written_out_max: u64,
}

impl Default for TextLimits {
    fn default() -> Self {
        Self {
            sql_bytes_max: 1 << 20,
            nesting_max: 48,
            operators_max: 2_000,
            columns_max: 1_000,
            expressions_max: 10_000,
            list_values_max: 50_000,
            written_out_max: 200_000,
        }
    }
}

/// A query that was read.
#[derive(Debug)]
pub struct Parsed {
    /// The tree; placeholders are numbered `$1`, `$2`, … in the order of the text.
    pub query: Query,
    /// Whether the text began with EXPLAIN PLAN FOR.
    pub explain: bool,
    /// How many placeholders there are.
    pub placeholders: usize,
}

/// Reads one query.
///
/// # Errors
/// [`QueryError::Invalid`] with the place of the first problem; [`QueryError::ResourceLimit`] when the text is too large.
pub fn parse(sql: &str, limits: &TextLimits) -> Result<Parsed, QueryError> {
    let dialect = GenericDialect {};
    let mut tokens = tokens(&dialect, sql, limits)?;
    let explain = strip_explain(&mut tokens);
    check_first(&tokens)?;
    let placeholders = number_placeholders(&mut tokens)?;
    let query = parse_tokens(&dialect, rewrite(tokens), limits)?;
    Ok(Parsed { query, explain, placeholders })
}

/// The words of a text in a dialect, whose number and depth are bounded.
///
/// # Errors
/// As [`parse`] before there is a tree.
pub(crate) fn tokens(
    dialect: &dyn SqlDialect,
    sql: &str,
    limits: &TextLimits,
) -> Result<Vec<TokenWithSpan>, QueryError> {
    if sql.len() > limits.sql_bytes_max {
        return Err(QueryError::ResourceLimit(format!(
            "the query's text has {} bytes and the limit is {}; shorten it, or filter by a join",
            sql.len(),
            limits.sql_bytes_max
        )));
    }
    let mut tokens = Tokenizer::new(dialect, sql).tokenize_with_location().map_err(|error| {
        let place = error.location;
        QueryError::invalid_at(
            format!("the text cannot be read at line {}, column {}; check its quotes", place.line, place.column),
            point(place),
        )
    })?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    check_size(&tokens, limits)?;
    Ok(tokens)
}

fn parse_tokens(
    dialect: &GenericDialect,
    tokens: Vec<TokenWithSpan>,
    limits: &TextLimits,
) -> Result<Query, QueryError> {
    let spans = tokens.clone();
    check_select_lists(&spans)?;
    let mut parser =
        Parser::new(dialect).with_recursion_limit(limits.nesting_max * 2).with_tokens_with_locations(tokens);
    let query = parser.parse_query().map_err(|error| syntax_error(&error, &spans))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let (line, column) = (next.span.start.line, next.span.start.column);
        return Err(QueryError::invalid_at(
            format!(
                "Received an unexpected token [{}] (line [{line}], column [{column}]), acceptable options: [<EOF>]; send one query, without a semicolon",
                next.token
            ),
            position(next.span),
        ));
    }
    Ok(*query)
}

/// Refuses what would be too deep or too long a tree, before there is a tree.
pub(crate) fn check_size(tokens: &[TokenWithSpan], limits: &TextLimits) -> Result<(), QueryError> {
    let (mut depth, mut operators) = (0_usize, 0_usize);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            token if is_operator(token) => operators += 1,
            _ => {}
        }
        if depth > limits.nesting_max {
            return Err(QueryError::ResourceLimit(format!(
                "the query is nested deeper than {} levels; take parts out into WITH",
                limits.nesting_max
            )));
        }
        if operators > limits.operators_max {
            return Err(QueryError::ResourceLimit(format!(
                "the query has more than {} operators; use IN (…) for long lists of values",
                limits.operators_max
            )));
        }
    }
    Ok(())
}

/// Whatever can make a tree one level deeper without a parenthesis.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::JOIN
                | Keyword::CASE
                | Keyword::WHEN
                | Keyword::SELECT
        ),
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon
        | Token::Eq
        | Token::DoubleEq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq => true,
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::Placeholder(_)
        | Token::EOF => false,
        _ => true,
    }
}

fn keyword(token: Option<&TokenWithSpan>) -> Option<Keyword> {
    match &token?.token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    }
}

/// Takes EXPLAIN PLAN FOR away from the front.
fn strip_explain(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let is_word = |index: usize, word: &str| match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(found)) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    let explain = is_word(0, "EXPLAIN") && is_word(1, "PLAN") && is_word(2, "FOR");
    if explain {
        tokens.drain(..3);
    }
    explain
}

/// Only a query goes on; everything else is refused by its first word.
fn check_first(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let Some(first) = tokens.first().filter(|token| token.token != Token::EOF) else {
        return Err(QueryError::invalid(
            "Received an unexpected token [<EOF>] (line [0], column [0]), acceptable options: [\"SELECT\", \"WITH\", \"EXPLAIN\"]",
        ));
    };
    match (&first.token, keyword(Some(first))) {
        (Token::LParen, _) | (_, Some(Keyword::SELECT | Keyword::WITH)) => Ok(()),
        (Token::Word(word), Some(found)) if found != Keyword::NoKeyword && word.quote_style.is_none() => {
            Err(QueryError::invalid_at(
                format!(
                    "Unsupported SQL statement [{}]; only SELECT, WITH and EXPLAIN PLAN FOR are answered",
                    word.value.to_ascii_uppercase()
                ),
                None,
            ))
        }
        _ => Err(QueryError::invalid("Non-query expression encountered in illegal context")),
    }
}

/// The parser would take a select list without columns.
fn check_select_lists(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    for pair in tokens.windows(2) {
        if let [select, from] = pair
            && (keyword(Some(select)), keyword(Some(from))) == (Some(Keyword::SELECT), Some(Keyword::FROM))
        {
            let (line, column) = (from.span.start.line, from.span.start.column);
            return Err(QueryError::invalid_at(
                format!("Incorrect syntax near 'FROM' at line {line}, column {column}"),
                position(from.span),
            ));
        }
    }
    Ok(())
}

/// Makes `?` into `$1`, `$2`, …: the tree is not visited in the order of the text.
fn number_placeholders(tokens: &mut [TokenWithSpan]) -> Result<usize, QueryError> {
    let mut count = 0_usize;
    for token in tokens {
        if let Token::Placeholder(name) = &mut token.token {
            if name != "?" {
                return Err(QueryError::invalid_at(
                    format!("parameter '{name}' is not supported; use ?"),
                    position(token.span),
                ));
            }
            count += 1;
            *name = format!("${count}");
        }
    }
    Ok(count)
}

pub(crate) fn syntax_error(error: &ParserError, tokens: &[TokenWithSpan]) -> QueryError {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return QueryError::ResourceLimit("the query is nested too deep; take parts out into WITH".to_owned());
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    // The parser's text ends in "at Line: L, Column: C"; the token there is the client's own.
    let place = text.rsplit_once(" at Line: ").and_then(|(_, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((line.trim().parse::<u64>().ok()?, column.trim().parse::<u64>().ok()?))
    });
    let Some((line, column)) = place else {
        return QueryError::invalid("Incorrect syntax near the end of the query; something is missing");
    };
    let at = tokens.iter().find(|token| token.span.start.line == line && token.span.start.column == column);
    let near = at.map(|token| token.token.to_string()).unwrap_or_default();
    QueryError::invalid_at(
        format!("Incorrect syntax near '{near}' at line {line}, column {column}"),
        at.and_then(|token| position(token.span)),
    )
}

pub(crate) fn point(place: Location) -> Option<Position> {
    position(Span { start: place, end: Location { line: place.line, column: place.column + 1 } })
}

/// A span as Druid counts it: the end is the last character, not one past it.
pub fn position(span: Span) -> Option<Position> {
    (span.start.line > 0).then(|| Position {
        start: (span.start.line, span.start.column),
        end: (span.end.line, span.end.column.saturating_sub(1).max(1)),
    })
}
