//! The SQL of `quality`: placeholders, the one shape of query that is a rule on a row, and what gives another result each
//! time.
//!
//! Text only, read as Spark reads it; whoever has an engine plans and runs it. Invariant: in a query that leaves here
//! `{object}` is the only placeholder, and stands for the dataset.

use crate::rule::Measure;

/// A piece of a query's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword without quotes, or a number.
    Word,
    /// Text in single or double quotes.
    Text,
    /// A name in backticks.
    Name,
    /// `{name}` or `${name}`, with or without quotes around it.
    Placeholder,
    /// A comment.
    Comment,
    /// Any other character but white space.
    Symbol,
}

/// A piece with its text and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    at: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text.eq_ignore_ascii_case(word)
    }

    /// The name that it is, without its backticks.
    pub(super) fn name(&self) -> Option<&str> {
        match self.kind {
            Kind::Word => Some(self.text),
            Kind::Name => Some(self.text.trim_matches('`')),
            _ => None,
        }
    }

    /// The word within the braces of a placeholder.
    pub(super) fn placeholder(&self) -> Option<&str> {
        let inner = self.text.trim_matches(['`', '"', '$', '{', '}']);
        (self.kind == Kind::Placeholder).then_some(inner)
    }
}

/// The pieces of a query.
///
/// # Errors
/// When a quote or a comment is not closed.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = sql.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or(' ');
        let (kind, length) = match first {
            '\'' => (Kind::Text, quoted_length(rest, '\'')?),
            '"' | '`' => {
                let length = quoted_length(rest, first)?;
                let inner = rest.get(1..length - 1).unwrap_or_default();
                let kind = if first == '`' { Kind::Name } else { Kind::Text };
                (if placeholder_length(inner) == Some(inner.len()) { Kind::Placeholder } else { kind }, length)
            }
            '-' if rest.starts_with("--") => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => {
                let end = rest.find("*/").ok_or("a comment is not closed")?;
                (Kind::Comment, end + 2)
            }
            '$' | '{' if placeholder_length(rest).is_some() => {
                (Kind::Placeholder, placeholder_length(rest).unwrap_or(1))
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                (Kind::Word, end)
            }
            c => (Kind::Symbol, c.len_utf8()),
        };
        if !first.is_whitespace() {
            found.push(Token { kind, text: rest.get(..length).unwrap_or_default(), at });
        }
        at += length;
    }
    Ok(found)
}

/// How long a quoted text is with its quotes; a quote within is doubled, or in a text behind a backslash.
fn quoted_length(text: &str, quote: char) -> Result<usize, &'static str> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && quote != '`' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_none_or(|(_, next)| *next != quote) {
                return Ok(at + 1);
            }
            characters.next();
        }
    }
    Err("a quote is not closed")
}

/// The length of the placeholder that a text begins with.
fn placeholder_length(text: &str) -> Option<usize> {
    let brace = usize::from(text.starts_with('$'));
    let inner = text.get(brace..)?.strip_prefix('{')?;
    let end = inner.find('}')?;
    let name = inner.get(..end)?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (begins && plain).then_some(brace + end + 2)
}

/// Names of the placeholder that stands for the dataset.
pub(super) const OBJECT: [&str; 4] = ["object", "table", "model", "schema"];
/// Names of the placeholder that stands for the column under which a rule is written.
pub(super) const PROPERTY: [&str; 3] = ["property", "column", "field"];

/// A query with its placeholders replaced, and the dataset's own name by `{object}`.
///
/// # Errors
/// Gives the placeholder that means nothing, or means a column where there is none.
pub(super) fn filled(sql: &str, dataset: (&str, &str), column: Option<&str>) -> Result<String, String> {
    let tokens = tokens(sql).map_err(ToOwned::to_owned)?;
    let mut out = String::with_capacity(sql.len());
    let mut end = 0;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        out.push_str(sql.get(end..token.at).unwrap_or_default());
        end = token.at + token.text.len();
        let own = own_name(&tokens, index, dataset);
        match token.placeholder() {
            Some(name) if OBJECT.contains(&name) => out.push_str("{object}"),
            Some(name) if PROPERTY.contains(&name) => out.push_str(column.ok_or(name)?),
            Some(name) => return Err(name.to_owned()),
            None if token.kind == Kind::Name && token.text.contains('{') => {
                return Err(token.text.trim_matches('`').to_owned());
            }
            None if own > 0 => {
                out.push_str("{object}");
                index += own - 1;
                end = tokens.get(index).map_or(end, |last| last.at + last.text.len());
            }
            None => out.push_str(token.text),
        }
        index += 1;
    }
    Ok(out)
}

/// How many pieces from here on are the dataset's own name behind FROM or JOIN, with its layer or without.
fn own_name(tokens: &[Token<'_>], at: usize, (layer, dataset): (&str, &str)) -> usize {
    let behind = at.checked_sub(1).and_then(|before| tokens.get(before));
    if !behind.is_some_and(|token| token.is("from") || token.is("join")) {
        return 0;
    }
    let named = |index: usize, name: &str| {
        tokens.get(index).and_then(Token::name).is_some_and(|n| n.eq_ignore_ascii_case(name))
    };
    let dot = |index: usize| tokens.get(index).is_some_and(|token| token.is("."));
    if named(at, layer) && dot(at + 1) && named(at + 2, dataset) {
        3
    } else {
        usize::from(named(at, dataset) && !dot(at + 1))
    }
}

/// Words that make a condition one about other rows too.
const OF_A_SET: [&str; 17] = [
    "select",
    "group",
    "having",
    "union",
    "intersect",
    "except",
    "minus",
    "order",
    "limit",
    "offset",
    "over",
    "join",
    "window",
    "qualify",
    "cluster",
    "distribute",
    "sort",
];

/// The predicate of `SELECT COUNT(*) FROM {object} WHERE p`, when p looks at one row alone. The count may have a name, the
/// dataset an alias; of a column it counts the rows where that is not null. Without an alias the dataset's own name
/// qualifies its columns.
pub(super) fn row_predicate(query: &str, dataset: &str) -> Option<String> {
    let all = tokens(query).ok()?;
    let tokens: Vec<Token<'_>> = all.into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let word = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    if !(word(0, "select") && word(1, "count") && word(2, "(") && word(4, ")")) {
        return None;
    }
    let counted = tokens.get(3)?;
    let of_rows = counted.is("*") || counted.text.parse::<i64>().is_ok();
    let counted = if of_rows { None } else { Some(counted.name()?) };
    let from = after_name(&tokens, 5, "from")?;
    if !word(from, "from") || tokens.get(from + 1)?.placeholder() != Some("object") {
        return None;
    }
    let begin = after_name(&tokens, from + 2, "where")?;
    let alias = tokens.get(begin.checked_sub(1)?).filter(|_| begin > from + 2).and_then(Token::name);
    let alias = alias.unwrap_or(dataset);
    let condition = tokens.get(begin + 1..).filter(|rest| word(begin, "where") && !rest.is_empty())?;
    let of_a_set = |token: &Token<'_>| OF_A_SET.iter().any(|word| token.is(word)) || token.is(";");
    if condition.iter().any(of_a_set) {
        return None;
    }
    let predicate = unqualified(query, condition, alias)?;
    match counted {
        Some(column) => Some(format!("({predicate}) AND `{}` IS NOT NULL", column.to_lowercase())),
        None => Some(predicate),
    }
}

/// Where a clause begins behind an optional name: `AS n FROM`, `t WHERE`.
fn after_name(tokens: &[Token<'_>], at: usize, clause: &str) -> Option<usize> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    let named = |at: usize| tokens.get(at).is_some_and(|token| token.name().is_some());
    match () {
        () if is(at, clause) => Some(at),
        () if is(at, "as") && named(at + 1) && is(at + 2, clause) => Some(at + 2),
        () if named(at) && is(at + 1, clause) => Some(at + 1),
        () => None,
    }
}

/// A condition's text without what says that its columns are the dataset's: `t.hr`, `{object}.hr`.
fn unqualified(query: &str, condition: &[Token<'_>], alias: &str) -> Option<String> {
    let mut out = String::new();
    let mut end = condition.first()?.at;
    let mut index = 0;
    while let Some(token) = condition.get(index) {
        // A comment between two pieces is not among them: a space takes its place.
        let between = query.get(end..token.at).unwrap_or_default();
        out.push_str(if between.trim().is_empty() { between } else { " " });
        end = token.at + token.text.len();
        let before = index.checked_sub(1).and_then(|before| condition.get(before));
        let is_qualifier =
            condition.get(index + 1).is_some_and(|next| next.is(".")) && !before.is_some_and(|before| before.is("."));
        let is_object = token.placeholder() == Some("object");
        let is_alias = token.name().is_some_and(|name| name.eq_ignore_ascii_case(alias));
        if is_qualifier && (is_object || is_alias) {
            end = condition.get(index + 1).map_or(end, |dot| dot.at + 1);
            index += 2;
            continue;
        }
        if is_object {
            return None;
        }
        out.push_str(token.text);
        index += 1;
    }
    Some(out.trim().to_owned())
}

/// Functions that give another result each time.
const CHANGING_FUNCTIONS: [&str; 24] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "curdate",
    "curtime",
    "getdate",
    "sysdate",
    "systimestamp",
    "today",
    "unix_timestamp",
    "rand",
    "random",
    "randn",
    "randstr",
    "uniform",
    "shuffle",
    "uuid",
    "gen_random_uuid",
    "newid",
    "monotonically_increasing_id",
    "input_file_name",
];
/// Those that are called without parentheses too.
const CHANGING_WORDS: [&str; 6] =
    ["current_timestamp", "current_date", "current_time", "localtimestamp", "localtime", "sysdate"];
/// Words that stand for a time that moves, behind DATE or TIMESTAMP.
const MOVING_DAYS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// What in a query gives another result each time it is asked.
pub(super) fn changing(query: &str, columns: &[&str]) -> Option<String> {
    let all = tokens(query).ok()?;
    let tokens: Vec<Token<'_>> = all.into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let is_one_of = |text: &str, words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    for (index, token) in tokens.iter().enumerate() {
        let symbol = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.is(text));
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        let is_call = symbol(index + 1, "(");
        // Of a given text unix_timestamp says the same each time.
        let is_empty_call = is_call && symbol(index + 2, ")");
        let changes = match token.kind {
            Kind::Word if is_call && token.is("unix_timestamp") => is_empty_call,
            Kind::Word if is_call => is_one_of(token.text, &CHANGING_FUNCTIONS),
            Kind::Word => {
                is_one_of(token.text, &CHANGING_WORDS)
                    && !before.is_some_and(|before| before.is("."))
                    && !is_one_of(token.text, columns)
            }
            Kind::Text => {
                is_one_of(token.text.trim_matches(['\'', '"']).trim(), &MOVING_DAYS)
                    && before.is_some_and(|before| before.is("date") || before.is("timestamp"))
            }
            _ => false,
        };
        if changes {
            return Some(token.text.to_lowercase());
        }
    }
    None
}

/// Counts the rows for which the predicate is true, or their share of all rows in percent; of no rows that is 0.
pub(super) fn count(predicate: &str, percent: bool) -> Measure {
    Measure::Sql(if percent {
        format!(
            "SELECT COALESCE(100.0 * SUM(CASE WHEN {predicate} THEN 1 ELSE 0 END) / NULLIF(COUNT(*), 0), 0) FROM {{object}}"
        )
    } else {
        format!("SELECT COUNT(*) FROM {{object}} WHERE {predicate}")
    })
}

/// A text as a literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A column's name as it is written in a query.
pub(crate) fn column_name(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("`{name}`") }
}

#[cfg(test)]
mod tests;
