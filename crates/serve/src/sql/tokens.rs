//! Forms of Druid's that the parser does not know, put into forms that it knows, before there is a tree.
//!
//! `JSON_VALUE(x, p RETURNING BIGINT)`, `JSON_OBJECT(KEY k VALUE v)`, `POSITION(a IN b FROM c)`, `CAST(x AS BIGINT ARRAY)` and
//! `UNNEST(x)(u)`. Invariant: only tokens within such a call are touched, and places in the text stay what they are.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Rewrites the tokens of a query.
pub fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut rewriter = Rewriter { out: Vec::with_capacity(tokens.len()), tokens: &tokens, calls: Vec::new() };
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        index = rewriter.take(token, index);
    }
    rename_position(rewriter.out)
}

/// The way through the tokens of a query.
struct Rewriter<'a> {
    tokens: &'a [TokenWithSpan],
    out: Vec<TokenWithSpan>,
    /// The function of each open parenthesis.
    calls: Vec<Call>,
}

impl Rewriter<'_> {
    /// Takes a token in and says where the next one is.
    fn take(&mut self, token: &TokenWithSpan, index: usize) -> usize {
        match &token.token {
            Token::LParen => {
                if let Some(next) = self.open(token, index) {
                    return next;
                }
            }
            Token::RParen => {
                self.calls.pop();
            }
            _ => {}
        }
        if let Some(next) = self.within(token, index) {
            return next;
        }
        self.out.push(token.clone());
        index + 1
    }

    /// Opens a parenthesis; where the next token is, if what opens has been taken in already.
    fn open(&mut self, token: &TokenWithSpan, index: usize) -> Option<usize> {
        let kind = self.out.last().map_or(Call::Other, call_of);
        self.calls.push(kind);
        // What follows UNNEST(…) at once is a list of names.
        if matches!(self.out.last().map(|last| &last.token), Some(Token::RParen)) && ends_unnest(&self.out) {
            self.out.push(word("AS", token));
            self.out.push(word("unnested", token));
        }
        let side = self.tokens.get(index + 1).filter(|side| kind == Call::Trim && is_trim_side(side))?;
        self.tokens.get(index + 2).filter(|third| is_word(third, "FROM"))?;
        // TRIM(TRAILING FROM x): spaces are meant.
        self.out.extend([token.clone(), side.clone()]);
        self.put(Token::SingleQuotedString(" ".to_owned()), token);
        Some(index + 2)
    }

    /// What becomes of a token by the call that it stands in; where the next one is, or `None` where it stays.
    fn within(&mut self, token: &TokenWithSpan, index: usize) -> Option<usize> {
        let next = self.tokens.get(index + 1);
        match (*self.calls.last()?, &token.token) {
            (Call::JsonObject, Token::Word(found)) if is(found, "KEY") && starts_argument(&self.out) => {}
            (Call::JsonObject, Token::Word(found)) if is(found, "VALUE") => self.put(Token::Comma, token),
            (Call::JsonObject, Token::Colon) => self.put(Token::Comma, token),
            (Call::JsonValue, Token::Word(found)) if is(found, "RETURNING") => {
                let (name, after) = returned(self.tokens, index + 1);
                self.put(Token::Comma, token);
                self.put(Token::SingleQuotedString(name), token);
                return Some(after);
            }
            // NULL ON ERROR and NULL ON EMPTY are what is done anyway.
            (Call::JsonValue, Token::Word(found))
                if is(found, "NULL") && next.is_some_and(|next| is_word(next, "ON")) =>
            {
                return Some(index + 3);
            }
            (Call::Position, Token::Word(found)) if is(found, "IN") && has_from(self.tokens, index) => {
                self.put(Token::Comma, token);
            }
            (Call::Position, Token::Word(found)) if is(found, "FROM") => self.put(Token::Comma, token),
            (Call::Cast, Token::Word(found)) if is(found, "ARRAY") && ends_type(&self.out, next) => {
                self.put(Token::LBracket, token);
                self.put(Token::RBracket, token);
            }
            _ => return None,
        }
        Some(index + 1)
    }

    /// Puts a token where another stands in the text.
    fn put(&mut self, token: Token, at: &TokenWithSpan) {
        self.out.push(TokenWithSpan { token, span: at.span });
    }
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

fn is_trim_side(token: &TokenWithSpan) -> bool {
    ["BOTH", "LEADING", "TRAILING"].iter().any(|side| is_word(token, side))
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
