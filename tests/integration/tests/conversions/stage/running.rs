//! Tasks that run on a stage, and time that passes.

use std::time::Duration;

use accel_converter::{Converter, Verdict};
use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, State, Task, TaskId, Work};
use accel_pipeline::Stop;
use accel_tasks::{Admission, Embedded, StoreError, TaskQueue, TaskStore, enqueue};

use super::Stage;

/// How long a received message is hidden.
const VISIBILITY: Duration = Duration::from_secs(60);
/// More than any lease, and any wait that a queue keeps.
const LONG: Duration = Duration::from_secs(16 * 60);

impl Stage {
    /// Admits `task` and sends its message; the id of the task that stands for it.
    pub(crate) async fn admit(&self, task: &Task) -> TaskId {
        let admission = self.store.admit(task).await.unwrap();
        if let Some(unsent) = admission.unsent(task) {
            enqueue(&*self.store, &*self.store, unsent, Duration::ZERO, Timestamp::now()).await.unwrap();
        }
        match admission {
            Admission::Created => task.id.clone(),
            Admission::Joined(other) => other.id,
        }
    }

    /// Admits `task`, and converts until it has ended.
    pub(crate) async fn run(&self, task: Task) -> Task {
        let id = self.admit(&task).await;
        self.finish(&id).await
    }

    /// Converts the image of [`Stage::task`], which has to complete.
    pub(crate) async fn convert(&self) -> Task {
        let task = self.run(self.task()).await;
        assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
        task
    }

    /// Converts, one message after the other, until the task has ended; time passes where nothing else is to do.
    pub(crate) async fn finish(&self, id: &TaskId) -> Task {
        let converter = self.converter();
        for _ in 0..20 {
            self.settle_all(&converter).await;
            let task = self.get(id).await;
            if !task.state.is_live() {
                return task;
            }
            self.pass_time().await;
            let policy = RetryPolicy::default();
            accel_tasks::sweep(&*self.store, &*self.store, &policy, 100, Timestamp::now(), |_| ()).await.unwrap();
        }
        panic!("the task does not end: {:?}", self.get(id).await);
    }

    /// Admits `task`, which has to fan out, and lets so many workers do what there is.
    pub(crate) async fn share(&self, task: &Task, workers: usize) -> Task {
        let id = self.admit(task).await;
        assert!(self.settle_one(&self.converter()).await);
        assert_eq!(self.get(&id).await.state, State::FannedOut);
        self.settle_by(workers).await;
        self.get(&id).await
    }

    /// Lets so many workers settle every message that is visible.
    pub(crate) async fn settle_by(&self, workers: usize) {
        let converters: Vec<_> = (0..workers).map(|_| self.converter()).collect();
        futures::future::join_all(converters.iter().map(|converter| self.settle_all(converter))).await;
    }

    /// Settles every message that is visible.
    pub(crate) async fn settle_all(&self, converter: &Converter<Embedded, Embedded>) {
        while self.settle_one(converter).await {}
    }

    /// Settles the next message; whether there was one.
    pub(crate) async fn settle_one(&self, converter: &Converter<Embedded, Embedded>) -> bool {
        let Some(received) = self.store.receive(Duration::ZERO, VISIBILITY).await.unwrap() else { return false };
        let verdict = Box::pin(converter.settle(&received.message, &Stop::new())).await;
        assert_eq!(verdict, Verdict::Acknowledge);
        self.store.acknowledge(&received.receipt).await.unwrap();
        true
    }

    /// Lets all leases run out, and all waits: of tasks, by writing that they are over; of messages, by the queue's
    /// clock.
    pub(crate) async fn pass_time(&self) {
        let now = Timestamp::now();
        for task in self.tasks().await.into_iter().filter(|task| task.state.is_live()) {
            self.store.update(&task.id, now, |task| end_waits(&mut task.work, now)).await.unwrap();
            for unit in task.units() {
                self.store.update_unit(&unit, |unit| end_waits(&mut unit.work, now)).await.unwrap();
            }
        }
        self.clock.advance(LONG);
    }

    pub(crate) async fn get(&self, id: &TaskId) -> Task {
        self.store.get(id, Timestamp::now()).await.unwrap().unwrap()
    }

    /// Every task, newest first.
    pub(crate) async fn tasks(&self) -> Vec<Task> {
        self.store.list(&accel_tasks::ListQuery::default(), Timestamp::now()).await.unwrap().tasks
    }
}

/// Writes that waits and leases are over.
fn end_waits(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    work.not_before = work.not_before.map(|at| at.min(now));
    if let Some(lease) = &mut work.lease {
        lease.until = lease.until.min(now);
    }
    Ok(())
}
