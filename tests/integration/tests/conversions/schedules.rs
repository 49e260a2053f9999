//! Workers that want one target tag, in every order in which the registry can see what they ask: the newest push has the
//! last word, whoever was slow.
//!
//! Workers run one at a time, from one request about the source tag or the target tag to their next; a schedule says
//! whose turn it is. All schedules are found by running one, and going back to its last choice that had another.

use std::collections::BTreeSet;
use std::time::Duration;

use accel_converter::Verdict;
use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, State, Task, TaskKind};
use accel_image::Digest;
use accel_pipeline::Stop;
use accel_tasks::{Message, TaskStore};
use accel_test_support::{Fault, Held, ImageBuilder, Request, Rule};
use tokio::task::JoinHandle;

use crate::picture::{made_of, small};
use crate::scenes::SOURCE;
use crate::stage::{APP, Stage, default_output};

const TARGET: &str = "library/app:1-esgz";
/// Whoever moves or deletes a tag alone asks this often: about the source, about the target, and once more.
const FEWEST_HELD: usize = 3;

/// What happens, each thing at a time that the schedule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happens {
    /// An image is pushed, and its task begins.
    Push(Pushed),
    /// A task begins for what was pushed before.
    Late(Pushed),
    /// The lease of every task runs out, and another worker takes the first task.
    TakenOver,
    /// The source tag is deleted, and the task that deletes its target begins.
    Delete,
}

/// Which image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pushed {
    One,
    Other,
}

/// A worker on its task.
struct Worker {
    running: JoinHandle<()>,
    /// The request that waits for its turn; `None` once the worker is done.
    held: Option<Held>,
}

/// A store and a registry in which both images have been converted before, so that all that is left to do is to move
/// the tag.
struct Track {
    stage: Stage,
    images: [ImageBuilder; 2],
    workers: Vec<Worker>,
    first: Option<Task>,
}

impl Track {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let images = [2, 77].map(|top| ImageBuilder::new().layer(&small(1)).layer(&small(top)));
        for (image, tag) in std::iter::zip(&images, ["one", "other"]) {
            image.push(stage.content(), APP, Some(tag));
            let name = format!("{APP}:{tag}");
            let task = stage.run(stage.task_of(&name, &format!("{name}-esgz"), default_output())).await;
            assert_eq!(task.state, State::Completed);
        }
        Self { stage, images, workers: Vec::new(), first: None }
    }

    /// The first image under the source tag, nothing under the target tag, and nothing to do.
    async fn reset(&mut self) {
        let (days, now) = (Duration::from_secs(3 * 24 * 3600), Timestamp::now());
        self.stage.store.purge(now.checked_add(days).unwrap()).await.unwrap();
        assert_eq!(self.stage.tasks().await, []);
        self.stage.content().remove_manifest(APP, "1-esgz");
        self.push(Pushed::One);
        self.stage.registry.forget_requests();
        (self.workers, self.first) = (Vec::new(), None);
        let about_the_tags = [
            Rule::on(Request::ManifestHead, Fault::Held).path("/manifests/1"),
            Rule::on(Request::ManifestGet, Fault::Held).path("/manifests/1-esgz"),
            Rule::on(Request::ManifestPut, Fault::Held).path("/manifests/1-esgz"),
            Rule::on(Request::ManifestDelete, Fault::Held),
        ];
        about_the_tags.into_iter().for_each(|rule| self.stage.registry.rule(rule));
    }

    fn push(&self, which: Pushed) -> Digest {
        self.images[which as usize].push(self.stage.content(), APP, Some("1")).manifest.digest
    }

    fn task(&self, kind: TaskKind, digest: Option<Digest>) -> Task {
        self.stage.any_task(kind, SOURCE, digest, self.stage.reference(TARGET), default_output())
    }

    /// Begins `task`, or the one that stands for it.
    async fn begin(&mut self, task: Task) {
        let id = self.stage.admit(&task).await;
        let task = self.stage.get(&id).await;
        self.work(&task).await;
        self.first.get_or_insert(task);
    }

    /// What the webhook does with the conversions of a source that was deleted.
    async fn cancel_all(&self) {
        let (policy, now) = (RetryPolicy::default(), Timestamp::now());
        for task in self.stage.tasks().await.into_iter().filter(|task| task.state.is_live()) {
            self.stage.store.update(&task.id, now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
        }
    }

    async fn work(&mut self, task: &Task) {
        let (converter, message) = (self.stage.converter(), Message::from(task));
        let running = tokio::spawn(async move {
            assert_eq!(converter.settle(&message, &Stop::new()).await, Verdict::Acknowledge);
        });
        self.workers.push(Worker { running, held: None });
        self.until_next_request(self.workers.len() - 1).await;
    }

    /// Waits until a worker, which alone runs, asks something about the tags, or is done.
    async fn until_next_request(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        worker.held = tokio::select! {
            held = self.stage.registry.held() => Some(held),
            done = &mut worker.running => { done.unwrap(); None }
        };
    }

    async fn happen(&mut self, what: Happens) {
        match what {
            Happens::Push(which) => {
                let digest = self.push(which);
                self.begin(self.task(TaskKind::Convert, Some(digest))).await;
            }
            Happens::Late(which) => {
                let digest = self.images[which as usize].push(self.stage.content(), APP, None).manifest.digest;
                self.begin(self.task(TaskKind::Convert, Some(digest))).await;
            }
            Happens::TakenOver => {
                self.stage.pass_time().await;
                let first = self.first.clone().unwrap();
                self.work(&first).await;
            }
            Happens::Delete => {
                let digest = self.stage.content().remove_manifest(APP, "1").map(|stored| stored.digest);
                self.cancel_all().await;
                self.begin(self.task(TaskKind::Delete, digest)).await;
            }
        }
    }

    /// Lets everything that was put off be done.
    async fn settle(&mut self) -> Vec<Task> {
        self.stage.registry.clear_rules();
        let converter = self.stage.converter();
        for _ in 0..20 {
            self.stage.settle_all(&converter).await;
            let tasks = self.stage.tasks().await;
            if tasks.iter().all(|task| !task.state.is_live()) {
                return tasks;
            }
            self.stage.pass_time().await;
        }
        panic!("the tasks do not end: {:?}", self.stage.tasks().await);
    }
}

/// One schedule: which of the possible choices was made at each step, and how many there were.
type Schedule = Vec<(usize, usize)>;

/// The schedule after this one, if it is not the last.
fn next(mut schedule: Schedule) -> Option<Vec<usize>> {
    while let Some((choice, choices)) = schedule.pop() {
        if choice + 1 < choices {
            let before = schedule.into_iter().map(|(choice, _)| choice);
            return Some(before.chain([choice + 1]).collect());
        }
    }
    None
}

/// Runs `script` as `choices` say, and then with the first choice each time.
async fn run(track: &mut Track, script: &[Happens], choices: &mut dyn FnMut(usize, usize) -> usize) -> Schedule {
    let mut schedule = Schedule::new();
    let mut script = script.iter();
    loop {
        let waiting: Vec<usize> = (0..track.workers.len()).filter(|at| track.workers[*at].held.is_some()).collect();
        let possible = waiting.len() + usize::from(script.len() > 0);
        if possible == 0 {
            return schedule;
        }
        let choice = choices(schedule.len(), possible);
        schedule.push((choice, possible));
        match waiting.get(choice) {
            Some(&at) => {
                track.workers[at].held.take().unwrap().go();
                track.until_next_request(at).await;
            }
            None => track.happen(*script.next().unwrap()).await,
        }
    }
}

/// Runs one schedule from the beginning to the very end, and judges it. Each has held requests: without those there is
/// no order.
async fn judged(track: &mut Track, script: &[Happens], mut choices: impl FnMut(usize, usize) -> usize) -> Schedule {
    track.reset().await;
    let schedule = run(track, script, &mut choices).await;
    let tasks = track.settle().await;
    let what = format!("{script:?} {:?}", schedule.iter().map(|(choice, _)| choice).collect::<Vec<_>>());
    let held = schedule.len() - script.len();
    assert!(held >= FEWEST_HELD, "{what}: {held} requests were held");
    let well = [State::Completed, State::AlreadyAccelerated, State::Superseded, State::Cancelled];
    assert!(tasks.iter().all(|task| well.contains(&task.state)), "{what}: {tasks:#?}");
    assert!(tasks.iter().all(|task| task.work.attempts == 0 || script.contains(&Happens::TakenOver)), "{what}");
    track.stage.assert_no_tag_was_incomplete(&what);
    match track.stage.digest(SOURCE) {
        Some(newest) => {
            let target = track.stage.manifest(APP, "1-esgz");
            assert_eq!(made_of(&target.annotations), newest, "{what}: the stale one has won");
        }
        None => assert_eq!(track.stage.digest(TARGET), None, "{what}: the target outlived its source"),
    }
    schedule
}

/// Runs every schedule; how many there are.
async fn explore(script: &[Happens]) -> usize {
    let mut track = Track::new().await;
    let (mut count, mut begin) = (0, Some(Vec::new()));
    while let Some(beginning) = begin {
        let schedule = judged(&mut track, script, |step, _| beginning.get(step).copied().unwrap_or(0)).await;
        count += 1;
        begin = next(schedule);
    }
    count
}

/// Runs `count` schedules, the same choices each time, of which so many have to be different.
async fn sample(script: &[Happens], count: u64, at_least: usize) {
    let mut track = Track::new().await;
    let mut orders = BTreeSet::new();
    for seed in 0..count {
        let mut random = fastrand::Rng::with_seed(seed);
        orders.insert(judged(&mut track, script, |_, possible| random.usize(..possible)).await);
    }
    assert!(orders.len() >= at_least, "{script:?}: only {} orders", orders.len());
}

const TWO_PUSHES: &[Happens] = &[Happens::Push(Pushed::One), Happens::Push(Pushed::Other)];
const LATE: &[Happens] = &[Happens::Push(Pushed::Other), Happens::Late(Pushed::One)];
const TAKEN_OVER: &[Happens] = &[Happens::Push(Pushed::One), Happens::TakenOver];
const DELETED: &[Happens] = &[Happens::Push(Pushed::One), Happens::Delete];
const BACK_AND_FORTH: &[Happens] =
    &[Happens::Push(Pushed::One), Happens::Push(Pushed::Other), Happens::Push(Pushed::One)];

#[tokio::test]
async fn of_two_pushes_the_newer_has_the_last_word_in_any_order() {
    sample(TWO_PUSHES, 40, 20).await;
    sample(LATE, 40, 25).await;
}

#[tokio::test]
async fn two_workers_on_one_task_leave_one_right_target_in_any_order() {
    sample(TAKEN_OVER, 40, 20).await;
}

#[tokio::test]
async fn a_target_does_not_outlive_its_source_in_any_order() {
    sample(DELETED, 40, 8).await;
}

#[tokio::test]
async fn of_three_pushes_the_last_has_the_last_word_in_any_order() {
    sample(BACK_AND_FORTH, 40, 35).await;
}

#[tokio::test]
#[ignore = "takes minutes: just reliability"]
async fn every_order_is_right() {
    for (name, script, orders) in [
        ("two pushes", TWO_PUSHES, 58),
        ("a late event", LATE, 84),
        ("a lease that runs out", TAKEN_OVER, 60),
        ("a deletion", DELETED, 10),
        ("three pushes", BACK_AND_FORTH, 1000),
    ] {
        let count = explore(script).await;
        assert!(count >= orders, "{name}: only {count} orders");
        println!("reliability: {name}: {count} orders, all of them");
    }
}
