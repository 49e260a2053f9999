//! acceld's file as paths and values; what is taken over is taken out, what is left was not understood.

use crate::config::fault::{ConfigErrors, Fault, join};
use crate::config::yaml::{self, Node, Place, Value};
use crate::config::{MAX_FILE_BYTES, fault};

pub(super) struct Leaves(Vec<Leaf>);

struct Leaf {
    path: String,
    /// The path's keys, for maps whose keys the person chose.
    keys: Vec<String>,
    value: String,
}

impl Leaves {
    pub(super) fn read(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        let stop = |place: Place, message: String| {
            let fault = Fault { line: place.line, column: place.column, key: String::new(), message };
            ConfigErrors::new(name, vec![fault])
        };
        if text.len() > MAX_FILE_BYTES {
            return Err(stop(Place::START, "the file is larger than 1 MiB".to_owned()));
        }
        let root = yaml::read(text).map_err(|error| stop(error.place, error.message))?;
        let mut leaves = Vec::new();
        collect(&mut leaves, String::new(), &mut Vec::new(), &root);
        Ok(Self(leaves))
    }

    /// Whether there is anything under the first key `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|leaf| leaf.keys.first().is_some_and(|first| first == key))
    }

    /// The value at `path`, taken out.
    pub(super) fn take(&mut self, path: &str) -> Option<String> {
        let at = self.0.iter().position(|leaf| leaf.path == path)?;
        Some(self.0.remove(at).value)
    }

    /// Takes out everything at and below `path`.
    pub(super) fn drop_below(&mut self, path: &str) {
        self.0.retain(|leaf| !fault::is_below(&leaf.path, path));
    }

    /// The keys of the map at `path`, which is made of plain keys, in order.
    pub(super) fn keys_below(&self, path: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        let below = self.0.iter().filter(|leaf| fault::is_below(&leaf.path, path));
        for key in below.filter_map(|leaf| leaf.keys.get(path.split('.').count())) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    /// The paths of the items of the list at `path`, in order.
    pub(super) fn items_of(&self, path: &str) -> Vec<String> {
        let item = |at: &usize| format!("{path}[{at}]");
        let known = |item: &String| self.0.iter().any(|leaf| fault::is_below(&leaf.path, item));
        (0..self.0.len()).map(|at| item(&at)).filter(known).collect()
    }

    /// The paths that nobody took.
    pub(super) fn into_paths(self) -> Vec<String> {
        self.0.into_iter().map(|leaf| leaf.path).collect()
    }
}

fn collect(leaves: &mut Vec<Leaf>, path: String, keys: &mut Vec<String>, node: &Node) {
    match &node.value {
        Value::Null => leaves.push(Leaf { path, keys: keys.clone(), value: String::new() }),
        Value::Text { text, .. } => leaves.push(Leaf { path, keys: keys.clone(), value: text.clone() }),
        Value::List(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(leaves, format!("{path}[{at}]"), keys, item);
            }
        }
        // An empty map may still be a registry.
        Value::Map(entries) if entries.is_empty() => {
            leaves.push(Leaf { path, keys: keys.clone(), value: String::new() });
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                keys.push(key.text.clone());
                collect(leaves, join(&path, &key.text), keys, value);
                keys.pop();
            }
        }
    }
}
