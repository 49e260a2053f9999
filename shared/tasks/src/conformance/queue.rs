//! The queue: at least once, and not to two at a time while it is held.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{join, join_all};

use super::{Fixture, id};
use crate::{Message, Received, TaskQueue};

/// How long a case waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);
const SECONDS_3: Duration = Duration::from_secs(3);
const SECONDS_30: Duration = Duration::from_secs(30);

fn message(name: &str) -> Message {
    Message { task: id(name), generation: 3, part: 2, layer: None }
}

async fn receive(f: &impl Fixture, visibility: Duration) -> Received {
    f.queue().receive(PATIENCE, visibility).await.unwrap().expect("a message is visible")
}

async fn is_empty(f: &impl Fixture) -> bool {
    f.queue().receive(Duration::ZERO, SECONDS_3).await.unwrap().is_none()
}

async fn send(f: &impl Fixture, name: &str, delay: Duration) {
    f.queue().send(&message(name), delay).await.unwrap();
}

pub async fn a_message_is_received_as_it_was_sent(f: &impl Fixture) {
    assert!(is_empty(f).await);
    send(f, "a", Duration::ZERO).await;
    let received = receive(f, SECONDS_30).await;
    assert_eq!((received.message, received.receives), (message("a"), 1));
}

pub async fn a_received_message_is_invisible_while_it_is_held(f: &impl Fixture) {
    send(f, "a", Duration::ZERO).await;
    receive(f, SECONDS_30).await;
    assert!(is_empty(f).await);
    f.pass(SECONDS_3).await;
    assert!(is_empty(f).await);
}

pub async fn a_message_that_is_not_acknowledged_comes_back_and_is_counted(f: &impl Fixture) {
    send(f, "a", Duration::ZERO).await;
    for receives in 1..4 {
        let received = receive(f, SECONDS_3).await;
        assert_eq!((received.message, received.receives), (message("a"), receives));
        f.pass(SECONDS_3).await;
    }
}

pub async fn an_acknowledged_message_never_comes_back(f: &impl Fixture) {
    send(f, "a", Duration::ZERO).await;
    let received = receive(f, SECONDS_3).await;
    f.queue().acknowledge(&received.receipt).await.unwrap();
    f.pass(2 * SECONDS_3).await;
    assert!(is_empty(f).await);
    f.queue().acknowledge(&received.receipt).await.unwrap();
}

pub async fn a_delayed_message_is_invisible_until_its_time(f: &impl Fixture) {
    send(f, "a", SECONDS_3).await;
    assert!(is_empty(f).await);
    f.pass(SECONDS_3).await;
    assert_eq!(receive(f, SECONDS_3).await.message, message("a"));
}

pub async fn a_kept_message_stays_invisible(f: &impl Fixture) {
    send(f, "a", Duration::ZERO).await;
    let received = receive(f, SECONDS_3).await;
    f.queue().keep(&received.receipt, SECONDS_30).await.unwrap();
    f.pass(2 * SECONDS_3).await;
    assert!(is_empty(f).await);
    f.queue().acknowledge(&received.receipt).await.unwrap();
}

pub async fn a_kept_message_may_be_given_back_at_once(f: &impl Fixture) {
    send(f, "a", Duration::ZERO).await;
    let received = receive(f, SECONDS_30).await;
    f.queue().keep(&received.receipt, Duration::ZERO).await.unwrap();
    assert_eq!(receive(f, SECONDS_30).await.receives, 2);
}

pub async fn a_stale_receipt_is_harmless(f: &impl Fixture) {
    send(f, "a", Duration::ZERO).await;
    let first = receive(f, SECONDS_3).await;
    f.pass(SECONDS_3).await;
    let second = receive(f, SECONDS_30).await;
    // The message may go with either receipt, or stay until its own; the second holder's acknowledgement settles it.
    f.queue().acknowledge(&first.receipt).await.unwrap();
    f.queue().acknowledge(&second.receipt).await.unwrap();
    f.queue().acknowledge(&first.receipt).await.unwrap();
    f.pass(SECONDS_30).await;
    assert!(is_empty(f).await);
}

pub async fn a_receiver_is_woken_by_a_message(f: &impl Fixture) {
    let (received, ()) = join(receive(f, SECONDS_30), send(f, "a", Duration::ZERO)).await;
    assert_eq!(received.message, message("a"));
}

pub async fn a_receiver_waits_no_longer_than_it_says(f: &impl Fixture) {
    let waiting = f.queue().receive(SECONDS_3, SECONDS_3);
    let (received, ()) = join(waiting, f.pass(SECONDS_3)).await;
    assert_eq!(received.unwrap(), None);
}

pub async fn every_message_goes_to_one_of_many_receivers(f: &impl Fixture) {
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let sent = join_all(names.iter().map(|name| send(f, name, Duration::ZERO)));
    let received = join_all(names.iter().map(|_| receive(f, SECONDS_30)));
    let (_, received) = join(sent, received).await;
    let tasks: BTreeSet<_> = received.iter().map(|received| received.message.task.clone()).collect();
    assert_eq!(tasks, names.iter().map(|name| id(name)).collect());
    for received in &received {
        f.queue().acknowledge(&received.receipt).await.unwrap();
    }
    assert!(is_empty(f).await);
}
