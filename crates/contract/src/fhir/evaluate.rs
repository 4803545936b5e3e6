//! Expressions over one resource: each gives a collection of items, as FHIRPath has it.
//!
//! Nothing is null: what is not there is an empty collection. Invariant: a fault names what was asked, never a value.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::boundary;
use super::decimal::Decimal;
use super::expression::{Boundary, Expression, Function, Literal, Operator};
use super::item::{Item, TOO_MANY_DIGITS};
use super::json::Json;

/// Why an expression gives nothing of a resource: what was asked of it does not fit.
pub(super) type Fault = String;
/// What an expression gives.
pub(super) type Items<'a> = Vec<Item<'a>>;

/// What an expression may ask of beside the element that it is about.
#[derive(Clone, Debug)]
pub(super) struct Around<'a> {
    pub(super) resource: Item<'a>,
    pub(super) row_index: usize,
}

impl Expression {
    /// What it gives for an element.
    pub(super) fn evaluate<'a>(&'a self, around: &Around<'a>, this: &Item<'a>) -> Result<Items<'a>, Fault> {
        Ok(match self {
            Self::This => vec![this.clone()],
            Self::Resource => vec![around.resource.clone()],
            Self::RowIndex => vec![Item::Number(around.row_index.to_string().into())],
            Self::Literal(literal) => literal.item().into_iter().collect(),
            Self::OfResource(kind) => Some(this.clone()).filter(|this| this.is_resource(kind)).into_iter().collect(),
            Self::Member(of, name) => {
                let mut found = Vec::new();
                match &**of {
                    Self::This => this.members(name, &mut found),
                    of => of.evaluate(around, this)?.iter().for_each(|item| item.members(name, &mut found)),
                }
                found
            }
            Self::Choice(of, name, choice) => {
                let mut found = Vec::new();
                match &**of {
                    Self::This => this.chosen(name, choice, &mut found),
                    of => of.evaluate(around, this)?.iter().for_each(|item| item.chosen(name, choice, &mut found)),
                }
                found
            }
            Self::OfType(of, kind) => {
                let items = of.evaluate(around, this)?;
                items.into_iter().filter(|item| item.is_of(kind)).collect()
            }
            Self::Index(of, index) => {
                let items = of.evaluate(around, this)?;
                let index = index.evaluate(around, this)?;
                match one(&index, "an index")?.map(Item::number) {
                    None => Vec::new(),
                    Some(Some(number)) => {
                        let at: Option<usize> = number.parse().ok();
                        at.and_then(|at| items.into_iter().nth(at)).into_iter().collect()
                    }
                    Some(None) => return Err("an index is no whole number".to_owned()),
                }
            }
            Self::Call(of, function) => function.call(of.evaluate(around, this)?, around, this)?,
            Self::Binary(operator @ (Operator::And | Operator::Or), left, right) => {
                let left = truth(&left.evaluate(around, this)?, "an operand of `and` or `or`")?;
                let right = truth(&right.evaluate(around, this)?, "an operand of `and` or `or`")?;
                truths(combined(*operator, left, right))
            }
            Self::Binary(operator, left, right) => {
                binary(*operator, &left.evaluate(around, this)?, &right.evaluate(around, this)?)?
            }
            Self::Negated(of) => match one(&of.evaluate(around, this)?, "what is negated")? {
                None => Vec::new(),
                Some(item) => vec![Item::Number(decimal(item)?.negated().to_string().into())],
            },
        })
    }
}

impl Literal {
    fn item(&self) -> Option<Item<'_>> {
        match self {
            Self::Empty => None,
            Self::Boolean(value) => Some(Item::Boolean(*value)),
            Self::Number(text) => Some(Item::Number(Cow::Borrowed(text))),
            Self::Text(text) => Some(Item::Text(Cow::Borrowed(text))),
        }
    }
}

impl Function {
    fn call<'a>(&'a self, of: Items<'a>, around: &Around<'a>, this: &Item<'a>) -> Result<Items<'a>, Fault> {
        let empty = of.is_empty();
        Ok(match self {
            Self::Where(criteria) => chosen(of, criteria, around)?,
            Self::Exists(None) => truths(Some(!empty)),
            Self::Exists(Some(criteria)) => truths(Some(!chosen(of, criteria, around)?.is_empty())),
            Self::Empty => truths(Some(empty)),
            Self::Not => truths(truth(&of, "what `not` is asked of")?.map(|truth| !truth)),
            Self::First => of.into_iter().take(1).collect(),
            Self::Join(separator) => {
                let separator = match separator {
                    Some(separator) => separator.evaluate(around, this)?,
                    None => Vec::new(),
                };
                let separator = one(&separator, "the separator of `join`")?.and_then(Item::text).unwrap_or("");
                let texts: Vec<&str> = of.iter().filter_map(Item::text).collect();
                vec![Item::Text(texts.join(separator).into())]
            }
            Self::Extension(url) => {
                let url = url.evaluate(around, this)?;
                let Some(url) = one(&url, "the url of `extension`")?.and_then(Item::text) else {
                    return Ok(Vec::new());
                };
                let mut found = Vec::new();
                of.iter().for_each(|item| item.members(extension(), &mut found));
                found.retain(|item| item.field("url").and_then(Json::text) == Some(url));
                found
            }
            Self::ResourceKey => of.iter().filter_map(|item| item.field("id")).map(Item::of).collect(),
            Self::ReferenceKey(kind) => of
                .iter()
                .filter_map(|item| reference_key(item, kind.as_deref()))
                .map(|key| Item::Text(key.into()))
                .collect(),
            Self::Boundary(boundary) => match one(&of, "what a boundary is asked of")? {
                None => Vec::new(),
                Some(item) => boundary.of(item).into_iter().collect(),
            },
        })
    }
}

impl Boundary {
    fn of<'a>(self, item: &Item<'_>) -> Option<Item<'a>> {
        if let Some(number) = item.number() {
            return Some(Item::Number(Decimal::parse(number)?.boundary(self.high)?.to_string().into()));
        }
        boundary::boundary(item.text()?, self.high, self.instant).map(|text| Item::Text(text.into()))
    }
}

fn extension() -> &'static super::expression::Name {
    static NAME: std::sync::LazyLock<super::expression::Name> =
        std::sync::LazyLock::new(|| super::expression::Name::new("extension"));
    &NAME
}

fn chosen<'a>(of: Items<'a>, criteria: &'a Expression, around: &Around<'a>) -> Result<Items<'a>, Fault> {
    let mut found = Vec::new();
    for item in of {
        if truth(&criteria.evaluate(around, &item)?, "the criteria of `where` or `exists`")? == Some(true) {
            found.push(item);
        }
    }
    Ok(found)
}

/// The key of the resource that a reference names: its id. None of a search, of what is contained, and of another type.
fn reference_key<'a>(item: &Item<'a>, kind: Option<&str>) -> Option<&'a str> {
    let reference = item.field("reference")?.text()?;
    let said = item.field("type").and_then(Json::text);
    if let Some(key) = reference.strip_prefix("urn:uuid:").or_else(|| reference.strip_prefix("urn:oid:")) {
        let fits = kind.is_none() || said.is_none() || said == kind;
        return Some(key).filter(|key| fits && !key.is_empty());
    }
    if reference.contains(['?', '#']) {
        return None;
    }
    let plain = reference.split_once("/_history/").map_or(reference, |(plain, _)| plain);
    let (before, key) = plain.rsplit_once('/').unwrap_or(("", plain));
    let named = before.rsplit('/').next().filter(|named| !named.is_empty()).or(said);
    let fits = kind.is_none() || named.is_none() || named == kind;
    Some(key).filter(|key| fits && !key.is_empty())
}

/// The only item; none of nothing.
pub(super) fn one<'i, 'a>(items: &'i [Item<'a>], what: &str) -> Result<Option<&'i Item<'a>>, Fault> {
    match items {
        [] => Ok(None),
        [item] => Ok(Some(item)),
        _ => Err(format!("{what} has {} values where one is expected", items.len())),
    }
}

/// A collection as a condition: one item that is no truth counts as true.
fn truth(items: &[Item<'_>], what: &str) -> Result<Option<bool>, Fault> {
    Ok(one(items, what)?.map(|item| item.boolean().unwrap_or(true)))
}

fn truths<'a>(truth: Option<bool>) -> Items<'a> {
    truth.map(Item::Boolean).into_iter().collect()
}

/// Truth in three values.
fn combined(operator: Operator, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    let decides = operator == Operator::Or;
    match (left, right) {
        _ if left == Some(decides) || right == Some(decides) => Some(decides),
        (Some(_), Some(_)) => Some(!decides),
        _ => None,
    }
}

fn binary<'a>(operator: Operator, left: &[Item<'a>], right: &[Item<'a>]) -> Result<Items<'a>, Fault> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    if let Operator::Equal | Operator::NotEqual = operator {
        let same = left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.equals(right));
        return Ok(truths(Some(same == (operator == Operator::Equal))));
    }
    let (Some(left), Some(right)) = (one(left, "an operand")?, one(right, "an operand")?) else {
        return Ok(Vec::new());
    };
    let ordered =
        |fits: fn(Ordering) -> bool| left.compare(right).map(|order| truths(order.map(fits))).map_err(str::to_owned);
    match operator {
        Operator::Less => return ordered(Ordering::is_lt),
        Operator::LessOrEqual => return ordered(Ordering::is_le),
        Operator::Greater => return ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => return ordered(Ordering::is_ge),
        _ => {}
    }
    if let (Operator::Add, Some(left), Some(right)) = (operator, left.text(), right.text()) {
        return Ok(vec![Item::Text(format!("{left}{right}").into())]);
    }
    let (left, right) = (decimal(left)?, decimal(right)?);
    let result = match operator {
        Operator::Add => left.add(right),
        Operator::Subtract => left.add(right.negated()),
        Operator::Multiply => left.multiply(right),
        // By zero it is empty, as the specification says.
        _ => return Ok(left.divide(right).map(|n| Item::Number(n.to_string().into())).into_iter().collect()),
    };
    let result = result.ok_or_else(|| TOO_MANY_DIGITS.to_owned())?;
    Ok(vec![Item::Number(result.to_string().into())])
}

fn decimal(item: &Item<'_>) -> Result<Decimal, Fault> {
    let number = item.number().ok_or_else(|| "a value that is reckoned with is no number".to_owned())?;
    Decimal::parse(number).ok_or_else(|| TOO_MANY_DIGITS.to_owned())
}
