//! `docs/CONFIGURATION.md`, made from the schema and so from the doc comments of the structs.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::schema;

const EXAMPLE: &str = include_str!("example.yaml");
const HEAD: &str = "\n| key | type | default | meaning |\n| --- | --- | --- | --- |";
const REGENERATE: &str = "cargo run -q -p accel-domain --example configuration > docs/CONFIGURATION.md";

/// The reference of every key: type, default, meaning, example.
#[must_use]
pub fn reference_markdown() -> String {
    let schema = schema();
    let mut page = Page { defs: &schema["$defs"], text: String::new() };
    page.line("# Configuration\n");
    page.line(&format!(
        "<!-- Made from the doc comments of accel_domain::config by `{REGENERATE}`: do not edit. -->\n"
    ));
    page.line("One YAML file, the same for `accelctl serve`, in AWS and on an emulator.");
    page.line("`accelctl config check FILE` reports everything that is wrong with one, each fault with its line;");
    page.line(
        "`accelctl config migrate FILE` turns acceld's into ours; `accelctl config schema` prints the JSON Schema.\n",
    );
    page.line(description(&schema).split_once("\n\n").map_or("", |(_, rest)| rest));
    page.line(&format!("\n```yaml\n{EXAMPLE}```"));
    for (key, section) in properties(&schema) {
        page.nested(key, section, Some(description(section)));
    }
    page.text
}

struct Page<'a> {
    defs: &'a Value,
    text: String,
}

impl<'a> Page<'a> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The section that the key at `path` leads to, if there is one.
    fn nested(&mut self, path: &str, schema: &'a Value, introduction: Option<&str>) {
        if let Some((below, section)) = self.below(path, schema) {
            self.section(&below, introduction, section);
        }
    }

    /// Path and schema of the section that `schema`, at `path`, leads to: a map of keys, a map of chosen keys or a list.
    fn below(&self, path: &str, schema: &'a Value) -> Option<(String, &'a Value)> {
        let named = self.resolve(schema);
        let entries = named.get("additionalProperties").filter(|entries| entries.is_object());
        let (path, section) = match (entries, named.get("items")) {
            (Some(entries), _) => (format!("{path}.<host>"), self.resolve(entries)),
            (None, Some(items)) => (format!("{path}[]"), self.resolve(items)),
            (None, None) => (path.to_owned(), named),
        };
        section.get("properties").is_some().then_some((path, section))
    }

    fn section(&mut self, path: &str, introduction: Option<&str>, section: &'a Value) {
        self.line(&format!("\n## `{path}`\n"));
        if let Some(text) = introduction.filter(|text| *text != description(section)) {
            self.line(&format!("{text}\n"));
        }
        self.line(description(section));
        let variants: Vec<&Value> = section["oneOf"].as_array().into_iter().flatten().collect();
        self.line(HEAD);
        if !variants.is_empty() {
            let formats: Vec<String> = variants.iter().map(|variant| code(format_of(variant))).collect();
            self.line(&format!("| `format` | {} | required | The format. |", formats.join(", ")));
        }
        self.rows(path, section);
        for variant in variants {
            self.line(&format!("\n### `{path}` with `format: {}`\n", format_of(variant).as_str().unwrap_or_default()));
            self.line(HEAD.trim_start());
            self.rows(path, variant);
        }
        for (key, schema) in properties(section) {
            self.nested(&format!("{path}.{key}"), schema, None);
        }
    }

    fn rows(&mut self, path: &str, section: &'a Value) {
        let required = |key: &str| section["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
        for (key, schema) in properties(section).filter(|(_, schema)| schema.get("const").is_none()) {
            let below = self.below(&format!("{path}.{key}"), schema);
            let kind = match &below {
                Some((path, _)) => format!("[{}](#{})", self.kind(schema), anchor(path)),
                None => self.kind(schema),
            };
            let default = match schema.get("default") {
                _ if required(key) => "required".to_owned(),
                Some(value) => code(value),
                None => String::new(),
            };
            let example = schema["examples"][0].clone();
            let example = if example.is_null() { String::new() } else { format!(" Example: {}", code(&example)) };
            let meaning = cell(description(schema)) + &cell(&example);
            let row = format!("| `{key}` | {kind} | {default} | {meaning} |");
            self.line(&row);
        }
    }

    /// The type of a value in words.
    fn kind(&self, schema: &Value) -> String {
        let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let named = self.resolve(schema);
        match (name, named["type"].as_str()) {
            ("ByteSize", _) => "size".to_owned(),
            ("Period", _) => "time".to_owned(),
            ("SecretRef", _) => "secret".to_owned(),
            (_, Some("integer")) => match (named["minimum"].as_u64(), named["maximum"].as_u64()) {
                (Some(least), Some(most)) => format!("number, {least} to {most}"),
                (_, _) => "number".to_owned(),
            },
            (_, Some("boolean")) => "true or false".to_owned(),
            (_, Some("array")) => {
                let item = self.kind(&named["items"]);
                if item == "section" { "list of sections".to_owned() } else { format!("list of {item}") }
            }
            (_, Some("object")) => "section".to_owned(),
            (_, _) => match named["oneOf"].as_array() {
                Some(choices) => choices.iter().map(|choice| code(&choice["const"])).collect::<Vec<_>>().join(", "),
                None => "text".to_owned(),
            },
        }
    }

    fn resolve<'b>(&self, schema: &'b Value) -> &'b Value
    where
        'a: 'b,
    {
        let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        name.map_or(schema, |name| &self.defs[name])
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"].as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

fn format_of(variant: &Value) -> &Value {
    &variant["properties"]["format"]["const"]
}

/// Text for a table's cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// A value as YAML writes it on one line.
fn code(value: &Value) -> String {
    let mut text = String::new();
    yaml(&mut text, value);
    format!("`{text}`")
}

fn yaml(text: &mut String, value: &Value) {
    match value {
        Value::String(plain) => text.push_str(plain),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                yaml(text, item);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            write!(text, "{value}").expect("a String takes everything");
        }
    }
}

/// What renderers make of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};

    #[test]
    fn the_page_in_docs_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(checked_in == reference_markdown(), "docs/CONFIGURATION.md is out of date; run\n    {REGENERATE}");
    }

    #[test]
    fn the_example_is_a_good_file() {
        let config = parse(EXAMPLE, "example.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        assert!(config.required_rules().is_ok() && config.warnings().is_empty(), "{:?}", config.warnings());
    }

    #[test]
    fn every_key_of_a_configuration_is_described() {
        let page = reference_markdown();
        let good = parse(include_str!("../../tests/good.yaml"), "good.yaml").unwrap();
        let mut keys = Vec::new();
        collect(&serde_json::to_value(&good).unwrap(), &mut keys);
        keys.retain(|key| {
            !key.contains("example.com") && !["localhost:5000", "docker.io", "ghcr.io/team"].contains(&&**key)
        });
        assert!(keys.len() > 40, "{keys:?}");
        for key in keys {
            assert!(["`", "[]`", ".<host>`"].iter().any(|end| page.contains(&format!("`{key}{end}"))), "{key}");
        }
        for (line, text) in page.lines().enumerate().filter(|(_, text)| text.starts_with("| `")) {
            assert_eq!(text.split(" | ").count(), 4, "line {line}: {text}");
            assert!(!text.ends_with("|  |"), "line {line} has no meaning: {text}");
        }
    }

    fn collect(value: &Value, keys: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                keys.push(key.clone());
                collect(value, keys);
            }),
            Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_schema_has_the_defaults_and_no_null() {
        let schema = schema();
        assert!(!schema.to_string().contains("null"), "{schema:#}");
        assert_eq!(schema["$defs"]["Server"]["properties"]["workers"]["default"], Config::default().server.workers);
        assert_eq!(schema["$defs"]["Rule"]["required"], serde_json::json!(["convert"]));
    }
}
