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

    /// What comes of `work`; none if the end comes before. Once it has, an error of `work` is no news: what it worked with
    /// is being stopped.
    pub(super) async fn unless_begun<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        tokio::select! {
            biased;
            () = self.begun() => Ok(None),
            done = work => match done {
                Err(_) if self.has_begun() => Ok(None),
                done => done.map(Some),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[tokio::test]
    async fn work_that_fails_because_the_end_has_begun_is_no_failure() {
        let ending = Ending { begun: Arc::new(watch::channel(false).0) };
        assert_eq!(ending.unless_begun(async { Ok(1) }).await.unwrap(), Some(1));
        assert!(ending.unless_begun(async { Err::<u8, _>(anyhow!("by itself")) }).await.is_err());
        let stopped = async {
            ending.begin();
            Err::<u8, _>(anyhow!("the connection was refused"))
        };
        assert_eq!(ending.unless_begun(stopped).await.unwrap(), None);
        assert_eq!(ending.unless_begun(std::future::pending::<anyhow::Result<u8>>()).await.unwrap(), None);
    }
}
