//! What a Harbor has to do for one thing to be as it should.

use std::fmt;

use serde_json::Value;

/// From what is found to what is wanted. Documents may hold secrets.
pub(super) enum Plan {
    /// It is not there.
    Create(Value),
    /// It differs.
    Update {
        id: i64,
        /// All of it, as it is to be.
        document: Value,
        /// What differs, for people.
        changes: Vec<String>,
    },
    /// It is right; as it was found.
    Keep(Value),
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(_) => f.write_str("Create"),
            Self::Update { changes, .. } => f.debug_tuple("Update").field(changes).finish(),
            Self::Keep(_) => f.write_str("Keep"),
        }
    }
}

impl Plan {
    /// The plan for what was `found` and should be `document`.
    pub(super) fn of(found: &Value, document: Value, changes: Vec<String>) -> Self {
        let id = found["id"].as_i64().unwrap_or_default();
        if changes.is_empty() { Self::Keep(document) } else { Self::Update { id, document, changes } }
    }

    pub(super) const fn creates(&self) -> bool {
        matches!(self, Self::Create(_))
    }

    pub(super) const fn document(&self) -> &Value {
        match self {
            Self::Create(document) | Self::Update { document, .. } | Self::Keep(document) => document,
        }
    }
}

/// A line for people about what changes.
pub(super) fn change(what: &str, from: &str, to: &str) -> String {
    format!("{what}: {from} -> {to}")
}
