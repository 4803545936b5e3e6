//! `quality`: what is common to all rules (kind, comparison, unit, severity, schedule, name), and those in SQL.
//!
//! A rule that no row may break is a row rule however it is written; everything else measures a set. Invariant: a rule
//! that is neither compiled nor a note is found: an error, or a warning that nobody checks it.

use super::Context;
use super::columns::Columns;
use super::metrics::{metric_of, needs_no_comparison};
use super::sql::{OBJECT, PROPERTY, changing, column_name, filled, row_predicate, tokens};
use crate::odcs::Version;
use crate::rule::{Check, Measure, Must, RowRule, SEVERITIES, SetRule, Severity};
use crate::schedule::{SCHEDULE_DEFAULT, Schedule};
use crate::yaml::{Entry, Node, Place, Value, shorten};

/// What a rule of `quality` becomes.
pub(super) enum Made {
    /// The check, and the column that it is about.
    Row(Check, Option<usize>),
    Set(Measure),
}

/// One rule as written, with what most of its parts need.
pub(super) struct Rule<'n> {
    pub(super) node: &'n Node,
    /// The column under which it stands.
    column: Option<usize>,
    /// Where to point for the rule as a whole.
    pub(super) place: Place,
    must: Must,
    pub(super) percent: bool,
}

impl<'n> Rule<'n> {
    /// Whether of all counts, or shares in percent, the rule allows 0 alone.
    pub(super) fn allows_only_zero(&self) -> bool {
        let next = if self.percent { 0.0 } else { 1.0 };
        match self.must {
            Must::Be(only) => only == 0.0,
            Must::BeLessThan(bound) => bound > 0.0 && bound <= next,
            Must::BeLessOrEqualTo(most) => most == 0.0 || (most > 0.0 && most < next),
            Must::BeBetween(least, most) => least <= 0.0 && (most == 0.0 || (most > 0.0 && most < next)),
            _ => false,
        }
    }

    /// Whether it allows no count at all.
    pub(super) fn allows_no_count(&self) -> bool {
        match self.must {
            Must::Be(only) => only < 0.0 || (!self.percent && only.fract() != 0.0),
            Must::BeLessThan(bound) => bound <= 0.0,
            Must::BeLessOrEqualTo(most) | Must::BeBetween(_, most) => most < 0.0,
            _ => false,
        }
    }

    /// The items of an argument; 3.0.x writes them beside the rule itself.
    pub(super) fn arguments(&self, key: &str) -> &'n [Node] {
        let list = self.node.get("arguments").and_then(|arguments| arguments.get(key)).or_else(|| self.node.get(key));
        list.map_or(&[][..], Node::items)
    }
}

impl Context<'_> {
    pub(super) fn column_quality(&mut self, property: &Node, column: usize, columns: &mut Columns) {
        let (mut rows, mut sets) = (Vec::new(), Vec::new());
        for node in property.get("quality").map_or(&[][..], Node::items) {
            self.rule(node, Some(column), columns, &mut rows, &mut sets);
        }
        columns.row_rules.append(&mut rows);
        columns.set_rules.append(&mut sets);
        self.nested(property);
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

    /// What is within an object or an array is kept as JSON text: a rule there is checked by nobody.
    fn nested(&mut self, property: &Node) {
        let items = property.get("items").into_iter();
        for inner in property.get("properties").map_or(&[][..], Node::items).iter().chain(items) {
            let flagged = |key: &&str| inner.get(key).and_then(Node::boolean) == Some(true);
            let listed = |key: &&str| inner.get(key).is_some_and(|list| !list.items().is_empty());
            let first = ["required", "unique"].into_iter().find(flagged);
            if let Some(key) = first.or_else(|| ["quality", "relationships"].into_iter().find(listed)) {
                let place = inner.entry(key).map_or(inner.place, |entry| entry.place);
                let message = "what is nested in a column is kept as JSON text: this rule is not checked";
                let help = "make the value a column of its own, with a `path`";
                self.warn(place, "not-checked", message, help);
            }
            self.nested(inner);
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
        let text = |key: &str| node.get(key).and_then(Node::text);
        let kind = text("type");
        let written = text("metric").or_else(|| text("rule"));
        let place = ["metric", "rule", "type", "id", "name"]
            .iter()
            .find_map(|key| node.get(key))
            .map_or(node.place, |n| n.place);
        match kind {
            Some("custom") => return self.custom_rule(node, place),
            Some("text") => return,
            Some("sql") => {}
            _ => {
                let Some(written) = written else {
                    let message = "a rule without `metric` and `type` is checked by nobody";
                    return self.warn(place, "not-checked", message, "write `type: text` where it is a note");
                };
                if metric_of(written).is_none() {
                    let message = format!("`{}` is no metric", shorten(written));
                    let help = "allowed: nullValues, missingValues, invalidValues, duplicateValues, rowCount";
                    return self.error(place, "not-allowed", message, help);
                }
            }
        }
        let written = if kind == Some("sql") { None } else { written };
        let (Some(severity), Some(schedule)) = (self.severity(node), self.schedule(node)) else { return };
        let Some(must) = self.must(node, written, place) else { return };
        let Some(percent) = self.percent(node, written) else { return };
        let rule = Rule { node, column, place, must, percent };
        let metric = written.and_then(metric_of);
        let made = match metric {
            Some(metric) => self.metric(&rule, metric, columns),
            None => self.sql(&rule, columns),
        };
        let Some(made) = made else { return };
        let name = self.rule_name(&rule, metric.unwrap_or("sql"), columns);
        columns.rule_places.insert(name.clone(), node.get("query").map_or(place, |query| query.place));
        match made {
            Made::Row(check, column) => rows.push(RowRule { name, column, check, severity }),
            Made::Set(measure) => sets.push(SetRule { name, measure, must: rule.must, severity, schedule }),
        }
    }

    fn custom_rule(&mut self, node: &Node, place: Place) {
        let engine = node.get("engine").and_then(Node::text).unwrap_or("another engine");
        let message = format!("a `custom` rule is for `{}`, which vitalake does not run", shorten(engine));
        let help = "write it as a library or sql rule, or as `type: text` to keep it as a note";
        self.error(place, "not-checked", message, help);
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
                columns.free_name(&column.map_or_else(|| what.to_owned(), |column| format!("{}.{what}", column.name)))
            }
        };
        columns.rule_names.insert(name.clone(), 0);
        name
    }

    pub(super) fn severity(&mut self, node: &Node) -> Option<Severity> {
        let Some((written, place)) = node.get("severity").and_then(|n| Some((n.text()?, n.place))) else {
            return Some(Severity::Error);
        };
        let severity = Severity::named(written);
        if severity.is_none() {
            let message = format!("the severity `{}` is not known", shorten(written));
            let words = |of: Severity| {
                let words = SEVERITIES.iter().filter(|(_, severity)| *severity == of).map(|(word, _)| *word);
                format!("{of} ({})", words.collect::<Vec<_>>().join(", "))
            };
            let help = [Severity::Fatal, Severity::Error, Severity::Warning].map(words).join("; ");
            self.error(place, "not-allowed", message, format!("allowed: {help}"));
        }
        severity
    }

    /// The rule's own schedule. Only cron is run here; what another scheduler starts is said and looked at all the same.
    #[expect(clippy::option_option, reason = "no schedule is one thing, a wrong one another")]
    fn schedule(&mut self, node: &Node) -> Option<Option<Schedule>> {
        let text = |key: &str| node.get(key).and_then(|n| Some((n.text()?, n.place)));
        let (scheduler, written) = (text("scheduler"), text("schedule"));
        let is_cron = scheduler.is_none_or(|(name, _)| name.eq_ignore_ascii_case("cron"));
        if let Some((name, place)) = scheduler.filter(|_| !is_cron) {
            let message = format!("the scheduler `{}` starts nothing in vitalake", shorten(name));
            let help = format!(
                "write `scheduler: cron`; until then `schedule` is read as cron, else `{SCHEDULE_DEFAULT}` holds"
            );
            self.warn(place, "not-ours", message, help);
        }
        let Some((pattern, place)) = written else { return Some(None) };
        match pattern.parse::<Schedule>() {
            Ok(schedule) => Some(Some(schedule)),
            Err(_) if !is_cron => Some(None),
            Err(reason) => {
                let message = format!("the schedule `{}` is no cron pattern: {reason}", shorten(pattern));
                self.error(place, "bad-schedule", message, "write five fields: minute hour day month weekday");
                None
            }
        }
    }

    /// The comparison; where there is none, the standard's verdict has said so, but for 3.0.x.
    fn must(&mut self, node: &Node, metric: Option<&str>, place: Place) -> Option<Must> {
        let Some(entry) = node.entries().iter().find(|entry| entry.key.starts_with("must")) else {
            if metric.is_some_and(needs_no_comparison) {
                return Some(Must::Be(0.0));
            }
            if self.version >= Version::V3_1_0 {
                return None;
            }
            let message = "the rule compares with nothing";
            self.error(place, "no-comparison", message, "add `mustBe: 0`, or another comparison of the standard");
            return None;
        };
        let must = comparison(entry);
        if must.is_none() {
            let between = entry.key.ends_with("Between");
            let help = if between { "write two numbers, the smaller one first: [1, 10]" } else { "write a number" };
            let message = format!("`{}` has not the form required", shorten(&entry.key));
            self.error(entry.node.place, "wrong-type", message, help);
        }
        must
    }

    /// Whether a metric is measured in percent. What a query measures is its own business.
    fn percent(&mut self, node: &Node, metric: Option<&str>) -> Option<bool> {
        let unit = node.get("unit").and_then(|unit| Some((unit.place, unit.text()?)));
        match (unit, metric) {
            (Some((_, "percent" | "%")), Some(_)) => Some(true),
            (None, Some(metric)) if metric.ends_with("Percent") => Some(true),
            (None | Some((_, "rows")), _) | (_, None) => Some(false),
            (Some((place, other)), Some(_)) => {
                let message = format!("the unit `{}` is not known", shorten(other));
                self.error(place, "not-allowed", message, "allowed: rows, percent");
                None
            }
        }
    }

    fn sql(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Made> {
        let node = rule.node.get("query")?;
        let query = match self.query(node.text()?, rule, columns) {
            Ok(query) => query,
            Err((message, help)) => {
                self.error(node.place, "bad-sql", message, help);
                return None;
            }
        };
        let names: Vec<&str> = columns.columns.iter().map(|column| &*column.name).collect();
        if let Some(what) = changing(&query, &names) {
            let help =
                "compare columns with each other; how old rows may be is said by `freshness` under slaProperties";
            let message = format!("`{}` gives another result each time the rule is asked", shorten(&what));
            self.error(node.place, "not-repeatable", message, help);
            return None;
        }
        match row_predicate(&query, self.dataset.as_str()).filter(|_| rule.allows_only_zero()) {
            Some(predicate) => Some(Made::Row(Check::NotSql(predicate), rule.column)),
            None => Some(Made::Set(Measure::Sql(query))),
        }
    }

    /// A query with its placeholders replaced, or what is wrong with it and what to do.
    fn query(&self, written: &str, rule: &Rule<'_>, columns: &Columns) -> Result<String, (String, String)> {
        let written = written.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        if written.is_empty() {
            return Err(("the rule has an empty query".to_owned(), "write a query that gives one number".to_owned()));
        }
        if let Err(reason) = tokens(written) {
            return Err((format!("the query cannot be read: {reason}"), "close what was opened".to_owned()));
        }
        let column = rule.column.and_then(|index| columns.columns.get(index)).map(|column| column_name(&column.name));
        let dataset = (self.layer.as_str(), self.dataset.as_str());
        filled(written, dataset, column.as_deref()).map_err(|name| {
            if PROPERTY.contains(&name.as_str()) {
                let message = format!("`{{{name}}}` stands in a rule that is not about a column");
                return (message, "write the column's name, or move the rule under the column".to_owned());
            }
            let known: Vec<String> = OBJECT.iter().chain(&PROPERTY).map(|name| format!("{{{name}}}")).collect();
            let help = format!("known: {}; each may have a `$` before it", known.join(", "));
            (format!("the placeholder `{{{}}}` means nothing", shorten(&name)), help)
        })
    }

    pub(super) fn one_column(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<usize> {
        match self.named_columns(rule, columns)?.as_slice() {
            [one] => Some(*one),
            _ => {
                let message = "this metric is about one column";
                self.error(rule.place, "several-columns", message, "write one rule for each column");
                None
            }
        }
    }

    /// The column under which the rule stands, or those of `arguments.properties`.
    pub(super) fn named_columns(&mut self, rule: &Rule<'_>, columns: &Columns) -> Option<Vec<usize>> {
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
