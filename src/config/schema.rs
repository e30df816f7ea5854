//! The JSON Schema of the file.

use super::file::File;

/// The JSON Schema of the file, for editors and for what is said of unknown keys.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value()
}
