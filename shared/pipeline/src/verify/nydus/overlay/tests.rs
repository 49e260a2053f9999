//! Layers onto each other: what is left of each path, and which paths are one file.

use accel_image::Digest;

use super::*;

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.into(), kind, mode: 0o644, ..Entry::default() }
}

fn file(path: &str) -> Entry {
    entry(path, EntryKind::Regular)
}

fn dir(path: &str) -> Entry {
    Entry { mode: 0o700, ..entry(path, EntryKind::Directory) }
}

fn link(path: &str, target: &str) -> Entry {
    Entry { link: target.into(), ..entry(path, EntryKind::HardLink) }
}

/// Every path but the root, with a mark: `d` for a directory that an entry made, `i` for one that none made, `f` for files.
fn left(layers: &[&[Entry]]) -> String {
    let mut overlay = Overlay::new(100);
    for layer in layers {
        overlay.begin_layer();
        for entry in *layer {
            overlay.apply(entry, Some(Digest::of(b""))).unwrap();
        }
    }
    let mut paths = Vec::new();
    overlay.walk(&mut |path, node| {
        let file = &overlay.files[node.file];
        let mark = match file.is_directory {
            true if file.sum == implicit_directory() => 'i',
            true => 'd',
            false => 'f',
        };
        if !path.is_empty() {
            paths.push(format!("{}:{mark}", String::from_utf8_lossy(path)));
        }
    });
    paths.join(" ")
}

#[test]
fn layers_go_onto_each_other_as_the_specification_says() {
    let rows: [(&str, &[&[Entry]], &str); 18] = [
        ("parents", &[&[file("a/b/c")]], "a:i a/b:i a/b/c:f"),
        ("a parent keeps what it is", &[&[dir("a/")], &[file("a/b")]], "a:d a/b:f"),
        ("whiteout", &[&[file("a"), file("b")], &[file(".wh.a")]], "b:f"),
        ("whiteout of a tree", &[&[file("a/b/c"), file("d")], &[file(".wh.a")]], "d:f"),
        ("whiteout of nothing", &[&[file("a")], &[file("x/.wh.y")]], "a:f x:i"),
        ("an opaque directory of nothing", &[&[file("a")], &[file("x/.wh..wh..opq")]], "a:f x:i"),
        ("whiteout in the lowest layer", &[&[file("a"), file(".wh.b")]], "a:f"),
        ("whiteout after its replacement", &[&[file("a/b")], &[file("a"), file(".wh.a")]], "a:f"),
        ("whiteout before it", &[&[dir("a"), file("a/b")], &[file(".wh.a"), dir("a/"), file("a/c")]], "a:d a/c:f"),
        ("whiteout after an addition below", &[&[dir("a"), file("a/b")], &[file("a/c"), file(".wh.a")]], "a:i a/c:f"),
        ("opaque", &[&[dir("a"), file("a/b")], &[file("a/c"), file("a/.wh..wh..opq")]], "a:d a/c:f"),
        ("opaque root", &[&[file("a")], &[file(".wh..wh..opq"), file("b")]], "b:f"),
        ("other marks of aufs", &[&[file("a")], &[file(".wh..wh.plnk"), file(".wh.")]], "a:f"),
        ("a file over a directory", &[&[file("a/b")], &[file("a")]], "a:f"),
        ("a directory over a file", &[&[file("a")], &[dir("a/")]], "a:d"),
        ("a directory over a directory", &[&[file("a/b")], &[dir("./a")]], "a:d a/b:f"),
        ("a file as a parent", &[&[file("a")], &[file("a/b")]], "a:i a/b:f"),
        ("the later of two", &[&[dir("a"), file("a/b"), file("a"), dir("a")]], "a:d"),
    ];
    for (what, layers, expected) in rows {
        assert_eq!(left(layers), expected, "{what}");
    }
}

#[test]
fn refuses_what_nothing_can_apply() {
    for (entry, expected) in [
        (link("a", "b"), "to nothing"),
        (link("a", "d"), "to a directory"),
        (file("../a"), "upwards"),
        (link("a", "x/../f"), "upwards"),
    ] {
        let mut overlay = Overlay::new(100);
        overlay.apply(&dir("d"), None).unwrap();
        assert!(overlay.apply(&entry, None).unwrap_err().to_string().contains(expected), "{entry:?}");
    }
}

#[test]
fn a_layer_empties_a_directory_once() {
    let names = |layer: &str| (0..100).map(|at| file(&format!("d/{layer}/{at}"))).collect::<Vec<_>>();
    let marks = ["d/.wh..wh..opq", "d/b/.wh..wh..opq", ".wh.d", "d/.wh.b"].map(file).into_iter().cycle().take(400);
    let mut overlay = Overlay::new(1000);
    for layer in [names("a"), [names("b"), marks.collect(), names("b")].concat()] {
        overlay.begin_layer();
        layer.iter().for_each(|entry| overlay.apply(entry, None).unwrap());
    }
    let mut left = 0;
    overlay.walk(&mut |_, _| left += 1);
    assert_eq!((left, overlay.emptied), (103, 102), "root, d, d/b and what is in it; d, d/a and what was in it");
}

#[test]
fn directories_that_no_entry_names_are_counted() {
    let refused = |limit, entries: &[Entry]| {
        let mut overlay = Overlay::new(limit);
        entries.iter().find_map(|entry| {
            overlay.begin_layer();
            overlay.apply(entry, None).err()
        })
    };
    assert_eq!(refused(4, &[file("a/b/c/d")]), None);
    assert_eq!(refused(4, &[file("a/b/c/d"), file("a/b/e/f/g/h")]), None, "each layer is counted for itself");
    for deep in [file("a/b/c/d/e"), file("a/b/c/d/e/.wh.f"), file("a/b/c/d/e/.wh..wh..opq")] {
        assert_eq!(refused(4, std::slice::from_ref(&deep)), Some(Refused::TooMany(4)), "{deep:?}");
    }
}

#[test]
fn strikes_off_paths_and_sees_which_are_one_file() {
    let mut overlay = Overlay::new(100);
    let content = Digest::of(b"x");
    overlay.begin_layer();
    overlay.apply(&file("a"), Some(content)).unwrap();
    overlay.begin_layer();
    for entry in [link("b", "./a"), file("c"), file("d"), file("left")] {
        overlay.apply(&entry, Some(content)).unwrap();
    }
    let sum = Facts::of_entry(&file("a")).sum(Some(content));
    let mut ids = HashMap::new();
    let mut strike = |path: &str, id, sum| overlay.strike(path.as_bytes(), id, sum, &mut ids);
    assert_eq!(strike("a", 1, sum), Found::Same);
    assert_eq!(strike("a", 1, sum), Found::Again);
    assert_eq!(strike("b", 2, sum), Found::LinkedOtherwise, "in the source it is `a`");
    assert_eq!(strike("c", 1, sum), Found::LinkedOtherwise, "in the source it is not `a`");
    assert_eq!(strike("d", 3, Digest::of(b"other")), Found::Other);
    assert_eq!(strike("e", 4, sum), Found::Extra);
    assert_eq!((overlay.links()[&1], overlay.links()[&3]), (2, 1));
    let origins = ["a", "b", "c", "e"].map(|path| overlay.origin(path.as_bytes()));
    assert_eq!(origins, [Some(1), Some(1), Some(2), None], "`b` is another name of a file below");
    let mut missing = Vec::new();
    overlay.missing(|path| missing.push(String::from_utf8_lossy(path).into_owned()));
    assert_eq!(missing, ["", "left"], "the root and a file");
}
