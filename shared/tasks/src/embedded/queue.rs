//! The queue: messages by the time when they become visible. Times are those of the store's own clock.

use std::time::Duration;

use accel_domain::task::LONGEST_DELAY;
use accel_domain::{Task, Timestamp};
use redb::ReadableTable;

use super::Embedded;
use super::clock::later;
use super::file::{Fault, StoreFile};
use super::record::QueuedMessage;
use super::tables::{self, Tables, load, load_message};
use crate::{Message, Received, StoreError, TaskQueue};

impl TaskQueue for Embedded {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        let queued = QueuedMessage {
            id: self.next_message_id(),
            message: message.clone(),
            visible: later(now, delay.min(LONGEST_DELAY)),
            receives: 0,
            held: false,
        };
        self.write(move |tables| {
            // Read before anything is written: damage to the task breaks no other write of the commit.
            let noted = noted(tables, &queued.message, now)?;
            tables.put_message(None, &queued)?;
            noted.map_or(Ok(()), |(before, task)| tables.put_task(Some(&before), &task))
        })
        .await?;
        self.announce();
        Ok(())
    }

    async fn receive(&self, wait: Duration, visibility: Duration) -> Result<Option<Received>, StoreError> {
        let clock = &self.0.clock;
        let until = later(clock.now(), wait);
        // Before the first look, so that no arrival after it is missed.
        let mut arrivals = self.0.arrivals.subscribe();
        loop {
            let next = self.read(|view| first_visible(&view.table(tables::VISIBLE)?)).await?;
            let now = clock.now();
            if next.is_some_and(|(visible, _)| visible <= now.as_nanosecond()) {
                let hidden_until = later(now, visibility);
                if let Some(received) = self.write(move |tables| take(tables, now, hidden_until)).await? {
                    return Ok(Some(received));
                }
                continue;
            }
            if now >= until {
                return Ok(None);
            }
            let next = next.and_then(|(visible, _)| Timestamp::from_nanosecond(visible).ok());
            tokio::select! {
                changed = arrivals.changed() => changed.map_err(|_| StoreError::Unavailable("the store is closed".into()))?,
                () = clock.sleep_until(next.map_or(until, |next| next.min(until))) => {}
            }
        }
    }

    async fn acknowledge(&self, receipt: &str) -> Result<(), StoreError> {
        let Some(receipt) = Receipt::parse(receipt) else { return Ok(()) };
        self.write(move |tables| match receipt.message(tables)? {
            Some(message) => tables.remove_message(&message),
            None => Ok(()),
        })
        .await
    }

    async fn keep(&self, receipt: &str, visibility: Duration) -> Result<(), StoreError> {
        let Some(receipt) = Receipt::parse(receipt) else { return Ok(()) };
        let visible = later(self.0.clock.now(), visibility);
        self.write(move |tables| match receipt.message(tables)? {
            Some(message) => tables.put_message(Some(&message), &QueuedMessage { visible, ..message.clone() }),
            None => Ok(()),
        })
        .await?;
        self.announce();
        Ok(())
    }
}

/// The task of `message` as it is, and with the note that its message was sent: in the commit that sends it, so that an
/// event costs two commits and not three. `None` if there is nothing to note.
fn noted(tables: &Tables<'_>, message: &Message, now: Timestamp) -> Result<Option<(Task, Task)>, Fault> {
    if message.layer.is_some() {
        return Ok(None); // a unit's, which may not be written yet
    }
    let Some(before) = load::<Task>(&tables.tasks, &message.task.to_string())? else { return Ok(None) };
    let mut task = before.clone();
    task.sent(message.generation, message.part, now);
    if task == before {
        return Ok(None);
    }
    task.revision += 1;
    Ok(Some((before, task)))
}

impl Embedded {
    /// Wakes those who wait for a message.
    fn announce(&self) {
        self.0.arrivals.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Names one receipt of a message: only the latest one settles it.
#[derive(Debug, Clone, Copy)]
struct Receipt {
    id: u64,
    receives: u32,
}

impl Receipt {
    fn parse(text: &str) -> Option<Self> {
        let (id, receives) = text.split_once('-')?;
        Some(Self { id: id.parse().ok()?, receives: receives.parse().ok()? })
    }

    fn message(self, tables: &Tables<'_>) -> Result<Option<QueuedMessage>, Fault> {
        let message = load_message(&tables.messages, self.id)?;
        Ok(message.filter(|message| message.receives == self.receives))
    }
}

/// The first message that is visible at `now`, hidden until `hidden_until`.
fn take(tables: &mut Tables<'_>, now: Timestamp, hidden_until: Timestamp) -> Result<Option<Received>, Fault> {
    let Some((_, id)) = first_visible(&tables.visible)?.filter(|(visible, _)| *visible <= now.as_nanosecond()) else {
        return Ok(None);
    };
    let missing =
        || Fault::Record { title: format!("message {id}"), detail: "an index names it, but it is not there".into() };
    let message = load_message(&tables.messages, id)?.ok_or_else(missing)?;
    let receives = message.receives + 1;
    let hidden = QueuedMessage { visible: hidden_until, receives, held: true, ..message.clone() };
    tables.put_message(Some(&message), &hidden)?;
    Ok(Some(Received { message: message.message, receipt: format!("{id}-{receives}"), receives }))
}

fn first_visible(table: &impl ReadableTable<(i128, u64), ()>) -> Result<Option<(i128, u64)>, Fault> {
    Ok(table.first()?.map(|(key, _)| key.value()))
}

/// An id above that of every message in `file`.
pub(super) fn first_free_id(file: &StoreFile) -> Result<u64, StoreError> {
    file.view(|view| {
        let last = view.table(tables::MESSAGES)?.last()?.map(|(id, _)| id.value());
        Ok(last.map_or(0, |id| id + 1))
    })
}

/// Who hid messages before this process began is dead: they are visible again. No delay is longer than a delay can
/// be, whatever happened to the wall clock in between.
pub(super) fn release_all(tables: &mut Tables<'_>, now: Timestamp) -> Result<(), Fault> {
    let waiting = now.as_nanosecond()..;
    let ids: Vec<u64> = tables
        .visible
        .range((waiting.start, 0)..)?
        .map(|entry| Ok(entry?.0.value().1))
        .collect::<Result<_, Fault>>()?;
    for id in ids {
        let Some(message) = load_message(&tables.messages, id)? else { continue };
        let visible = if message.held { now } else { message.visible.min(later(now, LONGEST_DELAY)) };
        if message.held || visible != message.visible {
            tables.put_message(Some(&message), &QueuedMessage { visible, held: false, ..message.clone() })?;
        }
    }
    Ok(())
}
