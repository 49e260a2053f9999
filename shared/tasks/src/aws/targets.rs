//! Leases of targets: one item each, taken by one conditional write.

use accel_domain::Timestamp;
use accel_image::Reference;
use aws_sdk_dynamodb::types::AttributeValue;

use super::documents::integer;
use super::keys::{self, EXPIRES, Key};
use super::requests::{Change, Condition, Item, number, text};
use super::table::Table;
use crate::StoreError;

/// Who has it.
const OWNER: &str = "owner";
/// Until when, in nanoseconds since 1970.
const UNTIL: &str = "until";

/// Takes or renews the lease of `target` for `owner`.
pub(super) async fn lease(
    table: &Table,
    target: &Reference,
    owner: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = Key::target(target);
    let free = Condition::new("attribute_not_exists(#pk) OR #owner = :owner OR #until <= :now")
        .value("owner", text(owner))
        .value("now", number(now.as_nanosecond()));
    if table.settle(Change::Put(held(&key, text(owner), until), free)).await? {
        return Ok(true);
    }
    shorten(table, &key, until).await.map(|()| false)
}

/// A lease that ends later than one taken now would was taken before the clock was set back, and its owner may be dead:
/// it ends then. An owner that lives renews it. If another was quicker, that one has seen to it.
async fn shorten(table: &Table, key: &Key, until: Timestamp) -> Result<(), StoreError> {
    let Some(item) = table.read(key).await? else { return Ok(()) };
    let held_until: i128 = integer(&item, UNTIL)?;
    let Some(owner) = item.get(OWNER).filter(|_| held_until > until.as_nanosecond()) else { return Ok(()) };
    let unchanged = Condition::new("#owner = :owner AND #until = :until")
        .value("owner", owner.clone())
        .value("until", number(held_until));
    table.settle(Change::Put(held(key, owner.clone(), until), unchanged)).await.map(drop)
}

fn held(key: &Key, owner: AttributeValue, until: Timestamp) -> Item {
    let mut item = key.item();
    item.insert(OWNER.to_owned(), owner);
    item.insert(UNTIL.to_owned(), number(until.as_nanosecond()));
    item.insert(EXPIRES.to_owned(), number(keys::second_after(until)));
    item
}

/// Gives the lease back, if `owner` has it.
pub(super) async fn release(table: &Table, target: &Reference, owner: &str) -> Result<(), StoreError> {
    let own = Condition::new("#owner = :owner").value("owner", text(owner));
    table.settle(Change::Delete(Key::target(target), own)).await.map(drop)
}
