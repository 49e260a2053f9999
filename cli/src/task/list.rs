//! `task list`: acceld's columns in acceld's order. CREATED has a space in it, so STATUS is the fourth field of a row.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use accel_domain::ErrorClass;
use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::Value;

use super::row::Row;
use crate::api::{Api, ApiError};
use crate::args::Format;
use crate::out::{self, plain};
use crate::show;

/// Rows that a server gives at once.
const PAGE_ROWS: usize = 1000;
/// Rows that are shown unless more are asked for: all that a page holds, or what a screen has room for.
const ROWS: usize = PAGE_ROWS;
const WATCHED_ROWS: usize = 20;
/// SOURCE and REASON are cut after so many characters.
const CUT: usize = 80;
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// Options of `task list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Show the list again and again, until interrupted.
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,
    /// Only tasks of this status.
    #[arg(long, value_enum, ignore_case = true)]
    status: Option<StatusArg>,
    /// Only tasks whose source contains this text.
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// At most so many tasks [default: 1000; 20 with --watch].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// More columns: sizes, target, format, phase, progress, time, attempts.
    #[arg(long)]
    wide: bool,
    /// How the list is written.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusArg {
    Processing,
    Completed,
    Failed,
}

/// What a list shows.
struct Listed {
    rows: Vec<Value>,
    /// Whether the server has more.
    more: bool,
}

/// Runs the command.
pub(super) async fn run(api: &Api, args: ListArgs) -> anyhow::Result<()> {
    if args.watch {
        return watch(api, &args).await;
    }
    let listed = fetch(api, &args, ROWS).await?;
    match args.output {
        Format::Json => out::json(&listed.rows)?,
        Format::Text => out::write(format_args!("{}", table(listed.rows, args.wide))),
    }
    if listed.more {
        eprintln!("there are more tasks: --limit shows them");
    }
    Ok(())
}

/// On a terminal the list is drawn anew; elsewhere it is written whenever it has changed.
async fn watch(api: &Api, args: &ListArgs) -> anyhow::Result<()> {
    let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J\x1b[3J" } else { "" };
    let mut last = String::new();
    loop {
        let shown = match fetch(api, args, WATCHED_ROWS).await {
            Ok(listed) => table(listed.rows, args.wide),
            Err(error) if matches!(error.class(), ErrorClass::Transient(_)) => format!("{error}\n"),
            Err(error) => return Err(error.into()),
        };
        if shown != last {
            out::write(format_args!("{clear}{shown}"));
            last = shown;
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// Page after page, as far as the limit.
async fn fetch(api: &Api, args: &ListArgs, rows_by_default: usize) -> Result<Listed, ApiError> {
    let limit = args.limit.map_or(rows_by_default, |limit| limit as usize);
    let mut rows = Vec::new();
    let mut query = Some(query(args, limit.min(PAGE_ROWS)));
    while let Some(asked) = query.take_if(|_| rows.len() < limit) {
        let page = api.list(&asked).await?;
        query = page.next.filter(|_| !page.rows.is_empty());
        rows.extend(page.rows);
    }
    let more = query.is_some() || rows.len() > limit;
    rows.truncate(limit);
    Ok(Listed { rows, more })
}

fn query(args: &ListArgs, limit: usize) -> String {
    let mut url = Url::parse("http://localhost").expect("it is a URL");
    let mut pairs = url.query_pairs_mut();
    if let Some(status) = args.status {
        pairs.append_pair("status", &format!("{status:?}").to_uppercase());
    }
    if let Some(source) = &args.source {
        pairs.append_pair("source", source);
    }
    pairs.append_pair("limit", &limit.to_string());
    drop(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// The rows under their headings, in columns of equal width.
fn table(tasks: Vec<Value>, wide: bool) -> String {
    let mut heads = vec!["ID", "CREATED", "STATUS", "SOURCE", "REASON"];
    if wide {
        heads.extend(["TARGET", "FORMAT", "PHASE", "PROGRESS", "SOURCE SIZE", "TARGET SIZE", "TIME", "ATTEMPTS"]);
    }
    let mut lines = vec![heads.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    lines.extend(tasks.into_iter().map(|task| cells(&Row::of(task), wide)));
    let columns = lines[0].len();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            write!(shown, "{cell:width$}  ").expect("a string takes everything");
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row, wide: bool) -> Vec<String> {
    let mut cells = vec![plain(&row.id), plain(&row.created()), plain(&row.status), cut(&row.source), cut(&row.reason)];
    if wide {
        cells.extend([
            plain(&row.target),
            plain(&row.format),
            plain(&row.phase),
            format!("{:.0}%", row.progress * 100.0),
            show::size(row.source_size),
            show::size(row.target_size),
            show::time((row.duration_seconds * 1000.0) as u128),
            row.attempts.to_string(),
        ]);
    }
    cells
}

fn cut(text: &str) -> String {
    let text = plain(text);
    match text.char_indices().nth(CUT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_acceld_columns() {
        let task = json!({
            "id": "0190163d-8694-739b-aea5-966c26f8ad91", "created": "2024-05-01T10:11:12.123456789Z",
            "source": "h.example/p/r:1", "status": "FAILED", "reason": "line\nline", "new_member": null,
        });
        let text = table(vec![task], false);
        let fields: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(fields[0], ["ID", "CREATED", "STATUS", "SOURCE", "REASON"]);
        assert_eq!(fields[1][1..], ["2024-05-01", "10:11:12", "FAILED", "h.example/p/r:1", "line", "line"]);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn wide_columns_come_after_them() {
        let text = table(vec![json!({"id": "i", "progress": 0.5, "duration_seconds": 1.5, "target_size": 2048})], true);
        let row = text.lines().nth(1).unwrap();
        for cell in ["50%", "1.50 s", "2.0 KiB"] {
            assert!(row.contains(cell), "{row}");
        }
    }

    #[test]
    fn cuts_long_texts_between_characters() {
        let (long, exact) = ("ä".repeat(81), "ä".repeat(80));
        assert_eq!(cut(&long), format!("{exact}..."));
        assert_eq!(cut(&exact), exact);
    }

    #[test]
    fn a_created_that_is_no_time_is_shown_as_it_came() {
        let row = Row { created: "soon".to_owned(), ..Row::default() };
        assert_eq!(row.created(), "soon");
    }
}
