//! The JSON documents against the schemas in `docs/schema`, by a validator that is not ours.

use boon::{Compiler, Schemas};
use serde_json::Value;

/// The schema of a document, by the name of its file.
fn schema_of(document: &Value) -> String {
    let has = |key: &str| document.get(key).is_some();
    match document["command"].as_str() {
        _ if has("error") => "error".to_owned(),
        Some("rollback") => "sync".to_owned(),
        // A unit that does nothing while updates are suspended prints it too.
        Some("suspend" | "update" | "rebuild" | "reboot") if has("suspended") => {
            "suspended".to_owned()
        }
        Some(command) => command.replace(' ', "-"),
        None => panic!("the document does not name its command: {document:#}"),
    }
}

/// Insists on a document that its schema describes, with nothing beside.
#[track_caller]
pub fn check(document: &Value) {
    let name = schema_of(document);
    let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut schemas = Schemas::new();
    let schema = Compiler::new()
        .compile(&path, &mut schemas)
        .unwrap_or_else(|error| panic!("{error:#}"));
    if let Err(error) = schemas.validate(document, schema) {
        panic!("{error:#}\n{document:#}");
    }
}
