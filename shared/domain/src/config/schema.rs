//! The JSON Schema of the file, for editors, made from the structs.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde_json::Value;

use super::Config;

/// The JSON Schema of the file (draft 2020-12).
///
/// # Panics
/// Never: a schema is always an object.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<Config>();
    schema.insert("title".to_owned(), Value::from(format!("{} of Accel", Config::schema_name())));
    let mut schema = schema.to_value();
    // Numbers of bytes need no quotes.
    schema["$defs"]["ByteSize"]["type"] = Value::from(vec!["string", "integer"]);
    schema
}

/// A key that may be left out has no value then; it is never null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            only.into_iter().for_each(|(key, value)| drop(schema.insert(key, value)));
        }
    }
    // The defaults of a section stand at its keys.
    if schema.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
        schema.remove("default");
    }
}
