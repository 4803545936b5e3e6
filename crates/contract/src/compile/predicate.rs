//! `rowFilter`: a condition that compares columns with constants, and therefore fails on no row.
//!
//! `consent = true AND clinic IN ('north', 'south')`. Functions, arithmetic and subqueries are refused by name: a filter
//! that fails on a row says something of that row.

use std::sync::Arc;

use super::sql::{Kind, Token, tokens};
use crate::access::{Comparison, Constant, Predicate};
use crate::contract::{Column, ColumnType};
use crate::time_format::{parse_iso_date, parse_rfc3339};
use crate::verdict::nearest;
use crate::yaml::shorten;

/// What is wrong, and what to do.
type Refusal = (String, String);

/// How deep parentheses may nest.
const DEPTH_MAX: usize = 32;

/// Reads a row filter over columns.
///
/// # Errors
/// What is wrong, and what to write.
pub(super) fn parse(text: &str, columns: &[Column]) -> Result<Predicate, Refusal> {
    let tokens = tokens(text).map_err(|reason| (reason.to_owned(), "close it".to_owned()))?;
    let mut reader = Reader { tokens, at: 0, columns, depth: 0 };
    let predicate = reader.any()?;
    match reader.peek() {
        None => Ok(predicate),
        Some(rest) => Err(refused(rest.text)),
    }
}

fn refused(text: &str) -> Refusal {
    (
        format!("a row filter cannot have `{}` here", shorten(text)),
        "compare columns with constants: =, <>, <, <=, >, >=, IN (…), BETWEEN, IS NULL, joined by AND, OR, NOT"
            .to_owned(),
    )
}

struct Reader<'t, 'c> {
    tokens: Vec<Token<'t>>,
    at: usize,
    columns: &'c [Column],
    depth: usize,
}

impl<'t> Reader<'t, '_> {
    fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.at)
    }

    /// Takes a word or symbol when it is next.
    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn expects(&mut self, word: &str) -> Result<(), Refusal> {
        if self.takes(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Refusal {
        match self.peek() {
            Some(token) => refused(token.text),
            None => ("the row filter ends too early".to_owned(), "write a whole condition".to_owned()),
        }
    }

    fn any(&mut self) -> Result<Predicate, Refusal> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(one_of(parts, Predicate::Any))
    }

    fn all(&mut self) -> Result<Predicate, Refusal> {
        let mut parts = vec![self.not()?];
        while self.takes("and") {
            parts.push(self.not()?);
        }
        Ok(one_of(parts, Predicate::All))
    }

    fn not(&mut self) -> Result<Predicate, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(("the row filter nests too deep".to_owned(), "write it flatter".to_owned()));
        }
        let predicate = if self.takes("not") {
            Predicate::Not(Box::new(self.not()?))
        } else if self.takes("(") {
            let inner = self.any()?;
            self.expects(")")?;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(predicate)
    }

    fn comparison(&mut self) -> Result<Predicate, Refusal> {
        let column = self.column()?;
        if self.takes("is") {
            let negated = self.takes("not");
            self.expects("null")?;
            return Ok(negate(Predicate::IsNull(column), negated));
        }
        let negated = self.takes("not");
        if self.takes("in") {
            self.expects("(")?;
            let mut constants = vec![self.constant(column)?];
            while self.takes(",") {
                constants.push(self.constant(column)?);
            }
            self.expects(")")?;
            return Ok(negate(Predicate::OneOf(column, constants), negated));
        }
        if self.takes("between") {
            let low = Predicate::Compare(column, Comparison::GreaterOrEqual, self.constant(column)?);
            self.expects("and")?;
            let high = Predicate::Compare(column, Comparison::LessOrEqual, self.constant(column)?);
            return Ok(negate(Predicate::All(vec![low, high]), negated));
        }
        if negated {
            return Err(self.unexpected());
        }
        match self.operator() {
            Some(comparison) => Ok(Predicate::Compare(column, comparison, self.constant(column)?)),
            None if self.kind(column).is_some_and(|kind| matches!(kind, ColumnType::Boolean)) => {
                Ok(Predicate::IsTrue(column))
            }
            None => Err(self.unexpected()),
        }
    }

    fn operator(&mut self) -> Option<Comparison> {
        let (first, second) = (self.symbol(0)?, self.symbol(1));
        let (comparison, length) = match (first, second) {
            ("<", Some(">")) | ("!", Some("=")) => (Comparison::NotEqual, 2),
            ("<", Some("=")) => (Comparison::LessOrEqual, 2),
            (">", Some("=")) => (Comparison::GreaterOrEqual, 2),
            ("=", _) => (Comparison::Equal, 1),
            ("<", _) => (Comparison::Less, 1),
            (">", _) => (Comparison::Greater, 1),
            _ => return None,
        };
        self.at += length;
        Some(comparison)
    }

    fn symbol(&self, ahead: usize) -> Option<&'t str> {
        self.tokens.get(self.at + ahead).filter(|token| token.kind == Kind::Symbol).map(|token| token.text)
    }

    fn kind(&self, column: usize) -> Option<&ColumnType> {
        self.columns.get(column).map(|column| &column.kind)
    }

    fn column(&mut self) -> Result<usize, Refusal> {
        let Some(name) = self.peek().and_then(|token| token.name().map(ToOwned::to_owned)) else {
            return Err(self.unexpected());
        };
        if self.tokens.get(self.at + 1).is_some_and(|next| next.is("(")) {
            let help = "compare the column itself; derive another column in a model where that is not enough";
            return Err((format!("a row filter calls no function, such as `{}`", shorten(&name)), help.to_owned()));
        }
        let names = || self.columns.iter().map(|column| column.name.as_ref());
        let Some(index) = names().position(|known| known.eq_ignore_ascii_case(&name)) else {
            let help = match nearest(&name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a column of this contract".to_owned(),
            };
            return Err((format!("there is no column `{}`", shorten(&name)), help));
        };
        self.at += 1;
        Ok(index)
    }

    /// A constant of a column's type.
    fn constant(&mut self, column: usize) -> Result<Constant, Refusal> {
        let (negative, written) = (self.takes("-"), self.written());
        let kind = self.kind(column).cloned().unwrap_or(ColumnType::String);
        let found = written.as_ref().and_then(|(text, quoted)| constant_of(text, *quoted, negative, &kind));
        found.ok_or_else(|| match written {
            Some((text, _)) => (
                format!("`{}` is no value of the type of `{}`", shorten(&text), self.name(column)),
                "write texts, dates and timestamps in single quotes, dates as '2026-01-31', timestamps with a zone"
                    .to_owned(),
            ),
            None => self.unexpected(),
        })
    }

    fn name(&self, column: usize) -> &str {
        self.columns.get(column).map_or("", |column| &column.name)
    }

    /// A text without its quotes, or a word or number; a number's decimals are pieces of their own.
    fn written(&mut self) -> Option<(String, bool)> {
        let token = self.peek()?;
        match token.kind {
            Kind::Text => {
                // What a backslash means differs from SQL to SQL.
                let inner = token
                    .text
                    .get(1..token.text.len() - 1)
                    .filter(|text| !text.contains(char::from(92)))?
                    .replace("''", "'");
                self.at += 1;
                Some((inner, true))
            }
            Kind::Word => {
                let mut text = token.text.to_owned();
                self.at += 1;
                if self.takes(".") {
                    text = format!("{text}.{}", self.peek().filter(|token| token.kind == Kind::Word)?.text);
                    self.at += 1;
                }
                Some((text, false))
            }
            _ => None,
        }
    }
}

fn one_of(mut parts: Vec<Predicate>, joined: fn(Vec<Predicate>) -> Predicate) -> Predicate {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            joined(parts)
        }
        None => joined(parts),
    }
}

fn negate(predicate: Predicate, negated: bool) -> Predicate {
    if negated { Predicate::Not(Box::new(predicate)) } else { predicate }
}

fn constant_of(text: &str, quoted: bool, negative: bool, kind: &ColumnType) -> Option<Constant> {
    let signed = || if negative { format!("-{text}") } else { text.to_owned() };
    match kind {
        ColumnType::String | ColumnType::Time(_) if quoted && !negative => Some(Constant::Text(Arc::from(text))),
        ColumnType::Long | ColumnType::Int if !quoted => signed().parse().ok().map(Constant::Whole),
        ColumnType::Double | ColumnType::Float if !quoted => {
            signed().parse().ok().filter(|value: &f64| value.is_finite()).map(Constant::Real)
        }
        ColumnType::Boolean if !quoted && !negative => text.to_ascii_lowercase().parse().ok().map(Constant::Boolean),
        ColumnType::Date(_) if quoted => parse_iso_date(text.as_bytes()).map(|day| Constant::Whole(i64::from(day))),
        ColumnType::Timestamp(_) if quoted => parse_rfc3339(text.as_bytes()).map(Constant::Whole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn columns() -> Vec<Column> {
        let kinds = [
            ("clinic", ColumnType::String),
            ("consent", ColumnType::Boolean),
            ("age", ColumnType::Int),
            ("weight", ColumnType::Double),
            ("born", ColumnType::Date(None)),
            ("at", ColumnType::Timestamp(None)),
        ];
        kinds.map(|(name, kind)| Column::new(name, kind)).to_vec()
    }

    #[test]
    fn conditions_are_read_with_their_precedence() {
        let read = |text: &str| parse(text, &columns()).unwrap();
        assert_eq!(read("consent"), Predicate::IsTrue(1));
        assert_eq!(read("consent = true"), Predicate::Compare(1, Comparison::Equal, Constant::Boolean(true)));
        let north = Predicate::Compare(0, Comparison::Equal, Constant::Text("no''rth".replace("''", "'").into()));
        assert_eq!(read("clinic = 'no''rth'"), north);
        assert_eq!(
            read("clinic = 'no''rth' OR NOT consent AND age >= -3"),
            Predicate::Any(vec![
                north,
                Predicate::All(vec![
                    Predicate::Not(Box::new(Predicate::IsTrue(1))),
                    Predicate::Compare(2, Comparison::GreaterOrEqual, Constant::Whole(-3)),
                ])
            ])
        );
        assert_eq!(
            read("age NOT BETWEEN 1 AND 2"),
            Predicate::Not(Box::new(Predicate::All(vec![
                Predicate::Compare(2, Comparison::GreaterOrEqual, Constant::Whole(1)),
                Predicate::Compare(2, Comparison::LessOrEqual, Constant::Whole(2)),
            ])))
        );
        assert_eq!(read("weight < 1.5"), Predicate::Compare(3, Comparison::Less, Constant::Real(1.5)));
        assert_eq!(read("born = '1970-01-02'"), Predicate::Compare(4, Comparison::Equal, Constant::Whole(1)));
        let second = Predicate::Compare(5, Comparison::NotEqual, Constant::Whole(1_000_000));
        assert_eq!(read("at <> '1970-01-01T00:00:01Z'"), second);
        assert_eq!(read("at IS NOT NULL").columns(), vec![5]);
    }

    #[test]
    fn what_could_fail_or_say_more_is_refused() {
        for text in [
            "",
            "age",
            "1 = 1",
            "age + 1 = 2",
            "age / 0 = 1",
            "upper(clinic) = 'A'",
            "clinic = age",
            "clinic = 5",
            "age = '5'",
            "age IN ()",
            "age IN (SELECT 1)",
            "clinic LIKE 'a%'",
            "consent = 'true'",
            "born = '2026-02-30'",
            "at = '2026-02-03'",
            "nobody = 1",
            "consent) OR (1=1",
            "consent; DROP",
            "clinic = 'a",
            "clinic = 'a\\\\'",
            "CAST(clinic AS INT) = 1",
        ] {
            assert!(parse(text, &columns()).is_err(), "{text}");
        }
        let deep = format!("{}consent{}", "(".repeat(50), ")".repeat(50));
        assert!(parse(&deep, &columns()).is_err());
        assert_eq!(parse("clinik = 'a'", &columns()).unwrap_err().1, "did you mean `clinic`?");
    }
}
