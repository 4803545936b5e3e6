//! `quality`: the standard's metrics and SQL rules, as rules on a row where they can be and on a set where they must.
//!
//! A rule that no row may break (`mustBe: 0` over a plain count) is a row rule; everything else measures a set.

use super::columns::Columns;
use super::sql::{count, quoted, row_predicate, sql_list};
use super::{Context, pattern};
use crate::rule::{Check, Measure, Must, RowRule, SetRule, Severity};
use crate::yaml::{Entry, Node, Place, Value, shorten};

/// What a rule of `quality` becomes.
enum Made {
    /// The check, and the column that it is about.
    Row(Check, Option<usize>),
    Set(Measure),
}

/// One rule as written, with what most of its parts need.
struct Rule<'n> {
    node: &'n Node,
    /// The column under which it stands.
    column: Option<usize>,
    /// Where to point for the rule as a whole.
    place: Place,
    must: Must,
    percent: bool,
}

impl Context<'_> {
    pub(super) fn column_quality(&mut self, property: &Node, column: usize, columns: &mut Columns) {
        let (mut rows, mut sets) = (Vec::new(), Vec::new());
        for node in property.get("quality").map_or(&[][..], Node::items) {
            self.rule(node, Some(column), columns, &mut rows, &mut sets);
        }
        columns.row_rules.append(&mut rows);
        columns.set_rules.append(&mut sets);
    }

    pub(super) fn object_quality(
        &mut self,
        object: &Node,
        columns: &mut Columns,
        rows: &mut Vec<RowRule>,
        sets: &mut Vec<SetRule>,
    ) {
        for node in object.get("quality").map_or(&[][..], Node::items) {
            self.rule(node, None, columns, rows, sets);
        }
    }

    fn rule(
        &mut self,
        node: &Node,
        column: Option<usize>,
        columns: &mut Columns,
        rows: &mut Vec<RowRule>,
        sets: &mut Vec<SetRule>,
    ) {
        let kind = node.get("type").and_then(Node::text);
        let metric = node.get("metric").and_then(Node::text);
        let place =
            ["metric", "type", "id", "name"].iter().find_map(|key| node.get(key)).map_or(node.place, |n| n.place);
        if kind == Some("custom") {
            let message = "a `custom` rule is for another engine: it is not checked";
            return self.warn(place, "not-checked", message, "write it as a library or sql rule to have it checked");
        }
        if kind == Some("text") || (kind.is_none() && metric.is_none()) {
            return;
        }
        let Some(severity) = self.severity(node) else {
            return;
        };
        let Some(must) = self.must(node) else {
            return;
        };
        let percent = match node.get("unit").and_then(|unit| Some((unit, unit.text()?))) {
            Some((_, "percent")) => true,
            None | Some((_, "rows")) => false,
            Some((unit, other)) => {
                let message = format!("the unit `{}` is not known", shorten(other));
                self.error(unit.place, "not-allowed", message, "allowed: rows, percent");
                return;
            }
        };
        let rule = Rule { node, column, place, must, percent };
        let made = if kind == Some("sql") { self.sql(&rule, columns) } else { self.metric(&rule, metric, columns) };
        let Some(made) = made else { return };
        let name = self.rule_name(&rule, metric.unwrap_or("sql"), columns);
        match made {
            Made::Row(check, column) => rows.push(RowRule { name, column, check, severity }),
            Made::Set(measure) => sets.push(SetRule { name, measure, must: rule.must, severity }),
        }
    }

    /// `id`, else `name`, else what it measures, numbered where that is taken.
    fn rule_name(&mut self, rule: &Rule<'_>, what: &str, columns: &mut Columns) -> String {
        let given = rule.node.get("id").or_else(|| rule.node.get("name")).and_then(|n| Some((n.text()?, n.place)));
        let name = match given {
            Some((text, place)) => {
                if columns.rule_names.contains_key(text) {
                    let message = format!("two rules are named `{}`", shorten(text));
                    self.error(place, "duplicate-name", message, "give each rule an `id` of its own");
                }
                text.to_owned()
            }
            None => {
                let column = rule.column.and_then(|index| columns.columns.get(index));
                let base = column.map_or_else(|| what.to_owned(), |column| format!("{}.{what}", column.name));
                let mut name = base.clone();
                let mut number = 2;
                while columns.rule_names.contains_key(&name) {
                    name = format!("{base}_{number}");
                    number += 1;
                }
                name
            }
        };
        columns.rule_names.insert(name.clone(), 0);
        name
    }

    fn severity(&mut self, node: &Node) -> Option<Severity> {
        let Some((written, place)) = node.get("severity").and_then(|n| Some((n.text()?, n.place))) else {
            return Some(Severity::Error);
        };
        match written.to_lowercase().as_str() {
            "error" => Some(Severity::Error),
            "warning" | "info" => Some(Severity::Warning),
            "fatal" => Some(Severity::Fatal),
            _ => {
                let message = format!("the severity `{}` is not known", shorten(written));
                self.error(place, "not-allowed", message, "allowed: error (the default), warning, info, fatal");
                None
            }
        }
    }

    /// The comparison; where there is none, the standard's verdict has said so.
    fn must(&mut self, node: &Node) -> Option<Must> {
        let entry = node.entries().iter().find(|entry| entry.key.starts_with("must"))?;
        let must = comparison(entry);
        if must.is_none() {
            let between = entry.key.ends_with("Between");
            let help = if between { "write two numbers, the smaller one first: [1, 10]" } else { "write a number" };
            self.error(
                entry.node.place,
                "wrong-type",
                format!("`{}` has not the form required", shorten(&entry.key)),
                help,
            );
        }
        must
    }

    fn metric(&mut self, rule: &Rule<'_>, metric: Option<&str>, columns: &Columns) -> Option<Made> {
        match metric? {
            "rowCount" if rule.percent => {
                self.error(rule.place, "not-allowed", "a row count has no percentage", "set `unit: rows`");
                None
            }
            "rowCount" => Some(Made::Set(Measure::RowCount)),
            "duplicateValues" => {
                let named = self.named_columns(rule, columns)?;
                if rule.percent {
                    let names: Vec<String> = named.iter().filter_map(|index| column_sql(columns, *index)).collect();
                    return Some(Made::Set(Measure::Sql(format!(
                        "SELECT COALESCE(100.0 * SUM(CASE WHEN n > 1 THEN n ELSE 0 END) / SUM(n), 0) FROM \
                         (SELECT COUNT(*) AS n FROM {{object}} GROUP BY {}) AS g",
                        names.join(", ")
                    ))));
                }
                Some(Made::Set(Measure::DuplicateValues(named)))
            }
            "nullValues" => {
                let index = self.one_column(rule, columns)?;
                if rule.percent {
                    return Some(Made::Set(count(&format!("{} IS NULL", column_sql(columns, index)?), true)));
                }
                Some(Made::Set(Measure::NullValues(index)))
            }
            "missingValues" => self.missing(rule, columns),
            "invalidValues" => self.invalid(rule, columns),
            _ => None,
        }
    }

    /// Nulls and the texts that stand for nothing.
    fn missing(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let index = self.one_column(rule, columns)?;
        let name = column_sql(columns, index)?;
        let mut predicate = format!("{name} IS NULL");
        let texts = argument_texts(rule.node, "missingValues");
        if !texts.is_empty() {
            predicate = format!("{predicate} OR CAST({name} AS STRING) IN ({})", sql_list(&texts));
        }
        if rule.must == Must::Be(0.0) && !rule.percent {
            return Some(Made::Row(Check::NotSql(predicate), Some(index)));
        }
        Some(Made::Set(count(&predicate, rule.percent)))
    }

    fn invalid(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let index = self.one_column(rule, columns)?;
        let name = column_sql(columns, index)?;
        let values = argument_texts(rule.node, "validValues");
        let written =
            rule.node.get("arguments").and_then(|a| a.get("pattern")).and_then(|n| Some((n.text()?, n.place)));
        let never = rule.must == Must::Be(0.0) && !rule.percent;
        match (values.is_empty(), written) {
            (false, None) if never => Some(Made::Row(Check::OneOf(values), Some(index))),
            (false, None) => {
                Some(Made::Set(count(&format!("CAST({name} AS STRING) NOT IN ({})", sql_list(&values)), rule.percent)))
            }
            (true, Some((text, place))) => match pattern::compile(text) {
                Ok(regex) if never => Some(Made::Row(Check::Pattern(regex), Some(index))),
                Ok(_) => Some(Made::Set(count(&format!("NOT regexp_like({name}, {})", quoted(text)), rule.percent))),
                Err(reason) => {
                    let message = format!("the pattern is not understood: {reason}");
                    self.error(
                        place,
                        "bad-pattern",
                        message,
                        "write it in ECMA 262 without look-around and back-references",
                    );
                    None
                }
            },
            _ => {
                let message = "invalidValues needs to know what is valid";
                self.error(
                    rule.place,
                    "no-arguments",
                    message,
                    "add `arguments:` with either `validValues: […]` or `pattern:`",
                );
                None
            }
        }
    }

    fn sql(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let node = rule.node.get("query")?;
        let query = node.text()?.trim().trim_end_matches(';').trim_end();
        let name = rule.column.and_then(|index| column_sql(columns, index));
        let mut query =
            ["${object}", "${table}", "{table}"].iter().fold(query.to_owned(), |q, p| q.replace(p, "{object}"));
        for placeholder in ["${property}", "${column}", "{property}", "{column}"] {
            match &name {
                Some(name) => query = query.replace(placeholder, name),
                None if query.contains(placeholder) => {
                    let message = format!("`{placeholder}` stands in a rule that is not about a column");
                    self.error(
                        node.place,
                        "bad-sql",
                        message,
                        "write the column's name, or move the rule under the column",
                    );
                    return None;
                }
                None => {}
            }
        }
        if query.is_empty() {
            self.error(node.place, "bad-sql", "the rule has an empty query", "write a query that gives one number");
            return None;
        }
        if rule.must == Must::Be(0.0)
            && !rule.percent
            && let Some(predicate) = row_predicate(&query)
        {
            return Some(Made::Row(Check::NotSql(predicate), rule.column));
        }
        Some(Made::Set(Measure::Sql(query)))
    }

    fn one_column(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<usize> {
        match self.named_columns(rule, columns)?.as_slice() {
            [one] => Some(*one),
            _ => {
                self.error(
                    rule.place,
                    "several-columns",
                    "this metric is about one column",
                    "write one rule for each column",
                );
                None
            }
        }
    }

    /// The column under which the rule stands, or those of `arguments.properties`.
    fn named_columns(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Vec<usize>> {
        let list = rule.node.get("arguments").and_then(|arguments| arguments.get("properties"));
        match (rule.column, list) {
            (Some(column), None) => Some(vec![column]),
            (_, Some(list)) if !list.items().is_empty() => {
                let mut found = Vec::new();
                for item in list.items() {
                    let Some(name) = item.text() else {
                        self.error(item.place, "wrong-type", "a column is named by text", "write the names of columns");
                        continue;
                    };
                    found.extend(columns.find(self, name, item.place));
                }
                (found.len() == list.items().len()).then_some(found)
            }
            _ => {
                let help = "add `arguments: {properties: [a, b]}`, or move the rule under a column";
                self.error(rule.place, "no-arguments", "the rule does not say which columns it is about", help);
                None
            }
        }
    }
}

fn comparison(entry: &Entry) -> Option<Must> {
    let number = || match &entry.node.value {
        Value::Text(text) => text.trim().parse().ok(),
        _ => entry.node.number(),
    };
    let pair = || match entry.node.items() {
        [low, high] => low.number().zip(high.number()).filter(|(low, high)| low <= high),
        _ => None,
    };
    match entry.key.as_str() {
        "mustBe" => number().map(Must::Be),
        "mustNotBe" => number().map(Must::NotBe),
        "mustBeGreaterThan" => number().map(Must::BeGreaterThan),
        "mustBeGreaterOrEqualTo" => number().map(Must::BeGreaterOrEqualTo),
        "mustBeLessThan" => number().map(Must::BeLessThan),
        "mustBeLessOrEqualTo" => number().map(Must::BeLessOrEqualTo),
        "mustBeBetween" => pair().map(|(low, high)| Must::BeBetween(low, high)),
        "mustNotBeBetween" => pair().map(|(low, high)| Must::NotBeBetween(low, high)),
        _ => None,
    }
}

fn argument_texts(node: &Node, key: &str) -> Vec<String> {
    let list = node.get("arguments").and_then(|arguments| arguments.get(key));
    let text = |item: &Node| match &item.value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Real(value) => Some(value.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    list.map_or(&[][..], Node::items).iter().filter_map(text).collect()
}

fn column_sql(columns: &Columns, index: usize) -> Option<String> {
    let name = &columns.columns.get(index)?.name;
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    Some(if plain { name.to_string() } else { format!("\"{name}\"") })
}
