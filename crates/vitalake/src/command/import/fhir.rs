//! A view and its contract out of a sample of FHIR resources: their elements as columns, as far as a table has them.
//!
//! References become keys, codes their code and display, of a list the first. Extensions, narratives and contained
//! resources are left out. Invariant: a column's type fits every value of the sample.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vitalake_contract::fhir::types;
use vitalake_contract::time_format::{parse_iso_date, parse_rfc3339};
use vitalake_ingest::decode::{DeliveryFormat, Sampled, read_sample};

use super::page::{Column, Page};
use super::{Files, Sample};
use crate::table::counted;

/// How deep elements become columns.
const DEPTH_MAX: usize = 4;
/// Columns that are drafted.
const COLUMNS_MAX: usize = 100;
/// Elements that are no columns.
const SKIPPED: [&str; 9] = [
    "resourceType",
    "extension",
    "modifierExtension",
    "meta",
    "contained",
    "implicitRules",
    "div",
    "fullUrl",
    "display",
];
/// Elements whose field's name says their type.
const CHOICES: [&str; 14] = [
    "value",
    "onset",
    "abatement",
    "effective",
    "deceased",
    "multipleBirth",
    "occurrence",
    "performed",
    "medication",
    "dose",
    "rate",
    "serviced",
    "timing",
    "identified",
];

pub(super) fn draft(sample: &Sample, wanted: Option<&str>) -> anyhow::Result<Files> {
    let mut seen = Seen::default();
    read_sample(&sample.dataset, DeliveryFormat::Ndjson, sample.open()?, &mut |sampled| {
        if let Sampled::Json(text) = sampled
            && let Ok(value) = serde_json::from_str(text)
        {
            seen.record(&value);
        }
    })
    .map_err(|error| {
        sample.refused(format!("gives no view: {}", error.to_string().replace("delivery of", "sample for")))
    })?;
    let most = seen.types.iter().max_by_key(|(_, kind)| kind.resources).map(|(name, _)| name.clone());
    let Some(resource) = wanted.map(ToOwned::to_owned).or(most) else {
        return Err(sample.refused("holds no FHIR resource"));
    };
    let Some(kind) = seen.types.get(&resource) else {
        let names: Vec<&str> = seen.types.keys().map(String::as_str).collect();
        return Err(sample.refused(format!("holds no {resource}; it holds: {}", names.join(", "))));
    };
    let mut about = vec![
        format!(
            "Drafted by `vitalake contract import` from {} of {} ({resource}), with the view",
            counted(kind.resources, "resource", "resources"),
            sample.file_name
        ),
        format!(
            "views/{}.json: `required` for what was always there. A sample does not show everything. Look at each line",
            sample.dataset
        ),
        "of both, then take these comments away.".to_owned(),
    ];
    let others: Vec<&str> = seen.types.keys().filter(|name| **name != resource).map(String::as_str).collect();
    if !others.is_empty() {
        about.push(format!("The sample also holds: {} (--resource TYPE).", others.join(", ")));
    }
    let (page, view) = kind.drafted(sample, &resource, about);
    let view = serde_json::to_string_pretty(&view)? + "\n";
    Ok(vec![sample.contract(page.text()), (format!("views/{}.json", sample.dataset), view)])
}

/// The resources of a sample, by type.
#[derive(Default)]
struct Seen {
    types: BTreeMap<String, Kind>,
}

/// The resources of one type.
#[derive(Default)]
struct Kind {
    resources: u64,
    /// Elements by their path, in the order in which they came.
    elements: Vec<Element>,
    places: BTreeMap<String, usize>,
}

/// An element that becomes a column.
struct Element {
    path: String,
    names: Vec<String>,
    /// Whether a list stands on the way.
    many: bool,
    values: Values,
    /// Resources that have it.
    resources: u64,
    last: u64,
}

/// What its values are.
#[derive(Default)]
struct Values {
    booleans: bool,
    wholes: bool,
    reals: bool,
    days: bool,
    moments: bool,
    texts: bool,
}

impl Seen {
    fn record(&mut self, value: &Value) {
        let kind = value.get("resourceType").and_then(Value::as_str);
        match kind {
            Some("Bundle") => {
                let entries = value.get("entry").and_then(Value::as_array).into_iter().flatten();
                entries.filter_map(|entry| entry.get("resource")).for_each(|resource| self.record(resource));
            }
            Some(name) if name.chars().all(|c| c.is_ascii_alphanumeric()) && name.len() < 64 => {
                let kind = self.types.entry(name.to_owned()).or_default();
                kind.resources += 1;
                if let Value::Object(fields) = value {
                    kind.fields(fields, "", &[], false);
                }
            }
            _ => {}
        }
    }
}

impl Kind {
    fn fields(&mut self, fields: &Map<String, Value>, path: &str, names: &[String], many: bool) {
        let is_plain = |name: &str| !name.starts_with('_') && name.chars().all(|c| c.is_ascii_alphanumeric());
        for (name, value) in fields {
            let narrative = path.is_empty() && name == "text";
            let nested_id = !path.is_empty() && name == "id";
            if SKIPPED.contains(&name.as_str()) || narrative || nested_id || !is_plain(name) {
                continue;
            }
            let step = choice(name).unwrap_or_else(|| name.clone());
            let path = if path.is_empty() { step } else { format!("{path}.{step}") };
            let names: Vec<String> = names.iter().chain([name]).cloned().collect();
            match value {
                Value::Array(items) => items.iter().for_each(|item| self.element(item, &path, &names, true)),
                value => self.element(value, &path, &names, many),
            }
        }
    }

    fn element(&mut self, value: &Value, path: &str, names: &[String], many: bool) {
        let named = |last: &str| names.iter().cloned().chain([last.to_owned()]).collect::<Vec<_>>();
        match value {
            Value::Object(fields) if fields.contains_key("reference") => {
                let key = fields.get("reference").unwrap_or(&Value::Null);
                // A search and what is contained have no key.
                if key.as_str().is_some_and(|key| key.contains(['?', '#'])) {
                    return;
                }
                self.see(key, &format!("{path}.getReferenceKey()"), named("id"), many);
            }
            Value::Object(fields) if fields.get("coding").is_some_and(Value::is_array) => {
                for coding in fields.get("coding").and_then(Value::as_array).into_iter().flatten() {
                    for name in ["code", "display"] {
                        let value = coding.get(name).unwrap_or(&Value::Null);
                        self.see(value, &format!("{path}.coding.{name}"), named(name), true);
                    }
                }
            }
            Value::Object(fields) if names.len() < DEPTH_MAX => self.fields(fields, path, names, many),
            Value::Object(_) | Value::Array(_) => {}
            value => self.see(value, path, names.to_vec(), many),
        }
    }

    fn see(&mut self, value: &Value, path: &str, names: Vec<String>, many: bool) {
        if value.is_null() {
            return;
        }
        let at = *self.places.entry(path.to_owned()).or_insert(self.elements.len());
        if at == self.elements.len() {
            let (values, path) = (Values::default(), path.to_owned());
            self.elements.push(Element { path, names, many, values, resources: 0, last: 0 });
        }
        let number = self.resources;
        let Some(element) = self.elements.get_mut(at) else { return };
        element.many |= many;
        element.values.see(value);
        if element.last != number {
            (element.last, element.resources) = (number, element.resources + 1);
        }
    }

    fn drafted(&self, sample: &Sample, resource: &str, about: Vec<String>) -> (Page, Value) {
        let mut page = Page::new(&sample.dataset, about);
        let mut columns = Vec::new();
        for element in &self.elements {
            if columns.len() >= COLUMNS_MAX {
                page.left_out(format!("{}, beyond {COLUMNS_MAX} columns", element.path));
                continue;
            }
            let (kind, logical) = element.kind();
            let before = page.columns().len();
            page.add(Column {
                path: element.names.clone(),
                logical,
                required: element.resources == self.resources,
                ..Column::default()
            });
            let Some(column) = page.columns().get(before) else { continue };
            let first = if element.many { ".first()" } else { "" };
            let path =
                if element.path == "id" { "getResourceKey()".to_owned() } else { format!("{}{first}", element.path) };
            columns.push(json!({"name": column.name, "path": path, "type": kind}));
        }
        page.named_alone();
        page.custom("source", "feed", "delivered files");
        page.custom("view", &sample.dataset, "how a resource becomes a row: views/");
        page.custom("delivery", "append", "or `replace`, when each file is the whole dataset");
        let view = json!({
            "resourceType": "ViewDefinition",
            "name": sample.dataset,
            "status": "draft",
            "resource": resource,
            "select": [{"column": columns}],
        });
        (page, view)
    }
}

impl Element {
    /// Its FHIR type, and the contract's.
    fn kind(&self) -> (&'static str, &'static str) {
        let Values { booleans, wholes, reals, days, moments, texts } = self.values;
        let quantity = self.path.ends_with("value") || self.path.ends_with("itude");
        match (booleans, wholes || reals, days || moments || texts) {
            (true, false, false) => ("boolean", "boolean"),
            (false, true, false) if reals || quantity => ("decimal", "number"),
            (false, true, false) => ("integer", "integer"),
            (false, false, true) if days && !moments && !texts => ("date", "date"),
            (false, false, true) if moments && !days && !texts => ("dateTime", "timestamp"),
            _ => ("string", "string"),
        }
    }
}

impl Values {
    fn see(&mut self, value: &Value) {
        match value {
            Value::Bool(_) => self.booleans = true,
            Value::Number(number) if number.is_f64() => self.reals = true,
            Value::Number(_) => self.wholes = true,
            Value::String(text) if parse_rfc3339(text.as_bytes()).is_some() => self.moments = true,
            Value::String(text) if parse_iso_date(text.as_bytes()).is_some() => self.days = true,
            _ => self.texts = true,
        }
    }
}

/// `onsetDateTime` as `onset.ofType(dateTime)`.
fn choice(name: &str) -> Option<String> {
    CHOICES.iter().find_map(|choice| {
        let kind = types::of_suffix(name.strip_prefix(choice)?)?;
        Some(format!("{choice}.ofType({kind})"))
    })
}
