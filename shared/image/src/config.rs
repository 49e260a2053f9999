//! Image configurations: only the diff ids are touched, everything else is kept.

use serde_json::{Map, Value, json};

use crate::{Digest, DocumentError, Platform};

/// An image configuration. Spec: OCI image, "Image Configuration".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    members: Map<String, Value>,
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a configuration, fields unknown to us included.
    ///
    /// # Errors
    /// Not a JSON object, or diff ids that are not digests.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let members: Map<String, Value> = serde_json::from_slice(bytes)?;
        let diff_ids = match members.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")) {
            Some(Value::Null) | None => Vec::new(),
            Some(list) => serde_json::from_value(list.clone())?,
        };
        Ok(Self { members, diff_ids })
    }

    /// The diff ids of the layers, bottom first.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// The platform the image is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        let text = |key: &str| self.members.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let variant = Some(text("variant")).filter(|v| !v.is_empty());
        Platform { os: text("os"), architecture: text("architecture"), variant, other: Map::new() }
    }

    /// Replaces the diff ids, and drops the ids of Docker's old builder, which name images that this is not.
    pub fn set_diff_ids(&mut self, diff_ids: Vec<Digest>) {
        if diff_ids == self.diff_ids {
            return;
        }
        for key in ["config", "container_config"] {
            if let Some(Value::Object(config)) = self.members.get_mut(key) {
                config.shift_remove("Image");
            }
        }
        let rootfs = self.members.entry("rootfs").or_insert_with(|| json!({"type": "layers"}));
        rootfs["diff_ids"] = json!(diff_ids);
        self.diff_ids = diff_ids;
    }

    /// Adds an entry to the history, for a layer that was added above the others.
    pub fn add_history(&mut self, entry: Value) {
        self.history().push(entry);
    }

    /// Adds an entry to the history, for a layer that was added below the others.
    pub fn add_first_history(&mut self, entry: Value) {
        self.history().insert(0, entry);
    }

    /// The history; an empty one where there is none, or something else.
    fn history(&mut self) -> &mut Vec<Value> {
        let history = self.members.entry("history").or_insert_with(|| json!([]));
        if !history.is_array() {
            *history = json!([]);
        }
        history.as_array_mut().expect("it was made one")
    }

    /// The bytes that go to a registry.
    ///
    /// # Panics
    /// Never: a configuration always serialises.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.members).expect("a configuration has only string keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_it_was_read() {
        for number in ["2.2200007039476563e+26", "1.1", "5e-324", "9007199254740993", "18446744073709551615"] {
            let text = format!(r#"{{"os":"linux","architecture":"arm64","x":{number}}}"#);
            let once = ImageConfig::parse(text.as_bytes()).unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&once).contains(number), "{number}: {}", String::from_utf8_lossy(&once));
            assert_eq!(ImageConfig::parse(&once).unwrap().to_bytes(), once);
        }
    }

    #[test]
    fn changes_nothing_but_the_diff_ids() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","x":1,"config":{{"Image":"sha256:1","Cmd":["a"]}},"rootfs":{{"type":"layers","diff_ids":["{old}"]}},"history":[]}}"#
        );
        let mut config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.diff_ids(), [old]);
        assert_eq!(config.platform().to_string(), "linux/arm64/v8");
        config.set_diff_ids(vec![new]);
        let expected = text.replace(&old.to_string(), &new.to_string()).replace(r#""Image":"sha256:1","#, "");
        assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn adds_to_the_history_whatever_there_is_of_it() {
        let rows = [
            (r#"{"history":[{"created":"x"}],"os":"linux"}"#, r#"{"history":[{"created":"x"},{"by":1}],"os":"linux"}"#),
            (r#"{"os":"linux"}"#, r#"{"os":"linux","history":[{"by":1}]}"#),
            (r#"{"history":null}"#, r#"{"history":[{"by":1}]}"#),
        ];
        for (before, after) in rows {
            let mut config = ImageConfig::parse(before.as_bytes()).unwrap();
            config.add_history(json!({"by": 1}));
            assert_eq!(String::from_utf8(config.to_bytes()).unwrap(), after);
            config.add_first_history(json!({"by": 0}));
            assert!(String::from_utf8(config.to_bytes()).unwrap().contains(r#""history":[{"by":0},{"#));
        }
    }
}
