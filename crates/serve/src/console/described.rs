//! Datasets as their contracts and tables describe them, and what is made of what: cut to what somebody sees.
//!
//! Pure. Invariant: a rule, a model's text and a column's origin are told only to who could name every column in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vitalake_contract::dashboard::title_of;
use vitalake_contract::{Column, Contract, Source};

use super::facts::{Catalogue, DatasetNews, DatasetNow, Described, Origin, RuleTold, Today};
use super::told::{sees, written};
use crate::policy::{ColumnShown, Seen};

/// The datasets.
pub(super) fn catalogue(catalogue: &Catalogue, seen: &Seen) -> Vec<u8> {
    let visible = catalogue.datasets.iter().filter(|described| is_there(described, seen));
    written(&visible.map(|described| Value::Object(entry(described, seen))).collect::<Vec<_>>())
}

/// What is made of what, with how each dataset is now.
pub(super) fn lineage(catalogue: &Catalogue, today: &Today, seen: &Seen) -> Vec<u8> {
    let visible = || catalogue.datasets.iter().filter(|described| is_there(described, seen));
    let nodes = visible().map(|described| {
        let contract = &described.contract;
        let (layer, name) = names(contract);
        json!({"name": name, "layer": layer, "kind": kind(contract), "state": now_of(today, contract).map(|now| now.state)})
    });
    let edges = visible().flat_map(|described| {
        let to = full_name(&described.contract);
        let from = described.upstream.iter().filter(|from| sees(seen, from));
        from.map(move |from| json!({"from": from, "to": to}))
    });
    written(&json!({"nodes": nodes.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>()}))
}

/// What a dataset's columns are made of; none where the dataset is not there.
pub(super) fn origins(catalogue: &Catalogue, dataset: &str, seen: &Seen) -> Option<Vec<u8>> {
    let described = find(catalogue, dataset, seen)?;
    let (layer, name) = names(&described.contract);
    let sees_column = |origin: &&Origin| {
        origin.dataset.split_once('.').is_some_and(|(layer, name)| seen.column(layer, name, &origin.column).is_some())
    };
    let from = |origins: &[Origin]| origins.iter().filter(sees_column).map(|origin| json!(origin)).collect::<Vec<_>>();
    let columns = columns_seen(&described.contract, seen).map(|(column, _)| {
        let origins = described.origins.get(&*column.name).map(|origins| from(origins)).unwrap_or_default();
        json!({"name": &*column.name, "from": origins})
    });
    let columns = columns.collect::<Vec<_>>();
    let answer = json!({"name": name, "layer": layer, "columns": columns, "conditions": from(&described.conditions)});
    Some(written(&answer))
}

/// A dataset's contract in words, with what its tables say; none where the dataset is not there.
pub(super) fn dataset(facts: (&Catalogue, &Today, &DatasetNews), dataset: &str, seen: &Seen) -> Option<Vec<u8>> {
    let (catalogue, today, news) = facts;
    let described = find(catalogue, dataset, seen)?;
    let contract = &described.contract;
    let (layer, name) = names(contract);
    let (watches, whole) = (seen.watches(), seen.all_rows(layer, name));
    let mut told = entry(described, seen);
    let now = now_of(today, contract).and_then(|now| super::told::dataset_now(now, seen));
    let gate = today.gates.iter().find(|gate| gate.dataset == full_name(contract));
    let gate = gate.map(|gate| {
        let reasons = if watches { json!(gate.reasons) } else { json!([]) };
        json!({"state": gate.state, "since": gate.since, "stale": gate.stale, "reasons": reasons,
               "by": gate.by.as_ref().filter(|_| watches)})
    });
    let model = described.model.as_ref().filter(|model| shows_text(catalogue, described, &model.sql, seen));
    let rules = described.rules.iter().filter(|rule| shows_rule(contract, rule, seen));
    let rules = rules.map(|rule| rule_told(rule, news, (watches, whole)));
    let rejects = watches || seen.table("quarantine", name);
    let more = json!({
        "purpose": contract.purpose,
        "version": contract.version,
        "sla": sla(contract),
        "model": model,
        "topic": match &contract.source { Some(Source::Stream { topic, .. }) => Some(topic), _ => None },
        "delivery": contract.source.as_ref().filter(|source| **source == Source::Feed).map(|_| described.delivery),
        "schema": columns_seen(contract, seen).map(|(column, shown)| column_told(contract, column, shown)).collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "gate": gate,
        "now": now,
        "versions": if whole { json!(news.versions) } else { json!([]) },
        "quarantine": if rejects { json!(news.quarantine) } else { json!([]) },
    });
    if let Value::Object(more) = more {
        told.extend(more);
    }
    Some(written(&told))
}

/// A dataset that is there, by its name with its layer or without.
fn find<'c>(catalogue: &'c Catalogue, dataset: &str, seen: &Seen) -> Option<&'c Described> {
    let is_meant = |described: &&Described| {
        let (layer, name) = names(&described.contract);
        dataset == name || dataset.strip_prefix(layer).and_then(|rest| rest.strip_prefix('.')) == Some(name)
    };
    catalogue.datasets.iter().find(is_meant).filter(|described| is_there(described, seen))
}

/// A dataset's name, as tables have it, where it is there.
pub(super) fn name_of(catalogue: &Catalogue, dataset: &str, seen: &Seen) -> Option<String> {
    find(catalogue, dataset, seen).map(|described| described.contract.dataset.to_string())
}

fn names(contract: &Contract) -> (&str, &str) {
    (contract.layer.as_str(), contract.dataset.as_str())
}

fn full_name(contract: &Contract) -> String {
    format!("{}.{}", contract.layer, contract.dataset)
}

fn is_there(described: &Described, seen: &Seen) -> bool {
    let (layer, name) = names(&described.contract);
    seen.table(layer, name)
}

fn now_of<'t>(today: &'t Today, contract: &Contract) -> Option<&'t DatasetNow> {
    let (layer, name) = names(contract);
    today.datasets.iter().find(|now| now.layer == layer && now.name == name)
}

/// What a list says of a dataset.
fn entry(described: &Described, seen: &Seen) -> serde_json::Map<String, Value> {
    let contract = &described.contract;
    let (layer, name) = names(contract);
    let there = |names: &[String]| names.iter().filter(|name| sees(seen, name)).cloned().collect::<Vec<_>>();
    let entry = json!({
        "name": name,
        "layer": layer,
        "title": title_of(name),
        "description": contract.purpose,
        "owner": contract.team,
        "kind": kind(contract),
        "model": described.model.as_ref().map(|model| &model.kind),
        "tags": described.tags,
        "columns": columns_seen(contract, seen).count(),
        "upstream": there(&described.upstream),
        "downstream": there(&described.downstream),
    });
    if let Value::Object(entry) = entry { entry } else { serde_json::Map::new() }
}

fn kind(contract: &Contract) -> &'static str {
    match contract.source {
        Some(Source::Stream { .. }) => "stream",
        Some(Source::Feed) => "feed",
        None => "model",
    }
}

fn columns_seen<'c>(contract: &'c Contract, seen: &'c Seen) -> impl Iterator<Item = (&'c Column, ColumnShown)> {
    let (layer, name) = names(contract);
    let shown = seen.columns(layer, name);
    contract.columns.iter().filter_map(move |column| Some((column, shown(&column.name)?)))
}

fn column_told(contract: &Contract, column: &Column, shown: ColumnShown) -> Value {
    let at = contract.columns.iter().position(|known| known.name == column.name);
    let key = contract.primary_key.iter().position(|index| Some(*index) == at).map(|place| place + 1);
    let (seen_as, mask) = match shown {
        ColumnShown::Clear => ("clear", None),
        ColumnShown::Masked(mask) => ("masked", Some(mask)),
    };
    json!({
        "name": &*column.name,
        "title": column.title.clone().unwrap_or_else(|| title_of(&column.name)),
        "type": type_of(column),
        "required": column.required,
        "key": key,
        "is_time": contract.time_column.is_some() && contract.time_column == at,
        "description": column.description,
        "unit": column.unit,
        "classification": column.classification.map(|class| class.as_str()),
        "mask": mask,
        "seen_as": seen_as,
        "path": format!("$.{}", column.path.join(".")),
    })
}

/// A column's type as contracts call it.
fn type_of(column: &Column) -> &'static str {
    use vitalake_contract::ColumnType;
    match column.kind {
        ColumnType::String => "string",
        ColumnType::Long | ColumnType::Int => "integer",
        ColumnType::Double | ColumnType::Float => "number",
        ColumnType::Boolean => "boolean",
        ColumnType::Date(_) => "date",
        ColumnType::Timestamp(_) => "timestamp",
        ColumnType::Time(_) => "time",
        ColumnType::Json => "object",
    }
}

fn sla(contract: &Contract) -> Vec<Value> {
    let sla = &contract.sla;
    let said = [("freshness", sla.freshness), ("latency", sla.latency), ("retention", sla.retention)];
    let of = |(property, length): (&str, Option<std::time::Duration>)| {
        let seconds = length?.as_secs();
        let (value, unit) = match seconds {
            s if s > 0 && s.is_multiple_of(86_400) => (s / 86_400, "d"),
            s if s > 0 && s.is_multiple_of(3_600) => (s / 3_600, "h"),
            s if s > 0 && s.is_multiple_of(60) => (s / 60, "min"),
            s => (s, "s"),
        };
        Some(json!({"property": property, "value": value, "unit": unit, "ms": seconds * 1_000}))
    };
    said.into_iter().filter_map(of).collect()
}

fn rule_told(rule: &RuleTold, news: &DatasetNews, (watches, whole): (bool, bool)) -> Value {
    // What was found counts rows of everybody, and may be a value.
    let latest = news.results.get(&rule.name).filter(|_| watches || whole).map(|latest| {
        let got = latest.got.as_ref().filter(|_| watches);
        json!({"at": latest.at, "state": latest.state, "got": got, "want": latest.want, "failed": latest.failed})
    });
    json!({
        "name": rule.name, "column": rule.column, "text": rule.text, "severity": rule.severity, "scope": rule.scope,
        "latest": latest,
    })
}

fn shows_rule(contract: &Contract, rule: &RuleTold, seen: &Seen) -> bool {
    let texts = [Some(&rule.name), rule.column.as_ref(), Some(&rule.text)];
    !texts.into_iter().flatten().any(|text| names_hidden(contract, text, seen))
}

/// Whether a model's text can be shown: to who sees all that it reads, and could name every column in it.
fn shows_text(catalogue: &Catalogue, described: &Described, text: &str, seen: &Seen) -> bool {
    let input = |name: &String| catalogue.datasets.iter().find(|other| full_name(&other.contract) == *name);
    let inputs: Vec<&Described> = described.upstream.iter().filter_map(input).collect();
    inputs.len() == described.upstream.len()
        && inputs.iter().all(|input| is_there(input, seen))
        && !inputs.iter().chain([&described]).any(|of| names_hidden(&of.contract, text, seen))
}

/// Whether a text has the name of a column in it that somebody cannot name.
pub(super) fn names_hidden(contract: &Contract, text: &str, seen: &Seen) -> bool {
    let (layer, name) = names(contract);
    let shown = seen.columns(layer, name);
    let hidden = contract.columns.iter().filter(|column| shown(&column.name).is_none());
    let hidden: Vec<&str> = hidden.map(|column| &*column.name).collect();
    if hidden.is_empty() {
        return false;
    }
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    // A name that is no word by itself is looked for as it stands.
    let is_word = |name: &str| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    let lower = text.to_lowercase();
    let words: BTreeMap<String, ()> = words.map(|word| (word.to_lowercase(), ())).collect();
    hidden.iter().any(|name| {
        let name = name.to_lowercase();
        if is_word(&name) { words.contains_key(&name) } else { lower.contains(&name) }
    })
}
