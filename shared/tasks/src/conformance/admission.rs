//! Which events make tasks, and which join one.

use accel_domain::task::{NewTask, Shown, Start, State, Status, Task, TaskKind};
use accel_domain::{Attestations, EstargzOptions, FormatOptions, Output};
use futures::future::join_all;

use super::{
    DAY, Fixture, HOUR, MINUTE, admit, created, digest, fail, id, later, policy, push, push_of_own, read, run_and_fail,
    start, start_time,
};
use crate::{Admission, ListQuery, StoreError, TaskStore, enqueue};

fn joined(admission: &Admission) -> Option<&Task> {
    match admission {
        Admission::Created => None,
        Admission::Joined(task) => Some(task),
    }
}

pub async fn a_task_is_read_as_it_was_accepted(f: &impl Fixture) {
    let task = Task::new(NewTask { delivery: Some("d".to_owned()), ..push("a") }, start_time());
    assert_eq!(f.tasks().admit(&task).await.unwrap(), Admission::Created);
    assert_eq!(read(f.tasks(), &task.id).await, task);
    assert_eq!(f.tasks().live(&task.live_key()).await.unwrap(), Some(task.id));
}

pub async fn a_task_keeps_rule_options_and_target_as_they_were_accepted(f: &impl Fixture) {
    let options = EstargzOptions { level: 9, prefetch: vec!["/usr/sbin/*".to_owned()], ..EstargzOptions::default() };
    let output = Output {
        platforms: vec!["linux/arm64".parse().unwrap()],
        attestations: Attestations::Carry,
        subject: true,
        overwrite: true,
        adopt: true,
        ..Output::new(FormatOptions::Estargz(options))
    };
    let target = "i.example/mirror/app:1".parse().unwrap();
    let task = Task::new(NewTask { output, target, ..push("a") }, start_time());
    f.tasks().admit(&task).await.unwrap();
    assert_eq!(read(f.tasks(), &task.id).await, task);
}

pub async fn an_event_joins_a_queued_task_of_the_same_source_digest_and_rule(f: &impl Fixture) {
    let now = start_time();
    let first = created(f.tasks(), push("a"), now).await;
    let again = admit(f.tasks(), push("b"), later(now, MINUTE)).await;
    assert_eq!(joined(&again), Some(&read(f.tasks(), &first).await));
    assert_eq!(f.tasks().get(&id("b"), now).await.unwrap(), None);
    for other in [
        NewTask { rule_hash: digest("another rule"), ..push("c") },
        NewTask { digest: Some(digest("other content")), ..push("d") },
        NewTask { source: "h.example/p/app:2".parse().unwrap(), ..push("e") },
        NewTask { source: "h.example/q/app:1".parse().unwrap(), ..push("f") },
        NewTask { source: "i.example/p/app:1".parse().unwrap(), ..push("g") },
    ] {
        created(f.tasks(), other, now).await;
    }
}

pub async fn an_event_joins_a_running_task(f: &impl Fixture) {
    let now = start_time();
    let first = created(f.tasks(), push("a"), now).await;
    assert_eq!(start(f.tasks(), &first, "owner", now).await, Start::Run);
    let again = admit(f.tasks(), push("b"), now).await;
    assert_eq!(joined(&again).map(|task| (&task.id, task.state)), Some((&first, State::Running)));
}

pub async fn the_joined_task_tells_whether_its_message_was_sent(f: &impl Fixture) {
    let now = start_time();
    let task = Task::new(push("a"), now);
    let first = f.tasks().admit(&task).await.unwrap();
    assert_eq!(first.unsent(&task), Some(&task));
    let event = Task::new(push("b"), now);
    let again = f.tasks().admit(&event).await.unwrap();
    assert_eq!(again.unsent(&event).map(|task| &task.id), Some(&task.id));
    enqueue(f.tasks(), f.queue(), &task, std::time::Duration::ZERO, now).await.unwrap();
    let once_more = f.tasks().admit(&event).await.unwrap();
    assert_eq!((&once_more.task(&event).id, once_more.unsent(&event)), (&task.id, None));
}

pub async fn a_push_after_a_failure_makes_a_new_task(f: &impl Fixture) {
    let now = start_time();
    let first = created(f.tasks(), push("a"), now).await;
    run_and_fail(f.tasks(), &first, now).await;
    let second = created(f.tasks(), push("b"), now).await;
    assert_eq!(f.tasks().live(&read(f.tasks(), &second).await.live_key()).await.unwrap(), Some(second));
}

pub async fn the_same_delivery_is_joined_after_its_task_has_ended(f: &impl Fixture) {
    let now = start_time();
    let delivery = |name| NewTask { delivery: Some("delivery 1".to_owned()), ..push(name) };
    let first = created(f.tasks(), delivery("a"), now).await;
    run_and_fail(f.tasks(), &first, now).await;
    let again = admit(f.tasks(), delivery("b"), later(now, HOUR)).await;
    assert_eq!(joined(&again).map(|task| (&task.id, task.state)), Some((&first, State::Failed)));
    created(f.tasks(), NewTask { delivery: Some("delivery 2".to_owned()), ..push("c") }, now).await;
}

pub async fn the_same_delivery_under_another_rule_makes_a_task_of_its_own(f: &impl Fixture) {
    let now = start_time();
    let delivery =
        |name, rule| NewTask { delivery: Some("delivery 1".to_owned()), rule_hash: digest(rule), ..push(name) };
    created(f.tasks(), delivery("a", "one"), now).await;
    created(f.tasks(), delivery("b", "two"), now).await;
}

pub async fn pushes_of_a_then_b_then_a_make_three_tasks(f: &impl Fixture) {
    let now = start_time();
    let of = |name, content: &str| NewTask { digest: Some(digest(content)), ..push(name) };
    let first = created(f.tasks(), of("1", "a"), now).await;
    created(f.tasks(), of("2", "b"), now).await;
    run_and_fail(f.tasks(), &first, now).await;
    created(f.tasks(), of("3", "a"), now).await;
    assert_eq!(f.tasks().list(&ListQuery::default(), now).await.unwrap().tasks.len(), 3);
}

pub async fn a_deletion_does_not_join_a_conversion(f: &impl Fixture) {
    let now = start_time();
    let conversion = created(f.tasks(), push("a"), now).await;
    let deletion = created(f.tasks(), NewTask { kind: TaskKind::Delete, ..push("b") }, now).await;
    let key = read(f.tasks(), &deletion).await.live_key_as(TaskKind::Convert);
    assert_eq!(f.tasks().live(&key).await.unwrap(), Some(conversion));
}

pub async fn a_request_after_the_tag_was_resolved_makes_a_new_task(f: &impl Fixture) {
    let now = start_time();
    let request = |name| NewTask { digest: None, ..push(name) };
    let first = created(f.tasks(), request("a"), now).await;
    let again = admit(f.tasks(), request("b"), now).await;
    assert_eq!(joined(&again).map(|task| &task.id), Some(&first));
    start(f.tasks(), &first, "owner", now).await;
    let resolved =
        f.tasks().update(&first, now, |task| Ok(task.resolve("owner", 1, digest("content"))?)).await.unwrap().0;
    assert_eq!(f.tasks().live(&resolved.live_key()).await.unwrap(), Some(first.clone()));
    let push_of_digest = admit(f.tasks(), push("c"), now).await;
    assert_eq!(joined(&push_of_digest).map(|task| &task.id), Some(&first));
    created(f.tasks(), request("d"), now).await;
}

pub async fn a_task_that_resolves_to_the_digest_of_a_live_one_joins_it(f: &impl Fixture) {
    let now = start_time();
    let other = created(f.tasks(), push("a"), now).await;
    let task = created(f.tasks(), NewTask { digest: None, written: "h.example/p/app".into(), ..push("b") }, now).await;
    start(f.tasks(), &task, "owner", now).await;
    let taken = f.tasks().update(&task, now, |task| Ok(task.resolve("owner", 1, digest("content"))?)).await;
    assert!(matches!(&taken, Err(StoreError::KeyTaken(id)) if *id == other), "{taken:?}");
    assert_eq!(read(f.tasks(), &task).await.digest, None);
    let join = |task: &mut Task| Ok(task.join("owner", 1, other.clone(), &policy(), now)?);
    f.tasks().update(&task, now, join).await.unwrap();

    start(f.tasks(), &other, "another", now).await;
    fail(f.tasks(), &other, "another", now).await;
    let (task, other) = (read(f.tasks(), &task).await, read(f.tasks(), &other).await);
    assert_eq!((task.state, task.joined.as_ref()), (State::Joined, Some(&other.id)));
    let shown = Shown::through(&task, &other, now);
    assert_eq!((shown.id, shown.source.as_str()), (task.id.to_string(), "h.example/p/app"));
    assert_eq!((shown.status, shown.reason.as_str()), (Status::Failed, "no such image"));
}

pub async fn a_retry_does_not_take_the_key_of_a_live_task(f: &impl Fixture) {
    let now = start_time();
    let first = created(f.tasks(), push("a"), now).await;
    run_and_fail(f.tasks(), &first, now).await;
    let second = created(f.tasks(), push("b"), now).await;
    let retried = f.tasks().update(&first, now, |task| Ok(task.retry(now)?)).await;
    assert!(matches!(&retried, Err(StoreError::KeyTaken(id)) if *id == second), "{retried:?}");
    run_and_fail(f.tasks(), &second, now).await;
    f.tasks().update(&first, now, |task| Ok(task.retry(now)?)).await.unwrap();
    assert_eq!(f.tasks().live(&read(f.tasks(), &first).await.live_key()).await.unwrap(), Some(first));
}

pub async fn an_expired_task_is_not_shown_and_blocks_nothing(f: &impl Fixture) {
    let now = start_time();
    let delivery = |name| NewTask { delivery: Some("delivery".to_owned()), ..push(name) };
    let first = created(f.tasks(), delivery("a"), now).await;
    run_and_fail(f.tasks(), &first, now).await;
    let after = later(now, DAY);
    assert_eq!(f.tasks().get(&first, after).await.unwrap(), None);
    assert_eq!(f.tasks().list(&ListQuery::default(), after).await.unwrap().tasks, []);
    let second = created(f.tasks(), delivery("b"), after).await;
    let again = admit(f.tasks(), delivery("c"), after).await;
    assert_eq!(joined(&again).map(|task| &task.id), Some(&second));
}

pub async fn a_hundred_deliveries_at_once_make_one_task(f: &impl Fixture) {
    let now = start_time();
    let tasks: Vec<Task> = (0..100)
        .map(|n| Task::new(NewTask { delivery: Some("delivery".to_owned()), ..push(&n.to_string()) }, now))
        .collect();
    let admissions = join_all(tasks.iter().map(|task| f.tasks().admit(task))).await;
    let admissions: Vec<Admission> = admissions.into_iter().map(Result::unwrap).collect();
    let winners: Vec<&Task> =
        tasks.iter().zip(&admissions).filter(|(_, said)| **said == Admission::Created).map(|(task, _)| task).collect();
    assert_eq!(winners.len(), 1);
    for (task, admission) in tasks.iter().zip(&admissions) {
        assert_eq!(admission.task(task).id, winners[0].id);
    }
    assert_eq!(f.tasks().list(&ListQuery::default(), now).await.unwrap().tasks.len(), 1);
}

pub async fn of_many_writers_of_one_revision_one_wins(f: &impl Fixture) {
    let now = start_time();
    let task = read(f.tasks(), &created(f.tasks(), push("a"), now).await).await;
    let versions: Vec<Task> = (0..20).map(|n| Task { reason: n.to_string(), ..task.clone() }).collect();
    let outcomes = join_all(versions.iter().map(|version| f.tasks().replace(version))).await;
    let won: Vec<usize> = (0..20).filter(|n| outcomes[*n].is_ok()).collect();
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict))).count();
    assert_eq!((won.len(), lost), (1, 19));
    let stored = read(f.tasks(), &task.id).await;
    assert_eq!((stored.reason, stored.revision), (won[0].to_string(), task.revision + 1));
}

pub async fn updates_at_once_are_all_applied(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    let count = |task: &mut Task| {
        task.progress.layers_total += 1;
        Ok(())
    };
    let updates = join_all((0..10).map(|_| f.tasks().update(&id, now, count))).await;
    assert!(updates.iter().all(Result::is_ok));
    assert_eq!(read(f.tasks(), &id).await.progress.layers_total, 10);
}

pub async fn what_is_not_there_is_not_found(f: &impl Fixture) {
    let now = start_time();
    created(f.tasks(), push_of_own("a"), now).await;
    assert_eq!(f.tasks().get(&id("none"), now).await.unwrap(), None);
    let replaced = f.tasks().replace(&Task::new(push("none"), now)).await;
    assert!(matches!(&replaced, Err(StoreError::NotFound(missing)) if *missing == id("none")), "{replaced:?}");
    let updated = f.tasks().update(&id("none"), now, |_| Ok(())).await;
    assert!(matches!(updated, Err(StoreError::NotFound(_))), "{updated:?}");
    assert_eq!(f.tasks().live("no such key").await.unwrap(), None);
}
