//! Layers of very many entries, in the memory that the documents promise.

use std::time::Duration;

use accel_image::{Hasher, media_type};
use accel_test_support::image::Layer;
use accel_test_support::tar::{Format, entry_blocks, file};
use accel_test_support::{Fault, ImageBuilder, Patience, Request, Rule, compress};

use crate::machine::{Machine, REPOSITORY};

/// What a conversion has before its first entry. Spec: docs/ARCHITECTURE.md, "Memory".
const BASE_KIB: u64 = 64 << 10;
const ENTRY_BYTES: u64 = 96;
/// A million entries take a minute.
const PATIENCE: Patience = Patience { longest: Duration::from_secs(600), pause: Duration::from_millis(2) };
/// Entries that are packed at a time.
const PART: usize = 10_000;

/// A layer of so many empty files.
fn empty_files(count: usize) -> Layer {
    let (mut blob, mut diff_id) = (Vec::new(), Hasher::default());
    let mut add = |part: &[u8]| {
        diff_id.update(part);
        blob.extend(compress::gzip(part));
    };
    for start in (0..count).step_by(PART) {
        let entry = |n| entry_blocks(Format::Ustar, &file(format!("srv/{:03}/{n:07}", n % 1000), b""));
        add(&(start..count.min(start + PART)).flat_map(entry).collect::<Vec<u8>>());
    }
    add(&[0; 1024]);
    Layer::raw(media_type::OCI_LAYER_GZIP, blob, diff_id.finish())
}

/// The most memory that the conversion of such a layer has taken, in KiB.
async fn peak_kib(entries: usize) -> u64 {
    let machine = Machine::new().await;
    ImageBuilder::new().with(empty_files(entries)).push(machine.content(), REPOSITORY, Some("many"));
    let image = machine.image("many");
    // All that is large is done by then, and the kernel keeps the peak.
    machine.registry.rule(Rule::on(Request::ManifestPut, Fault::Held).path("/manifests/many-esgz"));
    let mut child = machine.command(&machine.convert_args(&[&image])).spawn().unwrap();
    let tagging = async || {
        assert_eq!(child.try_wait().unwrap(), None, "it has ended without its tag");
        machine.registry.requests_of(Request::ManifestPut).into_iter().find(|put| put.path.ends_with("/many-esgz"))
    };
    PATIENCE.until("the tag is put", tagging).await;
    let process = child.id().unwrap();
    let mut peak = peak_so_far_kib(process).unwrap();
    machine.registry.held().await.go();
    let ended = async || {
        peak = peak.max(peak_so_far_kib(process).unwrap_or_default());
        child.try_wait().unwrap()
    };
    assert!(PATIENCE.until("it ends", ended).await.success());
    assert!(machine.content().manifest(REPOSITORY, "many-esgz").is_some());
    peak
}

/// The most memory that a process has had, if it has not ended.
fn peak_so_far_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

async fn stays_within_the_formula(entries: usize) -> u64 {
    let (peak, allowed) = (peak_kib(entries).await, BASE_KIB + entries as u64 * ENTRY_BYTES / 1024);
    assert!(peak <= allowed, "{entries} entries took {peak} KiB, more than {allowed}");
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_empty_entries_stay_within_the_memory_formula() {
    stays_within_the_formula(50_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: just reliability"]
async fn a_million_empty_entries_stay_within_the_memory_formula() {
    let peak = stays_within_the_formula(1_000_000).await;
    println!("reliability: 1000000 empty entries in {peak} KiB");
}
