//! A FHIRPath expression of the subset that views are made of, read once and evaluated for every resource.
//!
//! Made by `parser`, evaluated by `evaluate`. Invariant: everything that an expression names (constants, functions,
//! types) was found when it was read.

/// An expression.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// What the expression is about: `$this`, or nothing at the beginning of a path.
    This,
    /// The resource.
    Resource,
    /// `%rowIndex`
    RowIndex,
    /// A value that is written.
    Literal(Literal),
    /// A type's name at the beginning of a path: the resource, where it is one.
    OfResource(String),
    /// The elements of that name.
    Member(Box<Expression>, Name),
    /// `name.ofType(Type)`: the field of that type of a choice.
    Choice(Box<Expression>, Name, Choice),
    /// `ofType(Type)` elsewhere.
    OfType(Box<Expression>, String),
    /// `[n]`
    Index(Box<Expression>, Box<Expression>),
    /// A function on what stands before it.
    Call(Box<Expression>, Function),
    /// An operator between two.
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// A minus before a number.
    Negated(Box<Expression>),
}

/// An element's name, and that of what FHIR keeps beside a primitive.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) beside: String,
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), beside: format!("_{name}") }
    }
}

/// The field of a choice: `valueString` for `value` and `string`.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) field: Name,
    pub(super) kind: String,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    /// `{}`
    Empty,
    Boolean(bool),
    Number(String),
    Text(String),
}

/// A function of the subset.
#[derive(Clone, Debug)]
pub(super) enum Function {
    Where(Box<Expression>),
    Exists(Option<Box<Expression>>),
    Empty,
    Not,
    First,
    Join(Option<Box<Expression>>),
    Extension(Box<Expression>),
    ResourceKey,
    ReferenceKey(Option<String>),
    Boundary(Boundary),
}

/// `lowBoundary` or `highBoundary`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundary {
    pub(super) high: bool,
    /// Whether a day without a time is one of a `dateTime`, whose boundary has a time.
    pub(super) instant: bool,
}

/// An operator of the subset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}
