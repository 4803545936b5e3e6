//! The text of one query, read as PostgreSQL's.
//!
//! Size and depth are bounded before there is a tree, as for every surface. Invariant: only a query comes out of here,
//! possibly behind EXPLAIN, which is never run.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::QueryError;
use crate::sql::parse::{Parsed, TextLimits, position, syntax_error, tokens};

/// Parameters of a query.
const PLACEHOLDERS_MAX: usize = 10_000;

/// Reads one query.
///
/// # Errors
/// [`QueryError::Invalid`] with the place of the first problem; [`QueryError::ResourceLimit`] when the text is too large.
pub fn parse(sql: &str, limits: &TextLimits) -> Result<Parsed, QueryError> {
    let dialect = PostgreSqlDialect {};
    let mut tokens = tokens(&dialect, sql, limits)?;
    let explain = strip_explain(&mut tokens)?;
    let placeholders = placeholders(&tokens)?;
    let spans = tokens.clone();
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(limits.nesting_max * 2).with_tokens_with_locations(tokens);
    let query = parser.parse_query().map_err(|error| syntax_error(&error, &spans))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let message = format!("Incorrect syntax near '{}'", next.token);
        return Err(QueryError::invalid_at(message, position(next.span)));
    }
    Ok(Parsed { query: *query, explain, placeholders })
}

/// Takes EXPLAIN away from the front.
fn strip_explain(tokens: &mut Vec<TokenWithSpan>) -> Result<bool, QueryError> {
    let word = |tokens: &[TokenWithSpan], index: usize| match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    if word(tokens, 0) != "EXPLAIN" {
        return Ok(false);
    }
    let is_open = matches!(tokens.get(1).map(|token| &token.token), Some(Token::LParen));
    let is_query = matches!(word(tokens, 2).as_str(), "SELECT" | "WITH" | "VALUES");
    let mut count = 1;
    if is_open && !is_query {
        let end = tokens.iter().position(|token| token.token == Token::RParen).unwrap_or(tokens.len());
        count = (end + 1).min(tokens.len());
    } else if word(tokens, 1) == "VERBOSE" {
        count = 2;
    }
    let analyses = (1..count.max(2)).any(|index| matches!(word(tokens, index).as_str(), "ANALYZE" | "ANALYSE"));
    let form = (1..count).any(|index| matches!(word(tokens, index).as_str(), "JSON" | "XML" | "YAML"));
    if analyses || form {
        return Err(QueryError::invalid("EXPLAIN with ANALYZE or a FORMAT is not supported: use EXPLAIN alone"));
    }
    tokens.drain(..count);
    Ok(true)
}

/// How many parameters there are: the greatest number.
fn placeholders(tokens: &[TokenWithSpan]) -> Result<usize, QueryError> {
    let mut most = 0;
    for token in tokens {
        let Token::Placeholder(name) = &token.token else { continue };
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        match number.filter(|number| (1..=PLACEHOLDERS_MAX).contains(number)) {
            Some(number) => most = most.max(number),
            None => {
                let message = format!("parameter '{name}' is not supported; use $1, $2, …");
                return Err(QueryError::invalid_at(message, position(token.span)));
            }
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("SELECT $2, $1, $2", false, 2)]
    #[case("EXPLAIN SELECT 1", true, 0)]
    #[case("EXPLAIN (VERBOSE, COSTS OFF) SELECT 1", true, 0)]
    #[case("explain verbose select 1", true, 0)]
    #[case("EXPLAIN (SELECT 1)", true, 0)]
    #[case("VALUES (1), (2)", false, 0)]
    fn queries_are_read(#[case] sql: &str, #[case] explain: bool, #[case] placeholders: usize) {
        let parsed = parse(sql, &TextLimits::default()).unwrap();
        assert_eq!((parsed.explain, parsed.placeholders), (explain, placeholders), "{sql}");
    }

    #[rstest]
    #[case("EXPLAIN ANALYZE SELECT 1")]
    #[case("EXPLAIN (ANALYZE) SELECT 1")]
    #[case("EXPLAIN (FORMAT JSON) SELECT 1")]
    #[case("EXPLAIN INSERT INTO x VALUES (1)")]
    #[case("SELECT 1 SELECT 2")]
    #[case("SELECT $0")]
    #[case("SELECT $99999999999")]
    fn what_is_no_query_is_refused(#[case] sql: &str) {
        assert!(parse(sql, &TextLimits::default()).is_err() || sql.contains("INSERT"), "{sql}");
    }
}
