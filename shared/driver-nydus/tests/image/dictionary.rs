//! Layers that refer to the chunks of another image.

use std::collections::HashMap;

use accel_domain::{NydusCompressor, NydusOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Driver, DriverError, Part, Pool};
use accel_driver_nydus::reader::{Bootstrap, FormatError};
use accel_driver_nydus::{ChunkDictionary, DictionaryBuilder, DictionaryFault, DictionaryImage, Nydus};
use accel_stream::Limits;
use accel_test_support::tar::{dir, file, whiteout};
use accel_test_support::{tar, text};

use crate::blob::sections;
use crate::built::{Built, Store, build_beside, build_tars, differences, options, part, small_chunks, v5};

/// A dictionary of two layers, the upper of which removes a file of the lower, and an image of three: the first has chunks
/// of its own and of the dictionary, the second only such, and the third something else for a file of the first.
pub(crate) fn pair() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let shared = |seed| text(seed, 70_000);
    let lower = [dir("lib/"), file("lib/one", shared(1)), file("lib/gone", shared(2)), file("lib/small", b"x")];
    let upper = [whiteout("lib/gone"), file("lib/two", shared(3)), file("lib/three", shared(4))];
    let first = [
        file("etc/own", text(9, 30_000)),
        file("bin/one", shared(1)),
        file("bin/gone", shared(2)),
        file("bin/three", shared(4)),
        file("bin/twice", shared(3)),
        file("bin/twice", text(8, 9_000)),
    ];
    let second = [file("all/one", shared(1)), file("all/two", shared(3)), file("all/small", b"x")];
    let third = [file("bin/three", b"not of the dictionary"), file("bin/again", text(9, 30_000))];
    let tars = |layers: &[&[accel_test_support::Entry]]| layers.iter().map(|layer| tar(layer)).collect();
    (tars(&[&lower, &upper]), tars(&[&first, &second, &third]))
}

fn both(options: &NydusOptions) -> (Built, Built, Vec<Vec<u8>>) {
    let (dictionary, layers) = pair();
    let dictionary = build_tars(&dictionary, options).unwrap();
    let built = build_beside(&dictionary, &layers, options).unwrap();
    (dictionary, built, layers)
}

fn bytes(built: &Built) -> usize {
    built.layers.iter().map(|layer| built.blobs[&layer.digest].len()).sum()
}

#[test]
fn what_the_dictionary_has_is_not_stored_and_is_read_all_the_same() {
    let rows = [
        small_chunks(),
        options(NydusCompressor::Lz4Block, 8192),
        options(NydusCompressor::None, 4096),
        NydusOptions::default(),
    ];
    for options in rows {
        let (dictionary, built, layers) = both(&options);
        assert_eq!(differences(&built, &layers), Vec::<String>::new(), "{options:?}");
        let alone = build_tars(&layers, &options).unwrap();
        assert!(bytes(&built) < bytes(&alone), "{options:?}: {} {}", bytes(&built), bytes(&alone));
        let digests: Vec<_> = dictionary.layers.iter().map(|layer| layer.digest).collect();
        let mut others = built.merged.other_blobs.clone();
        assert!(!others.is_empty() && others.iter().all(|other| digests.contains(other)), "{options:?}");
        let named: Vec<_> = built.bootstrap().blobs().iter().map(|blob| blob.id).collect();
        others.extend(built.layers.iter().map(|layer| layer.digest));
        assert!(named.iter().all(|blob| others.contains(blob)), "{options:?}");
        // Runtimes get the files about the dictionary's chunks as they are in its own image.
        for blob in &built.merged.other_blobs {
            let name = format!("image/{}.blob.meta", blob.hex());
            assert_eq!(built.files[&name], dictionary.files[&name], "{options:?}");
        }
    }
}

#[test]
fn a_layer_lists_its_own_blob_and_what_its_files_need_of_the_dictionary() {
    let (dictionary, built, _) = both(&small_chunks());
    let names = |at: usize| sections(&built.blobs[&built.layers[at].digest]).into_keys().collect::<Vec<_>>();
    assert_eq!(names(0), ["blob.digest", "blob.meta", "blob.meta.header", "image.blob", "image.boot"]);
    assert_eq!(names(1), ["image.boot"], "all of it is in the dictionary");
    let of_layer = |at: usize| {
        let boot = sections(&built.blobs[&built.layers[at].digest])["image.boot"].content.clone();
        let bootstrap = Bootstrap::parse(boot).unwrap();
        bootstrap.blobs().iter().map(|blob| (blob.id.hex(), blob.chunk_count)).collect::<Vec<_>>()
    };
    let [lower, upper] = [0, 1].map(|at: usize| {
        let blobs = dictionary.bootstrap().blobs().to_vec();
        let blob = blobs.iter().find(|blob| blob.id == dictionary.layers[at].digest).unwrap().clone();
        (blob.id.hex(), blob.chunk_count)
    });
    let own = |chunks| ("0".repeat(64), chunks);
    // 30,000 and 9,000 bytes, and 70,000 that the dictionary's image has removed, so that nothing is known of them.
    assert_eq!(of_layer(0), [own(8 + 18 + 3), lower.clone(), upper.clone()]);
    assert_eq!(of_layer(1), [lower, upper]);
    assert_eq!(of_layer(2), [own(1 + 8)]);
}

#[test]
fn the_bytes_are_the_same_on_one_two_and_eight_threads() {
    let (dictionary, layers) = pair();
    let dictionary = build_tars(&dictionary, &small_chunks()).unwrap();
    let chunks = std::sync::Arc::new(dictionary.as_dictionary(&small_chunks()).unwrap());
    let driver = Nydus::new(small_chunks(), Limits::default()).with_dictionary(Some(chunks));
    let made = [1, 2, 8].map(|threads| {
        let pool = Pool::new(threads);
        let convert = |layer| driver.convert(&pool, &mut Downloads::of(layer), &mut Kept::default()).unwrap().digest;
        layers.iter().map(|layer| convert(layer)).collect::<Vec<_>>()
    });
    assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
}

#[test]
fn layers_are_merged_with_the_dictionary_that_they_refer_to_and_no_other() {
    let (_, built, _) = both(&small_chunks());
    let parts: Vec<Part> = built.layers.iter().map(part).collect();
    let (_, other) = pair();
    let other = build_tars(&other, &small_chunks()).unwrap().as_dictionary(&small_chunks()).unwrap();
    for dictionary in [None, Some(std::sync::Arc::new(other))] {
        let driver = Nydus::new(small_chunks(), Limits::default()).with_dictionary(dictionary);
        let merged = driver.merge().unwrap().merge(&parts, &mut Store(&built.blobs), &mut Kept::default());
        let told = matches!(&merged, Err(DriverError::Damaged { reason, .. }) if reason.contains("dictionary"));
        assert!(told, "{merged:?}");
    }
}

#[test]
fn an_image_that_cannot_be_referred_to_is_refused_by_name() {
    let (layers, _) = pair();
    let built = |options: &NydusOptions| build_tars(&layers, options).unwrap();
    let good = small_chunks();
    let rows = [
        (built(&v5(&good)), good.clone(), "RAFS v5"),
        (built(&good), options(NydusCompressor::None, 4096), "compressor is zstd, and that of the images made is none"),
        (built(&good), options(NydusCompressor::Zstd, 8192), "chunk size is 4KiB, and that of the images made is 8KiB"),
    ];
    for (image, options, expected) in rows {
        let told = image.as_dictionary(&options).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    let mut image = built(&good);
    let name = image.files.keys().find(|name| name.ends_with(".blob.meta")).unwrap().clone();
    assert!(image.as_dictionary(&good).is_ok());
    image.files.get_mut(&name).unwrap()[3] ^= 1;
    assert!(image.as_dictionary(&good).unwrap_err().to_string().contains("the file about its chunks"));
    image.files.get_mut(&name).unwrap().truncate(4096);
    assert!(image.as_dictionary(&good).unwrap_err().to_string().contains("the file about its chunks"));
}

#[test]
fn the_bootstrap_of_a_layer_is_no_dictionary() {
    let (layers, _) = pair();
    let built = build_tars(&layers, &small_chunks()).unwrap();
    let boot = sections(&built.blobs[&built.layers[0].digest])["image.boot"].content.clone();
    let bootstrap = Bootstrap::parse(boot).unwrap();
    let mut builder = DictionaryBuilder::new(small_chunks());
    let told = builder.add(DictionaryImage { bootstrap, metas: HashMap::new() });
    assert!(matches!(told, Err(DictionaryFault::Blob { reason, .. }) if reason.contains("of a layer")));
}

/// Where the number of a blob's chunks is, of what a bootstrap says of it.
const COUNT: usize = 72;

fn table_of_blobs(boot: &[u8]) -> usize {
    u64::from_le_bytes(boot[1160..1168].try_into().unwrap()) as usize
}

/// The bootstrap with another number of 4 bytes at `at` of what it says of its first blob.
fn with_number(built: &Built, at: usize, edit: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut boot = built.boot().to_vec();
    let table = table_of_blobs(&boot);
    let field = &mut boot[table + at..][..4];
    let number = u32::from_le_bytes((&*field).try_into().unwrap());
    field.copy_from_slice(&edit(number).to_le_bytes());
    boot
}

#[test]
fn what_a_bootstrap_says_of_its_blobs_is_held_to_limits_and_to_itself() {
    const FEATURES: usize = 84;
    const STORED: usize = 88;
    const UNCOMPRESSED: usize = 96;
    const UNCOMPRESSED_HIGH: usize = UNCOMPRESSED + 4;
    type Edit = fn(u32) -> u32;
    let (layers, _) = pair();
    let built = build_tars(&layers, &small_chunks()).unwrap();
    let rows: [(usize, Edit, &str); 9] = [
        (COUNT, |_| (1 << 20) + 1, "more than 1048576 chunks"),
        (FEATURES, |features| features | 0x2, "of a kind to which"),
        (FEATURES, |features| features | 0x8, "of a kind to which"),
        (STORED, |_| 100, "a chunk lies beyond its end"),
        (UNCOMPRESSED, |_| 4096, "a chunk lies beyond its end"),
        (UNCOMPRESSED, |bytes| bytes + (16 << 20), "longer than all its chunks can be"),
        (UNCOMPRESSED_HIGH, |_| 1 << 12, "longer than all its chunks can be"),
        (STORED, |bytes| bytes + 1, "two images say different things of it"),
        (COUNT, |count| count + 1, "two images say different things of it"),
    ];
    for (at, edit, expected) in rows {
        let mut builder = DictionaryBuilder::new(small_chunks());
        let images = [Bootstrap::parse(with_number(&built, at, edit)).unwrap(), built.bootstrap()];
        let mut images = images.into_iter().map(|bootstrap| DictionaryImage { bootstrap, metas: HashMap::new() });
        let told = images.find_map(|image| builder.add(image).err()).map(|fault| fault.to_string());
        assert!(told.as_ref().is_some_and(|told| told.contains(expected)), "{told:?} instead of {expected}");
    }
}

#[test]
fn a_dictionary_without_files_about_its_chunks_leaves_them_to_the_blobs() {
    let (layers, image) = pair();
    let mut dictionary = build_tars(&layers, &small_chunks()).unwrap();
    dictionary.files.retain(|name, _| !name.ends_with(".blob.meta"));
    let built = build_beside(&dictionary, &image, &small_chunks()).unwrap();
    assert_eq!(differences(&built, &image), Vec::<String>::new());
    let metas = built.files.keys().filter(|name| name.ends_with(".blob.meta")).count();
    assert_eq!(metas, 2, "those of the first and the third layer");
}

#[test]
fn the_images_of_several_platforms_are_one_dictionary() {
    let (layers, image) = pair();
    let one = build_tars(&layers[..1], &small_chunks()).unwrap();
    let two = build_tars(&layers, &small_chunks()).unwrap();
    let mut builder = DictionaryBuilder::new(small_chunks());
    for built in [&one, &two] {
        builder.add(DictionaryImage { bootstrap: built.bootstrap(), metas: HashMap::new() }).unwrap();
    }
    let chunks = std::sync::Arc::new(builder.build().unwrap());
    assert_eq!(chunks.blob_digests().count(), 2);
    let driver = Nydus::new(small_chunks(), Limits::default()).with_dictionary(Some(chunks));
    let mut output = Kept::default();
    driver.convert(&Pool::new(2), &mut Downloads::of(&image[0]), &mut output).unwrap();
    let boot = sections(&output.blob)["image.boot"].content.clone();
    let own = Bootstrap::parse(boot).unwrap().blobs()[0].chunk_count;
    assert_eq!(own, 8 + 3, "what the other image has removed is there in this one");
}

#[test]
fn an_image_of_the_dictionary_alone_has_no_contents() {
    let (layers, _) = pair();
    let dictionary = build_tars(&layers, &small_chunks()).unwrap();
    let built = build_beside(&dictionary, &layers[1..], &small_chunks()).unwrap();
    assert_eq!(differences(&built, &layers[1..]), Vec::<String>::new());
    assert_eq!(built.merged.other_blobs, [dictionary.layers[1].digest]);
}

#[test]
fn a_dictionary_with_too_many_chunks_is_known_by_its_table_of_blobs() {
    let (layers, _) = pair();
    let built = build_tars(&layers, &small_chunks()).unwrap();
    let counts = built.bootstrap().blobs().iter().map(|blob| blob.chunk_count).collect::<Vec<_>>();
    assert_eq!(counts.len(), 2);
    let of_first = |count: u32| with_number(&built, COUNT, |_| count);
    let too_many = |bytes: &[u8]| {
        let read = Bootstrap::parse_up_to(ChunkDictionary::MOST_CHUNKS.into(), bytes.to_vec());
        matches!(read, Err(FormatError::TooManyChunks { .. }))
    };
    assert!(!too_many(built.boot()));
    assert!(!too_many(&of_first(ChunkDictionary::MOST_CHUNKS - counts[1])));
    assert!(too_many(&of_first(ChunkDictionary::MOST_CHUNKS - counts[1] + 1)));
}
