//! What is wrong with a file: every fault, each with its place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::yaml::{Node, Place, Value};

/// Faults beyond this many are not listed.
const MAX_FAULTS: usize = 100;
/// Faults beyond this many are not looked for: nobody reads them.
const ENOUGH: usize = 1000;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The path of the key: `rules[0].convert[1].level`. Empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Everything that is wrong with a file, in the order of its lines. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    name: String,
    faults: Vec<Fault>,
}

impl ConfigErrors {
    pub(super) fn new(name: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults.truncate(MAX_FAULTS);
        Self { name: name.to_owned(), faults }
    }

    /// The name of the file, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The faults, one or more.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigErrors {
    /// One line a fault, as compilers write them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { line, column, key, message }) in self.faults.iter().enumerate() {
            let (end, colon) = (if at == 0 { "" } else { "\n" }, if key.is_empty() { "" } else { ": " });
            write!(f, "{end}{}:{line}:{column}: {key}{colon}{message}", self.name)?;
        }
        Ok(())
    }
}

/// Collects faults while a file is read and checked.
pub(super) struct Faults {
    places: BTreeMap<String, Place>,
    found: RefCell<Vec<Fault>>,
}

impl Faults {
    /// An empty collection that knows the place of every key below `root`.
    pub(super) fn new(root: &Node) -> Self {
        let mut places = BTreeMap::new();
        remember(&mut places, String::new(), root);
        Self { places, found: RefCell::default() }
    }

    /// A fault of the key at `path`, or of the nearest section above it that is in the file.
    pub(super) fn say(&self, path: &str, message: impl fmt::Display) {
        let mut above = path;
        let place = loop {
            match self.places.get(above) {
                Some(place) => break *place,
                None => above = above.rfind(['.', '[']).map_or("", |at| &above[..at]),
            }
        };
        self.say_at(place, path, message);
    }

    /// A fault at a place.
    pub(super) fn say_at(&self, place: Place, path: &str, message: impl fmt::Display) {
        let fault =
            Fault { line: place.line, column: place.column, key: path.to_owned(), message: message.to_string() };
        let mut found = self.found.borrow_mut();
        if found.len() < ENOUGH && !found.contains(&fault) {
            found.push(fault);
        }
    }

    /// Whether to look for more makes no sense.
    pub(super) fn are_enough(&self) -> bool {
        self.found.borrow().len() >= ENOUGH
    }

    /// Whether something at `path` or below it is wrong already, so that further checks of it would only confuse.
    pub(super) fn touch(&self, path: &str) -> bool {
        let below =
            |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.found.borrow().iter().any(|fault| below(&fault.key))
    }

    pub(super) fn into_list(self) -> Vec<Fault> {
        self.found.into_inner()
    }
}

/// Whether `key` is the path `path` or one below it.
pub(super) fn is_below(key: &str, path: &str) -> bool {
    key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The path of `key` below `path`. Keys with other characters than words have are quoted.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let shown: String = key.chars().take(80).collect();
    let shown = if plain { shown } else { format!("{shown:?}") };
    if path.is_empty() { shown } else { format!("{path}.{shown}") }
}

fn remember(places: &mut BTreeMap<String, Place>, path: String, node: &Node) {
    places.entry(path.clone()).or_insert(node.place);
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let below = join(&path, &key.text);
                places.entry(below.clone()).or_insert(key.place);
                remember(places, below, value);
            }
        }
        Value::List(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(at, item)| remember(places, format!("{path}[{at}]"), item));
        }
        Value::Null | Value::Text { .. } => {}
    }
}
