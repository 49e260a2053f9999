//! The limit that the pipeline is held against: the same bytes inflated and deflated in the same members, with the
//! digests that eStargz needs, and nothing else. No tar is parsed, no TOC built, nothing read or written meanwhile.
//!
//! Layers and members are those of an image that was converted before. Each run must give its bytes again, so that
//! both sides are known to have done the same work.

#![allow(clippy::print_stdout, reason = "a program for another program")]

mod cpu;
mod plan;
mod run;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;

/// Times the bare codec on the layers of an image, and prints what it took as JSON.
#[derive(Debug, Parser)]
struct Args {
    /// The layout that the image is in.
    source: PathBuf,
    /// The layout that it was converted into.
    target: PathBuf,
    /// The tag of both.
    tag: String,
    /// Compression threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The level that the image was converted with.
    #[arg(long, default_value_t = 5)]
    level: u8,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let layers = plan::layers(&args.source, &args.target, &args.tag).context("the layers could not be read")?;
    let level = libdeflater::CompressionLvl::new(args.level.into());
    let level = level.map_err(|_| anyhow::anyhow!("level {} is not one of libdeflate's", args.level))?;
    let (began, cpu) = (Instant::now(), cpu::seconds()?);
    let sums = run::convert(&layers, args.threads, level)?;
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), cpu::seconds()? - cpu);
    println!(
        "{}",
        json!({ "wall_s": wall_s, "cpu_s": cpu_s, "threads": args.threads, "bytes_in": sums.plain, "bytes_out": sums.compressed })
    );
    Ok(())
}
