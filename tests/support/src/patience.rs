//! Waiting for what comes by itself, not for ever.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How long a test waits for what has to come, and how often it looks.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// What takes longer hangs.
    pub longest: Duration,
    /// The pause between two looks.
    pub pause: Duration,
}

impl Patience {
    /// Looks again and again until there is something to see.
    ///
    /// # Panics
    /// Nothing is seen in the [`longest`](Self::longest) time.
    pub async fn until<T>(self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        // Boxed: a look may be large.
        let looking = Box::pin(async {
            loop {
                if let Some(seen) = look().await {
                    return seen;
                }
                sleep(self.pause).await;
            }
        });
        self.within(what, looking).await
    }

    /// What comes of `work`.
    ///
    /// # Panics
    /// It takes more than the [`longest`](Self::longest) time.
    pub async fn within<T>(self, what: &str, work: impl Future<Output = T>) -> T {
        timeout(self.longest, work).await.unwrap_or_else(|_| panic!("waited for too long: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { longest: Duration::from_millis(50), pause: Duration::from_millis(1) };

    #[tokio::test]
    async fn looks_until_there_is_something() {
        let mut looks = 0;
        let seen = PATIENCE.until("the third look", async || {
            looks += 1;
            (looks == 3).then_some("something")
        });
        assert_eq!(seen.await, "something");
        assert_eq!(PATIENCE.within("nothing", async { 7 }).await, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "waited for too long: what never comes")]
    async fn what_is_never_seen_ends_the_test() {
        PATIENCE.until("what never comes", async || None::<()>).await;
    }

    #[tokio::test]
    #[should_panic(expected = "waited for too long: a look that hangs")]
    async fn a_look_that_hangs_ends_the_test() {
        PATIENCE.until("a look that hangs", std::future::pending::<Option<()>>).await;
    }
}
