//! The list of cases. Each has repositories of its own, so all of them share a front door and run at once.

mod answers;

mod control;
mod forms;
mod lists;
mod waits;

use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};

use crate::Target;

/// Cases that run at the same time.
const AT_ONCE: usize = 8;

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A case: what has to hold, and the code that finds out.
struct Case {
    name: &'static str,
    run: fn(Rc<Target>) -> Running,
}

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        [$(Case { name: stringify!($name), run: |target| Box::pin(async move { $module::$name(&target).await }) },)*]
    };
}

const CASES: [Case; 20] = cases![
    answers::requests_are_answered_as_the_table_says,
    answers::strangers_learn_nothing,
    answers::metrics_count_what_was_converted,
    forms::a_push_is_listed_and_converted,
    forms::every_form_of_event_is_understood,
    forms::an_event_without_a_digest_is_resolved,
    forms::the_same_event_three_times_is_one_task,
    forms::an_event_may_be_about_several_images,
    forms::a_deletion_removes_the_target,
    lists::rows_begin_as_acceld_s_do,
    lists::pages_lead_to_the_next_until_all_were_shown,
    lists::lists_are_filtered_by_status_and_source,
    lists::a_header_sees_what_it_covers,
    control::a_failed_task_runs_again,
    control::a_running_task_is_cancelled_and_never_run_twice,
    control::a_completed_task_cannot_be_cancelled,
    control::others_tasks_are_not_there,
    waits::who_waits_for_a_success_hears_ok,
    waits::who_waits_for_a_failure_hears_why,
    waits::who_does_not_wait_is_answered_at_once,
];

/// Runs every case. Fails, naming them, if some did not hold; what they missed is in the output.
pub async fn run(target: Target) {
    let broken: Vec<_> = LocalSet::new().run_until(run_all(Rc::new(target))).await;
    assert!(broken.is_empty(), "{} of {} cases do not hold: {broken:#?}", broken.len(), CASES.len());
}

/// The names of those that did not hold.
async fn run_all(target: Rc<Target>) -> Vec<&'static str> {
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let begun = CASES.map(|Case { name, run }| {
        let (target, places) = (Rc::clone(&target), Rc::clone(&places));
        let running = spawn_local(async move {
            let _place = places.acquire().await.unwrap();
            run(target).await;
        });
        (name, running)
    });
    let mut broken = Vec::new();
    for (name, running) in begun {
        if running.await.is_err() {
            broken.push(name);
        }
    }
    broken
}
