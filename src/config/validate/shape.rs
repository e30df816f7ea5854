//! Whether the file has tables where tables belong, lists where lists belong, and no keys that mean nothing: held against the
//! same schema that editors use, before any value is looked at, and all of it at once.

use std::sync::LazyLock;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::config::problem::Collector;
use crate::config::schema::schema;

/// How many keys of a table are named, to show how it is written.
const SHOWN: usize = 3;

/// Reports what has not the shape of a configuration, and takes it out of `document`, so that the rest can be read.
pub(super) fn hold_against_schema(document: &mut DeTable<'_>, problems: &mut Collector<'_>) {
    // Made once: a file may hold many keys that are not known.
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
    table("", document, &SCHEMA, problems);
}

/// A table, whose schema has `properties`.
fn table(at: &str, found: &mut DeTable<'_>, schema: &Value, problems: &mut Collector<'_>) {
    let properties = &schema["properties"];
    let mut wrong = Vec::new();
    for (key, value) in found.iter_mut() {
        let place = if at.is_empty() { key.get_ref().to_string() } else { format!("{at}.{}", key.get_ref()) };
        match properties.get(&**key.get_ref()) {
            None => problems.add(&place, "unknown key", remedy_for_unknown(key.get_ref(), properties)),
            Some(schema) if value_of(&place, value.get_mut(), schema, problems) => {}
            Some(_) => wrong.push(key.clone()),
        }
    }
    for key in wrong {
        found.remove(&key);
    }
}

/// A value; `false` if it has not the shape that it must have, which is reported then. Single values are not looked at.
fn value_of(at: &str, found: &mut DeValue<'_>, schema: &Value, problems: &mut Collector<'_>) -> bool {
    let schema = alternative(schema, found);
    let name = at.rsplit('.').next().unwrap_or(at);
    if schema["properties"].is_object() {
        if let DeValue::Table(inner) = found {
            table(at, inner, schema, problems);
            return true;
        }
        let remedy = if at.contains(['.', '[']) {
            let name = name.split('[').next().unwrap_or(name);
            let is_item = name.len() < at.rsplit('.').next().unwrap_or(at).len();
            let inline = inline(schema);
            if is_item { format!("write {name} = [{inline}]") } else { format!("write {name} = {inline}") }
        } else {
            format!("write [{name}] on a line of its own, and its settings below")
        };
        problems.add(at, format!("is {}, and has to be a table", kind(found)), remedy);
        return false;
    }
    let items = &schema["items"];
    if !(items["properties"].is_object() || items["anyOf"].is_array()) {
        return true;
    }
    if let DeValue::Array(list) = found {
        let each = list.iter_mut().enumerate();
        return each.fold(true, |all, (index, item)| {
            value_of(&format!("{at}[{index}]"), item.get_mut(), items, problems) && all
        });
    }
    let remedy = if at.contains('.') {
        format!("write {name} = [{}]", inline(items))
    } else {
        format!(
            "there can be several, so write [[{name}]], with two brackets, and its name and settings below"
        )
    };
    problems.add(at, format!("is {}, and has to be a list", kind(found)), remedy);
    false
}

/// The alternative that is meant, where a value may be a text or a table.
fn alternative<'s>(schema: &'s Value, found: &DeValue<'_>) -> &'s Value {
    let alternatives = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_text = |one: &&Value| matches!(found, DeValue::String(_)) && one["type"] == "string";
    let is_table = |one: &&Value| one["properties"].is_object();
    alternatives.iter().find(is_text).or_else(|| alternatives.iter().find(is_table)).unwrap_or(schema)
}

/// How an item is written: a text where it may be one, else a table in one line.
fn inline(schema: &Value) -> String {
    if schema["anyOf"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "string")) {
        return "\"…\"".to_owned();
    }
    let keys = schema["properties"].as_object().into_iter().flatten();
    let keys: Vec<_> = keys.take(SHOWN).map(|(key, _)| format!("{key} = …")).collect();
    format!("{{ {} }}", keys.join(", "))
}

const fn kind(found: &DeValue<'_>) -> &'static str {
    match found {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Names the nearest key that exists at this place.
fn remedy_for_unknown(name: &str, properties: &Value) -> String {
    let known: Vec<&str> =
        properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => format!("remove it; keys here are {}", known.join(", ")),
    }
}
