//! The bytes did not change by accident: pinned digests of a layer's blob and of the layer that ends the image. Who changes
//! them on purpose raises the format's version.

use accel_domain::{NydusCompressor, NydusOptions};
use accel_test_support::compress::gzip;
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink, whiteout};
use accel_test_support::{Entry, tar};

use crate::built::{batches, build, build_tars, options, v5};

/// Of its own, so that no other test's wish for an entry changes it.
fn fixture() -> [Vec<Entry>; 2] {
    let text = |bytes: usize| -> Vec<u8> { (0..bytes).map(|at| b"the quick brown fox "[at * at / 7 % 20]).collect() };
    let small = (0..60).map(|at| file(format!("small/{at}"), text(at * 50)).mtime(at as i64));
    let lower = [
        dir("./").mode(0o40_755),
        dir("bin/"),
        file("bin/sh", text(70_000)).mode(0o4755).uid(7),
        hardlink("bin/bash", "bin/sh"),
        symlink("sh", "bin/sh"),
        file("twice", b"first"),
        file("five-megabytes", text(5 << 20)),
        file("zeros", vec![0; 3 << 20]),
        file("names/\u{fc}n\u{ef}", b"").mtime(1_600_000_000).nanos(5).xattr("user.note", b"\0\xff"),
        file(format!("long/{}", "n".repeat(200)), b"x"),
        file("twice", b"second").uid(3_000_000),
        char_device("null", 1, 3),
    ];
    let upper =
        vec![whiteout("bin/sh"), file("tmp/x/y", b"z"), hardlink("below", "bin/bash"), dir("small/").mode(0o700)];
    [lower.into_iter().chain(small).collect(), upper]
}

#[test]
fn output_did_not_change() {
    let rows = [
        (
            "default",
            NydusOptions::default(),
            "2372ab8bd7a248b1a959a49bdd5d951d6c82face0b3ae6df4b5406f81ae9e4b7",
            "13daaa76868afb55134ffdec0531e071f7f5a80164a920f77abc49fcbecaff63",
            "10b36ca1dd3235f943f8b1ce4f85b0fec63f469fcbd0472f253db2ab878bff5e",
        ),
        (
            "prefetch",
            NydusOptions { prefetch: vec!["/bin".into(), "/none".into()], ..NydusOptions::default() },
            "2372ab8bd7a248b1a959a49bdd5d951d6c82face0b3ae6df4b5406f81ae9e4b7",
            "13daaa76868afb55134ffdec0531e071f7f5a80164a920f77abc49fcbecaff63",
            "3d3b6a6158257a75be5387ec064d604818df3b076ca89358e37a20986a0fc4d7",
        ),
        (
            "lz4, 64 KiB",
            options(NydusCompressor::Lz4Block, 65_536),
            "bd62740826cf7e36ae85c8f330af49ef05b0f7744113d36328a1e2784a87b14e",
            "6e5bf94550be33946c8a9ac4bce9fbed1a3b611d1d329c713cbde5cb6c5cf529",
            "54edbbacd0e513dd2ead79b8536e5e013ecc570cdaf61a95277b930ab8f09759",
        ),
        (
            "none, 4 MiB",
            options(NydusCompressor::None, 4 << 20),
            "d40fcb6e89a6ba4d53ac6cb648478362063e3a459d6210f8e0bcaf570f0487f8",
            "fff297ec63f5edfe018ce9e7bb3de7a866e628e6b68e8a4dc32fdcc8ebd91413",
            "96a714a6059bf3db420b14a10ba513685b780e540c857013907fc7e600fa92b6",
        ),
        (
            "batches of 256 KiB",
            batches(NydusCompressor::Zstd, 1 << 18),
            "e8314a0281235773577bd67f7317eb6eb64ca8d305bc09be33ca7538861130ba",
            "78ed01b6e7dbb1d8ac1ec2295c79e6b323a944e4ab38ec85dffff7fdf73ee1ad",
            "12c00fbd6908298a5168ca35062b5fe4d285a3ff6190222feedfa81e80b10b19",
        ),
        (
            "RAFS v5",
            v5(&NydusOptions::default()),
            "a4967f07bc2d725a1ab7f55ce75dfd58d4e31135257a880d06ee1f5f3899d3ba",
            "3ce2ad0d4b2730d0c57b94a978b5e45a73dd66b922abcccea1e30547f0413ca8",
            "6457e1c23c0d258c5c1b5f174fd0faa3fd7ea5db2220c4ad4ed6394331a87a5d",
        ),
        (
            "RAFS v5, lz4, 4 KiB",
            v5(&options(NydusCompressor::Lz4Block, 4096)),
            "cce77adfa8bfbde1b9669d0da26cac7910811e56ab69b4a49fa66dfee6a005ab",
            "c3261afe64a4081b2d8be4ca0739e3db983c84aa1ab0b131af941f0f4e131e07",
            "476565dd6a39935feb605bd24f9f22cd75286b8b7b2ce98365b60fa023b1a91f",
        ),
    ];
    let layers = fixture();
    let mut changed = Vec::new();
    for (what, options, lower, upper, merged) in rows {
        let built = build(&[&layers[0], &layers[1]], &options);
        let found = [built.layers[0].digest, built.layers[1].digest, built.merged.digest].map(|digest| digest.hex());
        if found != [lower, upper, merged] {
            changed.push(format!("{what}: {found:#?}"));
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

/// Of gzip layers: their indexes, and the layer that ends the image.
#[test]
fn indexes_did_not_change() {
    let layers = fixture().map(|layer| gzip(&tar(&layer)));
    let built = build_tars(&layers, &NydusOptions { oci_ref: true, ..NydusOptions::default() }).unwrap();
    let found = [built.layers[0].digest, built.layers[1].digest, built.merged.digest].map(|digest| digest.hex());
    let expected = [
        "12200228e5f02b365ac4adc1885cf806cbda7aada4c329cb4050bccb69bf160a",
        "a3b190606f0ba4b74ece1ffd0bb6954e948abdf136396ff629153dc94db3cc33",
        "ce9f8dfec87166d0781cd149d8ffba8f59e42d0cdcc05f638a0f954a38bc836b",
    ];
    assert_eq!(found, expected);
}
