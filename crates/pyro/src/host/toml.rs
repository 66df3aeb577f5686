//! TOML of which everything but one entry stays as it is.

use serde_json::{Map, Value, json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

use super::document::{Change, Unusable, dotted};

/// All that a text says.
pub(super) fn value_of(text: &str) -> Result<Value, Unusable> {
    Ok(map_of(parse(text)?.as_table()))
}

/// The text with these keys changed in the table at the end of `keys`.
pub(super) fn changed(text: &str, keys: &[String], changes: &[Change]) -> Result<String, Unusable> {
    let entangled = || Unusable::Entangled { place: dotted(keys) };
    // Lines end in one way while they are worked on; how they ended comes back afterwards.
    let mut document = parse(&text.replace("\r\n", "\n"))?;
    let (name, above) = keys.split_last().ok_or_else(entangled)?;
    let mut servers: &mut dyn TableLike = document.as_table_mut();
    for key in above {
        let inner = servers.entry(key).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        servers = inner.as_table_like_mut().ok_or_else(entangled)?;
    }
    match servers.get_mut(name) {
        Some(entry) => {
            let entry = entry.as_table_like_mut().ok_or_else(entangled)?;
            changes.iter().for_each(|change| alter(entry, change));
        }
        None => {
            let entry = fresh(servers, changes);
            servers.insert(name, entry);
        }
    }
    Ok(with_line_ends_of(text, &document.to_string()))
}

fn parse(text: &str) -> Result<DocumentMut, Unusable> {
    text.parse().map_err(|error: toml_edit::TomlError| Unusable::Malformed {
        notation: "TOML",
        problem: error.to_string().trim_end().to_owned(),
    })
}

/// A new entry in the manner of those around it: a table of its own, an inline one among inline ones, dotted keys
/// among dotted keys.
fn fresh(servers: &dyn TableLike, changes: &[Change]) -> Item {
    let values = changes.iter().filter_map(|change| Some((change.key, input(change.value.as_ref()?)?)));
    let inline = servers.iter().next().is_some() && servers.iter().all(|(_, item)| item.is_inline_table());
    if inline {
        return Item::Value(values.collect::<InlineTable>().into());
    }
    let mut table = Table::new();
    table.set_dotted(servers.is_dotted());
    for (key, value) in values {
        table.insert(key, Item::Value(value));
    }
    Item::Table(table)
}

/// Comments around a value stay when it changes.
fn alter(entry: &mut dyn TableLike, change: &Change) {
    let Some(mut value) = change.value.as_ref().and_then(input) else {
        entry.remove(change.key);
        return;
    };
    match entry.get_mut(change.key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => {
            entry.insert(change.key, Item::Value(value));
        }
    }
}

fn input(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.into(),
        Value::Array(elements) => elements.iter().filter_map(input).collect::<Array>().into(),
        Value::Object(members) => members
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), input(value)?)))
            .collect::<InlineTable>()
            .into(),
    })
}

fn map_of(table: &dyn TableLike) -> Value {
    Value::Object(table.iter().map(|(key, item)| (key.to_owned(), of_item(item))).collect::<Map<_, _>>())
}

fn of_item(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => of_value(value),
        Item::Table(table) => map_of(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| map_of(table)).collect(),
    }
}

fn of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        // What JSON has no number for is compared as text.
        toml_edit::Value::Float(number) if !number.value().is_finite() => json!(number.value().to_string()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::Boolean(truth) => json!(truth.value()),
        toml_edit::Value::Datetime(moment) => json!(moment.value().to_string()),
        toml_edit::Value::Array(elements) => elements.iter().map(of_value).collect(),
        toml_edit::Value::InlineTable(table) => map_of(table),
    }
}

/// The new text with the line ends of the old one: at every line before and behind what changed its own, and between
/// those the one that the old text uses most.
fn with_line_ends_of(before: &str, after: &str) -> String {
    let old: Vec<(&str, &str)> = before.split_inclusive('\n').map(line_and_end).collect();
    let new: Vec<(&str, &str)> = after.split_inclusive('\n').map(line_and_end).collect();
    let same = |(old, new): &(&(&str, &str), &(&str, &str))| old.0 == new.0;
    let ahead = old.iter().zip(&new).take_while(same).count();
    let behind = old[ahead..].iter().rev().zip(new[ahead..].iter().rev()).take_while(same).count();
    let carriage_returns = old.iter().filter(|(_, end)| *end == "\r\n").count();
    let usual = if carriage_returns * 2 > old.len() { "\r\n" } else { "\n" };
    let mut text = String::with_capacity(after.len());
    for (index, (line, _)) in new.iter().enumerate() {
        let end = if index < ahead {
            old[index].1
        } else if index >= new.len() - behind {
            old[old.len() - (new.len() - index)].1
        } else {
            usual
        };
        // Only the last line of all may go without an end.
        let end = if end.is_empty() && index + 1 < new.len() { usual } else { end };
        text.push_str(line);
        text.push_str(end);
    }
    text
}

fn line_and_end(line: &str) -> (&str, &str) {
    let end = if line.ends_with("\r\n") { 2 } else { usize::from(line.ends_with('\n')) };
    line.split_at(line.len() - end)
}
