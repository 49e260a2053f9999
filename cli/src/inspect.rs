//! `accelctl inspect`: what an image is made of.

use accel_pipeline::{
    BootstrapContents, ImageContents, InspectReport, Landmark, LayerContents, LayerFormat, TocContents, inspect_image,
};
use clap::Args;

use crate::args::Format;
use crate::bars::short;
use crate::connect::ConnectArgs;
use crate::out::{self, out, plain};
use crate::place::Place;
use crate::show;

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The image: HOST/REPOSITORY:TAG, oci:DIR:TAG or oci-archive:FILE:TAG.
    image: Place,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Looks at the image, and writes what it is made of.
pub(crate) async fn run(args: InspectArgs) -> anyhow::Result<()> {
    let ends = args.connect.open(&[&args.image]).await?;
    let end = ends.source(&args.image).await?;
    let report = inspect_image(&end, &args.image.key(), ends.limits(&args.image)).await?;
    match args.output {
        Format::Json => out::json(&report)?,
        Format::Text => print(&args.image, &report),
    }
    Ok(())
}

fn print(image: &Place, report: &InspectReport) {
    out!("{image}");
    out!("  digest    {}", report.digest);
    out!("  type      {}", plain(&report.media_type));
    if let Some(origin) = &report.origin {
        out!("  made of   {}, {}, as {}", plain(&origin.source), origin.source_digest, plain(&origin.format));
    }
    if report.attestations > 0 {
        out!("  carries   {} attestations", report.attestations);
    }
    report.images.iter().for_each(print_image);
}

fn print_image(image: &ImageContents) {
    out!("  {}: {} layers, {}", plain(&image.platform), image.layers.len(), show::size(image.size));
    out!("    manifest {}", image.digest);
    for layer in &image.layers {
        print_layer(layer);
    }
}

fn print_layer(layer: &LayerContents) {
    out!("    {}  {:>11}  {}", short(layer.digest), show::size(layer.size), name(layer.format));
    if let Some(toc) = &layer.toc {
        print_toc(toc);
    }
    if let Some(bootstrap) = &layer.bootstrap {
        print_bootstrap(bootstrap);
    }
    if let Some(problem) = &layer.problem {
        out!("      problem   {}", plain(problem));
    }
}

fn print_toc(toc: &TocContents) {
    let TocContents { files, directories, symlinks, hardlinks, others, chunks, .. } = toc;
    out!("      holds     {} in {files} files, {chunks} chunks", show::size(toc.file_bytes));
    out!("      besides   {directories} directories, {symlinks} symbolic and {hardlinks} hard links, {others} others");
    out!("      TOC       {}, {} of JSON", show::size(toc.size), show::size(toc.json_size));
    if let Some(largest) = &toc.largest {
        out!("      largest   {} of {}", plain(&largest.name), show::size(largest.size));
    }
    match toc.landmark {
        Landmark::Missing => out!("      prefetch  not said"),
        Landmark::NoPrefetch => out!("      prefetch  nothing"),
        Landmark::Prefetch { entries, file_bytes, blob_bytes } => {
            let (files, blob) = (show::size(file_bytes), show::size(blob_bytes));
            out!("      prefetch  {entries} entries, {files} in the first {blob}");
        }
    }
}

fn print_bootstrap(bootstrap: &BootstrapContents) {
    let BootstrapContents { files, directories, symlinks, hardlinks, others, chunks, .. } = bootstrap;
    let (size, chunk_size) = (show::size(bootstrap.size), show::size(bootstrap.chunk_size));
    let batches = if bootstrap.batches { ", small ones in batches" } else { "" };
    let (version, compressor) = (bootstrap.fs_version, bootstrap.compressor);
    out!("      RAFS {version}    {size}, {compressor} chunks of up to {chunk_size}{batches}");
    out!(
        "      holds     {} in {files} files, {chunks} chunks in {} blobs",
        show::size(bootstrap.file_bytes),
        bootstrap.blobs.len()
    );
    out!("      besides   {directories} directories, {symlinks} symbolic and {hardlinks} hard links, {others} others");
    if let Some(largest) = &bootstrap.largest {
        out!("      largest   {} of {}", plain(&largest.name), show::size(largest.size));
    }
    match bootstrap.prefetched {
        0 => out!("      prefetch  nothing"),
        paths => out!("      prefetch  {paths} paths, and what is below them"),
    }
}

const fn name(format: LayerFormat) -> &'static str {
    match format {
        LayerFormat::Estargz => "eStargz",
        LayerFormat::ZstdChunked => "zstd:chunked",
        LayerFormat::Gzip => "gzip",
        LayerFormat::Zstd => "zstd",
        LayerFormat::NydusBlob => "Nydus blob",
        LayerFormat::NydusBootstrap => "Nydus bootstrap",
        LayerFormat::Plain => "not compressed",
        LayerFormat::Foreign => "foreign: not in the registry",
    }
}
