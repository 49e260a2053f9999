//! The end of the service: asked for by a signal, heard by every part.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// Says whether the service is ending. All clones say the same.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    begun: Arc<watch::Sender<bool>>,
}

impl Ending {
    /// An ending that SIGTERM and SIGINT begin. A second signal ends the process at once.
    pub(super) fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let ending = Self { begun: Arc::new(watch::channel(false).0) };
        let told = ending.clone();
        tokio::spawn(async move {
            for _ in 0..2 {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                if *told.begun.borrow() {
                    std::process::exit(i32::from(crate::exit::INTERRUPTED));
                }
                info!("stopping: running conversions may finish or are handed back; a second signal stops at once");
                told.begin();
            }
        });
        Ok(ending)
    }

    /// The service ends now.
    pub(super) fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Whether it is ending.
    pub(super) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Waits for the end.
    pub(super) async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        while !*begun.borrow_and_update() && begun.changed().await.is_ok() {}
    }
}
