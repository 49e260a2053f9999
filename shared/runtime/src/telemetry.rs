//! Logs: one subscriber a process, to standard error.
//!
//! Our own crates log at the configured level, those of others warnings only. Identifiers are fields: `task.id`,
//! `image.source`, `layer.digest`, `registry.host`, `error.class`, `size_bytes`, `elapsed_ms`.

use std::io::IsTerminal as _;

use accel_domain::config::{LogFormat, LogLevel};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

/// A second subscriber.
#[derive(Debug, thiserror::Error)]
#[error("logging was set up already")]
pub struct AlreadyLogging;

/// Starts logging. Colours only on a terminal, and not where `NO_COLOR` is set.
///
/// # Errors
/// It was called before.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), AlreadyLogging> {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = std::io::stderr().is_terminal() && !no_colour;
    let subscriber = subscriber(format, level, colours, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadyLogging)
}

/// The level of a process that logs already.
#[derive(Debug)]
pub struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// From now on, `level`.
    pub fn set(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "the level of the log could not be changed");
        }
    }
}

/// Starts logging in a function: JSON lines with the fields of all spans around them, at a level that may change.
///
/// # Errors
/// It was called before.
pub fn init_function(level: LogLevel) -> Result<Level, AlreadyLogging> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(true);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadyLogging)?;
    Ok(Level(handle))
}

fn subscriber<W>(format: LogFormat, level: LogLevel, colours: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter(level));
    match format {
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(colours).with_target(false))),
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true).with_span_list(false))),
    }
}

/// The names of all our crates and programs begin alike.
fn filter(level: LogLevel) -> Targets {
    Targets::new().with_default(LevelFilter::WARN).with_target("accel", level_filter(level))
}

const fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        tracing::subscriber::with_default(subscriber(format, level, false, move || writer.clone()), || {
            let span = tracing::info_span!("task", task.id = "t1");
            let _entered = span.enter();
            tracing::info!(size_bytes = 7, "layer pushed");
            tracing::debug!("detail");
            tracing::info!(target: "hyper", "chatter");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_hold_message_fields_and_span() {
        let line = logged(LogFormat::Json, LogLevel::Info);
        let json: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!((&json["message"], &json["size_bytes"]), (&"layer pushed".into(), &7.into()), "{line}");
        assert_eq!(json["span"]["task.id"], "t1", "{line}");
    }

    #[test]
    fn text_is_plain_off_a_terminal_and_others_only_warn() {
        let text = logged(LogFormat::Text, LogLevel::Debug);
        assert!(text.contains("layer pushed size_bytes=7") && text.contains("detail"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("chatter"), "{text}");
    }
}
