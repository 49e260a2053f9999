//! `accelctl verify`: whether an accelerated image holds what its source does, and is whole.

use accel_image::Platform;
use accel_pipeline::{VerifyOptions, VerifyReport, verify_image};
use clap::Args;
use serde_json::{Map, Value};

use crate::args::Format;
use crate::bars::Bars;
use crate::connect::ConnectArgs;
use crate::exit::{DIFFERS, Quietly};
use crate::out::{self, out, plain};
use crate::place::Place;
use crate::show;

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The image that was converted: HOST/REPOSITORY:TAG, oci:DIR:TAG or oci-archive:FILE:TAG.
    source: Place,
    /// The image that was made of it.
    target: Place,
    /// Compare only this platform (os/arch or os/arch/variant); may be repeated.
    #[arg(long)]
    platform: Vec<Platform>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Compares, and writes the report.
pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let ends = args.connect.open(&[&args.source, &args.target]).await?;
    let (source, target) = (ends.source(&args.source).await?, ends.source(&args.target).await?);
    let options = VerifyOptions { platforms: args.platform.clone(), limits: ends.limits(&args.source) };
    let bars = Bars::new(args.output == Format::Text);
    let (source_key, target_key) = (args.source.key(), args.target.key());
    // Boxed: it is large, and there is one of it.
    let verifying = Box::pin(verify_image((&source, &source_key), (&target, &target_key), &options, &bars));
    let report = verifying.await?;
    bars.clear();
    match args.output {
        Format::Json => out::json(&json(&args, &report)?)?,
        Format::Text => print(&args, &report),
    }
    if report.is_right() { Ok(()) } else { Err(Quietly(DIFFERS).into()) }
}

/// The report for programs: references under the names that `convert` gives them, digests beside them.
fn json(args: &VerifyArgs, report: &VerifyReport) -> anyhow::Result<Map<String, Value>> {
    let mut all = Map::new();
    all.insert("right".to_owned(), report.is_right().into());
    all.insert("source".to_owned(), args.source.to_string().into());
    all.insert("target".to_owned(), args.target.to_string().into());
    for (key, value) in serde_json::from_value::<Map<_, _>>(serde_json::to_value(report)?)? {
        let is_digest = matches!(key.as_str(), "source" | "target");
        all.insert(if is_digest { format!("{key}_digest") } else { key }, value);
    }
    Ok(all)
}

fn print(args: &VerifyArgs, report: &VerifyReport) {
    let verdict = if report.is_right() { "holds the same files as its source" } else { "is not what it should be" };
    out!("{} {verdict}", args.target);
    out!("  source    {}  {}", report.source, args.source);
    out!("  target    {}", report.target);
    if !report.platforms.is_empty() {
        out!("  platforms {}", plain(&report.platforms.join(", ")));
    }
    if !report.platforms_left_out.is_empty() {
        out!("  left out  {}", plain(&report.platforms_left_out.join(", ")));
    }
    out!("  layers    {} compared, {} the same blob", report.layers_checked, report.layers_kept);
    out!("  compared  {} entries, {} chunks, {}", report.entries, report.chunks, show::size(report.bytes));
    for difference in &report.differences {
        out!("  differs   {}", plain(difference));
    }
    let more = report.differences_found.saturating_sub(report.differences.len() as u64);
    if more > 0 {
        out!("  and {more} more differences");
    }
    if !report.marked && report.source != report.target {
        out!("  note      the target does not say what it was made of: another tool has made it");
    }
}
