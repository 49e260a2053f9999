//! Layers onto each other.

use accel_driver::DriverError;
use accel_test_support::Entry;
use accel_test_support::tar::{char_device, dir, file, hardlink, opaque, symlink, whiteout};

use crate::built::{Built, checked, small_chunks, try_build};

fn paths(built: &Built) -> Vec<String> {
    let names = built.inodes().into_keys().map(|path| String::from_utf8(path).unwrap());
    names.filter(|path| !path.is_empty()).collect()
}

fn base() -> Vec<Entry> {
    vec![
        dir("./").mode(0o750).uid(5),
        dir("a/").mode(0o700),
        file("a/x", b"1"),
        file("a/y", vec![7; 9000]),
        dir("a/deep/"),
        file("a/deep/z", b"z"),
        file("ab", b""),
        dir("b/"),
        symlink("b/link", "../a"),
    ]
}

#[test]
fn whiteouts_hide_only_what_is_below() {
    let rows: [(&[Entry], &str); 9] = [
        (&[whiteout("a/x")], "a a/deep a/deep/z a/y ab b b/link"),
        (&[whiteout("a")], "ab b b/link"),
        (&[opaque("a")], "a ab b b/link"),
        (&[file("a/x", b"2"), whiteout("a/x")], "a a/deep a/deep/z a/x a/y ab b b/link"),
        (&[dir("a/"), file("a/new", b""), opaque("a")], "a a/new ab b b/link"),
        (&[opaque("a/deep"), file("a/deep/new", b"")], "a a/deep a/deep/new a/x a/y ab b b/link"),
        (&[whiteout("a"), file("a/new", b"")], "a a/new ab b b/link"),
        (&[whiteout("nothing"), whiteout("b/link")], "a a/deep a/deep/z a/x a/y ab b"),
        (&[opaque(""), file("only", b"")], "only"),
    ];
    for (layer, expected) in rows {
        let built = checked(&[&base(), layer], &small_chunks());
        assert_eq!(paths(&built).join(" "), expected, "{layer:?}");
    }
}

#[test]
fn whiteouts_are_whiteouts_whatever_they_are_besides() {
    let rows: [(&[Entry], &str); 8] = [
        (&[hardlink(".wh.ab", "a/x")], "a a/deep a/deep/z a/x a/y b b/link"),
        (&[hardlink(".wh.ab", "nothing")], "a a/deep a/deep/z a/x a/y b b/link"),
        (&[hardlink("a/.wh..wh..opq", "ab")], "a ab b b/link"),
        (&[file(".wh..wh.aufs", b"x"), hardlink(".wh.a", ".wh..wh.aufs")], "ab b b/link"),
        (&[dir("d/"), hardlink(".wh.a", "d")], "ab b b/link d"),
        (&[symlink(".wh.a", "ab")], "ab b b/link"),
        (&[dir(".wh.a/")], "ab b b/link"),
        (&[char_device(".wh.a", 0, 0)], "ab b b/link"),
    ];
    for (layer, expected) in rows {
        let built = checked(&[&base(), layer], &small_chunks());
        assert_eq!(paths(&built).join(" "), expected, "{layer:?}");
    }
    let built = try_build(&[&base(), &[hardlink(".wh.d/h", "ab")]], &small_chunks()).unwrap();
    assert_eq!(paths(&built).join(" "), "a a/deep a/deep/z a/x a/y ab b b/link", "below a whiteout nothing is shown");
}

#[test]
fn whiteouts_of_the_lowest_layer_do_not_stay() {
    let built = checked(&[&[whiteout("gone"), opaque("d"), file("d/f", b"1")]], &small_chunks());
    assert_eq!(paths(&built), ["d", "d/f"]);
}

#[test]
fn names_that_only_unionfs_knew_are_ignored() {
    let built = try_build(&[&[file("f", b""), file(".wh..wh.plnk", b""), file(".wh..wh.aufs", b"x")]], &small_chunks());
    assert_eq!(paths(&built.unwrap()), ["f"]);
}

#[test]
fn names_that_are_no_text_can_be_removed() {
    let built =
        checked(&[&[file(b"latin-\xe9", b"1"), file(b"n\n", b"")], &[file(b".wh.latin-\xe9", b"")]], &small_chunks());
    assert_eq!(paths(&built), ["n\n"]);
}

#[test]
fn what_no_entry_made_says_nothing_about_what_is_below() {
    let built = checked(
        &[
            &[dir("./").mode(0o700).uid(3), dir("tmp/").mode(0o1777).uid(9).xattr("user.a", b"1")],
            &[file("tmp/x", b"1")],
        ],
        &small_chunks(),
    );
    let inodes = built.inodes();
    assert_eq!((inodes[b"tmp".as_slice()].mode, inodes[b"tmp".as_slice()].uid), (0o1777, 9));
    assert_eq!((inodes[b"".as_slice()].mode, inodes[b"".as_slice()].uid), (0o700, 3));
}

#[test]
fn missing_parents_are_made_beside_what_sorts_after_them() {
    let built = checked(&[&[file("tmp/x", b"1"), file("home/u/.bashrc", b"2"), file("a/b/c", b"3")]], &small_chunks());
    assert_eq!(paths(&built).join(" "), "a a/b a/b/c home home/u home/u/.bashrc tmp tmp/x");
}

#[test]
fn kinds_replace_each_other() {
    let upper = [
        file("a", b"a file now"),
        dir("ab/"),
        file("ab/inside", b"1"),
        file("b/link", b"no link now"),
        symlink("b/other", "x"),
    ];
    let again = [dir("a/").mode(0o711), symlink("ab", "a"), dir("b/link/"), char_device("b/other", 1, 3)];
    checked(&[&base(), &upper], &small_chunks());
    checked(&[&base(), &upper, &again], &small_chunks());
    checked(
        &[&base(), &[file("ab", b"longer than before").xattr("user.x", b"1")], &[file("ab", b"")]],
        &small_chunks(),
    );
}

#[test]
fn a_parent_that_is_no_directory_gives_way() {
    let built = checked(&[&base(), &[file("ab/new", b"1"), file("b/link/new", b"2")]], &small_chunks());
    assert!(paths(&built).contains(&"b/link/new".to_owned()));
}

#[test]
fn within_a_layer_the_later_entry_counts() {
    let layer = [
        file("dup", b"first"),
        hardlink("kept", "dup"),
        file("./dup", b"second"),
        dir("was-dir/"),
        file("was-dir/child", b""),
        file("was-dir", b"a file"),
        file("was-file", b""),
        dir("was-file/").mode(0o711),
        dir("twice/").mode(0o700),
        file("twice/f", b"stays"),
        dir("twice/").mode(0o755).mtime(9),
    ];
    let built = checked(&[&layer], &small_chunks());
    assert_eq!(paths(&built).join(" "), "dup kept twice twice/f was-dir was-file");
}

#[test]
fn hard_links_reach_into_layers_below() {
    let lower = [file("a", b"content").uid(9), dir("d/"), symlink("s", "a"), char_device("null", 1, 3)];
    let upper = [
        hardlink("b", "./a"),
        hardlink("d/c", "b"),
        hardlink("t", "s"),
        hardlink("new/parent/null", "null"),
        file("a", b"another"),
    ];
    let built = checked(&[&lower, &upper], &small_chunks());
    let inodes = built.inodes();
    let of = |path: &str| &inodes[path.as_bytes()];
    assert_eq!((of("b").nid, of("b").nlink, of("b").uid), (of("d/c").nid, 2, 9));
    assert_eq!((of("t").nid, of("t").nlink), (of("s").nid, 2));
    assert_eq!(of("new/parent/null").nid, of("null").nid);
    assert_ne!(of("a").nid, of("b").nid);
    // Replaced in its own layer, a link is none any more.
    checked(&[&lower, &[hardlink("b", "a"), file("b", b"own")]], &small_chunks());
    checked(&[&lower, &[hardlink("x/b", "a"), file("x", b"own")]], &small_chunks());
    checked(&[&lower, &[hardlink("a", "a")]], &small_chunks());
}

#[test]
fn a_hard_link_keeps_what_its_layer_hides_or_replaces() {
    let lower = [dir("c/"), file("c/b", b"content"), file("d", b"")];
    let rows: [(&[Entry], &str); 5] = [
        (&[hardlink("a", "c/b"), symlink("c", "d"), dir("c/")], "a c d"),
        (&[hardlink("a", "c/b"), file("c", b""), file("c/new", b"")], "a c c/new d"),
        (&[hardlink("a", "c/b"), whiteout("c")], "a d"),
        (&[hardlink("a", "c/b"), opaque("c")], "a c d"),
        (&[hardlink("c/a", "c/b"), whiteout("d"), opaque("c")], "c c/a"),
    ];
    for (upper, expected) in rows {
        let built = try_build(&[&lower, upper], &small_chunks()).unwrap();
        assert_eq!(paths(&built).join(" "), expected, "{upper:?}");
        assert!(built.inodes().values().any(|inode| inode.size == 7), "{upper:?}: the linked file has its contents");
    }
}

#[test]
fn a_hard_link_without_a_target_names_its_layer() {
    let rows: [(&[Entry], &str); 3] = [
        (&[hardlink("b", "none")], "no layer below has"),
        (&[whiteout("a"), hardlink("b", ".wh.a")], "no layer below has"),
        (&[hardlink("b", "d")], "is a directory"),
    ];
    for (upper, expected) in rows {
        let error = try_build(&[&[file("a", b""), dir("d/")], upper], &small_chunks()).map(|_| ()).unwrap_err();
        let source = accel_image::Digest::of(&accel_test_support::tar(upper));
        assert!(matches!(&error, DriverError::Unmergeable { layer, path, .. } if *layer == source && path == "b"));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_image_may_have_a_layer_twice_and_layers_of_nothing() {
    let layer = [file("f", vec![1; 5000]), file("g", b"x")];
    let built = checked(&[&layer, &[whiteout("f")], &layer, &[], &[dir("d/")]], &small_chunks());
    assert_eq!(built.bootstrap().blobs().len(), 1);
    let nothing = checked(&[], &small_chunks());
    assert_eq!((nothing.bootstrap().blobs().len(), nothing.inodes().len()), (0, 1));
    checked(&[&[]], &small_chunks());
}

#[test]
fn blobs_to_which_no_file_refers_are_left_out() {
    let built = checked(
        &[&[file("f", b"1")], &[file("g", b"2")], &[whiteout("f"), file("h", b"3")], &[dir("d/")]],
        &small_chunks(),
    );
    let ids: Vec<_> = built.bootstrap().blobs().iter().map(|blob| blob.id).collect();
    assert_eq!(ids, [built.layers[1].digest, built.layers[2].digest]);
    let metas: Vec<_> = built.files.keys().filter(|path| path.ends_with(".blob.meta")).collect();
    assert_eq!(metas.len(), 2);
}

#[test]
fn more_layers_with_files_than_the_format_holds_are_refused() {
    let layers: Vec<Vec<Entry>> = (0..255).map(|at| vec![file(format!("f{at}"), at.to_string())]).collect();
    let refs: Vec<&[Entry]> = layers.iter().map(Vec::as_slice).collect();
    checked(&refs[..254], &small_chunks());
    let error = try_build(&refs, &small_chunks()).map(|_| ()).unwrap_err();
    assert!(matches!(error, DriverError::Unmergeable { ref reason, .. } if reason.contains("254")), "{error}");
}
