//! Requests that wait for their turn, so that a test decides the order in which a registry sees them.

use tokio::sync::{Mutex, mpsc, oneshot};

use super::request::Request;

/// A request that waits. It goes on when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// Its kind.
    pub request: Request,
    /// Its path and query.
    pub path: String,
    turn: oneshot::Sender<()>,
}

impl Held {
    /// Waits until whoever has sent it waits for its answer no longer.
    pub async fn given_up(mut self) {
        self.turn.closed().await;
    }

    /// Lets it go on.
    pub fn go(self) {
        drop(self);
    }
}

/// The requests that wait.
#[derive(Debug)]
pub(super) struct Turns {
    came: mpsc::UnboundedSender<Held>,
    waiting: Mutex<mpsc::UnboundedReceiver<Held>>,
}

impl Turns {
    pub(super) fn new() -> Self {
        let (came, waiting) = mpsc::unbounded_channel();
        Self { came, waiting: Mutex::new(waiting) }
    }

    /// Waits until it is this request's turn.
    pub(super) async fn wait(&self, request: Request, path: &str) {
        let (turn, given) = oneshot::channel();
        // Where nobody takes it, it goes on at once.
        drop(self.came.send(Held { request, path: path.to_owned(), turn }));
        drop(given.await);
    }

    /// The next one.
    pub(super) async fn next(&self) -> Held {
        self.waiting.lock().await.recv().await.expect("the sender is beside it")
    }
}
