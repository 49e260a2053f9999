//! What is where in a blob and in the layer that ends an image, read with code of its own.

use std::collections::BTreeMap;

use accel_domain::{NydusCompressor, NydusOptions};
use accel_driver_nydus::{BLOB, BOOTSTRAP, FS_VERSION};
use accel_image::{Digest, media_type};
use accel_test_support::tar::{dir, file, hardlink, symlink};
use accel_test_support::{Entry, text};

use crate::built::{Built, build, options, small_chunks};

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A section, by the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    offset: usize,
    stored: Vec<u8>,
    pub(crate) content: Vec<u8>,
}

/// A tar header behind `end` bytes: name and size.
pub(crate) fn header(blob: &[u8], end: usize) -> (String, usize) {
    let header: &[u8; 512] = blob[end..end + 512].try_into().unwrap();
    let sum: u32 =
        header.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    let octal = |field: &[u8]| {
        let text: String =
            field.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
        usize::from_str_radix(&text, 8).unwrap()
    };
    assert_eq!(octal(&header[148..156]) as u32, sum, "checksum");
    assert_eq!((&header[257..265], header[156]), (&b"ustar  \0"[..], b'0'));
    assert!(header[100..124].iter().all(|byte| *byte == 0), "mode and owner");
    let name: Vec<u8> = header[..100].iter().copied().take_while(|byte| *byte != 0).collect();
    (String::from_utf8(name).unwrap(), octal(&header[124..136]))
}

/// The sections of a blob, each checked against its header and its digest.
pub(crate) fn sections(blob: &[u8]) -> BTreeMap<String, Section> {
    let (name, toc_len) = header(blob, blob.len() - 512);
    assert_eq!(name, "rafs.blob.toc");
    let toc = &blob[blob.len() - 512 - toc_len..blob.len() - 512];
    let mut found = BTreeMap::new();
    for entry in toc.chunks(128) {
        let name: String = entry[8..24].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        let (offset, stored, size) =
            (u64_at(entry, 56) as usize, u64_at(entry, 64) as usize, u64_at(entry, 72) as usize);
        let stored = blob[offset..offset + stored].to_vec();
        let content = match u32_at(entry, 0) {
            1 => stored.clone(),
            2 => zstd::decode_all(&stored[..]).unwrap(),
            other => panic!("flags {other}"),
        };
        if name == "image.blob" {
            assert!(size.is_multiple_of(4096));
        } else {
            assert_eq!(content.len(), size, "{name}");
        }
        assert_eq!(entry[24..56], *Digest::of(&content).as_bytes(), "{name}");
        assert_eq!(entry[80..], [0; 48]);
        found.insert(name, Section { offset, stored, content });
    }
    found
}

fn layer() -> Vec<Entry> {
    vec![
        dir("d/"),
        file("d/text", text(1, 20_000)),
        file("d/again", text(1, 20_000)),
        hardlink("h", "d/text"),
        symlink("s", "h"),
        file("one", b"1"),
    ]
}

fn blob_of(built: &Built, layer: usize) -> &[u8] {
    &built.blobs[&built.layers[layer].digest]
}

#[test]
fn sections_follow_each_other_with_headers_between() {
    for compressor in [NydusCompressor::Zstd, NydusCompressor::Lz4Block, NydusCompressor::None] {
        let built = build(&[&layer()], &options(compressor, 4096));
        let blob = blob_of(&built, 0);
        let sections = sections(blob);
        let mut at = 0;
        for names in [&["image.blob"][..], &["blob.meta", "blob.meta.header"], &["blob.digest"], &["image.boot"]] {
            let start = at;
            for name in names {
                assert_eq!(sections[*name].offset, at, "{name}");
                at += sections[*name].stored.len();
            }
            assert_eq!(header(blob, at), (names[0].to_owned(), at - start));
            at += 512;
        }
        assert_eq!(at + 5 * 128 + 512, blob.len());
    }
}

#[test]
fn the_metadata_of_chunks_say_where_each_is() {
    let built = build(&[&layer()], &small_chunks());
    let sections = sections(blob_of(&built, 0));
    let (meta, header) = (&sections["blob.meta"].content, &sections["blob.meta.header"].content);
    let magic = 0xb10b_b10b_u32;
    assert_eq!((u32_at(header, 0), u32_at(header, 4092)), (magic, magic));
    assert_eq!(u32_at(header, 4), 0x7000_0023, "features");
    assert_eq!(u32_at(header, 12), 6, "5 of the text and one");
    assert_eq!(u64_at(header, 16), sections["blob.meta"].offset as u64);
    assert_eq!(u64_at(header, 24), sections["blob.meta"].stored.len() as u64);
    assert_eq!(u64_at(header, 32), meta.len() as u64);
    assert!(header[40..4092].iter().all(|byte| *byte == 0));

    let digests = &sections["blob.digest"].content;
    let mut content = Vec::new();
    for (number, entry) in meta.chunks(16).enumerate() {
        let (first, second) = (u64_at(entry, 0), u64_at(entry, 8));
        let size = ((first >> 44) as usize) + 1;
        let stored = ((second >> 44) as usize) + 1;
        assert_eq!(first & 0xfff_ffff_ffff, number as u64 * 4096);
        let offset = (second & 0xff_ffff_ffff) as usize;
        let stored = &blob_of(&built, 0)[offset..][..stored];
        let chunk = if stored.len() == size { stored.to_vec() } else { zstd::decode_all(stored).unwrap() };
        assert_eq!(chunk.len(), size);
        assert_eq!(digests[32 * number..][..32], *Digest::of(&chunk).as_bytes());
        content.extend(chunk);
    }
    assert_eq!(content, [text(1, 20_000), b"1".to_vec()].concat());
}

#[test]
fn a_layer_without_contents_has_only_a_bootstrap() {
    let built = build(&[&[dir("d/"), file("empty", b""), symlink("s", "d")], &[]], &small_chunks());
    for layer in 0..2 {
        let sections = sections(blob_of(&built, layer));
        assert_eq!(sections.keys().collect::<Vec<_>>(), ["image.boot"]);
        assert_eq!(sections["image.boot"].offset, 0);
    }
    assert_eq!(built.files.keys().collect::<Vec<_>>(), ["image/", "image/image.boot"]);
}

#[test]
fn descriptors_say_what_they_must() {
    let built = build(&[&layer()], &small_chunks());
    let layer = &built.layers[0];
    assert_eq!((layer.media_type, layer.diff_id), (media_type::NYDUS_BLOB, layer.digest));
    assert_eq!(
        layer.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
        [(BLOB, "true")]
    );
    assert_eq!(built.merged.media_type, media_type::OCI_LAYER_GZIP);
    let annotations: BTreeMap<&str, &str> =
        built.merged.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(annotations, BTreeMap::from([(BOOTSTRAP, "true"), (FS_VERSION, "6")]));
    assert!(built.container.starts_with(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), "no name and no time");
}

#[test]
fn the_last_layer_has_the_metadata_of_each_blob_as_runtimes_keep_them() {
    for compressor in [NydusCompressor::Zstd, NydusCompressor::Lz4Block] {
        let built = build(&[&layer()], &options(compressor, 4096));
        let sections = sections(blob_of(&built, 0));
        let mut expected = sections["blob.meta"].content.clone();
        expected.resize(expected.len().next_multiple_of(4096), 0);
        expected.extend(&sections["blob.meta.header"].content);
        assert_eq!(built.files[&format!("image/{}.blob.meta", built.layers[0].digest.hex())], expected);
    }
}

#[test]
fn a_bootstrap_begins_as_the_kernel_and_nydusd_want_it() {
    let built = build(&[&layer(), &[file("x", b"2").xattr("user.a", b"1")]], &small_chunks());
    let boot = built.boot();
    assert!(boot.len().is_multiple_of(4096) && boot[..1024].iter().all(|byte| *byte == 0));
    assert_eq!(u32_at(boot, 1024), 0xe0f5_e1e2);
    assert_eq!((u32_at(boot, 1028), u32_at(boot, 1032), boot[1036], boot[1037]), (0, 0x4000_0000, 12, 0));
    assert_eq!(u32_at(boot, 1024 + 12) >> 16, 2, "the root");
    assert_eq!(u64_at(boot, 1024 + 16), 7, "inodes");
    assert_eq!(u32_at(boot, 1024 + 80), 0xc);
    assert_eq!(u32_at(boot, 1024 + 84) >> 16, 2, "devices");
    assert_eq!(u32_at(boot, 1024 + 88) & 0xffff, 11);
    assert_eq!(u64_at(boot, 1152), 0x80 | 8 | 0x10 | 0x20 | 0x100 | 0x100_0000, "flags");
    let table = u64_at(boot, 1152 + 8) as usize;
    assert_eq!((table, u32_at(boot, 1152 + 16)), (4096, 512));
    for (at, layer) in built.layers.iter().enumerate() {
        let (device, blob) = (&boot[1408 + 128 * at..][..128], &boot[table + 256 * at..][..256]);
        assert_eq!(device[..64], *layer.digest.hex().as_bytes());
        assert_eq!(blob[..64], device[..64]);
        assert_eq!(u64::from(u32_at(device, 64)) * 4096, u64_at(blob, 96));
        assert_eq!(u32_at(device, 68) % 128, 0, "devices begin at 512 KiB");
        assert_eq!((u32_at(blob, 64), u32_at(blob, 68), u32_at(blob, 80)), (at as u32, 4096, 1));
        assert_eq!(u32_at(blob, 84), 0x7000_0021, "features without the bootstrap inside");
        let sections = sections(blob_of(&built, at));
        assert_eq!(u64_at(blob, 112), sections["blob.meta"].offset as u64);
        assert_eq!(
            u64_at(blob, 112) - 512,
            sections["image.blob"].stored.len() as u64,
            "as nydusd finds the data's end"
        );
        assert_eq!(u64_at(blob, 88), sections["image.boot"].offset as u64);
    }
    let own = &sections(blob_of(&built, 0))["image.boot"].content;
    assert_eq!(own[1408..1408 + 64], [b'x'; 64]);
}

#[test]
fn paths_to_fetch_ahead_are_in_the_table() {
    let table = |prefetch: &[&str]| {
        let prefetch = prefetch.iter().map(ToString::to_string).collect();
        let built = build(&[&layer()], &NydusOptions { prefetch, ..small_chunks() });
        let boot = built.boot();
        let (offset, len) = (u64_at(boot, 1152 + 40) as usize, u32_at(boot, 1152 + 48) as usize);
        assert_eq!(built.bootstrap().prefetches(), len / 4);
        let inodes = built.inodes();
        let path = |number: u32| inodes.iter().find(|(_, inode)| inode.nid == u64::from(number)).unwrap().0.clone();
        (0..len / 4).map(|at| String::from_utf8(path(u32_at(boot, offset + 4 * at))).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(table(&["/"]), [""]);
    assert_eq!(table(&[]), [""; 0]);
    assert_eq!(table(&["/one", "/none", "/d/", "/one"]), ["one", "d"]);
    let nothing = build(&[&[dir("d/")]], &NydusOptions::default());
    assert_eq!(nothing.bootstrap().prefetches(), 0, "where there are no blobs");
}
