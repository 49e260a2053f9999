//! Entries of a tar. Spec: POSIX.1-2017, pax; GNU tar, "Basic Tar Format".

use std::collections::BTreeMap;

use super::TreeError;

const BLOCK: usize = 512;

/// One entry, with everything that extended headers said of it.
#[derive(Debug, Clone)]
pub(super) struct TarEntry {
    /// As written, slashes at the ends included.
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) typeflag: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: (i64, u32),
    pub(super) device: (u32, u32),
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) content: Vec<u8>,
}

/// What the headers before an entry say of it.
#[derive(Default)]
struct Before {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// All entries up to the end of the archive.
pub(super) fn entries(tar: &[u8]) -> Result<Vec<TarEntry>, TreeError> {
    let mut entries = Vec::new();
    let mut rest = tar;
    let mut before = Before::default();
    while let Some((header, after)) = rest.split_first_chunk::<BLOCK>() {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        check_sum(header)?;
        let typeflag = header[156];
        let content = content(header, typeflag, &before, after)?;
        rest = &after[content.len().next_multiple_of(BLOCK).min(after.len())..];
        match typeflag {
            b'x' => before.records = records(content)?,
            b'L' => before.name = Some(text(content).to_vec()),
            b'K' => before.link = Some(text(content).to_vec()),
            b'g' => {}
            _ => entries.push(entry(header, content, &std::mem::take(&mut before))?),
        }
    }
    Ok(entries)
}

/// Types that are only a header have no content, whatever their size field says.
fn content<'a>(header: &[u8], typeflag: u8, before: &Before, after: &'a [u8]) -> Result<&'a [u8], TreeError> {
    let size = match typeflag {
        b'1'..=b'6' => 0,
        _ => match before.records.get(b"size".as_slice()) {
            Some(size) if typeflag != b'x' && typeflag != b'g' => decimal(size)?.cast_unsigned(),
            _ => number(&header[124..136])?.cast_unsigned(),
        },
    };
    usize::try_from(size).ok().and_then(|size| after.get(..size)).ok_or_else(|| TreeError("the tar ends early".into()))
}

fn entry(header: &[u8; BLOCK], content: &[u8], before: &Before) -> Result<TarEntry, TreeError> {
    let record = |key: &str| before.records.get(key.as_bytes());
    let typeflag = header[156];
    if typeflag == b'S' || before.records.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
        return Err(TreeError("the tar has a sparse file".into()));
    }
    let numeric = |key: &str, field: &[u8]| match record(key) {
        Some(text) => decimal(text),
        None => number(field),
    };
    let mtime = match record("mtime") {
        Some(text) => time(text)?,
        None => (number(&header[136..148])?, 0),
    };
    let xattrs = before
        .records
        .iter()
        .filter_map(|(key, value)| key.strip_prefix(b"SCHILY.xattr.").map(|name| (name.to_vec(), value.clone())));
    let device = |field: &[u8]| number(field).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(TarEntry {
        name: record("path").or(before.name.as_ref()).cloned().unwrap_or_else(|| name(header)),
        link: record("linkpath").or(before.link.as_ref()).cloned().unwrap_or_else(|| text(&header[157..257]).to_vec()),
        typeflag,
        mode: u32::try_from(number(&header[100..108])? & 0o7777).unwrap_or_default(),
        uid: numeric("uid", &header[108..116])?.cast_unsigned(),
        gid: numeric("gid", &header[116..124])?.cast_unsigned(),
        mtime,
        device: if matches!(typeflag, b'3' | b'4') {
            (device(&header[329..337])?, device(&header[337..345])?)
        } else {
            (0, 0)
        },
        xattrs: xattrs.collect(),
        content: content.to_vec(),
    })
}

/// The name field with USTAR's prefix; GNU keeps other things in the prefix's place.
fn name(header: &[u8; BLOCK]) -> Vec<u8> {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if &header[257..263] == b"ustar\0" && !prefix.is_empty() { [prefix, b"/", name].concat() } else { name.to_vec() }
}

fn check_sum(header: &[u8; BLOCK]) -> Result<(), TreeError> {
    let sum = header.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { i64::from(*byte) });
    match number(&header[148..156])? == sum.sum::<i64>() {
        true => Ok(()),
        false => Err(TreeError("a tar header has a wrong checksum".into())),
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// Octal with spaces and NULs around it, or GNU's binary.
fn number(field: &[u8]) -> Result<i64, TreeError> {
    if field[0] & 0x80 != 0 {
        let start = if field[0] & 0x40 != 0 { -1 } else { i64::from(field[0] & 0x3f) };
        return Ok(field[1..].iter().fold(start, |sum, byte| sum << 8 | i64::from(*byte)));
    }
    let digits: Vec<u8> = field.iter().copied().filter(|byte| !matches!(byte, 0 | b' ')).collect();
    if digits.is_empty() {
        return Ok(0);
    }
    let parsed = std::str::from_utf8(&digits).ok().and_then(|digits| i64::from_str_radix(digits, 8).ok());
    parsed.ok_or_else(|| TreeError(format!("`{}` is not an octal number", field.escape_ascii())))
}

fn decimal(text: &[u8]) -> Result<i64, TreeError> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| TreeError(format!("`{}` is not a number", text.escape_ascii())))
}

/// Seconds and nanoseconds after them, also before 1970.
fn time(text: &[u8]) -> Result<(i64, u32), TreeError> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let mut digits = fraction.to_vec();
    digits.resize(9, b'0');
    let (seconds, nanos) = (decimal(whole)?, decimal(&digits)?);
    let nanos = u32::try_from(nanos).map_err(|_| TreeError("a fraction is negative".into()))?;
    match nanos {
        nanos if nanos > 0 && whole.starts_with(b"-") => Ok((seconds - 1, 1_000_000_000 - nanos)),
        nanos => Ok((seconds, nanos)),
    }
}

/// `length key=value\n`, one after the other. Values may hold anything.
fn records(mut rest: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TreeError> {
    let broken = || TreeError("an extended header is broken".into());
    let mut records = BTreeMap::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length = usize::try_from(decimal(&rest[..space])?).map_err(|_| broken())?;
        let record = rest.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(broken)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        rest = &rest[length..];
    }
    Ok(records)
}
