//! The one thread that writes, and the commits it groups: what arrives during a commit shares the next one.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::file::{Fault, StoreFile, guarded};
use super::tables::{self, Tables};
use crate::StoreError;

/// Writes that wait for a commit; further writers wait for a place.
const WAITING: usize = 1024;

/// Hands writes to the thread. Dropping it waits until those handed over are on disk.
pub(super) struct Writer {
    writes: Option<mpsc::Sender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: Arc<StoreFile>) -> Result<Self, StoreError> {
        let (writes, incoming) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("accel-store".to_owned())
            .spawn(move || run(&file, incoming))
            .map_err(|error| StoreError::Unavailable(format!("no thread for the store: {error}")))?;
        Ok(Self { writes: Some(writes), thread: Some(thread) })
    }

    /// Runs `change` in the next commit. It answers once that is on disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or_else(closed)?;
        writes.send(Box::new(Change { change, answer })).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.writes.take());
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics, and who waited for an answer was told.
            drop(thread.join());
        }
    }
}

/// A write that waits for its commit.
trait Write: Send {
    /// Runs it.
    fn run(self: Box<Self>, tables: &mut Tables<'_>, path: &Path) -> Ran;

    /// It was never run.
    fn refuse(self: Box<Self>, error: StoreError);
}

/// A write that was run and waits for the commit to be on disk.
struct Ran {
    /// Answers the caller: the commit succeeded, or why not.
    answer: Box<dyn FnOnce(Result<(), StoreError>)>,
    /// Whether it failed half way, so that nothing of the commit may stay.
    broken: bool,
}

struct Change<C, T> {
    change: C,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<C, T> Write for Change<C, T>
where
    C: FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send,
    T: Send + 'static,
{
    fn run(self: Box<Self>, tables: &mut Tables<'_>, path: &Path) -> Ran {
        let writes = tables.writes;
        let told = (self.change)(tables).map_err(|fault| fault.at(path));
        let broken = told.is_err() && tables.writes != writes;
        let answer = self.answer;
        let answer = Box::new(move |committed: Result<(), StoreError>| {
            // What went wrong with the write itself says more than what became of the commit.
            let told = told.and_then(|value| committed.map(|()| value));
            // A caller that has gone away does not care.
            drop(answer.send(told));
        });
        Ran { answer, broken }
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        // A caller that has gone away does not care.
        drop(self.answer.send(Err(error)));
    }
}

fn run(file: &StoreFile, mut incoming: mpsc::Receiver<Box<dyn Write>>) {
    while let Some(first) = incoming.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < WAITING {
            let Ok(next) = incoming.try_recv() else { break };
            batch.push(next);
        }
        settle(file, batch);
    }
}

/// Runs, commits and answers `batch`; what comes after a write that broke its commit goes into another one.
fn settle(file: &StoreFile, batch: Vec<Box<dyn Write>>) {
    let mut waiting = batch.into_iter();
    while waiting.len() > 0 {
        let mut answers = Vec::new();
        let committed = commit(file, &mut waiting, &mut answers);
        for ran in answers {
            (ran.answer)(committed.as_ref().map(|_| ()).map_err(again));
        }
        if let Err(error) = committed {
            waiting.by_ref().for_each(|write| write.refuse(again(&error)));
        }
    }
}

/// One commit of `waiting`, as far as the first write that breaks it.
fn commit(
    file: &StoreFile,
    waiting: &mut std::vec::IntoIter<Box<dyn Write>>,
    answers: &mut Vec<Ran>,
) -> Result<(), StoreError> {
    let mut broken = false;
    let committed = file.commit(|tables| {
        for write in waiting.by_ref() {
            let ran = write.run(tables, file.path());
            broken = ran.broken;
            answers.push(ran);
            if broken {
                return Err(Fault::GivenUp);
            }
        }
        Ok(())
    });
    if !broken {
        return committed;
    }
    for ran in answers.drain(..) {
        (ran.answer)(Err(Fault::GivenUp.at(file.path())));
    }
    Ok(())
}

/// The same error for the next caller.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Damaged { what, detail } => StoreError::Damaged { what: what.clone(), detail: detail.clone() },
        StoreError::InUse(path) => StoreError::InUse(path.clone()),
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::Conflict
        | StoreError::KeyTaken(_)
        | StoreError::NotFound(_)
        | StoreError::Refused(_)
        | StoreError::BadCursor => StoreError::Unavailable(error.to_string()),
    }
}

impl StoreFile {
    /// Runs `change` in a commit of its own. Nothing is written if `change` wrote nothing.
    pub(super) fn commit<T>(&self, change: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        let open = self.database()?;
        let database = open.as_ref().ok_or_else(|| Fault::GivenUp.at(self.path()))?;
        let committed = guarded(|| {
            let transaction = tables::begin(database)?;
            let mut tables = Tables::open(&transaction)?;
            let told = change(&mut tables);
            let writes = tables.writes;
            drop(tables);
            match told {
                Ok(value) if writes > 0 => transaction.commit().map(|()| value).map_err(Fault::from),
                told => transaction.abort().map_err(Fault::from).and(told),
            }
        });
        drop(open);
        self.close_after(&committed);
        committed.map_err(|fault| fault.at(self.path()))
    }
}
