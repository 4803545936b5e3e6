//! A client's text taken apart into statements, each known by its first words.
//!
//! A query stays text: the session reads it. Invariant: what is not named here is refused by its name, and nothing but a
//! query reaches the engine.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::refusal::Refusal;
use crate::sql::parse::TextLimits;

/// A statement and where it stands in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub statement: Statement,
    /// Its text.
    pub sql: String,
    /// How many characters stand before it.
    pub before: usize,
}

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Nothing.
    Empty,
    /// Rows of a query.
    Query,
    /// The beginning of a transaction.
    Begin(&'static str),
    /// Its end.
    Commit,
    /// Its end, with nothing done.
    Rollback,
    /// A point in it, its end, or the way back to it.
    Point(&'static str),
    /// Another value of a setting; none is its default.
    Set(String, Option<Vec<String>>),
    /// What is taken and changes nothing.
    Ignored(&'static str),
    /// A setting's value.
    Show(String),
    /// Defaults of one setting or all.
    Reset(Option<String>),
    /// Everything of the session as at its beginning.
    Discard,
    /// The end of one prepared statement or all.
    Deallocate(Option<String>),
    /// A cursor over a query, and whether it outlives the transaction.
    Declare(String, String, bool),
    /// Rows of a cursor; none is all of them.
    Fetch(String, Option<usize>),
    /// The end of one cursor or all.
    Close(Option<String>),
    /// What is not done here.
    Refused(Refusal),
}

/// Takes a text apart.
///
/// # Errors
/// When it cannot be read, or is too long.
pub fn pieces(sql: &str, limits: &TextLimits) -> Result<Vec<Piece>, Refusal> {
    if sql.len() > limits.sql_bytes_max {
        let message = format!("the text has {} bytes and the limit is {}", sql.len(), limits.sql_bytes_max);
        return Err(Refusal::new("54000", message));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().map_err(|error| {
        let Location { line, column } = error.location;
        Refusal::new("42601", format!("the text cannot be read at line {line}, column {column}; check its quotes"))
    })?;
    let mut pieces = Vec::new();
    let mut tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
    let places = Places::of(sql);
    while !tokens.is_empty() {
        let end = tokens.iter().position(|token| token.token == Token::SemiColon).unwrap_or(tokens.len());
        let rest = tokens.split_off((end + 1).min(tokens.len()));
        tokens.truncate(end);
        if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
            let (from, to) = (places.byte(first.span.start), places.byte(last.span.end));
            let text = sql.get(from..to).unwrap_or_default();
            let before = sql.get(..from).map_or(0, |text| text.chars().count());
            let statement = Words::of(&tokens, text).statement();
            pieces.push(Piece { statement, sql: text.to_owned(), before });
        }
        tokens = rest;
    }
    if pieces.is_empty() {
        pieces.push(Piece { statement: Statement::Empty, sql: String::new(), before: 0 });
    }
    Ok(pieces)
}

/// Bytes of places in a text.
struct Places<'a> {
    sql: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn of(sql: &'a str) -> Self {
        let lines = std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1));
        Self { sql, lines: lines.collect() }
    }

    fn byte(&self, place: Location) -> usize {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(start) = self.lines.get(number(place.line)) else { return self.sql.len() };
        let line = self.sql.get(*start..).unwrap_or_default();
        line.char_indices().nth(number(place.column)).map_or(self.sql.len(), |(at, _)| start + at)
    }
}

/// The words of one statement.
struct Words<'a> {
    tokens: &'a [TokenWithSpan],
    text: &'a str,
}

impl<'a> Words<'a> {
    fn of(tokens: &'a [TokenWithSpan], text: &'a str) -> Self {
        Self { tokens, text }
    }

    /// A word in capitals; nothing for what is quoted or no word.
    fn word(&self, index: usize) -> String {
        match self.tokens.get(index).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// A name or a value, as it counts.
    fn name(&self, index: usize) -> Option<String> {
        Some(match &self.tokens.get(index)?.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
            Token::Word(word) => word.value.clone(),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::Number(digits, _) => digits.clone(),
            _ => return None,
        })
    }

    fn statement(&self) -> Statement {
        let (first, second) = (self.word(0), self.word(1));
        match (first.as_str(), second.as_str()) {
            ("SELECT" | "WITH" | "VALUES" | "EXPLAIN", _) => Statement::Query,
            ("", _) if matches!(self.tokens.first().map(|token| &token.token), Some(Token::LParen)) => Statement::Query,
            ("BEGIN", _) => Statement::Begin("BEGIN"),
            ("START", "TRANSACTION") => Statement::Begin("START TRANSACTION"),
            ("COMMIT" | "END", second) if second != "PREPARED" => Statement::Commit,
            ("ROLLBACK" | "ABORT", second) if second != "PREPARED" => {
                let to = (1..=3).any(|index| self.word(index) == "TO");
                if to { Statement::Point("ROLLBACK") } else { Statement::Rollback }
            }
            ("SAVEPOINT", _) => Statement::Point("SAVEPOINT"),
            ("RELEASE", _) => Statement::Point("RELEASE"),
            ("SET", _) => self.set(),
            ("SHOW", _) => Statement::Show(self.setting(1).0),
            ("RESET", "ALL") => Statement::Reset(None),
            ("RESET", "ROLE") => Statement::Ignored("RESET"),
            ("RESET", "SESSION") if self.word(2) == "AUTHORIZATION" => Statement::Ignored("RESET"),
            ("RESET", _) => Statement::Reset(Some(self.setting(1).0)),
            ("DISCARD", "ALL") => Statement::Discard,
            ("DISCARD", _) => Statement::Ignored("DISCARD"),
            ("DEALLOCATE", _) => {
                let at = if second == "PREPARE" { 2 } else { 1 };
                Statement::Deallocate(if self.word(at) == "ALL" { None } else { self.name(at) })
            }
            ("DECLARE", _) => self.declare(),
            ("FETCH", _) => self.fetch(),
            ("CLOSE", "ALL") => Statement::Close(None),
            ("CLOSE", _) => self.name(1).map_or_else(|| self.unreadable(), |name| Statement::Close(Some(name))),
            ("LISTEN", _) => Statement::Ignored("LISTEN"),
            ("UNLISTEN", _) => Statement::Ignored("UNLISTEN"),
            (word, _) => Statement::Refused(refused(word)),
        }
    }

    fn unreadable(&self) -> Statement {
        let near = self.tokens.last().map(|token| token.token.to_string()).unwrap_or_default();
        Statement::Refused(Refusal::new("42601", format!("Incorrect syntax near '{near}'")))
    }

    /// A setting's name, and how many words it has.
    fn setting(&self, from: usize) -> (String, usize) {
        if self.word(from) == "TIME" && self.word(from + 1) == "ZONE" {
            return ("timezone".to_owned(), 2);
        }
        if self.word(from) == "TRANSACTION" && self.word(from + 1) == "ISOLATION" {
            return ("transaction_isolation".to_owned(), 3);
        }
        let mut name = self.name(from).unwrap_or_default();
        let mut words = 1;
        while self.tokens.get(from + words).is_some_and(|token| token.token == Token::Period) {
            name = format!("{name}.{}", self.name(from + words + 1).unwrap_or_default());
            words += 2;
        }
        (name.to_ascii_lowercase(), words)
    }

    fn set(&self) -> Statement {
        let from =
            if matches!(self.word(1).as_str(), "SESSION" | "LOCAL") && self.word(2) != "AUTHORIZATION" { 2 } else { 1 };
        let value = |index: usize| self.word(index);
        match self.word(from).as_str() {
            "TRANSACTION" | "CHARACTERISTICS" => return Statement::Ignored("SET"),
            "CONSTRAINTS" => return Statement::Ignored("SET CONSTRAINTS"),
            "ROLE" if matches!(value(from + 1).as_str(), "NONE" | "DEFAULT") => return Statement::Ignored("SET"),
            "SESSION" if value(from + 2) == "DEFAULT" => return Statement::Ignored("SET"),
            "ROLE" | "SESSION" => {
                let message = "a session stays with the name that was proved at its beginning; connect as another";
                return Statement::Refused(Refusal::new("42501", message));
            }
            "NAMES" => return Statement::Set("client_encoding".to_owned(), Some(self.values(from + 1))),
            _ => {}
        }
        let (name, words) = self.setting(from);
        let sign = from + words;
        let has_sign =
            matches!(self.tokens.get(sign).map(|token| &token.token), Some(Token::Eq)) || self.word(sign) == "TO";
        let start = if has_sign { sign + 1 } else { sign };
        if name.is_empty() || start >= self.tokens.len() || (!has_sign && name != "timezone") {
            return self.unreadable();
        }
        let is_default = self.word(start) == "DEFAULT" || (name == "timezone" && self.word(start) == "LOCAL");
        Statement::Set(name, if is_default { None } else { Some(self.values(start)) })
    }

    fn values(&self, from: usize) -> Vec<String> {
        let negative =
            |index: usize| index > from && self.tokens.get(index - 1).is_some_and(|token| token.token == Token::Minus);
        (from..self.tokens.len())
            .filter_map(|index| Some((index, self.name(index)?)))
            .map(|(index, value)| if negative(index) { format!("-{value}") } else { value })
            .collect()
    }

    fn declare(&self) -> Statement {
        let (Some(name), Some(cursor)) = (self.name(1), (2..8).find(|index| self.word(*index) == "CURSOR")) else {
            return self.unreadable();
        };
        if (2..cursor).any(|index| self.word(index) == "SCROLL" && self.word(index - 1) != "NO") {
            return Statement::Refused(Refusal::unsupported("a cursor goes forward only: leave SCROLL away"));
        }
        let Some(at) = (cursor + 1..cursor + 5).find(|index| self.word(*index) == "FOR") else {
            return self.unreadable();
        };
        let holds = self.word(cursor + 1) == "WITH";
        let (Some(first), Some(query)) = (self.tokens.first(), self.tokens.get(at + 1)) else {
            return self.unreadable();
        };
        let places = Places::of(self.text);
        let line = query.span.start.line - first.span.start.line + 1;
        let column =
            if line == 1 { query.span.start.column - first.span.start.column + 1 } else { query.span.start.column };
        let sql = self.text.get(places.byte(Location { line, column })..).unwrap_or_default();
        match Words::of(self.tokens.get(at + 1..).unwrap_or_default(), sql).statement() {
            Statement::Query if !self.word(at + 1).eq("EXPLAIN") => Statement::Declare(name, sql.to_owned(), holds),
            Statement::Refused(refusal) => Statement::Refused(refusal),
            _ => Statement::Refused(Refusal::new("42601", "a cursor is over a query: SELECT, WITH or VALUES")),
        }
    }

    fn fetch(&self) -> Statement {
        let mut at = 1;
        let mut count = Some(1);
        let digits = |index: usize| match self.tokens.get(index).map(|token| &token.token) {
            Some(Token::Number(digits, _)) => digits.parse::<usize>().ok(),
            _ => None,
        };
        let is_last = |at: usize| at + 1 == self.tokens.len();
        match self.word(at).as_str() {
            "NEXT" if !is_last(at) => at += 1,
            "FORWARD" if !is_last(at) => at += 1,
            "ALL" if !is_last(at) => (count, at) = (None, at + 1),
            "PRIOR" | "FIRST" | "LAST" | "ABSOLUTE" | "RELATIVE" | "BACKWARD" if !is_last(at) => {
                return Statement::Refused(Refusal::new("55000", "a cursor goes forward only: use FETCH FORWARD"));
            }
            _ => {}
        }
        if let Some(rows) = digits(at) {
            (count, at) = (Some(rows), at + 1);
        } else if self.word(at) == "ALL" && !is_last(at) {
            (count, at) = (None, at + 1);
        }
        if matches!(self.word(at).as_str(), "FROM" | "IN") && !is_last(at) {
            at += 1;
        }
        match self.name(at) {
            Some(name) if is_last(at) => Statement::Fetch(name, count),
            _ => self.unreadable(),
        }
    }
}

fn refused(word: &str) -> Refusal {
    match word {
        "" => Refusal::new("42601", "a statement begins with a word, such as SELECT"),
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "CREATE" | "DROP" | "ALTER" | "GRANT" | "REVOKE"
        | "COMMENT" | "REFRESH" | "REINDEX" | "SECURITY" | "IMPORT" | "REASSIGN" | "CLUSTER" => Refusal::new(
            "25006",
            format!("{word} is not supported: this surface reads; records come in by topics and deliveries"),
        ),
        "COPY" => Refusal::unsupported("COPY is not supported: read with SELECT, load files with `vitalake ingest`"),
        "PREPARE" | "EXECUTE" => {
            Refusal::unsupported(format!("{word} is not supported as SQL: use the parameters of your client's library"))
        }
        "MOVE" => Refusal::unsupported("MOVE is not supported: use FETCH"),
        _ => Refusal::unsupported(format!("{word} is not supported: SELECT, WITH, VALUES and EXPLAIN are answered")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use rstest::rstest;

    fn only(sql: &str) -> Statement {
        let mut found = pieces(sql, &TextLimits::default()).unwrap();
        assert_eq!(found.len(), 1, "{sql}");
        found.remove(0).statement
    }

    #[rstest]
    #[case("select 1", Statement::Query)]
    #[case(" (SELECT 1) ", Statement::Query)]
    #[case("", Statement::Empty)]
    #[case(";-- nothing", Statement::Empty)]
    #[case("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE", Statement::Begin("BEGIN"))]
    #[case("ROLLBACK TO SAVEPOINT a", Statement::Point("ROLLBACK"))]
    #[case("SET search_path TO curated, \"Raw\"", Statement::Set("search_path".into(), Some(vec!["curated".into(), "Raw".into()])))]
    #[case("SET SESSION extra_float_digits = 3", Statement::Set("extra_float_digits".into(), Some(vec!["3".into()])))]
    #[case("SET TIME ZONE 'UTC'", Statement::Set("timezone".into(), Some(vec!["UTC".into()])))]
    #[case("set datafusion.execution.batch_size = 1", Statement::Set("datafusion.execution.batch_size".into(), Some(vec!["1".into()])))]
    #[case("SET x TO DEFAULT", Statement::Set("x".into(), None))]
    #[case("SET SESSION AUTHORIZATION DEFAULT", Statement::Ignored("SET"))]
    #[case("SHOW transaction isolation level", Statement::Show("transaction_isolation".into()))]
    #[case("DISCARD ALL", Statement::Discard)]
    #[case("DEALLOCATE \"A\"", Statement::Deallocate(Some("A".into())))]
    #[case("declare \"C\" cursor with hold for\n select 'ü', 1", Statement::Declare("C".into(), "select 'ü', 1".into(), true))]
    #[case("FETCH c", Statement::Fetch("c".into(), Some(1)))]
    #[case("FETCH NEXT FROM c", Statement::Fetch("c".into(), Some(1)))]
    #[case("fetch 100 in \"C\"", Statement::Fetch("C".into(), Some(100)))]
    #[case("FETCH FORWARD ALL FROM c", Statement::Fetch("c".into(), None))]
    #[case("CLOSE ALL", Statement::Close(None))]
    fn statements_are_known_by_their_words(#[case] sql: &str, #[case] statement: Statement) {
        assert_eq!(only(sql), statement);
    }

    #[rstest]
    #[case("INSERT INTO x VALUES (1)", "25006")]
    #[case("create table x (y int)", "25006")]
    #[case("COPY x TO '/tmp/x'", "0A000")]
    #[case("DECLARE c CURSOR FOR DELETE FROM x", "25006")]
    #[case("DECLARE c CURSOR FOR SET x = 1", "42601")]
    #[case("SET ROLE steward", "42501")]
    #[case("SET SESSION AUTHORIZATION steward", "42501")]
    #[case("SET LOCAL ROLE steward", "42501")]
    #[case("PREPARE p AS SELECT 1", "0A000")]
    #[case("DO $$ BEGIN END $$", "0A000")]
    #[case("FETCH PRIOR FROM c", "55000")]
    #[case("'text'", "42601")]
    fn everything_else_is_refused_by_its_name(#[case] sql: &str, #[case] code: &str) {
        let Statement::Refused(refusal) = only(sql) else { unreachable!("{sql} is let through") };
        assert_eq!(refusal.code, code, "{sql}: {}", refusal.message);
    }

    #[test]
    fn a_text_of_several_is_taken_apart_outside_of_quotes() {
        let found = pieces("SELECT ';', $$;$$; /* ; */ BEGIN ;\n SELECT 2 ;", &TextLimits::default()).unwrap();
        let texts: Vec<&str> = found.iter().map(|piece| piece.sql.as_str()).collect();
        assert_eq!(texts, ["SELECT ';', $$;$$", "BEGIN", "SELECT 2"]);
        assert_eq!(found.last().unwrap().before, 36);
        assert!(pieces("SELECT 'open", &TextLimits::default()).is_err());
    }
}
