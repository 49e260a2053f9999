//! The TOC, entry by entry: JSON is parsed as it is inflated, and is never whole anywhere.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};

use accel_image::{Digest, Hasher};
use accel_stream::{Compression, EntryKind, LayerReader, Limits, TarReader};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::layout::TOC_NAME;
use crate::reader::{FormatError, TocEntry};

/// JSON between two entries: an entry holds little more than its extension headers, which are 1 MiB at most, and JSON
/// makes at most six bytes of one.
const MAX_ENTRY_BYTES: u64 = 8 << 20;
/// JSON that is parsed at a time.
const BLOCK_BYTES: usize = 32 << 10;

/// What a TOC turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocSums {
    /// The digest of its JSON.
    pub digest: Digest,
    /// The length of its JSON in bytes.
    pub json_bytes: u64,
    /// How many entries it has, chunks included.
    pub entries: u64,
}

/// Reads the TOC that begins where `blob` does, and hands out its entries in order. `blob` goes on to the end of the
/// whole blob, footer included.
///
/// # Errors
/// The first of the blob, or of `each`.
pub fn read_toc(
    blob: impl Read,
    limits: Limits,
    each: &mut dyn FnMut(TocEntry) -> Result<(), FormatError>,
) -> Result<TocSums, FormatError> {
    let mut tar = TarReader::new(LayerReader::new(blob, limits), limits);
    match tar.next_entry()? {
        Some(entry) if entry.path != TOC_NAME.as_bytes() => {
            return Err(FormatError::TocMember("its entry has another name"));
        }
        Some(entry) if entry.kind != EntryKind::Regular => return Err(FormatError::TocMember("it is no file")),
        Some(_) => {}
        None => return Err(FormatError::TocMember("it is empty")),
    }
    let (digest, json_bytes, entries) = parse(&mut tar, limits, each)?;
    if tar.next_entry()?.is_some() {
        return Err(FormatError::TocMember("another entry follows the TOC"));
    }
    match tar.into_inner().finish()?.compression {
        Compression::Gzip => Ok(TocSums { digest, json_bytes, entries }),
        Compression::Zstd | Compression::Plain => Err(FormatError::TocMember("it is not gzip")),
    }
}

fn parse<R: Read>(
    tar: &mut TarReader<R>,
    limits: Limits,
    each: &mut dyn FnMut(TocEntry) -> Result<(), FormatError>,
) -> Result<(Digest, u64, u64), FormatError> {
    let allowance = Cell::new(MAX_ENTRY_BYTES);
    let mut payload =
        BufReader::with_capacity(BLOCK_BYTES, Payload { tar, hasher: Hasher::default(), left: &allowance });
    let mut taker = Taker { each, allowance: &allowance, entries: 0, limit: limits.entries, fault: None };
    let mut json = serde_json::Deserializer::from_reader(&mut payload);
    let parsed = Toc(&mut taker).deserialize(&mut json).and_then(|()| json.end());
    let Taker { entries, fault, .. } = taker;
    match (fault, parsed) {
        (Some(fault), _) => return Err(fault),
        (None, Err(error)) if error.is_io() => return Err(FormatError::from_io(error.into())),
        (None, Err(error)) => return Err(FormatError::Json(error)),
        (None, Ok(())) => {}
    }
    let hasher = payload.into_inner().hasher;
    let json_bytes = hasher.bytes();
    Ok((hasher.finish(), json_bytes, entries))
}

/// The payload of the TOC's entry, hashed as it is read. Fails where it is read too far without an entry.
struct Payload<'p, R> {
    tar: &'p mut TarReader<R>,
    hasher: Hasher,
    left: &'p Cell<u64>,
}

impl<R: Read> Read for Payload<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let got = self.tar.read_payload(out)?;
        self.hasher.update(&out[..got]);
        match self.left.get().checked_sub(got as u64) {
            Some(left) => self.left.set(left),
            None => return Err(FormatError::EntryTooLong { limit: MAX_ENTRY_BYTES }.into()),
        }
        Ok(got)
    }
}

/// Takes entries out of the parser. What it fails with is kept beside: the parser's errors are texts.
struct Taker<'t> {
    each: &'t mut dyn FnMut(TocEntry) -> Result<(), FormatError>,
    allowance: &'t Cell<u64>,
    entries: u64,
    limit: u64,
    fault: Option<FormatError>,
}

impl Taker<'_> {
    fn take(&mut self, entry: TocEntry) -> Result<(), FormatError> {
        self.entries += 1;
        if self.entries > self.limit {
            return Err(FormatError::TooManyEntries { limit: self.limit });
        }
        self.allowance.set(MAX_ENTRY_BYTES);
        (self.each)(entry)
    }
}

/// The document: `{"version":1,"entries":[...]}`.
struct Toc<'s, 't>(&'s mut Taker<'t>);

impl<'de> DeserializeSeed<'de> for Toc<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Toc<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a TOC")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut version, mut entries) = (false, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" if version => return Err(A::Error::duplicate_field("version")),
                "version" => match map.next_value::<u64>()? {
                    1 => version = true,
                    other => return Err(A::Error::custom(format_args!("version {other} is not known"))),
                },
                "entries" if entries => return Err(A::Error::duplicate_field("entries")),
                "entries" => {
                    map.next_value_seed(Entries(self.0))?;
                    entries = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (version, entries) {
            (true, true) => Ok(()),
            (false, _) => Err(A::Error::missing_field("version")),
            (true, false) => Err(A::Error::missing_field("entries")),
        }
    }
}

struct Entries<'s, 't>(&'s mut Taker<'t>);

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<TocEntry>()? {
            if let Err(fault) = self.0.take(entry) {
                self.0.fault = Some(fault);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
