//! The one table of the functions that a model may call, and of those that it may not, with what to write instead.
//!
//! Used by the binder and by the page that lists them. Invariant: a name that is in neither table is refused; nothing
//! is looked up among the engine's own functions.

use std::collections::HashMap;
use std::sync::OnceLock;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{Kernel, call};
use crate::functions::{
    arrays, bits, conditional, conversion, datetime, formatted, json, lists, making_times, maps, math, refused, regex,
    rounding, strings, texts, url,
};
use crate::plan::spark_name;
use crate::problem::nearest;

/// A function of the table.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    least: usize,
    most: usize,
    bind: fn(Calling) -> Bound,
}

/// A function with its number of arguments.
pub(crate) const fn function(name: &'static str, least: usize, most: usize, bind: fn(Calling) -> Bound) -> Function {
    Function { name, least, most, bind }
}

/// As many arguments as one likes.
pub(crate) const MANY: usize = 255;

fn tables() -> [&'static [Function]; 16] {
    [
        math::FUNCTIONS,
        rounding::FUNCTIONS,
        bits::FUNCTIONS,
        strings::FUNCTIONS,
        texts::FUNCTIONS,
        regex::FUNCTIONS,
        datetime::FUNCTIONS,
        making_times::FUNCTIONS,
        conditional::FUNCTIONS,
        conversion::FUNCTIONS,
        json::FUNCTIONS,
        formatted::FUNCTIONS,
        url::FUNCTIONS,
        arrays::FUNCTIONS,
        lists::FUNCTIONS,
        maps::FUNCTIONS,
    ]
}

fn index() -> &'static HashMap<&'static str, Function> {
    static INDEX: OnceLock<HashMap<&'static str, Function>> = OnceLock::new();
    INDEX.get_or_init(|| tables().into_iter().flatten().map(|f| (f.name, *f)).collect())
}

/// The names that a model may call, in order.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        index().keys().copied().filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic())).collect();
    names.sort_unstable();
    names
}

/// Binds a call by name.
pub(crate) fn bind(name: &str, args: Vec<Typed>) -> Bound {
    let Some(function) = index().get(name) else { return Err(unknown(name)) };
    if args.len() < function.least || args.len() > function.most {
        let wanted = if function.least == function.most {
            function.least.to_string()
        } else if function.most == MANY {
            format!("at least {}", function.least)
        } else {
            format!("{} to {}", function.least, function.most)
        };
        return Err(Refusal::new(
            format!("{name} takes {wanted} arguments, and has {}", args.len()),
            "see docs/spark-functions.md",
        ));
    }
    (function.bind)(Calling::new(function.name, args))
}

fn unknown(name: &str) -> Refusal {
    if let Some(help) = refused::help(name) {
        if help == refused::MERGED {
            return Refusal::new(format!("a rollup cannot merge {name}"), help);
        }
        return Refusal::new(format!("a model cannot call {name}"), help);
    }
    let help = nearest(name, index().keys().copied()).map_or_else(
        || "docs/spark-functions.md lists the functions".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Refusal::new(format!("a model cannot call {name}, which is not in the table of functions"), help)
}

/// A call that is being bound.
pub(crate) struct Calling {
    pub(crate) name: &'static str,
    /// What tells this call's code from another of the same name over the same arguments.
    pub(crate) label: &'static str,
    pub(crate) args: Vec<Typed>,
}

impl Calling {
    /// A call that is named by its function alone.
    pub(crate) fn new(name: &'static str, args: Vec<Typed>) -> Self {
        Self { name, label: "", args }
    }

    /// The same call with a label.
    pub(crate) fn labelled(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// The type of an argument.
    pub(crate) fn kind(&self, index: usize) -> DataType {
        self.args.get(index).map_or(DataType::Null, |arg| arg.kind.clone())
    }

    /// An argument, with the type that it has.
    pub(crate) fn arg(&self, index: usize) -> Result<Typed, Refusal> {
        let found = self.args.get(index).cloned();
        found.ok_or_else(|| Refusal::new(format!("{} lacks an argument", self.name), "see docs/spark-functions.md"))
    }

    /// An argument as the type that the function wants, with Spark's implicit cast.
    pub(crate) fn want(&self, index: usize, kind: &DataType) -> Result<Expr, Refusal> {
        let arg = self.arg(index)?;
        if crate::functions::cast::implicit(&arg.kind, kind) {
            return arg.to(kind);
        }
        Err(self.wrong(index, &spark_name(kind)))
    }

    /// What is said of an argument of the wrong type.
    pub(crate) fn wrong(&self, index: usize, wanted: &str) -> Refusal {
        Refusal::new(
            format!(
                "argument {} of {} is {}, and should be {wanted}",
                index + 1,
                self.name,
                spark_name(&self.kind(index))
            ),
            "write a CAST",
        )
    }

    /// A call whose arguments are of these types; those that are not given are left out.
    pub(crate) fn make(&self, kind: DataType, wants: &[DataType], kernel: Kernel) -> Bound {
        let mut args = Vec::with_capacity(self.args.len());
        for (index, want) in wants.iter().enumerate().take(self.args.len()) {
            args.push(self.want(index, want)?);
        }
        let name = if self.label.is_empty() { self.name.to_owned() } else { format!("{} {}", self.name, self.label) };
        Ok(Typed::new(call(&name, kind.clone(), args, kernel), kind))
    }

    /// A value for an argument that was left out.
    pub(crate) fn or(mut self, index: usize, value: ScalarValue) -> Self {
        if self.args.len() == index {
            let kind = value.data_type();
            self.args.push(Typed::new(Expr::Literal(value, None), kind));
        }
        self
    }

    /// The constant text of an argument, or nothing where it is null.
    pub(crate) fn constant_text(&self, index: usize, what: &str) -> Result<Option<String>, Refusal> {
        match self.arg(index)?.literal() {
            Some(ScalarValue::Utf8View(text)) => Ok(text.clone()),
            Some(ScalarValue::Null) => Ok(None),
            _ => Err(Refusal::new(
                format!("{what} of {} has to be written as text", self.name),
                "write it in single quotes; one that is a column is not known when the model is checked",
            )),
        }
    }

    /// The constant integer of an argument, or nothing where it is null.
    pub(crate) fn constant_int(&self, index: usize, what: &str) -> Result<Option<i32>, Refusal> {
        match self.arg(index)?.literal() {
            Some(ScalarValue::Int32(value)) => Ok(*value),
            Some(ScalarValue::Null) => Ok(None),
            _ => Err(Refusal::new(
                format!("{what} of {} has to be written as a number", self.name),
                "write it as a constant; the type of the result depends on it",
            )),
        }
    }
}

/// A null of a type.
pub(crate) fn null(kind: &DataType) -> Bound {
    let value = ScalarValue::try_from(kind)
        .map_err(|_| Refusal::new(format!("{} has no null here", spark_name(kind)), "write a CAST"))?;
    Ok(Typed::new(Expr::Literal(value, None), kind.clone()))
}
