//! Our reader against our writer, and against blobs that lie.

use accel_domain::{ByteSize, EstargzOptions};
use accel_driver_estargz::reader::{CheckedBlob, FormatError, TocEntry, check_blob, read_toc, toc_offset};
use accel_driver_estargz::{FOOTER_BYTES, LANDMARK, NO_PREFETCH_LANDMARK, TOC_NAME, footer};
use accel_image::Digest;
use accel_stream::{Entry as TarEntry, Limits};
use accel_test_support::tar::{dir, file, hardlink, symlink, tar_without_end};
use accel_test_support::{Entry, Format, compress, nasty_tar, tar};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::blob::{Made, chunked, convert, prefetching};

/// Entries with the digests of their content.
type Shown = Vec<(TarEntry, Option<Digest>)>;

/// What [`check_blob`] shows of a blob.
pub(crate) fn check(blob: &[u8]) -> Result<(CheckedBlob, Shown), FormatError> {
    let tail = &blob[blob.len().saturating_sub(FOOTER_BYTES)..];
    let at = toc_offset(tail, blob.len() as u64)?;
    let mut entries = Vec::new();
    let mut each = |entry: &TarEntry, digest| entries.push((entry.clone(), digest));
    let checked = check_blob(blob, &blob[at.0 as usize..], at, Limits::default(), &mut each)?;
    Ok((checked, entries))
}

fn toc(blob: &[u8]) -> Result<Vec<TocEntry>, FormatError> {
    let at = toc_offset(&blob[blob.len() - FOOTER_BYTES..], blob.len() as u64)?;
    let mut entries = Vec::new();
    read_toc(&blob[at.0 as usize..], Limits::default(), &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

#[test]
fn reads_what_the_writer_writes() {
    let options = [
        EstargzOptions::default(),
        chunked(65_536),
        EstargzOptions { min_chunk_size: ByteSize(65_536), ..EstargzOptions::default() },
        prefetching(&["/home/**", "/dev/null"]),
    ];
    for options in options {
        for source in [nasty_tar(), tar(&[])] {
            let made = convert(&source, &options);
            let (checked, entries) = check(&made.blob).unwrap();
            assert_eq!((checked.digest, checked.size), (made.converted.digest, made.converted.size));
            assert_eq!(checked.diff_id, made.converted.diff_id);
            let annotation = &made.converted.annotations[accel_driver_estargz::TOC_DIGEST];
            assert_eq!(checked.toc_digest.to_string(), *annotation);
            assert_eq!(checked.entries, entries.len() as u64);
            assert_eq!(checked.entries, made.names().len() as u64 - 1, "all but the landmark");
            let chunks = made.entries.iter().filter(|entry| entry.get("offset").is_some()).count();
            assert_eq!(checked.chunks, chunks as u64);
            let landmark = made.names().iter().position(|name| *name == LANDMARK).unwrap_or(0);
            assert_eq!(checked.prioritized, landmark as u64);
            let names: Vec<String> = toc(&made.blob).unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, made.entries.iter().map(crate::blob::name).collect::<Vec<_>>());
        }
    }
}

fn small() -> Made {
    let source = tar(&[
        dir("d/"),
        file("d/large", vec![5; 10_000]).owner("alice", "users"),
        file("d/next", b"content").owner("alice", "users").xattr("user.a", b"1"),
        file("d/empty", b"").mtime(0),
        hardlink("h", "d/next"),
        symlink("s", "d"),
    ]);
    convert(&source, &chunked(4096))
}

/// The same members with another end.
fn with_end(made: &Made, toc_member: &[u8]) -> Vec<u8> {
    [&made.blob[..made.toc_offset], toc_member, &footer(made.toc_offset as u64)].concat()
}

fn with_json(made: &Made, json: &[u8]) -> Vec<u8> {
    with_end(made, &compress::gzip(&tar(&[file(TOC_NAME, json)])))
}

#[test]
fn a_toc_that_differs_from_its_tar_is_found_out() {
    let made = small();
    // 0 landmark, 1 d/, 2 large, 3 and 4 its chunks, 5 next, 6 empty, 7 h, 8 s
    type Edit = fn(&mut Vec<Value>);
    let rows: [(&str, Edit); 35] = [
        ("another size", |toc| toc[2]["size"] = json!(10_001)),
        ("another mode", |toc| toc[1]["mode"] = json!(0o777)),
        ("another uid", |toc| toc[1]["uid"] = json!(7)),
        ("another gid", |toc| toc[1]["gid"] = json!(7)),
        ("another user name", |toc| toc[5]["userName"] = json!("bob")),
        ("another group name", |toc| toc[2]["groupName"] = json!("")),
        ("another link target", |toc| toc[7]["linkName"] = json!("d/large")),
        ("another link target", |toc| toc[8]["linkName"] = json!("e")),
        ("another link target", |toc| toc[1]["linkName"] = json!("e")),
        ("another device number", |toc| toc[1]["devMinor"] = json!(1)),
        ("another time", |toc| toc[5]["modtime"] = json!("2023-11-14T22:13:20.5Z")),
        ("another time", |toc| toc[5]["modtime"] = json!("")),
        ("d/empty: the TOC has another time", |toc| toc[6]["modtime"] = json!("")),
        ("another time", |toc| toc[5]["modtime"] = json!("yesterday")),
        ("other extended attributes", |toc| toc[5]["xattrs"]["user.a"] = json!("Mg==")),
        ("other extended attributes", |toc| toc[5]["xattrs"] = json!({})),
        ("other extended attributes", |toc| toc[1]["xattrs"] = json!({"user.x": ""})),
        ("another type", |toc| toc[1]["type"] = json!("fifo")),
        ("in its place", |toc| toc[5]["name"] = json!("d/other")),
        ("in its place", |toc| drop(toc.remove(1))),
        ("in its place", |toc| toc.swap(6, 7)),
        ("it is not in the TOC", |toc| toc.truncate(8)),
        ("in its place", |toc| toc.push(json!({"name": "ghost", "type": "dir", "mode": 1}))),
        ("its chunks do not make it up", |toc| drop(toc.remove(4))),
        ("its chunks do not make it up", |toc| toc[3]["chunkSize"] = json!(9000)),
        ("its chunks do not make it up", |toc| toc[3]["name"] = json!("d/next")),
        ("another place of the file", |toc| toc[3]["chunkOffset"] = json!(4095)),
        ("another place of the blob", |toc| toc[3]["offset"] = toc[2]["offset"].clone()),
        ("another place of the blob", |toc| toc[3]["innerOffset"] = json!(1)),
        ("a chunk has another digest", |toc| toc[3]["chunkDigest"] = json!(Digest::of(b"").to_string())),
        ("a chunk has another digest", |toc| drop(toc[5].as_object_mut().unwrap().remove("chunkDigest"))),
        ("it has another digest", |toc| toc[2]["digest"] = json!(Digest::of(b"").to_string())),
        ("it has another digest", |toc| toc[6]["digest"] = json!(Digest::of(b"x").to_string())),
        ("the TOC has no digest of it", |toc| drop(toc[6].as_object_mut().unwrap().remove("digest"))),
        ("it is no file", |toc| toc[1]["chunkDigest"] = json!(Digest::of(b"").to_string())),
    ];
    for (expected, edit) in rows {
        let mut entries = made.entries.clone();
        edit(&mut entries);
        let json = json!({"version": 1, "entries": entries}).to_string();
        let error = check(&with_json(&made, json.as_bytes())).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} instead of {expected:?}");
    }
    let unchanged = json!({"version": 1, "entries": made.entries}).to_string();
    check(&with_json(&made, unchanged.as_bytes())).unwrap();
}

#[test]
fn a_toc_that_cannot_be_read_says_why() {
    let made = small();
    let entry = r#"{"name":"a","type":"dir"}"#;
    let long = format!(r#"{{"version":1,"entries":[{{"name":"{}","type":"dir"}}]}}"#, "n".repeat(9 << 20));
    let spaces = format!(r#"{{"version":1,{}"entries":[]}}"#, " ".repeat(9 << 20));
    let rows: [(&str, &str); 14] = [
        ("", "EOF"),
        ("[]", "a TOC"),
        (r#"{"version":1}"#, "missing field `entries`"),
        (r#"{"entries":[]}"#, "missing field `version`"),
        (r#"{"version":2,"entries":[]}"#, "version 2"),
        (r#"{"version":1,"version":1,"entries":[]}"#, "duplicate field `version`"),
        (r#"{"version":1,"entries":[],"entries":[]}"#, "duplicate field `entries`"),
        (r#"{"version":1,"entries":{}}"#, "a list of entries"),
        (r#"{"version":1,"entries":[]} x"#, "trailing"),
        (r#"{"version":1,"entries":[{"name":"a"}]}"#, "missing field `type`"),
        (r#"{"version":1,"entries":[{"name":"a","type":"socket"}]}"#, "unknown variant"),
        (r#"{"version":1,"entries":[{"name":"a","name":"b","type":"dir"}]}"#, "duplicate field"),
        (&long, "longer than 8388608 bytes"),
        (&spaces, "longer than 8388608 bytes"),
    ];
    for (json, expected) in rows {
        let error = toc(&with_json(&made, json.as_bytes())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} instead of {expected:?}");
    }
    let more = format!(r#"{{"x":[1,{{"y":null}}],"version":1,"entries":[{entry},{entry}]}}"#);
    let blob = with_json(&made, more.as_bytes());
    assert_eq!(toc(&blob).unwrap().len(), 2, "members that are not known are skipped");
    let limits = Limits { entries: 1, ..Limits::default() };
    let error = read_toc(&blob[made.toc_offset..], limits, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, FormatError::TooManyEntries { limit: 1 }));
}

#[test]
fn the_member_of_a_toc_holds_nothing_else() {
    let made = small();
    let json = json!({"version": 1, "entries": made.entries}).to_string();
    let named = |name: &str| compress::gzip(&tar(&[file(name, &json)]));
    let rows: [(Vec<u8>, &str); 7] = [
        (named("other"), "another name"),
        (compress::gzip(&tar(&[dir(TOC_NAME)])), "it is no file"),
        (compress::gzip(&tar(&[])), "it is empty"),
        (compress::gzip(&tar(&[file(TOC_NAME, &json), file("x", b"")])), "another entry follows"),
        (tar(&[file(TOC_NAME, &json)]), "it is not gzip"),
        (compress::gzip(b"no tar"), "too early"),
        (compress::gzip(&tar(&[file(TOC_NAME, &json)]))[..20].to_vec(), ""),
    ];
    for (member, expected) in rows {
        let blob = with_end(&made, &member);
        let error = toc(&blob).map(drop).and_then(|()| check(&blob).map(drop)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} instead of {expected:?}");
    }
}

#[test]
fn a_footer_has_to_point_at_the_toc_and_follow_it() {
    let made = small();
    let (members, toc_member) = made.blob.split_at(made.toc_offset);
    let toc_member = &toc_member[..toc_member.len() - FOOTER_BYTES];
    let at = made.toc_offset as u64;
    let empty = compress::gzip(b"");
    let rows: [(Vec<u8>, &str); 4] = [
        ([members, toc_member, &empty, &footer(at)].concat(), ""),
        ([members, &empty, toc_member, &footer(at)].concat(), "the TOC is not where it says"),
        ([members, toc_member, &footer(at), &[0]].concat(), "magic"),
        ([members, toc_member, &footer(at + 1)].concat(), ""),
    ];
    for (at, (blob, expected)) in rows.into_iter().enumerate() {
        match check(&blob) {
            Ok(_) => assert_eq!(at, 0, "an empty member before the footer harms nobody"),
            Err(error) => assert!(at > 0 && error.to_string().contains(expected), "{error} instead of {expected:?}"),
        }
    }
}

#[test]
fn the_formats_own_names_hold_nothing_else() {
    let hide = |entries: &[Entry]| {
        // As a writer that does not drop them would.
        let mut toc = Vec::new();
        let mut members = Vec::new();
        for entry in entries {
            members.extend(compress::gzip(&tar_without_end(Format::Pax, std::slice::from_ref(entry))));
            toc.push(json!({"name": name_of(entry), "type": "reg", "mode": 0o644, "modtime": "2023-11-14T22:13:20Z",
                "digest": Digest::of(b"").to_string()}));
        }
        let at = members.len() as u64;
        let json = json!({"version": 1, "entries": toc}).to_string();
        members.extend(compress::gzip(&tar(&[file(TOC_NAME, json)])));
        members.extend(footer(at));
        check(&members).map(|(checked, _)| checked.entries).map_err(|error| error.to_string())
    };
    assert_eq!(hide(&[file("f", b"")]), Ok(1));
    for name in [TOC_NAME, LANDMARK, NO_PREFETCH_LANDMARK, "./stargz.index.json"] {
        let error = hide(&[file(name, b"")]).unwrap_err();
        assert!(error.contains("only the format's own"), "{error}");
    }
}

fn name_of(entry: &Entry) -> String {
    let blocks = tar_without_end(Format::Pax, std::slice::from_ref(entry));
    String::from_utf8(blocks[..100].split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
}

#[test]
fn an_error_of_the_source_is_told_apart() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let made = small();
    let error = read_toc(Broken, Limits::default(), &mut |_| Ok(())).unwrap_err();
    assert!(error.is_of_the_source(), "{error}");
    let at = (made.toc_offset as u64, made.blob.len() as u64 - 51);
    let error = check_blob(Broken, &made.blob[made.toc_offset..], at, Limits::default(), &mut |_, _| ()).unwrap_err();
    assert!(error.is_of_the_source(), "{error}");
    assert!(!check(&made.blob[..made.blob.len() - 1]).unwrap_err().is_of_the_source());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_flipped_bit_never_passes_for_the_layer(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        thread_local!(static SMALL: Made = small());
        SMALL.with(|made| {
            let mut blob = made.blob.clone();
            let place = place.index(blob.len());
            blob[place] ^= 1 << bit;
            if let Ok((checked, entries)) = check(&blob) {
                // Members' headers have bytes that mean nothing: time, system.
                assert_ne!(checked.digest, made.converted.digest);
                assert_eq!(checked.diff_id, made.converted.diff_id);
                assert_eq!(entries.len(), 6);
            }
        });
    }

    #[test]
    fn no_bytes_make_it_panic(json in "[\\[\\]{}\":,a-z0-9 ]{0,200}", cut in any::<prop::sample::Index>()) {
        let member = compress::gzip(&tar(&[file(TOC_NAME, &json)]));
        let member = &member[..cut.index(member.len())];
        prop_assert!(read_toc(member, Limits::default(), &mut |_| Ok(())).is_err());
    }
}
