//! Where everything lies in the table: the partition and sort key of each kind of item, and the keys of the two indexes.
//! docs/ARCHITECTURE.md has the same as a table.

use std::collections::HashMap;

use accel_domain::Timestamp;
use accel_domain::task::{State, Task, TaskId, UnitKey};
use accel_image::{Digest, Reference};
use aws_sdk_dynamodb::types::AttributeValue;

use super::requests::{Item, text};
use crate::{LayerKey, StoreError};

/// The partition key.
pub(super) const PARTITION: &str = "pk";
/// The sort key.
pub(super) const SORT: &str = "sk";
/// When DynamoDB may forget the item, in seconds since 1970.
pub(super) const EXPIRES: &str = "expires";

/// The index of all tasks by creation.
pub(super) const LISTED: &str = "listed";
/// The index of what the sweeper may have to look at.
pub(super) const DUE: &str = "due";

/// Tasks are spread over so many partitions of each index, and counts over as many items. Tasks that are written lie
/// where they lie: with another number some of them would be in no list.
pub(super) const SHARDS: u8 = 8;

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) partition: String,
    pub(super) sort: String,
}

impl Key {
    fn new(partition: String, sort: impl Into<String>) -> Self {
        Self { partition, sort: sort.into() }
    }

    pub(super) fn task(id: &TaskId) -> Self {
        Self::new(task_partition(id), "task")
    }

    /// The claim to a live key. Hashed: it holds names of any length.
    pub(super) fn live(live_key: &str) -> Self {
        Self::live_hash(&hash(live_key))
    }

    /// The same, of a live key's [`hash`].
    pub(super) fn live_hash(hash: &str) -> Self {
        Self::new(format!("live#{hash}"), "live")
    }

    /// The claim to a delivery.
    pub(super) fn delivery(delivery_key: &str) -> Self {
        Self::new(format!("delivery#{}", hash(delivery_key)), "delivery")
    }

    pub(super) fn unit(key: &UnitKey) -> Self {
        Self::new(task_partition(&key.task), format!("unit#{:010}#{}", key.generation, key.layer))
    }

    pub(super) fn target(target: &Reference) -> Self {
        Self::new(format!("target#{target}"), "target")
    }

    pub(super) fn layer(key: &LayerKey) -> Self {
        Self::new(format!("layer#{}", hash(&layer_key(key))), "layer")
    }

    pub(super) fn counter(shard: u8) -> Self {
        Self::new(format!("counter#{shard}"), "counter")
    }

    /// Where nothing ever lies.
    pub(super) fn nowhere() -> Self {
        Self::new("check".to_owned(), "check")
    }

    /// The key as attributes.
    pub(super) fn item(&self) -> Item {
        HashMap::from([(PARTITION.to_owned(), text(&self.partition)), (SORT.to_owned(), text(&self.sort))])
    }

    /// The key of `item`, which DynamoDB never gives without one.
    pub(super) fn of(item: &Item) -> Option<Self> {
        let part = |name| item.get(name).and_then(|value: &AttributeValue| value.as_s().ok());
        Some(Self { partition: part(PARTITION)?.clone(), sort: part(SORT)?.clone() })
    }
}

/// The partition of a task and its units.
pub(super) fn task_partition(id: &TaskId) -> String {
    format!("task#{id}")
}

/// The task whose partition this is.
pub(super) fn task_of(partition: &str) -> Option<TaskId> {
    partition.strip_prefix("task#")?.parse().ok()
}

/// A layer key as text. JSON, so that no two keys share one.
pub(super) fn layer_key(key: &LayerKey) -> String {
    serde_json::to_string(key).expect("a key of texts and numbers serialises")
}

/// SHA-256 in hex.
pub(super) fn hash(key: &str) -> String {
    Digest::of(key.as_bytes()).hex()
}

/// The partition of the task `id` in the index `listed`.
pub(super) fn listed_partition(id: &TaskId) -> String {
    format!("list#{}", shard(id))
}

/// All partitions of the index `listed`.
pub(super) fn listed_partitions() -> impl Iterator<Item = String> {
    (0..SHARDS).map(|shard| format!("list#{shard}"))
}

/// What the sweeper looks for in the index `due`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Tasks that wait for a message, or run.
    Tasks,
    /// Tasks whose units have to be looked at.
    Units,
}

impl Due {
    /// All its partitions.
    pub(super) fn partitions(self) -> impl Iterator<Item = String> {
        (0..SHARDS).map(move |shard| self.partition(shard))
    }

    fn partition(self, shard: u8) -> String {
        match self {
            Self::Tasks => format!("task#{shard}"),
            Self::Units => format!("unit#{shard}"),
        }
    }
}

/// The partition of `task`, which is live, in the index `due`.
pub(super) fn due_partition(task: &Task) -> String {
    let due = if task.state == State::FannedOut { Due::Units } else { Due::Tasks };
    due.partition(shard(&task.id))
}

/// A random part of the id, so that tasks spread evenly.
fn shard(id: &TaskId) -> u8 {
    let last = id.to_string().chars().last().and_then(|digit| digit.to_digit(16));
    last.map_or(0, |digit| digit as u8 % SHARDS)
}

/// A time as text that sorts as times do: nanoseconds since 1970. Times before that are taken for 1970.
pub(super) fn time_key(at: Timestamp) -> String {
    format!("{:021}", at.as_nanosecond().max(0))
}

/// A task's place in the list, by creation and then by id. It is the cursor too: neither new tasks nor forgotten ones
/// move it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    created: String,
    pub(super) id: TaskId,
}

impl Place {
    pub(super) fn of(task: &Task) -> Self {
        Self { created: time_key(task.created), id: task.id.clone() }
    }

    /// The place that `text` names.
    ///
    /// # Errors
    /// It is not one that [`Place::text`] gave.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let (created, id) = text.split_once('.')?;
            let digits = created.len() == 21 && created.bytes().all(|b| b.is_ascii_digit());
            let place = Self { created: created.to_owned(), id: id.parse().ok()? };
            (digits && place.text() == text).then_some(place)
        };
        parse().ok_or(StoreError::BadCursor)
    }

    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.created, self.id)
    }
}

/// The second by which `at` has passed: DynamoDB forgets by whole seconds, and nothing is forgotten early.
pub(super) fn second_after(at: Timestamp) -> i64 {
    at.as_second() + i64::from(at.subsec_nanosecond() > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u128) -> TaskId {
        let hex = format!("{n:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]).parse().unwrap()
    }

    #[test]
    fn items_lie_where_the_documentation_says() {
        let digest = Digest::of(b"x");
        let unit = UnitKey { task: id(7), generation: 3, layer: digest };
        let task = "task#00000000-0000-0000-0000-000000000007";
        let sha = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let rows = [
            (Key::task(&id(7)), task.to_owned(), "task".to_owned()),
            (Key::unit(&unit), task.to_owned(), format!("unit#0000000003#sha256:{sha}")),
            (Key::live("x"), format!("live#{sha}"), "live".to_owned()),
            (Key::delivery("x"), format!("delivery#{sha}"), "delivery".to_owned()),
            (
                Key::target(&"h.example/p/app:1".parse().unwrap()),
                "target#h.example/p/app:1".to_owned(),
                "target".into(),
            ),
            (Key::counter(5), "counter#5".to_owned(), "counter".to_owned()),
        ];
        for (key, partition, sort) in rows {
            assert_eq!((key.partition.as_str(), key.sort.as_str()), (partition.as_str(), sort.as_str()));
            assert_eq!(Key::of(&key.item()), Some(key));
        }
        assert_eq!(task_of(task), Some(id(7)));
        assert_eq!(task_of("target#h.example/p/app:1"), None);
    }

    /// The condition of the webhook's policy: the beginnings of the partition keys that it may reach.
    fn leading_keys() -> Vec<&'static str> {
        let template = include_str!("../../../../infra/template.yaml");
        let lines: Vec<&str> = template
            .lines()
            .filter_map(|line| line.split_once("dynamodb:LeadingKeys:"))
            .map(|(_, keys)| keys)
            .collect();
        assert_eq!(lines.len(), 1, "one function is held to a part of the table: {lines:?}");
        let patterns = lines[0].trim().trim_matches(['[', ']']).split(',');
        patterns.map(|pattern| pattern.trim().trim_matches('"').strip_suffix('*').unwrap()).collect()
    }

    #[test]
    fn the_policy_of_the_webhook_reaches_tasks_and_their_claims_and_nothing_else() {
        let unit = UnitKey { task: id(7), generation: 3, layer: Digest::of(b"x") };
        let layer = LayerKey {
            host: "h.example".to_owned(),
            project: "p".to_owned(),
            source: Digest::of(b"x"),
            format: accel_domain::Format::Estargz,
            version: accel_domain::Format::Estargz.version(),
            options: accel_domain::Format::Estargz.default_options().layer_hash(),
        };
        let rows = [
            (Key::task(&id(7)), true),
            (Key::unit(&unit), true),
            (Key::live("x"), true),
            (Key::delivery("x"), true),
            (Key::target(&"h.example/p/app:1".parse().unwrap()), false),
            (Key::layer(&layer), false),
            (Key::counter(5), false),
            (Key::nowhere(), false),
        ];
        let leading = leading_keys();
        for (key, reached) in rows {
            let matches = leading.iter().filter(|start| key.partition.starts_with(**start)).count();
            assert_eq!(matches, usize::from(reached), "{key:?}, {leading:?}");
        }
        assert_eq!(leading.len(), 3, "each is of use: {leading:?}");
    }

    #[test]
    fn tasks_spread_over_the_partitions_of_an_index() {
        let mut counts: HashMap<String, u32> = HashMap::new();
        for n in 0..800 {
            *counts.entry(listed_partition(&id(n))).or_default() += 1;
        }
        assert_eq!(counts.len(), usize::from(SHARDS));
        assert!(listed_partitions().all(|partition| counts[&partition] == 100), "{counts:?}");
    }

    #[test]
    fn times_sort_as_text() {
        let times = [
            "-009999-01-02T01:59:59Z",
            "1970-01-01T00:00:00Z",
            "2025-01-01T00:00:00Z",
            "2025-01-01T00:00:00.000000001Z",
        ];
        let times: Vec<Timestamp> = times.iter().map(|text| text.parse().unwrap()).chain([Timestamp::MAX]).collect();
        let keys: Vec<String> = times.iter().map(|at| time_key(*at)).collect();
        assert!(keys.is_sorted() && keys.iter().all(|key| key.len() == 21), "{keys:?}");
        assert_eq!(times[2..4].iter().map(|at| second_after(*at)).collect::<Vec<_>>(), [1_735_689_600, 1_735_689_601]);
    }

    #[test]
    fn a_text_that_no_list_gave_is_no_cursor() {
        let good = format!("{}.{}", "0".repeat(21), id(1));
        assert!(Place::parse(&good).is_ok());
        let (upper, short, long) = (good.to_uppercase().replace('1', "A"), &good[1..], format!("0{good}"));
        for bad in
            ["", ".", "x", "1.2", upper.as_str(), short, long.as_str(), &format!("{good} "), &format!("+{short}")]
        {
            assert!(matches!(Place::parse(bad), Err(StoreError::BadCursor)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_given(seconds in 0_i64..200_000_000_000, nanos in 0_i32..1_000_000_000, n: u128) {
            let created = time_key(Timestamp::new(seconds, nanos).unwrap());
            let place = Place { created, id: id(n) };
            prop_assert_eq!(Place::parse(&place.text()).unwrap(), place);
        }

        #[test]
        fn cursors_sort_as_their_texts_do(a in 0_i64..200_000_000_000, b in 0_i64..200_000_000_000, n: u128, m: u128) {
            let place = |at, n| Place { created: time_key(Timestamp::from_second(at).unwrap()), id: id(n) };
            let (one, other) = (place(a, n), place(b, m));
            prop_assert_eq!(one.cmp(&other), one.text().cmp(&other.text()));
            prop_assert_eq!(a.cmp(&b).then(n.cmp(&m)), one.cmp(&other));
        }

        #[test]
        fn no_text_makes_a_cursor_panic(text in "\\PC*") {
            if let Ok(place) = Place::parse(&text) {
                prop_assert_eq!(place.text(), text);
            }
        }
    }
}
