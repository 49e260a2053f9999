//! Files that come first.

use accel_driver_estargz::{LANDMARK, NO_PREFETCH_LANDMARK};
use accel_test_support::tar::{dir, file, hardlink, symlink};
use accel_test_support::{Entry, tar};

use crate::blob::{Made, convert, name, prefetching};

fn made(entries: &[Entry], patterns: &[&str]) -> Made {
    convert(&tar(entries), &prefetching(patterns))
}

fn layer() -> Vec<Entry> {
    vec![
        dir("./"),
        dir("etc/"),
        file("etc/passwd", b"root"),
        dir("usr/"),
        dir("usr/bin/"),
        file("usr/bin/python3.11", vec![3; 10_000]),
        hardlink("usr/bin/python", "usr/bin/python3.11"),
        symlink("usr/bin/py", "python"),
        dir("usr/lib/"),
        file("usr/lib/a.so", b"library"),
        file("usr/lib/b.so", b"library"),
    ]
}

#[test]
fn parents_and_link_targets_come_with_a_file_in_the_sources_order() {
    let made = made(&layer(), &["/usr/bin/python"]);
    let (before, after) = split(&made);
    assert_eq!(before, ["./", "usr/", "usr/bin/", "usr/bin/python3.11", "usr/bin/python"]);
    assert_eq!(after, ["etc/", "etc/passwd", "usr/bin/py", "usr/lib/", "usr/lib/a.so", "usr/lib/b.so"]);
    assert_eq!(made.downloads, 3);
    assert_eq!(made.restarts, 1, "at the first match");
}

/// Names before and after the landmark.
fn split(made: &Made) -> (Vec<&str>, Vec<&str>) {
    assert!(made.named(NO_PREFETCH_LANDMARK).is_empty());
    let names = made.names();
    let at = names.iter().position(|name| *name == LANDMARK).expect("a landmark");
    (names[..at].to_vec(), names[at + 1..].to_vec())
}

#[test]
fn what_comes_first_lies_before_the_landmark() {
    let made = made(&layer(), &["/usr/lib/*.so", "/etc/passwd"]);
    let offset = |wanted: &str| made.entry(wanted)["offset"].as_u64().unwrap();
    let landmark = offset(LANDMARK);
    for first in ["etc/passwd", "usr/lib/a.so", "usr/lib/b.so"] {
        assert!(offset(first) < landmark, "{first}");
    }
    assert!(offset("usr/bin/python3.11") > landmark);
}

#[test]
fn globs_are_of_paths() {
    let rows: [(&[&str], &[&str]); 6] = [
        (&["/usr/lib/*"], &["./", "usr/", "usr/lib/", "usr/lib/a.so", "usr/lib/b.so"]),
        (&["/usr/lib/?.so"], &["./", "usr/", "usr/lib/", "usr/lib/a.so", "usr/lib/b.so"]),
        (&["/**/b.so"], &["./", "usr/", "usr/lib/", "usr/lib/b.so"]),
        (&["/etc"], &["./", "etc/"]),
        (&["/etc/passwd", "/etc/*"], &["./", "etc/", "etc/passwd"]),
        (&["/"], &["./"]),
    ];
    for (patterns, expected) in rows {
        assert_eq!(split(&made(&layer(), patterns)).0, expected, "{patterns:?}");
    }
}

#[test]
fn a_list_without_a_match_asks_for_nothing() {
    let made = made(&layer(), &["/opt/**", "/usr/bin/perl"]);
    assert_eq!(made.names()[0], NO_PREFETCH_LANDMARK);
    assert!(made.named(LANDMARK).is_empty());
    assert_eq!(made.downloads, 1, "no match, no plan");
    let plain = convert(&tar(&layer()), &accel_domain::EstargzOptions::default());
    assert!(made.blob == plain.blob, "as if there were no list");
}

#[test]
fn a_file_comes_first_even_where_its_parents_have_no_entry() {
    let made = made(&[file("a", b"x"), file("opt/app/run", b"y"), file("z", b"z")], &["/opt/app/run"]);
    assert_eq!(split(&made), (vec!["opt/app/run"], vec!["a", "z"]));
}

#[test]
fn of_repeated_paths_the_later_comes_first() {
    let entries = [
        file("run", b"first"),
        dir("opt/"),
        file("opt/x", b"old"),
        file("run", b"second"),
        file("tail", b"t"),
        file("opt/x", b"new"),
        dir("opt/").mode(0o700),
    ];
    let made = made(&entries, &["/run", "/opt/x"]);
    assert_eq!(split(&made), (vec!["run", "opt/x", "opt/"], vec!["tail"]));
    assert_eq!(made.entry("opt/")["mode"], 0o700);
    assert_eq!(made.entries.iter().filter(|entry| name(entry) == "opt/x").count(), 1);
}

#[test]
fn links_pull_their_targets_parents_along_only_by_name() {
    let entries = [file("data/real", b"x"), hardlink("one", "data/real"), hardlink("two", "one"), file("z", b"z")];
    let made = made(&entries, &["/two"]);
    assert_eq!(split(&made).0, ["data/real", "one", "two"]);
}

#[test]
fn large_files_come_first_with_all_their_chunks() {
    let large: Vec<u8> = (0..9 << 20).map(|at: u32| (at >> 9) as u8).collect();
    let made = made(&[file("a", b"x"), file("large", &large), file("z", b"z")], &["/large"]);
    let landmark = made.entry(LANDMARK)["offset"].as_u64().unwrap();
    let chunks: Vec<u64> = made
        .entries
        .iter()
        .filter(|entry| name(entry) == "large")
        .map(|entry| entry["offset"].as_u64().unwrap())
        .collect();
    assert!(chunks.len() == 3 && chunks.iter().all(|offset| *offset < landmark), "{chunks:?}");
}
