//! Sources that change between downloads, or break, and outputs that do.

use accel_domain::EstargzOptions;
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Driver as _, DriverError, Pool};
use accel_stream::{Limits, StreamError};
use accel_test_support::compress;
use accel_test_support::tar;
use accel_test_support::tar::{dir, file};

use crate::blob::{estargz, prefetching};

#[test]
fn a_source_that_differs_when_it_is_read_again_is_not_converted() {
    let blob = |content: &[u8], mode| tar(&[dir("d/").mode(mode), file("d/run", content), file("z", b"same")]);
    let good = blob(b"content", 0o755);
    let rows: [(&str, Vec<u8>); 3] = [
        ("other content", blob(b"CONTENT", 0o755)),
        ("another header", blob(b"content", 0o700)),
        ("nothing at all", tar(&[])),
    ];
    let pool = Pool::new(1);
    for (what, other) in rows {
        // Survey, prioritized entries, the rest: the middle download is not read to its end, so that only the
        // comparison with the third vouches for it.
        let mut source = Downloads::differing(&[&good, &other, &good]);
        let result = estargz(prefetching(&["/d/run"])).convert(&pool, &mut source, &mut Kept::default());
        assert!(matches!(result, Err(DriverError::Changed)), "{what}: {result:?}");
    }
}

#[test]
fn sums_are_those_of_the_last_download() {
    // A plan is made from one download and followed in another: whoever compares the sums finds out.
    let (one, other) = (tar(&[file("a", b"1"), file("a", b"2")]), tar(&[file("a", b"1"), file("a", b"3")]));
    let mut source = Downloads::differing(&[&one, &other]);
    let driver = estargz(EstargzOptions::default());
    let converted = driver.convert(&Pool::new(1), &mut source, &mut Kept::default()).unwrap();
    assert_eq!(converted.source.diff_id, accel_image::Digest::of(&other));
}

#[test]
fn a_broken_source_is_the_sources_fault() {
    let layer = tar(&[file("a", vec![1; 50_000]), file("b", b"x")]);
    let packed = compress::gzip(&layer);
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4].copy_from_slice(&[0xff; 4]);
    let pool = Pool::new(2);
    for (what, blob) in
        [("cut tar", &layer[..30_000]), ("cut gzip", &packed[..packed.len() - 4]), ("damaged", &damaged)]
    {
        for options in [EstargzOptions::default(), prefetching(&["/b"])] {
            let result = estargz(options).convert(&pool, &mut Downloads::of(blob), &mut Kept::default());
            assert!(matches!(result, Err(DriverError::Source(_))), "{what}: {result:?}");
        }
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { entries: 2, ..Limits::default() };
    let driver = accel_driver_estargz::Estargz::new(EstargzOptions::default(), limits);
    let convert = |entries: &[accel_test_support::Entry]| {
        driver.convert(&Pool::new(1), &mut Downloads::of(&tar(entries)), &mut Kept::default())
    };
    assert!(convert(&[dir("a/"), dir("b/")]).is_ok());
    let error = convert(&[dir("a/"), dir("b/"), dir("c/")]).unwrap_err();
    assert!(matches!(error, DriverError::Source(StreamError::TooManyEntries { limit: 2 })), "{error:?}");
}

#[test]
fn what_is_after_the_end_of_the_tar_counts_for_the_source() {
    let plain = [tar(&[file("a", b"x")]), vec![7; 100_000]].concat();
    let mut output = Kept::default();
    let converted =
        estargz(EstargzOptions::default()).convert(&Pool::new(1), &mut Downloads::of(&plain), &mut output).unwrap();
    assert_eq!(converted.source.diff_id, accel_image::Digest::of(&plain));
}
