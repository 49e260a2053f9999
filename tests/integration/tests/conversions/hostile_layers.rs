//! Layers that nobody means well with, through the whole of a conversion.

use accel_domain::task::State;
use accel_image::{Digest, media_type};
use accel_test_support::image::Layer;
use accel_test_support::tar::{
    Format, dir, file, global_pax, gnu_long_link, gnu_long_name, hardlink, raw_header, symlink,
};
use accel_test_support::{Entry, ImageBuilder, compress, tar};

use crate::picture::{assert_whole, small};
use crate::scenes::play;
use crate::stage::{APP, Stage};

const LIMITS: &str = "{ entries: 1000, layer: 64MiB }";

/// What becomes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The image fails, with this in its reason.
    Failed(&'static str),
    /// It stays as it is: its reader, not ours, has to make sense of it.
    Kept,
    /// It is converted.
    Converted,
}
use Ends::{Converted, Failed, Kept};

struct Row {
    name: &'static str,
    layer: Layer,
    ends: Ends,
}

fn of_entries(name: &'static str, entries: &[Entry], ends: Ends) -> Row {
    let tar = tar(entries);
    Row { name, layer: Layer::raw(media_type::OCI_LAYER_GZIP, compress::gzip(&tar), Digest::of(&tar)), ends }
}

/// A blob in whose case it does not matter what it would decompress to.
fn of_blob(name: &'static str, media_type: &str, blob: Vec<u8>, says: &'static str) -> Row {
    Row { name, layer: Layer::raw(media_type, blob, Digest::of(name.as_bytes())), ends: Failed(says) }
}

/// What is wrong before there is a tar.
fn blobs() -> Vec<Row> {
    let (gzip, zstd) = (media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER_ZSTD);
    let good = small(1);
    let (packed, frame) = (compress::gzip(&good), compress::zstd(&good));
    let zeros = vec![0; 63 << 20];
    vec![
        of_blob("cut gzip", gzip, packed[..packed.len() / 2].to_vec(), "too early"),
        of_blob("cut zstd", zstd, frame[..frame.len() / 2].to_vec(), "too early"),
        of_blob("garbage after gzip", gzip, [&packed[..], b"garbage"].concat(), "unknown bytes after"),
        of_blob("garbage after zstd", zstd, [&frame[..], b"garbage"].concat(), "unknown bytes after"),
        of_blob("a zstd bomb by ratio", zstd, compress::zstd(&zeros), "limit of 1000 to 1"),
        of_blob("a gzip bomb by size", gzip, compress::gzip(&vec![0; 65 << 20]), "limit of"),
        of_blob("a window of 2^40", zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0".to_vec(), "window"),
        of_blob("a dictionary", zstd, b"\x28\xb5\x2f\xfd\x01\0\x09\x01\0\0".to_vec(), "dictionary"),
        of_blob("no tar", gzip, compress::gzip(&b"no tar at all".repeat(100)), "no tar header at byte 0"),
        of_blob("a cut tar", gzip, compress::gzip(&good[..good.len() / 2]), "too early"),
    ]
}

/// Paths that lead out of the layer: a TOC names them as Go's reader cleans them, and the tar keeps them as they were.
fn paths() -> Vec<Row> {
    let long = "n".repeat(64 << 10);
    vec![
        of_entries("..", &[file("../../etc/passwd", b"x"), dir("a/../../b/"), symlink("s", "../../..")], Converted),
        of_entries("absolute", &[file("/etc/passwd", b"x"), dir("//b/"), symlink("s", "/etc/shadow")], Converted),
        of_entries("no name", &[file("", b"x"), file("f", b"x")], Converted),
        of_entries("a NUL in a name", &[file("f", b"x").pax("path", b"a\0b")], Failed("NUL")),
        of_entries("a name of 64 KiB", &[file(&long, b"x")], Failed("path of 65536 bytes")),
        of_entries("a GNU name of 64 KiB", &[gnu_long_name(&long), file("f", b"x")], Failed("path of 65536 bytes")),
        of_entries("a link target of 64 KiB", &[symlink("s", &long)], Failed("path of 65536 bytes")),
        of_entries("a GNU link target of 64 KiB", &[gnu_long_link(&long), symlink("s", "x")], Failed("path of 65536")),
        of_entries("a link to itself", &[hardlink("a", "a")], Kept),
        of_entries("a circle of links", &[hardlink("a", "b"), hardlink("b", "a")], Kept),
        of_entries("a link to nowhere", &[hardlink("a", "nowhere")], Kept),
        of_entries("a link out of the layer", &[hardlink("a", "../../etc/shadow")], Kept),
        of_entries("a symbolic circle", &[symlink("a", "b"), symlink("b", "a")], Converted),
    ]
}

/// Numbers and headers that lie.
fn headers() -> Vec<Row> {
    let many: Vec<Entry> = (0..1001).map(|n| file(format!("{n}"), b"")).collect();
    let record = "x".repeat(2 << 20);
    let chain = vec![global_pax(&[("comment", "again")]); 1001];
    let nested = [gnu_long_name("a"), gnu_long_name("b"), gnu_long_link("c"), file("f", b"x")];
    vec![
        of_entries("a size that goes on", &[file("f", b"x").size_field(1 << 20)], Failed("too early")),
        of_entries("a size beyond all", &[file("f", b"x").size_field(1 << 62).format(Format::Gnu)], Failed("claims")),
        of_entries("a size of many digits", &[file("f", b"x").pax("size", "99999999999999999999")], Failed("PAX")),
        of_entries("a negative size", &[file("f", b"x").pax("size", "-1")], Failed("PAX")),
        of_entries("an owner of many digits", &[file("f", b"x").pax("uid", "99999999999999999999")], Failed("PAX")),
        of_entries("a time of many digits", &[file("f", b"x").pax("mtime", "9".repeat(400))], Failed("PAX")),
        of_entries("a directory with a size", &[dir("d/").size_field(1 << 40), file("f", b"x")], Converted),
        of_entries("a link with a size", &[file("f", b"x"), hardlink("h", "f").size_field(1 << 40)], Converted),
        of_entries("a record of 2 MiB", &[file("f", b"x").pax("comment", &record)], Failed("extension headers")),
        of_entries("a name of 2 MiB", &[gnu_long_name(&record), file("f", b"x")], Failed("extension headers")),
        of_entries("names upon names", &nested, Converted),
        of_entries("global headers without end", &chain, Failed("more entries than the limit of 1000")),
        of_entries("more entries than the limit", &many, Failed("more entries than the limit of 1000")),
        of_entries("a header of noise", &[raw_header([0xFF; 512])], Failed("checksum")),
        of_entries("a type that nobody knows", &[file("f", b"x").typeflag(b'~'), file("g", b"x")], Kept),
    ]
}

/// What says that the layer is eStargz already.
fn forged() -> Vec<Row> {
    let toc = file("stargz.index.json", br#"{"version":1,"entries":[{"name":"../x","type":"reg","size":9e99}]}"#);
    let landmarks = [file(".prefetch.landmark", b"\x0f"), file(".no.prefetch.landmark", b"\x0f")];
    let all = [&landmarks[..], &[file("f", b"x"), toc.clone()]].concat();
    let mut claims = of_entries("claims of a TOC", &all, Converted);
    let digest = Digest::of(b"anything").to_string();
    claims.layer = claims.layer.annotation("containerd.io/snapshot/stargz/toc.digest", &digest);
    claims.layer = claims.layer.annotation("io.containers.estargz.uncompressed-size", "-9");
    vec![of_entries("a TOC", &[toc], Converted), of_entries("landmarks", &landmarks, Converted), claims]
}

async fn ends_as_it_should(Row { name, layer, ends }: Row) {
    let stage = Stage::new().await.with_limits(LIMITS);
    ImageBuilder::new().layer(&small(5)).with(layer).push(stage.content(), APP, Some("1"));
    let task = stage.run(stage.task()).await;
    let done = (task.state, task.progress.layers_converted, task.progress.layers_kept);
    match ends {
        Failed(says) => {
            assert_eq!((task.state, task.work.attempts), (State::Failed, 0), "{name}: {}", task.reason);
            assert!(task.reason.contains(says) && task.reason.len() < 1000, "{name}: {}", task.reason);
            assert!(!task.reason.contains('\0'), "{name}: {}", task.reason);
            assert_eq!(
                (stage.content().tags(APP), stage.content().uploads_open()),
                (vec!["1".to_owned()], 0),
                "{name}"
            );
        }
        Kept => assert_eq!(done, (State::Completed, 1, 1), "{name}: {}", task.reason),
        Converted => assert_eq!(done, (State::Completed, 2, 0), "{name}: {}", task.reason),
    }
    if !matches!(ends, Failed(_)) {
        assert_whole(stage.content(), APP, &stage.manifest(APP, "1-esgz"));
    }
}

#[tokio::test]
async fn a_hostile_layer_fails_its_image_or_stays_as_it_is() {
    let rows = [blobs(), paths(), headers(), forged()].into_iter().flatten();
    let played = play(4, rows.map(ends_as_it_should)).await;
    println!("reliability: {} hostile layers", played.len());
}
