//! What a container engine says may hold secrets anywhere: environments, labels, arguments.

use super::mask_secrets;
use crate::{Blob, lossy};
use serde_json::Value;

/// Labels that tell to which project and service a container belongs.
const PLAIN_LABELS: [&str; 2] = ["com.docker.compose.", "io.podman.compose."];

/// The JSON with the values of environments and of foreign labels masked, and secrets in all other strings; what is no
/// JSON is not kept.
pub(super) fn mask_engine(blob: &Blob) -> Blob {
    let Ok(mut value) = serde_json::from_slice::<Value>(blob.as_slice()) else { return Blob::default() };
    mask_value(&mut value);
    serde_json::to_vec(&value).map(Blob::from).unwrap_or_default()
}

fn mask_value(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("Env", Value::Array(entries)) => entries.iter_mut().for_each(mask_variable),
                    ("Labels" | "Annotations", Value::Object(labels)) => {
                        let foreign = labels
                            .iter_mut()
                            .filter(|(name, _)| !PLAIN_LABELS.iter().any(|own| name.starts_with(own)));
                        foreign.for_each(|(_, value)| mask_whole(value));
                    }
                    (_, value) => mask_value(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask_value),
        Value::String(text) => *text = lossy(&mask_secrets(text.as_bytes())),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

/// `NAME=value` keeps its name.
fn mask_variable(entry: &mut Value) {
    let Value::String(text) = entry else { return mask_whole(entry) };
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    *text = format!("{name}={}", "*".repeat(value.len()));
}

fn mask_whole(value: &mut Value) {
    match value {
        Value::String(text) => *text = "*".repeat(text.len()),
        Value::Array(values) => values.iter_mut().for_each(mask_whole),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| mask_whole(value)),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_and_foreign_labels_go() {
        let text = r#"{"Config":{"Env":["PLAIN=visible","DB_PASSWORD=hunter2"],"Labels":{"com.docker.compose.service":"app","traefik.basicauth":"u:p"}},"Args":["--token=abc","x"],"Name":"/app"}"#;
        let masked = mask_engine(&Blob::from(text));
        let shown = lossy(masked.as_slice());
        for secret in ["visible", "hunter2", "u:p", "abc"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        for kept in ["DB_PASSWORD=*******", "\"app\"", "/app", "traefik.basicauth"] {
            assert!(shown.contains(kept), "{shown}");
        }
        assert_eq!(mask_engine(&masked), masked, "it is idempotent");
        assert_eq!(mask_engine(&Blob::from("PASSWORD=x {")), Blob::default());
    }
}
