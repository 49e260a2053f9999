//! Walks the tree of a file into typed values. What is wrong is collected, never thrown: one walk finds every fault.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::str::FromStr;

use super::fault::{Faults, join};
use super::yaml::{Key, Node, Value};

/// A value in the file and the path to it.
pub(super) struct Item<'a> {
    faults: &'a Faults,
    path: String,
    node: &'a Node,
}

/// What can be read from the file. `None` means that a fault was said.
pub(super) trait FromYaml: Sized {
    fn from_yaml(item: Item<'_>) -> Option<Self>;
}

impl<'a> Item<'a> {
    pub(super) fn root(faults: &'a Faults, node: &'a Node) -> Self {
        Self { faults, path: String::new(), node }
    }

    fn refuse<T>(&self, message: impl Display) -> Option<T> {
        self.faults.say(&self.path, message);
        None
    }

    /// Whether nothing stands here.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// The map here.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        match &self.node.value {
            Value::Map(entries) => Some(Section::new(self.faults, self.path.clone(), entries)),
            other => self.refuse(format_args!("must be a map of keys, not {}", kind(other))),
        }
    }

    /// The items of the list here.
    pub(super) fn items(&self) -> Option<impl Iterator<Item = Self>> {
        match &self.node.value {
            Value::List(items) => Some(items.iter().enumerate().map(|(at, node)| Self {
                faults: self.faults,
                path: format!("{}[{at}]", self.path),
                node,
            })),
            other => self.refuse(format_args!("must be a list, not {}", kind(other))),
        }
    }

    /// The text here, and whether it stood in quotes.
    pub(super) fn text(&self) -> Option<(&'a str, bool)> {
        match &self.node.value {
            Value::Text { text, quoted } => Some((text, *quoted)),
            other => self.refuse(format_args!("must be a single value, not {}", kind(other))),
        }
    }

    /// The text here as `T`.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.text()?.0.parse().map_or_else(|error| self.refuse(error), Some)
    }

    /// The whole number here.
    fn number<T: TryFrom<i128>>(&self) -> Option<T> {
        let (text, quoted) = self.text()?;
        match text.parse::<i128>() {
            Ok(_) if quoted => self.refuse("must be a number: write it without quotes"),
            Ok(number) => match T::try_from(number) {
                Ok(number) => Some(number),
                Err(_) => self.refuse(format_args!("{number} is out of range")),
            },
            Err(_) => self.refuse(format_args!("`{}` is not a whole number", short(text))),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let (text, _) = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map_or_else(
            || {
                let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
                self.refuse(format_args!("`{}` is none of {}", short(text), names.join(", ")))
            },
            |(_, value)| Some(*value),
        )
    }
}

/// A map whose keys are asked for one by one; [`Section::finish`] reports those that nobody asked for.
pub(super) struct Section<'a> {
    faults: &'a Faults,
    path: String,
    entries: &'a [(Key, Node)],
    asked: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(faults: &'a Faults, path: String, entries: &'a [(Key, Node)]) -> Self {
        let mut lines = HashMap::new();
        for (key, _) in entries {
            match lines.entry(key.text.as_str()) {
                Entry::Vacant(new) => drop(new.insert(key.place.line)),
                Entry::Occupied(first) => {
                    let message = format!("stands here twice, first in line {}", first.get());
                    faults.say_at(key.place, &join(&path, &key.text), message);
                }
            }
        }
        Self { faults, path, entries, asked: Vec::new(), refused: Vec::new() }
    }

    /// The value of `key`; `None` if it is absent, or faulty and said so.
    pub(super) fn get<T: FromYaml>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        let (_, node) = self.entries.iter().find(|(entry, _)| entry.text == key)?;
        let item = Item { faults: self.faults, path: join(&self.path, key), node };
        if matches!(node.value, Value::Null) {
            return item.refuse("has no value: write one or leave the key out");
        }
        T::from_yaml(item)
    }

    /// The value of `key`, or its default.
    pub(super) fn or<T: FromYaml>(&mut self, key: &'static str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// The value of `key`, which has to be there.
    pub(super) fn required<T: FromYaml>(&mut self, key: &'static str) -> Option<T> {
        if !self.entries.iter().any(|(entry, _)| entry.text == key) {
            self.faults.say(&self.path, format_args!("`{key}` is missing"));
        }
        self.get(key)
    }

    /// A key that people know from elsewhere and that has no place here: `reason` says why, where it stands.
    pub(super) fn refuse(&mut self, key: &'static str, reason: &str) {
        self.refused.push(key);
        if let Some((entry, _)) = self.entries.iter().find(|(entry, _)| entry.text == key) {
            self.faults.say_at(entry.place, &join(&self.path, key), reason);
        }
    }

    /// A fault of `key`.
    pub(super) fn say(&self, key: &str, message: impl Display) {
        self.faults.say(&join(&self.path, key), message);
    }

    /// Every key with its value, for maps whose keys the person chooses.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        self.entries.iter().map(|(key, node)| {
            let path = join(&self.path, &key.text);
            (key.text.as_str(), Item { faults: self.faults, path, node })
        })
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.entries {
            let is_known = self.asked.contains(&key.text.as_str()) || self.refused.contains(&key.text.as_str());
            if !is_known && !self.faults.are_enough() {
                self.faults.say_at(key.place, &join(&self.path, &key.text), self.unknown(&key.text));
            }
        }
    }

    fn unknown(&self, key: &str) -> String {
        let distance = |known: &&str| strsim::damerau_levenshtein(known, &key.to_lowercase());
        let close = |known: &&str| distance(known) <= 2.max(known.len() / 3);
        match self.asked.iter().copied().min_by_key(distance).filter(close) {
            Some(nearest) => format!("is not a known key: did you mean `{nearest}`?"),
            None => format!("is not a known key: here can stand {}", self.asked.join(", ")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Text { .. } => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

impl<T: FromYaml> FromYaml for Vec<T> {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        Some(item.items()?.filter_map(T::from_yaml).collect())
    }
}

impl<T: FromYaml> FromYaml for Option<T> {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        T::from_yaml(item).map(Some)
    }
}

impl FromYaml for bool {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        match item.text()? {
            ("true", false) => Some(true),
            ("false", false) => Some(false),
            _ => item.refuse("must be true or false"),
        }
    }
}

/// Types whose text form is the one in the file.
macro_rules! from_text {
    ($($kind:ty),*) => {$(
        impl FromYaml for $kind {
            fn from_yaml(item: Item<'_>) -> Option<Self> {
                item.parsed()
            }
        }
    )*};
}

from_text!(
    String,
    std::path::PathBuf,
    crate::ByteSize,
    crate::Format,
    crate::TargetTemplate,
    crate::secret::SecretRef,
    super::Period,
    accel_image::Platform,
    accel_image::Reference
);

macro_rules! from_number {
    ($($kind:ty),*) => {$(
        impl FromYaml for $kind {
            fn from_yaml(item: Item<'_>) -> Option<Self> {
                item.number()
            }
        }
    )*};
}

from_number!(u8, u16, u32, u64);
