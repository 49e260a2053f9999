//! The tar writer, judged by the `tar` crate.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::io::Read as _;

use accel_test_support::tar::{
    Format, char_device, dir, file, global_pax, gnu_long_name, hardlink, nasty_entries, opaque, raw_header, sparse_gnu,
    symlink, tar, tar_as, tar_without_end, whiteout,
};
use tar::{Archive, EntryType};

/// Path, type, mode, uid, mtime, content.
type Row = (Vec<u8>, EntryType, u32, u64, u64, Vec<u8>);

fn read(bytes: &[u8]) -> Vec<Row> {
    let mut archive = Archive::new(bytes);
    let rows = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        let numbers = (header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap());
        (entry.path_bytes().into_owned(), header.entry_type(), numbers.0, numbers.1, numbers.2, content)
    });
    rows.collect()
}

#[test]
fn each_format_says_the_same() {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    let entries = [
        dir("a/").mode(0o1777),
        file("a/b", b"content").mode(0o4755).uid(1000).mtime(0),
        file(&long, [b'x'; 513]),
        symlink("l", "a/b"),
        hardlink("h", "a/b"),
        char_device("c", 5, 1),
    ];
    let ustar = read(&tar_as(Format::Ustar, &entries));
    assert_eq!(ustar.len(), entries.len());
    assert_eq!(ustar[1], (b"a/b".to_vec(), EntryType::Regular, 0o4755, 1000, 0, b"content".to_vec()));
    assert_eq!((ustar[2].0.as_slice(), ustar[2].5.len()), (long.as_bytes(), 513));
    for format in [Format::Pax, Format::Gnu] {
        assert_eq!(read(&tar_as(format, &entries)), ustar, "{format:?}");
    }
}

#[test]
fn says_what_does_not_fit_into_the_header() {
    let long = "n".repeat(300);
    for format in [Format::Pax, Format::Gnu] {
        let bytes = tar_as(format, &[file(&long, b"x").uid(3_000_000).mtime(20_000_000_000), symlink("l", &long)]);
        let mut archive = Archive::new(bytes.as_slice());
        let entries: Vec<_> = archive.entries().unwrap().map(Result::unwrap).collect();
        assert_eq!((&*entries[0].path_bytes(), entries[0].header().uid().unwrap()), (long.as_bytes(), 3_000_000));
        assert_eq!(entries[1].link_name_bytes().unwrap(), long.as_bytes());
    }
}

#[test]
fn writes_attributes_as_records() {
    let bytes = tar(&[file("f", b"").xattr("user.x", b"\0=").nanos(5).pax("comment", "c")]);
    let mut archive = Archive::new(bytes.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let records: Vec<(Vec<u8>, Vec<u8>)> = entry
        .pax_extensions()
        .unwrap()
        .unwrap()
        .map(|record| record.map(|record| (record.key_bytes().to_vec(), record.value_bytes().to_vec())).unwrap())
        .collect();
    let expected: [(&[u8], &[u8]); 3] =
        [(b"mtime", b"1700000000.000000005"), (b"SCHILY.xattr.user.x", b"\0="), (b"comment", b"c")];
    assert_eq!(records, expected.map(|(key, value)| (key.to_vec(), value.to_vec())));
}

#[test]
fn names_whiteouts_as_the_specification_does() {
    let rows = read(&tar(&[whiteout("x"), whiteout("a/x"), opaque("a"), opaque("a/b/"), opaque("")]));
    let names: Vec<_> = rows.into_iter().map(|row| String::from_utf8(row.0).unwrap()).collect();
    assert_eq!(names, [".wh.x", "a/.wh.x", "a/.wh..wh..opq", "a/b/.wh..wh..opq", ".wh..wh..opq"]);
}

#[test]
fn a_sparse_file_reads_with_its_holes() {
    let rows = read(&tar(&[sparse_gnu("s", 2000, &[(512, &[7; 512]), (1536, b"more")])]));
    let mut expected = vec![0; 2000];
    expected[512..1024].fill(7);
    expected[1536..1540].copy_from_slice(b"more");
    assert_eq!((rows.len(), &rows[0].5), (1, &expected));
}

#[test]
fn lies_where_it_is_told_to() {
    let header = |entry| tar_without_end(Format::Ustar, &[entry]);
    assert_eq!(&header(file("f", b"abc").size_field(9))[124..136], b"00000000011\0");
    assert_eq!(header(hardlink("h", "f").size_field(9)).len(), 512);
    assert_eq!(&header(file("f", b"").typeflag(b'7'))[156..157], b"7");
    assert_eq!(&header(file(b"\xff\xfe", b""))[..3], b"\xff\xfe\0");
    assert_eq!(tar_without_end(Format::Pax, &[raw_header(b"abc")])[..4], *b"abc\0");
    assert_eq!(tar(&[]), [0; 1024]);
    let named = read(&tar(&[global_pax(&[("comment", "x")]), gnu_long_name("other"), file("f", b"")]));
    assert_eq!(named.last().unwrap().0, b"other");
}

#[test]
fn the_nasty_layer_has_every_kind_of_entry() {
    let bytes = tar(&nasty_entries());
    let types: std::collections::BTreeSet<u8> =
        bytes.chunks_exact(512).filter(|block| &block[257..262] == b"ustar").map(|block| block[156]).collect();
    for wanted in [0, b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'g', b'x', b'L', b'K'] {
        assert!(types.contains(&wanted), "{:?}", wanted as char);
    }
    assert!(!types.contains(&b'S'));
    assert_eq!(bytes, tar(&nasty_entries()), "it is the same every time");
}
