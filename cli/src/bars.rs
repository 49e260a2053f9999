//! Progress on a terminal: a bar a layer.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use accel_image::Digest;
use accel_pipeline::{Event, LayerEnd, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bars on standard error; nothing at all where that is no terminal.
pub(crate) struct Bars {
    all: MultiProgress,
    layers: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    pub(crate) fn new(shown: bool) -> Self {
        let shown = shown && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { all: MultiProgress::with_draw_target(target), layers: Mutex::default() }
    }

    /// Takes the bars away, since the report says it all again.
    pub(crate) fn clear(&self) {
        // A terminal that cannot be written has nothing to be cleared.
        drop(self.all.clear());
    }

    fn start(&self, layer: Digest, size: u64) {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {bytes:>10}/{total_bytes:10} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        let bar = self.all.add(ProgressBar::new(size).with_style(style).with_prefix(short(layer)));
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, bar);
    }

    fn with(&self, layer: Digest, change: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.layers.lock().unwrap_or_else(PoisonError::into_inner).get(&layer) {
            change(bar);
        }
    }
}

impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::LayerStarted { layer, size } => self.start(*layer, *size),
            Event::LayerRead { layer, bytes } => self.with(*layer, |bar| bar.inc(*bytes)),
            Event::LayerDone { layer, end, .. } => self.with(*layer, |bar| bar.finish_with_message(word(*end))),
            Event::Phase(_) | Event::Planned { .. } | Event::LayerWritten { .. } => {}
        }
    }
}

/// Twelve digits tell layers apart.
pub(crate) fn short(layer: Digest) -> String {
    layer.hex()[..12].to_owned()
}

/// How a layer ended, in a word.
pub(crate) const fn word(end: LayerEnd) -> &'static str {
    match end {
        LayerEnd::Converted => "converted",
        LayerEnd::Reused => "reused",
        LayerEnd::Mounted => "mounted",
        LayerEnd::Kept => "kept",
    }
}
