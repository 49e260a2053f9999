//! The suite that every store, queue and layer cache has to pass: the contract of tasks, a case a sentence.
//!
//! An implementation gives an empty [`Fixture`] for each case and calls [`crate::conformance!`] with the function that
//! makes it.
#![allow(clippy::unwrap_used, reason = "the suite runs in tests only")]
#![allow(missing_docs, reason = "the names of the cases are the sentences")]

pub mod admission;
pub mod fan_out;
pub mod layers;
pub mod lease;
pub mod list;
pub mod outcome;
pub mod queue;
pub mod sweeper;
pub mod target;
pub mod units;

use std::future::Future;
use std::time::Duration;

use accel_domain::task::{
    Lease, NewTask, Next, Phase, Progress, RetryPolicy, Start, State, Task, TaskId, TaskKind, Unit, UnitKey,
};
use accel_domain::{Format, Output, Retry, Timestamp};
use accel_image::Digest;

use crate::{Admission, LayerCache, StoreError, Swept, TaskQueue, TaskStore, start_unit, sweep};

/// An empty store, queue and cache, and the time of the queue.
pub trait Fixture: Sync {
    /// The store.
    type Tasks: TaskStore;
    /// The queue.
    type Queue: TaskQueue;
    /// The cache.
    type Layers: LayerCache;

    /// The store.
    fn tasks(&self) -> &Self::Tasks;
    /// The queue.
    fn queue(&self) -> &Self::Queue;
    /// The cache.
    fn layers(&self) -> &Self::Layers;
    /// Returns when so much of the queue's time has passed: whole seconds.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// One test for each case, on what `$make`, an async function in scope, gives. `$attribute` goes with each of them:
/// `conformance!(make, ignore = "needs a server")`.
#[macro_export]
macro_rules! conformance {
    ($make:ident $(, $attribute:meta)?) => {
        $crate::conformance!(@cases $make [$($attribute)?] admission
            a_task_is_read_as_it_was_accepted
            a_task_keeps_rule_options_and_target_as_they_were_accepted
            an_event_joins_a_queued_task_of_the_same_source_digest_and_rule
            an_event_joins_a_running_task
            the_joined_task_tells_whether_its_message_was_sent
            a_push_after_a_failure_makes_a_new_task
            the_same_delivery_is_joined_after_its_task_has_ended
            the_same_delivery_under_another_rule_makes_a_task_of_its_own
            pushes_of_a_then_b_then_a_make_three_tasks
            a_deletion_does_not_join_a_conversion
            a_request_after_the_tag_was_resolved_makes_a_new_task
            a_task_that_resolves_to_the_digest_of_a_live_one_joins_it
            a_retry_does_not_take_the_key_of_a_live_task
            an_expired_task_is_not_shown_and_blocks_nothing
            a_hundred_deliveries_at_once_make_one_task
            of_many_writers_of_one_revision_one_wins
            updates_at_once_are_all_applied
            what_is_not_there_is_not_found
        );
        $crate::conformance!(@cases $make [$($attribute)?] lease
            a_lease_keeps_others_out_for_a_minute
            a_renewal_prolongs_the_lease_and_stores_progress
            an_owner_that_lost_its_lease_changes_nothing
            an_expired_lease_without_a_finished_layer_uses_an_attempt
            an_expired_lease_with_a_finished_layer_uses_none
            finding_again_what_was_finished_before_is_no_progress
            a_task_out_of_attempts_is_failed_by_the_next_message
            a_renewal_sees_that_the_task_is_to_be_cancelled
            a_task_that_nobody_runs_is_cancelled_at_once
            a_cancelled_task_whose_owner_died_ends_at_the_next_message
            a_retry_raises_the_generation_and_voids_older_messages
            a_running_task_is_not_retried
        );
        $crate::conformance!(@cases $make [$($attribute)?] outcome
            a_transient_end_frees_the_lease_and_says_when_in_one_write
            the_waits_are_15_s_then_1_5_and_15_min_and_the_fifth_attempt_is_the_last
            attempts_are_configurable
            a_wait_over_15_min_lies_in_the_table
            a_task_waits_until_its_time
            throttling_uses_no_attempt_and_ends_after_a_day
            a_pending_scan_uses_no_attempt_and_ends_after_a_day
            an_interruption_uses_no_attempt_and_asks_for_the_next_part
            an_interruption_stores_how_far_the_task_is
            two_invocations_in_a_row_that_finish_nothing_fail_the_task_with_the_way_out
            a_completed_task_keeps_sizes_digest_and_reason
            a_note_of_an_older_message_does_not_hide_that_the_task_waits
        );
        $crate::conformance!(@cases $make [$($attribute)?] sweeper
            a_task_never_enqueued_is_sent_after_two_minutes
            a_task_that_was_enqueued_is_left_alone_however_old
            a_task_is_sent_when_its_wait_is_over
            a_task_whose_lease_expired_is_sent_once
            a_task_older_than_the_queues_retention_is_sent_again
            a_task_out_of_attempts_is_failed_with_the_last_reason
            a_round_with_an_error_tells_of_every_task_that_it_has_failed
            a_running_task_and_an_ended_one_are_left_alone
            at_most_so_many_tasks_are_swept_at_once
            a_task_whose_sender_died_is_run_in_the_end
        );
        $crate::conformance!(@cases $make [$($attribute)?] fan_out
            a_task_fans_out_in_one_write_that_frees_its_lease
            a_fanned_out_task_is_live_and_shown_as_processing
            a_layer_message_is_received_as_it_was_sent
            the_tasks_own_message_is_void_while_its_units_are_done
            a_finished_unit_is_in_the_set_and_in_the_progress_of_its_task
            adding_a_finished_unit_again_changes_nothing
            a_message_of_a_finished_unit_is_void
            units_that_finish_at_once_are_all_in_the_set_and_the_last_one_sends_the_assembly
            the_assembly_takes_the_tasks_lease
            a_permanent_error_of_a_unit_fails_the_task_and_voids_its_other_units
            a_finished_unit_does_not_fail_its_task
            a_fanned_out_task_is_cancelled_at_once_and_its_units_stop
            a_retry_voids_the_units_of_the_generation_before
            a_retried_task_fans_out_into_units_of_their_own
            a_crash_after_each_write_of_a_fan_out_leaves_something_that_the_sweeper_finds
        );
        $crate::conformance!(@cases $make [$($attribute)?] units
            a_layer_message_takes_the_lease_of_its_unit_never_the_tasks
            a_lease_of_a_unit_keeps_others_out_for_a_minute
            a_renewal_prolongs_the_lease_of_its_unit
            an_owner_that_lost_a_unit_changes_nothing
            attempts_are_counted_per_unit
            an_expired_lease_uses_an_attempt_of_its_unit
            a_transient_end_of_a_unit_frees_its_lease_and_says_when_in_one_write
            a_unit_held_back_by_its_registry_uses_no_attempt_and_lies_in_the_table
            a_unit_out_of_attempts_fails_its_task_with_the_last_reason
            two_invocations_in_a_row_that_do_not_finish_a_unit_fail_its_task_with_the_way_out
            of_many_who_begin_a_unit_one_runs_it
            of_many_writers_of_one_revision_of_a_unit_one_wins
            a_unit_is_found_only_under_its_exact_key
            a_unit_never_sent_is_sent_after_two_minutes
            a_unit_that_is_finished_leased_or_waits_is_left_alone
            a_unit_whose_lease_expired_is_sent_once
            a_unit_older_than_the_queues_retention_is_sent_again
            an_assembly_that_was_never_sent_is_sent
            a_unit_that_nobody_is_left_to_give_up_fails_its_task
            at_most_so_many_units_are_swept_at_once
        );
        $crate::conformance!(@cases $make [$($attribute)?] list
            tasks_are_listed_newest_first
            a_page_has_a_thousand_rows_at_most
            a_cursor_is_not_disturbed_by_new_tasks_or_expired_ones
            a_cursor_that_no_list_gave_is_refused
            a_list_filters_by_status
            a_list_filters_by_source_as_written_and_in_full
            a_list_shows_only_what_lies_under_the_visible_prefixes
            a_joined_task_is_listed_by_the_state_of_the_other
            finished_tasks_are_kept_for_their_retention
            the_retention_of_finished_tasks_is_a_parameter
            what_has_expired_is_not_listed_and_frees_its_key
            the_store_can_be_checked
        );
        $crate::conformance!(@cases $make [$($attribute)?] target
            a_target_has_one_owner_at_a_time
            an_owner_renews_its_target
            the_lease_of_a_target_expires
            only_the_owner_releases_a_target
            targets_do_not_touch_each_other
            of_many_who_want_a_target_one_gets_it
        );
        $crate::conformance!(@cases $make [$($attribute)?] queue
            a_message_is_received_as_it_was_sent
            a_received_message_is_invisible_while_it_is_held
            a_message_that_is_not_acknowledged_comes_back_and_is_counted
            an_acknowledged_message_never_comes_back
            a_delayed_message_is_invisible_until_its_time
            a_kept_message_stays_invisible
            a_kept_message_may_be_given_back_at_once
            a_stale_receipt_is_harmless
            a_receiver_is_woken_by_a_message
            a_receiver_waits_no_longer_than_it_says
            every_message_goes_to_one_of_many_receivers
        );
        $crate::conformance!(@cases $make [$($attribute)?] layers
            a_layer_is_found_as_it_was_remembered
            a_layer_is_found_only_under_its_exact_key
            a_later_record_replaces_an_earlier_one
            a_forgotten_layer_is_not_found
            a_layer_is_forgotten_90_days_after_its_last_use
            a_find_is_a_use
            a_layer_is_kept_to_the_last_second
        );
    };
    (@cases $make:ident $attribute:tt $part:ident $($case:ident)*) => {
        mod $part {
            $($crate::conformance!(@case $make $attribute $part $case);)*
        }
    };
    (@case $make:ident [$($attribute:meta)?] $part:ident $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])?
        async fn $case() {
            let fixture = super::$make().await;
            $crate::conformance::$part::$case(&fixture).await;
        }
    };
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The time at which cases begin. The wall clock's, so that a store with an expiry of its own has nothing to remove.
pub(crate) fn start_time() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap()
}

pub(crate) fn policy() -> RetryPolicy {
    RetryPolicy::default()
}

/// The id that cases call `name`.
pub(crate) fn id(name: &str) -> TaskId {
    let hex = Digest::of(name.as_bytes()).hex();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
    parts.join("-").parse().unwrap()
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A push of `h.example/p/app:1`, always the same digest and rule, by no named delivery.
pub(crate) fn push(name: &str) -> NewTask {
    NewTask {
        id: id(name),
        kind: TaskKind::Convert,
        written: "h.example/p/app:1".to_owned(),
        source: "h.example/p/app:1".parse().unwrap(),
        digest: Some(digest("content")),
        target: "h.example/p/app:1-esgz".parse().unwrap(),
        output: Output::new(Format::Estargz.default_options()),
        rule_hash: digest("rule"),
        delivery: None,
    }
}

/// A push of an image of its own.
pub(crate) fn push_of_own(name: &str) -> NewTask {
    NewTask { digest: Some(digest(name)), ..push(name) }
}

pub(crate) async fn admit(store: &impl TaskStore, new: NewTask, now: Timestamp) -> Admission {
    store.admit(&Task::new(new, now)).await.unwrap()
}

/// Admits what has to be a new task.
pub(crate) async fn created(store: &impl TaskStore, new: NewTask, now: Timestamp) -> TaskId {
    let id = new.id.clone();
    assert_eq!(admit(store, new, now).await, Admission::Created);
    id
}

/// The task as it is, expired or not.
pub(crate) async fn read(store: &impl TaskStore, id: &TaskId) -> Task {
    store.get(id, Timestamp::MIN).await.unwrap().expect("the task is there")
}

/// `owner` has received a message of the task's first generation.
pub(crate) async fn start(store: &impl TaskStore, id: &TaskId, owner: &str, now: Timestamp) -> Start {
    store.update(id, now, |task| Ok(task.start(1, owner, &policy(), now))).await.unwrap().1
}

async fn renew(
    store: &impl TaskStore,
    id: &TaskId,
    owner: &str,
    layers: u32,
    now: Timestamp,
) -> Result<accel_domain::task::Renewal, StoreError> {
    let progress = Progress { layers_total: 10, layers_converted: layers, ..Progress::default() };
    let renewed = store.update(id, now, |task| Ok(task.renew(owner, 1, (Phase::Convert, progress), now)?)).await;
    renewed.map(|(_, renewal)| renewal)
}

/// One round of the sweeper, in which nothing goes wrong.
async fn swept(f: &impl Fixture, limit: usize, now: Timestamp) -> Swept {
    sweep(f.tasks(), f.queue(), &policy(), limit, now, |_| ()).await.unwrap()
}

/// The owner of the running task says that it cannot succeed.
async fn fail(store: &impl TaskStore, id: &TaskId, owner: &str, now: Timestamp) {
    store.update(id, now, |task| Ok(task.fail(owner, 1, "no such image", &policy(), now)?)).await.unwrap();
}

/// Runs the task and fails it.
pub(crate) async fn run_and_fail(store: &impl TaskStore, id: &TaskId, now: Timestamp) {
    assert_eq!(start(store, id, "a", now).await, Start::Run);
    fail(store, id, "a", now).await;
    assert_eq!(read(store, id).await.state, State::Failed);
}

fn lease_end(task: &Task) -> Option<Timestamp> {
    task.work.lease.as_ref().map(|lease: &Lease| lease.until)
}

/// A task of the first generation that waits for these units.
pub(crate) async fn fanned_out(store: &impl TaskStore, new: NewTask, units: &[&str], now: Timestamp) -> TaskId {
    let id = created(store, new, now).await;
    assert_eq!(start(store, &id, "a", now).await, Start::Run);
    let units = || units.iter().map(|name| digest(name)).collect();
    let fan_out = |task: &mut Task| Ok(task.fan_out("a", 1, units(), &policy(), now)?);
    assert_eq!(store.update(&id, now, fan_out).await.unwrap().1, Next::Units);
    id
}

/// The unit of the layer that cases call `name`, of the first generation.
pub(crate) fn unit_key(task: &TaskId, name: &str) -> UnitKey {
    UnitKey { task: task.clone(), generation: 1, layer: digest(name) }
}

/// Runs the unit and ends the attempt by `retry`.
async fn end_unit(f: &impl Fixture, key: &UnitKey, retry: Retry, now: Timestamp) -> Next {
    let begun = start_unit(f.tasks(), key, "a", &policy(), now).await.unwrap().unwrap();
    assert_eq!(begun.start, Start::Run);
    let end = |unit: &mut Unit| Ok(unit.retry_later("a", retry, "the last reason", &policy(), now)?);
    f.tasks().update_unit(&begun.unit, end).await.unwrap().1
}
