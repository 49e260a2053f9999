//! The judge, judged.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::sync::LazyLock;

use accel_image::Digest;
use accel_registry_server::Content;
use accel_test_support::image::{Compression, Layer};
use accel_test_support::tar::{
    Entry, Format, char_device, dir, file, hardlink, nasty_tar, opaque, raw_names_tar, replaced_tar, sparse_gnu,
    sparse_pax, sparse_tar, symlink, tar, tar_as, whiteout,
};
use accel_test_support::tree::{Kind, diff};
use accel_test_support::{ImageBuilder, IndexBuilder, Tree};
use proptest::prelude::*;

fn tree(layers: &[&[Entry]]) -> Tree {
    Tree::from_layers(&layers.iter().map(|layer| tar(layer)).collect::<Vec<_>>()).unwrap()
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.nodes.keys().map(|path| std::str::from_utf8(path).unwrap()).collect()
}

#[test]
fn whiteouts_hide_only_what_is_below() {
    let base = [dir("a/"), file("a/x", b"1"), file("a/y", b"1"), file("ab", b""), dir("b/"), file("b/z", b"")];
    let rows: [(&[Entry], &[&str]); 6] = [
        (&[whiteout("a/x")], &["a", "a/y", "ab", "b", "b/z"]),
        (&[whiteout("a")], &["ab", "b", "b/z"]),
        (&[opaque("a")], &["a", "ab", "b", "b/z"]),
        (&[file("a/x", b"2"), whiteout("a/x")], &["a", "a/x", "a/y", "ab", "b", "b/z"]),
        (&[dir("a/"), file("a/new", b""), opaque("a")], &["a", "a/new", "ab", "b", "b/z"]),
        (&[opaque(""), file("only", b"")], &["only"]),
    ];
    for (layer, expected) in rows {
        assert_eq!(paths(&tree(&[&base, layer])), expected, "{layer:?}");
    }
    let again = tree(&[&base, &[file("a/x", b"2"), whiteout("a/x")]]);
    assert_eq!(again.nodes[b"a/x".as_slice()].digest, Some(Digest::of(b"2")));
}

#[test]
fn entries_replace_each_other_in_order() {
    let replaced = Tree::from_layers(&[replaced_tar()]).unwrap();
    assert_eq!(paths(&replaced), ["dup", "dup-link", "dup-link-2", "was-dir"]);
    assert_eq!(replaced.nodes[b"dup-link".as_slice()].digest, Some(Digest::of(b"first version")));
    assert_eq!(replaced.nodes[b"dup-link".as_slice()].links, [b"dup-link".to_vec(), b"dup-link-2".to_vec()]);
    assert!(replaced.nodes[b"dup".as_slice()].links.is_empty());
    assert_eq!(replaced.nodes[b"was-dir".as_slice()].kind, Kind::File);

    let kept = tree(&[&[dir("d/").mode(0o700), file("d/f", b"")], &[dir("./d").mode(0o755)]]);
    assert_eq!((paths(&kept), kept.nodes[b"d".as_slice()].mode), (vec!["d", "d/f"], 0o755));
}

#[test]
fn what_no_entry_made_is_there_all_the_same() {
    let root = tree(&[&[file("a", b"")], &[dir("./").mode(0o700)]]);
    assert_eq!(paths(&root), ["", "a"], "the root is not new where an entry names it first");
    let parents = tree(&[&[file("a", b""), symlink("s", "d")], &[file("a/b", b""), whiteout("s/x"), opaque("new")]]);
    assert_eq!(paths(&parents), ["a", "a/b", "new", "s"], "what is no directory gives way to one");
    assert_eq!(parents.nodes[b"s".as_slice()].kind, Kind::Dir);
}

#[test]
fn hard_links_share_a_file_across_layers() {
    let tree = tree(&[&[file("a", b"1").uid(9)], &[hardlink("b", "./a").size_field(77)], &[file("a", b"2")]]);
    assert_eq!(tree.nodes[b"b".as_slice()].digest, Some(Digest::of(b"1")));
    assert_eq!(tree.nodes[b"b".as_slice()].uid, 9);
    let lost = Tree::from_layers(&[tar(&[hardlink("b", "a")])]);
    assert_eq!(lost.unwrap_err().to_string(), "`b` has no target");
}

#[test]
fn reads_what_the_headers_say() {
    let long = "n".repeat(300);
    let entries = [
        file("ids", b"x").uid(4_294_967_294).gid(3_000_000),
        file("old", b"x").mtime(-2),
        file("time", b"x").mtime(-2).nanos(250_000_000).xattr("user.x", b"\0\n="),
        symlink(&long, &long),
        char_device("c", 4000, 70_000),
        file("implicit/parent", b""),
    ];
    for format in [Format::Pax, Format::Gnu] {
        let tree = Tree::from_layers(&[tar_as(format, &entries)]).unwrap();
        let node = |path: &str| tree.nodes[path.as_bytes()].clone();
        assert_eq!((node("ids").uid, node("ids").gid), (4_294_967_294, 3_000_000), "{format:?}");
        assert_eq!(node("old").mtime, Some((-2, 0)), "{format:?}");
        assert_eq!((node(&long).target, node(&long).kind), (long.clone().into_bytes(), Kind::Symlink), "{format:?}");
        assert_eq!((node("c").device, node("c").size), (Some((4000, 70_000)), 0), "{format:?}");
        assert_eq!((node("implicit").mtime, node("implicit").mode), (None, 0o755), "{format:?}");
        if format == Format::Pax {
            assert_eq!(node("time").mtime, Some((-2, 250_000_000)));
            assert_eq!(node("time").xattrs[b"user.x".as_slice()], b"\0\n=");
        }
    }
}

#[test]
fn reads_the_nasty_layer_and_refuses_what_is_not_ordinary() {
    let nasty = Tree::from_layers(&[nasty_tar()]).unwrap();
    assert!(nasty.nodes.len() > 55, "{}", nasty.nodes.len());
    assert_eq!(nasty.nodes[b"dup".as_slice()].digest, Some(Digest::of(b"second version, longer than the first")));
    assert_eq!(nasty.nodes[b"linked".as_slice()].links.len(), 4);
    assert_eq!(nasty.nodes[b"old-dir".as_slice()].kind, Kind::Dir);
    assert_eq!(nasty.nodes[b"was-file".as_slice()].kind, Kind::Dir);
    assert!(nasty.nodes.contains_key(b"".as_slice()), "the root has an entry");
    assert_eq!(nasty.nodes[b"pax-size".as_slice()].size, 63);
    assert!(Tree::from_layers(&[raw_names_tar()]).unwrap().nodes.contains_key(b"latin-\xe9\xff".as_slice()));

    let cut = &tar(&[file("f", [1; 2000])])[..1500];
    let mut changed = tar(&[file("f", b"")]);
    changed[0] = b'g';
    let rows: [(&[u8], &str); 7] = [
        (&sparse_tar(), "sparse"),
        (&tar(&[sparse_gnu("s", 10, &[])]), "sparse"),
        (&tar(&[sparse_pax("s", 10, &[])]), "sparse"),
        (&tar(&[file("../f", b"")]), "leads upwards"),
        (&tar(&[file("f", b"").typeflag(b'V')]), "unknown type"),
        (cut, "ends early"),
        (&changed, "checksum"),
    ];
    for (bytes, expected) in rows {
        let error = Tree::from_layers(&[bytes]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn names_every_difference() {
    let base = || vec![dir("d/"), file("f", b"1"), symlink("l", "f"), char_device("c", 1, 2)];
    let same = tree(&[&base()]);
    assert!(diff(&same, &tree(&[&base()])).is_empty());
    let with = |at: usize, entry: Entry| {
        let mut entries = base();
        entries[at] = entry;
        diff(&same, &tree(&[&entries]))
    };
    let rows = [
        (with(1, file("f", b"1").mode(0o600)), "f: mode 644 and 600"),
        (with(1, file("f", b"1").uid(1)), "f: uid 0 and 1"),
        (with(1, file("f", b"1").gid(1)), "f: gid 0 and 1"),
        (with(1, file("f", b"1").mtime(1)), "f: mtime Some((1700000000, 0)) and Some((1, 0))"),
        (with(2, symlink("l", "g")), "l: target \"f\" and \"g\""),
        (with(3, char_device("c", 1, 3)), "c: device Some((1, 2)) and Some((1, 3))"),
        (with(0, dir("e/")), "d: only left"),
    ];
    for (lines, expected) in rows {
        assert_eq!(lines.first().map(String::as_str), Some(expected));
    }
    assert_eq!(with(1, file("f", b"22")).len(), 2, "size and content");
    assert_eq!(with(1, file("f", b"1").xattr("user.x", b"1")).len(), 1);
    assert_eq!(with(2, hardlink("l", "f")).len(), 7, "kind, mode, size, content, target, and the links of both paths");
    assert!(diff(&same, &same.clone().without(&["c"])).contains(&"c: only left".to_owned()));
}

#[test]
fn an_image_holds_the_same_files_however_it_is_packed() {
    let content = Content::default();
    let layers = [nasty_tar(), tar(&[whiteout("bin"), file("new", b"")])];
    let expected = Tree::from_layers(&layers).unwrap();
    for packing in [Compression::None, Compression::Gzip, Compression::GzipMembers(10_000), Compression::Zstd] {
        let image = ImageBuilder::new().packed(&layers[0], packing).packed(&layers[1], packing);
        for image in [image.clone(), image.docker()] {
            let pushed = image.push(&content, "r", Some("t"));
            assert_eq!(pushed.diff_ids, [Digest::of(&layers[0]), Digest::of(&layers[1])]);
            assert_eq!(Tree::of_image(&content, "r", "t").unwrap(), expected, "{packing:?}");
        }
    }
    assert!(Tree::of_image(&content, "r", "other").is_err());
}

#[test]
fn an_index_has_platforms_attestations_and_foreign_layers() {
    let content = Content::default();
    let amd64 = ImageBuilder::new().layer(&tar(&[file("f", b"")])).push(&content, "r", None);
    let foreign = Layer::foreign(&tar(&[file("g", b"")]));
    let arm64 = ImageBuilder::new().platform("linux/arm64/v8").with(foreign).push(&content, "r", None);
    let index = IndexBuilder::new().image(&amd64).image(&arm64).attestation(&content, "r", &amd64);
    let digest = index.push(&content, "r", Some("all")).digest;

    let stored = content.manifest("r", "all").unwrap();
    assert_eq!(stored.digest, digest);
    let value: serde_json::Value = serde_json::from_slice(&stored.bytes).unwrap();
    let entries = value["manifests"].as_array().unwrap();
    let platforms: Vec<_> = entries.iter().map(|entry| entry["platform"]["architecture"].as_str().unwrap()).collect();
    assert_eq!(platforms, ["amd64", "arm64", "unknown"]);
    assert_eq!(entries[2]["annotations"]["vnd.docker.reference.digest"], amd64.manifest.digest.to_string());
    for entry in entries {
        assert!(content.manifest("r", entry["digest"].as_str().unwrap()).is_some());
    }
    assert!(content.blob("r", arm64.layers[0].digest).is_none(), "a foreign layer is elsewhere");
}

/// The start of the nasty layer: nearly all headers, without the large file.
static HEADERS: LazyLock<Vec<u8>> = LazyLock::new(|| nasty_tar()[..48 << 10].to_vec());

proptest! {
    #[test]
    fn the_judge_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4096), at in 0..HEADERS.len(), byte: u8) {
        drop(Tree::from_layers(&[&bytes]));
        let mut headers = HEADERS.clone();
        headers[at] = byte;
        drop(Tree::from_layers(&[headers]));
    }

    #[test]
    fn names_and_content_come_through(
        names in proptest::collection::btree_set("[a-zé]{1,120}(/[b-z]{1,60}){0,2}", 1..8),
        size in 0usize..2000,
    ) {
        let names: Vec<String> = names.into_iter().map(|name| format!("{name}/=")).collect();
        let entries: Vec<Entry> = names.iter().map(|name| file(name, vec![b'x'; size])).collect();
        for format in [Format::Pax, Format::Gnu] {
            let tree = Tree::from_layers(&[tar_as(format, &entries)]).unwrap();
            for name in &names {
                prop_assert_eq!(tree.nodes[name.as_bytes()].size, size as u64);
            }
        }
    }
}
