//! YAML as a tree that knows where everything stood. Of YAML only what a configuration needs: no aliases (and so no
//! bombs), no tags, one document, 32 levels.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

/// Deeper than any configuration, shallow enough to be walked recursively.
const MAX_DEPTH: usize = 32;

/// Where something stands, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

impl From<&Marker> for Place {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value as it was written.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Text { text: String, quoted: bool },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map. A map may hold the same key twice: that is the reader's to report.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Why a text is not the YAML that we read. It stops the reading: what follows cannot be trusted.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Unreadable {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl From<ScanError> for Unreadable {
    fn from(error: ScanError) -> Self {
        Self::new(error.marker().into(), format!("this is not YAML: {}", error.info()))
    }
}

/// Reads the one document of `text`. An empty one is an empty map.
pub(super) fn read(text: &str) -> Result<Node, Unreadable> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        tree.add(event, span)?;
    }
    Ok(tree.root.unwrap_or(Node { place: Place::START, value: Value::Map(Vec::new()) }))
}

/// The tree so far: the open lists and maps from the outside in.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
}

struct Open {
    node: Node,
    key: Option<Key>,
}

impl Tree {
    fn add(&mut self, event: Event<'_>, span: Span) -> Result<(), Unreadable> {
        let place = Place::from(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Unreadable::new(place, "there is a second document: write one file for each"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => Err(Unreadable::new(place, "aliases are not read: write the value out")),
            Event::Scalar(.., Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                Err(Unreadable::new(place, "tags (`!`) are not read: write the value alone, in quotes if it is text"))
            }
            Event::Scalar(text, style, ..) => self.put(scalar(place, text.into_owned(), style)),
            Event::SequenceStart(..) => self.open(Node { place, value: Value::List(Vec::new()) }),
            Event::MappingStart(..) => self.open(Node { place, value: Value::Map(Vec::new()) }),
            Event::SequenceEnd | Event::MappingEnd => {
                let closed = self.open.pop().expect("the parser closes only what it has opened");
                self.put(closed.node)
            }
        }
    }

    fn open(&mut self, node: Node) -> Result<(), Unreadable> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Unreadable::new(node.place, format!("this is nested more than {MAX_DEPTH} levels deep")));
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Unreadable> {
        let Some(Open { node: parent, key }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.value, key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::Map(_), None) => *key = Some(as_key(node)?),
            (Value::Null | Value::Text { .. }, _) => unreachable!("only lists and maps are opened"),
        }
        Ok(())
    }
}

fn scalar(place: Place, text: String, style: ScalarStyle) -> Node {
    let quoted = style != ScalarStyle::Plain;
    let null = !quoted && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    Node { place, value: if null { Value::Null } else { Value::Text { text, quoted } } }
}

fn as_key(node: Node) -> Result<Key, Unreadable> {
    match node.value {
        Value::Text { text, .. } => Ok(Key { place: node.place, text }),
        Value::Null | Value::List(_) | Value::Map(_) => Err(Unreadable::new(node.place, "a key has to be text")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_where_things_stand() {
        let root = read("a:\n  - b: 1.10\n").unwrap();
        let Value::Map(entries) = &root.value else { panic!("{root:?}") };
        let Value::List(items) = &entries[0].1.value else { panic!("{root:?}") };
        let Value::Map(inner) = &items[0].value else { panic!("{root:?}") };
        assert_eq!((inner[0].0.place, inner[0].1.place), (Place { line: 2, column: 5 }, Place { line: 2, column: 8 }));
        assert!(matches!(&inner[0].1.value, Value::Text { text, quoted: false } if text == "1.10"));
    }

    #[test]
    fn refuses_what_no_configuration_needs() {
        let deep = "[".repeat(40);
        let rows = [
            ("a: &x 1\nb: *x\n", 2, "aliases"),
            ("a: !!str 1\n", 1, "tags"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("? [a]\n: b\n", 1, "key"),
            ("a: [1\nb: 2\n", 2, "not YAML"),
            ("a: 'x\n", 2, "not YAML"),
            (&deep, 1, "nested"),
        ];
        for (text, line, expected) in rows {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error:?}");
            assert!(error.place.line.abs_diff(line) <= 1, "{text}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-a-c:{}\\[\\],&*!|>'\"#%@` \\n\\t?]{0,60}") {
            let _ = read(&text).is_ok();
        }
    }
}
