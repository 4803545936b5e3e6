//! A ViewDefinition, read: how a resource becomes rows.
//!
//! Made by `read`, asked by the decoder of deliveries. Invariant: every row has one cell for each of the view's columns,
//! in their order, and a resource gives at most `ROWS_MAX` of them.

use std::borrow::Cow;

use super::evaluate::{Around, Items};
use super::expression::Expression;
use super::item::Item;
use super::json::{Json, Object, write_list};

/// More rows of one resource are refused: they come of lists that multiply each other.
pub const ROWS_MAX: usize = 100_000;
/// How deep `repeat` follows.
const REPEATED_MAX: usize = super::json::DEPTH_MAX;

/// How resources of one type become rows.
#[derive(Clone, Debug)]
pub struct View {
    /// The view's name: the file's, without its ending.
    pub name: String,
    /// The type of its resources.
    pub resource: String,
    /// What its rows have.
    pub columns: Vec<ViewColumn>,
    pub(super) conditions: Vec<Expression>,
    pub(super) selects: Vec<Select>,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// The FHIR type that the view says it has.
    pub kind: Option<String>,
    /// Whether its values are lists.
    pub collection: bool,
    /// What it means, as the view says.
    pub description: Option<String>,
}

/// A part of a view that gives columns.
#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) each: Each,
    pub(super) columns: Vec<Filled>,
    pub(super) selects: Vec<Select>,
    pub(super) unions: Vec<Select>,
}

/// What a part is repeated for.
#[derive(Clone, Debug)]
pub(super) enum Each {
    Once,
    Element(Expression),
    ElementOrNull(Expression),
    Descendant(Vec<Expression>),
}

/// A column and what fills it.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    pub(super) name: String,
    pub(super) collection: bool,
    pub(super) path: Expression,
}

/// A value of a row.
#[derive(Clone, Debug)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// One value.
    One(Item<'a>),
    /// A list of values.
    Many(Vec<Item<'a>>),
}

impl Cell<'_> {
    /// Writes the value as JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::One(item) => item.write(out),
            Self::Many(items) => write_list(items, out, Item::write),
        }
    }
}

/// A row of a view: a cell for each column.
pub type Row<'a> = Vec<Cell<'a>>;

/// Why a resource becomes no rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the view {view} cannot take the resource: {reason}")]
pub struct ViewError {
    view: String,
    reason: Cow<'static, str>,
}

impl View {
    /// Whether a resource is of the view's type.
    #[must_use]
    pub fn is_of(&self, resource: &Object<'_>) -> bool {
        resource.get("resourceType").and_then(Json::text) == Some(&self.resource)
    }

    /// The rows of a resource of the view's type; none where a condition of the view does not hold.
    ///
    /// # Errors
    /// When a path gives what its place cannot take, such as two values for a column that has no `collection: true`.
    pub fn rows<'a>(&'a self, resource: &'a Json<'a>) -> Result<Vec<Row<'a>>, ViewError> {
        let resource = Item::of(resource);
        self.rows_of(resource).map_err(|reason| ViewError { view: self.name.clone(), reason: reason.into() })
    }

    fn rows_of<'a>(&'a self, resource: Item<'a>) -> Result<Vec<Row<'a>>, String> {
        let around = Around { resource: resource.clone(), row_index: 0 };
        for condition in &self.conditions {
            match condition.evaluate(&around, &resource)?.as_slice() {
                [] => return Ok(Vec::new()),
                [item] => match item.boolean() {
                    Some(true) => {}
                    Some(false) => return Ok(Vec::new()),
                    None => return Err("a path of its `where` gives no truth value".to_owned()),
                },
                _ => return Err("a path of its `where` gives more than one value".to_owned()),
            }
        }
        product(&self.selects, &around, &resource, vec![Vec::with_capacity(self.columns.len())])
    }
}

impl Select {
    fn rows<'a>(&'a self, around: &Around<'a>, this: &Item<'a>) -> Result<Vec<Row<'a>>, String> {
        let elements = match &self.each {
            Each::Once => return self.of(around, this),
            Each::Element(path) => path.evaluate(around, this)?,
            Each::ElementOrNull(path) => {
                let elements = path.evaluate(around, this)?;
                if elements.is_empty() { vec![Item::of(&NOTHING)] } else { elements }
            }
            Each::Descendant(paths) => {
                let mut elements = Vec::new();
                repeat(paths, around, this, 0, &mut elements)?;
                elements
            }
        };
        let mut rows = Vec::new();
        for (row_index, element) in elements.iter().enumerate() {
            let around = Around { resource: around.resource.clone(), row_index };
            rows.extend(self.of(&around, element)?);
            check_rows(rows.len())?;
        }
        Ok(rows)
    }

    /// The rows of one element.
    fn of<'a>(&'a self, around: &Around<'a>, this: &Item<'a>) -> Result<Vec<Row<'a>>, String> {
        let mut own = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            own.push(column.cell(around, this)?);
        }
        let rows = product(&self.selects, around, this, vec![own])?;
        if self.unions.is_empty() {
            return Ok(rows);
        }
        let mut united = Vec::new();
        for union in &self.unions {
            united.extend(union.rows(around, this)?);
            check_rows(united.len())?;
        }
        crossed(rows, united)
    }
}

impl Filled {
    fn cell<'a>(&'a self, around: &Around<'a>, this: &Item<'a>) -> Result<Cell<'a>, String> {
        let mut items = self.path.evaluate(around, this).map_err(|fault| format!("column {}: {fault}", self.name))?;
        if self.collection {
            return Ok(Cell::Many(items));
        }
        match items.len() {
            0 => Ok(Cell::Null),
            1 => Ok(items.pop().map_or(Cell::Null, Cell::One)),
            count => Err(format!(
                "column {}: the path gives {count} values; say `collection: true`, or take one with first()",
                self.name
            )),
        }
    }
}

/// What `forEachOrNull` is about when there is nothing.
static NOTHING: Json<'static> = Json::Object(Object::empty());

/// Each row with each row of each part.
fn product<'a>(
    parts: &'a [Select],
    around: &Around<'a>,
    this: &Item<'a>,
    mut rows: Vec<Row<'a>>,
) -> Result<Vec<Row<'a>>, String> {
    for part in parts {
        rows = crossed(rows, part.rows(around, this)?)?;
    }
    Ok(rows)
}

fn crossed<'a>(rows: Vec<Row<'a>>, mut parts: Vec<Row<'a>>) -> Result<Vec<Row<'a>>, String> {
    check_rows(rows.len().saturating_mul(parts.len()))?;
    if let ([_], [_]) = (rows.as_slice(), parts.as_slice()) {
        let mut rows = rows;
        if let (Some(row), Some(part)) = (rows.first_mut(), parts.pop()) {
            row.extend(part);
        }
        return Ok(rows);
    }
    let with = |row: &Row<'a>, part: &Row<'a>| row.iter().chain(part).cloned().collect();
    Ok(rows.iter().flat_map(|row| parts.iter().map(move |part| with(row, part))).collect())
}

fn repeat<'a>(
    paths: &'a [Expression],
    around: &Around<'a>,
    this: &Item<'a>,
    depth: usize,
    into: &mut Items<'a>,
) -> Result<(), String> {
    if depth > REPEATED_MAX {
        return Err("`repeat` goes deeper than a resource can".to_owned());
    }
    for path in paths {
        for element in path.evaluate(around, this)? {
            into.push(element.clone());
            check_rows(into.len())?;
            repeat(paths, around, &element, depth + 1, into)?;
        }
    }
    Ok(())
}

fn check_rows(rows: usize) -> Result<(), String> {
    if rows > ROWS_MAX { Err(format!("it would become more than {ROWS_MAX} rows")) } else { Ok(()) }
}
