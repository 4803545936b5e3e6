//! What an expression gives: elements of the resource, and values that were made on the way.
//!
//! Invariant: an item knows what FHIR keeps beside a primitive (`_birthDate` beside `birthDate`), and its type where the
//! name of a choice's field said it.

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::DateTime;

use super::boundary::moment;
use super::decimal::Decimal;
use super::expression::{Choice, Name};
use super::json::{Json, write_text};
use super::types;

/// One item of a collection.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    /// An element of the resource.
    Element(Element<'a>),
    /// Text that was made.
    Text(Cow<'a, str>),
    /// A number that was made.
    Number(Cow<'a, str>),
    /// Truth that was found.
    Boolean(bool),
}

/// An element of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    value: &'a Json<'a>,
    beside: Option<&'a Json<'a>>,
    kind: Option<&'a str>,
}

impl<'a> Item<'a> {
    /// An element of which nothing is known beside its value.
    pub(super) fn of(value: &'a Json<'a>) -> Self {
        Self::Element(Element { value, beside: None, kind: None })
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Element(element) => element.value.text(),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<&str> {
        match self {
            Self::Element(Element { value: Json::Number(text), .. }) => Some(text),
            Self::Number(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Element(Element { value: Json::Boolean(value), .. }) => Some(*value),
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&'a Json<'a>> {
        match self {
            Self::Element(element) => element.value.object()?.get(name),
            _ => None,
        }
    }

    /// Whether it is a resource of that type.
    pub(super) fn is_resource(&self, kind: &str) -> bool {
        self.field("resourceType").and_then(Json::text) == Some(kind)
    }

    /// Writes it as JSON; an element without a value is null.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Element(element) => element.value.write(out),
            Self::Text(text) => write_text(text, out),
            Self::Number(text) => out.push_str(text),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        }
    }

    /// The elements of that name.
    pub(super) fn members(&self, name: &'a Name, into: &mut Vec<Self>) {
        let Self::Element(element) = self else { return };
        let Some(object) = element.value.object() else {
            // A primitive's extensions stand beside it.
            if let Some(found) = element.beside.and_then(Json::object).and_then(|beside| beside.get(&name.name)) {
                gather(Some(found), None, None, into);
            }
            return;
        };
        let beside = if object.has_beside() { object.get(&name.beside) } else { None };
        match object.get(&name.name) {
            None if beside.is_none() => {
                for (field, value) in object.fields() {
                    let kind = field.strip_prefix(name.name.as_str()).and_then(types::of_suffix);
                    if kind.is_some() {
                        gather(Some(value), None, kind, into);
                    }
                }
            }
            value => gather(value, beside, None, into),
        }
    }

    /// The field of a choice that has that type.
    pub(super) fn chosen(&self, name: &'a Name, choice: &'a Choice, into: &mut Vec<Self>) {
        let Self::Element(element) = self else { return };
        let Some(object) = element.value.object() else { return };
        let beside = if object.has_beside() { object.get(&choice.field.beside) } else { None };
        let value = object.get(&choice.field.name);
        if value.is_some() || beside.is_some() {
            return gather(value, beside, Some(&choice.kind), into);
        }
        let before = into.len();
        gather(object.get(&name.name), None, None, into);
        let found = into.split_off(before);
        into.extend(found.into_iter().filter(|item| item.is_of(&choice.kind)));
    }

    /// Whether it is of a FHIR type, as far as JSON shows.
    pub(super) fn is_of(&self, kind: &str) -> bool {
        match self {
            Self::Element(Element { kind: Some(known), .. }) => *known == kind,
            Self::Element(Element { value: Json::Object(object), .. }) => match object.get("resourceType") {
                Some(resource) => resource.text() == Some(kind),
                None => !types::is_primitive(kind),
            },
            _ if self.boolean().is_some() => kind == "boolean",
            _ if self.text().is_some() => types::is_text(kind),
            _ => match self.number() {
                Some(text) if text.contains(['.', 'e', 'E']) => kind == "decimal",
                Some(_) => types::is_number(kind),
                None => false,
            },
        }
    }

    /// Whether two items are equal.
    pub(super) fn equals(&self, other: &Self) -> bool {
        if let (Some(left), Some(right)) = (self.text(), other.text()) {
            return left == right || instant(left).is_some_and(|left| Some(left) == instant(right));
        }
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            let order = || Decimal::parse(left)?.compare(Decimal::parse(right)?);
            return left == right || order() == Some(Ordering::Equal);
        }
        if let (Some(left), Some(right)) = (self.boolean(), other.boolean()) {
            return left == right;
        }
        match (self, other) {
            (Self::Element(left), Self::Element(right)) => left.value == right.value,
            _ => false,
        }
    }

    /// How two items are ordered: numbers, texts, days and moments; none where that cannot be said.
    pub(super) fn compare(&self, other: &Self) -> Result<Option<Ordering>, &'static str> {
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            let both = Decimal::parse(left).zip(Decimal::parse(right));
            return both.and_then(|(left, right)| left.compare(right)).map(Some).ok_or(TOO_MANY_DIGITS);
        }
        let (Some(left), Some(right)) = (self.text(), other.text()) else {
            return Err("values of different kinds cannot be ordered");
        };
        if let (Some(left), Some(right)) = (instant(left), instant(right)) {
            return Ok(Some(left.cmp(&right)));
        }
        match (moment(left), moment(right)) {
            (Some(one), Some(two)) if one.zone.is_some() != two.zone.is_some() && one.time.is_some() => Ok(None),
            // What is written of both decides, unless one says more and the other says nothing against it.
            (Some(_), Some(_)) => {
                let length = left.len().min(right.len());
                let order = left.get(..length).cmp(&right.get(..length));
                Ok(Some(order).filter(|order| order.is_ne() || left.len() == right.len()))
            }
            _ => Ok(Some(left.cmp(right))),
        }
    }
}

/// What is said of a number that cannot be reckoned with.
pub(super) const TOO_MANY_DIGITS: &str = "a number has more digits than can be reckoned with";

fn instant(text: &str) -> Option<i64> {
    if text.len() < 20 || !text.contains('T') {
        return None;
    }
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.timestamp_micros())
}

/// An element's value, or each of a list's, with what stands beside each.
fn gather<'a>(
    value: Option<&'a Json<'a>>,
    beside: Option<&'a Json<'a>>,
    kind: Option<&'a str>,
    into: &mut Vec<Item<'a>>,
) {
    let mut push = |value: Option<&'a Json<'a>>, beside: Option<&'a Json<'a>>| {
        let beside = beside.filter(|beside| beside.object().is_some());
        let value = value.unwrap_or(&Json::Null);
        if *value != Json::Null || beside.is_some() {
            into.push(Item::Element(Element { value, beside, kind }));
        }
    };
    match (value, beside) {
        (Some(Json::List(values)), beside) => {
            let besides = if let Some(Json::List(besides)) = beside { besides.as_slice() } else { &[] };
            values.iter().enumerate().for_each(|(at, value)| push(Some(value), besides.get(at)));
        }
        (None, Some(Json::List(besides))) => besides.iter().for_each(|beside| push(None, Some(beside))),
        (value, beside) => push(value, beside),
    }
}
