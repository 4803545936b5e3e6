//! Forms of Druid's that the parser does not know, put into forms that it knows, before there is a tree.
//!
//! `JSON_VALUE(x, p RETURNING BIGINT)`, `JSON_OBJECT(KEY k VALUE v)`, `POSITION(a IN b FROM c)`, `CAST(x AS BIGINT ARRAY)` and
//! `UNNEST(x)(u)`. Invariant: only tokens within such a call are touched, and places in the text stay what they are.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Rewrites the tokens of a query.
pub fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // The function of each open parenthesis.
    let mut calls: Vec<Call> = vec![];
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let next = tokens.get(index + 1);
        match &token.token {
            Token::LParen => {
                let kind = out.last().map_or(Call::Other, call_of);
                // What follows UNNEST(…) at once is a list of names.
                if matches!(out.last().map(|last| &last.token), Some(Token::RParen)) && ends_unnest(&out) {
                    out.push(word("AS", token));
                    out.push(word("unnested", token));
                }
                if kind == Call::Trim
                    && is_trim_side(next)
                    && tokens.get(index + 2).is_some_and(|third| is_word(third, "FROM"))
                {
                    // TRIM(TRAILING FROM x): spaces are meant.
                    out.push(token.clone());
                    out.push(tokens.get(index + 1).cloned().unwrap_or_else(|| token.clone()));
                    out.push(TokenWithSpan { token: Token::SingleQuotedString(" ".to_owned()), span: token.span });
                    calls.push(kind);
                    index += 2;
                    continue;
                }
                calls.push(kind);
            }
            Token::RParen => {
                calls.pop();
            }
            _ => {}
        }
        match (calls.last(), &token.token) {
            (Some(Call::JsonObject), Token::Word(found)) if is(found, "KEY") && starts_argument(&out) => {
                index += 1;
                continue;
            }
            (Some(Call::JsonObject), Token::Word(found)) if is(found, "VALUE") => {
                out.push(TokenWithSpan { token: Token::Comma, span: token.span });
                index += 1;
                continue;
            }
            (Some(Call::JsonObject), Token::Colon) => {
                out.push(TokenWithSpan { token: Token::Comma, span: token.span });
                index += 1;
                continue;
            }
            (Some(Call::JsonValue), Token::Word(found)) if is(found, "RETURNING") => {
                let (name, after) = returned(&tokens, index + 1);
                out.push(TokenWithSpan { token: Token::Comma, span: token.span });
                out.push(TokenWithSpan { token: Token::SingleQuotedString(name), span: token.span });
                index = after;
                continue;
            }
            (Some(Call::JsonValue), Token::Word(found))
                if is(found, "NULL") && next.is_some_and(|next| is_word(next, "ON")) =>
            {
                // NULL ON ERROR and NULL ON EMPTY are what is done anyway.
                index += 3;
                continue;
            }
            (Some(Call::Position), Token::Word(found)) if is(found, "IN") && has_from(&tokens, index) => {
                out.push(TokenWithSpan { token: Token::Comma, span: token.span });
                index += 1;
                continue;
            }
            (Some(Call::Position), Token::Word(found)) if is(found, "FROM") => {
                out.push(TokenWithSpan { token: Token::Comma, span: token.span });
                index += 1;
                continue;
            }
            (Some(Call::Cast), Token::Word(found)) if is(found, "ARRAY") && ends_type(&out, next) => {
                out.push(TokenWithSpan { token: Token::LBracket, span: token.span });
                out.push(TokenWithSpan { token: Token::RBracket, span: token.span });
                index += 1;
                continue;
            }
            _ => {}
        }
        out.push(token.clone());
        index += 1;
    }
    rename_position(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    JsonObject,
    JsonValue,
    Position,
    Cast,
    Trim,
    Other,
}

fn call_of(token: &TokenWithSpan) -> Call {
    let Token::Word(found) = &token.token else { return Call::Other };
    [
        ("JSON_OBJECT", Call::JsonObject),
        ("JSON_VALUE", Call::JsonValue),
        ("POSITION", Call::Position),
        ("CAST", Call::Cast),
        ("TRIM", Call::Trim),
    ]
    .into_iter()
    .find(|(name, _)| is(found, name))
    .map_or(Call::Other, |(_, call)| call)
}

fn is(found: &Word, name: &str) -> bool {
    found.quote_style.is_none() && found.value.eq_ignore_ascii_case(name)
}

fn is_word(token: &TokenWithSpan, name: &str) -> bool {
    matches!(&token.token, Token::Word(found) if is(found, name))
}

fn is_trim_side(token: Option<&TokenWithSpan>) -> bool {
    token.is_some_and(|token| ["BOTH", "LEADING", "TRAILING"].iter().any(|side| is_word(token, side)))
}

fn word(text: &str, at: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan { token: Token::make_word(text, None), span: at.span }
}

fn starts_argument(out: &[TokenWithSpan]) -> bool {
    matches!(out.last().map(|last| &last.token), Some(Token::LParen | Token::Comma))
}

/// `BIGINT ARRAY` at the end of a cast.
fn ends_type(out: &[TokenWithSpan], next: Option<&TokenWithSpan>) -> bool {
    matches!(next.map(|next| &next.token), Some(Token::RParen))
        && matches!(out.last().map(|last| &last.token), Some(Token::Word(_)))
        && !out.last().is_some_and(|last| is_word(last, "AS"))
}

/// The type after RETURNING, and where it ends.
fn returned(tokens: &[TokenWithSpan], from: usize) -> (String, usize) {
    let mut name = String::new();
    let mut index = from;
    while let Some(token) = tokens.get(index) {
        match &token.token {
            Token::Word(found) if !is(found, "NULL") && !is(found, "ERROR") => {
                if !name.is_empty() {
                    name.push(' ');
                }
                name.push_str(&found.value.to_ascii_uppercase());
            }
            _ => break,
        }
        index += 1;
    }
    (name, index)
}

/// Whether the open call of POSITION has a FROM.
fn has_from(tokens: &[TokenWithSpan], from: usize) -> bool {
    let mut depth = 0_usize;
    for token in tokens.iter().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return false,
            Token::RParen => depth -= 1,
            Token::Word(found) if depth == 0 && is(found, "FROM") => return true,
            _ => {}
        }
    }
    false
}

/// POSITION with commas is a plain function under another name: the parser wants IN after POSITION(.
fn rename_position(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut renamed = vec![];
    for (index, token) in tokens.iter().enumerate() {
        if is_word(token, "POSITION") && matches!(tokens.get(index + 1).map(|next| &next.token), Some(Token::LParen)) {
            let mut depth = 0_usize;
            for token in tokens.iter().skip(index + 2) {
                match &token.token {
                    Token::LParen => depth += 1,
                    Token::RParen if depth == 0 => break,
                    Token::RParen => depth -= 1,
                    Token::Comma if depth == 0 => {
                        renamed.push(index);
                        break;
                    }
                    _ => {}
                }
            }
        }
    }
    for index in renamed {
        if let Some(token) = tokens.get_mut(index) {
            token.token = Token::make_word("position", Some('"'));
        }
    }
    tokens
}

/// Whether the last closed parenthesis is that of UNNEST.
fn ends_unnest(out: &[TokenWithSpan]) -> bool {
    let mut depth = 0_usize;
    for (index, token) in out.iter().enumerate().rev() {
        match &token.token {
            Token::RParen => depth += 1,
            Token::LParen => {
                depth -= 1;
                if depth == 0 {
                    return index
                        .checked_sub(1)
                        .and_then(|before| out.get(before))
                        .is_some_and(|name| is_word(name, "UNNEST"));
                }
            }
            _ => {}
        }
    }
    false
}
