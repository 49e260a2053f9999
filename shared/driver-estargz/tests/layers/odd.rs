//! Odd tars: a row for each kind of entry that readers treat differently.

use accel_domain::EstargzOptions;
use accel_driver::DriverError;
use accel_driver_estargz::{LANDMARK, NO_PREFETCH_LANDMARK, TOC_NAME};
use accel_image::Digest;
use accel_test_support::tar::{
    Format, block_device, char_device, dir, entry_blocks, fifo, file, global_pax, hardlink, opaque, raw_names_tar,
    replaced_tar, sparse_gnu, sparse_pax, symlink, tar_as, tar_without_end, whiteout,
};
use accel_test_support::{Entry, sparse_tar, tar};
use serde_json::json;

use crate::blob::{Made, convert, name, try_convert};

fn made(entries: &[Entry]) -> Made {
    convert(&tar(entries), &EstargzOptions::default())
}

/// Why the layer stays as it was.
fn refusal(source: &[u8]) -> String {
    match try_convert(source, &EstargzOptions::default()) {
        Err(DriverError::Unrepresentable { path, reason }) => format!("{path}: {reason}"),
        Err(other) => panic!("{other:?}"),
        Ok(made) => panic!("it was converted: {:?}", made.names()),
    }
}

#[test]
fn each_kind_has_its_type() {
    let made = made(&[
        dir("d/"),
        file("d/f", b"content").mode(0o4755),
        file("old", b"content").typeflag(0).format(Format::Ustar),
        dir("old-dir/").typeflag(0).format(Format::Ustar),
        file("contiguous", b"content").typeflag(b'7'),
        hardlink("h", "./d/f"),
        symlink("s", "../<up>&"),
        char_device("c", 5, 1),
        char_device("c0", 0, 0),
        block_device("b", 259, 65_536),
        fifo("p"),
        whiteout("d/gone"),
        opaque("d"),
    ]);
    let types =
        ["reg", "dir", "reg", "reg", "dir", "reg", "hardlink", "symlink", "char", "char", "block", "fifo", "reg"];
    for (entry, expected) in made.entries.iter().zip(types) {
        assert_eq!(entry["type"], expected, "{entry}");
    }
    assert_eq!(made.entry("d/f")["mode"], 0o4755);
    assert_eq!(made.entry("h")["linkName"], "./d/f");
    assert_eq!(made.entry("s")["linkName"], "../<up>&");
    assert_eq!((&made.entry("c")["devMajor"], &made.entry("c")["devMinor"]), (&json!(5), &json!(1)));
    assert_eq!(made.entry("b")["devMinor"], 65_536);
    assert_eq!(made.entry("d/.wh.gone")["digest"], Digest::of(b"").to_string());
    assert_eq!(made.entry("d/.wh..wh..opq")["type"], "reg");
}

#[test]
fn a_header_that_claims_content_where_there_is_none_is_not_believed() {
    let made = made(&[
        file("f", b"content"),
        hardlink("h", "f").size_field(7),
        dir("d/").size_field(4096),
        symlink("s", "f").size_field(1),
        file("g", b"after"),
    ]);
    assert_eq!(made.names()[1..], ["f", "h", "d/", "s", "g"]);
    assert!(made.entry("h").get("size").is_none());
}

#[test]
fn global_headers_pass_without_an_entry() {
    let entries = [global_pax(&[("comment", "of a commit")]), file("f", b"x"), global_pax(&[]), dir("d/")];
    let made = made(&entries);
    assert_eq!(made.names(), [NO_PREFETCH_LANDMARK, "f", "d/"]);
    let header = entry_blocks(Format::Pax, &entries[0]);
    assert!(made.tar.windows(header.len()).any(|window| window == header));
}

#[test]
fn what_a_toc_cannot_hold_leaves_the_layer_as_it_is() {
    let first = file("f", b"x");
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (sparse_tar(), "old-gnu: its kind has no place in a TOC"),
        (tar(&[sparse_gnu("s", 4096, &[(0, b"x")])]), "s: its kind"),
        (tar(&[first.clone(), sparse_pax("s", 4096, &[(0, b"x")])]), "s: its kind"),
        (tar(&[file("v", b"").typeflag(b'V').format(Format::Gnu)]), "v: its kind"),
        (tar(&[file(b"caf\xe9", b"x")]), "its name is not UTF-8"),
        (tar(&[symlink("s", b"caf\xe9")]), "s: the target of the link is not UTF-8"),
        (tar(&[file("f", b"").pax(b"SCHILY.xattr.user.\xe9", b"x")]), "f: the name of an extended attribute"),
        (tar(&[first.clone().mtime(300_000_000_000)]), "f: its modification time"),
        (tar(&[hardlink("h", "f"), first.clone()]), "h: it is a hard link to a path that the layer does not have"),
        (tar(&[hardlink("h", "below")]), "h: it is a hard link to a path that the layer does not have"),
        (tar(&[file(TOC_NAME, b"x"), hardlink("h", TOC_NAME)]), "h: it is a hard link to a path"),
        (tar(&[first.clone(), hardlink("f", "f")]), "f: it replaces a file to which"),
        (tar(&[first.clone(), hardlink("h", "/f"), file("./f", b"new")]), "./f: it replaces a file to which"),
        (raw_names_tar(), "its name is not UTF-8"),
        (replaced_tar(), "dup: it replaces a file to which"),
    ];
    for (source, expected) in rows {
        let reason = refusal(&source);
        assert!(reason.contains(expected), "{reason:?} instead of {expected:?}");
    }
}

#[test]
fn the_later_of_two_entries_with_a_path_stays_where_it_is() {
    let made = made(&[
        file("a", b"first"),
        dir("d/"),
        file("./b", b"first"),
        file("a", b"second"),
        file("c", b"only"),
        file("/b", b"second"),
        file("b", b"third"),
        file("d", b"a file now"),
    ]);
    assert_eq!(made.names(), [NO_PREFETCH_LANDMARK, "a", "c", "b", "d"]);
    assert_eq!(made.entry("a")["digest"], Digest::of(b"second").to_string());
    assert_eq!(made.entry("b")["digest"], Digest::of(b"third").to_string());
    assert_eq!((made.downloads, made.restarts), (2, 1));
}

#[test]
fn a_hard_link_follows_the_version_before_it() {
    let made = made(&[file("a", b"first"), file("a", b"second"), hardlink("h", "a"), hardlink("i", "h")]);
    assert_eq!(made.names(), [NO_PREFETCH_LANDMARK, "a", "h", "i"]);
    assert_eq!(made.tree().nodes[&b"i"[..]].digest, Some(Digest::of(b"second")));
}

#[test]
fn a_hard_link_may_be_replaced() {
    let made = made(&[file("a", b"x"), hardlink("h", "a"), file("h", b"its own")]);
    assert_eq!(made.names(), [NO_PREFETCH_LANDMARK, "a", "h"]);
    assert_eq!(made.entry("h")["type"], "reg");
}

#[test]
fn names_of_the_formats_own_are_dropped_from_a_source() {
    let made = made(&[
        file(NO_PREFETCH_LANDMARK, b"\x0f"),
        file("a", b"x"),
        file(format!("./{LANDMARK}"), b"\x0f"),
        file(format!("/{TOC_NAME}"), b"{}"),
        file(format!("sub/{TOC_NAME}"), b"an ordinary file"),
        file(format!("not{LANDMARK}"), b"an ordinary file"),
    ]);
    let own = format!("sub/{TOC_NAME}");
    let other = format!("not{LANDMARK}");
    assert_eq!(made.names(), [NO_PREFETCH_LANDMARK, "a", &own, &other]);
    assert_eq!((made.downloads, made.restarts), (1, 0), "a dropped name is no repeated path");
}

#[test]
fn converting_a_result_again_gives_the_same_bytes() {
    let once = made(&[dir("d/"), file("d/f", b"content"), file("g", vec![7; 100_000])]);
    let twice = convert(&once.blob, &EstargzOptions::default());
    assert!(once.blob == twice.blob);
}

#[test]
fn roots_and_missing_parents_are_as_in_the_source() {
    let made = made(&[dir("./").mode(0o700), file("a/b/c", b"x"), dir("/a/")]);
    assert_eq!(made.names(), [NO_PREFETCH_LANDMARK, "./", "a/b/c", "/a/"]);
    assert_eq!(made.entry("./")["mode"], 0o700);
}

#[test]
fn an_empty_tar_is_a_layer() {
    for source in [tar(&[]), Vec::new(), vec![0; 512], tar_without_end(Format::Pax, &[])] {
        let made = convert(&source, &EstargzOptions::default());
        assert_eq!(made.names(), [NO_PREFETCH_LANDMARK]);
        assert_eq!(made.converted.source.source_bytes, source.len() as u64);
    }
}

#[test]
fn times_are_kept_whatever_they_are() {
    let rows = [
        (0, 0, "1970-01-01T00:00:00Z"),
        (0, 1, "1970-01-01T00:00:00.000000001Z"),
        (1_700_000_000, 0, "2023-11-14T22:13:20Z"),
        (1_700_000_000, 623_456_000, "2023-11-14T22:13:20.623456Z"),
        (-1, 0, "1969-12-31T23:59:59Z"),
        (-1, 500_000_000, "1969-12-31T23:59:59.5Z"),
        (-62_135_596_801, 0, "0000-12-31T23:59:59Z"),
        (253_402_207_200, 0, "9999-12-30T22:00:00Z"),
    ];
    for (seconds, nanos, expected) in rows {
        let made = made(&[file("f", b"x").mtime(seconds).nanos(nanos)]);
        assert_eq!(made.entry("f")["modtime"], expected);
    }
}

#[test]
fn names_come_back_as_they_were() {
    let long = "n".repeat(3000);
    for name in
        ["<tag>&amp;", "äöü-日本語-\u{2028}", "quote\"back\\slash", "tab\tline\nbell\u{7}", "a,\"type\":\"dir\"", &long]
    {
        for format in [Format::Pax, Format::Gnu] {
            let entries = [file(name, vec![1; 5000]), hardlink("h", name), symlink("s", name)];
            let made = convert(&tar_as(format, &entries), &crate::blob::chunked(4096));
            assert_eq!(made.names()[1..], [name, "h", "s"]);
            assert_eq!(
                made.entries.iter().filter(|entry| crate::blob::name(entry) == name).count(),
                2,
                "its chunk too"
            );
            assert_eq!(made.entry("h")["linkName"], name);
        }
    }
}

#[test]
fn owners_and_attributes_are_said() {
    let made = made(&[
        file("a", b"").uid(1000).gid(100).owner("alice", "users"),
        file("b", b"").uid(1000).gid(100).owner("alice", "users"),
        file("c", b"").uid(1000).gid(3_000_000).owner("bob", ""),
        file("d", b"")
            .uid(u64::from(u32::MAX))
            .xattr("user.b", [0, 255])
            .xattr("user.a", b"")
            .xattr("user.ä\"", b"=\n"),
    ]);
    assert_eq!((&made.entry("a")["userName"], &made.entry("a")["groupName"]), (&json!("alice"), &json!("users")));
    assert!(made.entry("b").get("userName").is_none());
    assert_eq!((&made.entry("c")["userName"], &made.entry("c")["gid"]), (&json!("bob"), &json!(3_000_000)));
    assert_eq!(made.entry("d")["uid"], u32::MAX);
    assert_eq!(made.entry("d")["xattrs"], json!({"user.a": "", "user.b": "AP8=", "user.ä\"": "PQo="}));
}

#[test]
fn the_mode_field_is_verbatim() {
    let made = made(&[dir("d/").mode(0o40_755), file("f", b"").mode(0)]);
    assert_eq!(made.entry("d/")["mode"], 0o40_755);
    assert!(made.entry("f").get("mode").is_none());
    assert!(made.entries.iter().all(|entry| !name(entry).is_empty()));
}
