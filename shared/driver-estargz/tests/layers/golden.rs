//! The bytes did not change by accident: pinned digests of the blob and of its TOC. Who changes them on purpose
//! raises the format's version.

use accel_domain::{ByteSize, EstargzOptions, Format};
use accel_test_support::tar::{Format as TarFormat, char_device, dir, file, hardlink, symlink, whiteout};
use accel_test_support::{Entry, tar};

use crate::blob::{chunked, convert, prefetching};

/// Of its own, so that no other test's wish for an entry changes it.
fn fixture() -> Vec<Entry> {
    let text = |bytes: usize| -> Vec<u8> { (0..bytes).map(|at| b"the quick brown fox "[at * at / 7 % 20]).collect() };
    let small = (0..60).map(|at| file(format!("small/{at}"), text(at * 50)).mtime(at as i64));
    let odd = [
        dir("./").mode(0o40_755),
        dir("bin/"),
        file("bin/sh", text(70_000)).mode(0o4755).owner("root", "wheel"),
        hardlink("bin/bash", "bin/sh"),
        symlink("sh", "bin/sh"),
        file("twice", b"first"),
        file("five-megabytes", text(5 << 20)),
        file("exactly-one-chunk", text(65_536)),
        file("ünï<&>", b"").mtime(1_600_000_000).nanos(5).xattr("user.note", b"\0\xff"),
        file(format!("long/{}", "n".repeat(200)), b"x").format(TarFormat::Gnu),
        file("twice", b"second").uid(3_000_000),
        char_device("null", 1, 3),
        whiteout("bin/gone"),
    ];
    odd.into_iter().chain(small).collect()
}

#[test]
fn output_did_not_change() {
    assert_eq!(Format::Estargz.version(), 2, "new goldens go with a new version");
    let default = EstargzOptions::default;
    let rows = [
        (
            "default",
            default(),
            "481a04f61b964a01d0c0d442886d3c9c5aa7dfee50ed76dcd540e3d49466a2ff",
            "sha256:7102abb7c8a4bf5423e0eb295f8a5fdfd27e0354907b1ca6b575490f5d312cf4",
        ),
        (
            "level 1",
            EstargzOptions { level: 1, ..default() },
            "2f65857d1dd58dd10025d0f3e6f8ed371c666d73557dfdff4343a20ec91e1af0",
            "sha256:a842eb8837b0be46af0d76b18d3d2d9a942998353dd1e0f5f3af1b75b6881b1c",
        ),
        (
            "level 12",
            EstargzOptions { level: 12, ..default() },
            "1819f4c1c2cfb01c40cc0794ded03369091c5ef25d6527f70e4e6045695a9977",
            "sha256:6e4abbdf6216696efd55fd75812db3990bd783371a2807505ffa41e037d2bb06",
        ),
        (
            "chunks of 64 KiB",
            chunked(65_536),
            "df5e4d3ed0d2ab0834a88c9de4273ea504c14c8df6945519fbbcde9a96a40946",
            "sha256:bc8aaaa8ebf0acc99d6b5ab99fd3c6d3f59de5f230215381712dc3e7a3f3a938",
        ),
        (
            "shared members",
            EstargzOptions { min_chunk_size: ByteSize(16_384), ..default() },
            "095bd514ba4affb63558162319a4e8875d5b47902fb5608fb2a60d82aa3c43b0",
            "sha256:56324bc7ceb514dc7a6018e3edeb6e841ac88ee4d907781a7940d3c1645246fa",
        ),
        (
            "prefetch",
            prefetching(&["/bin/*", "/small/3*"]),
            "035cc67c5a3c3e749c9f03f4e6c2722886e7df89659f698b79bd85eb2f7b673b",
            "sha256:ceaa9e3f52b7dbb097b8431353e2328808e3ac4c6bf7b88e73b53abd648a8225",
        ),
    ];
    let source = tar(&fixture());
    let mut changed = Vec::new();
    for (what, options, blob, toc) in rows {
        let made = convert(&source, &options);
        let found = (made.converted.digest.hex(), &made.converted.annotations[accel_driver_estargz::TOC_DIGEST]);
        if (found.0.as_str(), found.1.as_str()) != (blob, toc) {
            changed.push(format!("(\"{what}\", …, \"{}\", \"{}\")", found.0, found.1));
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}
