//! Layer records, which DynamoDB forgets 90 days after their last use.

use std::time::Duration;

use accel_domain::Timestamp;
use tracing::warn;

use super::documents::{integer, json, parse, string};
use super::keys::{self, EXPIRES, Key, layer_key};
use super::requests::{Change, Condition, Item, number, text};
use super::table::Table;
use crate::{LayerCache, LayerKey, LayerRecord, StoreError};

/// How long a record is kept after its last use.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// A use is noted at most this often: a cache hit costs a write a day, not one each.
const NOTED: Duration = Duration::from_secs(24 * 3600);

/// The key of the record as JSON, of which its item's key is the hash.
const KEY: &str = "key";
const RECORD: &str = "layer";
/// Its last use, in nanoseconds since 1970.
const USED: &str = "used";

impl LayerCache for Table {
    /// That a use could not be noted costs nothing today, so it fails nothing.
    async fn find_layer(&self, key: &LayerKey, now: Timestamp) -> Result<Option<LayerRecord>, StoreError> {
        let Some(item) = self.read(&Key::layer(key)).await? else { return Ok(None) };
        let used: i128 = integer(&item, USED)?;
        if string(&item, KEY)? != layer_key(key) || used + nanoseconds(KEPT) <= now.as_nanosecond() {
            return Ok(None);
        }
        let record = parse(&item, RECORD)?;
        if used + nanoseconds(NOTED) <= now.as_nanosecond() {
            let unchanged = Condition::new("#used = :used").value("used", number(used));
            let noted = self.write(Change::Put(layer(key, &record, now), unchanged)).await;
            if let Err(error) = noted {
                warn!(%error, layer.digest = %key.source, "the use of a layer record was not noted");
            }
        }
        Ok(Some(record))
    }

    async fn remember_layer(&self, key: &LayerKey, record: &LayerRecord, now: Timestamp) -> Result<(), StoreError> {
        self.settle(Change::Put(layer(key, record, now), Condition::none())).await.map(drop)
    }

    async fn forget_layer(&self, key: &LayerKey) -> Result<(), StoreError> {
        self.settle(Change::Delete(Key::layer(key), Condition::none())).await.map(drop)
    }
}

fn layer(key: &LayerKey, record: &LayerRecord, used: Timestamp) -> Item {
    let mut item = Key::layer(key).item();
    let expires = used.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    item.insert(KEY.to_owned(), text(layer_key(key)));
    item.insert(RECORD.to_owned(), text(json(record)));
    item.insert(USED.to_owned(), number(used.as_nanosecond()));
    item.insert(EXPIRES.to_owned(), number(keys::second_after(expires)));
    item
}

fn nanoseconds(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}
