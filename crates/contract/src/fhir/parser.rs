//! FHIRPath text → expression, as far as the subset goes that SQL on FHIR asks for; the rest is refused by its name.
//!
//! A parser by precedence over `lexer`'s words. Invariant: an expression nests at most as deep as `lexer` lets it be long.

use std::collections::BTreeMap;
use std::ops::Range;

use super::expression::{Boundary, Choice, Expression, Function, Literal, Name, Operator};
use super::lexer::{PathFault, Word, words};
use crate::verdict::nearest;

/// Parentheses, brackets and arguments lie so deep in each other at most.
const NESTED_MAX: usize = 40;

/// The functions of the subset.
const FUNCTIONS: [&str; 12] = [
    "where",
    "exists",
    "empty",
    "not",
    "first",
    "join",
    "extension",
    "ofType",
    "getResourceKey",
    "getReferenceKey",
    "lowBoundary",
    "highBoundary",
];

/// What an expression may name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// The view's constants.
    pub(super) constants: &'a BTreeMap<String, Literal>,
    /// The type of the column that the expression fills.
    pub(super) column: Option<&'a str>,
}

/// Reads an expression.
pub(super) fn parse(text: &str, scope: Scope<'_>) -> Result<Expression, PathFault> {
    let mut parser = Parser { words: words(text)?, at: 0, nested: 0, scope };
    if *parser.peek() == Word::End {
        return Err(PathFault::new(0..text.len().max(1), "the expression is empty", "write a FHIRPath expression"));
    }
    let expression = parser.expression(0)?;
    match parser.peek() {
        Word::End => Ok(expression),
        _ => Err(parser.unexpected("an operator or the end was expected")),
    }
}

/// Operators by how closely they bind.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[("=", Operator::Equal), ("!=", Operator::NotEqual)],
    &[("<=", Operator::LessOrEqual), ("<", Operator::Less), (">=", Operator::GreaterOrEqual), (">", Operator::Greater)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide)],
];

/// Operators of FHIRPath that the subset has not.
const NOT_IN_SUBSET: [&str; 14] =
    ["|", "&", "~", "!~", "xor", "implies", "in", "contains", "is", "as", "div", "mod", "{", "$"];

struct Parser<'a> {
    words: Vec<(Word, Range<usize>)>,
    at: usize,
    nested: usize,
    scope: Scope<'a>,
}

impl Parser<'_> {
    fn peek(&self) -> &Word {
        self.words.get(self.at).map_or(&Word::End, |(word, _)| word)
    }

    fn place(&self) -> Range<usize> {
        self.words.get(self.at).map_or(0..0, |(_, place)| place.clone())
    }

    fn next(&mut self) -> Word {
        let word = self.peek().clone();
        self.at += usize::from(word != Word::End);
        word
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Word::Sign(next) if *next == sign);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), PathFault> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}` was expected"))) }
    }

    fn unexpected(&self, what: &str) -> PathFault {
        let place = self.place();
        let place = place.start..place.end.max(place.start + 1);
        let spelt = match self.peek() {
            Word::Name(name) => name.as_str(),
            Word::Sign(sign) => sign,
            _ => "",
        };
        if NOT_IN_SUBSET.contains(&spelt) {
            let message = format!("`{spelt}` is not in the subset of FHIRPath that views are made of");
            return PathFault::new(place, message, "operators: and, or, =, !=, <, <=, >, >=, +, -, *, /");
        }
        PathFault::new(place, format!("the expression cannot be read here: {what}"), "correct the FHIRPath expression")
    }

    fn expression(&mut self, level: usize) -> Result<Expression, PathFault> {
        let Some(operators) = LEVELS.get(level) else { return self.signed() };
        let mut left = self.expression(level + 1)?;
        loop {
            let spelt = match self.peek() {
                Word::Name(name) => name.as_str(),
                Word::Sign(sign) => sign,
                _ => return Ok(left),
            };
            let Some((_, operator)) = operators.iter().find(|(sign, _)| *sign == spelt) else { return Ok(left) };
            self.at += 1;
            let right = self.expression(level + 1)?;
            left = Expression::Binary(*operator, Box::new(left), Box::new(right));
        }
    }

    fn signed(&mut self) -> Result<Expression, PathFault> {
        if self.takes("-") {
            return Ok(Expression::Negated(Box::new(self.path()?)));
        }
        self.takes("+");
        self.path()
    }

    /// A term and what is asked of it with dots and brackets.
    fn path(&mut self) -> Result<Expression, PathFault> {
        let mut path = self.term()?;
        loop {
            if self.takes(".") {
                path = self.step(path)?;
            } else if self.takes("[") {
                let index = self.nest(|parser| parser.expression(0))?;
                self.expect("]")?;
                path = Expression::Index(Box::new(path), Box::new(index));
            } else {
                return Ok(path);
            }
        }
    }

    fn nest<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, PathFault>) -> Result<T, PathFault> {
        if self.nested == NESTED_MAX {
            return Err(PathFault::new(self.place(), "the expression is nested too deep", "write it in simpler parts"));
        }
        self.nested += 1;
        let read = read(self);
        self.nested -= 1;
        read
    }

    fn term(&mut self) -> Result<Expression, PathFault> {
        let place = self.place();
        let literal = |literal| Ok(Expression::Literal(literal));
        match self.peek().clone() {
            Word::Text(text) => {
                self.at += 1;
                literal(Literal::Text(text))
            }
            Word::Number(text) => {
                self.at += 1;
                literal(Literal::Number(text))
            }
            Word::Moment(text) => {
                self.at += 1;
                literal(Literal::Text(text.trim_start_matches('T').to_owned()))
            }
            Word::Name(name) if name == "true" || name == "false" => {
                self.at += 1;
                literal(Literal::Boolean(name == "true"))
            }
            Word::This => {
                self.at += 1;
                Ok(Expression::This)
            }
            Word::Variable(name) => {
                self.at += 1;
                self.variable(&name, place)
            }
            Word::Sign("(") => {
                self.at += 1;
                let inner = self.nest(|parser| parser.expression(0))?;
                self.expect(")")?;
                Ok(inner)
            }
            Word::Sign("{") => {
                self.at += 1;
                self.expect("}")?;
                literal(Literal::Empty)
            }
            Word::Name(_) | Word::Quoted(_) => self.step(Expression::This),
            _ => Err(self.unexpected("a path or a value was expected")),
        }
    }

    fn variable(&self, name: &str, place: Range<usize>) -> Result<Expression, PathFault> {
        if let Some(constant) = self.scope.constants.get(name) {
            return Ok(Expression::Literal(constant.clone()));
        }
        match name {
            "rowIndex" => Ok(Expression::RowIndex),
            "resource" | "rootResource" | "context" => Ok(Expression::Resource),
            _ => {
                let known = self.scope.constants.keys().map(String::as_str).chain(["rowIndex", "resource"]);
                let help = match nearest(name, known) {
                    Some(near) => format!("did you mean `%{near}`?"),
                    None => "add it to the view's `constant`".to_owned(),
                };
                Err(PathFault::new(place, format!("the view has no constant `{name}`"), help))
            }
        }
    }

    /// A name or a function, after what it is asked of.
    fn step(&mut self, of: Expression) -> Result<Expression, PathFault> {
        let (place, before) = (self.place(), self.at);
        let begins = matches!(of, Expression::This)
            && !matches!(self.words.get(self.at.wrapping_sub(1)), Some((Word::Sign("."), _)));
        match self.next() {
            Word::Name(name) if matches!(self.peek(), Word::Sign("(")) => {
                self.at += 1;
                self.nest(|parser| parser.function(of, &name, place))
            }
            Word::Name(name) if begins && name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                Ok(Expression::OfResource(name))
            }
            Word::Name(name) | Word::Quoted(name) => Ok(Expression::Member(Box::new(of), Name::new(&name))),
            _ => {
                self.at = before;
                Err(self.unexpected("a name was expected"))
            }
        }
    }

    fn function(&mut self, of: Expression, name: &str, place: Range<usize>) -> Result<Expression, PathFault> {
        let function = match name {
            "ofType" => {
                let kind = self.type_name()?;
                self.expect(")")?;
                return Ok(of_type(of, kind));
            }
            "where" => Function::Where(self.argument(name)?),
            "exists" => Function::Exists(self.optional_argument()?),
            "join" => Function::Join(self.optional_argument()?),
            "extension" => Function::Extension(self.argument(name)?),
            "getReferenceKey" => Function::ReferenceKey(if self.takes(")") {
                None
            } else {
                let kind = self.type_name()?;
                self.expect(")")?;
                Some(kind)
            }),
            "empty" => self.without_argument(Function::Empty)?,
            "not" => self.without_argument(Function::Not)?,
            "first" => self.without_argument(Function::First)?,
            "getResourceKey" => self.without_argument(Function::ResourceKey)?,
            "lowBoundary" | "highBoundary" => {
                let instant = is_instant(&of, self.scope.column);
                self.without_argument(Function::Boundary(Boundary { high: name == "highBoundary", instant }))?
            }
            _ => {
                let help = match nearest(name, FUNCTIONS) {
                    Some(near) => format!("did you mean `{near}()`?"),
                    None => format!("known here: {}", FUNCTIONS.join(", ")),
                };
                let message = format!("the function `{name}` is not in the subset of FHIRPath that views are made of");
                return Err(PathFault::new(place, message, help));
            }
        };
        Ok(Expression::Call(Box::new(of), function))
    }

    fn argument(&mut self, name: &str) -> Result<Box<Expression>, PathFault> {
        match self.optional_argument()? {
            Some(argument) => Ok(argument),
            None => {
                self.at = self.at.saturating_sub(1);
                let place = self.place();
                Err(PathFault::new(place, format!("`{name}` needs an argument"), "write it between the parentheses"))
            }
        }
    }

    fn optional_argument(&mut self) -> Result<Option<Box<Expression>>, PathFault> {
        if self.takes(")") {
            return Ok(None);
        }
        let argument = self.expression(0)?;
        self.expect(")")?;
        Ok(Some(Box::new(argument)))
    }

    fn without_argument(&mut self, function: Function) -> Result<Function, PathFault> {
        self.expect(")").map(|()| function)
    }

    /// `Patient`, or `FHIR.Patient`.
    fn type_name(&mut self) -> Result<String, PathFault> {
        loop {
            let before = self.at;
            match self.next() {
                Word::Name(name) | Word::Quoted(name) => {
                    if !self.takes(".") {
                        return Ok(name);
                    }
                }
                _ => {
                    self.at = before;
                    return Err(self.unexpected("the name of a type was expected"));
                }
            }
        }
    }
}

/// A choice is the field of that name and type.
fn of_type(of: Expression, kind: String) -> Expression {
    match of {
        Expression::Member(of, name) => {
            let mut letters = kind.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            let field = format!("{}{}{}", name.name, first.map(String::from).unwrap_or_default(), letters.as_str());
            Expression::Choice(of, name, Choice { field: Name::new(&field), kind })
        }
        other => Expression::OfType(Box::new(other), kind),
    }
}

/// Whether a day is one of a `dateTime`: the path says so, or the column does.
fn is_instant(of: &Expression, column: Option<&str>) -> bool {
    let kind = match of {
        Expression::Choice(_, _, choice) => Some(choice.kind.as_str()),
        Expression::OfType(_, kind) => Some(kind.as_str()),
        _ => column,
    };
    matches!(kind, Some("dateTime" | "instant"))
}
