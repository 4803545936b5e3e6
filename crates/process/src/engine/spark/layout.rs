//! Where the parts of a model's text stand: its SELECT, its FROM, its tables, its aggregates.
//!
//! Pure, by tokens alone: the parser's spans end before a closing bracket. Invariant: all places are bytes of the model's
//! text, at the edges of tokens.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use crate::model::Model;
use crate::problem::{ModelProblem, Place};
use crate::syntax::tokens;

/// The functions that aggregate.
const AGGREGATES: [&str; 6] = ["count", "sum", "min", "max", "avg", "mean"];

/// The parts of a model's text.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Where SELECT begins.
    pub(crate) select: usize,
    /// Where FROM begins.
    pub(crate) from: usize,
    /// Where the statement ends, without a semicolon.
    pub(crate) end: usize,
    /// The tables, in their order.
    pub(crate) tables: Vec<TablePlace>,
    /// The aggregates of the SELECT, in their order.
    pub(crate) aggregates: Vec<Aggregate>,
}

/// A table in FROM.
#[derive(Debug)]
pub(crate) struct TablePlace {
    /// Its layer and name.
    pub(crate) at: Range<usize>,
    /// Whether an alias follows.
    pub(crate) has_alias: bool,
}

/// A call of an aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) name: String,
    /// The call, with its filter.
    pub(crate) call: Range<usize>,
    /// Between its brackets.
    pub(crate) arguments: Range<usize>,
    /// `FILTER (WHERE …)`.
    pub(crate) filter: Option<Range<usize>>,
}

/// A token that means something.
struct Piece {
    token: Token,
    at: Range<usize>,
    depth: usize,
}

impl Piece {
    fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    fn name(&self) -> Option<&str> {
        match &self.token {
            Token::Word(word) => Some(&word.value),
            _ => None,
        }
    }
}

impl Layout {
    /// The parts of a model's text.
    ///
    /// # Errors
    /// When one of them cannot be found.
    pub(crate) fn of(model: &Model) -> Result<Self, ModelProblem> {
        let problem = |what: &str| {
            ModelProblem::at(
                model.place,
                format!("{what} cannot be found in the text, which Spark is given"),
                "write the model as SELECT … FROM layer.table, with no comment inside a name",
            )
        };
        let pieces = pieces(&model.text)?;
        let select = pieces.iter().position(|piece| piece.is_word("select")).ok_or_else(|| problem("SELECT"))?;
        let from = (select..pieces.len()).find(|at| is_from(&pieces, *at)).ok_or_else(|| problem("FROM"))?;
        let at = |index: usize| pieces.get(index).map_or(0..0, |piece| piece.at.clone());
        let last = pieces.iter().rfind(|piece| piece.token != Token::SemiColon).map_or(0, |piece| piece.at.end);
        let tables = tables(model, pieces.get(from..).unwrap_or_default());
        if tables.len() != model.tables.len() {
            return Err(problem("one of the tables"));
        }
        let aggregates = aggregates(pieces.get(select..from).unwrap_or_default());
        Ok(Self { select: at(select).start, from: at(from).start, end: last, tables, aggregates })
    }
}

/// FROM of the SELECT itself: not of `extract(… FROM …)`, nor of `IS DISTINCT FROM`.
fn is_from(pieces: &[Piece], at: usize) -> bool {
    let word = |back: usize, word: &str| {
        at.checked_sub(back).and_then(|at| pieces.get(at)).is_some_and(|piece| piece.is_word(word))
    };
    let is_distinct = word(1, "distinct") && (word(2, "is") || word(2, "not"));
    pieces.get(at).is_some_and(|piece| piece.depth == 0 && piece.is_word("from")) && !is_distinct
}

fn tables(model: &Model, pieces: &[Piece]) -> Vec<TablePlace> {
    let mut tables = Vec::new();
    let mut at = 0;
    for table in &model.tables {
        let is_here = |at: usize| {
            let named = |offset: usize, name: &str| {
                pieces.get(at + offset).and_then(Piece::name).is_some_and(|word| word.eq_ignore_ascii_case(name))
            };
            let opens = at.checked_sub(1).and_then(|before| pieces.get(before));
            let opens = opens.is_some_and(|piece| piece.is_word("from") || piece.is_word("join"));
            let dot = pieces.get(at + 1).is_some_and(|piece| piece.token == Token::Period);
            opens && dot && named(0, &table.schema) && named(2, &table.table)
        };
        let Some(found) = (at..pieces.len()).find(|at| is_here(*at)) else { break };
        let (Some(first), Some(last)) = (pieces.get(found), pieces.get(found + 2)) else { break };
        let after = pieces.get(found + 3);
        let has_alias = after.is_some_and(|piece| {
            piece.is_word("as") || piece.name().is_some_and(|name| name.eq_ignore_ascii_case(&table.alias))
        });
        tables.push(TablePlace { at: first.at.start..last.at.end, has_alias });
        at = found + 3;
    }
    tables
}

fn aggregates(pieces: &[Piece]) -> Vec<Aggregate> {
    let mut found = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let name = piece.name().map(str::to_lowercase).filter(|name| AGGREGATES.contains(&name.as_str()));
        let opens = pieces.get(at + 1).filter(|next| next.token == Token::LParen);
        let (Some(name), Some(opens)) = (name, opens) else { continue };
        let Some(closes) = closing(pieces, at + 1) else { continue };
        let Some(close) = pieces.get(closes) else { continue };
        let filters = pieces.get(closes + 1).filter(|piece| piece.is_word("filter"));
        let filter = filters.and_then(|filter| {
            let end = pieces.get(closing(pieces, closes + 2)?)?;
            Some(filter.at.start..end.at.end)
        });
        let end = filter.as_ref().map_or(close.at.end, |filter| filter.end);
        let (call, arguments) = (piece.at.start..end, opens.at.end..close.at.start);
        found.push(Aggregate { name, call, arguments, filter });
    }
    found
}

/// The bracket that closes one.
fn closing(pieces: &[Piece], opens: usize) -> Option<usize> {
    let depth = pieces.get(opens).filter(|piece| piece.token == Token::LParen)?.depth;
    let rest = pieces.iter().enumerate().skip(opens + 1);
    rest.filter(|(_, piece)| piece.token == Token::RParen).find(|(_, piece)| piece.depth == depth).map(|(at, _)| at)
}

/// The tokens of a text without its spaces and comments; a bracket has the depth of what is around it.
fn pieces(text: &str) -> Result<Vec<Piece>, ModelProblem> {
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let byte = |location: Location| {
        let line = usize::try_from(location.line).unwrap_or(1).saturating_sub(1);
        let start = starts.get(line).copied().unwrap_or(text.len());
        let column = usize::try_from(location.column).unwrap_or(1).saturating_sub(1);
        let line = text.get(start..).unwrap_or_default();
        start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
    };
    let (mut pieces, mut depth) = (Vec::new(), 0_usize);
    for token in tokens(text)? {
        if matches!(token.token, Token::Whitespace(_) | Token::EOF) {
            continue;
        }
        if token.token == Token::RParen {
            depth = depth.saturating_sub(1);
        }
        let opens = token.token == Token::LParen;
        pieces.push(Piece { at: byte(token.span.start)..byte(token.span.end), token: token.token, depth });
        depth += usize::from(opens);
    }
    Ok(pieces)
}

/// Words after which Spark takes the next `>` for the end of a type.
const OPENS_A_TYPE: [&str; 3] = ["ARRAY", "MAP", "STRUCT"];

/// Where a text has `>>` that Spark takes for the end of two types, since a call of `array`, `map` or `struct` stands
/// anywhere before it.
pub(super) fn shift_in_a_type(text: &str) -> Result<(), ModelProblem> {
    let mut open = 0_usize;
    for token in tokens(text)? {
        match &token.token {
            Token::Word(word) if word.quote_style.is_none() => {
                open += usize::from(OPENS_A_TYPE.iter().any(|opens| word.value.eq_ignore_ascii_case(opens)));
            }
            Token::Gt => open = open.saturating_sub(1),
            Token::ShiftRight if open > 0 => {
                return Err(ModelProblem::at(
                    Place::of(token.span, Place::new(1, 1)),
                    "Spark does not read `>>` after array, map or struct",
                    "write shiftright(x, n)",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("SELECT i >> 1, array(i) FROM raw.t", None)]
    #[case("SELECT array(i),\n  i >> 1 FROM raw.t", Some("2:5"))]
    #[case("SELECT array_size(v), named_struct('array', i), '…array' AS s, i >> 1 FROM raw.t", None)]
    #[case("SELECT CAST(NULL AS ARRAY<INT>), i >> 1 FROM raw.t", None)]
    #[case("SELECT map('a', i), i >= 1, i <> 1, i >> 1 FROM raw.t", Some("1:39"))]
    #[case("SELECT struct(i), i > 1, i >> 1, `array` FROM raw.t", None)]
    fn a_shift_after_what_spark_takes_for_a_type_is_named(#[case] text: &str, #[case] place: Option<&str>) {
        let found = shift_in_a_type(text).err();
        assert_eq!(found.map(|problem| format!("{}:{}", problem.line, problem.column)).as_deref(), place);
    }
}
