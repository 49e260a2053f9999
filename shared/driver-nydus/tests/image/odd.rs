//! Odd entries: what the format holds, what it leaves out, what it refuses by name. Among them each case that upstream's
//! builder loses or fails on.

use accel_domain::ErrorClass;
use accel_driver::{DriverError, Pool, conformance};
use accel_driver_nydus::Nydus;
use accel_stream::Limits;
use accel_test_support::tar::{
    Format, block_device, char_device, dir, fifo, file, global_pax, hardlink, nasty_tar, opaque, raw_names_tar,
    replaced_tar, sparse_tar, symlink, tar_as, whiteout,
};
use accel_test_support::{Entry, compress, tar};

use crate::built::{build_tars, checked, checked_tars, small_chunks, try_build};

/// A list that the kernel takes: rwx for the owner, r-x for group and others.
const ACL: [u8; 28] =
    [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255];

/// Layers of everything odd that the format holds, the upper one over the lower.
pub(crate) fn layers() -> Vec<Vec<u8>> {
    let upper = [
        whiteout("one"),
        hardlink("below/linked", "capable"),
        opaque("with-xattr"),
        file("with-xattr/new", vec![3; 70_000]),
        file("many", b"fewer").xattr("user.1", b"1"),
        dir("epoch/").mode(0o1777),
        symlink("pipe", "elsewhere"),
    ];
    vec![tar(&odd()), tar(&upper), raw_names_tar()]
}

#[test]
fn odd_layers_come_out_as_they_are() {
    checked_tars(&layers(), &small_chunks());
}

fn odd() -> Vec<Entry> {
    let capability = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0";
    let long = |bytes: usize| "t".repeat(bytes);
    let many = (0..60).fold(file("many", b"x"), |entry, at| entry.xattr(&format!("user.{at}"), vec![at as u8; at]));
    let every: Vec<u8> = (0..=255).collect();
    vec![
        dir("./").mode(0o700).uid(1).gid(2).mtime(7),
        file("sticky", b"").mode(0o7777),
        file("ids", b"x").uid(3_000_000_000).gid(4_294_967_294).format(Format::Gnu),
        file("pax-ids", b"x").uid(3_000_000).gid(4_294_967_294),
        file("one", b"1"),
        file("capable", b"").xattr("security.capability", capability),
        file("bytes", b"").xattr("user.bytes", every).xattr("user.empty", b"").xattr("trusted.t", b"1"),
        dir("with-xattr/").xattr("user.d", b"1").xattr("system.posix_acl_default", ACL),
        symlink("link-with-xattr", "x").xattr("trusted.l", b"1"),
        many,
        hardlink("linked", "many"),
        hardlink("linked-empty", "./sticky"),
        symlink("dangling", "/no/such/file"),
        symlink("long", long(1800)),
        symlink("longest", long(4095)),
        char_device("tty", 5, 1),
        block_device("large-minor", 8, 1_048_575),
        char_device("large-major", 4095, 256),
        char_device("whiteout-device", 0, 5),
        fifo("pipe"),
        file("fraction", b"").mtime(1_600_000_000).nanos(123_456_789),
        file("epoch", b"").mtime(0),
        file("before", b"").mtime(-86_400).nanos(5),
        file("future", b"").mtime(20_000_000_000),
        file(format!("{}/{}", "d".repeat(255), "n".repeat(255)), b"x"),
        file((0..12).map(|_| "e".repeat(61)).collect::<Vec<_>>().join("/"), b"deep"),
        file(b"latin-\xe9\xff", b"no text"),
        file("line\nbreak", b"two lines"),
        file("/absolute", b"1"),
        file("./dotted", b"2"),
    ]
}

#[test]
fn sizes_around_blocks_and_chunks() {
    let sizes = [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 12_288, 1 << 20, (1 << 20) + 1, 3 << 20];
    let files: Vec<Entry> =
        sizes.iter().map(|size| file(format!("{size}"), accel_test_support::text(*size as u64, *size))).collect();
    for options in [small_chunks(), accel_domain::NydusOptions::default()] {
        checked(&[&files], &options);
    }
}

#[test]
fn directories_of_many_names() {
    let names = |count: usize, bytes: usize| -> Vec<Entry> {
        (0..count).map(|at| file(format!("d/{at:0bytes$}"), b"")).collect()
    };
    for (count, bytes) in [(3000, 5), (400, 250), (16, 244), (15, 244), (17, 244), (1, 1)] {
        checked(&[&names(count, bytes)], &small_chunks());
    }
    let mut shuffled = names(2000, 8);
    shuffled.sort_by_key(|entry| accel_image::Digest::of(format!("{entry:?}").as_bytes()));
    checked(&[&shuffled], &small_chunks());
}

#[test]
fn nasty_layers_come_out_as_they_are() {
    checked_tars(&[nasty_tar(), replaced_tar(), raw_names_tar()], &small_chunks());
    let [plain, gzip, zstd] = [nasty_tar(), compress::gzip(&nasty_tar()), compress::zstd(&nasty_tar())]
        .map(|layer| build_tars(&[layer], &small_chunks()).unwrap().merged.digest);
    assert_eq!((plain, plain), (gzip, zstd));
}

#[test]
fn a_blob_of_no_bytes_is_a_layer_of_nothing() {
    let built = build_tars(&[Vec::new(), tar(&[file("f", b"1")])], &small_chunks()).unwrap();
    assert_eq!(built.inodes().len(), 2);
}

#[test]
fn dots_never_lead_above_the_root() {
    let built = try_build(&[&[file("../../etc/a", b"1"), file("b/../c", b"2"), dir("../")]], &small_chunks()).unwrap();
    let paths: Vec<_> = built.inodes().into_keys().collect();
    assert_eq!(paths, [&b""[..], b"c", b"etc", b"etc/a"].map(<[u8]>::to_vec));
}

#[test]
fn global_headers_pass() {
    checked(&[&[global_pax(&[("comment", "0123")]), file("f", b"1")]], &small_chunks());
}

#[test]
fn attributes_that_linux_does_not_know_are_left_out() {
    let entry =
        file("f", b"1").xattr("com.apple.quarantine", b"x").xattr("user.a", b"1").xattr("system.nfs4_acl", b"2");
    let built = try_build(&[&[entry]], &small_chunks()).unwrap();
    assert_eq!(built.inodes()[b"f".as_slice()].xattrs, [(b"user.a".to_vec(), b"1".to_vec())]);
}

#[test]
fn what_the_format_cannot_hold_is_refused_by_name() {
    let long_name = file("n".repeat(256), b"");
    let rows: [(Entry, &str, &str); 10] = [
        (long_name, "nnn", "255 bytes"),
        (symlink("s", "t".repeat(4096)), "s", "4,095 bytes"),
        (symlink("s", ""), "s", "link to nothing"),
        (file("f", b"").pax("uid", "4294967296"), "f", "32 bits"),
        (char_device("c", 4096, 0), "c", "12 and 20 bits"),
        (block_device("b", 0, 1 << 20), "b", "12 and 20 bits"),
        (file("./", b"").typeflag(b'0'), "./", "root directory"),
        (hardlink("h", "d"), "h", "hard link to a directory"),
        (file("f", b"").typeflag(b'V'), "f", "a type"),
        (file("f", b"").xattr("user.a", vec![0; 65_536]), "f", "65,535 bytes"),
    ];
    for (entry, path, reason) in rows {
        let error = try_build(&[&[dir("d/"), entry]], &small_chunks()).map(|_| ()).unwrap_err();
        let DriverError::Unrepresentable { path: found, reason: told } = &error else { panic!("{error:?}") };
        assert!(found.starts_with(path) && told.contains(reason), "{error}");
    }
    let sparse = build_tars(&[sparse_tar()], &small_chunks()).map(|_| ()).unwrap_err();
    assert!(matches!(sparse, DriverError::Unrepresentable { reason: "it is a sparse file", .. }));
}

#[test]
fn directories_that_no_entry_makes_count_towards_the_limit_of_entries() {
    let layer = tar(&[dir("a/b/"), file("a/b/c/d/e", b"1"), hardlink("a/b/link", "a/b/c/d/e")]);
    let convert = |entries| {
        let driver = Nydus::new(small_chunks(), Limits { entries, ..Limits::default() });
        conformance::convert(&driver, &Pool::new(1), &layer).map(drop)
    };
    assert!(convert(6).is_ok(), "a, b, c, d, e, link");
    let error = convert(5).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert_eq!(error.to_string(), "a/b/link: with it there are more files and directories than the limit `entries`");
}

#[test]
fn formats_of_tar_mean_the_same() {
    let entries = [dir("d/"), file("d/f", b"content"), symlink("s", "d/f"), hardlink("h", "d/f")];
    let boots = [Format::Ustar, Format::Pax, Format::Gnu]
        .map(|format| build_tars(&[tar_as(format, &entries)], &small_chunks()).unwrap().layers[0].digest);
    assert!(boots.iter().all(|digest| *digest == boots[0]));
}
