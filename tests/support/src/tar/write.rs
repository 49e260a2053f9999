//! Entries into bytes.

use super::header::{Block, base256, fits_octal, octal};
use super::{Entry, Format};

/// A tar, in PAX where an entry does not say otherwise.
#[must_use]
pub fn tar(entries: &[Entry]) -> Vec<u8> {
    tar_as(Format::Pax, entries)
}

/// A tar in one format where an entry does not say otherwise.
///
/// # Panics
/// An entry does not fit into the format.
#[must_use]
pub fn tar_as(format: Format, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = tar_without_end(format, entries);
    bytes.resize(bytes.len() + 2 * Block::BYTES, 0);
    bytes
}

/// A tar without the two zero blocks at its end.
///
/// # Panics
/// An entry does not fit into the format.
#[must_use]
pub fn tar_without_end(format: Format, entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry_blocks(entry.format.unwrap_or(format), entry)).collect()
}

/// The blocks of one entry: what goes before it, its header, its content.
///
/// # Panics
/// The entry does not fit into the format.
#[must_use]
pub fn entry_blocks(format: Format, entry: &Entry) -> Vec<u8> {
    if let Some(raw) = &entry.raw {
        return padded(raw.clone());
    }
    let mut bytes = match format {
        Format::Ustar => Vec::new(),
        Format::Pax => extended(entry),
        Format::Gnu => [(b'L', &entry.name), (b'K', &entry.link)]
            .into_iter()
            .filter(|(_, text)| text.len() > 100)
            .flat_map(|(flag, text)| long(flag, text))
            .collect(),
    };
    bytes.extend(header(format, entry));
    bytes.extend(padded(entry.content.clone()));
    bytes
}

/// A PAX record, whose length counts itself.
pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// The extended header that the entry needs, or nothing.
fn extended(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &str, value: &[u8]| records.extend(record(key.as_bytes(), value));
    if is_long(&entry.name) && split(&entry.name).is_none() || is_foreign(&entry.name) {
        add("path", &entry.name);
    }
    if is_long(&entry.link) || is_foreign(&entry.link) {
        add("linkpath", &entry.link);
    }
    for (key, number) in [("uid", entry.uid), ("gid", entry.gid)] {
        if !fits_octal(number.cast_signed(), 7) {
            add(key, number.to_string().as_bytes());
        }
    }
    if entry.nanos != 0 || !fits_octal(entry.mtime, 11) {
        add("mtime", decimal_time(entry.mtime, entry.nanos).as_bytes());
    }
    for (key, value) in &entry.pax {
        records.extend(record(key, value));
    }
    if records.is_empty() {
        return records;
    }
    let mut block = Block::new(Format::Pax, b'x');
    block.put(0, b"PaxHeaders.0/entry");
    numbers(&mut block, Format::Pax, 0o644, [0, 0], records.len() as u64, 0);
    [block.finish().to_vec(), padded(records)].concat()
}

fn is_long(text: &[u8]) -> bool {
    text.len() > 100
}

/// Other letters than ASCII's. What is not UTF-8 may not stand in a record: it stays in the header, raw.
fn is_foreign(text: &[u8]) -> bool {
    !text.is_ascii() && std::str::from_utf8(text).is_ok()
}

/// Seconds with a fraction; a time before 1970 counts down from its second.
fn decimal_time(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (seconds, 0) => seconds.to_string(),
        (0.., nanos) => format!("{seconds}.{nanos:09}").trim_end_matches('0').to_owned(),
        (seconds, nanos) => {
            let (whole, rest) = (-(seconds + 1), 1_000_000_000 - nanos);
            format!("-{whole}.{rest:09}").trim_end_matches('0').to_owned()
        }
    }
}

/// GNU's entry before an entry with a long name or target.
fn long(flag: u8, text: &[u8]) -> Vec<u8> {
    let content = [text, b"\0"].concat();
    let mut block = Block::new(Format::Gnu, flag);
    block.put(0, b"././@LongLink");
    numbers(&mut block, Format::Gnu, 0, [0, 0], content.len() as u64, 0);
    [block.finish().to_vec(), padded(content)].concat()
}

fn header(format: Format, entry: &Entry) -> [u8; Block::BYTES] {
    let mut block = Block::new(format, entry.typeflag);
    match split(&entry.name).filter(|_| format != Format::Gnu) {
        Some((prefix, name)) => {
            block.put(0, name);
            block.put(345, prefix);
        }
        None => {
            assert!(format != Format::Ustar || entry.name.len() <= 100, "the name does not fit into USTAR");
            block.put(0, cut(&entry.name));
        }
    }
    assert!(format != Format::Ustar || entry.link.len() <= 100, "the link target does not fit into USTAR");
    block.put(157, cut(&entry.link));
    let size = entry.size_field.unwrap_or(entry.content.len() as u64);
    numbers(&mut block, format, entry.mode, [entry.uid, entry.gid], size, entry.mtime);
    block.put(265, &entry.uname);
    block.put(297, &entry.gname);
    if let Some((major, minor)) = entry.device {
        block.put(329, &octal::<8>(major.into()));
        block.put(337, &octal::<8>(minor.into()));
    }
    if let Some(map) = &entry.sparse {
        block.put(386, map);
    }
    block.finish()
}

fn numbers(block: &mut Block, format: Format, mode: u32, owner: [u64; 2], size: u64, mtime: i64) {
    block.put(100, &octal::<8>(mode.into()));
    block.put(108, &number::<8>(format, owner[0].cast_signed()));
    block.put(116, &number::<8>(format, owner[1].cast_signed()));
    block.put(124, &number::<12>(format, size.cast_signed()));
    block.put(136, &number::<12>(format, mtime));
}

/// A number as the format can say it; where only an extended header can, zero.
fn number<const N: usize>(format: Format, number: i64) -> [u8; N] {
    let fits = fits_octal(number, N as u32 - 1);
    match format {
        _ if fits => octal(number.cast_unsigned()),
        Format::Gnu => base256(number),
        Format::Pax => octal(0),
        Format::Ustar => panic!("{number} does not fit into USTAR"),
    }
}

/// USTAR's prefix and name, where a name is too long for one field and can be cut at a slash.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 || name.len() > 256 {
        return None;
    }
    let mut slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let fitting = |at: &usize| (1..=155).contains(at) && (1..=100).contains(&(name.len() - at - 1));
    slashes.rfind(fitting).map(|at| (&name[..at], &name[at + 1..]))
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(100)]
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(Block::BYTES), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        for (value, expected) in [("", "5 a=\n"), ("x", "6 a=x\n"), ("1234", "9 a=1234\n"), ("12345", "11 a=12345\n")] {
            assert_eq!(String::from_utf8(record(b"a", value.as_bytes())).unwrap(), expected);
        }
        for length in 0..2000 {
            let record = record(b"key", &vec![b'v'; length]);
            let text = String::from_utf8(record.clone()).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse(), Ok(record.len()), "{length}");
        }
    }

    #[test]
    fn a_time_before_1970_counts_down() {
        let rows = [((0, 5), "0.000000005"), ((1, 500_000_000), "1.5"), ((-1, 500_000_000), "-0.5"), ((-2, 0), "-2")];
        for ((seconds, nanos), expected) in rows {
            assert_eq!(decimal_time(seconds, nanos), expected);
        }
    }
}
