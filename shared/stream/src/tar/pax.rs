//! PAX extended headers: records of `LENGTH KEY=VALUE\n`. Spec: POSIX pax, "pax Extended Header".

use std::collections::HashMap;

use super::entry::Mtime;
use crate::error::{PaxFault, shown};

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";

/// What the extension headers before an entry's own block said.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) pax: Pax,
    pub(super) long_name: Vec<u8>,
    pub(super) long_link: Vec<u8>,
}

/// The records that we know; an empty text stands for none, so that the entry's own block holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) dev_major: Option<u32>,
    pub(super) dev_minor: Option<u32>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: bool,
    pub(super) sparse_path: Vec<u8>,
}

impl Pax {
    /// Reads all records; of a repeated key the last one holds.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, PaxFault> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (record, rest) = split_record(records)?;
            let (key, value) = split_key(record)?;
            pax.take(key, value)?;
            records = rest;
        }
        keep_last(&mut pax.xattrs);
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), PaxFault> {
        match key {
            b"path" => self.path = value.to_vec(),
            b"linkpath" => self.link = value.to_vec(),
            b"uname" => self.user = value.to_vec(),
            b"gname" => self.group = value.to_vec(),
            b"size" => self.size = unsigned(value, "size")?,
            b"uid" => self.uid = unsigned(value, "uid")?,
            b"gid" => self.gid = unsigned(value, "gid")?,
            b"mtime" => self.mtime = time(value, "mtime")?,
            b"SCHILY.devmajor" => self.dev_major = unsigned(value, "SCHILY.devmajor")?,
            b"SCHILY.devminor" => self.dev_minor = unsigned(value, "SCHILY.devminor")?,
            _ => self.take_by_prefix(key, value),
        }
        Ok(())
    }

    fn take_by_prefix(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            self.xattrs.push((name.to_vec(), value.to_vec()));
        } else if let Some(name) = key.strip_prefix(SPARSE_PREFIX) {
            self.sparse = true;
            if name == b"name" {
                self.sparse_path = value.to_vec();
            }
        }
    }
}

/// Splits `LENGTH KEY=VALUE\n` off; gives `KEY=VALUE` and what comes after. The length counts the whole record.
fn split_record(records: &[u8]) -> Result<(&[u8], &[u8]), PaxFault> {
    let space = records.iter().position(|byte| *byte == b' ').ok_or(PaxFault::Length)?;
    let length: usize = decimal(&records[..space]).ok_or(PaxFault::Length)?;
    if length <= space + 1 || length > records.len() {
        return Err(PaxFault::Length);
    }
    let (record, rest) = records.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n").ok_or(PaxFault::Newline)?;
    Ok((record, rest))
}

/// Splits at the first `=`. Texts that end at a NUL elsewhere may hold none, nor may keys: readers would disagree.
fn split_key(record: &[u8]) -> Result<(&[u8], &[u8]), PaxFault> {
    let equals = record.iter().position(|byte| *byte == b'=').ok_or(PaxFault::Key)?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    if key.is_empty() {
        return Err(PaxFault::Key);
    }
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname" | b"GNU.sparse.name");
    if key.contains(&0) || (is_text && value.contains(&0)) {
        return Err(PaxFault::Nul { key: shown(key) });
    }
    Ok((key, value))
}

/// Decimal digits and nothing else.
fn decimal<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn unsigned<T: std::str::FromStr>(value: &[u8], key: &'static str) -> Result<Option<T>, PaxFault> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some).ok_or(PaxFault::Number { key })
}

/// Seconds with an optional fraction, both parts negative behind a minus: -1.5 is one and a half seconds before 1970.
/// Digits beyond nanoseconds are cut off.
fn time(value: &[u8], key: &'static str) -> Result<Option<Mtime>, PaxFault> {
    if value.is_empty() {
        return Ok(None);
    }
    parse_time(value).map(Some).ok_or(PaxFault::Number { key })
}

fn parse_time(value: &[u8]) -> Option<Mtime> {
    let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |digits| (true, digits));
    let dot = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = dot.map_or((digits, &[][..]), |dot| (&digits[..dot], &digits[dot + 1..]));
    let whole: i64 = decimal(whole)?;
    let nanos = parse_nanos(fraction)?;
    if !negative {
        return Some(Mtime { seconds: whole, nanos });
    }
    Some(match nanos {
        0 => Mtime { seconds: -whole, nanos },
        _ => Mtime { seconds: (-whole).checked_sub(1)?, nanos: 1_000_000_000 - nanos },
    })
}

fn parse_nanos(fraction: &[u8]) -> Option<u32> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')))
}

/// Keeps of each name the last attribute, in linear time: a hostile header can hold 50,000 of them.
fn keep_last(xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    if xattrs.len() < 2 {
        return;
    }
    let last: HashMap<Vec<u8>, usize> =
        xattrs.iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect();
    let mut index = 0..;
    xattrs.retain(|(name, _)| index.next() == last.get(name).copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let length = (1..=8).map(|digits| body + digits).find(|length| body + length.to_string().len() == *length);
        [format!("{} {key}=", length.unwrap()).as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn reads_every_key_it_knows() {
        let records = [
            record("path", b"a\xff/b=c\n"),
            record("linkpath", b"there"),
            record("uname", b"alice"),
            record("gname", b"users"),
            record("size", b"12345678901"),
            record("uid", b"4294967296"),
            record("gid", b"7"),
            record("mtime", b"-1.25"),
            record("comment", b"\0ignored"),
            record("SCHILY.devmajor", b"8"),
            record("SCHILY.xattr.user.a", b"first"),
            record("SCHILY.xattr.user.b", b"\0=\n"),
            record("SCHILY.xattr.user.a", b""),
        ];
        let expected = Pax {
            path: b"a\xff/b=c\n".to_vec(),
            link: b"there".to_vec(),
            user: b"alice".to_vec(),
            group: b"users".to_vec(),
            size: Some(12_345_678_901),
            uid: Some(1 << 32),
            gid: Some(7),
            mtime: Some(Mtime { seconds: -2, nanos: 750_000_000 }),
            dev_major: Some(8),
            xattrs: vec![(b"user.b".to_vec(), b"\0=\n".to_vec()), (b"user.a".to_vec(), Vec::new())],
            ..Pax::default()
        };
        assert_eq!(Pax::parse(&records.concat()), Ok(expected));
    }

    #[test]
    fn names_what_is_wrong_with_a_record() {
        let nul = |key: &str| PaxFault::Nul { key: key.into() };
        let rows: [(&[u8], PaxFault); 17] = [
            (b"9 path=a", PaxFault::Length),
            (b"8 path=a\n", PaxFault::Newline),
            (b"10 path=a\n\0", PaxFault::Length),
            (b"0 \n", PaxFault::Length),
            (b"2 \n", PaxFault::Length),
            (b"-9 path=a\n", PaxFault::Length),
            (b"+9 path=a\n", PaxFault::Length),
            (b"99999999999999999999999 path=a\n", PaxFault::Length),
            (b"path", PaxFault::Length),
            (b"\0\0\0\0", PaxFault::Length),
            (b"7 path\n", PaxFault::Key),
            (b"5 =a\n", PaxFault::Key),
            (b"11 path=a\0\n", nul("path")),
            (b"9 a\0b=a\n", PaxFault::Length),
            (b"8 a\0b=a\n", nul("a\\0b")),
            (b"10 size=x\n", PaxFault::Number { key: "size" }),
            (b"11 uid=-1\n", PaxFault::Length),
        ];
        for (records, expected) in rows {
            assert_eq!(Pax::parse(records), Err(expected), "{}", records.escape_ascii());
        }
    }

    const fn at(seconds: i64, nanos: u32) -> Option<Mtime> {
        Some(Mtime { seconds, nanos })
    }

    #[test]
    fn reads_times_before_and_after_1970() {
        let rows: [(&[u8], Option<Mtime>); 14] = [
            (b"0", at(0, 0)),
            (b"1.5", at(1, 500_000_000)),
            (b"1.", at(1, 0)),
            (b"1.1234567899", at(1, 123_456_789)),
            (b"-1", at(-1, 0)),
            (b"-0.000000001", at(-1, 999_999_999)),
            (b"-1.5", at(-2, 500_000_000)),
            (b"9223372036854775807.9", at(i64::MAX, 900_000_000)),
            (b"-9223372036854775807.9", at(i64::MIN, 100_000_000)),
            (b"9223372036854775808", None),
            (b".5", None),
            (b"1.5x", None),
            (b"1e9", None),
            (b"--1", None),
        ];
        for (value, expected) in rows {
            assert_eq!(parse_time(value), expected, "{}", value.escape_ascii());
        }
    }
}
