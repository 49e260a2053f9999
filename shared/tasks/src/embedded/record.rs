//! Records as they lie in the file: a mark, a kind, a length, a checksum, then JSON.
//!
//! Each record says by itself what it is and which one, so that it can be found in a file whose tables are lost, and so
//! that one read under another's key is noticed.

use accel_domain::Timestamp;
use accel_domain::task::{Task, TaskId, Unit, UnitKey};
use accel_image::Reference;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::file::Fault;
use crate::{LayerKey, LayerRecord, Message};

/// What every record begins with.
pub(super) const MARK: [u8; 4] = [0xAC, 0xCE, 0x1D, 0x01];
/// Mark, kind, length (32 bits, little endian), CRC-32 of kind, length and content.
pub(super) const HEADER_BYTES: usize = 13;
/// No record is longer.
pub(super) const MAX_CONTENT_BYTES: usize = 8 << 20;

/// Something that is kept as a record.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Tells records of different tables apart.
    const KIND: u8;

    /// Its key in its table, as text.
    fn key(&self) -> String;

    /// What the record of `key` is called in messages.
    fn title(key: &str) -> String;
}

impl Record for Task {
    const KIND: u8 = b'T';

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn title(key: &str) -> String {
        format!("task {key}")
    }
}

/// The key of a unit as text: those of a task lie together.
pub(super) fn unit_key(UnitKey { task, generation, layer }: &UnitKey) -> String {
    format!("{task} {generation:010} {layer}")
}

impl Record for Unit {
    const KIND: u8 = b'U';

    fn key(&self) -> String {
        unit_key(&self.key)
    }

    fn title(key: &str) -> String {
        format!("unit {key}")
    }
}

/// A message in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct QueuedMessage {
    pub(super) id: u64,
    pub(super) message: Message,
    /// When it may be received.
    pub(super) visible: Timestamp,
    /// How often it was received.
    pub(super) receives: u32,
    /// Whether somebody who received it hides it; otherwise it only waits.
    pub(super) held: bool,
}

impl Record for QueuedMessage {
    const KIND: u8 = b'M';

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn title(key: &str) -> String {
        format!("message {key}")
    }
}

/// A layer record with its last use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptLayer {
    pub(super) key: LayerKey,
    pub(super) record: LayerRecord,
    pub(super) used: Timestamp,
}

/// The key of a layer record as text. JSON, so that no two keys share one.
pub(super) fn layer_key(key: &LayerKey) -> String {
    serde_json::to_string(key).expect("a key of texts and numbers serialises")
}

impl Record for KeptLayer {
    const KIND: u8 = b'L';

    fn key(&self) -> String {
        layer_key(&self.key)
    }

    fn title(key: &str) -> String {
        format!("layer record {key}")
    }
}

/// The lease of a target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TargetLease {
    pub(super) target: Reference,
    pub(super) owner: String,
    pub(super) until: Timestamp,
}

impl Record for TargetLease {
    const KIND: u8 = b'R';

    fn key(&self) -> String {
        self.target.to_string()
    }

    fn title(key: &str) -> String {
        format!("lease of {key}")
    }
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The version of its tables and records.
    pub(super) version: u32,
}

impl About {
    /// Its only key.
    pub(super) const KEY: &str = "about";
    /// What this code writes. It reads version 1 too, which has no units: that file becomes one of this version.
    pub(super) const CURRENT: Self = Self { version: 2 };
}

impl Record for About {
    const KIND: u8 = b'A';

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }

    fn title(_: &str) -> String {
        "record of the store's version".to_owned()
    }
}

/// `record` as it lies in the file.
pub(super) fn seal<R: Record>(record: &R) -> Result<Vec<u8>, Fault> {
    let content = serde_json::to_vec(record).expect("records have only text keys");
    if content.len() > MAX_CONTENT_BYTES {
        return Err(Fault::TooLong { title: R::title(&record.key()), bytes: content.len() });
    }
    let length = u32::try_from(content.len()).expect("bounded above").to_le_bytes();
    let mut sealed = Vec::with_capacity(HEADER_BYTES + content.len());
    sealed.extend_from_slice(&MARK);
    sealed.push(R::KIND);
    sealed.extend_from_slice(&length);
    sealed.extend_from_slice(&checksum(R::KIND, length, &content));
    sealed.extend_from_slice(&content);
    Ok(sealed)
}

/// The record of `key` in `bytes`.
pub(super) fn unseal<R: Record>(key: &str, bytes: &[u8]) -> Result<R, Fault> {
    let damaged = |detail: &str| Fault::Record { title: R::title(key), detail: detail.to_owned() };
    let content = content_of(R::KIND, bytes).ok_or_else(|| damaged("its checksum does not fit"))?;
    let record: R = serde_json::from_slice(content).map_err(|error| damaged(&error.to_string()))?;
    if record.key() == key { Ok(record) } else { Err(damaged("another record lies in its place")) }
}

/// The content of the record of `kind` that `bytes` are, if the checksum fits.
pub(super) fn content_of(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (header, content) = bytes.split_at_checked(HEADER_BYTES)?;
    let length: [u8; 4] = header[5..9].try_into().ok()?;
    let fits = header[..4] == MARK
        && header[4] == kind
        && u32::from_le_bytes(length) as usize == content.len()
        && header[9..] == checksum(kind, length, content);
    fits.then_some(content)
}

/// The id with which the content of a task's record begins, damaged or not.
pub(super) fn task_id_of(content: &[u8]) -> Option<TaskId> {
    let text = content.strip_prefix(br#"{"id":""#)?.get(..36)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn checksum(kind: u8, length: [u8; 4], content: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length);
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}
