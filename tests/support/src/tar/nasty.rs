//! A layer with every oddity that formats can hold, and layers that some of them cannot.

use super::{
    Entry, Format, block_device, char_device, dir, fifo, file, global_pax, hardlink, opaque, sparse_gnu, sparse_pax,
    symlink, tar, whiteout,
};

/// A layer of odd but legal entries: repeated paths, hard links (one with a size), whiteouts, long and strange
/// names, extended attributes, devices, set-id bits, numbers and times beyond the header's fields, old and unusual
/// types, a large file. Each means the same to every reader; what does not is in [`sparse_tar`],
/// [`raw_names_tar`] and [`replaced_tar`].
#[must_use]
pub fn nasty_tar() -> Vec<u8> {
    tar(&nasty_entries())
}

/// The entries of [`nasty_tar`].
#[must_use]
pub fn nasty_entries() -> Vec<Entry> {
    [attributes(), names(), links(), types()].concat()
}

/// A layer with both kinds of sparse files between ordinary ones.
#[must_use]
pub fn sparse_tar() -> Vec<u8> {
    let pieces: &[(u64, &[u8])] = &[(0, &[1; 512]), (1 << 20, &[7; 600])];
    tar(&[
        file("before", b"an ordinary file"),
        sparse_gnu("old-gnu", 2 << 20, pieces),
        sparse_pax("pax", 2 << 20, pieces),
        file("after", b"another ordinary file"),
    ])
}

/// A layer with a name that is not UTF-8, which JSON cannot hold.
#[must_use]
pub fn raw_names_tar() -> Vec<u8> {
    tar(&[file("before", b"x"), file(b"latin-\xe9\xff", b"not UTF-8"), symlink("link", b"latin-\xe9\xff")])
}

/// A layer whose meaning depends on the order of its entries: a hard link to a file that is replaced later keeps
/// the first version, and the child of a directory that becomes a file is gone.
#[must_use]
pub fn replaced_tar() -> Vec<u8> {
    tar(&[
        file("dup", b"first version"),
        hardlink("dup-link", "dup"),
        hardlink("dup-link-2", "dup"),
        file("dup", b"second version, longer than the first"),
        dir("was-dir/"),
        file("was-dir/child", b"gone when the directory becomes a file"),
        file("was-dir", b"now a file"),
    ])
}

fn attributes() -> Vec<Entry> {
    vec![
        global_pax(&[("comment", "odd but legal")]),
        dir("./").mode(0o755),
        dir("bin/"),
        file("bin/su", b"#!/bin/sh\n").mode(0o4755),
        file("bin/wall", b"#!/bin/sh\n").mode(0o2755),
        file("bin/ping", b"\x7fELF")
            .mode(0o755)
            .xattr("security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
            .xattr("user.note", "grüße\nzeile"),
        dir("tmp/").mode(0o1777),
        dir("home/").xattr("user.empty", b"").xattr("user.binary", [0, 255, b'=', b'\n']),
        file("home/large-ids", b"x").uid(3_000_000).gid(4_000_000).owner("nobody", "nogroup"),
        file("home/huge-ids", b"x").uid(4_294_967_294).gid(1 << 31).format(Format::Gnu),
        file("home/epoch", b"x").mtime(0),
        file("home/before-1970", b"x").mtime(-86_400),
        file("home/fraction", b"x").mtime(1_600_000_000).nanos(123_456_789),
        file("home/future", b"x").mtime(20_000_000_000),
        file("home/private", b"").mode(0),
    ]
}

fn names() -> Vec<Entry> {
    let deep = format!("{}/{}", "directory".repeat(10), "name".repeat(20));
    let longest = format!("long/{}", ["0123456789"; 25].concat());
    let gnu = format!("gnu/{}", "n".repeat(200));
    vec![
        file(&deep, b"prefix and name"),
        file(&longest, b"longer than any field"),
        file(&gnu, b"GNU long name").format(Format::Gnu),
        symlink("gnu-link", &gnu).format(Format::Gnu),
        symlink("long-link", &longest),
        file("names/äöü-日本語", b"not ASCII"),
        file("names/<tag>&\"quotes\"'\\", b"characters that JSON and HTML escape"),
        file("names/with space and\ttab", b"white"),
        file("names/line\nbreak", b"two lines"),
        file("./names/dotted", b"a leading dot"),
        file("/names/absolute", b"a leading slash"),
        file("implicit/parents/that/have/no/entry", b"x"),
    ]
}

fn links() -> Vec<Entry> {
    vec![
        file("dup", b"first version"),
        file("dup", b"second version, longer than the first"),
        hardlink("dup-link", "dup"),
        file("linked", b"one file under four names").uid(7),
        hardlink("linked-2", "linked").uid(7),
        hardlink("linked-3", "linked-2").uid(7),
        hardlink("linked-sized", "linked").uid(7).size_field(25),
        symlink("dangling", "/no/such/file"),
        symlink("itself", "itself"),
        symlink("up", "../../../etc"),
        file("was-file", b"now a directory"),
        dir("was-file/"),
        whiteout("bin/removed"),
        whiteout("removed-dir"),
        opaque("home"),
    ]
}

fn types() -> Vec<Entry> {
    let mut large: Vec<u8> = (0..5 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    large[1 << 20..3 << 20].fill(0);
    let pax_sized = "the header says that there is nothing, the record says how much";
    vec![
        char_device("dev/null", 1, 3),
        char_device("dev/large", 4000, 1_000_000),
        block_device("dev/sda", 8, 0),
        fifo("dev/pipe"),
        file("old-file", b"typeflag NUL").typeflag(0).format(Format::Ustar),
        file("old-dir/", b"").typeflag(0).mode(0o755).format(Format::Ustar),
        file("contiguous", b"typeflag 7").typeflag(b'7'),
        file("ustar-file", b"USTAR").format(Format::Ustar),
        file("empty", b""),
        file("one-block", [b'x'; 512]),
        file("block-and-one", [b'y'; 513]),
        file("large", large),
        file("pax-size", pax_sized).size_field(0).pax("size", pax_sized.len().to_string()),
        dir("empty-dir/").mode(0o700),
    ]
}
